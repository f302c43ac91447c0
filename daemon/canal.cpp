// Canal's change events of MySQL and TiDB: rows of one statement an event, values mostly in text.
//
// Source: alibaba/canal, com.alibaba.otter.canal.protocol.FlatMessage; TiCDC's Canal-JSON protocol.
#include <cstddef>
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

namespace accrete::daemon {
namespace {

Error wrong(std::string detail) {
  return {Errc::Malformed, std::move(detail)};
}

class CanalReader final : public EventReader {
 public:
  explicit CanalReader(const Schema& schema)
      : EventReader(schema), schema_(schema), uses_(schema) {}

  Status read(std::string_view event, SourceTransaction& out, Transaction& in) override {
    in.clear();
    texts_.clear();
    change_.clear();
    ACCRETE_TRY(const Json* document, tree_.parse(event));
    if (document->is(Json::Kind::Null)) return pass_over("tombstones");
    const std::string_view type = text_in(*document, "type");
    if (type == "TIDB_WATERMARK" || type == "WATERMARK") return pass_over("watermarks");
    if (type == "INSERT" || type == "UPDATE" || type == "DELETE") {
      change_.op = type == "INSERT" ? Op::Insert : type == "UPDATE" ? Op::Update : Op::Delete;
      return write_rows(*document, out, in);
    }
    if (type == "TRUNCATE") {
      change_.op = Op::Truncate;
      ACCRETE_TRY(const TableId id, table_of(*document));
      return writer().write(id, change_, out);
    }
    const Json* ddl = document->find("isDdl");
    if (ddl != nullptr && ddl->is_true()) return pass_over("schema changes");
    if (type == "QUERY") return pass_over("statements");
    return wrong(
        "\"type\" must be INSERT, UPDATE, DELETE, TRUNCATE or QUERY, or \"isDdl\" true; it "
        "is \"" +
        std::string(type.substr(0, 40)) + "\"");
  }

 private:
  Result<TableId> table_of(const Json& document) {
    change_.time = time_in(document, "es", 1000);
    return writer().find_table(text_in(document, "database"), text_in(document, "table"));
  }

  Status write_rows(const Json& document, SourceTransaction& out, Transaction& in) {
    ACCRETE_TRY(const TableId id, table_of(document));
    const Json* data = document.find("data");
    const Json* old = document.find("old");
    if (data == nullptr || !data->is(Json::Kind::List) || data->empty()) {
      return wrong("\"data\" must be a list of rows");
    }
    if (old != nullptr && !old->is(Json::Kind::List)) return wrong("\"old\" must be a list");
    if (const Json* tidb = document.find("_tidb")) in.id = text_in(*tidb, "commitTs");
    in.position = in.id;  // TiDB changes a row once in a commit
    const TransactionMark mark(out);
    const Json* types = document.find("mysqlType");
    if (types != nullptr) ACCRETE_DO(check_types(*types));
    if (Status written = write_each(*data, old, types, id, out); !written) {
      writer().roll_back(mark, out);
      in.clear();
      return written;
    }
    return Ok{};
  }

  static Status check_types(const Json& types) {
    std::size_t count = 0;
    for (auto type = types.begin(); type != types.end(); ++type)
      ++count;
    if (types.is(Json::Kind::Object) && count <= limits::columns_max) return Ok{};
    return wrong("\"mysqlType\" must be an object of at most " +
                 std::to_string(limits::columns_max) + " columns and types");
  }

  Status write_each(const Json& data, const Json* old, const Json* types, TableId id,
                    SourceTransaction& out) {
    auto former = old == nullptr ? data.end() : old->begin();
    for (const Json& row : data) {
      ACCRETE_DO(read_row(row, types, id, change_.row));
      if (old != nullptr) {
        if (former == old->end()) return wrong("\"old\" has fewer rows than \"data\"");
        if (change_.op == Op::Update && !(*former).is(Json::Kind::Null)) {
          ACCRETE_DO(read_row(*former, types, id, before_));
          fill_old_key(schema_.table(id), before_, change_);
        }
        ++former;
      }
      ACCRETE_DO(writer().write(id, change_, out));
      change_.old_key.clear();
    }
    if (old != nullptr && former != old->end()) {
      return wrong("\"old\" has more rows than \"data\"");
    }
    return Ok{};
  }

  Status read_row(const Json& row, const Json* types, TableId table, std::vector<NamedValue>& out) {
    auto next = types == nullptr ? row.end() : types->begin();
    return read_cells(row, schema_.table(table), out, [&](const Json& cell) {
      SqlType type = SqlType::Unknown;
      if (types != nullptr) {
        // Types stand in the order of the columns, mostly.
        if (next != types->end() && (*next).name() == cell.name()) {
          type = sql_type_of((*next).text());
          ++next;
        } else {
          type = sql_type_of(text_in(*types, cell.name()));
        }
      }
      return sql_value(cell, type, uses_.of(table, cell.name()), texts_);
    });
  }

  const Schema& schema_;
  ColumnUses uses_;
  JsonTree tree_;
  std::deque<std::string> texts_;  // a deque, for values view them
  NamedChange change_;
  std::vector<NamedValue> before_;
};

}  // namespace

std::unique_ptr<EventReader> open_canal(const Schema& schema) {
  return std::make_unique<CanalReader>(schema);
}

}  // namespace accrete::daemon
