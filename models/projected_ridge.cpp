// Projecting in pieces of 64 numbers, summing, solving.
#include "models/projected_ridge.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include <Eigen/Cholesky>

#include "models/matrix_bytes.h"
#include "proto/result.h"
#include "proto/rng.h"

namespace accrete::models {
namespace {

constexpr Eigen::Index kPiece = 64;  // signs in one draw; (F, 64) floats stay near the caches

}  // namespace

ProjectedRidge::ProjectedRidge(const ProjectedRidgeOptions& options) : options_(options) {
  ACCRETE_CHECK(std::has_single_bit(options.own) && options.own >= 64);
  ACCRETE_CHECK(options.around == 0 ||
                (std::has_single_bit(options.around) && options.around >= 64));
  ACCRETE_CHECK(options.around <= options.own);
  ACCRETE_CHECK(options.lambda > 0);
  pin_block_sizes();
}

Eigen::Index ProjectedRidge::size() const {
  return static_cast<Eigen::Index>(options_.own + options_.around);
}

/// Numbers [from, from + 64) of a projection to `width` for all columns.
void ProjectedRidge::signs(std::size_t columns, std::size_t width, Eigen::Index from,
                           RowMatrix<float>& out) const {
  out.resize(static_cast<Eigen::Index>(columns), kPiece);
  const float size = 1 / std::sqrt(static_cast<float>(width));
  const auto first = static_cast<std::size_t>(from);
  float* to = out.data();
  std::uint64_t drawn = 0;
  for (std::size_t c = 0; c < columns; ++c) {
    const std::size_t place = c % width;
    if (place == 0) {
      drawn = Rng(options_.seed + first / 64, c / width, Purpose::Projection).next();
    }
    for (std::size_t j = 0; j < 64; ++j) {
      // Entry (place, first + j) of the Hadamard matrix in its natural order.
      const bool odd = (std::popcount(place & (first + j)) & 1) != 0;
      *to++ = odd == (((drawn >> j) & 1) != 0) ? size : -size;
    }
  }
}

Eigen::MatrixXf ProjectedRidge::project(const Neighbourhood& rows, std::size_t columns) const {
  const std::size_t centres = rows.direct.rows();
  const auto n = static_cast<Eigen::Index>(centres);
  const auto width = static_cast<Eigen::Index>(options_.own);
  const auto around = static_cast<Eigen::Index>(options_.around);
  Eigen::MatrixXf design = Eigen::MatrixXf::Zero(n, size());
  RowMatrix<float> r;
  RowMatrix<float> shown;
  RowMatrix<float> near;
  RowMatrix<float> piece;
  for (Eigen::Index at = 0; at < width; at += kPiece) {
    signs(columns, options_.own, at, r);
    multiply(rows.direct, centres, r, piece);
    design.middleCols(at, kPiece) = piece;
    if (at >= around || rows.inner.rows() == 0) continue;
    signs(columns, options_.around, at, r);
    multiply(rows.members, rows.members.rows(), r, shown);
    multiply(rows.inner, rows.inner.rows(), shown, near);
    multiply(rows.inner, centres, near, piece);
    design.middleCols(width + at, kPiece) = piece;
  }
  return design;
}

void ProjectedRidge::learn(const Neighbourhood& rows, std::span<const std::uint32_t> labels,
                           std::size_t columns) {
  ACCRETE_CHECK(labels.size() == rows.direct.rows());
  if (labels.empty()) return;
  const auto n = static_cast<Eigen::Index>(labels.size());
  const Eigen::MatrixXf design = project(rows, columns);
  const std::uint32_t top = *std::max_element(labels.begin(), labels.end());
  const auto classes = std::max<Eigen::Index>(moments_.cols(), top + 1);
  counts_.resize(static_cast<std::size_t>(classes), 0.0);
  if (gram_.size() == 0) gram_ = Eigen::MatrixXf::Zero(size(), size());
  Eigen::MatrixXf moments = Eigen::MatrixXf::Zero(size(), classes);
  if (moments_.size() > 0) moments.leftCols(moments_.cols()) = moments_;
  for (Eigen::Index v = 0; v < n; ++v) {
    const auto i = static_cast<std::size_t>(v);
    moments.col(labels[i]) += design.row(v).transpose();
    counts_[labels[i]] += 1;
  }
  moments_ = std::move(moments);
  gram_.selfadjointView<Eigen::Lower>().rankUpdate(design.transpose());
}

void ProjectedRidge::solve(std::size_t columns, HopWeights<float>& weights) const {
  weights = HopWeights<float>();
  weights.grow(columns, classes());
  if (gram_.size() == 0) return;
  BalancedClasses<float> all = balanced();
  const auto dimensions = static_cast<double>(size());
  const double trace = all.system.diagonal().cast<double>().sum();
  // λ is a share of the mean diagonal, so the system is far from singular and floats suffice.
  all.system.diagonal().array() +=
      static_cast<float>(std::max(options_.lambda * trace / dimensions, 1e-12));
  expand(all.system.selfadjointView<Eigen::Lower>().llt().solve(all.means), columns, weights);
}

void ProjectedRidge::expand(const Eigen::MatrixXf& beta, std::size_t columns,
                            HopWeights<float>& weights) const {
  ACCRETE_CHECK(beta.rows() == size());
  weights = HopWeights<float>();
  weights.grow(columns, static_cast<std::size_t>(beta.cols()));
  RowMatrix<float> r;
  const auto width = static_cast<Eigen::Index>(options_.own);
  const auto around = static_cast<Eigen::Index>(options_.around);
  const Eigen::Index classes_now = beta.cols();
  for (Eigen::Index at = 0; at < width; at += kPiece) {
    signs(columns, options_.own, at, r);
    weights.own.leftCols(classes_now).noalias() += r * beta.middleRows(at, kPiece);
    if (at >= around) continue;
    signs(columns, options_.around, at, r);
    weights.around.leftCols(classes_now).noalias() += r * beta.middleRows(width + at, kPiece);
  }
}

std::size_t ProjectedRidge::memory_bytes() const {
  return static_cast<std::size_t>(gram_.size() + moments_.size()) * sizeof(float);
}

void ProjectedRidge::save(StateWriter& writer) const {
  writer.u64(options_.own);
  writer.u64(options_.around);
  writer.u64(classes());
  writer.u8(gram_.size() > 0 ? 1 : 0);
  for (Eigen::Index c = 0; c < gram_.cols(); ++c) {
    writer.raw(gram_.data() + c * gram_.rows() + c,
               static_cast<std::size_t>(gram_.rows() - c) * sizeof(float));
  }
  writer.raw(moments_.data(), static_cast<std::size_t>(moments_.size()) * sizeof(float));
  writer.doubles(counts_);
}

void ProjectedRidge::load(StateReader& reader, std::size_t classes_max) {
  reader.require(reader.u64() == options_.own);
  reader.require(reader.u64() == options_.around);
  const std::uint64_t classes_now = reader.u64();
  reader.require(classes_now <= classes_max);
  const bool learnt = reader.u8() != 0;
  if (reader.failed()) return;
  gram_.resize(0, 0);
  if (learnt) gram_ = Eigen::MatrixXf::Zero(size(), size());
  for (Eigen::Index c = 0; c < gram_.cols(); ++c) {
    reader.raw(gram_.data() + c * gram_.rows() + c,
               static_cast<std::size_t>(gram_.rows() - c) * sizeof(float));
  }
  moments_ = Eigen::MatrixXf::Zero(learnt ? size() : 0, static_cast<Eigen::Index>(classes_now));
  reader.raw(moments_.data(), static_cast<std::size_t>(moments_.size()) * sizeof(float));
  counts_ = reader.doubles();
  reader.require(counts_.size() == classes_now);
}

}  // namespace accrete::models
