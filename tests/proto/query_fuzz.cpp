// libFuzzer: any bytes give a query or a Malformed error; a query survives printing and parsing.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "proto/limits.h"
#include "proto/query.h"
#include "tests/proto/query_equality.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace accrete::query;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto parsed = parse(text);
  if (!parsed) {
    ACCRETE_CHECK(parsed.error().code == accrete::Errc::Malformed);
    ACCRETE_CHECK(!parsed.error().detail.empty());
    return 0;
  }
  const std::string printed = print(parsed.value());
  const auto again = parse(printed);
  // Canonical text may be longer than what was read (COUNT(a.b<1 becomes COUNT(a.b < 1).
  if (printed.size() > accrete::limits::query_bytes_max) return 0;
  ACCRETE_CHECK(again.has_value());
  ACCRETE_CHECK(same(parsed.value(), again.value()));
  ACCRETE_CHECK(print(again.value()) == printed);
  return 0;
}
