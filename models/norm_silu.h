// The loops of SiLU(LayerNorm(x)), of sigmoids and of exponentials: what layers do to every number
// that they hold.
//
//   n = (x − mean(x)) / √(variance(x) + 1e-5)    y = gain n + shift    out = y sigmoid(y)
//
// Each number's chain is the same in every vector width, sums of a row are folded in a fixed order,
// and the exponential of floats is ours: so no processor and no library changes a bit.
#pragma once

#include <cstddef>
#include <cstdint>

namespace accrete::models {

template <class Real>
struct NormSiluRows {
  static constexpr std::size_t kRowsAtOnce = 8;

  std::size_t rows;
  std::size_t width;
  const Real* gain;
  const Real* shift;
  const Real* x;     ///< (rows, width)
  Real* normal;      ///< n (rows, width), set
  Real* gate;        ///< sigmoid(y) (rows, width), set
  std::size_t kept;  ///< numbers from one row of normal and gate to the next: width, or 0 for room
                     ///< of kRowsAtOnce rows and of one that is used again
  Real* scale;       ///< (rows) what distances from the mean were multiplied by, set; or null
  Real* out;         ///< (rows, width), set unless there are weights; may be x
  const Real* bias = nullptr;  ///< (width) added to every row of x before all else; or null
  const std::uint32_t* out_rows = nullptr;   ///< which row of `out` each is, none twice; or null
  const Real* weights = nullptr;             ///< (rows) each × its row is added to the row of
                                             ///< `out` in the list that there is then; or null
  const std::uint32_t* x_rows = nullptr;     ///< which row of x each is; or null
  const std::uint32_t* bias_rows = nullptr;  ///< which row of `bias` is added; null: the only one
};

/// Returns how many y lie below −4. Cost: about 40 flops a number.
template <class Real>
std::uint64_t norm_silu(const NormSiluRows<Real>& rows);

template <class Real>
struct NormSiluGradient {
  std::size_t rows;
  std::size_t width;
  const Real* gain;
  const Real* shift;
  const Real* normal;
  const Real* gate;
  const Real* scale;
  const Real* d_out;
  Real* d_x;                                  ///< (rows, width), set; may be d_out
  Real* d_gain;                               ///< (width), added to row by row; or null
  Real* d_shift;                              ///< the same
  const std::uint32_t* d_out_rows = nullptr;  ///< which row of d_out each is; or null
  const Real* weights = nullptr;              ///< (rows) as on the way there, and rows in a list
  Real* d_weights = nullptr;                  ///< (rows) set where there are weights
  Real* sums = nullptr;  ///< rows of `width` numbers, to which rows of d_x are added; or null
  const std::uint32_t* sum_rows = nullptr;  ///< to which of them each is
};

template <class Real>
void norm_silu_gradient(const NormSiluGradient<Real>& back);

/// out[i] = 1 / (1 + exp(−in[i])); may be in place. Floats: within 3e-7 of it, relatively, and at
/// least 1e-38. A NaN stays one.
template <class Real>
void sigmoids(const Real* in, std::size_t count, Real* out);

/// The sigmoids' logarithms, which stay finite. Floats: within 2e-7 of them, absolutely or
/// relatively.
template <class Real>
void log_sigmoids(const Real* in, std::size_t count, Real* out);

/// out[i] = exp(in[i]); may be in place. Floats: within 2e-7 of it, relatively, |in| cut at 87. A
/// NaN stays one.
template <class Real>
void exponentials(const Real* in, std::size_t count, Real* out);

}  // namespace accrete::models
