// The configuration: one struct per part, read from TOML, checked once, with every default here.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/network_config.h"
#include "proto/query.h"
#include "proto/result.h"
#include "proto/schema.h"
#include "stream/endpoint.h"

namespace accrete::daemon {

struct StoreConfig {
  std::string path =
      "/var/lib/accreted";  ///< $STATE_DIRECTORY where systemd sets it and the file does not
};

/// [endpoints]: addresses; [curve]: key files for all of them.
struct EndpointsConfig {
  std::string ingest = "tcp://127.0.0.1:7701";
  std::string predictions = "tcp://127.0.0.1:7702";
  std::string replay = "tcp://127.0.0.1:7703";
  std::string control = "tcp://127.0.0.1:7704";
  std::string events;              ///< change events as JSON; "" = no such socket
  std::string http;                ///< http://HOST:PORT; "" = no HTTP
  bool http_public = false;        ///< HTTP, which has no keys, may leave this machine
  std::string http_token_file;     ///< whose token POST /ingest asks for; "" = none
  std::string curve_key_file;      ///< the daemon's own pair; "" = no CURVE
  std::string curve_clients_file;  ///< allowed client public keys, one a line; "" = any client
};

/// Ten years: what lies further ahead is hardly ever meant.
inline constexpr std::int64_t kAheadMaxUs = 3653ll * 86'400'000'000;

/// [limits]: every bound a user may want to move. Sizes accept "64 MiB", times "30 s".
struct LimitsConfig {
  std::size_t memory_bytes_max = 2ull
                                 << 30;  ///< graph, caches, memtables, timeline, queues together
  /// Aggregates behind the features; 0 = a sixteenth of memory_bytes_max, at most 128 MiB. Keys
  /// beyond it have none, so it is part of what a prediction depends on: changing it folds the log
  /// anew.
  std::size_t features_bytes_max = 0;
  /// What all tasks' learners keep of examples, and of a tick while it is predicted; 0 = the
  /// same. Changing it folds the log anew.
  std::size_t learners_bytes_max = 0;
  std::size_t credit_bytes = 8u << 20;             ///< unacknowledged bytes per producer
  std::size_t group_rows_max = 512;                ///< rows of one group commit
  std::size_t transaction_bytes_max = 256u << 20;  ///< one source transaction
  std::size_t queue_batches_max = 8;               ///< groups waiting for the fold; small ones join
  /// Durable records that the fold may be behind before producers wait; 0: `queue_batches_max`.
  std::uint64_t lag_records_max = 10'000'000;
  std::size_t producers_max = 1024;
  std::uint64_t log_bytes_max = 0;  ///< change log; 0 = no bound; full: producers get EXHAUSTED
  std::uint64_t predictions_bytes_max = 10ull << 30;  ///< retained predictions; 0 = no bound
  std::int64_t predictions_age_max_us = 0;            ///< 0 = no bound
  std::int64_t subscriber_deadline_us =
      7ll * 86'400'000'000;  ///< a named subscriber silent longer is dropped
  std::uint64_t dead_letters_max = 100'000;
  std::int64_t lateness_us = 0;                 ///< allowed lateness: how far the watermark trails
  std::int64_t ahead_max_us = kAheadMaxUs;      ///< a row further ahead moves nothing; 0 = no bound
  std::size_t pending_labels_max = 50'000'000;  ///< predictions waiting for their outcome, per task
  std::uint64_t checkpoint_records_min = 200'000;  ///< records between two epoch commits, at least
};

/// The two limits above as they hold. Unless given they stay the same from 2 GiB of memory on, so
/// that more memory does not make a log be folded anew.
inline constexpr std::size_t kLearningBytes = 128u << 20;
inline std::size_t features_bytes(const LimitsConfig& limits) {
  return limits.features_bytes_max != 0 ? limits.features_bytes_max
                                        : std::min(kLearningBytes, limits.memory_bytes_max / 16);
}
inline std::size_t learners_bytes(const LimitsConfig& limits) {
  return limits.learners_bytes_max != 0 ? limits.learners_bytes_max
                                        : std::min(kLearningBytes, limits.memory_bytes_max / 16);
}

/// What the weights of all graph networks may take: more memory than 2 GiB does not change it.
inline std::size_t weights_bytes(const LimitsConfig& limits) {
  return std::min(4 * kLearningBytes, limits.memory_bytes_max / 4);
}

/// Who is republished when rows come, between two ticks.
enum class OnChange : std::uint8_t {
  Nobody,
  Touched,   ///< entities that the rows name, or whose own row it is
  Frontier,  ///< and all whose graph network reads such a row (frontier.h)
};

struct TaskConfig {
  std::string name;
  std::string predict;          ///< the query as written
  query::Query query;           ///< parsed
  std::vector<TimeUs> anchors;  ///< tick grid; empty = 1970-01-01
  OnChange on_change = OnChange::Touched;
  std::int64_t debounce_us =
      0;  ///< at most one such republication per entity and so much event time
};

struct Config {
  std::string file;  ///< where it was read from, for messages
  std::uint64_t seed = 1;
  StoreConfig store;
  EndpointsConfig endpoints;
  LimitsConfig limits;
  Schema schema;  ///< sealed; columns are those the file names
  std::vector<TaskConfig> tasks;
  NetworkConfig network;
  BlocksConfig blocks;
  std::string log_level = "info";  ///< trace, debug, info, warn, error
  int threads = 0;                 ///< OpenMP team; 0 = number of cores. Never changes a result.
};

/// Read and check a file (or text, for tests). Environment: ACCRETED_STORE_PATH overrides
/// store.path. Errors:  Malformed with file:line and, for an unknown key, table or column, the
/// nearest name:
///            accreted.toml:12: unknown key "foriegn_keys" in [[table]] "results"; did you mean
///            "foreign_keys"?
///          Query errors show the query line with a caret. All of them are found before anything
///          starts.
Result<Config> load_config(const std::string& path);
Result<Config> parse_config(const std::string& text, const std::string& name);

/// The effective configuration as TOML that load_config() reads back to the same.
std::string print_config(const Config& config);

/// Hash of what decides the fold's output (seed, schema, tasks, lateness); not of limits or
/// addresses.
std::uint64_t fold_fingerprint(const Config& config);

}  // namespace accrete::daemon
