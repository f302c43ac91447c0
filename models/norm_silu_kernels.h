// The loops of norm_silu*.cpp, compiled once a vector width: whoever includes this names its
// instructions by ACCRETE_TARGET.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "models/exponential_lanes.h"
#include "models/norm_silu.h"
#include "models/vector_lanes.h"

namespace accrete::models {

template <class Real>
struct NormSiluKernels {
  std::uint64_t (*forward)(const NormSiluRows<Real>&);
  void (*back)(const NormSiluGradient<Real>&);
  void (*sigmoids)(const Real* in, std::size_t count, Real* out);
  void (*log_sigmoids)(const Real* in, std::size_t count, Real* out);
  void (*exponentials)(const Real* in, std::size_t count, Real* out);
};

/// The wide ones need a processor that has them.
template <class Real>
NormSiluKernels<Real> plain_norm_silu_kernels();
template <class Real>
NormSiluKernels<Real> avx2_norm_silu_kernels();
template <class Real>
NormSiluKernels<Real> avx512_norm_silu_kernels();

#if defined(ACCRETE_TARGET)
namespace {

[[gnu::always_inline]] ACCRETE_TARGET inline void sigmoid_lanes(const Vector<float>& x,
                                                                Vector<float>& out) {
  Vector<float> power = {};
  exponential_lanes(-x, power);
  out = 1.0F / (1.0F + power);
}

/// Doubles are for checks: the library's exponential, one after another.
[[gnu::always_inline]] ACCRETE_TARGET inline void sigmoid_lanes(const Vector<double>& x,
                                                                Vector<double>& out) {
  for (std::size_t i = 0; i < kVectorLanes<double>; ++i)
    out[i] = 1 / (1 + std::exp(-x[i]));
}

/// log sigmoid(x) = min(x, 0) − log(1 + exp(−|x|)); the logarithm of 1 … 2 is that of Cephes too.
[[gnu::always_inline]] ACCRETE_TARGET inline void log_sigmoid_lanes(const Vector<float>& x,
                                                                    Vector<float>& out) {
  const Vector<float> low = x > 0.0F ? Vector<float>{} : x;
  Vector<float> power = {};
  exponential_lanes(low + low - x, power);
  const Vector<float> one_more = power + 1.0F;
  const auto upper = one_more > 1.41421356F;
  const Vector<float> r = (upper ? one_more * 0.5F : one_more) - 1.0F;
  const Vector<float> n = upper ? Vector<float>{} + 1.0F : Vector<float>{};
  Vector<float> p = r * 7.0376836292e-2F - 1.1514610310e-1F;
  p = p * r + 1.1676998740e-1F;
  p = p * r - 1.2420140846e-1F;
  p = p * r + 1.4249322787e-1F;
  p = p * r - 1.6668057665e-1F;
  p = p * r + 2.0000714765e-1F;
  p = p * r - 2.4999993993e-1F;
  p = p * r + 3.3333331174e-1F;
  const Vector<float> square = r * r;
  const Vector<float> small = p * r * square - n * 2.12194440e-4F - 0.5F * square;
  out = low - (small + r + n * 0.693359375F);
}

[[gnu::always_inline]] ACCRETE_TARGET inline void log_sigmoid_lanes(const Vector<double>& x,
                                                                    Vector<double>& out) {
  for (std::size_t i = 0; i < kVectorLanes<double>; ++i)
    out[i] = (x[i] > 0 ? 0 : x[i]) - std::log1p(std::exp(-std::abs(x[i])));
}

enum class Curve : std::uint8_t { Sigmoid, LogSigmoid, Exponential };

template <class Real, Curve curve>
ACCRETE_TARGET void curve_loop(const Real* in, std::size_t count, Real* out) {
  constexpr std::size_t kLanes = kVectorLanes<Real>;
  const auto tell = [](const Vector<Real>& x, Vector<Real>& told) ACCRETE_TARGET {
    if constexpr (curve == Curve::Sigmoid) {
      sigmoid_lanes(x, told);
    } else if constexpr (curve == Curve::LogSigmoid) {
      log_sigmoid_lanes(x, told);
    } else {
      exponential_lanes(x, told);
    }
  };
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    Vector<Real> told = {};
    tell(vector_at(in + i), told);
    vector_at(out + i) = told;
  }
  if (i == count) return;
  Vector<Real> rest = {};
  for (std::size_t c = 0; i + c < count; ++c)
    rest[c] = in[i + c];
  tell(rest, rest);
  for (std::size_t c = 0; i + c < count; ++c)
    out[i + c] = rest[c];
}

/// Distances from the mean of x and a bias; returns what makes them n.
template <class Real, bool Biased>
ACCRETE_TARGET Real centre_row(const Real* x, const Real* bias, std::size_t width, Real* off) {
  constexpr double kEpsilon = 1e-5;  // as everybody's: far below the variance of a live row
  constexpr std::size_t kLanes = kVectorLanes<Real>;
  Vector<Real> sums = {};
  std::size_t c = 0;
  for (; c + kLanes <= width; c += kLanes) {
    Vector<Real> number = vector_at(x + c);
    if constexpr (Biased) number += vector_at(bias + c);
    vector_at(off + c) = number;
    sums += number;
  }
  Real total = fold_lanes<Real>(sums);
  for (; c < width; ++c) {
    off[c] = Biased ? x[c] + bias[c] : x[c];
    total += off[c];
  }
  const Real mean = total / static_cast<Real>(width);
  Vector<Real> squares = {};
  for (c = 0; c + kLanes <= width; c += kLanes) {
    const Vector<Real> away = vector_at(off + c) - mean;
    vector_at(off + c) = away;
    squares += away * away;
  }
  total = fold_lanes<Real>(squares);
  for (; c < width; ++c) {
    off[c] -= mean;
    total += off[c] * off[c];
  }
  return Real(1) / std::sqrt(total / static_cast<Real>(width) + Real(kEpsilon));
}

/// Sends for a row that comes a few rows later.
template <class Real, bool Written>
ACCRETE_TARGET void fetch_row(const Real* row, std::size_t width) {
  for (std::size_t c = 0; c < width; c += kVectorLanes<Real>)
    __builtin_prefetch(row + c, Written ? 1 : 0);
}

// Rows that are centred before the first of them is activated: sums of a row are waited for, and
// meanwhile others can be summed.
constexpr std::size_t kRowsAtOnce = NormSiluRows<float>::kRowsAtOnce;
constexpr std::size_t kRowsAhead = 4;

/// Of each lane: −1 for each number that sleeps.
template <class Real>
using Sleeping = decltype(Vector<Real>{} < Real{});

template <class Real>
struct ActivatedRow {
  Real scale;
  Real* normal;
  Real* gate;
  Real* out;
  Real weight;  ///< of what `out` is added to
};

/// y of the row, its sigmoids and their product; `normal` becomes n. Returns how many of the last
/// numbers sleep, those of whole vectors are counted by lane.
template <class Real, bool Weighted>
ACCRETE_TARGET std::uint64_t activate_row(const NormSiluRows<Real>& rows,
                                          const ActivatedRow<Real>& row, Sleeping<Real>& sleeping) {
  constexpr std::size_t kLanes = kVectorLanes<Real>;
  constexpr Real kAsleep = -4;
  std::size_t c = 0;
  for (; c + kLanes <= rows.width; c += kLanes) {
    const Vector<Real> n = vector_at(row.normal + c) * row.scale;
    const Vector<Real> y = vector_at(rows.gain + c) * n + vector_at(rows.shift + c);
    Vector<Real> open = {};
    sigmoid_lanes(y, open);
    vector_at(row.normal + c) = n;
    vector_at(row.gate + c) = open;
    if constexpr (Weighted) {
      vector_at(row.out + c) += row.weight * (y * open);
    } else {
      vector_at(row.out + c) = y * open;
    }
    sleeping += y < kAsleep;
  }
  if (c == rows.width) return 0;
  std::uint64_t asleep = 0;
  Vector<Real> rest = {};
  for (std::size_t k = c; k < rows.width; ++k) {
    row.normal[k] *= row.scale;
    rest[k - c] = rows.gain[k] * row.normal[k] + rows.shift[k];
    asleep += rest[k - c] < kAsleep ? 1 : 0;
  }
  Vector<Real> open = {};
  sigmoid_lanes(rest, open);
  for (std::size_t k = c; k < rows.width; ++k) {
    row.gate[k] = open[k - c];
    const Real value = rest[k - c] * open[k - c];
    row.out[k] = Weighted ? row.out[k] + row.weight * value : value;
  }
  return asleep;
}

template <class Real, bool Weighted>
ACCRETE_TARGET std::uint64_t activate_rows(const NormSiluRows<Real>& rows, std::size_t first,
                                           std::size_t count, const Real* scale,
                                           Sleeping<Real>& sleeping) {
  std::uint64_t asleep = 0;
  const bool kept = rows.kept > 0;
  for (std::size_t i = first; i < first + count; ++i) {
    const std::size_t to = rows.out_rows != nullptr ? rows.out_rows[i] : i;
    if (rows.out_rows != nullptr && i + kRowsAhead < rows.rows)
      fetch_row<Real, true>(rows.out + rows.out_rows[i + kRowsAhead] * rows.width, rows.width);
    Real* const normal = rows.normal + (kept ? i : i - first) * rows.width;
    Real* const gate = rows.gate + (kept ? i : 0) * rows.width;
    const ActivatedRow<Real> row{scale[i - first], normal, gate, rows.out + to * rows.width,
                                 Weighted ? rows.weights[i] : Real(1)};
    asleep += activate_row<Real, Weighted>(rows, row, sleeping);
  }
  return asleep;
}

template <class Real>
ACCRETE_TARGET std::uint64_t norm_silu_loop(const NormSiluRows<Real>& rows) {
  std::uint64_t asleep = 0;
  Sleeping<Real> sleeping = {};
  Real scale[kRowsAtOnce];
  for (std::size_t first = 0; first < rows.rows; first += kRowsAtOnce) {
    const std::size_t count = std::min(kRowsAtOnce, rows.rows - first);
    for (std::size_t i = 0; i < count; ++i) {
      Real* const normal = rows.normal + ((rows.kept > 0 ? first : 0) + i) * rows.width;
      const Real* const x = rows.x + (first + i) * rows.width;
      scale[i] = rows.bias != nullptr ? centre_row<Real, true>(x, rows.bias, rows.width, normal)
                                      : centre_row<Real, false>(x, nullptr, rows.width, normal);
      if (rows.scale != nullptr) rows.scale[first + i] = scale[i];
    }
    asleep += rows.weights != nullptr
                  ? activate_rows<Real, true>(rows, first, count, scale, sleeping)
                  : activate_rows<Real, false>(rows, first, count, scale, sleeping);
  }
  for (std::size_t i = 0; i < kVectorLanes<Real>; ++i)
    asleep += static_cast<std::uint64_t>(-sleeping[i]);
  return asleep;
}

/// One number, or a vector of them, on the way back through SiLU.
// NOLINTNEXTLINE(readability-function-size): what the formula needs, each in a register
template <class Number, class Real>
[[gnu::always_inline]] ACCRETE_TARGET inline void silu_back(const Number& gain, const Number& shift,
                                                            const Number& n, const Number& gate,
                                                            const Number& d_out, Real one,
                                                            Number& through) {
  const Number y = gain * n + shift;
  through = d_out * gate * (one + y * (one - gate));
}

/// The lanes' sum in the order of fixed_dot() (fixed_lanes.h).
template <class Real>
ACCRETE_TARGET Real fold_dot(const Vector<Real>& lanes) {
  const auto* const quarter = reinterpret_cast<const Quarter<Real>*>(&lanes);
  const Quarter<Real> sum = (quarter[0] + quarter[2]) + (quarter[1] + quarter[3]);
  if constexpr (sizeof(Real) == sizeof(double)) {
    return sum[0] + sum[1];
  } else {
    return (sum[0] + sum[2]) + (sum[1] + sum[3]);
  }
}

/// d_weights of a row: what came back · what it was told.
template <class Real>
ACCRETE_TARGET Real weight_gradient(const NormSiluGradient<Real>& back, const Real* normal,
                                    const Real* gate, const Real* d_out) {
  constexpr std::size_t kLanes = kVectorLanes<Real>;
  Vector<Real> products = {};
  std::size_t c = 0;
  for (; c + kLanes <= back.width; c += kLanes) {
    const Vector<Real> y =
        vector_at(back.gain + c) * vector_at(normal + c) + vector_at(back.shift + c);
    products += vector_at(d_out + c) * (y * vector_at(gate + c));
  }
  Real total = fold_dot<Real>(products);
  for (; c < back.width; ++c)
    total += d_out[c] * ((back.gain[c] * normal[c] + back.shift[c]) * gate[c]);
  return total;
}

template <class Real, bool Weighted>
ACCRETE_TARGET void gradient_row(const NormSiluGradient<Real>& back, std::size_t row) {
  constexpr std::size_t kLanes = kVectorLanes<Real>;
  const std::size_t width = back.width;
  const Real* const normal = back.normal + row * width;
  const Real* const gate = back.gate + row * width;
  const Real* const d_out =
      back.d_out + (back.d_out_rows != nullptr ? back.d_out_rows[row] : row) * width;
  const Real weight = Weighted ? back.weights[row] : Real(1);
  if constexpr (Weighted) back.d_weights[row] = weight_gradient(back, normal, gate, d_out);
  Real* const d_x = back.d_x + row * width;
  Vector<Real> sums = {};
  Vector<Real> products = {};
  std::size_t c = 0;
  for (; c + kLanes <= width; c += kLanes) {
    const Vector<Real>& n = vector_at(normal + c);
    Vector<Real> came = vector_at(d_out + c);
    if constexpr (Weighted) came *= weight;
    Vector<Real> through = {};
    silu_back(vector_at(back.gain + c), vector_at(back.shift + c), n, vector_at(gate + c), came,
              Real(1), through);
    if (back.d_gain != nullptr) {
      vector_at(back.d_gain + c) += through * n;
      vector_at(back.d_shift + c) += through;
    }
    through *= vector_at(back.gain + c);
    vector_at(d_x + c) = through;
    sums += through;
    products += through * n;
  }
  Real mean = fold_lanes<Real>(sums);
  Real along = fold_lanes<Real>(products);
  for (std::size_t k = c; k < width; ++k) {
    const Real came = Weighted ? weight * d_out[k] : d_out[k];
    Real through = 0;
    silu_back(back.gain[k], back.shift[k], normal[k], gate[k], came, Real(1), through);
    if (back.d_gain != nullptr) {
      back.d_gain[k] += through * normal[k];
      back.d_shift[k] += through;
    }
    d_x[k] = through * back.gain[k];
    mean += d_x[k];
    along += d_x[k] * normal[k];
  }
  mean /= static_cast<Real>(width);
  along /= static_cast<Real>(width);
  const Real scale = back.scale[row];
  for (c = 0; c + kLanes <= width; c += kLanes)
    vector_at(d_x + c) = scale * (vector_at(d_x + c) - mean - vector_at(normal + c) * along);
  for (; c < width; ++c)
    d_x[c] = scale * (d_x[c] - mean - normal[c] * along);
}

template <class Real>
ACCRETE_TARGET void norm_silu_gradient_loop(const NormSiluGradient<Real>& back) {
  for (std::size_t i = 0; i < back.rows; ++i) {
    if (back.d_out_rows != nullptr && i + kRowsAhead < back.rows)
      fetch_row<Real, false>(back.d_out + back.d_out_rows[i + kRowsAhead] * back.width, back.width);
    if (back.weights != nullptr) {
      gradient_row<Real, true>(back, i);
    } else {
      gradient_row<Real, false>(back, i);
    }
  }
}

template <class Real>
constexpr NormSiluKernels<Real> make_norm_silu_kernels() {
  return {norm_silu_loop<Real>, norm_silu_gradient_loop<Real>, curve_loop<Real, Curve::Sigmoid>,
          curve_loop<Real, Curve::LogSigmoid>, curve_loop<Real, Curve::Exponential>};
}

}  // namespace
#endif

}  // namespace accrete::models
