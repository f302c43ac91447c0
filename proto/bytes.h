// Little-endian bytes of saved state: fixed-width numbers, lengths and strings, nothing clever.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace accrete {

static_assert(std::endian::native == std::endian::little, "saved state is little-endian");

/// Appends to a string it does not own.
class ByteWriter {
 public:
  explicit ByteWriter(std::string& out) : out_(&out) {}

  template <class T>
  requires std::is_trivially_copyable_v<T>
  void put(const T& value) {
    char bytes[sizeof(T)];
    std::memcpy(bytes, &value, sizeof(T));
    out_->append(bytes, sizeof(T));
  }
  void put_text(std::string_view text) {
    put(static_cast<std::uint64_t>(text.size()));
    out_->append(text);
  }
  template <class T>
  requires std::is_trivially_copyable_v<T>
  void put_all(std::span<const T> values) {
    put(static_cast<std::uint64_t>(values.size()));
    for (const T& value : values)
      put(value);
  }

 private:
  std::string* out_;
};

/// Reads what ByteWriter wrote. After a short or impossible read ok() is false and stays so, and
/// every further read gives zeros: check once at the end.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : bytes_(bytes) {}

  bool ok() const { return ok_; }
  bool done() const { return ok_ && bytes_.empty(); }

  template <class T>
  requires std::is_trivially_copyable_v<T> T get() {
    T value{};
    if (bytes_.size() < sizeof(T)) {
      ok_ = false;
      bytes_ = {};
      return value;
    }
    std::memcpy(&value, bytes_.data(), sizeof(T));
    bytes_.remove_prefix(sizeof(T));
    return value;
  }
  std::string_view get_text() {
    const auto size = get<std::uint64_t>();
    if (size > bytes_.size()) {
      ok_ = false;
      bytes_ = {};
      return {};
    }
    const std::string_view text = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return text;
  }
  template <class T>
  requires std::is_trivially_copyable_v<T> std::vector<T> get_all() {
    const auto count = get<std::uint64_t>();
    std::vector<T> values;
    if (count > bytes_.size() / sizeof(T)) {
      ok_ = false;
      bytes_ = {};
      return values;
    }
    values.reserve(count);
    for (std::uint64_t i = 0; i < count; ++i)
      values.push_back(get<T>());
    return values;
  }

 private:
  std::string_view bytes_;
  bool ok_ = true;
};

}  // namespace accrete
