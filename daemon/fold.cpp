// The fold's loop: admission, order, instants, commits.
#include "daemon/fold.h"

#include <algorithm>
#include <utility>

#include <malloc.h>

#include "daemon/rank_task.h"
#include "daemon/row_task.h"
#include "daemon/task.h"
#include "proto/bytes.h"
#include "proto/time.h"

namespace accrete::daemon {
namespace {

using store::Section;

constexpr std::string_view kFoldBlob = "/fold/position";
constexpr std::string_view kLayoutsBlob = "/fold/layouts";
constexpr std::size_t kOutboxMax = 4096;

}  // namespace

Fold::Fold(const Config& config, const FoldOptions& options, store::Log& log, store::State& state,
           store::PredictionLog* predictions, FoldSink& sink)
    : options_(options),
      log_(log),
      state_(state),
      prediction_log_(predictions),
      sink_(sink),
      schema_(config.schema),
      timeline_(options.lateness_us, options.ahead_max_us) {}

Fold::~Fold() = default;

Result<std::unique_ptr<Fold>> Fold::open(const Config& config, const FoldOptions& options,
                                         store::Log& log, store::State& state,
                                         store::PredictionLog* predictions, FoldSink& sink) {
  std::unique_ptr<Fold> fold(new Fold(config, options, log, state, predictions, sink));
  const bool same = !state.fresh() && state.cursor().fingerprint == options.fingerprint;
  if (!same) {
    const std::uint64_t epoch = state.fresh() ? 1 : state.cursor().epoch + 1;
    ACCRETE_DO(state.reset(epoch, options.fingerprint));
    if (predictions != nullptr) ACCRETE_DO(predictions->reset());
  }
  fold->epoch_ = state.cursor().epoch;
  fold->graph_ = std::make_unique<store::Graph>(state, fold->schema_, options.graph_bytes_max);
  fold->lookahead_ = std::make_unique<Lookahead>(fold->schema_, fold->layouts_, *fold->graph_,
                                                 options.lookahead_graph_bytes_min);
  fold->rows_ = std::make_unique<RowReader>(log, fold->schema_, fold->layouts_, *fold->graph_,
                                            options.row_cache_rows);
  fold->windows_ = std::make_unique<WindowReader>(*fold->graph_, *fold->rows_, fold->schema_);
  ACCRETE_DO(fold->load(config.tasks));
  return fold;
}

AnyTask* Fold::find_task(std::string_view name) {
  for (auto& task : tasks_) {
    if (task->plan().name == name) return task.get();
  }
  return nullptr;
}

std::size_t Fold::memory_bytes() const {
  std::size_t bytes = graph_->memory_bytes() + rows_->memory_bytes() + timeline_.memory_bytes() +
                      synthesis_->memory_bytes() +
                      (network_ == nullptr ? 0 : network_->memory_bytes());
  for (const auto& task : tasks_)
    bytes += task->memory_bytes();
  for (const auto& frontier : frontiers_)
    bytes += frontier == nullptr ? 0 : frontier->memory_bytes();
  return bytes;
}

void Fold::make_tasks(std::vector<TaskPlan> plans) {
  synthesis_ = std::make_unique<Synthesis>(
      plans, Synthesis::World{&schema_, graph_.get(), rows_.get(), windows_.get(), &state_},
      options_.features_bytes_max);
  if (options_.network.experts != NetworkConfig::Experts::Off) {
    network_ =
        std::make_unique<NetworkWorld>(options_.network, options_.blocks, schema_, *graph_, *rows_);
  }
  const TaskWorld world{&schema_,       graph_.get(),     rows_.get(),
                        windows_.get(), synthesis_.get(), network_.get()};
  tasks_of_entity_.resize(schema_.tables().size());
  content_matters_.assign(schema_.tables().size(), false);
  table_changes_.assign(schema_.tables().size(), OpCounts{});
  for (std::size_t t = 0; t < schema_.tables().size(); ++t) {
    content_matters_[t] =
        network_ != nullptr || synthesis_->reads(TableId{static_cast<std::uint16_t>(t)});
  }
  for (TaskPlan& plan : plans) {
    tasks_of_entity_[plan.entity.value].push_back(tasks_.size());
    content_matters_[plan.entity.value] = true;
    if (!plan.column && !plan.target.counts_edges()) {
      content_matters_[schema_.relations()[plan.target.relation.value].child.value] = true;
    }
    const std::size_t number = tasks_.size();
    const bool follows = plan.on_change == OnChange::Frontier && network_ != nullptr;
    frontiers_.push_back(
        follows ? std::make_unique<Frontier>(schema_, plan.entity, *network_, *graph_) : nullptr);
    const TaskLimits limits{options_.pending_labels_max, options_.learners_bytes_max / plans.size(),
                            options_.taught_rows_max, options_.seed};
    if (plan.column) {
      tasks_.push_back(std::make_unique<RowTask>(std::move(plan), world, limits));
    } else if (plan.items) {
      tasks_.push_back(std::make_unique<RankTask>(std::move(plan), world, limits));
    } else {
      tasks_.push_back(std::make_unique<Task>(std::move(plan), number, world, limits));
    }
    tasks_.back()->freeze(options_.freeze_after);
    for (std::size_t t = 0; t < schema_.tables().size(); ++t) {
      if (tasks_.back()->reads(TableId{static_cast<std::uint16_t>(t)})) content_matters_[t] = true;
    }
  }
}

Status Fold::load(const std::vector<TaskConfig>& task_configs) {
  std::vector<TaskPlan> plans;
  for (const TaskConfig& config : task_configs) {
    ACCRETE_TRY(TaskPlan plan, bind_task(config, schema_));
    plans.push_back(std::move(plan));
  }
  make_tasks(std::move(plans));
  relations_of_child_.resize(schema_.tables().size());
  for (std::size_t i = 0; i < schema_.relations().size(); ++i) {
    relations_of_child_[schema_.relations()[i].child.value].push_back(
        RelationId{static_cast<std::uint16_t>(i)});
  }
  std::string stored;
  ACCRETE_TRY(const bool has_layouts, state_.get(Section::Blobs, kLayoutsBlob, stored));
  ByteReader layout_reader(has_layouts ? std::string_view(stored) : std::string_view());
  while (!layout_reader.done()) {
    Layout layout;
    layout.table = layout_reader.get_text();
    const auto columns = layout_reader.get<std::uint32_t>();
    for (std::uint32_t i = 0; i < columns && layout_reader.ok(); ++i) {
      layout.columns.emplace_back(layout_reader.get_text());
    }
    if (!layout_reader.ok()) return Error{Errc::Corruption, "stored layouts do not decode"};
    ACCRETE_DO(layouts_.declare(layout, schema_));
    layout_list_.push_back(std::move(layout));
  }
  folded_ = state_.cursor().folded;
  admitted_ = folded_;
  checkpointed_ = folded_;
  highest_ = folded_;
  predicted_ = state_.cursor().predicted;
  ACCRETE_TRY(const bool has_position, state_.get(Section::Blobs, kFoldBlob, stored));
  if (!has_position) return Ok{};
  ByteReader reader(stored);
  now_.value = reader.get<std::int64_t>();
  applied_.value = reader.get<std::uint64_t>();
  counters_ = reader.get<FoldCounters>();
  fired_before_.value = reader.get<std::int64_t>();
  ended_.first.value = reader.get<std::int64_t>();
  ended_.second.value = reader.get<std::uint64_t>();
  const auto oldest_request = Ordinal{reader.get<std::uint64_t>()};
  ACCRETE_TRY(const Ordinal oldest_row, timeline_.load(reader.get_text()));
  if (!reader.done()) return Error{Errc::Corruption, "the stored fold position does not decode"};
  ACCRETE_DO(synthesis_->load(state_));
  if (network_ != nullptr) ACCRETE_DO(network_->load(state_));
  for (auto& task : tasks_)
    ACCRETE_DO(task->load(state_));
  Ordinal from = oldest_row;
  if (oldest_request.value != 0 && (from.value == 0 || oldest_request < from)) {
    from = oldest_request;
  }
  if (from.value != 0) ACCRETE_DO(rescan(from));
  return drain();
}

Status Fold::admit(const LogSlice& slice) {
  ACCRETE_CHECK(slice.first.value == admitted_.value + 1);
  slice_ = &slice;
  for (std::size_t i = 0; i < slice.size(); ++i) {
    if (i % Lookahead::kRows == 0) {
      lookahead_->warm(slice, i, std::min(i + Lookahead::kRows, slice.size()));
    }
    const Ordinal ordinal{slice.first.value + i};
    steps_.fetch_add(1, std::memory_order_relaxed);
    LogHeader header;
    ACCRETE_TRY([[maybe_unused]] const auto record, decode_entry(slice.entry(i), header));
    ACCRETE_DO(admit_record(ordinal, slice.entry(i), false));
    admitted_ = ordinal;
    if (!header.last) continue;
    folded_ = ordinal;
    timeline_.advance();
    ACCRETE_DO(drain());
  }
  slice_ = nullptr;
  return Ok{};
}

Status Fold::drain() {
  while (const TimelineEntry* next = timeline_.next()) {
    const TimelineEntry entry = *next;
    if (entry.time > now_) {
      ACCRETE_DO(republish());
      ACCRETE_DO(fire_before(entry.time));
      if (options_.between_instants && now_ != kTimeMin) options_.between_instants();
      if (now_ == kTimeMin) {
        for (auto& task : tasks_)
          task->begin(entry.time);
      }
      now_ = entry.time;
      ACCRETE_DO(commit_if_due());
    }
    timeline_.pop();
    steps_.fetch_add(1, std::memory_order_relaxed);
    ACCRETE_DO(apply_entry(entry));
  }
  ACCRETE_DO(republish());
  ACCRETE_DO(fire_before(timeline_.watermark()));
  timeline_.drained(folded_);
  ACCRETE_DO(flush());
  return commit_if_due();
}

Status Fold::apply_entry(const TimelineEntry& entry) {
  const bool at_hand = slice_ != nullptr && entry.ordinal >= slice_->first &&
                       entry.ordinal.value < slice_->first.value + slice_->size();
  if (at_hand) {
    const std::size_t i = entry.ordinal.value - slice_->first.value;
    return apply(entry.ordinal, slice_->entry(i), entry.time);
  }
  ACCRETE_DO(log_.get(entry.ordinal, read_back_));
  return apply(entry.ordinal, read_back_, entry.time);
}

Status Fold::fire_before(TimeUs limit) {
  const std::pair end(now_, folded_);
  if (now_ < limit && ended_ != end) {  // a restart goes through the end of the last drain again
    ended_ = end;
    if (network_ != nullptr) network_->end_instant(now_);
    for (auto& task : tasks_) {
      task->end_instant(now_);
      ACCRETE_DO(tell_experts(*task));
    }
  }
  while (true) {
    TimeUs next = requests_.empty() ? kTimeMax : requests_.begin()->first;
    for (const auto& task : tasks_)
      next = std::min(next, task->next_event());
    if (next >= limit || next == kTimeMax) break;
    ACCRETE_DO(fire(next));
  }
  fired_before_ = std::max(fired_before_, limit);
  return Ok{};
}

Status Fold::fire(TimeUs at) {
  // Labels first: what is known at `at` may be used by a prediction as of `at`.
  for (auto& task : tasks_) {
    ACCRETE_DO(task->mature(at, state_, sink_));
    ACCRETE_DO(tell_alarms(*task));
    ACCRETE_DO(tell_experts(*task));
  }
  const Emit emit = emitter();
  for (auto& task : tasks_) {
    const TimeUs before = task->last_tick();
    ACCRETE_DO(task->tick(at, emit));
    if (task->last_tick() != before) ++counters_.ticks;
  }
  return answer_requests(at);
}

Status Fold::answer_requests(TimeUs at) {
  const auto [begin, end] = requests_.equal_range(at);
  if (begin == end) return Ok{};
  const Emit emit = emitter();
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    std::vector<std::uint32_t> rows;
    for (auto request = begin; request != end; ++request) {
      if (request->second.task != i) continue;
      const auto node = graph_->find(tasks_[i]->plan().entity, request->second.key);
      const auto version = node ? graph_->version(*node, at) : std::nullopt;
      if (version && !version->deleted) {
        rows.push_back(node->row);
      } else {
        ++counters_.unknown_requests;
      }
    }
    if (!rows.empty()) ACCRETE_DO(tasks_[i]->request(rows, at, state_, emit));
  }
  requests_.erase(begin, end);
  return Ok{};
}

Status Fold::republish() {
  synthesis_->settle();
  const TimeUs at = changed_at();
  touch_frontiers(at);
  newest_change_ = kTimeMin;
  const Emit emit = emitter();
  for (auto& task : tasks_) {
    // Nobody is told of a time before that of the last tick, which late rows and rows without a
    // time come behind.
    ACCRETE_DO(task->republish(at == kTimeMin ? at : std::max(at, task->last_tick()), emit));
  }
  return Ok{};
}

Emit Fold::emitter() {
  return [this](Prediction& prediction) -> Status {
    prediction.seq = PredictionSeq{++predicted_.value};
    prediction.ordinal = applied_;
    ++counters_.predictions;
    steps_.fetch_add(1, std::memory_order_relaxed);  // a tick can take minutes
    store::StoredPrediction stored;
    stored.header.epoch = epoch_;
    stored.header.seq = prediction.seq;
    stored.header.as_of = prediction.as_of;
    stored.header.ordinal = prediction.ordinal;
    stored.header.model = prediction.model;
    stored.topic = prediction_topic(prediction.task, prediction.entity_key);
    encode_prediction(prediction, stored.payload);
    outbox_.push_back(std::move(stored));
    return outbox_.size() < kOutboxMax ? Status(Ok{}) : flush();
  };
}

Status Fold::flush() {
  if (outbox_.empty()) return Ok{};
  if (prediction_log_ != nullptr) ACCRETE_DO(prediction_log_->append(outbox_));
  sink_.predictions(outbox_);
  outbox_.clear();
  return Ok{};
}

Status Fold::commit_if_due() {
  const std::uint64_t enough = std::max(options_.checkpoint_records_min, checkpointed_.value / 10);
  std::size_t dirty = graph_->dirty_bytes();
  for (const auto& task : tasks_)
    dirty += task->dirty_bytes();
  const bool due = since_checkpoint_ >= enough || dirty >= options_.dirty_bytes_max;
  return due ? checkpoint() : Status(Ok{});
}

Status Fold::checkpoint() {
  if (admitted_ != folded_) return Ok{};
  ACCRETE_DO(flush());
  ACCRETE_DO(graph_->health());
  if (rows_->failure()) return *rows_->failure();
  ACCRETE_DO(synthesis_->health());
  ++counters_.checkpoints;
  Ordinal oldest_request;
  for (const auto& [time, request] : requests_) {
    if (oldest_request.value == 0 || request.ordinal < oldest_request) {
      oldest_request = request.ordinal;
    }
  }
  std::string position;
  std::string timeline;
  timeline_.save(timeline);
  ByteWriter writer(position);
  writer.put(now_.value);
  writer.put(applied_.value);
  writer.put(counters_);
  writer.put(fired_before_.value);
  writer.put(ended_.first.value);
  writer.put(ended_.second.value);
  writer.put(oldest_request.value);
  writer.put_text(timeline);
  state_.put(Section::Blobs, kFoldBlob, position);
  std::string layouts;
  ByteWriter layout_writer(layouts);
  for (const Layout& layout : layout_list_) {
    layout_writer.put_text(layout.table);
    layout_writer.put(static_cast<std::uint32_t>(layout.columns.size()));
    for (const std::string& column : layout.columns)
      layout_writer.put_text(column);
  }
  state_.put(Section::Blobs, kLayoutsBlob, layouts);
  synthesis_->stage(state_);
  if (network_ != nullptr) network_->stage(state_);
  for (auto& task : tasks_)
    task->stage(state_);
  graph_->stage();
  ACCRETE_DO(state_.commit({epoch_, options_.fingerprint, folded_, predicted_}));
  graph_->committed();
  for (auto& task : tasks_)
    task->committed(options_.pending_bytes_max);
  checkpointed_ = folded_;
  since_checkpoint_ = 0;
  // What was staged is freed now; the allocator would keep it for each thread's next time.
  ::malloc_trim(0);
  return Ok{};
}

}  // namespace accrete::daemon
