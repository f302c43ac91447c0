// JSON by simdjson's on-demand parser, every token of it looked at.
#include "daemon/json_tree.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include <simdjson.h>

#include "proto/json_text.h"
#include "proto/limits.h"

namespace accrete::daemon {
namespace {

namespace ondemand = simdjson::ondemand;
using simdjson::error_code;

Error wrong(std::string detail) {
  return {Errc::Malformed, std::move(detail)};
}

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/// Take digits off the front of `text`; false when there are none.
bool take_digits(std::string_view& text) {
  const std::size_t count = std::min(text.find_first_not_of("0123456789"), text.size());
  text.remove_prefix(count);
  return count > 0;
}

/// RFC 8259, section 6.
bool is_number(std::string_view text) {
  if (text.starts_with('-')) text.remove_prefix(1);
  if (text.starts_with('0')) {
    text.remove_prefix(1);
  } else if (!take_digits(text)) {
    return false;
  }
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    if (!take_digits(text)) return false;
  }
  if (text.starts_with('e') || text.starts_with('E')) {
    text.remove_prefix(1);
    if (text.starts_with('+') || text.starts_with('-')) text.remove_prefix(1);
    if (!take_digits(text)) return false;
  }
  return text.empty();
}

}  // namespace

const Json* Json::find(std::string_view name) const {
  if (kind_ != Kind::Object) return nullptr;
  for (const Json& member : *this) {
    if (member.name_ == name) return member.is(Kind::Null) ? nullptr : &member;
  }
  return nullptr;
}

namespace {

void append_json(const Json& value, std::string& out) {
  const bool list = value.is(Json::Kind::List);
  if (!list && !value.is(Json::Kind::Object)) {
    if (value.is(Json::Kind::Text)) {
      json_text::append_string(out, value.text());
    } else {
      out += value.text();
    }
    return;
  }
  out += list ? '[' : '{';
  bool first = true;
  for (const Json& child : value) {
    if (!first) out += ',';
    first = false;
    if (!list) {
      json_text::append_string(out, child.name());
      out += ':';
    }
    append_json(child, out);
  }
  out += list ? ']' : '}';
}

}  // namespace

std::string json_of(const Json& value) {
  std::string out;
  append_json(value, out);
  return out;
}

struct JsonTree::Parser {
  /// Append `value` and all in it to the tree's nodes.
  error_code add(ondemand::value value, std::string_view name, std::size_t depth, JsonTree& tree);
  error_code add_object(ondemand::object object, std::size_t at, std::size_t depth, JsonTree& tree);
  static error_code add_scalar(ondemand::value value, Json& node);
  /// Where in `padded` the parser stands, from 1; nothing at the end.
  std::optional<std::size_t> place();

  ondemand::parser parser;
  ondemand::document document;
  std::string padded;
  std::string beyond_grammar;  ///< what is wrong with good JSON
};

error_code JsonTree::Parser::add(ondemand::value value, std::string_view name, std::size_t depth,
                                 JsonTree& tree) {
  if (depth > json_depth_max) return simdjson::DEPTH_ERROR;
  const std::size_t at = tree.nodes_.size();
  tree.nodes_.emplace_back().name_ = name;
  ondemand::json_type type{};
  if (const auto fault = value.type().get(type)) return fault;
  if (type == ondemand::json_type::object) {
    ondemand::object object;
    if (const auto fault = value.get_object().get(object)) return fault;
    return add_object(object, at, depth, tree);
  }
  if (type != ondemand::json_type::array) return add_scalar(value, tree.nodes_[at]);
  ondemand::array list;
  if (const auto fault = value.get_array().get(list)) return fault;
  for (auto element : list) {
    ondemand::value inner;
    if (const auto fault = element.get(inner)) return fault;
    if (const auto fault = add(inner, {}, depth + 1, tree)) return fault;
  }
  tree.nodes_[at].kind_ = Json::Kind::List;
  tree.nodes_[at].span_ = static_cast<std::uint32_t>(tree.nodes_.size() - at);
  return simdjson::SUCCESS;
}

error_code JsonTree::Parser::add_object(ondemand::object object, std::size_t at, std::size_t depth,
                                        JsonTree& tree) {
  for (auto field : object) {
    std::string_view name;
    if (const auto fault = field.unescaped_key().get(name)) return fault;
    ondemand::value inner;
    if (const auto fault = field.value().get(inner)) return fault;
    if (const auto fault = add(inner, name, depth + 1, tree)) return fault;
  }
  tree.nodes_[at].kind_ = Json::Kind::Object;
  tree.nodes_[at].span_ = static_cast<std::uint32_t>(tree.nodes_.size() - at);
  Status good = tree.check_members(tree.nodes_[at]);
  if (good) return simdjson::SUCCESS;
  beyond_grammar = good.error().detail;
  return simdjson::TAPE_ERROR;
}

error_code JsonTree::Parser::add_scalar(ondemand::value value, Json& node) {
  std::string_view token = value.raw_json_token();
  if (token.starts_with('"')) {
    node.kind_ = Json::Kind::Text;
    return value.get_string().get(node.text_);
  }
  while (!token.empty() && is_space(token.back()))
    token.remove_suffix(1);
  node.text_ = token;
  if (token == "null") return simdjson::SUCCESS;
  if (token == "true" || token == "false") {
    node.kind_ = Json::Kind::Flag;
    return simdjson::SUCCESS;
  }
  node.kind_ = Json::Kind::Number;
  return is_number(token) ? simdjson::SUCCESS : simdjson::NUMBER_ERROR;
}

std::optional<std::size_t> JsonTree::Parser::place() {
  const char* at = nullptr;
  if (document.current_location().get(at) != simdjson::SUCCESS) return std::nullopt;
  return static_cast<std::size_t>(at - padded.data()) + 1;
}

JsonTree::JsonTree() : parser_(std::make_unique<Parser>()) {}
JsonTree::~JsonTree() = default;

Result<const Json*> JsonTree::parse(std::string_view event) {
  constexpr std::size_t padding = simdjson::SIMDJSON_PADDING;
  nodes_.clear();
  while (!event.empty() && is_space(event.back()))
    event.remove_suffix(1);
  const std::string_view start =
      event.substr(std::min(event.find_first_not_of(" \t\r\n"), event.size()));
  nodes_.emplace_back().text_ = "null";
  if (start == "null") return nodes_.data();
  if (start.starts_with('[')) return wrong("expected one object { … } a line");
  if (!start.starts_with('{')) return wrong("no JSON: expected an object { … }");
  if (event.size() > limits::frame_bytes_max) {
    return wrong("an event of " + std::to_string(event.size()) + " bytes; " +
                 std::to_string(limits::frame_bytes_max) + " are taken");
  }
  std::string& padded = parser_->padded;
  if (padded.size() < event.size() + padding) padded.resize(event.size() + padding);
  std::memcpy(padded.data(), event.data(), event.size());
  std::memset(padded.data() + event.size(), 0, padding);
  parser_->beyond_grammar.clear();
  error_code fault =
      parser_->parser.iterate(padded.data(), event.size(), padded.size()).get(parser_->document);
  if (fault) return wrong("no JSON: " + std::string(simdjson::error_message(fault)));
  ondemand::object object;
  fault = parser_->document.get_object().get(object);
  if (!fault) fault = parser_->add_object(object, 0, 0, *this);
  if (!parser_->beyond_grammar.empty()) return wrong(parser_->beyond_grammar);
  const std::optional<std::size_t> place = parser_->place();
  if (!fault && !place) return nodes_.data();
  return wrong("no JSON" + (place ? " at byte " + std::to_string(*place) : "") + ": " +
               (fault ? simdjson::error_message(fault) : "more text after the object"));
}

Status JsonTree::check_members(const Json& object) {
  constexpr std::size_t small = 24;  // compared pairwise: most objects of change events
  names_.clear();
  std::uint64_t seen = 0;  // lengths and first bytes, so that most pairs are not compared
  bool maybe = false;
  for (const Json& member : object) {
    const std::string_view name = member.name();
    const auto first = name.empty() ? 0u : static_cast<unsigned char>(name.back());
    const std::uint64_t bit = 1ull << ((name.size() * 7 + first) % 64);
    maybe = maybe || (seen & bit) != 0;
    seen |= bit;
    names_.push_back(name);
  }
  if (!maybe) return Ok{};
  std::string_view twice;
  bool found = false;
  if (names_.size() <= small) {
    for (std::size_t i = 0; i < names_.size() && !found; ++i) {
      found = std::find(names_.begin(), names_.begin() + static_cast<std::ptrdiff_t>(i),
                        names_[i]) != names_.begin() + static_cast<std::ptrdiff_t>(i);
      twice = names_[i];
    }
  } else {
    std::sort(names_.begin(), names_.end());
    const auto pair = std::adjacent_find(names_.begin(), names_.end());
    found = pair != names_.end();
    if (found) twice = *pair;
  }
  if (!found) return Ok{};
  return wrong((object.name().empty() ? "" : "\"" + std::string(object.name()) + "\": ") +
               "column or member \"" + std::string(twice) + "\" is given twice");
}

}  // namespace accrete::daemon
