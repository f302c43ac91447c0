// Ticks in, design rows out to every head; a new design at positions fixed by the stream.
#include "models/panel.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "models/matrix_bytes.h"

namespace accrete::models {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

constexpr std::uint8_t state_version = 2;
constexpr float missing = std::numeric_limits<float>::quiet_NaN();

// Beyond this skewness labels are regressed on by their logarithm.
constexpr double skewed_min = 2;

std::string head_name(const char* family, const std::vector<HeadSpec>& specs,
                      const HeadSpec& spec) {
  const auto same = std::count_if(specs.begin(), specs.end(), [&](const HeadSpec& other) {
    return other.half_life == spec.half_life;
  });
  std::string name = std::string(family) + "-" + std::to_string(std::lround(spec.half_life / 1000));
  name += "k";
  if (same > 1) name += "-l" + std::to_string(std::lround(1000 * spec.lambda));
  return name;
}

/// Rows of a call as floats, all of one width.
struct RawRows {
  std::size_t width = 0;
  std::vector<float> values;

  std::span<const float> row(std::size_t i) const { return {values.data() + i * width, width}; }
};

void append_raw(std::span<const double> features, std::size_t width, std::vector<float>& out) {
  for (std::size_t j = 0; j < width; ++j) {
    const float x = j < features.size() ? static_cast<float>(features[j]) : missing;
    out.push_back(std::isfinite(x) ? x : missing);
  }
}

RawRows raw_rows(std::span<const Input> inputs, std::size_t width_min) {
  RawRows raw;
  raw.width = width_min;
  for (const Input& input : inputs) {
    raw.width = std::max(raw.width, input.features.size());
  }
  raw.values.reserve(inputs.size() * raw.width);
  for (const Input& input : inputs) {
    append_raw(input.features, raw.width, raw.values);
  }
  return raw;
}

/// Faded moments of labels over ticks.
struct LabelMoments {
  double weight = 0;
  double sum = 0;
  double squares = 0;
  double least = std::numeric_limits<double>::infinity();  // of all, whatever their weights
  double most = -std::numeric_limits<double>::infinity();

  void add(double label, double by) {
    weight += by;
    sum += by * label;
    squares += by * label * label;
    least = std::min(least, label);
    most = std::max(most, label);
  }
  /// A head that is far beyond all labels errs, and where scales are logarithmic errs beyond all
  /// measure: no farther out than the labels lie apart.
  double within(double value) const {
    const double apart = most - least;
    return std::clamp(value, least - apart, most + apart);
  }
  double mean() const { return weight > 0 ? sum / weight : 0; }
  double spread() const {
    if (weight <= 0) return 1;
    const double variance = squares / weight - mean() * mean();
    return variance > 1e-12 * mean() * mean() && variance > 1e-300 ? std::sqrt(variance) : 1;
  }
};

/// Median and mean absolute deviation from it; spread 1 where nothing varies.
LabelScale scale_of(std::vector<double> values, bool logarithmic) {
  LabelScale scale;
  if (values.empty()) return scale;
  if (logarithmic) {
    for (double& v : values) {
      v = std::log1p(std::max(v, 0.0));
    }
  }
  scale.logarithmic = logarithmic;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  scale.centre = *middle;
  double sum = 0;
  for (const double v : values) {
    sum += std::abs(v - scale.centre);
  }
  scale.spread = sum / static_cast<double>(values.size());
  if (!(scale.spread > 1e-12 * std::abs(scale.centre)) || !std::isfinite(scale.spread)) {
    scale.spread = 1;
  }
  return scale;
}

/// No label is negative, and the third standardised moment is large.
bool is_skewed(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  double mean = 0;
  for (const double v : values) {
    if (v < 0) return false;
    mean += v / n;
  }
  double second = 0;
  double third = 0;
  for (const double v : values) {
    second += (v - mean) * (v - mean) / n;
    third += (v - mean) * (v - mean) * (v - mean) / n;
  }
  return second > 0 && third > skewed_min * std::pow(second, 1.5);
}

class Panel final : public CandidateGroup {
 public:
  Panel(TaskKind kind, PanelOptions options)
      : kind_(kind), options_(std::move(options)), memory_(options_.memory) {
    ACCRETE_CHECK(kind != TaskKind::Multiclass);
    pin_block_sizes();
    make_heads();
  }

  std::size_t size() const override { return heads_.size(); }
  std::string_view name(std::size_t k) const override { return heads_[k]->name(); }
  int family(std::size_t k) const override {
    if (k < options_.ridge.size()) return 0;
    return k + options_.trees.size() < heads_.size() ? 1 : 2;
  }
  void open_tick(std::span<const Input> population) override;
  void predict(std::span<const Input> inputs, std::size_t stride,
               std::span<Output> outputs) const override;
  void learn(std::span<const Input> population, std::span<const double> labels,
             std::span<const double> weights) override;
  std::vector<Part> parts() const override;
  void save_part(std::uint64_t id, std::string& out) const override { memory_.save_page(id, out); }
  void save(std::string& out) const override;
  Status load(std::string_view bytes, const ReadPart& read_part) override;

 private:
  struct Population {
    double seeds = 0;
    std::vector<float> means;
  };

  void make_heads();
  bool fitted() const { return refit_at_ > options_.refit_rows; }
  TickBlock block_of(const RawRows& raw, std::span<const std::size_t> rows,
                     std::span<const double> labels, std::span<const double> weights) const;
  void learn_block(const TickBlock& block);
  void refit();
  MemoryRows memory_rows() const;
  void label_scales(LabelScale& linear, LabelScale& skewed, LabelScale& relative) const;
  Output unfitted() const;

  TaskKind kind_;
  PanelOptions options_;
  PanelDesign design_;
  ExampleMemory memory_;
  std::vector<std::unique_ptr<PanelHead>> heads_;
  Population population_;
  LabelMoments labels_;
  LabelScale linear_;
  std::uint64_t learnt_ = 0;
  std::uint64_t refit_at_ = 0;  // examples at which the next design is chosen
};

void Panel::make_heads() {
  refit_at_ = options_.refit_rows;
  heads_.clear();
  for (const HeadSpec& spec : options_.ridge) {
    heads_.push_back(make_ridge_head(kind_, spec, head_name("ridge", options_.ridge, spec)));
  }
  if (kind_ == TaskKind::Binary) {
    for (const HeadSpec& spec : options_.logistic) {
      heads_.push_back(make_logistic_head(spec, head_name("logistic", options_.logistic, spec)));
    }
  }
  for (const HeadSpec& spec : options_.median) {
    if (kind_ == TaskKind::Binary) break;
    heads_.push_back(
        make_median_head(MedianOf::Label, spec, head_name("median", options_.median, spec)));
    heads_.push_back(make_median_head(MedianOf::TickDeviation, spec,
                                      head_name("median-tick", options_.median, spec)));
  }
  for (const HeadSpec& spec : options_.trees) {
    heads_.push_back(make_tree_head(kind_, spec, head_name("trees", options_.trees, spec)));
  }
}

void Panel::open_tick(std::span<const Input> population) {
  const RawRows raw = raw_rows(population, memory_.width());
  population_.seeds = static_cast<double>(population.size());
  population_.means = design_.tick_means(raw.values, raw.width);
  if (!fitted()) return;
  for (auto& head : heads_) {
    head->refresh();
  }
}

Output Panel::unfitted() const {
  Output output;
  output.value = labels_.mean();
  if (kind_ == TaskKind::Binary) output.value = (labels_.sum + 0.5) / (labels_.weight + 1);
  return output;
}

void Panel::predict(std::span<const Input> inputs, std::size_t stride,
                    std::span<Output> outputs) const {
  ACCRETE_CHECK(stride >= size() && outputs.size() + stride >= inputs.size() * stride + size());
  const std::size_t width = std::max(population_.means.size(), memory_.width());
  std::vector<float> means = population_.means;
  means.resize(width, missing);
  const std::vector<std::int32_t> places = design_.places(width);
  std::vector<float> raw;
  VectorXd z(design_.columns());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (fitted()) {
      raw.clear();
      append_raw(inputs[i].features, width, raw);
      design_.fill(raw, means, population_.seeds, places, z);
    }
    for (std::size_t k = 0; k < size(); ++k) {
      Output& output = outputs[i * stride + k];
      output = unfitted();
      if (fitted()) heads_[k]->predict(z, labels_.mean(), labels_.spread(), output);
      if (fitted() && kind_ == TaskKind::Regression) output.value = labels_.within(output.value);
    }
  }
}

TickBlock Panel::block_of(const RawRows& raw, std::span<const std::size_t> rows,
                          std::span<const double> labels, std::span<const double> weights) const {
  TickBlock block;
  block.width = raw.width;
  for (const std::size_t i : rows) {
    const auto row = raw.row(i);
    block.values.insert(block.values.end(), row.begin(), row.end());
    block.labels.push_back(labels[i]);
    block.weights.push_back(weights[i]);
  }
  return block;
}

void Panel::learn_block(const TickBlock& block) {
  if (fitted()) {
    const auto N = static_cast<Index>(block.labels.size());
    TickRows tick{MatrixXd(design_.columns(), N),
                  VectorXd(N),
                  VectorXd(N),
                  block.facts.centre,
                  block.facts.spread,
                  {}};
    const std::vector<std::int32_t> places = design_.places(block.width);
    MatrixXd targets(N, 1);
    for (Index i = 0; i < N; ++i) {
      const auto at = static_cast<std::size_t>(i);
      design_.fill({block.values.data() + at * block.width, block.width}, block.means,
                   block.facts.seeds, places, tick.rows.col(i));
      tick.labels[i] = block.labels[at];
      tick.weights[i] = block.weights[at];
      targets(i, 0) = tick.weights[i] * linear_.target(tick.labels[i]);
    }
    tick.squares = block_sums(tick.rows, tick.weights, targets);
    for (auto& head : heads_) {
      head->learn(tick);
    }
  }
  memory_.append(block);
}

void Panel::learn(std::span<const Input> population, std::span<const double> labels,
                  std::span<const double> weights) {
  ACCRETE_CHECK(labels.size() == population.size() && weights.size() == population.size());
  std::vector<std::size_t> known;
  double weight = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (std::isnan(labels[i])) continue;
    ACCRETE_CHECK(weights[i] > 0 && std::isfinite(labels[i]));
    known.push_back(i);
    weight += weights[i];
  }
  if (known.empty()) return;
  const auto count = static_cast<double>(known.size());
  learnt_ += known.size();
  if (fitted()) {
    for (auto& head : heads_) {
      head->fade(count);
    }
  }
  const RawRows raw = raw_rows(population, memory_.width());
  const std::vector<float> means = design_.tick_means(raw.values, raw.width);
  const std::span<const std::size_t> all(known);
  for (std::size_t begin = 0; begin < all.size(); begin += ExampleMemory::page_rows) {
    const std::size_t size = std::min(ExampleMemory::page_rows, all.size() - begin);
    TickBlock block = block_of(raw, all.subspan(begin, size), labels, weights);
    block.means = means;
    block.facts = {learnt_, static_cast<double>(population.size()), labels_.mean(),
                   labels_.spread()};
    learn_block(block);
  }
  const double factor = std::pow(options_.tick_fade, weight / count);
  labels_.weight *= factor;
  labels_.sum *= factor;
  labels_.squares *= factor;
  for (const std::size_t i : known)
    labels_.add(labels[i], weights[i]);
  if (learnt_ >= refit_at_) refit();
}

void Panel::label_scales(LabelScale& linear, LabelScale& skewed, LabelScale& relative) const {
  if (kind_ == TaskKind::Binary) return;
  std::vector<double> plain;
  std::vector<double> deviations;
  visit_examples(memory_, options_.design.moment_rows, options_.design.half_life,
                 [&](const ExampleMemory::Page& page, std::size_t i, double) {
                   const TickFacts& facts = page.facts(i);
                   plain.push_back(page.labels[i]);
                   deviations.push_back((page.labels[i] - facts.centre) / facts.spread);
                 });
  linear = scale_of(plain, false);
  skewed = is_skewed(plain) ? scale_of(plain, true) : linear;
  relative = scale_of(std::move(deviations), false);
}

MemoryRows Panel::memory_rows() const {
  const auto N = static_cast<Index>(memory_.rows());
  MemoryRows all;
  all.rows.resize(design_.columns(), N);
  for (VectorXd* v : {&all.labels, &all.weights, &all.ages, &all.centres, &all.spreads}) {
    v->resize(N);
  }
  Index at = 0;
  for (const ExampleMemory::Page& page : memory_.pages()) {
    const std::vector<std::int32_t> places = design_.places(page);
    for (std::size_t i = 0; i < page.rows(); ++i, ++at) {
      const TickFacts& facts = page.facts(i);
      design_.fill(page.row(i), page.tick_means(i), facts.seeds, places, all.rows.col(at));
      all.labels[at] = page.labels[i];
      all.weights[at] = page.weights[i];
      all.ages[at] = static_cast<double>(learnt_ - facts.position);
      all.centres[at] = facts.centre;
      all.spreads[at] = facts.spread;
    }
  }
  return all;
}

void Panel::refit() {
  LabelScale skewed;
  LabelScale relative;
  label_scales(linear_, skewed, relative);
  const PanelDesign old = design_;
  std::vector<std::uint32_t> shortlist = design_.choose(memory_, skewed, options_.design);
  if (!shortlist.empty()) memory_.set_shortlist(std::move(shortlist));
  MemoryRows all = memory_rows();
  all.linear = linear_;
  all.skewed = skewed;
  all.relative = relative;
  all.position = learnt_;
  for (auto& head : heads_) {
    head->refit(all, old, design_);
  }
  const auto grown = static_cast<double>(learnt_) * (1 + options_.refit_growth);
  refit_at_ = std::max(learnt_ + options_.refit_rows, static_cast<std::uint64_t>(grown));
}

std::vector<CandidateGroup::Part> Panel::parts() const {
  std::vector<Part> parts;
  parts.reserve(memory_.pages().size());
  for (const ExampleMemory::Page& page : memory_.pages()) {
    parts.push_back({page.id, page.version()});
  }
  return parts;
}

void Panel::save(std::string& out) const {
  StateWriter writer(out);
  writer.u8(state_version);
  writer.u8(static_cast<std::uint8_t>(kind_));
  writer.u64(learnt_);
  writer.u64(refit_at_);
  writer.f64(population_.seeds);
  writer.u64(population_.means.size());
  writer.raw(population_.means.data(), population_.means.size() * sizeof(float));
  for (const double v :
       {labels_.weight, labels_.sum, labels_.squares, labels_.least, labels_.most}) {
    writer.f64(v);
  }
  linear_.save(writer);
  memory_.save(writer);
  design_.save(writer);
  if (!fitted()) return;
  for (const auto& head : heads_) {
    head->save(writer);
  }
}

Status Panel::load(std::string_view bytes, const ReadPart& read_part) {
  StateReader reader(bytes);
  reader.require(reader.u8() == state_version);
  reader.require(reader.u8() == static_cast<std::uint8_t>(kind_));
  Panel fresh(kind_, options_);
  fresh.learnt_ = reader.u64();
  fresh.refit_at_ = reader.u64();
  fresh.population_.seeds = reader.f64();
  fresh.population_.means.resize(reader.count(sizeof(float)));
  reader.raw(fresh.population_.means.data(), fresh.population_.means.size() * sizeof(float));
  for (double* v : {&fresh.labels_.weight, &fresh.labels_.sum, &fresh.labels_.squares,
                    &fresh.labels_.least, &fresh.labels_.most}) {
    *v = reader.f64();
  }
  fresh.linear_.load(reader);
  ACCRETE_DO(fresh.memory_.load(reader, read_part));
  fresh.design_.load(reader);
  reader.require(fresh.refit_at_ >= options_.refit_rows);
  reader.require(!fresh.fitted() || fresh.labels_.least <= fresh.labels_.most);
  if (!reader.failed() && fresh.fitted()) {
    for (auto& head : fresh.heads_) {
      head->load(reader, fresh.design_.columns());
    }
  }
  ACCRETE_DO(reader.finish("panel"));
  design_ = std::move(fresh.design_);
  memory_ = std::move(fresh.memory_);
  heads_ = std::move(fresh.heads_);
  population_ = std::move(fresh.population_);
  labels_ = fresh.labels_;
  linear_ = fresh.linear_;
  learnt_ = fresh.learnt_;
  refit_at_ = fresh.refit_at_;
  return Ok{};
}

}  // namespace

std::unique_ptr<CandidateGroup> make_panel(TaskKind kind, const PanelOptions& options) {
  return std::make_unique<Panel>(kind, options);
}

}  // namespace accrete::models
