// Logits as columns, and Newton on the scales.
#include "models/logit_residual.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <Eigen/Cholesky>

#include "models/matrix_bytes.h"
#include "models/state_bytes.h"

namespace accrete::models {
namespace {

constexpr std::uint8_t state_version = 2;
constexpr Eigen::Index kShared = 2;  // scales before those of the experts: a and b
constexpr double kProbabilityMin = 1e-6;
// Of a scale: 1 over the variance of its prior. An expert's own differs from what all share by
// about a third, unless examples say otherwise: there are few of each block.
constexpr double kSharedPrior = 1;
constexpr double kExpertPrior = 10;
constexpr double kClassPrior = 0.5;
constexpr int kStepsMax = 20;
constexpr int kHalvingsMax = 20;
constexpr double kFallMin = 1e-9;  // of the objective, in nats: then it is the minimum

bool is_finite(double number) {
  return std::isfinite(number);
}

/// Probabilities of classes; none: it says nothing.
std::vector<double> classes_of(TaskKind kind, const Output& output) {
  if (kind == TaskKind::Multiclass) return output.classes;
  if (!std::isfinite(output.value)) return {};
  return {1 - output.value, output.value};
}

Eigen::VectorXd logits_of(const std::vector<double>& shares, std::size_t classes) {
  Eigen::VectorXd out(static_cast<Eigen::Index>(classes));
  for (std::size_t k = 0; k < classes; ++k) {
    const double share = k < shares.size() ? shares[k] : 0;
    out(static_cast<Eigen::Index>(k)) = std::log(std::max(share, kProbabilityMin));
  }
  return out;
}

/// Scores become probabilities; returns the logarithm of what they are divided by.
double softmax(Eigen::VectorXd& scores) {
  const double top = scores.maxCoeff();
  scores = (scores.array() - top).exp();
  const double sum = scores.sum();
  scores /= sum;
  return top + std::log(sum);
}

Eigen::VectorXd vector_of(const std::vector<double>& numbers) {
  return Eigen::Map<const Eigen::VectorXd>(numbers.data(),
                                           static_cast<Eigen::Index>(numbers.size()));
}

/// `columns`: how many scales are not of classes.
double prior_of(Eigen::Index scale, Eigen::Index columns) {
  if (scale < kShared) return kSharedPrior;
  return scale < columns ? kExpertPrior : kClassPrior;
}

}  // namespace

LogitResidual::LogitResidual(TaskKind kind) : kind_(kind) {
  pin_block_sizes();
  ACCRETE_CHECK(kind == TaskKind::Binary || kind == TaskKind::Multiclass);
}

void LogitResidual::begin(const Eigen::MatrixXd& shares) {
  constexpr auto groups = static_cast<Eigen::Index>(kExpertsMax);
  const Eigen::Index experts = shares.cols();
  shares_ = Eigen::MatrixXd::Zero(shares.rows(), std::min(experts, groups));
  for (Eigen::Index t = 0; t < experts; ++t)
    shares_.col(experts <= groups ? t : t * groups / experts) += shares.col(t);
  scales_.clear();  // those were of other experts
  without_ = {};
  examples_.clear();
}

/// Not usable where either says nothing.
LogitResidual::Example LogitResidual::example_of(const Output& head, const Output& network,
                                                 std::size_t most) const {
  const std::vector<double> by_head = classes_of(kind_, head);
  const std::vector<double> by_network = classes_of(kind_, network);
  Example example;
  if (by_head.empty() || by_network.empty()) return example;
  const std::size_t classes = std::min(std::max(by_head.size(), by_network.size()), most);
  example.start = logits_of(by_head, classes);
  const Eigen::VectorXd added = logits_of(by_network, classes);
  const Eigen::Index experts = shares_.cols() > 1 ? shares_.cols() : 0;
  example.columns.resize(added.size(), kShared + experts);
  example.columns.col(0) = example.start;
  example.columns.col(1) = added;
  const auto known = std::min(shares_.rows(), static_cast<Eigen::Index>(by_head.size()));
  const Eigen::VectorXd block = shares_.topRows(known).transpose() * vector_of(by_head).head(known);
  for (Eigen::Index t = 0; t < experts; ++t)
    example.columns.col(kShared + t) = block(t) * added;
  example.label = 0;
  return example;
}

void LogitResidual::say(const Output& head, const Output& network, double label) {
  Example example = example_of(head, network, kClassesMax);
  const auto classes = static_cast<double>(example.start.size());
  if (example.label == 0)
    example.label = label >= 0 && label < classes ? static_cast<Eigen::Index>(label) : -1;
  examples_.push_back(std::move(example));
}

/// Not yet probabilities.
Eigen::VectorXd LogitResidual::logits(const Example& example, const Scales& scales) {
  const Eigen::Index columns = example.columns.cols();
  const auto classes = static_cast<Eigen::Index>(scales.size()) - columns;
  const Eigen::VectorXd by = vector_of(scales);
  Eigen::VectorXd said = example.start + example.columns * by.head(columns);
  const Eigen::Index own = std::min(classes, said.size());
  said.head(own) += by.segment(columns, own);
  return said;
}

/// Log loss of these examples, and of the scales by their prior. Of a class's own number the column
/// is one there and zero elsewhere, so it is not written out.
double LogitResidual::objective(const Scales& scales, const Members& members, Slope* slope) const {
  const Eigen::VectorXd by = vector_of(scales);
  const Eigen::Index columns = examples_[members.front()].columns.cols();
  double loss = 0;
  if (slope != nullptr) slope->curvature.setZero();
  for (Eigen::Index j = 0; j < by.size(); ++j) {
    const double prior = prior_of(j, columns);
    loss += 0.5 * prior * by(j) * by(j);
    if (slope == nullptr) continue;
    slope->gradient(j) = prior * by(j);
    slope->curvature(j, j) = prior;
  }
  for (const std::size_t i : members) {
    const Example& example = examples_[i];
    Eigen::VectorXd said = logits(example, scales);
    const double own = said(example.label);
    loss += softmax(said) - own;
    if (slope == nullptr) continue;
    const Eigen::MatrixXd weighed = said.asDiagonal() * example.columns;
    const Eigen::VectorXd mean = weighed.colwise().sum().transpose();
    slope->gradient.head(columns) += mean - example.columns.row(example.label).transpose();
    slope->gradient.segment(columns, said.size()) += said;
    slope->gradient(columns + example.label) -= 1;
    auto shared = slope->curvature.topLeftCorner(columns, columns);
    shared.noalias() += example.columns.transpose() * weighed;
    shared.noalias() -= mean * mean.transpose();
    auto across = slope->curvature.block(columns, 0, said.size(), columns);
    across += weighed;
    across.noalias() -= said * mean.transpose();
    auto classes = slope->curvature.block(columns, columns, said.size(), said.size());
    classes.diagonal() += said;
    classes.noalias() -= said * said.transpose();
  }
  return loss;
}

LogitResidual::Scales LogitResidual::fit_to(const Members& members) const {
  if (members.empty()) return {};
  Eigen::Index classes = 0;
  for (const std::size_t i : members)
    classes = std::max(classes, examples_[i].start.size());
  const Eigen::Index size = examples_[members.front()].columns.cols() + classes;
  Scales scales(static_cast<std::size_t>(size), 0.0);
  Slope slope{Eigen::VectorXd(size), Eigen::MatrixXd(size, size)};
  for (int step = 0; step < kStepsMax; ++step) {
    const double before = objective(scales, members, &slope);
    const Eigen::VectorXd move = slope.curvature.llt().solve(-slope.gradient);
    double after = before;
    Scales tried;
    double share = 1;
    for (int i = 0; i < kHalvingsMax; ++i, share /= 2) {
      tried = scales;
      for (std::size_t j = 0; j < tried.size(); ++j)
        tried[j] += share * move(static_cast<Eigen::Index>(j));
      after = objective(tried, members, nullptr);
      if (after < before) break;
    }
    if (!(after < before)) break;
    scales = std::move(tried);
    if (before - after < kFallMin) break;
  }
  return scales;
}

void LogitResidual::fit() {
  std::array<Members, 2> halves;
  Members all;
  for (std::size_t i = 0; i < examples_.size(); ++i) {
    if (examples_[i].label < 0) continue;
    halves[i % 2].push_back(i);
    all.push_back(i);
  }
  without_ = {fit_to(halves[1]), fit_to(halves[0])};
  scales_ = fit_to(all);
  double gain = 0;
  for (std::size_t half = 0; half < halves.size(); ++half) {
    const Scales& by = without_.at(half);
    if (by.empty()) continue;
    // The prior is no part of what is explained.
    for (const std::size_t i : halves.at(half)) {
      const Example& example = examples_[i];
      Eigen::VectorXd head = example.start;
      Eigen::VectorXd both = logits(example, by);
      gain += both(example.label) - head(example.label);
      gain += softmax(head) - softmax(both);
    }
  }
  if (!(gain > kGainMin)) {
    scales_.clear();
    without_ = {};
  }
  examples_ = {};
}

void LogitResidual::combine_by(const Scales& scales, const Output& head, const Output& network,
                               Output& out) const {
  out = head;
  out.variance = 0;
  if (scales.empty()) return;
  const Example example = example_of(head, network, classes_max);
  if (example.label < 0) return;
  ACCRETE_CHECK(example.columns.cols() < static_cast<Eigen::Index>(scales.size()));
  Eigen::VectorXd said = logits(example, scales);
  softmax(said);
  if (kind_ == TaskKind::Binary) {
    out.value = said(1);
  } else {
    out.classes.assign(said.begin(), said.end());
  }
}

void LogitResidual::combine(const Output& head, const Output& network, Output& out) const {
  combine_by(scales_, head, network, out);
}

void LogitResidual::combine_held_out(std::size_t example, const Output& head, const Output& network,
                                     Output& out) const {
  combine_by(without_.at(example % 2), head, network, out);
}

std::size_t LogitResidual::memory_bytes() const {
  return (static_cast<std::size_t>(shares_.size()) + scales_.capacity()) * sizeof(double);
}

void LogitResidual::save(std::string& out) const {
  StateWriter writer(out);
  writer.u8(state_version);
  writer.u64(static_cast<std::uint64_t>(shares_.rows()));
  writer.u64(static_cast<std::uint64_t>(shares_.cols()));
  writer.doubles({shares_.data(), static_cast<std::size_t>(shares_.size())});
  writer.doubles(scales_);
}

Status LogitResidual::load(std::string_view bytes) {
  StateReader reader(bytes);
  LogitResidual read(kind_);
  reader.require(reader.u8() == state_version);
  const std::uint64_t classes = reader.u64();
  const std::uint64_t experts = reader.u64();
  const std::vector<double> shares = reader.doubles();
  read.scales_ = reader.doubles();
  const std::uint64_t columns = kShared + (experts > 1 ? experts : 0);
  reader.require(classes <= classes_max && experts <= kExpertsMax);
  reader.require(!reader.failed() && classes * experts == shares.size());
  reader.require(std::ranges::all_of(shares, is_finite) &&
                 std::ranges::all_of(read.scales_, is_finite));
  reader.require(read.scales_.empty() ||
                 (read.scales_.size() > columns && read.scales_.size() <= columns + kClassesMax));
  ACCRETE_DO(reader.finish("logit residual"));
  read.shares_ = Eigen::Map<const Eigen::MatrixXd>(
      shares.data(), static_cast<Eigen::Index>(classes), static_cast<Eigen::Index>(experts));
  *this = std::move(read);
  return Ok{};
}

}  // namespace accrete::models
