// The length of the gradient, then one step for each parameter.
#include "models/adam.h"

#include <cmath>
#include <type_traits>

#include "models/fixed_lanes.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace accrete::models {
namespace {

constexpr double kBeta1 = 0.9;
constexpr double kBeta2 = 0.999;
constexpr double kEpsilon = 1e-8;

/// The first number that is not of a frozen row.
template <class Real>
Eigen::Index first_moving(const Parameter<Real>& parameter) {
  return static_cast<Eigen::Index>(parameter.frozen_rows) * parameter.value.cols();
}

template <class Real>
bool moves(const Parameter<Real>& parameter) {
  return parameter.rate > 0 && parameter.gradient.size() > 0 &&
         first_moving(parameter) < parameter.value.size();
}

/// Square roots as std::sqrt() takes them. Eigen's of floats are approximate, and other processors
/// have other ones.
template <class Real>
void take_roots(RowLanes<Real>& numbers) {
#if defined(__SSE2__)
  if constexpr (std::is_same_v<Real, float>) {
    for (float* at = numbers.data(); at != numbers.data() + numbers.size(); at += 4)
      _mm_storeu_ps(at, _mm_sqrt_ps(_mm_loadu_ps(at)));
    return;
  }
#endif
  for (Real& number : numbers)
    number = std::sqrt(number);
}

template <class Real>
void move(Parameter<Real>& parameter, const AdamOptions& options, Real scale) {
  RowMatrix<Real>& value = parameter.value;
  if (parameter.first.size() == 0) {
    parameter.first.setZero(value.rows(), value.cols());
    parameter.second.setZero(value.rows(), value.cols());
  }
  ++parameter.steps;
  ++parameter.version;
  const auto steps = static_cast<double>(parameter.steps);
  const double base = options.rate * parameter.rate;
  const auto rate = static_cast<Real>(base / (1 - std::pow(kBeta1, steps)));
  const auto correction = static_cast<Real>(1 / (1 - std::pow(kBeta2, steps)));
  const auto shrink = static_cast<Real>(value.rows() > 1 ? base * options.decay : 0);
  const auto beta1 = static_cast<Real>(kBeta1);
  const auto beta2 = static_cast<Real>(kBeta2);
  const auto rest1 = static_cast<Real>(1 - kBeta1);
  const auto rest2 = static_cast<Real>(1 - kBeta2);
  const auto epsilon = static_cast<Real>(kEpsilon);
  Real* const w = value.data();
  Real* const m = parameter.first.data();
  Real* const v = parameter.second.data();
  const Real* const told = parameter.gradient.data();
  constexpr Eigen::Index kWhole = kRowLanes;
  Eigen::Index i = first_moving(parameter);
  for (; i + kWhole <= value.size(); i += kWhole) {
    Eigen::Map<RowLanes<Real>> place(w + i);
    Eigen::Map<RowLanes<Real>> mean(m + i);
    Eigen::Map<RowLanes<Real>> squares(v + i);
    const RowLanes<Real> g = lanes_at(told + i) * scale;
    mean = beta1 * mean + rest1 * g;
    squares = beta2 * squares + rest2 * g * g;
    RowLanes<Real> length = squares * correction;
    take_roots(length);
    place -= shrink * place + rate * mean / (length + epsilon);
  }
  for (; i < value.size(); ++i) {
    const Real g = told[i] * scale;
    m[i] = beta1 * m[i] + rest1 * g;
    v[i] = beta2 * v[i] + rest2 * g * g;
    w[i] -= shrink * w[i] + rate * m[i] / (std::sqrt(v[i] * correction) + epsilon);
  }
}

}  // namespace

template <class Real>
double gradient_norm(std::span<Parameter<Real>* const> parameters) {
  RowLanes<double> squares = RowLanes<double>::Zero();
  double rest = 0;
  for (const Parameter<Real>* parameter : parameters) {
    if (!moves(*parameter)) continue;
    const Real* const g = parameter->gradient.data();
    constexpr Eigen::Index kWhole = kRowLanes;
    Eigen::Index i = first_moving(*parameter);
    for (; i + kWhole <= parameter->gradient.size(); i += kWhole)
      squares += lanes_at(g + i).template cast<double>().square();
    for (; i < parameter->gradient.size(); ++i)
      rest += static_cast<double>(g[i]) * static_cast<double>(g[i]);
  }
  return std::sqrt(fold(squares) + rest);
}

template <class Real>
double adam_step(std::span<Parameter<Real>* const> parameters, const AdamOptions& options) {
  const double norm = gradient_norm(parameters);
  const double scale = norm > options.norm_max ? options.norm_max / norm : 1;
  for (Parameter<Real>* parameter : parameters) {
    if (std::isfinite(norm) && moves(*parameter))
      move(*parameter, options, static_cast<Real>(scale));
    parameter->gradient.resize(0, 0);
  }
  return norm;
}

template double gradient_norm(std::span<Parameter<float>* const>);
template double gradient_norm(std::span<Parameter<double>* const>);
template double adam_step(std::span<Parameter<float>* const>, const AdamOptions&);
template double adam_step(std::span<Parameter<double>* const>, const AdamOptions&);

}  // namespace accrete::models
