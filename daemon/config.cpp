// The configuration: read from TOML, checked once.
#include "daemon/config.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <sstream>
#include <string_view>
#include <utility>

#include "daemon/config_schema.h"
#include "daemon/http_address.h"
#include "daemon/toml_reader.h"
#include "proto/hash.h"
#include "proto/limits.h"
#include "stream/endpoint.h"

namespace accrete::daemon {
namespace {

constexpr Range kAnyCount = {0, std::numeric_limits<std::int64_t>::max()};
constexpr Range kPositive = {1, std::numeric_limits<std::int64_t>::max()};
/// What a producer sends in one message by default; less credit than that would stop it for ever.
constexpr std::size_t kCreditBytesLeast = 256u << 10;
/// Memtables, caches and one group of rows fit; less would only thrash.
constexpr std::size_t kMemoryBytesLeast = 64u << 20;
constexpr std::size_t kLearningBytesLeast = 1u << 20;

void check_endpoint(TomlSection& section, std::string_view key, const std::string& address,
                    bool curve) {
  const bool known = address.starts_with("tcp://") || address.starts_with("ipc://") ||
                     address.starts_with("inproc://");
  if (!known) {
    section.complain(key, std::string(key) + " = \"" + address +
                              "\" is no address; give tcp://HOST:PORT or ipc://PATH");
    return;
  }
  if (curve) return;
  stream::EndpointOptions options;
  options.address = address;
  if (Status status = stream::check_endpoint(options); !status) {
    section.complain(key, std::string(key) + ": " + status.error().detail);
  }
}

void read_http(TomlSection& section, EndpointsConfig& out) {
  section.read("http_public", out.http_public);
  section.read("http_token_file", out.http_token_file);
  if (!section.read("http", out.http) || out.http.empty()) return;
  const auto address = parse_http_address(out.http);
  if (!address) {
    section.complain("http", "http: " + address.error().detail);
  } else if (!address.value().loopback() && !out.http_public) {
    section.complain("http", "http: " + out.http + " can be reached by others, and HTTP has no " +
                                 "keys: give a loopback address, or say http_public = true");
  }
}

void read_endpoints(TomlSection& root, EndpointsConfig& out, Complaints& complaints) {
  if (const toml::table* table = root.read_table("curve")) {
    TomlSection section(*table, "[curve]", complaints);
    section.read("key_file", out.curve_key_file);
    section.read("clients_file", out.curve_clients_file);
    if (!out.curve_clients_file.empty() && out.curve_key_file.empty()) {
      section.complain("clients_file", "clients_file needs key_file, the daemon's own pair");
    }
    section.finish();
  }
  const toml::table* table = root.read_table("endpoints");
  if (table == nullptr) return;
  TomlSection section(*table, "[endpoints]", complaints);
  const std::array<std::pair<std::string_view, std::string*>, 5> addresses = {
      {{"ingest", &out.ingest},
       {"events", &out.events},
       {"predictions", &out.predictions},
       {"replay", &out.replay},
       {"control", &out.control}}};
  for (const auto& [key, address] : addresses) {
    if (!section.read(key, *address) || (address == &out.events && address->empty())) continue;
    check_endpoint(section, key, *address, !out.curve_key_file.empty());
  }
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (*addresses[i].second != *addresses[j].second) continue;
      section.complain(addresses[i].first, std::string(addresses[i].first) + " and " +
                                               std::string(addresses[j].first) +
                                               " have the same address " + *addresses[i].second);
    }
  }
  read_http(section, out);
  section.finish();
}

/// A size into a std::size_t; on our platforms the same as std::uint64_t.
void read_size(TomlSection& section, std::string_view key, std::size_t& out) {
  std::uint64_t bytes = out;
  if (section.read_size(key, bytes)) out = bytes;
}

void read_count(TomlSection& section, std::string_view key, std::size_t& out, Range range) {
  std::uint64_t count = out;
  if (section.read(key, count, range)) out = count;
}

std::string size_text(std::uint64_t bytes) {
  return std::to_string(bytes) + " bytes";
}

/// 0 is its default; with less than the least, nothing would be learnt, without a word.
void read_learning(TomlSection& section, std::string_view key, std::size_t& out) {
  section.read_size(key, out);
  if (out == 0 || out >= kLearningBytesLeast) return;
  std::string text(key);
  text += " must be at least " + size_text(kLearningBytesLeast) + ", or left out";
  section.complain(key, text);
}

/// Bounds that relate one limit to another.
void check_limits(TomlSection& section, const LimitsConfig& limits) {
  if (limits.memory_bytes_max < kMemoryBytesLeast) {
    section.complain("memory_max", "memory_max must be at least " + size_text(kMemoryBytesLeast));
  }
  if (limits.credit_bytes < kCreditBytesLeast) {
    section.complain("credit", "credit must be at least " + size_text(kCreditBytesLeast) +
                                   ", one message of a producer");
  }
  if (limits.credit_bytes > limits.memory_bytes_max) {
    section.complain("credit", "credit (" + size_text(limits.credit_bytes) +
                                   ") is more than memory_max (" +
                                   size_text(limits.memory_bytes_max) + ")");
  }
  if (limits.transaction_bytes_max < limits::row_bytes_max) {
    section.complain("transaction_max", "transaction_max must be at least " +
                                            size_text(limits::row_bytes_max) +
                                            ", the largest single row");
  }
  if (limits.transaction_bytes_max > limits.memory_bytes_max) {
    section.complain("transaction_max",
                     "transaction_max (" + size_text(limits.transaction_bytes_max) +
                         ") is more than memory_max (" + size_text(limits.memory_bytes_max) + ")");
  }
  if (limits.log_bytes_max != 0 && limits.log_bytes_max < limits.transaction_bytes_max) {
    section.complain("log_max", "log_max must be 0 (no bound) or at least transaction_max (" +
                                    size_text(limits.transaction_bytes_max) + ")");
  }
  if (limits.subscriber_deadline_us == 0) {
    section.complain("subscriber_deadline", "subscriber_deadline must be longer than 0");
  }
}

void read_limits(TomlSection& root, LimitsConfig& out, Complaints& complaints) {
  const toml::table* table = root.read_table("limits");
  if (table == nullptr) return;
  TomlSection section(*table, "[limits]", complaints);
  read_size(section, "memory_max", out.memory_bytes_max);
  read_learning(section, "features_max", out.features_bytes_max);
  read_learning(section, "learners_max", out.learners_bytes_max);
  read_size(section, "credit", out.credit_bytes);
  read_count(section, "group_rows_max", out.group_rows_max, {1, 1u << 20});
  read_size(section, "transaction_max", out.transaction_bytes_max);
  read_count(section, "queue_batches_max", out.queue_batches_max, {1, 1u << 16});
  section.read("lag_max", out.lag_records_max, kAnyCount);
  read_count(section, "producers_max", out.producers_max, {1, 1u << 20});
  section.read_size("log_max", out.log_bytes_max);
  section.read_size("predictions_max", out.predictions_bytes_max);
  section.read_duration("predictions_age_max", out.predictions_age_max_us);
  section.read_duration("subscriber_deadline", out.subscriber_deadline_us);
  section.read("dead_letters_max", out.dead_letters_max, kAnyCount);
  section.read_duration("lateness", out.lateness_us);
  section.read_duration("ahead_max", out.ahead_max_us);
  read_count(section, "pending_labels_max", out.pending_labels_max, kPositive);
  section.read("checkpoint_records_min", out.checkpoint_records_min, kPositive);
  check_limits(section, out);
  section.finish();
}

// ---- tasks ------------------------------------------------------------------------------------

using References = std::vector<const query::ColumnRef*>;

void collect(const query::Condition* condition, References& out);

void collect(const query::Operand& operand, References& out) {
  if (const auto* column = std::get_if<query::ColumnRef>(&operand)) {
    out.push_back(column);
    return;
  }
  const auto& window = std::get<query::Window>(operand);
  out.push_back(&window.argument);
  collect(window.where.get(), out);
}

void collect(const query::Condition* condition, References& out) {
  if (condition == nullptr) return;
  if (condition->children.empty()) {
    collect(condition->operand, out);
    return;
  }
  for (const query::ConditionPtr& child : condition->children)
    collect(child.get(), out);
}

/// The first table in the query that the schema does not have, as an error with a caret.
std::optional<Error> unknown_table(const query::Query& query, const Schema& schema) {
  References references;
  collect(query.target.operand, references);
  references.push_back(&query.entity);
  collect(query.where.get(), references);
  for (const query::ColumnRef* reference : references) {
    if (schema.find(reference->table)) continue;
    std::vector<std::string> names;
    for (const Table& table : schema.tables())
      names.push_back(table.name);
    return query::error_at(
        query.text, reference->at,
        "unknown table \"" + reference->table + "\"" + suggestion(reference->table, names));
  }
  return std::nullopt;
}

bool task_name_character(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == '-';
}

void check_task_name(TomlSection& section, const std::string& name) {
  if (name.empty() || name.size() > limits::name_bytes_max ||
      !std::all_of(name.begin(), name.end(), task_name_character)) {
    section.complain("name", "a task name is part of a topic: 1 to " +
                                 std::to_string(limits::name_bytes_max) + " of A-Z a-z 0-9 _ . -");
  }
}

void read_query(TomlSection& section, const Schema* schema, TaskConfig& task) {
  if (!section.read("predict", task.predict)) {
    if (!section.has("predict")) section.complain("predict", "predict is missing");
    return;
  }
  Result<query::Query> query = query::parse(task.predict);
  if (!query) {
    section.complain("predict", "predict:\n" + query.error().detail);
    return;
  }
  task.query = std::move(query).value();
  if (schema == nullptr) return;
  if (const auto error = unknown_table(task.query, *schema)) {
    section.complain("predict", "predict:\n" + error->detail);
  }
}

void read_on_change(TomlSection& section, bool has_network, OnChange& out) {
  constexpr std::string_view kKey = "on_change";
  bool touched = out == OnChange::Touched;
  if (!section.is_text(kKey)) {
    if (section.read(kKey, touched)) out = touched ? OnChange::Touched : OnChange::Nobody;
    return;
  }
  std::string text;
  section.read(kKey, text);
  if (text != "frontier") {
    section.complain(kKey, "on_change = \"" + text + "\" is none of true, false, \"frontier\"");
  } else if (!has_network) {
    section.complain(kKey,
                     "on_change = \"frontier\" follows what the graph network reads, and there is "
                     "none: give [network] experts, or say on_change = true");
  } else {
    out = OnChange::Frontier;
  }
}

/// `schema` is null where the tables themselves were wrong.
TaskConfig read_task(const toml::table& source, const Schema* schema, bool has_network,
                     Complaints& complaints) {
  TaskConfig task;
  TomlSection section(source, "[[task]]", complaints);
  if (section.read("name", task.name)) {
    section.rename("[[task]] \"" + task.name + "\"");
    check_task_name(section, task.name);
  } else if (!section.has("name")) {
    section.complain("name", "name is missing");
  }
  read_query(section, schema, task);
  if (section.read_times("anchor", task.anchors)) {
    if (std::adjacent_find(task.anchors.begin(), task.anchors.end(), std::greater_equal<>()) !=
        task.anchors.end()) {
      section.complain("anchor", "anchors must rise");
    }
    if (!task.query.every_us && !task.query.text.empty()) {
      section.complain("anchor", "anchor needs a query with EVERY");
    }
  }
  read_on_change(section, has_network, task.on_change);
  section.read_duration("debounce", task.debounce_us);
  section.finish();
  return task;
}

void read_tasks(TomlSection& root, const Schema* schema, bool has_network,
                std::vector<TaskConfig>& out, Complaints& complaints) {
  for (const toml::table* table : root.read_tables("task")) {
    TaskConfig task = read_task(*table, schema, has_network, complaints);
    const bool taken = std::any_of(
        out.begin(), out.end(), [&](const TaskConfig& other) { return other.name == task.name; });
    if (taken && !task.name.empty()) {
      complaints.add(place_of(table->source()),
                     "[[task]] \"" + task.name + "\": there is another task of this name");
    }
    out.push_back(std::move(task));
  }
}

// ---- the whole --------------------------------------------------------------------------------

void read_log_level(TomlSection& root, std::string& out, Complaints& complaints) {
  const toml::table* table = root.read_table("log");
  if (table == nullptr) return;
  TomlSection section(*table, "[log]", complaints);
  const std::vector<std::string> levels = {"trace", "debug", "info", "warn", "error"};
  if (section.read("level", out) && std::find(levels.begin(), levels.end(), out) == levels.end()) {
    section.complain("level", "unknown level \"" + out +
                                  "\"; give trace, debug, info, warn or error" +
                                  suggestion(out, levels));
  }
  section.finish();
}

struct Environment {
  std::string store_path;       ///< ACCRETED_STORE_PATH
  std::string state_directory;  ///< STATE_DIRECTORY, set by systemd
};

void read_store(TomlSection& root, const Environment& environment, StoreConfig& out,
                Complaints& complaints) {
  // systemd separates several directories by colons; the unit of accreted names one.
  const std::string state =
      environment.state_directory.substr(0, environment.state_directory.find(':'));
  if (!state.empty()) out.path = state;
  if (const toml::table* table = root.read_table("store")) {
    TomlSection section(*table, "[store]", complaints);
    section.read("path", out.path);
    if (out.path.empty()) section.complain("path", "path is empty; name a folder");
    section.finish();
  }
  if (!environment.store_path.empty()) out.path = environment.store_path;
}

Result<Config> read_config(const std::string& text, const std::string& name,
                           const Environment& environment) {
  ACCRETE_TRY(const toml::table table, parse_toml(text, name));
  Complaints complaints(name);
  TomlSection root(table, "the configuration", complaints);
  Config config;
  config.file = name;
  root.read("seed", config.seed, kAnyCount);
  std::uint64_t threads = 0;
  root.read("threads", threads, {0, 1024});
  config.threads = static_cast<int>(threads);
  read_store(root, environment, config.store, complaints);
  read_endpoints(root, config.endpoints, complaints);
  read_limits(root, config.limits, complaints);
  read_log_level(root, config.log_level, complaints);
  std::size_t before = complaints.count();
  read_network(root, config.network, config.blocks, complaints);
  // Of a network that is told wrongly nobody knows that there is none.
  const bool has_network =
      complaints.count() > before || config.network.experts != NetworkConfig::Experts::Off;
  before = complaints.count();
  config.schema = read_schema(root.read_tables("table"), complaints);
  const bool schema_good = complaints.count() == before;
  read_tasks(root, schema_good ? &config.schema : nullptr, has_network, config.tasks, complaints);
  root.finish();
  if (!complaints.empty()) return complaints.error();
  return config;
}

std::string environment_value(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): before any thread starts
  return value == nullptr ? "" : value;
}

}  // namespace

Result<Config> parse_config(const std::string& text, const std::string& name) {
  return read_config(text, name, {});
}

Result<Config> load_config(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return Error{Errc::NotFound, "cannot read " + path + "; name a readable configuration file"};
  }
  std::ostringstream text;
  text << file.rdbuf();
  if (file.bad()) return Error{Errc::Unavailable, "reading " + path + " failed"};
  return read_config(
      text.str(), path,
      {environment_value("ACCRETED_STORE_PATH"), environment_value("STATE_DIRECTORY")});
}

std::uint64_t fold_fingerprint(const Config& config) {
  std::string text = "seed " + std::to_string(config.seed) + "\nschema " +
                     std::to_string(config.schema.fingerprint()) + "\nlateness " +
                     std::to_string(config.limits.lateness_us) + "\nahead " +
                     std::to_string(config.limits.ahead_max_us) + "\n";
  for (const TaskConfig& task : config.tasks) {
    text += "task " + task.name + "\n" + query::print(task.query) + "\n";
    for (const TimeUs anchor : task.anchors)
      text += std::to_string(anchor.value) + ' ';
    constexpr const char* kWhen[] = {"\nticks ", "\nchange ", "\nfrontier "};
    text += kWhen[static_cast<std::size_t>(task.on_change)];
    text += std::to_string(task.debounce_us) + "\n";
  }
  text += "pending " + std::to_string(config.limits.pending_labels_max) + "\n";
  text += "features " + std::to_string(features_bytes(config.limits)) + " learners " +
          std::to_string(learners_bytes(config.limits)) + "\n";
  const std::string network = network_fingerprint(config.network, config.blocks);
  if (!network.empty())
    text += network + "weights " + std::to_string(weights_bytes(config.limits)) + "\n";
  // What is stored of features and learners; raise it when that changes.
  text += "state 27\n";
  return hash64(text);
}

}  // namespace accrete::daemon
