// A JSON document as text for people: an indented tree, lists of flat objects as tables.
#include <algorithm>
#include <array>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <simdjson.h>

#include "daemon/terminal.h"

namespace accrete::daemon::terminal {
namespace {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::object;

constexpr std::string_view kStep = "  ";

bool is_scalar(const element& value) {
  return !value.is_array() && !value.is_object();
}

bool is_scalar_list(const element& value) {
  array list;
  return value.get(list) == simdjson::SUCCESS &&
         std::all_of(list.begin(), list.end(), [](const element& e) { return is_scalar(e); });
}

/// An object of scalars only.
bool is_flat(const element& value) {
  object members;
  if (value.get(members) != simdjson::SUCCESS) return false;
  for (const auto& [name, member] : members) {
    if (!is_scalar(member)) return false;
  }
  return true;
}

/// JSON keeps every digit; people compare the first few.
std::string short_number(double value) {
  std::array<char, 32> text{};
  const int size = std::snprintf(text.data(), text.size(), "%.5g", value);
  return {text.data(), static_cast<std::size_t>(std::max(size, 0))};
}

std::string scalar_text(const element& value) {
  std::string_view text;
  if (value.get(text) == simdjson::SUCCESS) return std::string(text);
  if (value.is_null()) return "-";
  // Integers are doubles too to is_double().
  if (value.type() == simdjson::dom::element_type::DOUBLE) return short_number(double(value));
  return simdjson::minify(value);
}

std::string list_text(const array& list) {
  std::string out;
  for (const element& value : list)
    out += (out.empty() ? "" : ", ") + scalar_text(value);
  return out.empty() ? "none" : out;
}

void put(const element& value, const std::string& indent, std::string& out);

/// Objects with the members of the first one as columns; others' members are added as they come.
void put_table(const array& list, const std::string& indent, std::string& out) {
  std::vector<std::string> names;
  for (const element& row : list) {
    for (const auto& [name, value] : object(row)) {
      if (std::find(names.begin(), names.end(), name) == names.end()) names.emplace_back(name);
    }
  }
  Table table(names);
  for (const element& members : list) {
    std::vector<std::string> row(names.size());
    for (const auto& [name, value] : object(members)) {
      const auto at = std::find(names.begin(), names.end(), name) - names.begin();
      row[static_cast<std::size_t>(at)] = scalar_text(value);
    }
    table.add(std::move(row));
  }
  out += table.text(indent);
}

/// An object whose members are all flat objects: a table with the names in front.
bool put_keyed_table(const object& members, const std::string& indent, std::string& out) {
  if (members.size() < 2) return false;
  std::vector<std::string> names = {""};
  for (const auto& [key, value] : members) {
    if (!is_flat(value)) return false;
    for (const auto& [name, cell] : object(value)) {
      if (std::find(names.begin(), names.end(), name) == names.end()) names.emplace_back(name);
    }
  }
  if (names.size() == 1) return false;
  Table table(names);
  for (const auto& [key, value] : members) {
    std::vector<std::string> row(names.size());
    row[0] = key;
    for (const auto& [name, cell] : object(value)) {
      const auto at = std::find(names.begin(), names.end(), name) - names.begin();
      row[static_cast<std::size_t>(at)] = scalar_text(cell);
    }
    table.add(std::move(row));
  }
  out += table.text(indent);
  return true;
}

void put_object(const object& members, const std::string& indent, std::string& out) {
  std::size_t widest = 0;
  for (const auto& [name, value] : members) {
    if (is_scalar(value) || is_scalar_list(value)) widest = std::max(widest, name.size());
  }
  for (const auto& [name, value] : members) {
    out += indent + std::string(name);
    if (is_scalar(value) || is_scalar_list(value)) {
      out += std::string(widest - name.size() + kStep.size(), ' ');
      out += value.is_array() ? list_text(array(value)) : scalar_text(value);
      out += "\n";
      continue;
    }
    out += "\n";
    put(value, indent + std::string(kStep), out);
  }
}

void put_list(const array& list, const std::string& indent, std::string& out) {
  if (std::all_of(list.begin(), list.end(), [](const element& e) { return is_flat(e); })) {
    put_table(list, indent, out);
    return;
  }
  bool first = true;
  for (const element& value : list) {
    if (!std::exchange(first, false)) out += "\n";
    if (is_scalar(value)) {
      out += indent + scalar_text(value) + "\n";
    } else {
      put(value, indent, out);
    }
  }
}

void put(const element& value, const std::string& indent, std::string& out) {
  object members;
  array list;
  if (value.get(members) == simdjson::SUCCESS) {
    if (indent.empty() || !put_keyed_table(members, indent, out)) put_object(members, indent, out);
  } else if (value.get(list) == simdjson::SUCCESS) {
    put_list(list, indent, out);
  } else {
    out += indent + scalar_text(value) + "\n";
  }
}

}  // namespace

Result<std::string> tree_of_json(std::string_view json) {
  simdjson::dom::parser parser;
  element document;
  if (const auto fault = parser.parse(json.data(), json.size()).get(document)) {
    return Error{Errc::Malformed,
                 "the answer is no JSON: " + std::string(simdjson::error_message(fault))};
  }
  std::string out;
  put(document, "", out);
  return out;
}

}  // namespace accrete::daemon::terminal
