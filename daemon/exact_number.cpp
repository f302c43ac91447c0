// Decimals by their digits.
#include "daemon/exact_number.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <utility>

namespace accrete::daemon {
namespace {

constexpr std::string_view kDigits = "0123456789";

Error wrong(std::string detail) {
  return {Errc::Malformed, std::move(detail)};
}

template <class T>
std::optional<T> number_in(std::string_view text) {
  T out{};
  const char* end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, out);
  if (read.ec != std::errc() || read.ptr != end) return std::nullopt;
  return out;
}

/// A decimal number taken apart: ±digits / 10^scale.
struct Decimal {
  bool negative = false;
  std::string digits;  ///< at least one
  int scale = 0;
};

/// nullopt for other text; a scale that cannot be told apart from infinity is cut off.
std::optional<Decimal> decimal_in(std::string_view text) {
  Decimal out;
  out.negative = text.starts_with('-');
  if (out.negative) text.remove_prefix(1);
  const std::size_t whole = std::min(text.find_first_not_of(kDigits), text.size());
  out.digits = text.substr(0, whole);
  text.remove_prefix(whole);
  if (text.starts_with('.')) {
    const std::size_t end = std::min(text.find_first_not_of(kDigits, 1), text.size());
    out.digits += text.substr(1, end - 1);
    out.scale = static_cast<int>(std::min<std::size_t>(end - 1, 1u << 20));
    text.remove_prefix(end);
  }
  if (out.digits.empty()) return std::nullopt;
  if (text.empty()) return out;
  if (text.front() != 'e' && text.front() != 'E') return std::nullopt;
  text.remove_prefix(1);
  const bool down = text.starts_with('-');
  if (down || text.starts_with('+')) text.remove_prefix(1);
  if (text.empty() || text.find_first_not_of(kDigits) != std::string_view::npos) {
    return std::nullopt;
  }
  const int exponent = number_in<int>(text).value_or(1 << 20);
  const int bounded = std::min(exponent, 1 << 20);
  out.scale += down ? bounded : -bounded;
  return out;
}

/// Without an exponent, a zero too many in front, or zeros behind that say nothing.
std::string plain_text(Decimal number) {
  std::string& digits = number.digits;
  digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size()));
  if (digits.empty()) return "0";
  if (number.scale < 0) digits.append(static_cast<std::size_t>(-number.scale), '0');
  const std::size_t behind = number.scale > 0 ? static_cast<std::size_t>(number.scale) : 0;
  if (digits.size() <= behind) digits.insert(0, behind + 1 - digits.size(), '0');
  if (behind > 0) {
    digits.insert(digits.size() - behind, 1, '.');
    digits.erase(digits.find_last_not_of('0') + 1);
    if (digits.back() == '.') digits.pop_back();
  }
  return number.negative ? "-" + digits : digits;
}

/// The plain text of the shortest decimal that reads back as `real`.
std::string shortest_text(double real) {
  std::array<char, 32> buffer{};
  char* const begin = buffer.data();
  const char* const end =
      std::to_chars(begin, begin + buffer.size(), real, std::chars_format::scientific).ptr;
  const std::string_view text(begin, static_cast<std::size_t>(end - begin));
  return plain_text(decimal_in(text).value());
}

/// A double, or where it must be exact and no double is, the text.
Value real_or_text(double real, Decimal number, bool exact, std::deque<std::string>& texts) {
  if (exact) {
    std::string plain = plain_text(std::move(number));
    if (plain != shortest_text(real)) return Value::of_text(texts.emplace_back(std::move(plain)));
  }
  return Value::of_real(real);
}

/// Lowest digit first, of the bytes of x, or of -x - 1 where x is negative: Horner in base 256.
std::string reversed_digits(std::string_view unscaled, bool negative) {
  std::string digits = "0";
  for (const char c : unscaled) {
    unsigned carry = static_cast<unsigned char>(c) ^ (negative ? 0xFFu : 0u);
    for (char& digit : digits) {
      carry += static_cast<unsigned>(digit - '0') * 256;
      digit = static_cast<char>('0' + carry % 10);
      carry /= 10;
    }
    for (; carry > 0; carry /= 10)
      digits.push_back(static_cast<char>('0' + carry % 10));
  }
  return digits;
}

Decimal decimal_of(std::string_view unscaled, int scale) {
  ACCRETE_CHECK(!unscaled.empty() && unscaled.size() <= decimal_bytes_max);
  ACCRETE_CHECK(scale >= -decimal_scale_max && scale <= decimal_scale_max);
  Decimal out;
  out.negative = (static_cast<unsigned char>(unscaled.front()) & 0x80u) != 0;
  out.scale = scale;
  out.digits = reversed_digits(unscaled, out.negative);
  if (out.negative) {  // |x| is one more than that
    std::size_t at = 0;
    while (at < out.digits.size() && out.digits[at] == '9')
      out.digits[at++] = '0';
    if (at == out.digits.size()) out.digits.push_back('0');
    ++out.digits[at];
  }
  std::reverse(out.digits.begin(), out.digits.end());
  return out;
}

}  // namespace

Result<Value> number_value(std::string_view text, bool exact, std::deque<std::string>& texts) {
  if (const auto integer = number_in<std::int64_t>(text)) return Value::of_integer(*integer);
  std::optional<Decimal> number = decimal_in(text);
  if (!number) return wrong("\"" + std::string(text.substr(0, 40)) + "\" is no decimal number");
  if (text.find_first_not_of(kDigits, text.starts_with('-') ? 1 : 0) == std::string_view::npos) {
    return Value::of_text(texts.emplace_back(plain_text(*std::move(number))));
  }
  const std::optional<double> real = number_in<double>(text);
  if (!real) return wrong(std::string(text.substr(0, 40)) + " is beyond what a double holds");
  return real_or_text(*real, *std::move(number), exact, texts);
}

Value decimal_value(std::string_view unscaled, int scale, bool exact,
                    std::deque<std::string>& texts) {
  std::string text = decimal_text(unscaled, scale);
  if (const auto integer = number_in<std::int64_t>(text)) return Value::of_integer(*integer);
  if (text.find('.') != std::string::npos || !exact) {
    const std::optional<double> real = number_in<double>(text);
    if (real) return real_or_text(*real, decimal_in(text).value(), exact, texts);
  }
  return Value::of_text(texts.emplace_back(std::move(text)));
}

std::string decimal_text(std::string_view unscaled, int scale) {
  return plain_text(decimal_of(unscaled, scale));
}

Result<std::string> decode_base64(std::string_view text) {
  constexpr std::string_view alphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const std::size_t end = std::min(text.find('='), text.size());
  bool good = text.size() % 4 == 0 && text.size() - end <= 2 &&
              text.find_first_not_of('=', end) == std::string_view::npos;
  std::string bytes;
  std::uint32_t bits = 0;
  int held = 0;
  for (const char c : text.substr(0, end)) {
    const std::size_t digit = alphabet.find(c);
    good = good && digit != std::string_view::npos;
    bits = (bits << 6 | static_cast<std::uint32_t>(digit & 63)) & 0xFFFF;
    held += 6;
    if (held < 8) continue;
    held -= 8;
    bytes.push_back(static_cast<char>(bits >> held & 0xFF));
  }
  if (!good) return wrong("\"" + std::string(text.substr(0, 40)) + "\" is no base64");
  return bytes;
}

}  // namespace accrete::daemon
