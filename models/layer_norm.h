// LayerNorm(x) and SiLU(LayerNorm(x)), forward and backward. The second is what hidden numbers
// pass, so that none of them dies (HoME, Wang et al. 2024, arXiv:2408.05430).
//
//   n = (x − mean(x)) / √(variance(x) + 1e-5)    y = gain n + shift    out = y sigmoid(y)
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/norm_silu.h"
#include "models/parameter.h"
#include "models/row_gather.h"

namespace accrete::models {

template <class Real>
Real sigmoid(Real x) {
  return Real(1) / (Real(1) + std::exp(-x));
}

/// n of one row of `width` numbers; returns what its distances from the mean were multiplied by.
template <class Real>
Real normalise(const Real* from, std::size_t width, Real* normal) {
  constexpr double kEpsilon = 1e-5;  // as everybody's: far below the variance of a live row
  const Real mean = fixed_sum(from, width) / static_cast<Real>(width);
  for (std::size_t c = 0; c < width; ++c)
    normal[c] = from[c] - mean;
  const Real variance = fixed_dot(normal, normal, width) / static_cast<Real>(width);
  const Real scale = Real(1) / std::sqrt(variance + Real(kEpsilon));
  for (std::size_t c = 0; c < width; ++c)
    normal[c] *= scale;
  return scale;
}

/// The gradient by n becomes the gradient by x.
template <class Real>
void normalise_backward(const Real* normal, Real scale, std::size_t width, Real* gradient) {
  const Real mean = fixed_sum(gradient, width) / static_cast<Real>(width);
  const Real along = fixed_dot(gradient, normal, width) / static_cast<Real>(width);
  for (std::size_t c = 0; c < width; ++c)
    gradient[c] = scale * (gradient[c] - mean - normal[c] * along);
}

/// y alone.
template <class Real>
class LayerNorm {
 public:
  struct Tape {
    RowMatrix<Real> normal;  ///< n
    std::vector<Real> scale;
  };

  explicit LayerNorm(std::size_t width) {
    gain_.value.setOnes(1, static_cast<Eigen::Index>(width));
    shift_.value.setZero(1, static_cast<Eigen::Index>(width));
  }

  /// y (N, w) from x (N, w).
  void forward(const RowMatrix<Real>& x, Tape& tape, RowMatrix<Real>& y) const {
    const auto width = static_cast<std::size_t>(x.cols());
    tape.normal.resize(x.rows(), x.cols());
    tape.scale.resize(static_cast<std::size_t>(x.rows()));
    y.resize(x.rows(), x.cols());
    for (std::size_t i = 0; i < tape.scale.size(); ++i) {
      Real* const normal = row_of(tape.normal, i);
      tape.scale[i] = normalise(row_of(x, i), width, normal);
      for (std::size_t c = 0; c < width; ++c)
        row_of(y, i)[c] = gain_.value.data()[c] * normal[c] + shift_.value.data()[c];
    }
  }

  /// d_x (N, w) from d_y (N, w); they may be the same matrix. Adds to the gradients.
  void backward(const Tape& tape, const RowMatrix<Real>& d_y, RowMatrix<Real>& d_x) {
    const auto width = static_cast<std::size_t>(d_y.cols());
    Real* const d_gain = gain_.grad().data();
    Real* const d_shift = shift_.grad().data();
    d_x.resize(d_y.rows(), d_y.cols());
    for (std::size_t i = 0; i < static_cast<std::size_t>(d_y.rows()); ++i) {
      const Real* const normal = row_of(tape.normal, i);
      const Real* const from = row_of(d_y, i);
      Real* const to = row_of(d_x, i);
      for (std::size_t c = 0; c < width; ++c) {
        d_gain[c] += from[c] * normal[c];
        d_shift[c] += from[c];
        to[c] = from[c] * gain_.value.data()[c];
      }
      normalise_backward(normal, tape.scale[i], width, to);
    }
  }

  void visit(std::string_view prefix, const VisitParameter<Real>& visit) {
    visit(std::string(prefix) + ".gain", gain_);
    visit(std::string(prefix) + ".shift", shift_);
  }

 private:
  Parameter<Real> gain_;
  Parameter<Real> shift_;
};

/// Hidden numbers, and those whose y lies below −4, where SiLU is flat.
struct SleepCount {
  std::uint64_t asleep = 0;
  std::uint64_t numbers = 0;
};

template <class Real>
class NormSilu {
 public:
  struct Tape {
    RowMatrix<Real> normal;  ///< n
    RowMatrix<Real> gate;    ///< sigmoid(y)
    std::vector<Real> scale;

    void resize(std::size_t rows, std::size_t width) {
      normal.resize(static_cast<Eigen::Index>(rows), static_cast<Eigen::Index>(width));
      gate.resize(static_cast<Eigen::Index>(rows), static_cast<Eigen::Index>(width));
      scale.resize(rows);
    }
    std::size_t room() const { return room_bytes(normal, gate) + scale.capacity() * sizeof(Real); }
  };

  /// Where rows are added to, and times what.
  struct Mixed {
    std::span<const std::uint32_t> rows;
    std::span<const Real> weights;
    std::size_t kept = 0;   ///< the first row of the tape that is theirs
    std::size_t first = 0;  ///< the row of mix()'s `out` that they are counted from
  };

  explicit NormSilu(std::size_t width) {
    gain_.value.setOnes(1, static_cast<Eigen::Index>(width));
    shift_.value.setZero(1, static_cast<Eigen::Index>(width));
  }

  /// out (N, w) from x (N, w), to whose rows `bias` (1, w) is added before all else, if there is
  /// one; they may be the same matrix. Adds to `count`.
  void forward(const RowMatrix<Real>& x, Tape& tape, RowMatrix<Real>& out, SleepCount& count,
               const RowMatrix<Real>* bias = nullptr) const {
    begin(static_cast<std::size_t>(x.rows()), tape);
    out.resize(x.rows(), x.cols());
    NormSiluRows<Real> rows = rows_of(x, out);
    if (bias != nullptr) rows.bias = bias->data();
    run(rows, 0, tape, count);
  }
  /// Rows of which some are made, and where they go. Null lists: as they lie.
  struct Some {
    const RowMatrix<Real>* x;
    std::size_t count;
    const std::uint32_t* out_rows;             ///< which row of `out` each is
    const std::uint32_t* x_rows = nullptr;     ///< which row of x
    const RowMatrix<Real>* bias = nullptr;     ///< added before all else
    const std::uint32_t* bias_rows = nullptr;  ///< which row of it
  };
  /// The same in parts: room for all rows, then those from `first` on. Checks: they fit the room.
  void begin(std::size_t rows, Tape& tape) const {
    tape.resize(rows, static_cast<std::size_t>(gain_.value.cols()));
  }
  void forward_part(const Some& some, std::size_t first, Tape& tape, RowMatrix<Real>& out,
                    SleepCount& count) const {
    run(rows_of(some, out), first, tape, count);
  }

  /// Rows of `out` += weights[i] × what row i of x becomes with the bias (1, w). Checks: the tape
  /// has room for all that it keeps.
  void mix(const RowMatrix<Real>& x, const RowMatrix<Real>& bias, const Mixed& mixed, Tape& tape,
           RowMatrix<Real>& out, SleepCount& count) const {
    NormSiluRows<Real> rows = rows_of(x, out);
    rows.out = row_of(out, mixed.first);
    rows.bias = bias.data();
    rows.out_rows = mixed.rows.data();
    rows.weights = mixed.weights.data();
    run(rows, mixed.kept, tape, count);
  }

  /// The same bits, nothing kept.
  void apply(const Some& some, RowMatrix<Real>& out) const {
    NormSiluRows<Real> rows = rows_of(some, out);
    std::vector<Real> normal(rows.width * NormSiluRows<Real>::kRowsAtOnce);
    std::vector<Real> gate(rows.width);
    rows.normal = normal.data();
    rows.gate = gate.data();
    norm_silu(rows);
  }

  /// d_x (N, w) from d_out (N, w); they may be the same matrix. Adds to the gradients unless
  /// frozen.
  void backward(const Tape& tape, const RowMatrix<Real>& d_out, RowMatrix<Real>& d_x) {
    d_x.resize(d_out.rows(), d_out.cols());
    norm_silu_gradient(back_of(tape, 0, d_out, d_x));
  }
  /// The same for rows of the tape from `first` on, which are in d_x, and there become what they
  /// are told for. Row i of the result is added to row sum_rows[i] of `sums` too, if there are any.
  void backward_part(const Tape& tape, std::size_t first, RowMatrix<Real>& d_x,
                     RowMatrix<Real>* sums, const std::uint32_t* sum_rows) {
    NormSiluGradient<Real> back = back_of(tape, first, d_x, d_x);
    if (sums != nullptr) back.sums = sums->data();
    back.sum_rows = sum_rows;
    norm_silu_gradient(back);
  }
  /// From the gradient by what mix() added to: d_x (N, w) and d_weights (N) are set.
  void mix_backward(const Tape& tape, const Mixed& mixed, const RowMatrix<Real>& d_out,
                    std::span<Real> d_weights, RowMatrix<Real>& d_x) {
    d_x.resize(static_cast<Eigen::Index>(mixed.rows.size()), d_out.cols());
    NormSiluGradient<Real> back = back_of(tape, mixed.kept, d_out, d_x);
    back.d_out_rows = mixed.rows.data();
    back.weights = mixed.weights.data();
    back.d_weights = d_weights.data();
    norm_silu_gradient(back);
  }

  void visit(std::string_view prefix, const VisitParameter<Real>& visit) {
    visit(std::string(prefix) + ".gain", gain_);
    visit(std::string(prefix) + ".shift", shift_);
  }

 private:
  /// What the way back needs is kept from row `first` of the tape on.
  static void run(NormSiluRows<Real> rows, std::size_t first, Tape& tape, SleepCount& count) {
    rows.normal = row_of(tape.normal, first);
    rows.gate = row_of(tape.gate, first);
    rows.kept = rows.width;
    rows.scale = tape.scale.data() + first;
    count.asleep += norm_silu(rows);
    count.numbers += rows.rows * rows.width;
  }

  NormSiluRows<Real> rows_of(const RowMatrix<Real>& x, RowMatrix<Real>& out) const {
    NormSiluRows<Real> rows{};
    rows.rows = static_cast<std::size_t>(x.rows());
    rows.width = static_cast<std::size_t>(x.cols());
    rows.gain = gain_.value.data();
    rows.shift = shift_.value.data();
    rows.x = x.data();
    rows.out = out.data();
    return rows;
  }

  NormSiluRows<Real> rows_of(const Some& some, RowMatrix<Real>& out) const {
    NormSiluRows<Real> rows = rows_of(*some.x, out);
    rows.rows = some.count;
    rows.out_rows = some.out_rows;
    rows.x_rows = some.x_rows;
    if (some.bias != nullptr) rows.bias = some.bias->data();
    rows.bias_rows = some.bias_rows;
    return rows;
  }

  NormSiluGradient<Real> back_of(const Tape& tape, std::size_t first, const RowMatrix<Real>& d_out,
                                 RowMatrix<Real>& d_x) {
    const bool frozen = gain_.rate == 0;
    NormSiluGradient<Real> back{};
    back.rows = static_cast<std::size_t>(d_x.rows());
    back.width = static_cast<std::size_t>(d_out.cols());
    back.gain = gain_.value.data();
    back.shift = shift_.value.data();
    back.normal = row_of(tape.normal, first);
    back.gate = row_of(tape.gate, first);
    back.scale = tape.scale.data() + first;
    back.d_out = d_out.data();
    back.d_x = d_x.data();
    back.d_gain = frozen ? nullptr : gain_.grad().data();
    back.d_shift = frozen ? nullptr : shift_.grad().data();
    return back;
  }

  Parameter<Real> gain_;
  Parameter<Real> shift_;
};

}  // namespace accrete::models
