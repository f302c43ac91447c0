// Everything the fold derives, kept in named sections and committed whole: an epoch commit is ONE
// WriteBatch with the fold's cursor in it, so a crash finds the state of one moment, never a mix.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "proto/ids.h"
#include "proto/result.h"
#include "store/database.h"

namespace accrete::store {

enum class Section : std::uint8_t {
  Keys,       ///< (table, canonical key) -> row
  Nodes,      ///< pages of node versions
  Adjacency,  ///< pages of adjacency lists (tails and directories)
  Segments,   ///< sealed runs of edges
  Labels,     ///< pending predictions, label histories
  Blobs,      ///< model parts, encoders, mixer, metrics, timeline
};

/// How far the fold has come; committed with the state.
struct Cursor {
  std::uint64_t epoch = 1;  ///< stream incarnation; rises when configuration changes what is folded
  std::uint64_t fingerprint = 0;  ///< of that configuration
  Ordinal folded;                 ///< last log record admitted to the timeline
  PredictionSeq predicted;        ///< last prediction number given
};

/// Owned by the fold thread. Staged writes are invisible to get() until commit(): whoever stages
/// keeps its own copy until then.
class State {
 public:
  /// Errors: Corruption if the cursor does not decode.
  static Result<std::unique_ptr<State>> open(Database& database);
  ~State();

  const Cursor& cursor() const { return cursor_; }
  bool fresh() const { return fresh_; }  ///< nothing was ever committed

  void put(Section section, std::string_view key, std::string_view value);
  /// Append `bytes` to the value stored (or staged) under `key`, without reading it.
  /// Checks: section is Nodes or Adjacency, the ones that pages grow in.
  void append(Section section, std::string_view key, std::string_view bytes);
  void erase(Section section, std::string_view key);
  std::uint64_t staged_bytes() const;

  /// Write everything staged and the cursor atomically; not synced (a power cut re-derives it).
  /// Errors: Unavailable; nothing was written, the staged writes are dropped and every later
  ///         commit fails too.
  Status commit(const Cursor& cursor);

  /// Committed value. Errors: Unavailable, Corruption. nullopt: no such key.
  Result<std::optional<std::string>> get(Section section, std::string_view key) const;
  /// The same into a reused buffer; false: no such key.
  Result<bool> get(Section section, std::string_view key, std::string& value) const;

  /// All committed keys with `prefix` in key order; stop early by returning false.
  Status scan(Section section, std::string_view prefix,
              const std::function<bool(std::string_view key, std::string_view value)>& visit) const;

  /// Drop all derived state, predictions included, and start `epoch`: the log is folded anew. The
  /// log, sources, dead letters and named subscribers stay. What objects above this one keep in
  /// memory is not told: call PredictionLog::reset() and make a new Graph.
  Status reset(std::uint64_t epoch, std::uint64_t fingerprint);

 private:
  struct Staged;  ///< the batch under construction
  explicit State(Database& database);
  Database* database_;
  std::unique_ptr<Staged> staged_;
  Cursor cursor_;
  bool fresh_ = true;
  bool failed_ = false;
};

}  // namespace accrete::store
