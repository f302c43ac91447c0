#include "models/row_norm.h"

#include <cmath>

#include "proto/result.h"

namespace accrete::models {
namespace {

constexpr double kEpsilon = 1e-5;

template <class Real>
Real sigmoid(Real y) {
  return Real(1) / (Real(1) + std::exp(-y));
}

}  // namespace

template <class Real>
LayerNorm<Real>::LayerNorm(std::size_t width) {
  gain.value.setOnes(1, static_cast<Eigen::Index>(width));
  shift.value.setZero(1, static_cast<Eigen::Index>(width));
}

template <class Real>
void LayerNorm<Real>::forward(const RowMatrix<Real>& x, RowMatrix<Real>& y, Tape* tape) const {
  const Eigen::Index d = gain.value.cols();
  ACCRETE_CHECK(x.cols() == d);
  if (tape != nullptr) {
    tape->normal.resize(x.rows(), d);
    tape->scale.resize(static_cast<std::size_t>(x.rows()));
  }
  y.resize(x.rows(), d);
  for (Eigen::Index i = 0; i < x.rows(); ++i) {
    const Real* const in = x.data() + i * d;
    Real* const out = y.data() + i * d;
    Real mean = 0;
    for (Eigen::Index j = 0; j < d; ++j)
      mean += in[j];
    mean /= static_cast<Real>(d);
    Real variance = 0;
    for (Eigen::Index j = 0; j < d; ++j)
      variance += (in[j] - mean) * (in[j] - mean);
    variance /= static_cast<Real>(d);
    const Real scale = Real(1) / std::sqrt(variance + static_cast<Real>(kEpsilon));
    for (Eigen::Index j = 0; j < d; ++j) {
      const Real normal = (in[j] - mean) * scale;
      if (tape != nullptr) tape->normal(i, j) = normal;
      out[j] = normal * gain.value(0, j) + shift.value(0, j);
    }
    if (tape != nullptr) tape->scale[static_cast<std::size_t>(i)] = scale;
  }
}

template <class Real>
void LayerNorm<Real>::backward(const Tape& tape, const RowMatrix<Real>& d_y, RowMatrix<Real>& d_x) {
  const Eigen::Index d = gain.value.cols();
  ACCRETE_CHECK(d_y.rows() == tape.normal.rows() && d_y.cols() == d);
  RowMatrix<Real>& d_gain = gain.grad();
  RowMatrix<Real>& d_shift = shift.grad();
  d_x.resize(d_y.rows(), d);
  for (Eigen::Index i = 0; i < d_y.rows(); ++i) {
    const Real* const normal = tape.normal.data() + i * d;
    const Real* const above = d_y.data() + i * d;
    Real* const below = d_x.data() + i * d;
    Real mean = 0;
    Real along = 0;
    for (Eigen::Index j = 0; j < d; ++j) {
      const Real by_normal = above[j] * gain.value(0, j);
      mean += by_normal;
      along += by_normal * normal[j];
      d_gain(0, j) += above[j] * normal[j];
      d_shift(0, j) += above[j];
    }
    mean /= static_cast<Real>(d);
    along /= static_cast<Real>(d);
    const Real scale = tape.scale[static_cast<std::size_t>(i)];
    for (Eigen::Index j = 0; j < d; ++j)
      below[j] = (above[j] * gain.value(0, j) - mean - normal[j] * along) * scale;
  }
}

template <class Real>
void LayerNorm<Real>::visit(std::string_view prefix, const VisitParameter<Real>& visit) {
  visit(std::string(prefix) + ".gain", gain);
  visit(std::string(prefix) + ".shift", shift);
}

template <class Real>
void apply_silu(RowMatrix<Real>& y) {
  for (Eigen::Index i = 0; i < y.size(); ++i)
    y.data()[i] *= sigmoid(y.data()[i]);
}

template <class Real>
void silu_backward(const RowMatrix<Real>& y, RowMatrix<Real>& gradient) {
  ACCRETE_CHECK(y.rows() == gradient.rows() && y.cols() == gradient.cols());
  for (Eigen::Index i = 0; i < y.size(); ++i) {
    const Real s = sigmoid(y.data()[i]);
    gradient.data()[i] *= s * (Real(1) + y.data()[i] * (Real(1) - s));
  }
}

template struct LayerNorm<float>;
template struct LayerNorm<double>;
template void apply_silu(RowMatrix<float>&);
template void apply_silu(RowMatrix<double>&);
template void silu_backward(const RowMatrix<float>&, RowMatrix<float>&);
template void silu_backward(const RowMatrix<double>&, RowMatrix<double>&);

}  // namespace accrete::models
