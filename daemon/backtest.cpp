// Running the fold in process.
#include "daemon/backtest.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include <nlohmann/json.hpp>

#include "daemon/backtest_sink.h"
#include "daemon/clock.h"
#include "daemon/fold.h"
#include "daemon/graph_network.h"
#include "daemon/log_sink.h"
#include "daemon/network_report.h"
#include "daemon/plan_columns.h"
#include "daemon/task_report.h"
#include "proto/time.h"
#include "stream/ingest_group.h"
#include "stream/record_check.h"

namespace accrete::daemon {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::size_t kRejectionsShown = 10;
constexpr std::size_t kGroupRows = 4096;

/// A folder for the store that goes away with it, unless the user named it.
class Scratch {
 public:
  static Result<Scratch> open(const std::string& named) {
    if (!named.empty()) return Scratch(named, false);
    const char* base = std::getenv("TMPDIR");  // NOLINT(concurrency-mt-unsafe): nobody sets it
    std::string path = std::string(base != nullptr ? base : "/tmp") + "/accrete-backtest-XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) {
      return Error{Errc::Unavailable, path + ": cannot make a scratch folder; set TMPDIR"};
    }
    return Scratch(path, true);
  }
  Scratch(Scratch&& other) noexcept
      : path_(std::move(other.path_)), remove_(std::exchange(other.remove_, false)) {}
  Scratch& operator=(Scratch&&) = delete;
  ~Scratch() {
    std::error_code ignored;
    if (remove_) fs::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  Scratch(std::string path, bool remove) : path_(std::move(path)), remove_(remove) {}
  std::string path_;
  bool remove_;
};

Json metrics_json(const models::Metrics& metrics) {
  Json json = Json::object();
  for (const auto& [name, value] : metrics) {
    json[name] = std::isfinite(value) ? Json(value) : Json(nullptr);
  }
  return json;
}

Json cell_json(const BacktestSink::Cell& cell, const BacktestSink& sink,
               const std::vector<std::string>& candidates) {
  const ReportWindow& window = sink.windows()[cell.window];
  Json json;
  json["window"] = window.name;
  if (window.from != kTimeMin) json["from"] = format_time(window.from);
  if (window.to != kTimeMax) json["to"] = format_time(window.to);
  json["trigger"] = cell.trigger == Trigger::Request   ? "request"
                    : cell.trigger == Trigger::Arrival ? "arrival"
                                                       : "tick";
  json["count"] = cell.graded.back().size();
  json["metrics"] = metrics_json(cell.graded.back().metrics());
  Json baselines = Json::object();
  Json all = Json::object();
  for (std::size_t c = 0; c < candidates.size(); ++c) {
    all[candidates[c]] = metrics_json(cell.graded[c].metrics());
    if (c < 3) baselines[candidates[c]] = all[candidates[c]];
  }
  json["baselines"] = baselines;
  json["candidates"] = all;
  return json;
}

std::string report_json(Fold& fold, const BacktestSink& sink, const BacktestResult& result,
                        double cpu) {
  Json json;
  json["rows"] = fold.counters().rows;
  json["seconds"] = result.seconds;
  json["rows_per_second"] = static_cast<double>(fold.counters().rows) / result.seconds;
  json["cpu_seconds"] = cpu;
  json["peak_memory_bytes"] = peak_memory_bytes();
  json["late_rows"] = fold.counters().late_rows;
  json["rows_ahead"] = fold.timeline().ahead();
  json["rejected_transactions"] = result.rejected;
  json["predictions"] = sink.count();
  json["labels"] = sink.labels();
  json["digest"] = result.digest;
  json["tasks"] = Json::array();
  for (const auto& task : fold.tasks()) {
    Json entry;
    entry["name"] = task->plan().name;
    entry["kind"] = task_kind_name(task->plan().kind);
    entry["labels"] = task->labels();
    entry["notes"] = notes_of(*task, fold);
    entry["regret"] = regret_json(*task);
    entry["drift"] = drift_json(task->drift());
    if (GraphNetwork* network = task->network()) {
      const BlockScores now = network->score_blocks(fold.now());
      entry["experts"] = network_course_json(*task, now.experts > 0 ? &now : nullptr);
    }
    entry["alarms"] = alarms_json(task->drift());
    const GradedSeries* series = sink.series(task->plan().name);
    entry["series_metric"] = headline(task->plan().kind);
    entry["series"] = series == nullptr ? Json::array() : series->json(task->candidate_names());
    entry["windows"] = Json::array();
    for (const auto& cell : sink.cells()) {
      if (cell->task != task->plan().name) continue;
      entry["windows"].push_back(cell_json(*cell, sink, task->candidate_names()));
    }
    json["tasks"].push_back(std::move(entry));
  }
  return json.dump(2);
}

/// Rows through the same checks and the same log as a live feed, into the fold.
class Run {
 public:
  Run(const Config& config, Fold& fold, store::Database& database, store::Log& log)
      : fold_(fold),
        sink_(database, log, 0,
              [this](const LogSlice& slice) -> Status { return fold_.admit(slice); }),
        check_(config.schema, Layouts{}) {}

  Status feed(RowSource& source, BacktestResult& result, const ProgressCall& progress) {
    SourceTransaction transaction;
    const std::string name = source.name();
    double told = steady_seconds();
    while (true) {
      ACCRETE_TRY(const bool more, source.next(transaction));
      if (!more) break;
      add(name, transaction, result);
      if (group_.rows() < kGroupRows) continue;
      ACCRETE_DO(group_.commit(sink_));
      if (progress && steady_seconds() - told > 0.2) {
        told = steady_seconds();
        progress(source.progress(), fold_.now());
      }
    }
    return group_.commit(sink_);
  }

 private:
  void add(const std::string& name, const SourceTransaction& transaction, BacktestResult& result) {
    group_.begin(name, transaction.position);
    // The source reuses its buffer while the group is collected.
    const std::string_view bytes = group_.keep(transaction.bytes);
    std::uint32_t begin = 0;
    for (const std::uint32_t end : transaction.ends) {
      const std::string_view record = bytes.substr(begin, end - begin);
      begin = end;
      const auto checked = check_.check(record);
      if (checked) {
        group_.add(record, checked.value());
        continue;
      }
      ++result.rejected;
      if (result.rejections.size() < kRejectionsShown) {
        result.rejections.push_back(checked.error().detail);
      }
      group_.abandon();
      group_.reject(name, transaction.position, checked.error().detail, record);
      return;
    }
    group_.end();
  }

  Fold& fold_;
  LogSink sink_;
  stream::RecordCheck check_;
  stream::IngestGroup group_;
};

}  // namespace

FoldOptions fold_options(const Config& config) {
  FoldOptions options;
  const std::size_t memory = config.limits.memory_bytes_max;
  options.fingerprint = fold_fingerprint(config);
  // A commit holds what is dirty three times (pages, batch, memtable), and the allocator keeps what
  // was freed: together about as much again as what is counted here.
  options.graph_bytes_max = memory / 4;
  options.pending_bytes_max = memory / 16;
  options.features_bytes_max = features_bytes(config.limits);
  options.learners_bytes_max = learners_bytes(config.limits);
  options.seed = config.seed;
  options.dirty_bytes_max = memory / 32;
  options.row_cache_rows = std::max<std::size_t>(1024, memory / (32u << 10));
  options.pending_labels_max = config.limits.pending_labels_max;
  options.checkpoint_records_min = config.limits.checkpoint_records_min;
  options.lateness_us = config.limits.lateness_us;
  options.ahead_max_us = config.limits.ahead_max_us;
  options.network = config.network;
  options.network.activation_bytes_max = std::clamp<std::size_t>(
      options.learners_bytes_max / 8, 256u << 10, config.network.activation_bytes_max);
  options.network.weights_bytes_max =
      weights_bytes(config.limits) / std::max<std::size_t>(config.tasks.size(), 1);
  options.blocks = config.blocks;
  return options;
}

store::DatabaseOptions database_options(const Config& config, const std::string& path) {
  store::DatabaseOptions options;
  options.path = path;
  options.block_cache_bytes = config.limits.memory_bytes_max / 24;
  options.memtable_bytes = config.limits.memory_bytes_max / 16;
  return options;
}

Result<BacktestResult> run_backtest(const Config& config, RowSource& rows,
                                    const BacktestOptions& options, const ProgressCall& progress) {
  const double started = steady_seconds();
  const double cpu_started = cpu_seconds();
  ACCRETE_TRY(const Scratch scratch, Scratch::open(options.scratch));
  store::DatabaseOptions database_settings = database_options(config, scratch.path());
  database_settings.sync = false;
  ACCRETE_TRY(const auto database, store::Database::open(database_settings));
  ACCRETE_TRY(store::Log log, store::Log::open(*database));
  ACCRETE_TRY(const auto state, store::State::open(*database));
  ACCRETE_TRY(const auto sink, BacktestSink::open(options));
  FoldOptions fold_settings = fold_options(config);
  if (options.freeze) fold_settings.freeze_after = *options.freeze;
  if (options.checkpoint_records > 0) {
    fold_settings.checkpoint_records_min = options.checkpoint_records;
  }
  ACCRETE_TRY(const auto fold, Fold::open(config, fold_settings, log, *state, nullptr, *sink));
  BacktestResult result;
  ACCRETE_DO(Run(config, *fold, *database, log).feed(rows, result, progress));
  ACCRETE_DO(sink->close());
  result.seconds = steady_seconds() - started;
  result.rows = fold->counters().rows;
  result.digest = sink->digest();
  result.report = report_json(*fold, *sink, result, cpu_seconds() - cpu_started);
  return result;
}

}  // namespace accrete::daemon
