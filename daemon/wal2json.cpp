// Change events of PostgreSQL's wal2json: format version 2, one event a row; version 1, one event a
// transaction.
//
// Source: eulerto/wal2json, README.md.
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/event_cells.h"
#include "daemon/event_reader.h"
#include "daemon/json_tree.h"
#include "daemon/row_writer.h"
#include "daemon/sql_value.h"
#include "proto/limits.h"
#include "proto/time.h"

namespace accrete::daemon {
namespace {

Error wrong(std::string detail) {
  return {Errc::Malformed, std::move(detail)};
}

class Wal2jsonReader final : public EventReader {
 public:
  explicit Wal2jsonReader(const Schema& schema)
      : EventReader(schema), schema_(schema), uses_(schema) {}

  Status read(std::string_view event, SourceTransaction& out, Transaction& in) override {
    in.clear();
    texts_.clear();
    ACCRETE_TRY(const Json* document, tree_.parse(event));
    if (!document->is(Json::Kind::Object)) return wrong("expected one object { … } an event");
    if (const Json* changes = document->find("change")) {
      in.position = text_in(*document, "nextlsn");
      return read_all(*document, *changes, out);
    }
    const std::string_view action = text_in(*document, "action");
    if (action == "B" || action == "C") return read_bracket(*document, action == "C", in);
    in.id = text_in(*document, "xid");
    if (in.id.empty()) in.id = open_;
    in.position = text_in(*document, "lsn");
    const std::optional<TimeUs> time = time_of(*document);
    Status read = action == "M" ? read_message(*document, time ? time : open_time_, in, out)
                                : read_change(*document, action, time, out);
    if (!read) in.clear();
    return read;
  }

 private:
  static std::optional<TimeUs> time_of(const Json& event) {
    return try_parse_time(text_in(event, "timestamp"));
  }

  /// B and C bracket the rows of a transaction, which need not say its number.
  Status read_bracket(const Json& event, bool ends, Transaction& in) {
    if (!ends) {
      open_ = text_in(event, "xid");
      if (open_.empty()) open_ = "begin " + std::to_string(++begun_);
      open_time_ = time_of(event);
    }
    in.id = open_;
    in.ends = ends;
    if (ends) {
      open_.clear();
      open_time_.reset();
    }
    return pass_over("transaction marks");
  }

  /// pg_logical_emit_message(true, 'accrete', 'block') ends a block; other messages are not ours.
  Status read_message(const Json& event, std::optional<TimeUs> time, Transaction& in,
                      SourceTransaction& out) {
    const Json* transactional = event.find("transactional");
    if (transactional != nullptr && !transactional->is_true()) in.clear();
    if (text_in(event, "prefix") != "accrete") return pass_over("messages");
    return write_block_mark(text_in(event, "content"), time, out);
  }

  Status read_change(const Json& event, std::string_view action, std::optional<TimeUs> time,
                     SourceTransaction& out) {
    change_.clear();
    change_.time = time ? time : open_time_;
    if (action.size() != 1 || std::string_view("IUDT").find(action) == std::string_view::npos) {
      return wrong("\"action\" must be B, C, I, U, D, T or M, not \"" +
                   std::string(action.substr(0, 40)) + "\"");
    }
    ACCRETE_TRY(const TableId id,
                writer().find_table(text_in(event, "schema"), text_in(event, "table")));
    if (action == "T") {
      change_.op = Op::Truncate;
      return writer().write(id, change_, out);
    }
    const bool deletes = action == "D";
    change_.op = deletes ? Op::Delete : action == "U" ? Op::Update : Op::Insert;
    const Json* row = event.find(deletes ? "identity" : "columns");
    if (row == nullptr) return no_row(id, deletes);
    ACCRETE_DO(read_columns(*row, id, change_.row));
    if (const Json* identity = event.find("identity"); identity != nullptr && action == "U") {
      ACCRETE_DO(read_columns(*identity, id, before_));
      keep_old_key(schema_.table(id), before_, change_);
    }
    return writer().write(id, change_, out);
  }

  Error no_row(TableId id, bool deletes) const {
    const std::string& table = schema_.table(id).name;
    return wrong(deletes ? "a delete of table \"" + table +
                               "\" does not say of which row: give the table a primary key or "
                               "REPLICA IDENTITY"
                         : "a change of table \"" + table + "\" without its columns");
  }

  /// [{"name":…,"type":…,"value":…}, …]
  Status read_columns(const Json& columns, TableId table, std::vector<NamedValue>& row) {
    row.clear();
    if (!columns.is(Json::Kind::List)) {
      return wrong("\"columns\" and \"identity\" must be lists");
    }
    for (const Json& column : columns) {
      const Json* name = column.find("name");
      if (name == nullptr || !name->is(Json::Kind::Text)) {
        return wrong("a column without its \"name\"");
      }
      ACCRETE_DO(
          read_column(name->text(), text_in(column, "type"), column.find("value"), table, row));
    }
    return Ok{};
  }

  Status read_column(std::string_view name, std::string_view type, const Json* value, TableId table,
                     std::vector<NamedValue>& row) {
    const auto fault = [&](const std::string& detail) {
      return wrong("table \"" + schema_.table(table).name + "\": column \"" + std::string(name) +
                   "\" " + detail);
    };
    if (row.size() == limits::columns_max) return fault("is one too many");
    if (find(row, name) != nullptr) return fault("is given twice");
    if (value == nullptr) {
      row.push_back({name, Value::null()});
      return Ok{};
    }
    Result<Value> cell = sql_value(*value, sql_type_of(type), uses_.of(table, name), texts_);
    if (!cell) return fault(cell.error().detail);
    row.push_back({name, cell.value()});
    return Ok{};
  }

  /// Version 1: {"change":[{"kind":…,"columnnames":[…],"columnvalues":[…],"oldkeys":{…}}, …]}
  Status read_all(const Json& document, const Json& changes, SourceTransaction& out) {
    if (!changes.is(Json::Kind::List)) return wrong("\"change\" must be a list");
    // A truncate looks like this too: version 1 does not tell of it.
    if (changes.empty()) return pass_over("empty transactions");
    const TransactionMark mark(out);
    std::size_t number = 0;
    for (const Json& change : changes) {
      ++number;
      if (Status read = read_one(change, time_of(document), out); !read) {
        writer().roll_back(mark, out);
        return wrong("change " + std::to_string(number) + ": " + read.error().detail);
      }
    }
    return Ok{};
  }

  Status read_one(const Json& event, std::optional<TimeUs> time, SourceTransaction& out) {
    const std::string_view kind = text_in(event, "kind");
    if (kind == "message") {
      Transaction whole;
      return read_message(event, time, whole, out);
    }
    change_.clear();
    change_.time = time;
    if (kind != "insert" && kind != "update" && kind != "delete") {
      return wrong("\"kind\" must be insert, update, delete or message, not \"" +
                   std::string(kind.substr(0, 40)) + "\"");
    }
    const bool deletes = kind == "delete";
    change_.op = deletes ? Op::Delete : kind == "update" ? Op::Update : Op::Insert;
    ACCRETE_TRY(const TableId id,
                writer().find_table(text_in(event, "schema"), text_in(event, "table")));
    const Json* old = event.find("oldkeys");
    if (deletes && old == nullptr) return no_row(id, true);
    ACCRETE_DO(deletes ? read_parallel(*old, "keynames", "keytypes", "keyvalues", id, change_.row)
                       : read_parallel(event, "columnnames", "columntypes", "columnvalues", id,
                                       change_.row));
    if (old != nullptr && change_.op == Op::Update) {
      ACCRETE_DO(read_parallel(*old, "keynames", "keytypes", "keyvalues", id, before_));
      keep_old_key(schema_.table(id), before_, change_);
    }
    return writer().write(id, change_, out);
  }

  /// Names, types and values in three lists of one length; types may be left out.
  Status read_parallel(const Json& parent, const char* names, const char* types, const char* values,
                       TableId table, std::vector<NamedValue>& row) {
    row.clear();
    const Json* name_list = parent.find(names);
    const Json* value_list = parent.find(values);
    const Json* type_list = parent.find(types);
    if (name_list == nullptr || value_list == nullptr || !name_list->is(Json::Kind::List) ||
        !value_list->is(Json::Kind::List) ||
        (type_list != nullptr && !type_list->is(Json::Kind::List))) {
      return wrong("\"" + std::string(names) + "\" and \"" + values + "\" must be lists");
    }
    auto value = value_list->begin();
    auto type = type_list == nullptr ? value_list->end() : type_list->begin();
    const auto last_type = type_list == nullptr ? value_list->end() : type_list->end();
    for (const Json& name : *name_list) {
      if (value == value_list->end() || !name.is(Json::Kind::Text)) {
        return wrong("\"" + std::string(names) + "\" must be texts, one for each of \"" + values +
                     "\"");
      }
      std::string_view type_name;
      if (type != last_type) {
        type_name = (*type).text();
        ++type;
      }
      ACCRETE_DO(read_column(name.text(), type_name, &*value, table, row));
      ++value;
    }
    if (value == value_list->end()) return Ok{};
    return wrong("more \"" + std::string(values) + "\" than \"" + names + "\"");
  }

  const Schema& schema_;
  ColumnUses uses_;
  JsonTree tree_;
  std::deque<std::string> texts_;  // a deque, for values view them
  NamedChange change_;
  std::vector<NamedValue> before_;
  std::string open_;  // the transaction between B and C; "" outside
  std::optional<TimeUs> open_time_;
  std::uint64_t begun_ = 0;
};

}  // namespace

std::unique_ptr<EventReader> open_wal2json(const Schema& schema) {
  return std::make_unique<Wal2jsonReader>(schema);
}

}  // namespace accrete::daemon
