// A task's features from the aggregates of its keys.
#include "daemon/features.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <optional>
#include <utility>

#include "daemon/feature_names.h"
#include "daemon/feature_run.h"
#include "daemon/synthesis.h"
#include "models/encoder.h"
#include "proto/bytes.h"
#include "proto/time.h"

namespace accrete::daemon {
namespace {

using models::AggregateForm;
using models::AggregateReading;
using store::Section;
using Run = FeatureRun;

// Four of them still are a number of microseconds.
constexpr std::int64_t kLongestWindowUs = std::numeric_limits<std::int64_t>::max() / 8;

constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();
constexpr std::size_t kLabelColumns = 2;  // the label; its distance to the mean of its tick
constexpr std::size_t kSeasonWidth = 2;
constexpr double kYearDays = 365.2425;
constexpr double kUnitsPerWindow = 32;  // ages are told in 32nds of the task's window

class SynthesisFeatures final : public FeatureSource {
 public:
  SynthesisFeatures(const TaskPlan& plan, std::size_t task, const Schema& schema,
                    Synthesis& synthesis, RowReader& rows, store::Graph& graph)
      : task_(plan.name),
        entity_(plan.entity),
        schema_(schema),
        synthesis_(synthesis),
        rows_(rows),
        graph_(graph),
        keys_(synthesis.plan().keys[task]),
        lives_(lives_of(plan, synthesis.plan().half_lives_us)),
        window_us_(window_us(plan)),
        unit_us_(static_cast<double>(window_us_) / kUnitsPerWindow),
        known_(synthesis.plan().sources.size(), 0),
        categories_(synthesis.plan().sources.size()),
        priors_(synthesis.plan().sources.size()) {
    append({Run::Kind::Season, 0, 0, 0, 0});
    for (std::size_t k = 0; k < keys_.size(); ++k)
      add_key(k);
  }

  void observe(std::span<const Value> cells) override {
    grow();
    const std::size_t before = encoder_.width();
    encoder_.observe(schema_.table(entity_), cells);
    if (encoder_.width() == before) return;
    append({Run::Kind::Row, 0, 0, static_cast<std::uint32_t>(before),
            static_cast<std::uint32_t>(encoder_.width())});
  }

  void mature(std::span<const std::uint32_t> rows, std::span<const double> labels,
              TimeUs at) override;
  std::size_t width() override {
    grow();
    return width_;
  }
  void compute(NodeId entity, TimeUs at, std::vector<double>& out) override;
  std::vector<std::string> names() override;
  std::size_t memory_bytes() const override { return runs_.capacity() * sizeof(Run); }
  void stage(store::State& state) override;
  Status load(store::State& state) override;

 private:
  const StreamPlan& stream_plan(std::size_t stream) const {
    return synthesis_.plan().streams[stream];
  }
  std::span<const std::size_t> lives_of_source(std::size_t source) const {
    static constexpr std::size_t kOnly[] = {0};
    return synthesis_.plan().sources[source].timed ? std::span(lives_) : std::span(kOnly);
  }
  /// Of other keys' rows the newest few told linear heads of the last big day rather than of the
  /// entity (bench/RESULTS.md).
  bool has_window(const Run& run) const { return keys_[run.key].way == KeyPlan::Way::Self; }
  /// Rows that name the entity themselves and have times: the graph counts them in any window.
  bool has_recent(std::size_t key, std::size_t stream) const {
    const StreamPlan& plan = stream_plan(stream);
    return keys_[key].way == KeyPlan::Way::Self && plan.ordered() &&
           synthesis_.plan().sources[plan.source].timed;
  }
  bool has_mode(const Run& run) const {
    const StreamPlan& plan = stream_plan(keys_[run.key].streams[run.stream]);
    return plan.ordered() && run.begin < categories_[plan.source].size();
  }
  static std::size_t middle(std::span<const std::size_t> lives) { return lives[lives.size() / 2]; }

  std::size_t width_of(const Run& run) const;
  void append(const Run& run) {
    runs_.push_back(run);
    width_ += width_of(run);
  }
  void add_label_states(std::size_t key);
  void add_key(std::size_t key);
  void add_columns(std::size_t source, std::size_t width);
  void grow();
  std::uint32_t resolve(const KeyPlan& key, std::uint32_t entity) const;
  void resolve_all(std::uint32_t entity);
  void refresh_priors();
  AggregateReading reading_of(std::size_t source, TimeUs at) const;
  void compute_run(const Run& run, TimeUs at, double* out);
  void season(TimeUs at, double* out) const;

  void name_run(const Run& run, std::vector<std::string>& names);
  std::vector<std::string> life_names() const;

  std::string task_;
  TableId entity_;
  const Schema& schema_;
  Synthesis& synthesis_;
  RowReader& rows_;
  store::Graph& graph_;
  const std::vector<KeyPlan>& keys_;
  std::vector<std::size_t> lives_;
  std::int64_t window_us_;
  double unit_us_;

  std::vector<Run> runs_;
  std::size_t width_ = 0;
  std::size_t grown_ = 0;           // of Synthesis::growth()
  std::vector<std::size_t> known_;  // by source: columns that have runs
  std::vector<std::vector<std::vector<std::size_t>>> categories_;  // by source: of those columns
  models::RowEncoder encoder_;
  std::vector<AggregateForm> labels_;  // by key
  std::vector<AggregatePages> label_pages_;
  std::uint64_t label_number_ = 0;

  std::vector<std::vector<double>> priors_;  // by source
  std::vector<double> label_priors_;
  std::optional<std::uint64_t> priors_of_;  // Synthesis::changes() they were read at
  std::vector<std::uint32_t> key_rows_;     // of the entity at hand
  std::vector<double> encoded_;
};

std::size_t SynthesisFeatures::width_of(const Run& run) const {
  switch (run.kind) {
    case Run::Kind::Season:
      return kSeasonWidth;
    case Run::Kind::Header:
    case Run::Kind::Columns: {
      const std::size_t stream = keys_[run.key].streams[run.stream];
      const AggregateForm& form = synthesis_.form(stream);
      const std::size_t lives = lives_of_source(stream_plan(stream).source).size();
      if (run.kind == Run::Kind::Header) return form.header_width(lives, has_window(run));
      return form.column_width(lives, has_window(run)) * (run.end - run.begin);
    }
    case Run::Kind::LabelHeader:
      return labels_[run.key].header_width(lives_.size());
    case Run::Kind::LabelColumns:
      return labels_[run.key].column_width(lives_.size()) * kLabelColumns;
    case Run::Kind::Row:
      return run.end - run.begin;
    case Run::Kind::Recent:
      return std::size(kRecentWindows);
    case Run::Kind::Mode:
      return AggregateForm::mode_width;
  }
  return 0;
}

void SynthesisFeatures::add_label_states(std::size_t key) {
  const bool ordered = keys_[key].way != KeyPlan::Way::Everything;
  const bool window = keys_[key].way == KeyPlan::Way::Self;
  labels_.emplace_back(synthesis_.plan().half_lives_us, kLabelColumns, 0, ordered, window);
  label_pages_.emplace_back(task_ + "/labels/" + std::to_string(key) + "/", labels_.back().size(),
                            synthesis_.budget());
}

void SynthesisFeatures::add_key(std::size_t key) {
  add_label_states(key);
  const auto k = static_cast<std::uint16_t>(key);
  for (std::size_t s = 0; s < keys_[key].streams.size(); ++s) {
    const auto stream = static_cast<std::uint16_t>(s);
    append({Run::Kind::Header, k, stream, 0, 0});
    if (has_recent(key, keys_[key].streams[s])) append({Run::Kind::Recent, k, stream, 0, 0});
  }
  append({Run::Kind::LabelHeader, k, 0, 0, 0});
  append({Run::Kind::LabelColumns, k, 0, 0, kLabelColumns});
  for (std::size_t s = 0; s < keys_[key].streams.size(); ++s) {
    const std::size_t known = known_[stream_plan(keys_[key].streams[s]).source];
    if (known == 0) continue;
    append({Run::Kind::Columns, k, static_cast<std::uint16_t>(s), 0,
            static_cast<std::uint32_t>(known)});
  }
}

void SynthesisFeatures::add_columns(std::size_t source, std::size_t width) {
  const auto before = std::exchange(categories_[source], synthesis_.categories(source, width));
  for (std::size_t k = 0; k < labels_.size(); ++k) {
    for (std::size_t s = 0; s < keys_[k].streams.size(); ++s) {
      const StreamPlan& plan = stream_plan(keys_[k].streams[s]);
      if (plan.source != source) continue;
      Run run{Run::Kind::Columns, static_cast<std::uint16_t>(k), static_cast<std::uint16_t>(s),
              static_cast<std::uint32_t>(known_[source]), static_cast<std::uint32_t>(width)};
      append(run);
      if (!has_window(run) || !plan.ordered()) continue;
      // A category has a mode once two of its values have columns.
      run.kind = Run::Kind::Mode;
      for (std::size_t i = 0; i < categories_[source].size(); ++i) {
        if (categories_[source][i].size() < 2) continue;
        if (i < before.size() && before[i].size() >= 2) continue;
        run.begin = static_cast<std::uint32_t>(i);
        run.end = run.begin + 1;
        append(run);
      }
    }
  }
  known_[source] = width;
}

/// Give what came since the last call its positions, in the order it came.
void SynthesisFeatures::grow() {
  const auto& growth = synthesis_.growth();
  for (; grown_ < growth.size(); ++grown_) {
    const Synthesis::Growth& come = growth[grown_];
    if (come.kind == Synthesis::Growth::Kind::Columns) {
      add_columns(come.source, come.value);
    } else if (synthesis_.plan().sources[come.source].table == entity_) {
      add_key(labels_.size());
    }
  }
}

std::uint32_t SynthesisFeatures::resolve(const KeyPlan& key, std::uint32_t entity) const {
  switch (key.way) {
    case KeyPlan::Way::Self:
      return entity;
    case KeyPlan::Way::Everything:
      return 0;
    case KeyPlan::Way::Parent: {
      std::uint32_t row = entity;
      for (const std::size_t hop : key.hops)
        row = synthesis_.hop(hop, row);
      return row;
    }
    case KeyPlan::Way::Newest: {
      const double* state = synthesis_.state(key.stream, entity);
      const AggregateForm& form = synthesis_.form(key.stream);
      if (state == nullptr || form.count(state) == 0) return Synthesis::kNoKey;
      const double link = form.links(state)[key.link];
      return link < 0 ? Synthesis::kNoKey : static_cast<std::uint32_t>(link);
    }
  }
  return Synthesis::kNoKey;
}

void SynthesisFeatures::resolve_all(std::uint32_t entity) {
  key_rows_.clear();
  for (const KeyPlan& key : keys_)
    key_rows_.push_back(resolve(key, entity));
}

void SynthesisFeatures::mature(std::span<const std::uint32_t> rows, std::span<const double> labels,
                               TimeUs at) {
  if (rows.empty()) return;
  grow();
  double sum = 0;
  for (const double label : labels)
    sum += label;
  const double mean = sum / static_cast<double>(labels.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    resolve_all(rows[i]);
    const double values[kLabelColumns] = {labels[i], labels[i] - mean};
    ++label_number_;
    for (std::size_t k = 0; k < labels_.size(); ++k) {
      if (key_rows_[k] == Synthesis::kNoKey) continue;
      double* state = label_pages_[k].touch(key_rows_[k]);
      if (state == nullptr) continue;
      labels_[k].add(
          state, {static_cast<double>(at.value), static_cast<double>(label_number_), values, {}});
    }
  }
  priors_of_.reset();
}

void SynthesisFeatures::refresh_priors() {
  if (priors_of_ == synthesis_.changes()) return;
  priors_of_ = synthesis_.changes();
  for (std::size_t source = 0; source < priors_.size(); ++source) {
    if (synthesis_.plan().sources[source].streams.empty()) continue;
    synthesis_.means(source, middle(lives_of_source(source)), priors_[source]);
  }
  label_priors_.assign(kLabelColumns, kMissing);
  for (std::size_t k = 0; k < keys_.size(); ++k) {
    if (keys_[k].way != KeyPlan::Way::Everything) continue;
    labels_[k].means(label_pages_[k].find(0), middle(lives_), label_priors_);
  }
}

AggregateReading SynthesisFeatures::reading_of(std::size_t source, TimeUs at) const {
  return {static_cast<double>(at.value), unit_us_, lives_of_source(source), priors_[source]};
}

void SynthesisFeatures::season(TimeUs at, double* out) const {
  const double days = static_cast<double>(at.value) / static_cast<double>(kDayUs);
  const double angle = 2 * std::numbers::pi * std::fmod(days, kYearDays) / kYearDays;
  out[0] = std::sin(angle);
  out[1] = std::cos(angle);
}

void SynthesisFeatures::compute_run(const Run& run, TimeUs at, double* out) {
  switch (run.kind) {
    case Run::Kind::Season:
      season(at, out);
      return;
    case Run::Kind::Header:
    case Run::Kind::Columns: {
      const std::size_t stream = keys_[run.key].streams[run.stream];
      const AggregateForm& form = synthesis_.form(stream);
      const double* state = synthesis_.state(stream, key_rows_[run.key]);
      AggregateReading reading = reading_of(stream_plan(stream).source, at);
      reading.window = has_window(run);
      if (run.kind == Run::Kind::Header) {
        form.read_header(state, reading, out);
      } else {
        form.read_columns(state, reading, run.begin, run.end, out);
      }
      return;
    }
    case Run::Kind::LabelHeader:
    case Run::Kind::LabelColumns: {
      const AggregateForm& form = labels_[run.key];
      const std::uint32_t row = key_rows_[run.key];
      const double* state = row == Synthesis::kNoKey ? nullptr : label_pages_[run.key].find(row);
      const AggregateReading reading{static_cast<double>(at.value), unit_us_, lives_,
                                     label_priors_};
      if (run.kind == Run::Kind::LabelHeader) {
        form.read_header(state, reading, out);
      } else {
        form.read_columns(state, reading, 0, kLabelColumns, out);
      }
      return;
    }
    case Run::Kind::Row:
      for (std::size_t i = run.begin; i < run.end; ++i) {
        *out++ = encoded_[i];
      }
      return;
    case Run::Kind::Recent: {
      const RelationId relation = stream_plan(keys_[run.key].streams[run.stream]).relation;
      for (const std::int64_t windows : kRecentWindows) {
        const TimeUs after = shift(at, -windows * std::min(window_us_, kLongestWindowUs));
        const NodeId entity{entity_, key_rows_[run.key]};
        *out++ = std::log1p(static_cast<double>(graph_.count(relation, entity, after, at, at)));
      }
      return;
    }
    case Run::Kind::Mode: {
      const std::size_t stream = keys_[run.key].streams[run.stream];
      synthesis_.form(stream).read_mode(synthesis_.state(stream, key_rows_[run.key]),
                                        categories_[stream_plan(stream).source][run.begin], out);
      return;
    }
  }
}

void SynthesisFeatures::compute(NodeId entity, TimeUs at, std::vector<double>& out) {
  grow();
  refresh_priors();
  resolve_all(entity.row);
  const RowContent* row = rows_.row(entity, at);
  encoder_.encode(row == nullptr ? std::span<const Value>() : std::span(row->cells), at, encoded_);
  out.resize(width_);
  double* next = out.data();
  for (const Run& run : runs_) {
    compute_run(run, at, next);
    next += width_of(run);
  }
}

std::vector<std::string> SynthesisFeatures::life_names() const {
  std::vector<std::string> names;
  for (const std::size_t life : lives_)
    names.push_back(life_name(synthesis_.plan().half_lives_us[life]));
  return names;
}

void SynthesisFeatures::name_run(const Run& run, std::vector<std::string>& names) {
  const KeyPlan& key = keys_[run.key];
  const std::string of = key.name.empty() ? std::string() : " of " + key.name;
  switch (run.kind) {
    case Run::Kind::Season:
      names.emplace_back("sine of the year");
      names.emplace_back("cosine of the year");
      return;
    case Run::Kind::Header:
    case Run::Kind::Columns:
    case Run::Kind::Recent:
    case Run::Kind::Mode:
      name_stream_run({synthesis_, schema_, window_us_, life_names()}, key, run, names);
      return;
    case Run::Kind::LabelHeader:
    case Run::Kind::LabelColumns: {
      const auto lives = life_names();
      const std::string whose = of.empty() ? "own " : "";
      if (run.kind == Run::Kind::LabelHeader) {
        name_header(whose + "labels" + of, labels_[run.key].ordered(), lives, {}, names);
        return;
      }
      const bool ordered = labels_[run.key].ordered();
      name_column(whose + "label" + of, ordered, has_window(run), lives, names);
      name_column(whose + "label beside its tick's mean" + of, ordered, has_window(run), lives,
                  names);
      return;
    }
    case Run::Kind::Row: {
      const auto columns = encoder_.feature_names(schema_.table(entity_));
      names.insert(names.end(), columns.begin() + run.begin, columns.begin() + run.end);
      return;
    }
  }
}

std::vector<std::string> SynthesisFeatures::names() {
  grow();
  std::vector<std::string> names;
  for (const Run& run : runs_)
    name_run(run, names);
  return names;
}

void SynthesisFeatures::stage(store::State& state) {
  grow();
  std::string bytes;
  ByteWriter writer(bytes);
  std::string encoder;
  encoder_.save(encoder);
  writer.put_text(encoder);
  writer.put(static_cast<std::uint64_t>(grown_));
  writer.put(label_number_);
  for (const std::size_t known : known_)
    writer.put(static_cast<std::uint64_t>(known));
  save_runs(runs_, writer);
  for (AggregatePages& pages : label_pages_) {
    writer.put(static_cast<std::uint8_t>(pages.full()));
    pages.stage(state);
  }
  state.put(Section::Blobs, task_ + "/features", bytes);
}

Status SynthesisFeatures::load(store::State& state) {
  std::string bytes;
  ACCRETE_TRY(const bool has_bytes, state.get(Section::Blobs, task_ + "/features", bytes));
  if (!has_bytes) return Ok{};
  const Error corrupt{Errc::Corruption, "task \"" + task_ + "\": stored features do not decode"};
  ByteReader reader(bytes);
  ACCRETE_DO(encoder_.load(reader.get_text()));
  grown_ = reader.get<std::uint64_t>();
  label_number_ = reader.get<std::uint64_t>();
  for (std::size_t& known : known_)
    known = reader.get<std::uint64_t>();
  for (std::size_t source = 0; source < categories_.size(); ++source)
    categories_[source] = synthesis_.categories(source, known_[source]);
  if (grown_ > synthesis_.growth().size()) return corrupt;
  // Every key has label states, those of attributes since the attribute came.
  for (std::size_t i = 0; i < grown_; ++i) {
    const Synthesis::Growth& come = synthesis_.growth()[i];
    const bool key = come.kind == Synthesis::Growth::Kind::Attribute &&
                     synthesis_.plan().sources[come.source].table == entity_;
    if (key) add_label_states(labels_.size());
  }
  runs_.clear();
  width_ = 0;
  std::vector<Run> runs;
  if (!load_runs(reader, runs)) return corrupt;
  for (const Run& run : runs) {
    if (run.key >= labels_.size()) return corrupt;
    const auto& streams = keys_[run.key].streams;
    if (run.of_stream() && run.stream >= streams.size()) return corrupt;
    if (run.kind == Run::Kind::Mode && !has_mode(run)) return corrupt;
    if (run.kind == Run::Kind::Recent && !has_recent(run.key, streams[run.stream])) return corrupt;
    append(run);
  }
  for (AggregatePages& pages : label_pages_)
    ACCRETE_DO(pages.load(state, reader.get<std::uint8_t>() != 0));
  return reader.done() ? Status(Ok{}) : Status(corrupt);
}

}  // namespace

std::unique_ptr<FeatureSource> make_features(const TaskPlan& plan, std::size_t task,
                                             const Schema& schema, Synthesis& synthesis,
                                             RowReader& rows, store::Graph& graph) {
  return std::make_unique<SynthesisFeatures>(plan, task, schema, synthesis, rows, graph);
}

}  // namespace accrete::daemon
