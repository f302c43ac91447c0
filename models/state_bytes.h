// How learners write their state: fixed little-endian fields, read back with every size checked.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proto/result.h"

namespace accrete::models {

static_assert(std::endian::native == std::endian::little, "state is written as it lies in memory");

/// Appends fields to a string that somebody else owns.
class StateWriter {
 public:
  explicit StateWriter(std::string& out) : out_(out) {}

  void u8(std::uint8_t v) { raw(&v, sizeof v); }
  void u32(std::uint32_t v) { raw(&v, sizeof v); }
  void u64(std::uint64_t v) { raw(&v, sizeof v); }
  void f64(double v) { raw(&v, sizeof v); }
  void doubles(std::span<const double> v) {
    u64(v.size());
    raw(v.data(), v.size_bytes());
  }
  void text(std::string_view v) {
    u32(static_cast<std::uint32_t>(v.size()));
    raw(v.data(), v.size());
  }
  void raw(const void* data, std::size_t size) {
    if (size > 0) out_.append(static_cast<const char*>(data), size);
  }

 private:
  std::string& out_;
};

/// Reads the same fields. A short read gives zeros and is remembered: read everything, then ask
/// once with finish().
class StateReader {
 public:
  explicit StateReader(std::string_view bytes) : rest_(bytes) {}

  std::uint8_t u8() { return field<std::uint8_t>(); }
  std::uint32_t u32() { return field<std::uint32_t>(); }
  std::uint64_t u64() { return field<std::uint64_t>(); }
  double f64() { return field<double>(); }
  /// A count of elements of at least `element_bytes` each; 0 and failed when they cannot be there.
  std::uint64_t count(std::size_t element_bytes) {
    const std::uint64_t n = u64();
    if (n > rest_.size() / element_bytes) failed_ = true;
    return failed_ ? 0 : n;
  }
  std::vector<double> doubles() {
    std::vector<double> out(count(sizeof(double)));
    raw(out.data(), out.size() * sizeof(double));
    return out;
  }
  std::string text() {
    const std::uint32_t size = u32();
    if (size > rest_.size()) failed_ = true;
    if (failed_) return {};
    std::string out(rest_.substr(0, size));
    rest_.remove_prefix(size);
    return out;
  }
  void raw(void* data, std::size_t size) {
    if (size > rest_.size()) failed_ = true;
    if (failed_ || size == 0) return;
    std::memcpy(data, rest_.data(), size);
    rest_.remove_prefix(size);
  }
  /// Remember that a value read does not make sense.
  void require(bool sensible) { failed_ = failed_ || !sensible; }
  bool failed() const { return failed_; }
  std::size_t left() const { return rest_.size(); }

  /// Corruption, naming `what`, unless every byte was read and made sense.
  Status finish(std::string_view what) const {
    if (!failed_ && rest_.empty()) return Ok{};
    return Error{Errc::Corruption,
                 "state of " + std::string(what) +
                     (failed_ ? " is cut short or has impossible sizes" : " has bytes left over") +
                     "; delete the derived state and fold the log again"};
  }

 private:
  template <class T>
  T field() {
    T v{};
    raw(&v, sizeof v);
    return failed_ ? T{} : v;
  }
  std::string_view rest_;
  bool failed_ = false;
};

}  // namespace accrete::models
