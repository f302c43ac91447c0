// Which reader reads which format.
#include "daemon/event_reader.h"

#include <array>
#include <utility>

namespace accrete::daemon {
namespace {

constexpr std::array<std::pair<std::string_view, EventFormat>, 5> kFormats = {
    {{"native", EventFormat::Native},
     {"debezium", EventFormat::Debezium},
     {"maxwell", EventFormat::Maxwell},
     {"wal2json", EventFormat::Wal2json},
     {"canal", EventFormat::Canal}}};

}  // namespace

std::optional<EventFormat> event_format(std::string_view name) {
  for (const auto& [known, format] : kFormats) {
    if (known == name) return format;
  }
  return std::nullopt;
}

std::vector<std::string> event_formats() {
  std::vector<std::string> out;
  for (const auto& [name, format] : kFormats)
    out.emplace_back(name);
  return out;
}

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
