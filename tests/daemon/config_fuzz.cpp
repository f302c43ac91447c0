// libFuzzer: configuration text. What is accepted must print to text that reads back to the same.
#include <cstdint>
#include <string>

#include "daemon/config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace accrete::daemon;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto config = parse_config(text, "fuzz.toml");
  if (!config) {
    ACCRETE_CHECK(!config.error().detail.empty());
    return 0;
  }
  const std::string printed = print_config(config.value());
  const auto again = parse_config(printed, "printed.toml");
  ACCRETE_CHECK(again.has_value());
  ACCRETE_CHECK(print_config(again.value()) == printed);
  return 0;
}
