// Reading the status.
#include "daemon/report_running.h"

#include <numeric>

#include "daemon/report_json.h"

namespace accrete::daemon::report {
namespace {

Result<std::uint64_t> whole_at(const Place& place, const char* name) {
  ACCRETE_TRY(const Place member, place.member(name));
  return member.whole();
}

Result<double> number_at(const Place& place, const char* name) {
  ACCRETE_TRY(const Place member, place.member(name));
  return member.number();
}

/// "" for null.
Result<std::string> text_at(const Place& place, const char* name) {
  ACCRETE_TRY(const Place member, place.member(name));
  if (member.is_null()) return std::string();
  return member.text();
}

/// One `read(item)` for each item of the list `name`.
template <class T>
Status read_list(const Place& place, const char* name, Result<T> (*read)(const Place&),
                 std::vector<T>& out) {
  ACCRETE_TRY(const Place list, place.member(name));
  ACCRETE_TRY(const auto items, list.items());
  for (const Place& item : items) {
    ACCRETE_TRY(T one, read(item));
    out.push_back(std::move(one));
  }
  return Ok{};
}

Result<Letter> read_letter(const Place& place) {
  Letter letter;
  ACCRETE_TRY(letter.number, whole_at(place, "number"));
  ACCRETE_TRY(letter.source, text_at(place, "source"));
  ACCRETE_TRY(letter.position, whole_at(place, "position"));
  ACCRETE_TRY(letter.table, text_at(place, "table"));
  ACCRETE_TRY(letter.bytes, whole_at(place, "bytes"));
  ACCRETE_TRY(letter.reason, text_at(place, "reason"));
  return letter;
}

Result<TableChanges> read_table(const Place& place) {
  TableChanges table;
  ACCRETE_TRY(table.table, text_at(place, "table"));
  std::size_t op = 0;
  for (const char* name : {"insert", "update", "delete", "truncate"}) {
    ACCRETE_TRY(table.changes[op++], whole_at(place, name));
  }
  return table;
}

Result<Subscriber> read_subscriber(const Place& place) {
  Subscriber subscriber;
  ACCRETE_TRY(subscriber.name, text_at(place, "name"));
  ACCRETE_TRY(subscriber.acknowledged, whole_at(place, "acknowledged"));
  ACCRETE_TRY(subscriber.behind, whole_at(place, "behind"));
  return subscriber;
}

Status read_stages(const Place& root, std::vector<Stage>& out) {
  ACCRETE_TRY(const Place stages, root.member("stages"));
  ACCRETE_TRY(const auto members, stages.members());
  for (const auto& [name, place] : members) {
    Stage stage;
    stage.name = name;
    ACCRETE_TRY(stage.count, whole_at(place, "count"));
    ACCRETE_TRY(stage.seconds, number_at(place, "seconds"));
    ACCRETE_TRY(stage.p50, number_at(place, "p50"));
    ACCRETE_TRY(stage.p99, number_at(place, "p99"));
    out.push_back(std::move(stage));
  }
  return Ok{};
}

Status read_lag(const Place& root, Running& out) {
  ACCRETE_TRY(const Place lag, root.member("lag"));
  ACCRETE_TRY(out.lag_seconds, number_at(lag, "seconds"));
  ACCRETE_TRY(out.lag_records, whole_at(lag, "records"));
  ACCRETE_TRY(out.lag_bytes, whole_at(lag, "bytes"));
  ACCRETE_TRY(const Place checkpoint, root.member("checkpoint"));
  ACCRETE_TRY(out.checkpoint_age, number_at(checkpoint, "age_seconds"));
  ACCRETE_TRY(out.records_since_checkpoint, whole_at(checkpoint, "records_since"));
  ACCRETE_TRY(const Place queues, root.member("queues"));
  ACCRETE_TRY(out.groups_waiting, whole_at(queues, "groups_waiting"));
  ACCRETE_TRY(out.rows_waiting, whole_at(queues, "rows_waiting_for_watermark"));
  ACCRETE_TRY(out.rows_being_folded, whole_at(queues, "rows_being_folded"));
  return Ok{};
}

}  // namespace

std::uint64_t TableChanges::all() const {
  return std::accumulate(changes.begin(), changes.end(), std::uint64_t{0});
}

Result<Running> read_running(std::string_view text, const std::string& address) {
  ACCRETE_TRY(const Place::Json json, parse_json(text, address));
  const Place root(json, address);
  Running out;
  ACCRETE_TRY(out.epoch, whole_at(root, "epoch"));
  ACCRETE_TRY(out.now, text_at(root, "now"));
  ACCRETE_TRY(const Place ingest, root.member("ingest"));
  ACCRETE_TRY(out.rows_in, whole_at(ingest, "rows"));
  ACCRETE_TRY(out.rows_folded, whole_at(root, "rows"));
  ACCRETE_TRY(out.late_rows, whole_at(root, "late_rows"));
  if (root.has("rows_ahead")) {
    ACCRETE_TRY(out.rows_ahead, whole_at(root, "rows_ahead"));
  }
  ACCRETE_TRY(const Place predictions, root.member("predictions"));
  ACCRETE_TRY(out.published, whole_at(predictions, "published"));
  ACCRETE_TRY(out.newest_prediction, whole_at(predictions, "newest"));
  ACCRETE_DO(read_lag(root, out));
  ACCRETE_TRY(const Place memory, root.member("memory_bytes"));
  ACCRETE_TRY(out.resident_bytes, whole_at(memory, "resident"));
  ACCRETE_TRY(out.disk_bytes, whole_at(root, "disk_bytes"));
  ACCRETE_TRY(out.dead_letters, whole_at(root, "dead_letters"));
  if (root.has("letters")) ACCRETE_DO(read_list(root, "letters", read_letter, out.letters));
  ACCRETE_DO(read_stages(root, out.stages));
  ACCRETE_DO(read_list(root, "tables", read_table, out.tables));
  ACCRETE_DO(read_list(root, "subscribers", read_subscriber, out.subscribers));
  return out;
}

}  // namespace accrete::daemon::report
