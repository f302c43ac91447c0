// Reading sets and vectors; hashing their elements to places and signs.
#include "models/sparse_projection.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "proto/hash.h"
#include "proto/result.h"

namespace accrete::models {
namespace {

constexpr std::size_t places = 4;  // of one element; each with 1/sqrt(places)
static_assert(projection_width == 64, "six bits of the hash name a place");

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == ',';
}

/// What stands inside one pair of brackets, braces or parentheses, or the text itself.
std::string_view inside(std::string_view text) {
  while (!text.empty() && is_blank(text.front()))
    text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back()))
    text.remove_suffix(1);
  if (text.size() < 2) return text;
  const char open = text.front();
  const char close = open == '[' ? ']' : open == '{' ? '}' : open == '(' ? ')' : '\0';
  return close != '\0' && text.back() == close ? text.substr(1, text.size() - 2) : text;
}

template <class Call>
bool each_token(std::string_view text, Call call) {
  text = inside(text);
  while (true) {
    while (!text.empty() && is_blank(text.front()))
      text.remove_prefix(1);
    if (text.empty()) return true;
    const auto end = std::find_if(text.begin(), text.end(), is_blank);
    const auto size = static_cast<std::size_t>(end - text.begin());
    if (!call(text.substr(0, size))) return false;
    text.remove_prefix(size);
  }
}

bool read_number(std::string_view text, double& number) {
  if (!text.empty() && text.front() == '+') text.remove_prefix(1);
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), number);
  return fault == std::errc() && end == text.data() + text.size() && std::isfinite(number);
}

void add(std::uint64_t hash, double weight, std::span<double> out) {
  const double part = weight / std::sqrt(static_cast<double>(places));
  for (std::size_t j = 0; j < places; ++j) {
    const std::size_t place = hash % projection_width;
    const bool negative = ((hash / projection_width) & 1) != 0;
    out[place] += negative ? -part : part;
    hash >>= 7;
  }
}

}  // namespace

void read_set(std::string_view text, std::vector<WeightedItem>& items) {
  items.clear();
  each_token(text, [&](std::string_view token) {
    WeightedItem item{token, 1};
    const std::size_t colon = token.rfind(':');
    if (colon != std::string_view::npos && colon > 0 &&
        read_number(token.substr(colon + 1), item.weight)) {
      item.item = token.substr(0, colon);
    } else {
      item.weight = 1;
    }
    const bool quoted = item.item.size() >= 2 && item.item.front() == item.item.back() &&
                        (item.item.front() == '"' || item.item.front() == '\'');
    if (quoted) item.item = item.item.substr(1, item.item.size() - 2);
    items.push_back(item);
    return true;
  });
}

bool read_vector(std::string_view text, std::vector<double>& numbers) {
  numbers.clear();
  return each_token(text, [&](std::string_view token) {
    double number = 0;
    if (!read_number(token, number)) return false;
    numbers.push_back(number);
    return true;
  });
}

void project_set(std::span<const WeightedItem> items, std::span<double> out) {
  ACCRETE_CHECK(out.size() == projection_width);
  std::fill(out.begin(), out.end(), 0.0);
  double squares = 0;
  for (const WeightedItem& item : items) {
    squares += item.weight * item.weight;
    add(hash64(item.item), item.weight, out);
  }
  if (squares <= 0) return;
  const double length = std::sqrt(squares);
  for (double& number : out)
    number /= length;
}

void project_vector(std::span<const double> numbers, std::span<double> out) {
  ACCRETE_CHECK(out.size() == projection_width);
  std::fill(out.begin(), out.end(), 0.0);
  if (numbers.size() <= projection_width) {
    std::copy(numbers.begin(), numbers.end(), out.begin());
    return;
  }
  for (std::uint64_t i = 0; i < numbers.size(); ++i) {
    char bytes[sizeof i];
    std::memcpy(bytes, &i, sizeof i);
    add(hash64({bytes, sizeof bytes}), numbers[i], out);
  }
}

}  // namespace accrete::models
