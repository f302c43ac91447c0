// One change event in, its records out: the seam behind which formats differ. It knows of no file
// and no socket, so lines of a file, bodies of a request and frames of a message are read alike.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/row_source.h"
#include "daemon/row_writer.h"
#include "proto/result.h"
#include "proto/schema.h"

namespace accrete::daemon {

/// Which transaction of its source an event belongs to.
struct Transaction {
  std::string id;     ///< "": the event is whole by itself
  bool ends = false;  ///< the event says that no more of `id` comes
  /// Where the event stands in its source, as far as that and its rows tell it from all others;
  /// "": it does not say.
  std::string position;

  void clear() {
    id.clear();
    position.clear();
    ends = false;
  }
};

/// Kinds of events that change no row ("tombstones", "heartbeats"), and how many there were.
using PassedOver = std::map<std::string, std::uint64_t, std::less<>>;

/// Reads the events of one source in order. Threads: one at a time.
class EventReader {
 public:
  virtual ~EventReader() = default;

  /// Append the records of one event to `out` (layouts where due, changes, marks; nothing for an
  /// event that changes no row, which is counted) and say which transaction it is in.
  /// Errors: Malformed with what is wrong and what to do; then nothing is appended, and the next
  ///         event may be read.
  virtual Status read(std::string_view event, SourceTransaction& out, Transaction& in) = 0;

  const PassedOver& passed_over() const { return passed_over_; }
  /// As RowWriter::never_named().
  std::vector<std::string> never_named() const { return writer_.never_named(); }

 protected:
  explicit EventReader(const Schema& schema) : writer_(schema) {}
  Status pass_over(std::string_view kind);
  RowWriter& writer() { return writer_; }

 private:
  RowWriter writer_;
  PassedOver passed_over_;
};

/// The format of this name ("debezium"), and the names of all.
std::optional<EventFormat> event_format(std::string_view name);
std::vector<std::string> event_formats();

/// `schema` outlives the reader.
std::unique_ptr<EventReader> open_reader(EventFormat format, const Schema& schema);
std::unique_ptr<EventReader> open_native(const Schema& schema);
std::unique_ptr<EventReader> open_debezium(const Schema& schema);
std::unique_ptr<EventReader> open_maxwell(const Schema& schema);
std::unique_ptr<EventReader> open_wal2json(const Schema& schema);
std::unique_ptr<EventReader> open_canal(const Schema& schema);

}  // namespace accrete::daemon
