// Which reader reads which format.
#include "daemon/event_reader.h"

namespace accrete::daemon {

Status EventReader::pass_over(std::string_view kind) {
  ++passed_over_.try_emplace(std::string(kind)).first->second;
  return Ok{};
}

std::unique_ptr<EventReader> open_reader(EventFormat format, const Schema& schema) {
  switch (format) {
    case EventFormat::Debezium:
      return open_debezium(schema);
    case EventFormat::Maxwell:
      return open_maxwell(schema);
    case EventFormat::Wal2json:
      return open_wal2json(schema);
    case EventFormat::Canal:
      return open_canal(schema);
    case EventFormat::Native:
      break;
  }
  return open_native(schema);
}

}  // namespace accrete::daemon
