// Canonical keys, texts and guesses of single values.
#include "proto/value.h"

#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <optional>

#include "proto/time.h"

namespace accrete {
namespace {

/// First byte of a key component. The numbers are on disk: never renumber.
enum class KeyTag : std::uint8_t { Null = 1, Integer = 2, Real = 3, Time = 4, Text = 5 };

constexpr std::uint64_t kSignBit = 1ull << 63;
constexpr std::size_t kFixedBytes = 8;

void append_fixed(std::string& out, KeyTag tag, std::uint64_t bits) {
  std::array<char, 1 + kFixedBytes> bytes{};
  bytes[0] = static_cast<char>(tag);
  for (std::size_t i = 0; i < kFixedBytes; ++i) {
    bytes[1 + i] = static_cast<char>(bits >> (56 - 8 * i) & 0xFF);
  }
  out.append(bytes.data(), bytes.size());
}

std::uint64_t load_fixed(std::string_view bytes) {
  std::uint64_t bits = 0;
  for (std::size_t i = 0; i < kFixedBytes; ++i) {
    bits = bits << 8 | static_cast<unsigned char>(bytes[i]);
  }
  return bits;
}

/// Two's complement with the sign bit flipped: bytes sort as the numbers do.
std::uint64_t ordered(std::int64_t value) {
  return static_cast<std::uint64_t>(value) ^ kSignBit;
}
std::int64_t unordered(std::uint64_t bits) {
  return static_cast<std::int64_t>(bits ^ kSignBit);
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// The integer that `text` is the only spelling of: no sign but '-', no leading zero, no "-0".
std::optional<std::int64_t> canonical_integer(std::string_view text) {
  if (text.empty() || text.size() > 20) return std::nullopt;
  const std::size_t first = text[0] == '-' ? 1 : 0;
  if (text.size() == first || !is_digit(text[first])) return std::nullopt;
  if (text[first] == '0' && text.size() > 1) return std::nullopt;
  std::int64_t out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return out;
}

/// The integer that a real is exactly, where int64 holds it.
std::optional<std::int64_t> integral(double value) {
  constexpr double limit = 0x1.0p63;
  if (!(value >= -limit && value < limit) || std::trunc(value) != value) return std::nullopt;
  return static_cast<std::int64_t>(value);
}

void append_length(std::string& out, std::size_t length) {
  while (length >= 0x80) {
    out += static_cast<char>(length | 0x80);
    length >>= 7;
  }
  out += static_cast<char>(length);
}

/// Shortest varint only, so that one text has one key.
bool take_length(std::string_view& bytes, std::size_t& length) {
  length = 0;
  for (std::size_t i = 0; i < 5 && i < bytes.size(); ++i) {
    const auto byte = static_cast<unsigned char>(bytes[i]);
    length |= static_cast<std::size_t>(byte & 0x7F) << (7 * i);
    if (byte < 0x80) {
      bytes.remove_prefix(i + 1);
      return byte != 0 || i == 0;
    }
  }
  return false;
}

/// Take one component off the front of `bytes`; false when it is not canonical.
bool take_component(std::string_view& bytes, Value& out) {
  const auto tag = static_cast<KeyTag>(bytes.front());
  bytes.remove_prefix(1);
  if (tag == KeyTag::Null) {
    out = Value::null();
    return true;
  }
  if (tag == KeyTag::Text) {
    std::size_t length = 0;
    if (!take_length(bytes, length) || length > bytes.size()) return false;
    out = Value::of_text(bytes.substr(0, length));
    bytes.remove_prefix(length);
    return !canonical_integer(out.text);
  }
  if (tag != KeyTag::Integer && tag != KeyTag::Real && tag != KeyTag::Time) return false;
  if (bytes.size() < kFixedBytes) return false;
  const std::uint64_t bits = load_fixed(bytes);
  bytes.remove_prefix(kFixedBytes);
  if (tag == KeyTag::Integer) {
    out = Value::of_integer(unordered(bits));
  } else if (tag == KeyTag::Time) {
    out = Value::of_time(TimeUs(unordered(bits)));
  } else {
    out = Value::of_real(std::bit_cast<double>(bits));
    return !integral(out.real);
  }
  return true;
}

void append_text(std::string& out, const Value& value) {
  std::array<char, 32> digits{};
  char* const begin = digits.data();
  switch (value.kind) {
    case ValueKind::Null:
      out += "NULL";
      break;
    case ValueKind::Flag:
      out += value.integer != 0 ? "true" : "false";
      break;
    case ValueKind::Integer:
      out.append(begin, std::to_chars(begin, begin + digits.size(), value.integer).ptr);
      break;
    case ValueKind::Real:
      out.append(begin, std::to_chars(begin, begin + digits.size(), value.real).ptr);
      break;
    case ValueKind::Text:
      out += value.text;
      break;
    case ValueKind::Time:
      out += format_time(TimeUs(value.integer));
      break;
    case ValueKind::Unchanged:
      out += "UNCHANGED";
      break;
  }
}

}  // namespace

bool operator==(const Value& a, const Value& b) {
  if (a.kind != b.kind) return false;
  switch (a.kind) {
    case ValueKind::Null:
    case ValueKind::Unchanged:
      return true;
    case ValueKind::Real:
      // Bits, not numbers: a NaN equals itself, and 0 and -0 are different contents.
      return std::bit_cast<std::uint64_t>(a.real) == std::bit_cast<std::uint64_t>(b.real);
    case ValueKind::Text:
      return a.text == b.text;
    case ValueKind::Flag:
    case ValueKind::Integer:
    case ValueKind::Time:
      return a.integer == b.integer;
  }
  return false;
}

void append_key(std::string& out, const Value& value) {
  switch (value.kind) {
    case ValueKind::Null:
    case ValueKind::Unchanged:
      out += static_cast<char>(KeyTag::Null);
      return;
    case ValueKind::Flag:
    case ValueKind::Integer:
      append_fixed(out, KeyTag::Integer, ordered(value.integer));
      return;
    case ValueKind::Time:
      append_fixed(out, KeyTag::Time, ordered(value.integer));
      return;
    case ValueKind::Real:
      if (const auto integer = integral(value.real)) {
        append_fixed(out, KeyTag::Integer, ordered(*integer));
      } else {
        append_fixed(out, KeyTag::Real, std::bit_cast<std::uint64_t>(value.real));
      }
      return;
    case ValueKind::Text:
      if (const auto integer = canonical_integer(value.text)) {
        append_fixed(out, KeyTag::Integer, ordered(*integer));
      } else {
        out += static_cast<char>(KeyTag::Text);
        append_length(out, value.text.size());
        out += value.text;
      }
      return;
  }
}

std::string key_text(std::string_view key_bytes) {
  std::string out;
  std::string_view rest = key_bytes;
  while (!rest.empty()) {
    Value value;
    if (rest.size() != key_bytes.size()) out += '|';
    if (!take_component(rest, value)) {
      out += '?';  // not a key; a message about it should still be readable
      break;
    }
    append_text(out, value);
  }
  return out;
}

bool decode_key(std::string_view key_bytes, std::span<Value> out, std::size_t& count) {
  count = 0;
  while (!key_bytes.empty()) {
    if (count == out.size() || !take_component(key_bytes, out[count])) return false;
    ++count;
  }
  return true;
}

std::string value_text(const Value& value) {
  std::string out;
  append_text(out, value);
  return out;
}

Value guess_value(std::string_view cell) {
  if (cell.empty()) return Value::null();
  if (const auto integer = canonical_integer(cell)) return Value::of_integer(*integer);
  const std::size_t first = cell[0] == '-' ? 1 : 0;
  const std::string_view digits = cell.substr(first);
  const bool starts = !digits.empty() && (is_digit(digits[0]) || digits[0] == '.');
  const bool padded = digits.size() > 1 && digits[0] == '0' && is_digit(digits[1]);
  // Without a point or an exponent it is an identifier too long for int64, which must not be
  // rounded; only "-0" is a number after all.
  const bool real = digits == "0" || digits.find_first_of(".eE") != std::string_view::npos;
  if (!starts || padded || !real) return Value::of_text(cell);
  double value = 0;
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (error != std::errc() || end != cell.data() + cell.size()) return Value::of_text(cell);
  return Value::of_real(value);
}

}  // namespace accrete
