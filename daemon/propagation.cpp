// When the propagation learners fit, on which rows, and how they answer.
#include "daemon/propagation.h"

#include <algorithm>
#include <utility>

#include "proto/rng.h"

namespace accrete::daemon {
namespace {

constexpr std::size_t kClassesMax = 64;
constexpr std::uint64_t kFitRowsMin = 64;

// Numbers of the projection of hop 0; hop 2 has half of it. On the validation nodes of graphs/cs,
// mean of three seeds: 512 and 512 gave 94.1 points, 1,024 with 256, 512 and 1,024 gave 94.6, 94.8
// and 94.8; the sums cost the square of the total.
constexpr std::size_t kRidgeWidthMax = 1024;
constexpr std::size_t kRidgeRows = 4096;  // of one addition to its sums, at most

constexpr std::size_t kArrivalNewest = 64;

// Weights, gradient and two moments of Adam, two hops, at most 64 classes.
constexpr std::size_t kColumnBytes = kClassesMax * 8 * sizeof(float);

std::size_t columns_max(std::size_t bytes_max) {
  return std::clamp<std::size_t>(bytes_max / 4 / kColumnBytes, 1024, 1u << 16);
}

/// The sums and the two copies that solving takes are to fit into half of what there is.
models::ProjectedRidgeOptions ridge_options(const PropagationOptions& limits, bool graph) {
  models::ProjectedRidgeOptions options;
  options.own = kRidgeWidthMax;
  const auto bytes = [&] {
    const std::size_t size = options.own + options.own / 2;
    return 3 * sizeof(float) * size * size;
  };
  while (options.own > 128 && bytes() > limits.bytes_max / 2)
    options.own /= 2;
  options.around = graph ? options.own / 2 : 0;
  options.seed = limits.seed;
  return options;
}

}  // namespace

std::unique_ptr<Propagation> Propagation::make(const TaskPlan& plan, const TaskWorld& world,
                                               const PropagationOptions& options) {
  if (plan.kind == TaskKind::Regression || !plan.column) return nullptr;
  PropagationPlan found = plan_propagation(*world.schema, plan.entity, *plan.column);
  if (!found.any()) return nullptr;
  return std::unique_ptr<Propagation>(new Propagation(plan, std::move(found), world, options));
}

Propagation::Propagation(const TaskPlan& task, PropagationPlan plan, const TaskWorld& world,
                         const PropagationOptions& options)
    : name_(task.name),
      kind_(task.kind),
      plan_(std::move(plan)),
      options_(options),
      encoder_(columns_max(options.bytes_max)),
      reader_(plan_, world, encoder_, options.bytes_max / 4),
      ridge_(ridge_options(options, plan_.graph())) {}

std::uint8_t* Propagation::slot(std::uint32_t row) {
  const std::size_t page = row / kPageRows;
  if (page >= pages_.size()) pages_.resize(page + 1);
  if (pages_[page].labels.empty()) pages_[page].labels.assign(kPageRows, kNoLabel);
  pages_[page].dirty = true;
  return &pages_[page].labels[row % kPageRows];
}

std::size_t Propagation::classes() const {
  return kind_ == TaskKind::Binary ? 2 : class_rows_.size();
}

void Propagation::learn(std::uint32_t row, double label) {
  const auto index = static_cast<std::size_t>(kind_ == TaskKind::Binary ? label > 0.5 : label);
  if (index >= kClassesMax) return;
  std::uint8_t* const known = slot(row);
  if (*known != kNoLabel) return;
  ++labelled_;
  *known = static_cast<std::uint8_t>(index);
  if (index >= class_rows_.size()) class_rows_.resize(index + 1);
  ++class_rows_[index];
  fresh_.push_back(row);
}

void Propagation::forget(std::uint32_t row) {
  const std::size_t page = row / kPageRows;
  if (page >= pages_.size() || pages_[page].labels.empty()) return;
  std::uint8_t* const known = &pages_[page].labels[row % kPageRows];
  if (*known == kNoLabel) return;
  --class_rows_[*known];
  --labelled_;
  *known = kNoLabel;
  pages_[page].dirty = true;
  std::erase(fresh_, row);
}

bool Propagation::fit_if_due(TimeUs at) {
  if (fresh_.empty()) return false;
  const std::uint64_t enough = std::max(kFitRowsMin, labelled_at_fit_ / 10);
  if (fresh_.size() < enough && class_rows_.size() <= classes_at_fit_) return false;
  if (options_.from_rows) fit_softmax(at);
  add_to_ridge(at);
  ridge_.solve(encoder_.keys().size(), ridge_weights_);
  fresh_.clear();
  labelled_at_fit_ = labelled_;
  classes_at_fit_ = class_rows_.size();
  fitted_dirty_ = true;
  return true;
}

/// Rows with a label as learners are to see them.
std::vector<RowAt> Propagation::shown(std::span<const std::uint32_t> rows, TimeUs at) const {
  std::vector<RowAt> out;
  out.reserve(rows.size());
  for (const std::uint32_t row : rows)
    out.push_back({row, shown_at_ ? shown_at_(row, at) : at});
  return out;
}

void Propagation::fit_softmax(TimeUs at) {
  struct Draw {
    std::uint64_t order = 0;
    std::uint32_t row = 0;
  };
  std::vector<Draw> draws;
  draws.reserve(labelled_);
  for (std::size_t p = 0; p < pages_.size(); ++p) {
    for (std::size_t i = 0; i < pages_[p].labels.size(); ++i) {
      if (pages_[p].labels[i] == kNoLabel) continue;
      const auto row = static_cast<std::uint32_t>(p * kPageRows + i);
      draws.push_back({Rng(options_.seed, row, Purpose::Training).next(), row});
    }
  }
  // Smallest hash first: what fits is a uniform subset, and much the same one at the next fit.
  std::sort(draws.begin(), draws.end(), [](const Draw& a, const Draw& b) {
    return a.order != b.order ? a.order < b.order : a.row < b.row;
  });
  std::vector<std::uint32_t> rows;
  rows.reserve(draws.size());
  for (const Draw& draw : draws)
    rows.push_back(draw.row);
  models::Neighbourhood around;
  ReadLimits limits;
  limits.bytes_max = options_.bytes_max / 2;
  rows.resize(reader_.read(shown(rows, at), limits, true, around));
  std::vector<std::uint32_t> labels;
  labels.reserve(rows.size());
  for (const std::uint32_t row : rows)
    labels.push_back(pages_[row / kPageRows].labels[row % kPageRows]);
  softmax_.grow(encoder_.keys().size(), classes());
  models::fit_softmax<float>(around, labels, models::balanced_weights(labels), {}, softmax_);
}

std::size_t Propagation::ridge_rows_max() const {
  return std::clamp<std::size_t>(options_.bytes_max / 4 / ridge_.row_bytes(), 64, kRidgeRows);
}

/// The rows labelled since the last fit; they are not read again for this learner.
void Propagation::add_to_ridge(TimeUs at) {
  const std::vector<RowAt> fresh = shown(fresh_, at);
  std::span<const RowAt> rest = fresh;
  models::Neighbourhood around;
  ReadLimits limits;
  limits.bytes_max = options_.bytes_max / 4;
  const std::size_t rows_max = ridge_rows_max();
  while (!rest.empty()) {
    // Where a softmax was fitted, what these rows show has its columns since then.
    const std::size_t taken = reader_.read(rest.first(std::min(rest.size(), rows_max)), limits,
                                           !options_.from_rows, around);
    std::vector<std::uint32_t> labels;
    for (const auto& [row, shown_at] : rest.first(taken))
      labels.push_back(pages_[row / kPageRows].labels[row % kPageRows]);
    ridge_.learn(around, labels, encoder_.keys().size());
    rest = rest.subspan(taken);
  }
}

void Propagation::project(std::span<const RowAt> rows, Eigen::MatrixXf& out) {
  out.resize(static_cast<Eigen::Index>(rows.size()), static_cast<Eigen::Index>(ridge_.width()));
  models::Neighbourhood around;
  ReadLimits limits;
  limits.bytes_max = options_.bytes_max / 4;
  for (std::size_t done = 0; done < rows.size();) {
    const auto rest = rows.subspan(done, std::min(rows.size() - done, ridge_rows_max()));
    const std::size_t taken = reader_.read(rest, limits, false, around);
    out.middleRows(static_cast<Eigen::Index>(done), static_cast<Eigen::Index>(taken)) =
        ridge_.project(around, encoder_.keys().size());
    done += taken;
  }
}

void Propagation::join(const Eigen::MatrixXf& head) {
  ridge_.expand(head, encoder_.keys().size(), joined_);
  joined_dirty_ = true;
}

void Propagation::answer_one(std::span<const float> scores, std::size_t classes, bool logits,
                             models::Output& out) const {
  std::vector<float> said(scores.begin(), scores.begin() + static_cast<std::ptrdiff_t>(classes));
  if (logits && !said.empty()) models::softmax(std::span<float>(said));
  double total = 0;
  out = models::Output{};
  for (const float value : said) {
    // A ridge's scores are about probabilities; those at or below zero are only unlikely.
    out.classes.push_back(std::max(static_cast<double>(value), 0.001));
    total += out.classes.back();
  }
  for (double& probability : out.classes)
    probability /= total;
  if (kind_ != TaskKind::Binary) return;
  out.value = out.classes.size() > 1 ? out.classes[1] : 0.5;
  out.classes.clear();
}

void Propagation::answer(const models::Neighbourhood& rows, std::span<Answers> out) const {
  models::RowMatrix<float> scores;
  for (const bool logits : {true, false}) {
    if (logits && !options_.from_rows) continue;
    const models::HopWeights<float>& weights = logits ? softmax_ : ridge_weights_;
    models::scores(rows, weights, scores);
    const auto stride = static_cast<std::size_t>(scores.cols());
    for (std::size_t i = 0; i < out.size(); ++i) {
      answer_one({scores.data() + i * stride, stride}, weights.classes, logits,
                 out[i][logits ? 0 : 1]);
    }
  }
  if (joined_.columns() == 0) return;
  models::scores(rows, joined_, scores);
  const auto stride = static_cast<std::size_t>(scores.cols());
  for (std::size_t i = 0; i < out.size(); ++i) {
    const float* const said = scores.data() + i * stride;
    out[i].base.assign(said, said + joined_.classes);
  }
}

void Propagation::predict(std::span<const std::uint32_t> rows, TimeUs at,
                          std::vector<Answers>& out) {
  out.assign(rows.size(), unknown());
  if (classes_at_fit_ == 0) return;
  std::vector<RowAt> distinct;
  distinct.reserve(rows.size());
  for (const std::uint32_t row : rows)
    distinct.push_back({row, at});
  std::ranges::sort(distinct, {}, &RowAt::row);
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  std::vector<Answers> answers(distinct.size());
  ReadLimits limits;
  limits.bytes_max = options_.bytes_max / 4;
  models::Neighbourhood around;
  for (std::size_t done = 0; done < distinct.size();) {
    const std::size_t taken =
        reader_.read(std::span(distinct).subspan(done), limits, false, around);
    answer(around, std::span(answers).subspan(done, taken));
    done += taken;
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto place = std::ranges::lower_bound(distinct, rows[i], {}, &RowAt::row);
    out[i] = answers[static_cast<std::size_t>(place - distinct.begin())];
  }
}

/// What is said before the first fit.
Propagation::Answers Propagation::unknown() const {
  Answers answers;
  for (models::Output& output : answers)
    output.value = kind_ == TaskKind::Binary ? 0.5 : 0;
  return answers;
}

void Propagation::predict_arrival(std::uint32_t row, TimeUs at, Answers& out) {
  out = unknown();
  if (classes_at_fit_ == 0) return;
  models::Neighbourhood around;
  ReadLimits limits;
  limits.newest_max = kArrivalNewest;
  limits.bytes_max = options_.bytes_max / 4;
  const RowAt arrival{row, at};
  reader_.read({&arrival, 1}, limits, false, around);
  answer(around, {&out, 1});
}

std::size_t Propagation::memory_bytes() const {
  const auto floats = 2 * (softmax_.own.size() + ridge_weights_.own.size() + joined_.own.size());
  return pages_.size() * kPageRows + fresh_.capacity() * sizeof(std::uint32_t) +
         encoder_.memory_bytes() + reader_.memory_bytes() + ridge_.memory_bytes() +
         static_cast<std::size_t>(floats) * sizeof(float);
}

}  // namespace accrete::daemon
