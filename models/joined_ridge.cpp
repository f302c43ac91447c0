// Summing and solving.
#include "models/joined_ridge.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <Eigen/Cholesky>

#include "models/candidate.h"
#include "models/matrix_bytes.h"
#include "proto/result.h"

namespace accrete::models {
namespace {

using Eigen::Index;
using Eigen::Lower;

constexpr double kInterceptPrior = 1e-3;
constexpr double kDiagonalMin = 1e-12;  // a block of columns that says nothing can be solved, too

/// Empty where rounding left no positive definite system: there is nothing better than before.
template <class Matrix>
Matrix solved(const Matrix& system, const Matrix& moments) {
  const auto factors = system.template selfadjointView<Lower>().llt();
  if (factors.info() != Eigen::Success) return {};
  return factors.solve(moments);
}

}  // namespace

template <class Real>
JoinedRidge<Real>::JoinedRidge(const JoinedRidgeOptions& options) : options_(options) {
  ACCRETE_CHECK(options.joined > 0 && options.lambda > 0 && options.base_lambda > 0);
  ACCRETE_CHECK(options.classes || options.base == 0);
  pin_block_sizes();
}

template <class Real>
void JoinedRidge<Real>::learn(const Matrix& base, const RowMatrix<Real>& joined,
                              std::span<const double> targets) {
  const auto n = static_cast<Index>(targets.size());
  const auto first = static_cast<Index>(options_.base);
  const auto width = static_cast<Index>(options_.joined);
  ACCRETE_CHECK(joined.rows() == n && joined.cols() == width);
  ACCRETE_CHECK(first == 0 || (base.rows() == n && base.cols() == first));
  if (n == 0) return;
  Matrix design(n, size());
  if (first > 0) design.leftCols(first) = base;
  design.middleCols(first, width) = joined;
  design.col(size() - 1).setOnes();
  Index outputs = std::max<Index>(moments_.cols(), 1);
  for (const double target : targets) {
    ACCRETE_CHECK(std::isfinite(target));
    if (!options_.classes) continue;
    ACCRETE_CHECK(target >= 0 && target < static_cast<double>(classes_max));
    outputs = std::max(outputs, static_cast<Index>(target) + 1);
  }
  if (gram_.size() == 0) gram_ = Matrix::Zero(size(), size());
  Matrix moments = Matrix::Zero(size(), outputs);
  if (moments_.size() > 0) moments.leftCols(moments_.cols()) = moments_;
  counts_.resize(static_cast<std::size_t>(outputs), 0.0);
  for (Index i = 0; i < n; ++i) {
    if (!design.row(i).allFinite()) {
      design.row(i).setZero();
      continue;
    }
    const double target = targets[static_cast<std::size_t>(i)];
    const Index output = options_.classes ? static_cast<Index>(target) : 0;
    const Real value = options_.classes ? Real(1) : static_cast<Real>(target);
    moments.col(output) += value * design.row(i).transpose();
    counts_[static_cast<std::size_t>(output)] += 1;
  }
  moments_ = std::move(moments);
  gram_.template selfadjointView<Lower>().rankUpdate(design.transpose());
}

template <class Real>
typename JoinedRidge<Real>::Matrix JoinedRidge<Real>::solve_number() const {
  Matrix system = gram_;
  system.diagonal().array() += static_cast<Real>(options_.lambda * static_cast<double>(size()));
  system(size() - 1, size() - 1) = gram_(size() - 1, size() - 1) + Real(kInterceptPrior);
  return solved(system, moments_);
}

template <class Real>
typename JoinedRidge<Real>::Matrix JoinedRidge<Real>::solve(
    const BalancedClasses<Real>* before) const {
  if (gram_.size() == 0) return {};
  if (!options_.classes) return solve_number();
  BalancedClasses<Real> all = balance_classes<Real>(gram_, moments_, counts_);
  const auto first = static_cast<Index>(options_.base);
  if (before != nullptr && before->system.size() > 0) {
    ACCRETE_CHECK(first > 0 && before->system.rows() == first && before->means.rows() == first);
    all.system.topLeftCorner(first, first) += before->system;
    const Index known = all.means.cols();
    const Index more = before->means.cols();
    all.means.conservativeResize(Eigen::NoChange, std::max(known, more));
    all.means.rightCols(all.means.cols() - known).setZero();
    all.means.topLeftCorner(first, more) += before->means;
  }
  const auto penalise = [&](Index begin, Index count, double lambda) {
    if (count == 0) return;
    auto diagonal = all.system.diagonal().segment(begin, count);
    const double sum = diagonal.template cast<double>().sum();
    diagonal.array() +=
        static_cast<Real>(std::max(lambda * sum / static_cast<double>(count), kDiagonalMin));
  };
  penalise(0, first, options_.base_lambda);
  penalise(first, size() - first, options_.lambda);
  return solved(all.system, all.means);
}

template <class Real>
std::size_t JoinedRidge<Real>::memory_bytes() const {
  return static_cast<std::size_t>(gram_.size() + moments_.size()) * sizeof(Real);
}

template <class Real>
void JoinedRidge<Real>::save(StateWriter& writer) const {
  writer.u8(options_.classes ? 1 : 0);
  writer.u64(options_.base);
  writer.u64(options_.joined);
  writer.doubles(counts_);
  for (Index c = 0; c < gram_.cols(); ++c)
    writer.raw(&gram_(c, c), static_cast<std::size_t>(gram_.rows() - c) * sizeof(Real));
  writer.raw(moments_.data(), static_cast<std::size_t>(moments_.size()) * sizeof(Real));
}

template <class Real>
void JoinedRidge<Real>::load(StateReader& reader, std::size_t outputs_max) {
  reader.require(reader.u8() == (options_.classes ? 1 : 0));
  reader.require(reader.u64() == options_.base);
  reader.require(reader.u64() == options_.joined);
  counts_ = reader.doubles();
  reader.require(counts_.size() <= (options_.classes ? outputs_max : 1));
  if (reader.failed()) return;
  const bool learnt = !counts_.empty();
  gram_ = Matrix::Zero(learnt ? size() : 0, learnt ? size() : 0);
  for (Index c = 0; c < gram_.cols(); ++c)
    reader.raw(&gram_(c, c), static_cast<std::size_t>(gram_.rows() - c) * sizeof(Real));
  moments_ = Matrix::Zero(learnt ? size() : 0, static_cast<Index>(counts_.size()));
  reader.raw(moments_.data(), static_cast<std::size_t>(moments_.size()) * sizeof(Real));
}

template class JoinedRidge<float>;
template class JoinedRidge<double>;

}  // namespace accrete::models
