// The rarely taken paths of the wire reader, and UTF-8 validation.
#include "proto/wire_bytes.h"

namespace accrete::wire_bytes {
namespace {

/// Length of the well-formed sequence at `at`, 0 if there is none. Table 3-7 of the Unicode
/// standard: only the second byte has ranges that depend on the first.
std::size_t sequence_length(const unsigned char* at, std::size_t left) {
  const unsigned char lead = at[0];
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  const std::size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (length > left) return 0;
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  if (at[1] < low || at[1] > high) return 0;
  for (std::size_t i = 2; i < length; ++i) {
    if ((at[i] & 0xC0) != 0x80) return 0;
  }
  return length;
}

}  // namespace

bool is_utf8_slow(std::string_view text) {
  const auto* const bytes = reinterpret_cast<const unsigned char*>(text.data());
  std::size_t i = 0;
  while (i < text.size()) {
    const std::size_t length = sequence_length(bytes + i, text.size() - i);
    if (length == 0) return false;
    i += length;
  }
  return true;
}

bool Reader::varint_slow(std::uint64_t& out) {
  std::uint64_t value = 0;
  const char* at = at_;
  for (unsigned shift = 0; shift < 70; shift += 7) {
    if (at == end_) return fail("truncated varint");
    const auto byte = static_cast<unsigned char>(*at++);
    if (shift == 63 && byte > 1) return fail("varint longer than 64 bits");
    value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) {
      at_ = at;
      out = value;
      return true;
    }
  }
  return fail("varint longer than 64 bits");
}

bool Reader::skip(std::uint32_t tag, std::uint32_t known_fields_max) {
  if (tag >> 3 <= known_fields_max) return fail("wrong wire type of a known field");
  std::uint64_t ignored = 0;
  std::string_view ignored_bytes;
  switch (tag & 7) {
    case static_cast<std::uint32_t>(WireType::Varint):
      return varint(ignored);
    case static_cast<std::uint32_t>(WireType::Fixed64):
      return fixed64(ignored);
    case static_cast<std::uint32_t>(WireType::Bytes):
      return bytes(ignored_bytes);
    case static_cast<std::uint32_t>(WireType::Fixed32):
      if (end_ - at_ < 4) return fail("fixed32 past the end");
      at_ += 4;
      return true;
    default:
      return fail("group or unknown wire type");
  }
}

}  // namespace accrete::wire_bytes
