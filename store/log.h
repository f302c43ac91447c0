// The change log: every accepted record, in order of acceptance, synced before it is acknowledged.
// It is also where row contents live: the graph keeps ordinals, not bytes.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proto/codec.h"
#include "proto/ids.h"
#include "proto/result.h"
#include "store/database.h"

namespace accrete::store {

struct DeadLetter {
  std::uint64_t number = 0;  ///< 1, 2, 3, …
  std::string source;
  std::uint64_t position = 0;
  std::string reason;
  std::string record;  ///< the offending record's bytes as received
};

/// One writer (the ingest thread or the backtest), which alone calls source(), position(),
/// source_names(), append() and prune_dead_letters(); any thread may call the rest, and sees a
/// record once the append() that brought it has returned.
class Log {
 public:
  /// Errors: Corruption if the stored end or sources do not decode, or the end is not where the
  ///         stored end says (records are missing).
  static Result<Log> open(Database& database);

  /// Ordinal of the newest record; 0 when empty.
  Ordinal end() const { return Ordinal{ends_->records.load(std::memory_order_acquire)}; }

  /// Number and durable commit position of a source; a new name gets the next number (persisted
  /// with its first append). Errors: Exhausted over name_bytes_max.
  Result<SourceId> source(std::string_view name);
  std::uint64_t position(SourceId source) const;
  const std::vector<std::string>& source_names() const { return names_; }

  struct Advance {
    SourceId source;
    std::uint64_t position;
  };

  /// What the reader of a source must know again of the transaction at `position`, and positions
  /// whose memories it needs no more: from `forget_begin` up to before `forget_end`.
  struct Memory {
    SourceId source;
    std::uint64_t position = 0;
    std::string bytes;
    std::uint64_t forget_begin = 0;
    std::uint64_t forget_end = 0;
  };
  /// What is remembered of a source, by position. Errors: Unavailable. Cost: one scan of it.
  Result<std::vector<Memory>> memories(SourceId source) const;

  /// Append entries and move source positions in ONE batch; durable on return if the database
  /// syncs. `slice.first` must be end()+1. `letters` are stored in the same batch (numbers are
  /// assigned here), and so are `memories`. Errors: Unavailable on I/O failure: nothing was
  /// appended, and every later append fails too (the file system can no longer be trusted). Cost:
  /// one sequential put a page (16 KiB or 256 records); one fdatasync a call.
  Status append(const LogSlice& slice, std::span<const Advance> advances,
                std::span<const DeadLetter> letters = {}, std::span<const Memory> memories = {});

  /// Entry bytes of one record. Errors: NotFound, Corruption, Unavailable. Threads: any.
  /// Cost: one seek; for many records in a row use read().
  Status get(Ordinal ordinal, std::string& entry) const;

  /// Up to `records_max` entries and about `bytes_max` bytes from `from` on (empty past the end).
  Result<LogSlice> read(Ordinal from, std::size_t records_max, std::size_t bytes_max) const;

  /// Up to `max` retained letters with number >= `from`, in order.
  Result<std::vector<DeadLetter>> dead_letters(std::uint64_t from, std::size_t max) const;
  /// All letters ever written, pruned ones included: the number of the newest.
  std::uint64_t dead_letter_count() const { return ends_->letters.load(std::memory_order_acquire); }
  /// Drop the oldest dead letters above `max`.
  Status prune_dead_letters(std::uint64_t max);

  struct Verified {
    std::uint64_t records = 0;
    std::uint64_t transactions = 0;
    std::uint64_t bytes = 0;
  };
  /// Read everything: ordinals without gaps, entries decode, positions strictly rise per source,
  /// the last record of the log ends its transaction. Errors: Corruption naming the ordinal.
  Result<Verified> verify() const;

 private:
  /// Written by the writer, read by everybody; on the heap so that a Log can move.
  struct Ends {
    std::atomic<std::uint64_t> records{0};
    std::atomic<std::uint64_t> letters{0};
  };

  explicit Log(Database& database) : database_(&database), ends_(std::make_unique<Ends>()) {}
  Status load_sources();
  Status load_ends();

  Database* database_;
  std::unique_ptr<Ends> ends_;
  std::vector<std::string> names_;        // SourceId -> name
  std::vector<std::uint64_t> positions_;  // SourceId -> commit position
  std::map<std::string, SourceId, std::less<>> sources_;
  std::size_t stored_sources_ = 0;  // names_ up to here are in the database
  bool failed_ = false;
};

}  // namespace accrete::store
