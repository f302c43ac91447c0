// Reading and writing batches by hand, field by field as proto/stream.proto numbers them.
#include "stream/batch_frame.h"

namespace accrete::stream {
namespace {

enum class WireType : std::uint32_t { Varint = 0, Fixed64 = 1, Bytes = 2, Fixed32 = 5 };
constexpr std::uint32_t tag(std::uint32_t field, WireType type) {
  return field << 3 | static_cast<std::uint32_t>(type);
}

constexpr std::uint32_t kToIngestBatch = tag(2, WireType::Bytes);
constexpr std::uint32_t kBatchSource = tag(1, WireType::Bytes);
constexpr std::uint32_t kBatchNumber = tag(2, WireType::Varint);
constexpr std::uint32_t kBatchPart = tag(3, WireType::Bytes);
constexpr std::uint32_t kPartTransaction = tag(1, WireType::Varint);
constexpr std::uint32_t kPartCommit = tag(2, WireType::Varint);
constexpr std::uint32_t kPartPosition = tag(3, WireType::Varint);
constexpr std::uint32_t kPartRecord = tag(4, WireType::Bytes);

/// Reads forward; every step says whether it stayed inside.
class Cursor {
 public:
  explicit Cursor(std::string_view bytes) : at_(bytes.data()), end_(at_ + bytes.size()) {}

  bool done() const { return at_ == end_; }
  const char* at() const { return at_; }

  bool varint(std::uint64_t& out) {
    out = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
      if (at_ == end_) return false;
      const auto byte = static_cast<unsigned char>(*at_++);
      out |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return shift < 63 || byte <= 1;
    }
    return false;
  }

  bool field(std::uint32_t& out) {
    std::uint64_t number = 0;
    if (!varint(number) || number > 0xFFFF'FFFFu || number < 8) return false;
    out = static_cast<std::uint32_t>(number);
    return true;
  }

  bool bytes(std::string_view& out) {
    std::uint64_t size = 0;
    if (!varint(size) || size > static_cast<std::uint64_t>(end_ - at_)) return false;
    out = {at_, static_cast<std::size_t>(size)};
    at_ += size;
    return true;
  }

  /// Step over a field that a newer producer may have added.
  bool skip(std::uint32_t field_tag) {
    std::uint64_t number = 0;
    std::string_view ignored;
    switch (static_cast<WireType>(field_tag & 7)) {
      case WireType::Varint:
        return varint(number);
      case WireType::Bytes:
        return bytes(ignored);
      case WireType::Fixed64:
        return advance(8);
      case WireType::Fixed32:
        return advance(4);
      default:
        return false;  // groups are not part of proto3
    }
  }

 private:
  bool advance(std::size_t size) {
    if (static_cast<std::size_t>(end_ - at_) < size) return false;
    at_ += size;
    return true;
  }
  const char* at_;
  const char* end_;
};

std::size_t varint_size(std::uint64_t value) {
  std::size_t size = 1;
  for (; value >= 0x80; value >>= 7)
    ++size;
  return size;
}

void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7)
    out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

void put_bytes(std::string& out, std::uint32_t field_tag, std::string_view bytes) {
  put_varint(out, field_tag);
  put_varint(out, bytes.size());
  out.append(bytes);
}

std::size_t bytes_size(std::size_t size) {
  return 1 + varint_size(size) + size;
}
std::size_t number_size(std::uint64_t value) {
  return value == 0 ? 0 : 1 + varint_size(value);
}
void put_number(std::string& out, std::uint32_t field_tag, std::uint64_t value) {
  if (value == 0) return;  // proto3: a zero is not written
  put_varint(out, field_tag);
  put_varint(out, value);
}

std::size_t part_size(const PartView& part) {
  std::size_t size = number_size(part.transaction) +
                     number_size(static_cast<std::uint64_t>(part.kind)) +
                     number_size(part.position);
  for (const std::string_view record : part.records)
    size += bytes_size(record.size());
  return size;
}

Error malformed(std::string_view frame, const char* at, const std::string& what) {
  return {Errc::Malformed, "batch: " + what + " at byte " + std::to_string(at - frame.data())};
}

/// Decode one part; its records go to the end of `records`, the span is set by the caller.
Status decode_part(std::string_view frame, std::string_view body, PartView& part,
                   std::vector<std::string_view>& records) {
  Cursor cursor(body);
  while (!cursor.done()) {
    const char* const begin = cursor.at();
    std::uint32_t field = 0;
    bool ok = cursor.field(field);
    std::uint64_t number = 0;
    if (ok && field == kPartRecord) {
      ok = cursor.bytes(records.emplace_back());
    } else if (ok && field == kPartTransaction) {
      ok = cursor.varint(part.transaction);
    } else if (ok && field == kPartPosition) {
      ok = cursor.varint(part.position);
    } else if (ok && field == kPartCommit) {
      ok = cursor.varint(number);
      if (ok && number > static_cast<std::uint64_t>(PartKind::Rollback))
        return malformed(frame, begin, "unknown kind of part " + std::to_string(number));
      part.kind = static_cast<PartKind>(number);
    } else if (ok) {
      ok = cursor.skip(field);
    }
    if (!ok) return malformed(frame, begin, "broken part");
  }
  return Ok{};
}

}  // namespace

bool BatchView::recognises(std::string_view frame) {
  Cursor cursor(frame);
  std::uint32_t field = 0;
  std::string_view body;
  return cursor.field(field) && field == kToIngestBatch && cursor.bytes(body) && cursor.done();
}

Status BatchView::decode(std::string_view frame) {
  source = {};
  number = 0;
  parts.clear();
  records_.clear();
  part_ends_.clear();
  Cursor outer(frame);
  std::uint32_t field = 0;
  std::string_view body;
  if (!outer.field(field) || !outer.bytes(body)) return malformed(frame, outer.at(), "no batch");
  Cursor cursor(body);
  std::size_t first = 0;
  while (!cursor.done()) {
    const char* const begin = cursor.at();
    bool ok = cursor.field(field);
    if (ok && field == kBatchSource) {
      ok = cursor.bytes(source);
    } else if (ok && field == kBatchNumber) {
      ok = cursor.varint(number);
    } else if (ok && field == kBatchPart) {
      std::string_view part_body;
      ok = cursor.bytes(part_body);
      if (ok) {
        PartView& part = parts.emplace_back();
        ACCRETE_DO(decode_part(frame, part_body, part, records_));
        part_ends_.push_back(records_.size());  // spans come last: records_ may still move
      }
    } else if (ok) {
      ok = cursor.skip(field);
    }
    if (!ok) return malformed(frame, begin, "broken field");
  }
  for (std::size_t i = 0; i < parts.size(); ++i) {
    parts[i].records =
        std::span<const std::string_view>(records_).subspan(first, part_ends_[i] - first);
    first = part_ends_[i];
  }
  return Ok{};
}

void encode_batch(std::string_view source, std::uint64_t number, std::span<const PartView> parts,
                  std::string& out) {
  std::size_t body_size = bytes_size(source.size()) + number_size(number);
  for (const PartView& part : parts)
    body_size += bytes_size(part_size(part));
  out.reserve(out.size() + bytes_size(body_size));
  put_varint(out, kToIngestBatch);
  put_varint(out, body_size);
  put_bytes(out, kBatchSource, source);
  put_number(out, kBatchNumber, number);
  for (const PartView& part : parts) {
    put_varint(out, kBatchPart);
    put_varint(out, part_size(part));
    put_number(out, kPartTransaction, part.transaction);
    put_number(out, kPartCommit, static_cast<std::uint64_t>(part.kind));
    put_number(out, kPartPosition, part.position);
    for (const std::string_view record : part.records)
      put_bytes(out, kPartRecord, record);
  }
}

}  // namespace accrete::stream
