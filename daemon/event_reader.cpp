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
    case EventFormat::Native:
      break;
  }
  return open_native(schema);
}

}  // namespace accrete::daemon
