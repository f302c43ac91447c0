// Status, what-if predictions, explanations, dead letters.
#include "daemon/answers.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "daemon/clock.h"
#include "daemon/learners.h"
#include "daemon/live_sink.h"
#include "daemon/network_report.h"
#include "daemon/plan_columns.h"
#include "daemon/status_parts.h"
#include "daemon/task_report.h"
#include "proto/limits.h"
#include "proto/prediction.h"
#include "proto/time.h"

namespace accrete::daemon {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kEvidenceRows = 20;
constexpr std::uint32_t kTopDefault = 1000;
constexpr std::size_t kLettersMax = 1000;

Json number(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

Json time_json(TimeUs time) {
  return time == kTimeMin || time == kTimeMax ? Json(nullptr) : Json(format_time(time));
}

Value value_of(const wire::Cell& cell) {
  switch (cell.value_case()) {
    case wire::Cell::kFlag:
      return Value::flag(cell.flag());
    case wire::Cell::kInteger:
      return Value::of_integer(cell.integer());
    case wire::Cell::kReal:
      return Value::of_real(cell.real());
    case wire::Cell::kText:
      return Value::of_text(cell.text());
    case wire::Cell::kTimeUs:
      return Value::of_time(TimeUs{cell.time_us()});
    case wire::Cell::kUnchanged:
    case wire::Cell::VALUE_NOT_SET:
      break;
  }
  return Value::null();
}

template <class Cells>
std::string key_of_cells(const Cells& cells) {
  std::string key;
  for (const wire::Cell& cell : cells)
    append_key(key, value_of(cell));
  return key;
}

/// The entity a question names.
Result<std::uint32_t> entity_row(Fold& fold, const AnyTask& task, const std::string& key) {
  const auto node = fold.graph().find(task.plan().entity, key);
  if (!node) {
    return Error{Errc::NotFound, "no row with key " + key_text(key) + " in table \"" +
                                     fold.schema().table(task.plan().entity).name + "\""};
  }
  return node->row;
}

/// Why a task has no answer about a row that there was at some time.
Error nothing_to_say(Fold& fold, const AnyTask& task, std::uint32_t row, TimeUs at) {
  const TaskPlan& plan = task.plan();
  if (!fold.graph().version(NodeId{plan.entity, row}, at))
    return Error{Errc::NotFound, "the row does not exist as of " + format_time(at)};
  if (!plan.column)
    return Error{Errc::NotFound, "the row is none that the task predicts as of " + format_time(at)};
  return Error{Errc::NotFound,
               "the row does not wait for \"" +
                   fold.schema().table(plan.entity).columns[plan.column->value].name +
                   "\": its value is known, and it was predicted when it came (or WHERE leaves it "
                   "out); ask about rows that wait"};
}

/// The time a question is about. What is known is known as of now: the features of an earlier time
/// are gone, and rows that came since would be its future.
template <class Query>
Result<TimeUs> as_of(const Query& query, const Fold& fold) {
  const TimeUs now = fold.now();
  if (now == kTimeMin) {
    return Error{Errc::Unavailable, "no row with an event time has been folded yet"};
  }
  if (!query.has_as_of_us()) return now;
  if (TimeUs{query.as_of_us()} < now) {
    return Error{Errc::Malformed,
                 "rows up to " + format_time(now) + " are folded: ask about that time or a later " +
                     "one; `accretectl backtest --requests` answers about the past"};
  }
  return TimeUs{query.as_of_us()};
}

Json metrics_of(const AnyTask& task) {
  Json all = Json::object();
  const auto names = task.candidate_names();
  for (std::size_t c = 0; c < task.metrics().size(); ++c) {
    Json entry = Json::object();
    for (const auto& [name, value] : task.metrics()[c].sliding())
      entry[name] = number(value);
    for (const auto& [name, value] : task.metrics()[c].fading()) {
      entry["fading_" + name] = number(value);
    }
    all[c < names.size() ? names[c] : "mixture"] = std::move(entry);
  }
  return all;
}

Json task_json(const AnyTask& task, const wire::StatusRequest& request,
               const GradedSeries* series) {
  Json json;
  json["name"] = task.plan().name;
  json["kind"] = task_kind_name(task.plan().kind);
  json["last_tick"] = time_json(task.last_tick());
  json["labels"] = task.labels();
  json["next_label"] = task.next_label() == kTimeMax ? Json() : time_json(task.next_label());
  json["pending"] = task.pending();
  json["shed"] = task.shed();
  json["unusable"] = task.unusable();
  const auto all_names = task.candidate_names();
  json["baselines"] = std::vector(all_names.begin(), all_names.begin() + kBaselines);
  json["metrics"] = metrics_of(task);
  Json weights = Json::object();
  const auto names = task.candidate_names();
  for (std::size_t c = 0; c < names.size(); ++c)
    weights[names[c]] = number(task.weights()[c]);
  json["weights"] = std::move(weights);
  json["regret"] = regret_json(task);
  json["drift"] = drift_json(task.drift());
  if (task.network() != nullptr) {
    json["experts"] = request.course() ? network_course_json(task, nullptr) : network_json(task);
  }
  if (request.course() && series != nullptr) json["series"] = series->json(names);
  if (request.alarms()) json["alarms"] = alarms_json(task.drift());
  return json;
}

}  // namespace

std::string Answers::answer(std::string_view bytes) {
  wire::ToControl question;
  wire::FromControl answer;
  const bool parsed = question.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
  Status filled = parsed ? fill(question, answer)
                         : Status(Error{Errc::Malformed, "the question does not parse"});
  answer.set_request(question.request());
  if (!filled) {
    answer.mutable_fault()->set_code(static_cast<wire::Fault::Code>(filled.error().code));
    answer.mutable_fault()->set_detail(filled.error().detail);
  }
  return answer.SerializeAsString();
}

bool Answers::folds(std::string_view bytes) {
  wire::ToControl question;
  if (!question.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return false;
  return question.has_drain() || question.has_checkpoint();
}

Status Answers::fill(const wire::ToControl& question, wire::FromControl& answer) {
  switch (question.body_case()) {
    case wire::ToControl::kStatus: {
      ACCRETE_TRY(*answer.mutable_json(), status(question.status()));
      return Ok{};
    }
    case wire::ToControl::kPredict:
      return predict(question.predict(), *answer.mutable_predictions());
    case wire::ToControl::kExplain: {
      ACCRETE_TRY(*answer.mutable_json(), explain(question.explain()));
      return Ok{};
    }
    case wire::ToControl::kDeadLetters:
      return dead_letters(question.dead_letters(), *answer.mutable_dead_letters());
    case wire::ToControl::kDrain:
    case wire::ToControl::kCheckpoint: {
      const bool drains = question.body_case() == wire::ToControl::kDrain;
      ACCRETE_DO(drains ? world_.drain() : world_.fold->checkpoint());
      Json json;
      json["folded"] = world_.fold->folded().value;
      json["predictions"] = world_.fold->predicted().value;
      answer.set_json(json.dump());
      return Ok{};
    }
    case wire::ToControl::kReload: {
      ACCRETE_TRY(*answer.mutable_json(), world_.reload());
      return Ok{};
    }
    case wire::ToControl::BODY_NOT_SET:
      break;
  }
  return Error{Errc::Malformed, "an empty question; see ToControl in proto/stream.proto"};
}

Result<AnyTask*> Answers::task(const std::string& name) const {
  if (AnyTask* found = world_.fold->find_task(name)) return found;
  std::vector<std::string> names;
  std::string list;
  for (const auto& task : world_.fold->tasks()) {
    names.push_back(task->plan().name);
    list += (list.empty() ? "" : ", ") + names.back();
  }
  const std::string nearest = nearest_name(name, names);
  return Error{Errc::NotFound, "no task \"" + name + "\"; " +
                                   (nearest.empty() ? "there are: " + (list.empty() ? "none" : list)
                                                    : "did you mean \"" + nearest + "\"?")};
}

Result<std::string> Answers::status(const wire::StatusRequest& request) const {
  const Fold& fold = *world_.fold;
  const Gauges& gauges = *world_.gauges;
  const FoldCounters& counters = fold.counters();
  Json json;
  json["epoch"] = fold.epoch();
  json["rows"] = counters.rows;
  json["records"] = {{"durable", world_.log->end().value}, {"folded", fold.folded().value}};
  json["lag"] = lag_json(gauges, world_.log->end().value - fold.folded().value);
  json["watermark"] = time_json(fold.timeline().watermark());
  json["now"] = time_json(fold.now());
  json["snapshot_open"] = fold.timeline().held();
  json["late_rows"] = counters.late_rows;
  json["frontiers_cut"] = fold.frontiers_cut();
  json["rows_ahead"] = fold.timeline().ahead();
  json["earliest_ahead"] = time_json(fold.timeline().earliest_ahead());
  json["predictions"] = {{"newest", fold.predicted().value},
                         {"oldest", world_.predictions->oldest().value},
                         {"bytes", world_.predictions->bytes()},
                         {"published", gauges.published.load()},
                         {"replayed", gauges.replayed.load()}};
  json["ingest"] = {{"rows", gauges.ingest_rows.load()},
                    {"bytes", gauges.ingest_bytes.load()},
                    {"transactions", gauges.ingest_transactions.load()},
                    {"duplicates", gauges.ingest_duplicates.load()},
                    {"rejected", gauges.ingest_rejected.load()},
                    {"faults", gauges.ingest_faults.load()},
                    {"group_commits", gauges.ingest_commits.load()}};
  json["ignored"] = {{"unknown_deletes", counters.unknown_deletes},
                     {"late_requests", counters.late_requests},
                     {"unknown_requests", counters.unknown_requests}};
  json["dead_letters"] = world_.log->dead_letter_count();
  if (request.letters() > 0) {
    ACCRETE_TRY(json["letters"], letters_json(*world_.log, fold.layouts(), request.letters()));
  }
  json["queues"] = {
      {"groups_waiting", world_.queued()},
      {"rows_waiting_for_watermark", fold.timeline().waiting()},
      // In the midst of a history: those whose turn has come, and what waits with them.
      {"rows_being_folded", fold.timeline().next() == nullptr ? 0 : fold.timeline().waiting()}};
  json["memory_bytes"] = {{"fold", fold.memory_bytes()},
                          {"store", world_.database->memory_bytes()},
                          {"resident", resident_bytes()}};
  json["disk_bytes"] = world_.database->disk_bytes();
  json["checkpoints"] = counters.checkpoints;
  json["checkpoint"] = {{"age_seconds", seconds_since(gauges.committed_ms)},
                        {"records_since", fold.folded().value - fold.checkpointed().value}};
  json["stages"] = stages_json(gauges);
  json["tables"] = tables_json(fold);
  json["tasks"] = Json::array();
  for (const auto& task : world_.fold->tasks()) {
    Json told = task_json(*task, request, world_.told->series(task->plan().name));
    told["notes"] = notes_of(*task, fold);
    json["tasks"].push_back(std::move(told));
  }
  ACCRETE_TRY(const auto subscribers, world_.predictions->subscribers());
  json["subscribers"] = Json::array();
  for (const auto& subscriber : subscribers) {
    json["subscribers"].push_back({{"name", subscriber.name},
                                   {"acknowledged", subscriber.seq.value},
                                   {"behind", fold.predicted().value - subscriber.seq.value}});
  }
  return json.dump();
}

Status Answers::predict(const wire::PredictQuery& query, wire::Predictions& out) const {
  Fold& fold = *world_.fold;
  ACCRETE_TRY(AnyTask * task, this->task(query.task()));
  ACCRETE_TRY(const TimeUs at, as_of(query, fold));
  std::vector<std::uint32_t> rows;
  if (query.key_size() > 0) {
    ACCRETE_TRY(const std::uint32_t row, entity_row(fold, *task, key_of_cells(query.key())));
    rows.push_back(row);
  } else {
    rows = task->population(at);
  }
  std::vector<std::pair<double, std::string>> found;
  ACCRETE_DO(task->what_if(rows, at, [&](Prediction& prediction) -> Status {
    prediction.ordinal = fold.folded();
    std::string payload;
    encode_prediction(prediction, payload);
    found.emplace_back(prediction.score, std::move(payload));
    return Ok{};
  }));
  if (found.empty() && query.key_size() > 0) {
    return nothing_to_say(fold, *task, rows.front(), at);
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  const std::size_t top = query.top() == 0 ? kTopDefault : query.top();
  for (std::size_t i = 0; i < found.size() && i < top; ++i) {
    if (!out.add_predictions()->ParseFromString(found[i].second)) {
      return Error{Errc::Corruption, "a prediction of our own does not parse"};
    }
  }
  return Ok{};
}

Result<std::string> Answers::explain(const wire::ExplainQuery& query) const {
  Fold& fold = *world_.fold;
  ACCRETE_TRY(AnyTask * task, this->task(query.task()));
  ACCRETE_TRY(const std::uint32_t row, entity_row(fold, *task, key_of_cells(query.key())));
  ACCRETE_TRY(const TimeUs at, as_of(query, fold));
  Json json;
  const std::vector<std::uint32_t> rows{row};
  ACCRETE_DO(task->what_if(rows, at, [&](Prediction& prediction) -> Status {
    prediction.ordinal = fold.folded();
    std::string payload;
    encode_prediction(prediction, payload);
    ACCRETE_TRY(const std::string text, prediction_json(payload));
    json["prediction"] = Json::parse(text);
    return Ok{};
  }));
  if (json.empty()) {
    return nothing_to_say(fold, *task, rows.front(), at);
  }
  Json weights = Json::object();
  const auto names = task->candidate_names();
  for (std::size_t c = 0; c < names.size(); ++c)
    weights[names[c]] = number(task->weights()[c]);
  json["weights"] = std::move(weights);
  if (GraphNetwork* network = task->network()) {
    const auto evidence = network->evidence(row, at);
    if (evidence) json["network"] = evidence_json(*evidence, fold.schema());
  }
  Json features = Json::object();
  const auto feature_names = task->features().names();
  const auto values = task->feature_values(row, at);
  for (std::size_t i = 0; i < values.size() && i < feature_names.size(); ++i) {
    features[feature_names[i]] = number(values[i]);
  }
  json["features"] = std::move(features);
  json["rows"] = Json::array();
  const NodeId entity{task->plan().entity, row};
  for (std::size_t r = 0; r < fold.schema().relations().size(); ++r) {
    const Relation& relation = fold.schema().relations()[r];
    if (relation.parent != entity.table) continue;
    std::vector<store::Edge> edges;
    fold.graph().newest(RelationId{static_cast<std::uint16_t>(r)}, entity, at, kEvidenceRows,
                        edges);
    for (const store::Edge& edge : edges) {
      Json item;
      item["table"] = fold.schema().table(relation.child).name;
      item["time"] = time_json(edge.time);
      const RowContent* content = fold.rows().row(NodeId{relation.child, edge.child}, at);
      const Table& table = fold.schema().table(relation.child);
      for (std::size_t c = 0; content != nullptr && c < content->cells.size(); ++c) {
        item["row"][table.columns[c].name] = value_text(content->cells[c]);
      }
      json["rows"].push_back(std::move(item));
    }
  }
  return json.dump();
}

Status Answers::dead_letters(const wire::DeadLettersRequest& request,
                             wire::DeadLetters& out) const {
  const std::size_t max =
      request.max() == 0 ? kLettersMax : std::min<std::size_t>(request.max(), kLettersMax);
  ACCRETE_TRY(const auto letters, world_.log->dead_letters(request.from(), max));
  std::uint64_t next = std::max<std::uint64_t>(request.from(), 1);
  for (const store::DeadLetter& letter : letters) {
    wire::DeadLetter& item = *out.add_letters();
    item.set_number(letter.number);
    item.set_source(letter.source);
    item.set_position(letter.position);
    item.set_reason(letter.reason);
    item.set_record(letter.record);
    next = letter.number + 1;
  }
  out.set_next(next);
  return Ok{};
}

}  // namespace accrete::daemon
