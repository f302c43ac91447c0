// Typed reading of TOML with places in every message.
#include "daemon/toml_reader.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <sstream>
#include <utility>

#include "proto/ids.h"
#include "proto/json_text.h"
#include "proto/schema.h"
#include "proto/time.h"

namespace accrete::daemon {
namespace {

std::string_view type_name(toml::node_type type) {
  switch (type) {
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "a list";
    case toml::node_type::string:
      return "a text";
    case toml::node_type::integer:
      return "an integer";
    case toml::node_type::floating_point:
      return "a decimal number";
    case toml::node_type::boolean:
      return "true or false";
    case toml::node_type::date:
      return "a date";
    case toml::node_type::time:
      return "a time of day";
    case toml::node_type::date_time:
      return "a date and time";
    case toml::node_type::none:
      break;
  }
  return "nothing";
}

bool bare_key(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
}

struct SizeUnit {
  std::string_view name;
  std::uint64_t bytes;
};
constexpr std::array<SizeUnit, 10> kSizeUnits = {{{"", 1},
                                                  {"B", 1},
                                                  {"KiB", 1ull << 10},
                                                  {"MiB", 1ull << 20},
                                                  {"GiB", 1ull << 30},
                                                  {"TiB", 1ull << 40},
                                                  {"kB", 1000},
                                                  {"MB", 1'000'000},
                                                  {"GB", 1'000'000'000},
                                                  {"TB", 1'000'000'000'000}}};

}  // namespace

Place place_of(const toml::source_region& region) {
  return {region.begin.line, region.begin.column};
}

void Complaints::add(Place at, std::string detail) {
  list_.push_back({at, std::move(detail)});
}

Error Complaints::error() const {
  ACCRETE_CHECK(!list_.empty());
  std::vector<Complaint> sorted = list_;
  std::stable_sort(sorted.begin(), sorted.end(), [](const Complaint& a, const Complaint& b) {
    return std::pair(a.at.line, a.at.column) < std::pair(b.at.line, b.at.column);
  });
  std::string text;
  for (const Complaint& complaint : sorted) {
    if (!text.empty()) text += '\n';
    text += file_ + ':' + std::to_string(complaint.at.line) + ':' +
            std::to_string(complaint.at.column) + ": " + complaint.detail;
  }
  return {Errc::Malformed, std::move(text)};
}

std::string suggestion(std::string_view name, const std::vector<std::string>& candidates) {
  const std::string near = nearest_name(name, candidates);
  return near.empty() ? "" : "; did you mean \"" + near + "\"?";
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (fault != std::errc()) return std::nullopt;
  std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
  while (!unit.empty() && unit.front() == ' ')
    unit.remove_prefix(1);
  for (const SizeUnit& known : kSizeUnits) {
    if (known.name != unit) continue;
    if (number > std::numeric_limits<std::uint64_t>::max() / known.bytes) return std::nullopt;
    return number * known.bytes;
  }
  return std::nullopt;
}

const toml::node* TomlSection::find(std::string_view key) {
  known_.emplace_back(key);
  return table_->get(key);
}

void TomlSection::mistyped(std::string_view key, const toml::node& node, std::string_view wanted) {
  complaints_->add(place_of(node.source()), "key \"" + std::string(key) + "\" in " + title_ +
                                                " must be " + std::string(wanted) + ", found " +
                                                std::string(type_name(node.type())));
}

void TomlSection::complain(std::string_view key, std::string detail) {
  complaints_->add(place(key), title_ + ": " + std::move(detail));
}

Place TomlSection::place(std::string_view key) const {
  const toml::node* node = table_->get(key);
  return place_of(node != nullptr ? node->source() : table_->source());
}

bool TomlSection::read(std::string_view key, std::string& out) {
  const toml::node* node = find(key);
  if (node == nullptr) return false;
  const toml::value<std::string>* text = node->as_string();
  if (text == nullptr) {
    mistyped(key, *node, "a text");
    return false;
  }
  out = text->get();
  return true;
}

bool TomlSection::read(std::string_view key, bool& out) {
  const toml::node* node = find(key);
  if (node == nullptr) return false;
  const toml::value<bool>* flag = node->as_boolean();
  if (flag == nullptr) {
    mistyped(key, *node, "true or false");
    return false;
  }
  out = flag->get();
  return true;
}

bool TomlSection::read(std::string_view key, std::uint64_t& out, Range range) {
  const toml::node* node = find(key);
  return node != nullptr && count_of(key, *node, range, out);
}

bool TomlSection::read_counts(std::string_view key, std::vector<std::uint64_t>& out, Range range) {
  const toml::node* node = find(key);
  if (node == nullptr) return false;
  const toml::array* list = node->as_array();
  if (list == nullptr) {
    mistyped(key, *node, "a list of integers");
    return false;
  }
  std::vector<std::uint64_t> counts;
  for (const toml::node& entry : *list) {
    if (!count_of(key, entry, range, counts.emplace_back())) return false;
  }
  out = std::move(counts);
  return true;
}

bool TomlSection::count_of(std::string_view key, const toml::node& node, Range range,
                           std::uint64_t& out) {
  const toml::value<std::int64_t>* number = node.as_integer();
  if (number == nullptr) {
    mistyped(key, node, "an integer");
    return false;
  }
  const std::int64_t value = number->get();
  if (value < 0 || std::cmp_less(value, range.least) || std::cmp_greater(value, range.most)) {
    complain(key, std::string(key) + " = " + std::to_string(value) + " is out of range, give " +
                      std::to_string(range.least) + " to " + std::to_string(range.most));
    return false;
  }
  out = static_cast<std::uint64_t>(value);
  return true;
}

bool TomlSection::read_size(std::string_view key, std::uint64_t& out) {
  const toml::node* node = find(key);
  if (node == nullptr) return false;
  if (const auto* number = node->as_integer(); number != nullptr && number->get() >= 0) {
    out = static_cast<std::uint64_t>(number->get());
    return true;
  }
  const toml::value<std::string>* text = node->as_string();
  if (text == nullptr) {
    mistyped(key, *node, "a size such as \"64 MiB\" or a number of bytes");
    return false;
  }
  const std::optional<std::uint64_t> bytes = parse_size(text->get());
  if (!bytes) {
    complain(key, std::string(key) + " = \"" + text->get() +
                      "\" is no size; give a number and B, KiB, MiB, GiB, TiB, kB, MB, GB or TB");
    return false;
  }
  out = *bytes;
  return true;
}

bool TomlSection::read_duration(std::string_view key, std::int64_t& out) {
  const toml::node* node = find(key);
  if (node == nullptr) return false;
  if (const auto* number = node->as_integer(); number != nullptr && number->get() == 0) {
    out = 0;
    return true;
  }
  const toml::value<std::string>* text = node->as_string();
  if (text == nullptr) {
    mistyped(key, *node, "a duration such as \"30 s\"");
    return false;
  }
  Result<std::int64_t> duration = parse_duration_us(text->get());
  if (!duration) {
    complain(key, std::string(key) + ": " + duration.error().detail);
    return false;
  }
  if (duration.value() < 0) {
    complain(key, std::string(key) + " = \"" + text->get() + "\" must not be negative");
    return false;
  }
  out = duration.value();
  return true;
}

bool TomlSection::read_texts(std::string_view key, std::vector<Text>& out) {
  const toml::node* node = find(key);
  if (node == nullptr) return false;
  constexpr std::string_view wanted = "a text or a list of texts";
  if (const auto* text = node->as_string()) {
    out = {{text->get(), place_of(node->source())}};
    return true;
  }
  const toml::array* array = node->as_array();
  if (array == nullptr) {
    mistyped(key, *node, wanted);
    return false;
  }
  std::vector<Text> texts;
  for (const toml::node& element : *array) {
    const toml::value<std::string>* text = element.as_string();
    if (text == nullptr) {
      mistyped(key, element, wanted);
      return false;
    }
    texts.push_back({text->get(), place_of(element.source())});
  }
  out = std::move(texts);
  return true;
}

bool TomlSection::time_of(std::string_view key, const toml::node& node, TimeUs& out) {
  std::ostringstream text;
  if (const auto* quoted = node.as_string()) {
    text << quoted->get();
  } else if (const auto* date = node.as_date()) {
    text << date->get();
  } else if (const auto* date_time = node.as_date_time()) {
    text << date_time->get();
  } else {
    mistyped(key, node, "a date or a list of dates");
    return false;
  }
  Result<TimeUs> time = parse_time(text.str());
  if (!time) {
    complaints_->add(place_of(node.source()),
                     title_ + ": " + std::string(key) + ": " + time.error().detail);
    return false;
  }
  out = time.value();
  return true;
}

bool TomlSection::read_times(std::string_view key, std::vector<TimeUs>& out) {
  const toml::node* node = find(key);
  if (node == nullptr) return false;
  std::vector<TimeUs> times;
  if (const toml::array* array = node->as_array()) {
    for (const toml::node& element : *array) {
      if (!time_of(key, element, times.emplace_back())) return false;
    }
  } else if (!time_of(key, *node, times.emplace_back())) {
    return false;
  }
  out = std::move(times);
  return true;
}

bool TomlSection::read_pairs(std::string_view key, std::vector<Pair>& out) {
  const toml::node* node = find(key);
  if (node == nullptr) return false;
  const toml::table* table = node->as_table();
  if (table == nullptr) {
    mistyped(key, *node, "a table { name = \"value\", … }");
    return false;
  }
  std::vector<Pair> pairs;
  for (const auto& [name, value] : *table) {
    const toml::value<std::string>* text = value.as_string();
    if (text == nullptr) {
      mistyped(std::string(key) + "." + std::string(name.str()), value, "a text");
      return false;
    }
    pairs.push_back(
        {std::string(name.str()), text->get(), place_of(name.source()), place_of(value.source())});
  }
  // toml++ sorts by name; the file's own order is the one that its writer expects to see again.
  std::sort(pairs.begin(), pairs.end(), [](const Pair& a, const Pair& b) {
    return std::pair(a.at.line, a.at.column) < std::pair(b.at.line, b.at.column);
  });
  out = std::move(pairs);
  return true;
}

const toml::table* TomlSection::read_table(std::string_view key) {
  const toml::node* node = find(key);
  if (node == nullptr) return nullptr;
  if (!node->is_table()) mistyped(key, *node, "a table, written [" + std::string(key) + "]");
  return node->as_table();
}

std::vector<const toml::table*> TomlSection::read_tables(std::string_view key) {
  const toml::node* node = find(key);
  std::vector<const toml::table*> tables;
  if (node == nullptr) return tables;
  const std::string wanted = "a list of tables, written [[" + std::string(key) + "]]";
  const toml::array* array = node->as_array();
  if (array == nullptr) {
    mistyped(key, *node, wanted);
    return tables;
  }
  for (const toml::node& element : *array) {
    if (element.is_table()) {
      tables.push_back(element.as_table());
    } else {
      mistyped(key, element, wanted);
    }
  }
  return tables;
}

void TomlSection::finish() {
  for (const auto& [key, value] : *table_) {
    const std::string name(key.str());
    if (std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
    complaints_->add(place_of(key.source()),
                     "unknown key \"" + name + "\" in " + title_ + suggestion(name, known_));
  }
}

Result<toml::table> parse_toml(const std::string& text, const std::string& file) {
  try {
    return toml::parse(text, file);
  } catch (const toml::parse_error& fault) {
    Complaints complaints(file);
    complaints.add(place_of(fault.source()), std::string(fault.description()));
    return complaints.error();
  }
}

std::string toml_quoted(std::string_view text) {
  std::string out;
  json_text::append_string(out, text);  // JSON's escapes are TOML's, too
  return out;
}

std::string toml_key(std::string_view name) {
  return bare_key(name) ? std::string(name) : toml_quoted(name);
}

}  // namespace accrete::daemon
