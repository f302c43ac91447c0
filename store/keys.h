// Order-preserving keys and compact integers: how numbers become bytes in the store.
// Keys are big-endian, so that byte order is number order; values use LEB128 varints.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace accrete::store {

/// Append `value` big-endian: sizeof(T) bytes that sort as the number does.
template <class T>
void put_be(std::string& out, T value) {
  char bytes[sizeof(T)];
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    bytes[i] = static_cast<char>(static_cast<std::uint8_t>(value >> (8 * (sizeof(T) - 1 - i))));
  }
  out.append(bytes, sizeof(T));
}

/// The number whose big-endian bytes start at `at`. Checks: at + sizeof(T) <= bytes.size().
template <class T>
T get_be(std::string_view bytes, std::size_t at = 0) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    value = static_cast<T>(static_cast<T>(value << 8) | static_cast<std::uint8_t>(bytes[at + i]));
  }
  return value;
}

inline std::string key_of_number(std::uint64_t number) {
  std::string key;
  put_be<std::uint64_t>(key, number);
  return key;
}

/// Append a varint: 7 bits a byte, low first; at most 10 bytes.
inline void put_varint(std::string& out, std::uint64_t value) {
  char bytes[10];
  std::size_t size = 0;
  while (value >= 0x80) {
    bytes[size++] = static_cast<char>(value | 0x80);
    value >>= 7;
  }
  bytes[size++] = static_cast<char>(value);
  out.append(bytes, size);
}

/// Differences of either sign as small unsigned numbers; any two 64-bit numbers have one.
inline std::uint64_t zigzag(std::uint64_t difference) {
  return (difference << 1) ^ (0 - (difference >> 63));
}
inline std::uint64_t unzigzag(std::uint64_t value) {
  return (value >> 1) ^ (0 - (value & 1));
}

inline void put_text(std::string& out, std::string_view text) {
  put_varint(out, text.size());
  out.append(text);
}

/// Reads what the functions above wrote; after a read past the end ok() is false and reads give 0.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes)
      : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  bool ok() const { return ok_; }
  bool done() const { return at_ == end_; }
  std::size_t left() const { return static_cast<std::size_t>(end_ - at_); }

  std::uint8_t byte() {
    if (at_ == end_) return fail();
    return static_cast<std::uint8_t>(*at_++);
  }

  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (at_ == end_) return fail();
      const auto next = static_cast<std::uint8_t>(*at_++);
      value |= static_cast<std::uint64_t>(next & 0x7F) << shift;
      if (next < 0x80) return value;
    }
    return fail();
  }

  std::uint64_t be64() {
    const std::string_view bytes = take(8);
    return bytes.size() == 8 ? get_be<std::uint64_t>(bytes) : 0;
  }

  std::string_view text() { return take(varint()); }

  std::string_view take(std::uint64_t size) {
    if (size > left()) {
      fail();
      return {};
    }
    const std::string_view bytes(at_, static_cast<std::size_t>(size));
    at_ += size;
    return bytes;
  }

 private:
  std::uint8_t fail() {
    ok_ = false;
    at_ = end_;
    return 0;
  }
  const char* at_;
  const char* end_;
  bool ok_ = true;
};

}  // namespace accrete::store
