// One change event in, its records out: the seam behind which formats differ. It knows of no file
// and no socket, so lines of a file, bodies of a request and frames of a message are read alike.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "daemon/row_source.h"
#include "proto/result.h"
#include "proto/schema.h"

namespace accrete::daemon {

/// Which transaction of its source an event belongs to.
struct Transaction {
  std::string id;     ///< "": the event is whole by itself
  bool ends = false;  ///< the event says that no more of `id` comes

  void clear() {
    id.clear();
    ends = false;
  }
};

/// Reads the events of one source in order. Threads: one at a time.
class EventReader {
 public:
  virtual ~EventReader() = default;

  /// Append the records of one event to `out` (layouts where due, changes, marks; nothing for an
  /// event that changes no row) and say which transaction it is in.
  /// Errors: Malformed with what is wrong and what to do; then nothing is appended, and the next
  ///         event may be read.
  virtual Status read(std::string_view event, SourceTransaction& out, Transaction& in) = 0;
};

/// `schema` outlives the reader.
std::unique_ptr<EventReader> open_reader(EventFormat format, const Schema& schema);

}  // namespace accrete::daemon
