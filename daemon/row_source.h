// Where `feed` and `backtest` get rows from: files, a git repository, standard input. One seam, so
// that a backtest and a live feed of the same files see the same transactions in the same order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/config.h"
#include "proto/result.h"

namespace accrete::daemon {

/// One source transaction: serialized wire.Record messages in one buffer (layouts before first
/// use).
struct SourceTransaction {
  std::uint64_t position = 0;  ///< strictly rising from 1
  std::string bytes;
  std::vector<std::uint32_t> ends;  ///< end offset of each record
  std::uint64_t rows = 0;           ///< changes among them
  std::uint64_t input = 0;          ///< fingerprint of what it was read from

  /// Views of the records; replaces `out`.
  void list(std::vector<std::string_view>& out) const {
    out.clear();
    std::size_t begin = 0;
    for (const std::uint32_t end : ends) {
      out.push_back(std::string_view(bytes).substr(begin, end - begin));
      begin = end;
    }
  }
};

struct Progress {
  std::uint64_t rows = 0;
  std::uint64_t bytes_done = 0;   ///< of input, compressed bytes where compressed
  std::uint64_t bytes_total = 0;  ///< 0 = unknown
};

class RowSource {
 public:
  virtual ~RowSource() = default;
  /// Name of the source for positions; stable across runs over the same input.
  virtual std::string name() const = 0;
  /// The next transaction into `out` (reused); false at the end.
  /// Errors: Malformed with file:line and what is wrong; Unavailable on I/O failure.
  virtual Result<bool> next(SourceTransaction& out) = 0;
  virtual Progress progress() const = 0;
  /// What was read and changes no row, for people: "3 heartbeats, 2 tombstones"; "" = nothing.
  virtual std::string passed_over() const { return {}; }
  /// What may be wrong with the rows so far, each as a sentence for people.
  virtual std::vector<std::string> doubts() const { return {}; }
};

struct CsvOptions {
  std::vector<std::string> paths;  ///< folders and files; `table.csv`, `table.csv.gz`; name = table
  bool as_of_order = false;        ///< merge all tables by event time (untimed tables first), one
                                   ///< transaction per time stamp
  std::size_t rows_per_transaction = 256;
  bool snapshot_marks = true;  ///< without as_of_order: bracket with SNAPSHOT_BEGIN / SNAPSHOT_END
};
/// Tables of the schema found under `paths`; other files are named in `skipped`. Errors: Malformed
/// for a file given by name that is no table, a header without a key/time/foreign-key column, a row
/// with the wrong number of cells, an unparsable time.
Result<std::unique_ptr<RowSource>> open_csv(const CsvOptions& options, const Schema& schema,
                                            std::vector<std::string>* skipped = nullptr);

/// History of a git repository, oldest commit first (tables authors, files, commits, changes as in
/// daemon/git.toml); one commit = one transaction = one position. Runs `git log`. Resumes by
/// skipping.
struct GitOptions {
  std::string repository;
  std::size_t paths_per_commit_max = 2000;  ///< larger commits keep their row, not their changes
};
Result<std::unique_ptr<RowSource>> open_git(const GitOptions& options);

/// The history's tables are in the schema, and have the columns that it asks for.
/// Errors: Malformed, naming what is missing and what to do.
Status check_git_schema(const Schema& schema);

/// How one change event is written.
enum class EventFormat : std::uint8_t { Native, Debezium, Maxwell, Wal2json, Canal };

/// Change events, one JSON object a line. Native:
/// {"table":"orders","op":"insert","row":{…},"time":"…","tx":7}. Op defaults to insert; consecutive
/// lines with the same "tx" are one transaction. "-" = standard input.
Result<std::unique_ptr<RowSource>> open_jsonl(const std::string& path, const Schema& schema,
                                              EventFormat format = EventFormat::Native);

}  // namespace accrete::daemon
