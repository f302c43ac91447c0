// Debezium change events: with or without a schema block, in a CloudEvents wrapper, or flattened.
//
// Source: debezium/debezium documentation: connectors/postgresql.adoc,
// integrations/cloudevents.adoc, transformations/event-flattening.adoc.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/debezium_value.h"
#include "daemon/event_cells.h"
#include "daemon/event_reader.h"
#include "daemon/exact_number.h"
#include "daemon/json_tree.h"
#include "daemon/row_writer.h"
#include "proto/limits.h"

namespace accrete::daemon {
namespace {

Error wrong(std::string detail) {
  return {Errc::Malformed, std::move(detail)};
}

/// `txId:LSN`, where the LSN differs between BEGIN, END and rows. A MySQL id (file and place, or
/// GTID) is the same in all of them, and is told by what is no digit before its colon.
std::string_view transaction_of(std::string_view id) {
  const std::size_t colon = id.find(':');
  const bool digits =
      colon != std::string_view::npos && colon > 0 && id.find_first_not_of("0123456789") == colon;
  return digits ? id.substr(0, colon) : id;
}

/// {"schema":…,"payload":…} and nothing else. A row of two columns with these names has other
/// things in them.
bool is_enveloped(const Json& event) {
  bool payload = false;
  for (const Json& member : event) {
    if (!member.is(Json::Kind::Object) && !member.is(Json::Kind::Null)) return false;
    if (member.name() != "payload" && member.name() != "schema") return false;
    payload = payload || member.name() == "payload";
  }
  return payload;
}

/// Members of "source" that say where in the server's log a change stands; the first of them do so
/// alone, the others only beside them.
constexpr std::array<std::string_view, 5> kPlaces = {"lsn", "pos", "change_lsn", "scn", "ord"};
constexpr std::array<std::string_view, 8> kMorePlaces = {
    "txId", "file", "row", "gtid", "commit_lsn", "event_serial_no", "rs_id", "ssn"};

bool one_of(std::span<const std::string_view> names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// Where the change stands in its server's log; nothing where `source` does not say.
void add_position(const Json& source, std::string_view prefix, std::string& out) {
  bool placed = false;
  for (const Json& member : source) {
    const std::string_view name = member.name();
    if (!name.starts_with(prefix) || member.text().empty() || member.is(Json::Kind::Null)) continue;
    const std::string_view bare = name.substr(prefix.size());
    const bool place = one_of(kPlaces, bare);
    if (!place && !one_of(kMorePlaces, bare)) continue;
    placed = placed || place;
    out.append(bare).append("=").append(member.text()).append(";");
  }
  if (!placed) out.clear();
}

/// One event taken apart; views stand until the next one is parsed.
struct Envelope {
  char op = 0;
  bool flat = false;  ///< the image is the payload itself
  const Json* before = nullptr;
  const Json* after = nullptr;
  const Json* schema = nullptr;  ///< of the payload
  std::string_view table;
  std::string_view space;  ///< the schema's or the database's name, for tables configured as a.b
  std::optional<TimeUs> time;
};

class DebeziumReader final : public EventReader {
 public:
  explicit DebeziumReader(const Schema& schema)
      : EventReader(schema), schema_(schema), uses_(schema) {}

  Status read(std::string_view event, SourceTransaction& out, Transaction& in) override {
    in.clear();
    texts_.clear();
    change_.clear();
    ACCRETE_TRY(const Json* document, tree_.parse(event));
    if (document->is(Json::Kind::Null)) return pass_over("tombstones");
    Envelope envelope;
    const Json* payload = document;
    const bool cloud = document->find("specversion") != nullptr;
    if (cloud) {
      payload = document->find("data");
      if (payload == nullptr) return pass_over("tombstones");
    }
    if (is_enveloped(*payload)) {
      envelope.schema = payload->find("schema");
      payload = payload->find("payload");
      if (payload == nullptr) return pass_over("tombstones");  // the delete before has said all
    }
    if (!payload->is(Json::Kind::Object)) return wrong("\"data\" must be an object");
    return cloud ? read_cloud(*document, *payload, envelope, out, in)
                 : read_payload(*payload, envelope, out, in);
  }

 private:
  Status read_payload(const Json& payload, Envelope& envelope, SourceTransaction& out,
                      Transaction& in) {
    if (payload.find("__op") != nullptr || payload.find("__deleted") != nullptr) {
      return read_flat(payload, envelope, out, in);
    }
    if (payload.find("op") != nullptr) return read_change(payload, envelope, out, in);
    const std::string_view status = text_in(payload, "status");
    if ((status == "BEGIN" || status == "END") && !text_in(payload, "id").empty()) {
      in.id = transaction_of(text_in(payload, "id"));
      in.ends = status == "END";
      return pass_over("transaction marks");
    }
    if (payload.find("ddl") != nullptr || payload.find("tableChanges") != nullptr) {
      return pass_over("schema changes");
    }
    if (payload.find("ts_ms") != nullptr && is_alone(payload)) return pass_over("heartbeats");
    return wrong(
        "no \"op\": not a change event of Debezium (a key, or a flattened row? add op and table to "
        "transforms.unwrap.add.fields)");
  }

  static bool is_alone(const Json& payload) {
    auto member = payload.begin();
    return ++member == payload.end();
  }

  Status read_change(const Json& payload, Envelope& envelope, SourceTransaction& out,
                     Transaction& in) {
    ACCRETE_DO(read_op(text_in(payload, "op"), envelope));
    envelope.before = payload.find("before");
    envelope.after = payload.find("after");
    const Json* source = payload.find("source");
    if (source == nullptr) return wrong("no \"source\", so no table; keep it in the envelope");
    envelope.table = text_in(*source, "table");
    envelope.space = text_in(*source, source->find("schema") != nullptr ? "schema" : "db");
    envelope.time = time_in(*source, "ts_us", 1);
    if (!envelope.time) envelope.time = time_in(*source, "ts_ms", 1000);
    add_position(*source, "", in.position);
    // A snapshot is one transaction of the source, but its rows need not wait for each other.
    if (envelope.op != 'r') in.id = transaction_id(payload, *source);
    if (envelope.op == 'm') return read_message(payload, envelope, out);
    return write(envelope, out);
  }

  static std::string_view transaction_id(const Json& payload, const Json& source) {
    if (const Json* transaction = payload.find("transaction")) {
      if (const auto id = text_in(*transaction, "id"); !id.empty()) return transaction_of(id);
    }
    return text_in(source, source.find("txId") != nullptr ? "txId" : "gtid");
  }

  Status read_cloud(const Json& document, const Json& data, Envelope& envelope,
                    SourceTransaction& out, Transaction& in) {
    ACCRETE_DO(read_op(text_in(document, "iodebeziumop"), envelope));
    envelope.before = data.find("before");
    envelope.after = data.find("after");
    envelope.table = text_in(document, "iodebeziumtable");
    envelope.space =
        text_in(document,
                document.find("iodebeziumschema") != nullptr ? "iodebeziumschema" : "iodebeziumdb");
    envelope.time = time_in(document, "iodebeziumtsms", 1000);
    in.position = text_in(document, "id");
    if (envelope.op != 'r') {
      in.id = transaction_of(text_in(document, document.find("iodebeziumtxid") != nullptr
                                                   ? "iodebeziumtxid"
                                                   : "iodebeziumtxId"));
    }
    if (envelope.op == 'm') return read_message(data, envelope, out);
    return write(envelope, out);
  }

  /// ExtractNewRecordState: the row itself, with what was asked for under names that begin with __.
  Status read_flat(const Json& payload, Envelope& envelope, SourceTransaction& out,
                   Transaction& in) {
    const bool deleted = text_in(payload, "__deleted") == "true";
    const std::string_view op = deleted ? "d" : text_in(payload, "__op");
    if (op.empty()) {
      return wrong(
          "a flattened row without \"__op\": whether it is new cannot be told; add op to "
          "transforms.unwrap.add.fields");
    }
    ACCRETE_DO(read_op(op, envelope));
    if (envelope.op == 'm' || envelope.op == 't') {
      return wrong("a flattened row with \"__op\" " + std::string(op));
    }
    envelope.flat = true;
    for (const char* name : {"__table", "__source_table"}) {
      if (envelope.table.empty()) envelope.table = text_in(payload, name);
    }
    if (envelope.table.empty()) {
      return wrong(
          "a flattened row without \"__table\"; add table to "
          "transforms.unwrap.add.fields");
    }
    for (const char* name : {"__schema", "__source_schema", "__db", "__source_db"}) {
      if (envelope.space.empty()) envelope.space = text_in(payload, name);
    }
    add_position(payload, "__source_", in.position);
    if (in.position.empty()) add_position(payload, "__", in.position);
    envelope.time = time_in(payload, "__source_ts_us", 1);
    if (!envelope.time) envelope.time = time_in(payload, "__source_ts_ms", 1000);
    for (const char* name : {"__transaction_id", "__source_txId", "__txId"}) {
      if (in.id.empty() && envelope.op != 'r') in.id = transaction_of(text_in(payload, name));
    }
    (envelope.op == 'd' ? envelope.before : envelope.after) = &payload;
    return write(envelope, out);
  }

  static Status read_op(std::string_view text, Envelope& envelope) {
    if (text.size() != 1 || std::string_view("crudtm").find(text) == std::string_view::npos) {
      return wrong("\"op\" must be c, r, u, d, t or m, not \"" + std::string(text.substr(0, 40)) +
                   "\"");
    }
    envelope.op = text.front();
    return Ok{};
  }

  /// pg_logical_emit_message(true, 'accrete', 'block') ends a block; other messages are not ours.
  Status read_message(const Json& payload, const Envelope& envelope, SourceTransaction& out) {
    const Json* message = payload.find("message");
    if (message == nullptr || text_in(*message, "prefix") != "accrete") {
      return pass_over("messages");
    }
    ACCRETE_TRY(const std::string content, decode_base64(text_in(*message, "content")));
    return write_block_mark(content, envelope.time, out);
  }

  Status write(const Envelope& envelope, SourceTransaction& out) {
    ACCRETE_TRY(const TableId id, writer().find_table(envelope.space, envelope.table));
    const Table& table = schema_.table(id);
    change_.time = envelope.time;
    if (envelope.op == 't') {
      change_.op = Op::Truncate;
      return writer().write(id, change_, out);
    }
    const bool deletes = envelope.op == 'd';
    const Json* image = deletes ? envelope.before : envelope.after;
    if (image == nullptr) {
      return wrong(deletes ? "a delete of table \"" + table.name +
                                 "\" without \"before\": give it a primary key or REPLICA IDENTITY"
                           : "op \"" + std::string(1, envelope.op) + "\" of table \"" + table.name +
                                 "\" without \"after\"");
    }
    change_.op = deletes ? Op::Delete : envelope.op == 'u' ? Op::Update : Op::Insert;
    ACCRETE_DO(read_row(*image, fields_of(envelope, deletes ? "before" : "after"), envelope.flat,
                        id, change_.row));
    ACCRETE_DO(check_unchanged(table));
    if (change_.op == Op::Update && envelope.before != nullptr) {
      ACCRETE_DO(read_row(*envelope.before, fields_of(envelope, "before"), false, id, before_));
      keep_old_key(table, before_, change_);
    }
    return writer().write(id, change_, out);
  }

  /// Values that were not logged stand only in an update; a delete needs its key alone.
  Status check_unchanged(const Table& table) {
    for (NamedValue& cell : change_.row) {
      if (cell.value.kind != ValueKind::Unchanged) continue;
      if (change_.op == Op::Insert) {
        return wrong("column \"" + std::string(cell.name) + "\" of new row of table \"" +
                     table.name + "\" was not logged (__debezium_unavailable_value)");
      }
      if (change_.op == Op::Delete) cell.value = Value::null();
    }
    return Ok{};
  }

  /// The schema block's fields of `image`, where there is such a block.
  static const Json* fields_of(const Envelope& envelope, std::string_view image) {
    const Json* fields = envelope.schema == nullptr ? nullptr : envelope.schema->find("fields");
    if (fields == nullptr || envelope.flat || !fields->is(Json::Kind::List)) return fields;
    for (const Json& field : *fields) {
      if (text_in(field, "field") == image) return field.find("fields");
    }
    return nullptr;
  }

  Status read_row(const Json& image, const Json* fields, bool flat, TableId table,
                  std::vector<NamedValue>& row) {
    row.clear();
    if (!image.is(Json::Kind::Object)) {
      return wrong("\"before\" and \"after\" must be objects of column names and values");
    }
    const bool typed = fields != nullptr && fields->is(Json::Kind::List);
    // Fields stand in the order of the columns, mostly: the search goes on from the last one found.
    if (typed) ACCRETE_DO(check_fields(*fields));
    auto next = typed ? fields->begin() : image.end();
    for (const Json& cell : image) {
      const std::string_view name = cell.name();
      DebeziumField field;
      if (typed) field = take_field(*fields, next, name);
      if (flat && name.starts_with("__")) continue;
      if (row.size() == limits::columns_max) return wrong("a row of too many columns");
      Result<Value> value = debezium_value(cell, field, uses_.of(table, name), texts_);
      if (!value) {
        return wrong("table \"" + schema_.table(table).name + "\": column \"" + std::string(name) +
                     "\" " + value.error().detail);
      }
      row.push_back({name, value.value()});
    }
    return Ok{};
  }

  static Status check_fields(const Json& fields) {
    std::size_t count = 0;
    for (auto field = fields.begin(); field != fields.end(); ++field)
      ++count;
    if (count <= limits::columns_max) return Ok{};
    return wrong("a schema block of " + std::to_string(count) + " fields; " +
                 std::to_string(limits::columns_max) + " are taken");
  }

  static DebeziumField take_field(const Json& fields, Json::Iterator& next,
                                  std::string_view column) {
    auto at = next;
    if (at == fields.end() || text_in(*at, "field") != column) {
      at = fields.begin();
      while (at != fields.end() && text_in(*at, "field") != column)
        ++at;
    }
    if (at == fields.end()) return {};
    const Json& field = *at;
    next = ++at;
    DebeziumField out;
    out.logical = text_in(field, "name");
    if (const Json* parameters = field.find("parameters")) {
      out.scale = text_in(*parameters, "scale");
    }
    return out;
  }

  const Schema& schema_;
  ColumnUses uses_;
  JsonTree tree_;
  std::deque<std::string> texts_;  // a deque, for values view them
  NamedChange change_;
  std::vector<NamedValue> before_;
};

}  // namespace

std::unique_ptr<EventReader> open_debezium(const Schema& schema) {
  return std::make_unique<DebeziumReader>(schema);
}

}  // namespace accrete::daemon
