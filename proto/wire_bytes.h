// Protobuf's wire format, the part we need: a bounded reader and an appending writer.
// Private to proto/: everyone else sees decode_record, encode_* and the generated classes.
//
// Source: protobuf's "Encoding" page. Deviations, all towards strictness: groups, field number 0,
// varints beyond 64 bits and a known field in the wrong wire type are errors, not unknown fields.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace accrete::wire_bytes {

enum class WireType : std::uint8_t { Varint = 0, Fixed64 = 1, Bytes = 2, Fixed32 = 5 };

constexpr std::uint32_t tag_of(std::uint32_t field, WireType type) {
  return field << 3 | static_cast<std::uint32_t>(type);
}

constexpr std::uint64_t zigzag(std::int64_t value) {
  return static_cast<std::uint64_t>(value) << 1 ^ static_cast<std::uint64_t>(value >> 63);
}
constexpr std::int64_t unzigzag(std::uint64_t bits) {
  return static_cast<std::int64_t>(bits >> 1 ^ (~(bits & 1) + 1));
}

/// True if no byte has its high bit set. Database text mostly is plain ASCII, so this is the test
/// that has to be fast: 32 bytes at a time, and an overlapping load instead of a tail loop.
inline bool is_ascii(std::string_view text) {
  const char* const at = text.data();
  const std::size_t size = text.size();
  std::uint64_t seen = 0;
  const auto load = [&](std::size_t i) {
    std::uint64_t word = 0;
    std::memcpy(&word, at + i, 8);
    return word;
  };
  if (size < 8) {
    for (std::size_t i = 0; i < size; ++i) {
      seen |= static_cast<unsigned char>(at[i]);
    }
    return (seen & 0x80) == 0;
  }
  std::size_t i = 0;
  for (; i + 32 <= size; i += 32) {
    seen |= load(i) | load(i + 8) | load(i + 16) | load(i + 24);
  }
  for (; i + 8 <= size; i += 8) {
    seen |= load(i);
  }
  seen |= load(size - 8);
  return (seen & 0x8080'8080'8080'8080ull) == 0;
}

/// True if `text` is well-formed UTF-8 (no surrogates, no overlong forms, up to U+10FFFF).
bool is_utf8_slow(std::string_view text);
inline bool is_utf8(std::string_view text) {
  return is_ascii(text) || is_utf8_slow(text);
}

/// Reads fields off a byte range. The first failure sticks: `cause()` and `offset()` tell.
class Reader {
 public:
  explicit Reader(std::string_view bytes)
      : begin_(bytes.data()), at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  bool done() const { return at_ == end_; }
  void jump(const char* at) { at_ = at; }  ///< Checks: inside what rest() shows.
  std::string_view rest() const { return {at_, static_cast<std::size_t>(end_ - at_)}; }
  const char* cause() const { return cause_; }
  std::size_t offset() const { return static_cast<std::size_t>(failed_at_ - begin_); }

  bool fail(const char* cause) { return fail_at(at_, cause); }
  bool fail_at(const char* where, const char* cause) {
    if (cause_ == nullptr) {
      cause_ = cause;
      failed_at_ = where;
    }
    return false;
  }

  bool varint(std::uint64_t& out) {
    if (at_ != end_ && static_cast<signed char>(*at_) >= 0) {
      out = static_cast<unsigned char>(*at_++);
      return true;
    }
    return varint_slow(out);
  }

  bool tag(std::uint32_t& out) {
    std::uint64_t bits = 0;
    const char* const start = at_;
    if (!varint(bits)) return false;
    if (bits > 0xFFFF'FFFFu || bits < 8) return fail_at(start, "bad field number");
    out = static_cast<std::uint32_t>(bits);
    return true;
  }

  bool fixed64(std::uint64_t& out) {
    static_assert(std::endian::native == std::endian::little);
    if (end_ - at_ < 8) return fail("fixed64 past the end");
    std::memcpy(&out, at_, 8);
    at_ += 8;
    return true;
  }

  bool bytes(std::string_view& out) {
    std::uint64_t length = 0;
    const char* const start = at_;
    if (!varint(length)) return false;
    if (length > static_cast<std::uint64_t>(end_ - at_)) {
      return fail_at(start, "length past the end");
    }
    out = std::string_view(at_, length);
    at_ += length;
    return true;
  }

  bool text(std::string_view& out) {
    if (!bytes(out)) return false;
    return is_utf8(out) || fail_at(out.data(), "text is not UTF-8");
  }

  /// Narrow the range to the next length-delimited field; give the result back to `leave`.
  bool enter(const char*& outer_end) {
    std::string_view body;
    if (!bytes(body)) return false;
    outer_end = end_;
    at_ = body.data();
    end_ = body.data() + body.size();
    return true;
  }
  void leave(const char* outer_end) { end_ = outer_end; }

  /// Skip a field that this version does not know. `known_fields_max`: a field up to that number
  /// arrived in the wrong wire type.
  bool skip(std::uint32_t tag, std::uint32_t known_fields_max);

 private:
  bool varint_slow(std::uint64_t& out);

  const char* begin_;
  const char* at_;
  const char* end_;
  const char* failed_at_ = nullptr;
  const char* cause_ = nullptr;
};

// ---- writing --------------------------------------------------------------------------------

constexpr std::size_t varint_size(std::uint64_t value) {
  return (static_cast<std::size_t>(std::bit_width(value | 1)) + 6) / 7;
}

inline char* put_varint(char* at, std::uint64_t value) {
  while (value >= 0x80) {
    *at++ = static_cast<char>(value | 0x80);
    value >>= 7;
  }
  *at++ = static_cast<char>(value);
  return at;
}

inline char* put_fixed64(char* at, std::uint64_t bits) {
  std::memcpy(at, &bits, 8);
  return at + 8;
}

inline char* put_bytes(char* at, std::string_view bytes) {
  at = put_varint(at, bytes.size());
  if (!bytes.empty()) std::memcpy(at, bytes.data(), bytes.size());
  return at + bytes.size();
}

/// Size of a length-delimited field with a one-byte tag.
constexpr std::size_t bytes_field_size(std::size_t length) {
  return 1 + varint_size(length) + length;
}

}  // namespace accrete::wire_bytes
