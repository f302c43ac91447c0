// Propagation forward and backward, and Adam on the convex problem.
#include "models/propagation.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "proto/result.h"

namespace accrete::models {
namespace {

constexpr double kBeta1 = 0.9;
constexpr double kBeta2 = 0.999;
constexpr double kEpsilon = 1e-8;

template <class Real>
void grow_matrix(RowMatrix<Real>& matrix, std::size_t rows, std::size_t cols) {
  RowMatrix<Real> grown =
      RowMatrix<Real>::Zero(static_cast<Eigen::Index>(rows), static_cast<Eigen::Index>(cols));
  grown.topLeftCorner(matrix.rows(), matrix.cols()) = matrix;
  matrix = std::move(grown);
}

/// One Adam step on a matrix; `rate` is already corrected for the moments' start at zero.
template <class Real>
struct AdamMoments {
  RowMatrix<Real> first;
  RowMatrix<Real> second;

  void step(const RowMatrix<Real>& gradient, double rate, double second_scale,
            RowMatrix<Real>& weights) {
    if (first.size() == 0) {
      first = RowMatrix<Real>::Zero(gradient.rows(), gradient.cols());
      second = first;
    }
    const auto g = gradient.array();
    first.array() = static_cast<Real>(kBeta1) * first.array() + static_cast<Real>(1 - kBeta1) * g;
    second.array() =
        static_cast<Real>(kBeta2) * second.array() + static_cast<Real>(1 - kBeta2) * g * g;
    weights.array() -=
        static_cast<Real>(rate) * first.array() /
        ((second.array() * static_cast<Real>(second_scale)).sqrt() + static_cast<Real>(kEpsilon));
  }
};

}  // namespace

float normalised_edge(double edges, double degree_v, double degree_u) {
  return static_cast<float>(edges / std::sqrt((degree_v + 1) * (degree_u + 1)));
}

template <class Real>
void HopWeights<Real>::grow(std::size_t columns, std::size_t classes_now) {
  classes = std::max(classes, classes_now);
  const std::size_t rows = std::max(columns, this->columns());
  const std::size_t cols = padded_outputs(classes);
  const bool same = rows == this->columns() && cols == static_cast<std::size_t>(own.cols());
  if (same) return;
  grow_matrix(own, rows, cols);
  grow_matrix(around, rows, cols);
}

template <class Real>
void scores(const Neighbourhood& rows, const HopWeights<Real>& weights, RowMatrix<Real>& out) {
  const std::size_t centres = rows.direct.rows();
  multiply(rows.direct, centres, weights.own, out);
  if (rows.inner.rows() == 0) return;
  RowMatrix<Real> shown;
  RowMatrix<Real> near;
  RowMatrix<Real> around;
  multiply(rows.members, rows.members.rows(), weights.around, shown);
  multiply(rows.inner, rows.inner.rows(), shown, near);
  multiply(rows.inner, centres, near, around);
  out += around;
}

template <class Real>
void softmax(std::span<Real> row) {
  const Real top = *std::max_element(row.begin(), row.end());
  Real total = 0;
  for (Real& score : row) {
    score = std::exp(score - top);
    total += score;
  }
  for (Real& score : row)
    score /= total;
}

template <class Real>
double softmax_objective(const Neighbourhood& rows, std::span<const std::uint32_t> labels,
                         std::span<const Real> row_weights, const HopWeights<Real>& weights,
                         double decay, HopWeights<Real>* gradient) {
  const std::size_t centres = rows.direct.rows();
  ACCRETE_CHECK(labels.size() == centres && row_weights.size() == centres);
  RowMatrix<Real> o;
  scores(rows, weights, o);
  const auto stride = static_cast<std::size_t>(o.cols());
  double loss = 0;
  for (std::size_t v = 0; v < centres; ++v) {
    Real* const row = o.data() + v * stride;
    softmax(std::span<Real>(row, weights.classes));
    ACCRETE_CHECK(labels[v] < weights.classes);
    const double said = std::max(static_cast<double>(row[labels[v]]), 1e-30);
    loss -= static_cast<double>(row_weights[v]) * std::log(said);
    // From here on the row is the gradient by its scores; padding takes no part.
    const Real scale = row_weights[v] / static_cast<Real>(centres);
    row[labels[v]] -= 1;
    for (std::size_t k = 0; k < stride; ++k)
      row[k] = k < weights.classes ? row[k] * scale : Real(0);
  }
  loss /= static_cast<double>(std::max<std::size_t>(centres, 1));
  loss += decay / 2 * static_cast<double>(weights.own.squaredNorm() + weights.around.squaredNorm());
  if (gradient == nullptr) return loss;
  gradient->classes = weights.classes;
  gradient->own = static_cast<Real>(decay) * weights.own;
  gradient->around = static_cast<Real>(decay) * weights.around;
  add_transposed(rows.direct, o, gradient->own);
  if (rows.inner.rows() == 0) return loss;
  RowMatrix<Real> near =
      RowMatrix<Real>::Zero(static_cast<Eigen::Index>(rows.inner.rows()), o.cols());
  RowMatrix<Real> shown =
      RowMatrix<Real>::Zero(static_cast<Eigen::Index>(rows.members.rows()), o.cols());
  add_transposed(rows.inner, o, near);
  add_transposed(rows.inner, near, shown);
  add_transposed(rows.members, shown, gradient->around);
  return loss;
}

template <class Real>
double fit_softmax(const Neighbourhood& rows, std::span<const std::uint32_t> labels,
                   std::span<const Real> row_weights, const SoftmaxFitOptions& options,
                   HopWeights<Real>& weights) {
  HopWeights<Real> gradient;
  AdamMoments<Real> own;
  AdamMoments<Real> around;
  double loss = 0;
  double power1 = 1;
  double power2 = 1;
  for (int epoch = 0; epoch < options.epochs; ++epoch) {
    loss = softmax_objective(rows, labels, row_weights, weights, options.decay, &gradient);
    power1 *= kBeta1;
    power2 *= kBeta2;
    const double turn = std::numbers::pi * epoch / options.epochs;
    const double rate = options.rate * (1 + std::cos(turn)) / 2 / (1 - power1);
    own.step(gradient.own, rate, 1 / (1 - power2), weights.own);
    if (rows.inner.rows() > 0) around.step(gradient.around, rate, 1 / (1 - power2), weights.around);
  }
  return loss;
}

std::vector<float> balanced_weights(std::span<const std::uint32_t> labels) {
  std::vector<double> counts;
  for (const std::uint32_t label : labels) {
    if (label >= counts.size()) counts.resize(label + 1, 0.0);
    counts[label] += 1;
  }
  const auto classes = static_cast<double>(
      std::count_if(counts.begin(), counts.end(), [](double count) { return count > 0; }));
  std::vector<float> weights;
  weights.reserve(labels.size());
  for (const std::uint32_t label : labels) {
    weights.push_back(
        static_cast<float>(static_cast<double>(labels.size()) / (classes * counts[label])));
  }
  return weights;
}

void save_hop_weights(StateWriter& writer, const HopWeights<float>& weights) {
  writer.u64(weights.columns());
  writer.u64(weights.classes);
  for (const RowMatrix<float>* matrix : {&weights.own, &weights.around})
    writer.raw(matrix->data(), static_cast<std::size_t>(matrix->size()) * sizeof(float));
}

void load_hop_weights(StateReader& reader, std::size_t columns_max, std::size_t classes_max,
                      HopWeights<float>& weights) {
  const std::uint64_t columns = reader.u64();
  const std::uint64_t classes = reader.u64();
  reader.require(columns <= columns_max && classes <= classes_max);
  reader.require(reader.left() / sizeof(float) / 2 / std::max<std::uint64_t>(columns, 1) >=
                     padded_outputs(classes) ||
                 columns == 0);
  if (reader.failed()) return;
  HopWeights<float> loaded;
  loaded.grow(columns, classes);
  for (RowMatrix<float>* matrix : {&loaded.own, &loaded.around})
    reader.raw(matrix->data(), static_cast<std::size_t>(matrix->size()) * sizeof(float));
  weights = std::move(loaded);
}

template struct HopWeights<float>;
template struct HopWeights<double>;
template void scores(const Neighbourhood&, const HopWeights<float>&, RowMatrix<float>&);
template void scores(const Neighbourhood&, const HopWeights<double>&, RowMatrix<double>&);
template void softmax(std::span<float>);
template void softmax(std::span<double>);
template double softmax_objective(const Neighbourhood&, std::span<const std::uint32_t>,
                                  std::span<const float>, const HopWeights<float>&, double,
                                  HopWeights<float>*);
template double softmax_objective(const Neighbourhood&, std::span<const std::uint32_t>,
                                  std::span<const double>, const HopWeights<double>&, double,
                                  HopWeights<double>*);
template double fit_softmax(const Neighbourhood&, std::span<const std::uint32_t>,
                            std::span<const float>, const SoftmaxFitOptions&, HopWeights<float>&);
template double fit_softmax(const Neighbourhood&, std::span<const std::uint32_t>,
                            std::span<const double>, const SoftmaxFitOptions&, HopWeights<double>&);

}  // namespace accrete::models
