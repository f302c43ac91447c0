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

[[gnu::always_inline]] ACCRETE_TARGET inline Vector<float> sigmoid_lanes(const Vector<float>& x) {
  return 1.0F / (1.0F + exponential_lanes(-x));
}

/// Doubles are for checks: the library's exponential, one after another.
[[gnu::always_inline]] ACCRETE_TARGET inline Vector<double> sigmoid_lanes(const Vector<double>& x) {
  return 1.0 / (1.0 + exponential_lanes(-x));
}

/// log sigmoid(x) = min(x, 0) − log(1 + exp(−|x|)); the logarithm of 1 … 2 is that of Cephes too.
[[gnu::always_inline]] ACCRETE_TARGET inline Vector<float> log_sigmoid_lanes(
    const Vector<float>& x) {
  const Vector<float> none = all(0.0F);
  const Vector<float> low = where_above(x, 0.0F, none, x);
  const Vector<float> one_more = exponential_lanes(low + low - x) + 1.0F;
  constexpr float kUpper = 1.41421356F;
  const Vector<float> r = where_above(one_more, kUpper, one_more * 0.5F, one_more) - 1.0F;
  const Vector<float> n = where_above(one_more, kUpper, all(1.0F), none);
  Vector<float> p = fused(7.0376836292e-2F, r, all(-1.1514610310e-1F));
  p = fused(p, r, all(1.1676998740e-1F));
  p = fused(p, r, all(-1.2420140846e-1F));
  p = fused(p, r, all(1.4249322787e-1F));
  p = fused(p, r, all(-1.6668057665e-1F));
  p = fused(p, r, all(2.0000714765e-1F));
  p = fused(p, r, all(-2.4999993993e-1F));
  p = fused(p, r, all(3.3333331174e-1F));
  const Vector<float> square = r * r;
  const Vector<float> small = p * r * square - n * 2.12194440e-4F - 0.5F * square;
  return low - (small + r + n * 0.693359375F);
}

[[gnu::always_inline]] ACCRETE_TARGET inline Vector<double> log_sigmoid_lanes(
    const Vector<double>& x) {
  Vector<double> out = x;
  for (Register<double>& part : out.part) {
    for (std::size_t i = 0; i < sizeof(part) / sizeof(double); ++i)
      part[i] = (part[i] > 0 ? 0 : part[i]) - std::log1p(std::exp(-std::abs(part[i])));
  }
  return out;
}

enum class Curve : std::uint8_t { Sigmoid, LogSigmoid, Exponential };

template <class Real, Curve curve>
ACCRETE_TARGET void curve_loop(const Real* in, std::size_t count, Real* out) {
  constexpr std::size_t kLanes = kVectorLanes<Real>;
  const auto tell = [](const Real* from, Real* to) ACCRETE_TARGET {
    if constexpr (curve == Curve::Sigmoid) {
      vector_at(to) = sigmoid_lanes(vector_at(from));
    } else if constexpr (curve == Curve::LogSigmoid) {
      vector_at(to) = log_sigmoid_lanes(vector_at(from));
    } else {
      vector_at(to) = exponential_lanes(vector_at(from));
    }
  };
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    tell(in + i, out + i);
  if (i == count) return;
  Vector<Real> rest = {};
  for (std::size_t c = 0; i + c < count; ++c)
    lane(rest, c) = in[i + c];
  tell(&lane(rest, 0), &lane(rest, 0));
  for (std::size_t c = 0; i + c < count; ++c)
    out[i + c] = lane(rest, c);
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
    squares = fused(away, away, squares);
  }
  total = fold_lanes<Real>(squares);
  for (; c < width; ++c) {
    off[c] -= mean;
    total = fused(off[c], off[c], total);
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
inline constexpr std::size_t kRowsAtOnce = NormSiluRows<float>::kRowsAtOnce;
inline constexpr std::size_t kRowsAhead = 4;

/// Of each lane: −1 for each number that sleeps.
template <class Real>
struct Sleeping {
  Holds<Real> part[kRegisters];
};

ACCRETE_LANES void count_below(const Vector<Real>& y, Real limit, Sleeping<Real>& sleeping) {
  const Vector<Real> limits = all(limit);
  ACCRETE_EACH_REGISTER(sleeping.part[r] += y.part[r] < limits.part[r])
}

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
    const Vector<Real> y = fused(vector_at(rows.gain + c), n, vector_at(rows.shift + c));
    const Vector<Real> open = sigmoid_lanes(y);
    vector_at(row.normal + c) = n;
    vector_at(row.gate + c) = open;
    if constexpr (Weighted) {
      vector_at(row.out + c) = fused(row.weight, y * open, vector_at(row.out + c));
    } else {
      vector_at(row.out + c) = y * open;
    }
    count_below(y, kAsleep, sleeping);
  }
  if (c == rows.width) return 0;
  std::uint64_t asleep = 0;
  Vector<Real> rest = {};
  for (std::size_t k = c; k < rows.width; ++k) {
    row.normal[k] *= row.scale;
    const Real y = fused(rows.gain[k], row.normal[k], rows.shift[k]);
    lane(rest, k - c) = y;
    asleep += y < kAsleep ? 1 : 0;
  }
  Vector<Real> open = sigmoid_lanes(rest);
  for (std::size_t k = c; k < rows.width; ++k) {
    row.gate[k] = lane(open, k - c);
    const Real value = lane(rest, k - c) * row.gate[k];
    row.out[k] = Weighted ? fused(row.weight, value, row.out[k]) : value;
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
const Real* x_row(const NormSiluRows<Real>& rows, std::size_t i) {
  return rows.x + (rows.x_rows != nullptr ? rows.x_rows[i] : i) * rows.width;
}

template <class Real>
const Real* bias_row(const NormSiluRows<Real>& rows, std::size_t i) {
  return rows.bias_rows != nullptr ? rows.bias + rows.bias_rows[i] * rows.width : rows.bias;
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
      const Real* const x = x_row(rows, first + i);
      const Real* const bias = bias_row(rows, first + i);
      if (rows.x_rows != nullptr && first + i + kRowsAhead < rows.rows)
        fetch_row<Real, false>(x_row(rows, first + i + kRowsAhead), rows.width);
      scale[i] = bias != nullptr ? centre_row<Real, true>(x, bias, rows.width, normal)
                                 : centre_row<Real, false>(x, nullptr, rows.width, normal);
      if (rows.scale != nullptr) rows.scale[first + i] = scale[i];
    }
    asleep += rows.weights != nullptr
                  ? activate_rows<Real, true>(rows, first, count, scale, sleeping)
                  : activate_rows<Real, false>(rows, first, count, scale, sleeping);
  }
  for (const Holds<Real>& part : sleeping.part) {
    for (std::size_t i = 0; i < sizeof(part) / sizeof(Real); ++i)
      asleep += static_cast<std::uint64_t>(-part[i]);
  }
  return asleep;
}

/// One number, or a vector of them, on the way back through SiLU.
template <class Number>
[[gnu::always_inline]] ACCRETE_TARGET inline Number silu_back(const Number& y, const Number& gate,
                                                              const Number& d_out,
                                                              const Number& one) {
  return d_out * gate * fused(y, one - gate, one);
}

/// The lanes' sum in the order of fixed_dot() (fixed_lanes.h).
ACCRETE_LANES Real fold_dot(const Vector<Real>& lanes) {
  return fold_quarter<Real>((quarter(lanes, 0) + quarter(lanes, 2)) +
                            (quarter(lanes, 1) + quarter(lanes, 3)));
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
        fused(vector_at(back.gain + c), vector_at(normal + c), vector_at(back.shift + c));
    products += vector_at(d_out + c) * (y * vector_at(gate + c));
  }
  Real total = fold_dot<Real>(products);
  for (; c < back.width; ++c)
    total += d_out[c] * (fused(back.gain[c], normal[c], back.shift[c]) * gate[c]);
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
    const Vector<Real> n = vector_at(normal + c);
    const Vector<Real> gain = vector_at(back.gain + c);
    Vector<Real> came = vector_at(d_out + c);
    if constexpr (Weighted) came = came * weight;
    Vector<Real> through = silu_back(fused(gain, n, vector_at(back.shift + c)), vector_at(gate + c),
                                     came, all(Real(1)));
    if (back.d_gain != nullptr) {
      vector_at(back.d_gain + c) = fused(through, n, vector_at(back.d_gain + c));
      vector_at(back.d_shift + c) += through;
    }
    through = through * gain;
    vector_at(d_x + c) = through;
    sums += through;
    products = fused(through, n, products);
  }
  Real mean = fold_lanes<Real>(sums);
  Real along = fold_lanes<Real>(products);
  for (std::size_t k = c; k < width; ++k) {
    const Real came = Weighted ? weight * d_out[k] : d_out[k];
    const Real y = fused(back.gain[k], normal[k], back.shift[k]);
    const Real through = silu_back(y, gate[k], came, Real(1));
    if (back.d_gain != nullptr) {
      back.d_gain[k] = fused(through, normal[k], back.d_gain[k]);
      back.d_shift[k] += through;
    }
    d_x[k] = through * back.gain[k];
    mean += d_x[k];
    along = fused(d_x[k], normal[k], along);
  }
  mean /= static_cast<Real>(width);
  along /= static_cast<Real>(width);
  const Real scale = back.scale[row];
  Real* const sum = back.sums != nullptr ? back.sums + back.sum_rows[row] * width : nullptr;
  for (c = 0; c + kLanes <= width; c += kLanes) {
    const Vector<Real> d = scale * fused(-along, vector_at(normal + c), vector_at(d_x + c) - mean);
    vector_at(d_x + c) = d;
    if (sum != nullptr) vector_at(sum + c) += d;
  }
  for (; c < width; ++c) {
    d_x[c] = scale * fused(-along, normal[c], d_x[c] - mean);
    if (sum != nullptr) sum[c] += d_x[c];
  }
}

template <class Real>
ACCRETE_TARGET void norm_silu_gradient_loop(const NormSiluGradient<Real>& back) {
  for (std::size_t i = 0; i < back.rows; ++i) {
    if (back.sums != nullptr && i + kRowsAhead < back.rows)
      fetch_row<Real, true>(back.sums + back.sum_rows[i + kRowsAhead] * back.width, back.width);
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
