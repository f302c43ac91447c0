// What is done to any parameter: it grows, and it is written and read back.
#pragma once

#include <cstddef>

#include "models/parameter.h"
#include "models/state_bytes.h"

namespace accrete::models {

/// Room for more rows and columns: zeros in the value, the gradient and the moments. Never shrinks;
/// the version grows when anything did. The new numbers share the step count of the old ones, so
/// Adam's correction no longer lengthens their moments: their first steps are up to 3.2 times the
/// rate.
template <class Real>
void grow_parameter(Parameter<Real>& parameter, std::size_t rows, std::size_t cols);

/// Value, moments, step count, frozen rows and version; neither gradient nor rate.
template <class Real>
void save_parameter(StateWriter& writer, const Parameter<Real>& parameter);

/// Into a parameter of the shape that was saved; fails the reader otherwise.
template <class Real>
void load_parameter(StateReader& reader, Parameter<Real>& parameter);

/// Bytes of the value, the gradient and the moments. Where rows came one by one their room is up to
/// an eighth more: it is not counted, for what decides by these bytes must not depend on how they
/// grew.
template <class Real>
std::size_t memory_bytes(const Parameter<Real>& parameter);

}  // namespace accrete::models
