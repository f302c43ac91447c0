// Maxwell's change events of MySQL: one row an event.
//
// Source: zendesk/maxwell documentation, docs/docs/dataformat.md and bootstrapping.md.
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
#include "proto/time.h"

namespace accrete::daemon {
namespace {

Error wrong(std::string detail) {
  return {Errc::Malformed, std::move(detail)};
}

class MaxwellReader final : public EventReader {
 public:
  explicit MaxwellReader(const Schema& schema)
      : EventReader(schema), schema_(schema), uses_(schema) {}

  Status read(std::string_view event, SourceTransaction& out, Transaction& in) override {
    in.clear();
    texts_.clear();
    change_.clear();
    ACCRETE_TRY(const Json* document, tree_.parse(event));
    if (document->is(Json::Kind::Null)) return pass_over("tombstones");
    const std::string_view type = text_in(*document, "type");
    if (type == "bootstrap-start" || type == "bootstrap-complete") {
      return pass_over("bootstrap marks");
    }
    if (type.starts_with("table-") || type.starts_with("database-")) {
      return pass_over("schema changes");
    }
    const bool snapshot = type == "bootstrap-insert";
    if (type == "insert" || snapshot) {
      change_.op = Op::Insert;
    } else if (type == "update" || type == "delete") {
      change_.op = type == "update" ? Op::Update : Op::Delete;
    } else {
      return wrong(
          "\"type\" must be insert, update, delete, bootstrap-…, table-… or database-…, "
          "not \"" +
          std::string(type.substr(0, 40)) + "\"");
    }
    if (!snapshot) {
      in.id = text_in(*document, "xid");
      const Json* commit = document->find("commit");
      in.ends = commit != nullptr && commit->is_true();
      // The last row of a transaction has "commit" instead of its place in it.
      const std::string_view offset = text_in(*document, "xoffset");
      if (!in.id.empty() && (in.ends || !offset.empty())) {
        in.position = in.id;
        in.position.append(":").append(in.ends ? "commit" : offset);
      }
    }
    return write(*document, out);
  }

 private:
  Status write(const Json& document, SourceTransaction& out) {
    ACCRETE_TRY(const TableId id,
                writer().find_table(text_in(document, "database"), text_in(document, "table")));
    change_.time = time_in(document, "ts", kSecondUs);
    const Json* data = document.find("data");
    if (data == nullptr) return wrong("no \"data\"");
    ACCRETE_DO(read_row(*data, id, change_.row));
    if (const Json* old = document.find("old"); old != nullptr && change_.op == Op::Update) {
      ACCRETE_DO(read_row(*old, id, before_));
      fill_old_key(schema_.table(id), before_, change_);
    }
    return writer().write(id, change_, out);
  }

  Status read_row(const Json& row, TableId table, std::vector<NamedValue>& out) {
    return read_cells(row, schema_.table(table), out, [&](const Json& cell) {
      return sql_value(cell, SqlType::Unknown, uses_.of(table, cell.name()), texts_);
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

std::unique_ptr<EventReader> open_maxwell(const Schema& schema) {
  return std::make_unique<MaxwellReader>(schema);
}

}  // namespace accrete::daemon
