// Named values of one change event as records: what every JSON format of change events ends in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/row_source.h"
#include "proto/codec.h"
#include "proto/ids.h"
#include "proto/schema.h"
#include "proto/value.h"

namespace accrete::daemon {

/// One member of a row. Views stand until the next event is parsed.
struct NamedValue {
  std::string_view name;
  Value value;
};

/// The member called `name`, or nullptr.
const NamedValue* find(const std::vector<NamedValue>& values, std::string_view name);

/// One row change by names, before the schema has been asked.
struct NamedChange {
  Op op = Op::Insert;
  std::vector<NamedValue> row;
  std::vector<NamedValue> old_key;  ///< of an update that changes the key, else empty
  std::optional<TimeUs> time;

  void clear() {
    op = Op::Insert;
    row.clear();
    old_key.clear();
    time.reset();
  }
};

/// How much a transaction held.
struct TransactionMark {
  explicit TransactionMark(const SourceTransaction& out)
      : bytes(out.bytes.size()), ends(out.ends.size()), rows(out.rows) {}
  std::size_t bytes;
  std::size_t ends;
  std::uint64_t rows;
};

class RowWriter {
 public:
  explicit RowWriter(const Schema& schema);

  /// Errors: Malformed with the nearest name.
  Result<TableId> find_table(std::string_view name) const;
  /// The table configured as `space.name` (a schema's or database's name before it), else as
  /// `name`. Errors: as above, and for an empty name.
  Result<TableId> find_table(std::string_view space, std::string_view name) const;

  /// Append a layout where one is due, then the change, to `out`. What an update does not say
  /// stands; what an insert or a delete does not say is NULL.
  /// Errors: Malformed naming table and column: no key, no time; a new row without a time or
  ///         foreign-key column that no row has named yet, but with a column of nearly that name.
  ///         Then nothing is appended.
  Status write(TableId table, const NamedChange& change, SourceTransaction& out);

  /// Take back what was appended since `mark`: rows of an event of which one is bad.
  void roll_back(const TransactionMark& mark, SourceTransaction& out);

  /// Time and foreign-key columns that none of a table's new rows has named, each as a sentence
  /// for people. A row may leave out what is NULL, so one row is no proof and many are a sign.
  std::vector<std::string> never_named() const;

 private:
  /// A column that something is asked of, until a row names it.
  struct Awaited {
    ColumnId column;
    std::string_view role;
  };

  /// The columns of one table as far as they have been seen, so that rows that name them in any
  /// order, or leave some out, still share one layout.
  struct TableState {
    Layout layout;
    std::uint64_t hash = 0;
    bool declared = false;
    std::vector<Awaited> awaited;
    std::uint64_t new_rows = 0;  ///< while some column is awaited
  };

  Status fill_cells(TableId id, const NamedChange& change);
  Status check_key(const Table& table, const NamedChange& change);
  Status check_awaited(TableId id, const NamedChange& change);
  void put(TableId id, SourceTransaction& out);

  const Schema& schema_;
  std::vector<TableState> tables_;
  Change change_;
};

/// Of an update whose key differs in `before`, the former key; it stays empty where `before` does
/// not hold the whole key (sources send there what they have logged).
void keep_old_key(const Table& table, const std::vector<NamedValue>& before, NamedChange& change);

/// The same where `old` holds the former values of changed columns only.
void fill_old_key(const Table& table, const std::vector<NamedValue>& old, NamedChange& change);

/// A message that its sender means for us, as a record. Errors: Malformed for another content than
/// "block", and without a time.
Status write_block_mark(std::string_view content, std::optional<TimeUs> time,
                        SourceTransaction& out);

/// End the record just encoded. Checks: a transaction stays below 4 GiB.
void close_record(SourceTransaction& out);

}  // namespace accrete::daemon
