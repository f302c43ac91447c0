// libFuzzer: JSON rows.
#include "fuzz_file.h"
#include "source_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace accrete::daemon;
  static const FuzzFile file("rows.jsonl");
  const auto source = open_jsonl(file.hold(data, size), fuzz_schema());
  if (source) read_to_the_end(*source.value());
  return 0;
}
