// libFuzzer: every decoder of bytes that come from outside or from disk. What a record decodes to
// must encode and decode to itself again.
#include <cstdint>

#include "proto/codec.h"
#include "proto/prediction.h"
#include "wire_mirror.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace accrete;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  static Record record;
  if (decode_record(bytes, record)) {
    std::string first;
    test::encode(record, first);
    Record again;
    ACCRETE_CHECK(decode_record(first, again).has_value());
    std::string second;
    test::encode(again, second);
    ACCRETE_CHECK(first == second);
  }
  LogHeader header;
  if (const auto entry = decode_entry(bytes, header)) {
    LogSlice slice;
    slice.append(header, entry.value());
    ACCRETE_CHECK(decode_entry(slice.entry(0), header).value() == entry.value());
  }
  if (const auto frame = PredictionHeader::decode(bytes)) frame.value().encode();
  if (const auto json = prediction_json(bytes)) ACCRETE_CHECK(!json.value().empty());
  return 0;
}
