// EM with bounded variances, and blocks told apart by density.
#include "models/gaussian_mixture.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <utility>

#include <Eigen/Eigenvalues>

#include "models/matrix_bytes.h"
#include "models/matrix_product.h"
#include "models/state_bytes.h"

namespace accrete::models {
namespace {

using Index = Eigen::Index;

constexpr std::uint8_t kMixtureVersion = 2;
constexpr std::uint8_t kBlocksVersion = 1;
constexpr double kNoveltyShare = 0.01;
// A component that holds less than a millionth of a row keeps its place: its mean would be noise.
constexpr double kMassMin = 1e-6;
// Keeps densities finite where all values are zero.
constexpr double kVarianceMin = 1e-12;

Index at(std::size_t i) {
  return static_cast<Index>(i);
}

/// Variances of the columns and the floor under all variances.
struct Spread {
  std::vector<double> variances;
  double floor = 0;
};

Spread spread_of(const RowMatrix<float>& rows, double share) {
  const auto n = static_cast<double>(rows.rows());
  const auto width = static_cast<std::size_t>(rows.cols());
  Spread spread{std::vector<double>(width, 0.0)};
  double variance = 0;
  double square = 0;
  for (std::size_t c = 0; c < width; ++c) {
    double sum = 0;
    for (Index i = 0; i < rows.rows(); ++i)
      sum += static_cast<double>(rows(i, at(c)));
    for (Index i = 0; i < rows.rows(); ++i) {
      const double gap = static_cast<double>(rows(i, at(c))) - sum / n;
      spread.variances[c] += gap * gap / n;
    }
    variance += spread.variances[c];
    square += spread.variances[c] + sum / n * (sum / n);
  }
  const auto d = static_cast<double>(width);
  spread.floor = std::max({share * variance / d, share * share * square / d, kVarianceMin});
  return spread;
}

/// Rows by the nearest of a few centres that are rows themselves: the first drawn evenly, the
/// others by squared distance to the nearest so far, in units of the columns' deviations.
struct Start {
  std::vector<std::size_t> nearest;
  std::size_t centres = 0;
};

Start choose_start(const RowMatrix<float>& rows, const Spread& spread, std::size_t centres_max,
                   Rng& rng) {
  const auto n = static_cast<std::size_t>(rows.rows());
  Start start{std::vector<std::size_t>(n, 0)};
  std::vector<double> distance(n, std::numeric_limits<double>::infinity());
  std::size_t centre = static_cast<std::size_t>(rng.below(n));
  while (true) {
    double total = 0;
    std::size_t last = n;
    for (std::size_t i = 0; i < n; ++i) {
      double far = 0;
      for (std::size_t c = 0; c < spread.variances.size(); ++c) {
        const double gap =
            static_cast<double>(rows(at(i), at(c))) - static_cast<double>(rows(at(centre), at(c)));
        far += gap * gap / (spread.variances[c] + spread.floor);
      }
      if (far < distance[i]) {
        distance[i] = far;
        start.nearest[i] = start.centres;
      }
      total += distance[i];
      if (distance[i] > 0) last = i;
    }
    ++start.centres;
    if (start.centres >= centres_max || last == n) return start;
    double left = rng.uniform() * total;
    centre = last;  // where rounding leaves something over
    for (std::size_t i = 0; i < last; ++i) {
      left -= distance[i];
      if (left >= 0 || distance[i] <= 0) continue;
      centre = i;
      break;
    }
  }
}

std::size_t number_bytes(const RowMatrix<float>& matrix) {
  return sizeof(float) * static_cast<std::size_t>(matrix.size());
}

/// Eigenvectors, in columns, of the covariance of the rows' first columns.
RowMatrix<float> principal_axes(const RowMatrix<float>& rows, std::size_t columns) {
  pin_block_sizes();
  const Eigen::MatrixXd all = rows.leftCols(at(columns)).cast<double>();
  const Eigen::MatrixXd gaps = all.rowwise() - all.colwise().mean();
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(gaps.transpose() * gaps);
  return solver.eigenvectors().cast<float>();
}

/// The block of the highest density of a row, the first of equals; `densities`: (B, N).
std::size_t highest(const RowMatrix<double>& densities, Index row) {
  Index best = 0;
  for (Index b = 1; b < densities.rows(); ++b)
    if (densities(b, row) > densities(best, row)) best = b;
  return static_cast<std::size_t>(best);
}

/// log sum exp; `parts` are left as they are.
double log_sum(std::span<const double> parts) {
  const double top = *std::max_element(parts.begin(), parts.end());
  double sum = 0;
  for (const double part : parts)
    sum += std::exp(part - top);
  return top + std::log(sum);
}

}  // namespace

GaussianMixture GaussianMixture::fit(const RowMatrix<float>& told, const MixtureOptions& options,
                                     Rng rng, std::vector<double>* path) {
  ACCRETE_CHECK(told.rows() > 0 && told.cols() > 0 && told.allFinite());
  ACCRETE_CHECK(options.components > 0 && options.variance_floor > 0);
  GaussianMixture mixture;
  const std::size_t axes = std::min(options.axes, static_cast<std::size_t>(told.cols()));
  if (axes > 0) mixture.axes_ = principal_axes(told, axes);
  const RowMatrix<float> rows = mixture.along_axes(told);
  const auto n = static_cast<std::size_t>(rows.rows());
  const Spread spread = spread_of(rows, options.variance_floor);
  const Start start = choose_start(rows, spread, options.components, rng);
  mixture.weights_.assign(start.centres, 0);
  mixture.means_.setZero(at(start.centres), rows.cols());
  mixture.variances_.setConstant(at(start.centres), rows.cols(), spread.floor);
  RowMatrix<double> shares = RowMatrix<double>::Zero(rows.rows(), at(start.centres));
  for (std::size_t i = 0; i < n; ++i)
    shares(at(i), at(start.nearest[i])) = 1;
  mixture.maximise(rows, shares, spread.floor);
  double before = mixture.expect(rows, shares);
  if (path != nullptr) *path = {before};
  for (int round = 0; round < options.rounds_max; ++round) {
    mixture.maximise(rows, shares, spread.floor);
    const double now = mixture.expect(rows, shares);
    if (path != nullptr) path->push_back(now);
    const bool still = now - before < options.gain_min * std::max(1.0, std::abs(before));
    before = now;
    if (still) break;
  }
  std::vector<double> densities;
  densities.reserve(n);
  std::vector<double> parts(mixture.components());
  for (std::size_t i = 0; i < n; ++i)
    densities.push_back(mixture.density_parts(rows, i, parts));
  const auto rank = static_cast<std::ptrdiff_t>(kNoveltyShare * static_cast<double>(n));
  std::nth_element(densities.begin(), densities.begin() + rank, densities.end());
  mixture.novelty_threshold_ = densities[static_cast<std::size_t>(rank)];
  return mixture;
}

RowMatrix<float> GaussianMixture::along_axes(const RowMatrix<float>& rows) const {
  RowMatrix<float> out = rows;
  if (axes_.size() == 0) return out;
  RowMatrix<float> along;
  multiply<float>(rows.leftCols(axes_.rows()), axes_, along);
  out.leftCols(axes_.rows()) = along;
  return out;
}

/// Each component's share of log p goes to `parts` (K); returns log p. `rows` lie along the axes.
double GaussianMixture::density_parts(const RowMatrix<float>& rows, std::size_t row,
                                      std::span<double> parts) const {
  const float* const x = rows.data() + row * width();
  for (std::size_t k = 0; k < components(); ++k) {
    const double* const mean = means_.data() + k * width();
    const double* const precision = precisions_.data() + k * width();
    double far = 0;
    for (std::size_t c = 0; c < width(); ++c) {
      const double gap = static_cast<double>(x[c]) - mean[c];
      far += gap * gap * precision[c];
    }
    parts[k] = offsets_[k] - far / 2;
  }
  return log_sum(parts);
}

double GaussianMixture::log_density(const RowMatrix<float>& rows, std::size_t row) const {
  ACCRETE_CHECK(static_cast<std::size_t>(rows.cols()) == width());
  ACCRETE_CHECK(row < static_cast<std::size_t>(rows.rows()));
  double density = 0;
  log_densities(rows.row(at(row)), {&density, 1});
  return density;
}

void GaussianMixture::log_densities(const RowMatrix<float>& rows, std::span<double> out) const {
  ACCRETE_CHECK(static_cast<std::size_t>(rows.cols()) == width());
  ACCRETE_CHECK(static_cast<std::size_t>(rows.rows()) == out.size());
  std::vector<double> parts(components());
  const RowMatrix<float> turned = axes_.size() > 0 ? along_axes(rows) : RowMatrix<float>();
  const RowMatrix<float>& along = axes_.size() > 0 ? turned : rows;
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = density_parts(along, i, parts);
}

/// Shares (N, K) of the components in each row; returns the mean log density.
double GaussianMixture::expect(const RowMatrix<float>& rows, RowMatrix<double>& shares) const {
  double sum = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(rows.rows()); ++i) {
    const std::span<double> parts(shares.data() + i * components(), components());
    const double density = density_parts(rows, i, parts);
    for (double& part : parts)
      part = std::exp(part - density);
    sum += density;
  }
  return sum / static_cast<double>(rows.rows());
}

void GaussianMixture::maximise(const RowMatrix<float>& rows, const RowMatrix<double>& shares,
                               double floor) {
  const auto n = static_cast<double>(rows.rows());
  for (Index k = 0; k < shares.cols(); ++k) {
    double mass = 0;
    for (Index i = 0; i < rows.rows(); ++i)
      mass += shares(i, k);
    weights_[static_cast<std::size_t>(k)] = mass / n;
    if (mass < kMassMin) continue;
    for (Index c = 0; c < rows.cols(); ++c)
      means_(k, c) = variances_(k, c) = 0;
    for (Index i = 0; i < rows.rows(); ++i) {
      for (Index c = 0; c < rows.cols(); ++c)
        means_(k, c) += shares(i, k) / mass * static_cast<double>(rows(i, c));
    }
    for (Index i = 0; i < rows.rows(); ++i) {
      for (Index c = 0; c < rows.cols(); ++c) {
        const double gap = static_cast<double>(rows(i, c)) - means_(k, c);
        variances_(k, c) += shares(i, k) / mass * gap * gap;
      }
    }
    for (Index c = 0; c < rows.cols(); ++c)
      variances_(k, c) = std::max(variances_(k, c), floor);
  }
  derive();
}

void GaussianMixture::derive() {
  precisions_.resize(means_.rows(), means_.cols());
  offsets_.clear();
  for (Index k = 0; k < means_.rows(); ++k) {
    double logs = 0;
    for (Index c = 0; c < means_.cols(); ++c) {
      precisions_(k, c) = 1 / variances_(k, c);
      logs += std::log(2 * std::numbers::pi * variances_(k, c));
    }
    offsets_.push_back(std::log(weights_[static_cast<std::size_t>(k)]) - logs / 2);
  }
}

RowMatrix<float> GaussianMixture::sample(std::size_t n, Rng& rng) const {
  RowMatrix<float> rows(at(n), means_.cols());
  for (Index i = 0; i < rows.rows(); ++i) {
    double left = rng.uniform();
    std::size_t k = 0;
    while (k + 1 < components() && left >= weights_[k])
      left -= weights_[k++];
    for (Index c = 0; c < rows.cols(); ++c) {
      const double deviation = std::sqrt(variances_(at(k), c));
      rows(i, c) = static_cast<float>(means_(at(k), c) + deviation * rng.normal());
    }
  }
  if (axes_.size() == 0) return rows;
  RowMatrix<float> across;
  multiply_transposed<float>(rows.leftCols(axes_.rows()), axes_, across);
  rows.leftCols(axes_.rows()) = across;
  return rows;
}

std::size_t GaussianMixture::memory_bytes() const {
  return sizeof(double) * (components() * (1 + 2 * width()) + 1) + number_bytes(axes_);
}

void GaussianMixture::save(std::string& out) const {
  StateWriter writer(out);
  writer.u8(kMixtureVersion);
  writer.u64(width());
  writer.u32(static_cast<std::uint32_t>(axes_.rows()));
  writer.raw(axes_.data(), number_bytes(axes_));
  writer.doubles(weights_);
  for (const RowMatrix<double>* matrix : {&means_, &variances_})
    writer.doubles({matrix->data(), static_cast<std::size_t>(matrix->size())});
  writer.f64(novelty_threshold_);
}

Status GaussianMixture::load(std::string_view bytes) {
  StateReader reader(bytes);
  reader.require(reader.u8() == kMixtureVersion);
  const std::uint64_t width = reader.u64();
  GaussianMixture loaded;
  const std::uint64_t axes = reader.u32();
  reader.require(axes <= width && axes * axes <= reader.left() / sizeof(float));
  if (!reader.failed()) {
    loaded.axes_.resize(at(axes), at(axes));
    reader.raw(loaded.axes_.data(), number_bytes(loaded.axes_));
    reader.require(loaded.axes_.allFinite());
  }
  loaded.weights_ = reader.doubles();
  const std::size_t components = loaded.weights_.size();
  reader.require(components > 0 && width > 0 && width <= reader.left());
  double total = 0;
  for (const double weight : loaded.weights_) {
    reader.require(weight >= 0 && weight <= 1 + 1e-9);
    total += weight;
  }
  reader.require(std::abs(total - 1) < 1e-6);
  for (RowMatrix<double>* matrix : {&loaded.means_, &loaded.variances_}) {
    const std::vector<double> values = reader.doubles();
    reader.require(values.size() % std::max<std::size_t>(components, 1) == 0 &&
                   values.size() / std::max<std::size_t>(components, 1) == width);
    if (reader.failed()) break;
    matrix->resize(at(components), at(width));
    std::copy(values.begin(), values.end(), matrix->data());
    reader.require(matrix->allFinite());
  }
  if (!reader.failed()) reader.require(loaded.variances_.minCoeff() > 0);
  loaded.novelty_threshold_ = reader.f64();
  reader.require(std::isfinite(loaded.novelty_threshold_));
  ACCRETE_DO(reader.finish("mixture"));
  loaded.derive();
  *this = std::move(loaded);
  return Ok{};
}

void BlockMixtures::add(std::uint32_t block, const RowMatrix<float>& rows) {
  ACCRETE_CHECK(entries_.empty() ||
                static_cast<std::size_t>(rows.cols()) == entries_.front().mixture.width());
  GaussianMixture mixture =
      GaussianMixture::fit(rows, options_, Rng(seed_, block, Purpose::Training));
  const auto place =
      std::lower_bound(entries_.begin(), entries_.end(), block,
                       [](const Entry& entry, std::uint32_t b) { return entry.block < b; });
  if (place != entries_.end() && place->block == block) {
    place->mixture = std::move(mixture);
  } else {
    entries_.insert(place, {block, std::move(mixture)});
  }
}

void BlockMixtures::drop_lowest() {
  ACCRETE_CHECK(!entries_.empty());
  entries_.erase(entries_.begin());
}

std::vector<std::uint32_t> BlockMixtures::blocks() const {
  std::vector<std::uint32_t> out;
  out.reserve(entries_.size());
  for (const Entry& entry : entries_)
    out.push_back(entry.block);
  return out;
}

const GaussianMixture& BlockMixtures::mixture(std::uint32_t block) const {
  const auto place =
      std::lower_bound(entries_.begin(), entries_.end(), block,
                       [](const Entry& entry, std::uint32_t b) { return entry.block < b; });
  ACCRETE_CHECK(place != entries_.end() && place->block == block);
  return place->mixture;
}

std::vector<std::uint32_t> BlockMixtures::likeliest(const RowMatrix<float>& rows) const {
  ACCRETE_CHECK(!entries_.empty());
  const RowMatrix<double> densities = this->densities(rows);
  std::vector<std::uint32_t> out;
  out.reserve(static_cast<std::size_t>(rows.rows()));
  for (Index i = 0; i < rows.rows(); ++i) {
    out.push_back(entries_[highest(densities, i)].block);
  }
  return out;
}

/// (B, N)
RowMatrix<double> BlockMixtures::densities(const RowMatrix<float>& rows) const {
  RowMatrix<double> out(at(entries_.size()), rows.rows());
  const auto each = static_cast<std::size_t>(rows.rows());
  for (std::size_t b = 0; b < entries_.size(); ++b)
    entries_[b].mixture.log_densities(rows, {out.data() + b * each, each});
  return out;
}

RowMatrix<double> BlockMixtures::posterior(const RowMatrix<float>& rows) const {
  ACCRETE_CHECK(!entries_.empty());
  RowMatrix<double> out = densities(rows).transpose();
  for (std::size_t i = 0; i < static_cast<std::size_t>(rows.rows()); ++i) {
    const std::span<double> row(out.data() + i * entries_.size(), entries_.size());
    const double total = log_sum(row);
    for (double& density : row)
      density = std::exp(density - total);
  }
  return out;
}

double BlockMixtures::novel_share(const RowMatrix<float>& rows) const {
  if (rows.rows() == 0) return 0;
  if (entries_.empty()) return 1;
  const RowMatrix<double> densities = this->densities(rows);
  std::size_t novel = 0;
  for (Index i = 0; i < rows.rows(); ++i) {
    const std::size_t best = highest(densities, i);
    if (densities(at(best), i) < entries_[best].mixture.novelty_threshold()) ++novel;
  }
  return static_cast<double>(novel) / static_cast<double>(rows.rows());
}

PseudoRows BlockMixtures::pseudo_rows(std::size_t per_block, Rng& rng) const {
  PseudoRows out;
  if (entries_.empty()) return out;
  out.rows.resize(at(per_block * entries_.size()), at(entries_.front().mixture.width()));
  for (std::size_t b = 0; b < entries_.size(); ++b) {
    out.rows.middleRows(at(b * per_block), at(per_block)) =
        entries_[b].mixture.sample(per_block, rng);
    out.blocks.insert(out.blocks.end(), per_block, entries_[b].block);
  }
  return out;
}

std::size_t BlockMixtures::memory_bytes() const {
  std::size_t bytes = 0;
  for (const Entry& entry : entries_)
    bytes += entry.mixture.memory_bytes();
  return bytes;
}

void BlockMixtures::save(std::string& out) const {
  StateWriter writer(out);
  writer.u8(kBlocksVersion);
  writer.u64(seed_);
  writer.u64(entries_.size());
  for (const Entry& entry : entries_) {
    std::string bytes;
    entry.mixture.save(bytes);
    writer.u32(entry.block);
    writer.text(bytes);
  }
}

Status BlockMixtures::load(std::string_view bytes) {
  StateReader reader(bytes);
  reader.require(reader.u8() == kBlocksVersion);
  const std::uint64_t seed = reader.u64();
  std::vector<Entry> entries(reader.count(2 * sizeof(std::uint32_t)));
  for (std::size_t b = 0; b < entries.size() && !reader.failed(); ++b) {
    entries[b].block = reader.u32();
    reader.require(entries[b].mixture.load(reader.text()).has_value());
    reader.require(b == 0 || (entries[b - 1].block < entries[b].block &&
                              entries[b].mixture.width() == entries[0].mixture.width()));
  }
  ACCRETE_DO(reader.finish("block mixtures"));
  seed_ = seed;
  entries_ = std::move(entries);
  return Ok{};
}

}  // namespace accrete::models
