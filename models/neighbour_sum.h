// The hot loops of message passing: weighted sums over neighbours, for one or two listeners in one
// walk, and their gradients.
//
// Dimensions: n neighbours   d width   J listeners, 1 or 2
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace accrete::models {

inline constexpr std::size_t kListenersMax = 2;

/// Row to[j] (d) = sum over neighbours u of weights[i J + j] × row u of `input`, in their order.
/// Cost: n d J. Every number is one chain of products and sums, so no width changes a bit.
template <class Real>
void sum_neighbours(const Real* input, std::size_t width, std::span<const std::uint32_t> neighbours,
                    std::span<const Real> weights, std::span<Real* const> to);

/// The way back: row u of `d_input` += sum over j of weights[i J + j] × d_sum[j]. `d_weights`
/// (n, J) is set to d_sum[j] · row u of `input`, unless empty.
template <class Real>
void add_neighbour_gradients(const Real* input, std::size_t width,
                             std::span<const std::uint32_t> neighbours,
                             std::span<const Real> weights, std::span<const Real* const> d_sum,
                             Real* d_input, std::span<Real> d_weights);

}  // namespace accrete::models
