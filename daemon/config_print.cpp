// The effective configuration as TOML that reads back to the same.
#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "daemon/config.h"
#include "daemon/toml_reader.h"
#include "proto/schema.h"
#include "proto/time.h"

namespace accrete::daemon {
namespace {

std::string size_text(std::uint64_t bytes) {
  constexpr std::array<std::pair<std::uint64_t, std::string_view>, 4> units = {
      {{1ull << 40, "TiB"}, {1ull << 30, "GiB"}, {1ull << 20, "MiB"}, {1ull << 10, "KiB"}}};
  for (const auto& [unit, name] : units) {
    if (bytes != 0 && bytes % unit == 0) {
      return '"' + std::to_string(bytes / unit) + ' ' + std::string(name) + '"';
    }
  }
  return '"' + std::to_string(bytes) + " B\"";
}

std::string duration_text(std::int64_t duration_us) {
  constexpr std::array<std::pair<std::int64_t, std::string_view>, 6> units = {{{kDayUs, "days"},
                                                                               {kHourUs, "h"},
                                                                               {kMinuteUs, "min"},
                                                                               {kSecondUs, "s"},
                                                                               {1000, "ms"},
                                                                               {1, "us"}}};
  if (duration_us == 0) return "0";
  for (const auto& [unit, name] : units) {
    if (duration_us % unit == 0) {
      return '"' + std::to_string(duration_us / unit) + ' ' + std::string(name) + '"';
    }
  }
  return "0";
}

void line(std::string& out, std::string_view key, std::string_view value) {
  out += key;
  out += " = ";
  out += value;
  out += '\n';
}

/// `name = ["a", "b"]`, or nothing for an empty list.
void list(std::string& out, std::string_view key, const std::vector<std::string>& values) {
  if (values.empty()) return;
  std::string text;
  for (const std::string& value : values) {
    text += text.empty() ? "[" : ", ";
    text += toml_quoted(value);
  }
  line(out, key, text + "]");
}

void pairs(std::string& out, std::string_view key,
           const std::vector<std::pair<std::string, std::string>>& values) {
  if (values.empty()) return;
  std::string text;
  for (const auto& [name, value] : values) {
    text += text.empty() ? "{ " : ", ";
    text += toml_key(name) + " = " + toml_quoted(value);
  }
  line(out, key, text + " }");
}

/// What the reader makes of a column that is named only by its role.
ColumnKind role_kind(const Table& table, ColumnId id) {
  if (std::find(table.key.begin(), table.key.end(), id) != table.key.end()) {
    return ColumnKind::Key;
  }
  if (table.time == id) return ColumnKind::Time;
  for (const ForeignKey& key : table.foreign_keys) {
    if (std::find(key.columns.begin(), key.columns.end(), id) != key.columns.end()) {
      return ColumnKind::ForeignKey;
    }
  }
  return ColumnKind::Inferred;
}

std::string_view time_unit_name(TimeUnit unit) {
  switch (unit) {
    case TimeUnit::Seconds:
      return "s";
    case TimeUnit::Milliseconds:
      return "ms";
    case TimeUnit::Microseconds:
      break;
  }
  return "us";
}

void print_table(std::string& out, const Table& table, const Schema& schema) {
  const auto name = [&](ColumnId id) { return table.columns[id.value].name; };
  out += "\n[[table]]\n";
  line(out, "name", toml_quoted(table.name));
  std::vector<std::string> key;
  for (const ColumnId id : table.key)
    key.push_back(name(id));
  list(out, "key", key);
  if (table.time) {
    line(out, "time", toml_quoted(name(*table.time)));
    line(out, "time_unit", toml_quoted(time_unit_name(table.time_unit)));
  }
  std::vector<std::pair<std::string, std::string>> parents;
  for (const ForeignKey& foreign : table.foreign_keys) {
    std::string columns;
    for (const ColumnId id : foreign.columns)
      columns += (columns.empty() ? "" : ",") + name(id);
    parents.emplace_back(columns, schema.table(foreign.parent).name);
  }
  pairs(out, "foreign_keys", parents);
  std::vector<std::pair<std::string, std::string>> kinds;
  std::vector<std::string> ignored;
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    const Column& column = table.columns[i];
    if (column.kind == ColumnKind::Ignored) {
      ignored.push_back(column.name);
    } else if (column.kind != role_kind(table, ColumnId(static_cast<std::uint16_t>(i)))) {
      kinds.emplace_back(column.name, std::string(column_kind_name(column.kind)));
    }
  }
  pairs(out, "columns", kinds);
  list(out, "ignore", ignored);
}

void print_limits(std::string& out, const LimitsConfig& limits) {
  out += "\n[limits]\n";
  line(out, "memory_max", size_text(limits.memory_bytes_max));
  line(out, "features_max", size_text(features_bytes(limits)));
  line(out, "learners_max", size_text(learners_bytes(limits)));
  line(out, "credit", size_text(limits.credit_bytes));
  line(out, "group_rows_max", std::to_string(limits.group_rows_max));
  line(out, "transaction_max", size_text(limits.transaction_bytes_max));
  line(out, "queue_batches_max", std::to_string(limits.queue_batches_max));
  line(out, "lag_max", std::to_string(limits.lag_records_max));
  line(out, "producers_max", std::to_string(limits.producers_max));
  line(out, "log_max", size_text(limits.log_bytes_max));
  line(out, "predictions_max", size_text(limits.predictions_bytes_max));
  line(out, "predictions_age_max", duration_text(limits.predictions_age_max_us));
  line(out, "subscriber_deadline", duration_text(limits.subscriber_deadline_us));
  line(out, "dead_letters_max", std::to_string(limits.dead_letters_max));
  line(out, "lateness", duration_text(limits.lateness_us));
  line(out, "ahead_max", duration_text(limits.ahead_max_us));
  line(out, "pending_labels_max", std::to_string(limits.pending_labels_max));
  line(out, "checkpoint_records_min", std::to_string(limits.checkpoint_records_min));
}

void print_task(std::string& out, const TaskConfig& task) {
  out += "\n[[task]]\n";
  line(out, "name", toml_quoted(task.name));
  line(out, "predict", toml_quoted(task.predict));
  std::vector<std::string> anchors;
  for (const TimeUs anchor : task.anchors)
    anchors.push_back(format_time(anchor));
  list(out, "anchor", anchors);
  constexpr const char* kOnChange[] = {"false", "true", "\"frontier\""};
  line(out, "on_change", kOnChange[static_cast<std::size_t>(task.on_change)]);
  line(out, "debounce", duration_text(task.debounce_us));
}

}  // namespace

std::string print_config(const Config& config) {
  std::string out;
  line(out, "seed", std::to_string(config.seed));
  line(out, "threads", std::to_string(config.threads));
  out += "\n[store]\n";
  line(out, "path", toml_quoted(config.store.path));
  out += "\n[endpoints]\n";
  line(out, "ingest", toml_quoted(config.endpoints.ingest));
  if (!config.endpoints.events.empty()) line(out, "events", toml_quoted(config.endpoints.events));
  line(out, "predictions", toml_quoted(config.endpoints.predictions));
  line(out, "replay", toml_quoted(config.endpoints.replay));
  line(out, "control", toml_quoted(config.endpoints.control));
  if (!config.endpoints.http.empty()) {
    line(out, "http", toml_quoted(config.endpoints.http));
    line(out, "http_public", config.endpoints.http_public ? "true" : "false");
    if (!config.endpoints.http_token_file.empty())
      line(out, "http_token_file", toml_quoted(config.endpoints.http_token_file));
  }
  if (!config.endpoints.curve_key_file.empty()) {
    out += "\n[curve]\n";
    line(out, "key_file", toml_quoted(config.endpoints.curve_key_file));
    if (!config.endpoints.curve_clients_file.empty()) {
      line(out, "clients_file", toml_quoted(config.endpoints.curve_clients_file));
    }
  }
  print_limits(out, config.limits);
  print_network(out, config.network, config.blocks);
  out += "\n[log]\n";
  line(out, "level", toml_quoted(config.log_level));
  for (const Table& table : config.schema.tables())
    print_table(out, table, config.schema);
  for (const TaskConfig& task : config.tasks)
    print_task(out, task);
  return out;
}

}  // namespace accrete::daemon
