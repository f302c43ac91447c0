// Taking a body apart.
#include "daemon/event_body.h"

#include <algorithm>
#include <memory>
#include <unordered_map>
#include <utility>

#include "daemon/event_cells.h"
#include "daemon/json_tree.h"
#include "proto/codec.h"
#include "proto/hash.h"
#include "proto/json_text.h"

namespace accrete::daemon {
namespace {

constexpr std::string_view kBlank = " \t\r\n";

Error wrong(std::string detail) {
  return {Errc::Malformed, std::move(detail)};
}

/// The value that begins at `at`; whether it is JSON inside is the reader's to say.
std::string_view value_at(std::string_view text, std::size_t at) {
  const std::size_t begin = at;
  std::size_t depth = 0;
  bool quoted = false;
  for (; at < text.size(); ++at) {
    const char letter = text[at];
    if (quoted) {
      if (letter == '\\') ++at;
      if (letter == '"') quoted = false;
      if (letter != '"' || depth > 0) continue;
      return text.substr(begin, at + 1 - begin);
    }
    if (letter == '"') {
      quoted = true;
    } else if (letter == '{' || letter == '[') {
      ++depth;
    } else if (letter == '}' || letter == ']') {
      if (depth == 0) break;
      if (--depth == 0) return text.substr(begin, at + 1 - begin);
    } else if (depth == 0 && (letter == ',' || kBlank.find(letter) != std::string_view::npos)) {
      break;
    }
  }
  return text.substr(begin, std::min(at, text.size()) - begin);
}

std::size_t skip_blank(std::string_view text, std::size_t at) {
  const std::size_t next = text.find_first_not_of(kBlank, at);
  return next == std::string_view::npos ? text.size() : next;
}

/// The elements of the array whose bracket is at `at`.
Result<std::vector<std::string_view>> split_array(std::string_view body, std::size_t at) {
  std::vector<std::string_view> out;
  at = skip_blank(body, at + 1);
  const auto closed = [&] { return at < body.size() && body[at] == ']'; };
  while (!closed()) {
    const std::string_view value = value_at(body, at);
    if (value.empty()) {
      return wrong("the array of events is broken after " + std::to_string(out.size()) +
                   " events: expected an event or ]");
    }
    out.push_back(value);
    at = skip_blank(body, at + value.size());
    if (closed()) break;
    if (at == body.size() || body[at] != ',') {
      return wrong("the array of events is broken after " + std::to_string(out.size()) +
                   " events: expected , or ]");
    }
    at = skip_blank(body, at + 1);
    if (closed()) return wrong("the array of events ends with a comma");
  }
  if (skip_blank(body, at + 1) != body.size()) return wrong("more after the array of events");
  return out;
}

/// What binary CloudEvents say in headers, as the wrapper of structured ones.
std::string wrapped(const EventHeaders& headers, std::string_view body) {
  constexpr std::string_view kPrefix = "ce-";
  std::string out = "{";
  for (auto at = headers.lower_bound(kPrefix);
       at != headers.end() && at->first.starts_with(kPrefix); ++at) {
    json_text::append_string(out, std::string_view(at->first).substr(kPrefix.size()));
    out += ':';
    json_text::append_string(out, at->second);
    out += ',';
  }
  out += "\"data\":";
  out += skip_blank(body, 0) == body.size() ? "null" : body;
  out += '}';
  return out;
}

class BodyReader {
 public:
  BodyReader(EventFormat format, const Schema& schema)
      : format_(format), reader_(open_reader(format, schema)) {}

  Status read(std::string_view event) {
    std::string unwrapped;
    std::string cloud_id;
    if (format_ != EventFormat::Debezium) {  // whose reader needs what its wrapper says
      ACCRETE_DO(unwrap(event, unwrapped, cloud_id));
      if (!unwrapped.empty()) event = unwrapped;
    }
    const std::size_t records = out_.ends.size();
    ACCRETE_DO(reader_->read(event, out_, in_));
    if (!cloud_id.empty()) in_.position = cloud_id;
    decoded_.offer.events.push_back({out_.ends.size(), identity(records)});
    if (out_.ends.size() == records) ++decoded_.passed_over;
    return Ok{};
  }

  DecodedBody take(std::string_view idempotency_key) {
    std::vector<stream::OfferedEvent>& events = decoded_.offer.events;
    for (std::size_t i = 0; !idempotency_key.empty() && i < events.size(); ++i) {
      if (events[i].identity != 0) continue;
      std::string name(idempotency_key);
      name.append("\n").append(std::to_string(i));
      events[i].identity = hash64(name) | 1;
    }
    decoded_.doubts = reader_->never_named();
    decoded_.offer.bytes = std::move(out_.bytes);
    decoded_.offer.ends = std::move(out_.ends);
    return std::move(decoded_);
  }

 private:
  /// Take off {"specversion":…,"id":…,"source":…,"data":{…}}.
  Status unwrap(std::string_view event, std::string& inner, std::string& id) {
    if (event.find("\"specversion\"") == std::string_view::npos) return Ok{};
    ACCRETE_TRY(const Json* document, tree_.parse(event));
    if (!document->is(Json::Kind::Object) || text_in(*document, "specversion").empty()) return Ok{};
    if (document->find("data_base64") != nullptr) {
      return wrong("\"data_base64\" is not read; send the event as JSON in \"data\"");
    }
    const Json* data = document->find("data");
    inner = data == nullptr ? "null" : json_of(*data);
    const std::string_view name = text_in(*document, "id");
    if (!name.empty()) id.append(text_in(*document, "source")).append("\n").append(name);
    return Ok{};
  }

  /// Of the rows from `records` on, at the place the event has in its source. The same whatever
  /// else is in the body: a sender may cut its events into bodies anew.
  std::uint64_t identity(std::size_t records) {
    std::string name = in_.position + "\n";
    for (std::size_t i = records; i < out_.ends.size(); ++i) {
      const std::uint32_t begin = i == 0 ? 0 : out_.ends[i - 1];
      const std::string_view bytes =
          std::string_view(out_.bytes).substr(begin, out_.ends[i] - begin);
      ACCRETE_CHECK(decode_record(bytes, record_).has_value());  // our own
      if (record_.kind == RecordKind::Layout) {
        layouts_[record_.layout.hash()] = record_.layout;
      } else if (record_.kind == RecordKind::Change) {
        add_row(record_.change, name);
      } else {
        name.append(bytes);
      }
    }
    const bool placed = !in_.position.empty() && records < out_.ends.size();
    return placed ? hash64(name) | 1 : 0;  // 0 is for events without one
  }

  /// What of a row does not depend on the columns that rows before it had: cells by name in any
  /// order, without those that are not said.
  void add_row(const Change& change, std::string& name) {
    const Layout& layout = layouts_.at(change.layout);
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < change.cells.size(); ++i) {
      const Value& cell = change.cells[i];
      if (cell.kind == ValueKind::Null || cell.kind == ValueKind::Unchanged) continue;
      cell_.assign(layout.columns[i]).append("=");
      append_key(cell_, cell);
      sum += hash64(cell_);
    }
    name.append(layout.table).append(" ").append(std::to_string(static_cast<int>(change.op)));
    name.append(" ").append(std::to_string(sum)).append("\n");
  }

  EventFormat format_;
  std::unique_ptr<EventReader> reader_;
  JsonTree tree_;
  SourceTransaction out_;
  Transaction in_;
  Record record_;
  std::unordered_map<std::uint64_t, Layout> layouts_;  // never iterated
  std::string cell_;
  DecodedBody decoded_;
};

Result<DecodedBody> read_all(const std::vector<std::string_view>& events, std::string_view key,
                             EventFormat format, const Schema& schema) {
  BodyReader reader(format, schema);
  for (std::size_t i = 0; i < events.size(); ++i) {
    if (Status read = reader.read(events[i]); !read) {
      return Error{read.error().code,
                   "event " + std::to_string(i + 1) + ": " + read.error().detail};
    }
  }
  DecodedBody decoded = reader.take(key);
  if (events.empty()) decoded.passed_over = 1;  // a tombstone sent without a body
  return decoded;
}

}  // namespace

Result<std::vector<std::string_view>> split_events(std::string_view body) {
  std::size_t at = skip_blank(body, 0);
  if (at < body.size() && body[at] == '[') return split_array(body, at);
  std::vector<std::string_view> out;
  while (at < body.size()) {
    const std::string_view value = value_at(body, at);
    if (value.empty()) {
      return wrong("event " + std::to_string(out.size() + 1) +
                   ": expected one object { … }, found \"" + std::string(1, body[at]) + "\"");
    }
    out.push_back(value);
    at = skip_blank(body, at + value.size());
  }
  return out;
}

Result<DecodedBody> decode_events(std::string_view body, std::string_view key, EventFormat format,
                                  const Schema& schema) {
  ACCRETE_TRY(const std::vector<std::string_view> events, split_events(body));
  return read_all(events, key, format, schema);
}

Result<DecodedBody> decode_cloud_event(const EventHeaders& headers, std::string_view body,
                                       std::string_view key, EventFormat format,
                                       const Schema& schema) {
  const std::string whole = wrapped(headers, body);
  return read_all({whole}, key, format, schema);
}

}  // namespace accrete::daemon
