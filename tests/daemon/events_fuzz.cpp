// libFuzzer: change events of every format; the first byte picks it.
#include <array>

#include "fuzz_file.h"
#include "source_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace accrete::daemon;
  constexpr std::array formats = {EventFormat::Debezium, EventFormat::Maxwell,
                                  EventFormat::Wal2json, EventFormat::Canal};
  static const FuzzFile file("events.jsonl");
  if (size == 0) return 0;
  const EventFormat format = formats[data[0] % formats.size()];
  const auto source = open_jsonl(file.hold(data + 1, size - 1), fuzz_schema(), format);
  if (source) read_to_the_end(*source.value());
  return 0;
}
