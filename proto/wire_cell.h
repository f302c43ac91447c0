// wire.Cell, the part that rows, keys and predictions share: its tags and its writer.
// Private to proto/.
#pragma once

#include "proto/value.h"
#include "proto/wire_bytes.h"

namespace accrete::wire_bytes {

inline constexpr std::uint32_t kCellFlag = tag_of(1, WireType::Varint);
inline constexpr std::uint32_t kCellInteger = tag_of(2, WireType::Varint);
inline constexpr std::uint32_t kCellReal = tag_of(3, WireType::Fixed64);
inline constexpr std::uint32_t kCellText = tag_of(4, WireType::Bytes);
inline constexpr std::uint32_t kCellTime = tag_of(5, WireType::Varint);
inline constexpr std::uint32_t kCellUnchanged = tag_of(6, WireType::Varint);

/// Bytes of the serialized Cell, without the tag and length in front of it.
inline std::size_t cell_size(const Value& cell) {
  switch (cell.kind) {
    case ValueKind::Null:
      return 0;
    case ValueKind::Flag:
    case ValueKind::Unchanged:
      return 2;
    case ValueKind::Integer:
    case ValueKind::Time:
      return 1 + varint_size(zigzag(cell.integer));
    case ValueKind::Real:
      return 9;
    case ValueKind::Text:
      return bytes_field_size(cell.text.size());
  }
  return 0;
}

/// Append `cell` as a field `tag` of the message around it.
inline char* put_cell(char* at, std::uint32_t tag, const Value& cell) {
  at = put_varint(at, tag);
  at = put_varint(at, cell_size(cell));
  switch (cell.kind) {
    case ValueKind::Null:
      return at;
    case ValueKind::Flag:
      at = put_varint(at, kCellFlag);
      return put_varint(at, cell.integer != 0 ? 1 : 0);
    case ValueKind::Unchanged:
      at = put_varint(at, kCellUnchanged);
      return put_varint(at, 1);
    case ValueKind::Integer:
      at = put_varint(at, kCellInteger);
      return put_varint(at, zigzag(cell.integer));
    case ValueKind::Time:
      at = put_varint(at, kCellTime);
      return put_varint(at, zigzag(cell.integer));
    case ValueKind::Real:
      at = put_varint(at, kCellReal);
      return put_fixed64(at, std::bit_cast<std::uint64_t>(cell.real));
    case ValueKind::Text:
      at = put_varint(at, kCellText);
      return put_bytes(at, cell.text);
  }
  return at;
}

}  // namespace accrete::wire_bytes
