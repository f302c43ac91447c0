// Records and log entries to bytes and back, without copying cells.
// Byte layouts: proto/record.proto and proto/FORMAT.md.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "proto/ids.h"
#include "proto/result.h"
#include "proto/schema.h"
#include "proto/value.h"

namespace accrete {

enum class Op : std::uint8_t { Insert, Update, Delete, Truncate };

/// A decoded row change. Views point into the bytes it was decoded from.
struct Change {
  std::uint64_t layout = 0;
  Op op = Op::Insert;
  std::vector<Value> cells;  ///< in layout order
  std::optional<TimeUs> change_time;
  std::vector<Value> old_key;
};

enum class MarkKind : std::uint8_t { SnapshotBegin, SnapshotEnd, Clock, Block, Idle };

struct Mark {
  MarkKind kind = MarkKind::Clock;
  TimeUs time;
};

/// A logged request to predict `task` for one entity as of a time.
struct Request {
  std::string_view task;
  std::vector<Value> key;
  TimeUs as_of;
};

enum class RecordKind : std::uint8_t { Layout = 1, Change = 2, Mark = 3, Request = 4 };

/// One decoded record; reuse one object for many records to keep its buffers.
struct Record {
  RecordKind kind = RecordKind::Change;
  Layout layout;
  Change change;
  Mark mark;
  Request request;
};

/// Decode one serialized wire.Record into `out` (only the member that `out.kind` names is valid).
/// Errors:  Malformed with the byte offset and the cause; never reads outside `bytes`.
/// Cost:    no allocation once `out`'s buffers have grown; about 10 ns a cell.
Status decode_record(std::string_view bytes, Record& out);

/// Append the serialized wire.Record to `out`: the bytes that the generated classes would write.
/// Cost: one growth of `out`; the size is computed first.
void encode_layout(const Layout& layout, std::string& out);
void encode_change(const Change& change, std::string& out);
void encode_mark(const Mark& mark, std::string& out);
void encode_request(const Request& request, std::string& out);

/// Layout hash -> bound layout, filled in log order by everyone who reads the log.
class Layouts {
 public:
  /// Errors: Malformed from Schema::bind; a known layout is accepted silently.
  Status declare(const Layout& layout, Schema& schema);
  const BoundLayout* find(std::uint64_t hash) const;
  bool known(std::uint64_t hash) const { return find(hash) != nullptr; }

 private:
  std::unordered_map<std::uint64_t, BoundLayout> bound_;
};

/// What the change log stores for one record: a header, then the record's bytes verbatim.
struct LogHeader {
  SourceId source;
  std::uint64_t position = 0;  ///< commit position of the record's transaction
  bool last = true;            ///< last record of its transaction
};

/// A run of consecutive log entries in one buffer.
struct LogSlice {
  Ordinal first{1};                 ///< ordinal of entry 0
  std::string bytes;                ///< entries, back to back
  std::vector<std::uint32_t> ends;  ///< end offset of each entry in `bytes`

  std::size_t size() const { return ends.size(); }
  std::string_view entry(std::size_t i) const {
    const std::uint32_t begin = i == 0 ? 0 : ends[i - 1];
    return std::string_view(bytes).substr(begin, ends[i] - begin);
  }
  void append(const LogHeader& header, std::string_view record);
  /// The entries of `next` behind these. False, and nothing changes, where they are not the next,
  /// or both have more than `entries_max` entries or `bytes_max` bytes together.
  bool join(const LogSlice& next, std::size_t entries_max, std::size_t bytes_max);
  void clear() {
    bytes.clear();
    ends.clear();
  }
};

/// Split an entry into header and record bytes. Errors: Corruption (it comes from our own log).
Result<std::string_view> decode_entry(std::string_view entry, LogHeader& header);

/// Check a decoded change against its bound layout: number of cells, key not null and short
/// enough, time column a time (or an integer, or text that parses), updates and deletes only on
/// tables with a key, and no `unchanged` in an insert or in a key.
/// Errors:  Malformed naming table, column and value.
Status check_change(const Change& change, const BoundLayout& layout, const Schema& schema);

/// Replace `out` by the canonical key bytes of the row in `change` (empty for a table without a
/// key). Checks: check_change() passed, and the change is no truncate of a table with a key.
void key_of(const Change& change, const BoundLayout& layout, const Table& table, std::string& out);

/// The row's value in its table's time column as a time; nullopt when the table has none or the
/// cell is null or unchanged. Checks: check_change() passed.
std::optional<TimeUs> event_time_of(const Change& change, const BoundLayout& layout,
                                    const Table& table);

/// Interpret one value as a time: Time as is, integers by `unit`, text by parse_time.
std::optional<TimeUs> value_time(const Value& value, TimeUnit unit);

}  // namespace accrete
