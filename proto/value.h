// One cell of a row, as a view into the bytes it was decoded from.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "proto/ids.h"

namespace accrete {

enum class ValueKind : std::uint8_t {
  Null,
  Flag,
  Integer,
  Real,
  Text,
  Time,
  Unchanged,  ///< an update that does not say: the previous version's value stands
};

/// 32 bytes, trivially copyable. `text` points into bytes that somebody else owns.
struct Value {
  ValueKind kind = ValueKind::Null;
  union {
    std::int64_t integer = 0;  ///< Integer; Flag as 0 or 1; Time in microseconds
    double real;
  };
  std::string_view text{};

  static Value null() { return {}; }
  static Value flag(bool v) { return make(ValueKind::Flag, v ? 1 : 0); }
  static Value of_integer(std::int64_t v) { return make(ValueKind::Integer, v); }
  static Value of_time(TimeUs v) { return make(ValueKind::Time, v.value); }
  static Value unchanged() { return make(ValueKind::Unchanged, 0); }
  static Value of_real(double v) {
    Value out;
    out.kind = ValueKind::Real;
    out.real = v;
    return out;
  }
  static Value of_text(std::string_view v) {
    Value out;
    out.kind = ValueKind::Text;
    out.text = v;
    return out;
  }

  bool is_null() const { return kind == ValueKind::Null; }
  bool is_number() const {
    return kind == ValueKind::Integer || kind == ValueKind::Real || kind == ValueKind::Flag;
  }
  /// The value as a number; Checks: is_number() or Time.
  double as_number() const { return kind == ValueKind::Real ? real : static_cast<double>(integer); }

 private:
  static Value make(ValueKind kind, std::int64_t integer) {
    Value out;
    out.kind = kind;
    out.integer = integer;
    return out;
  }
};

/// Same kind and same content; 1 and 1.0 are different values (but the same key).
bool operator==(const Value& a, const Value& b);

/// Append one component of a key in canonical bytes: the same key gives the same bytes whatever
/// type carried it (1, 1.0 and "1" are one key; "01" is another). Components are self-delimiting,
/// so a composite key is the concatenation of its parts. Layout: proto/FORMAT.md, "Keys".
void append_key(std::string& out, const Value& value);

/// Human text of canonical key bytes: components joined with '|'. For topics, logs, messages.
std::string key_text(std::string_view key_bytes);

/// Decode canonical key bytes into one Value per component (views into `key_bytes`).
/// Returns false when the bytes are not a canonical key.
bool decode_key(std::string_view key_bytes, std::span<Value> out, std::size_t& count);

/// Text of one value as SQL people write it (NULL, true, 42, 1.5, RFC 3339 time, the text itself).
std::string value_text(const Value& value);

/// Guess the type of a CSV or text cell: empty = Null, canonical integer, decimal number, else
/// text. Times are not guessed here: only the schema says which column is one.
Value guess_value(std::string_view cell);

}  // namespace accrete
