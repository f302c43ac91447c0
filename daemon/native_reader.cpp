// Accrete's own JSON form of a change event.
#include <array>
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
#include "proto/time.h"

namespace accrete::daemon {
namespace {

constexpr std::array<std::pair<std::string_view, Op>, 4> kOps = {{{"insert", Op::Insert},
                                                                  {"update", Op::Update},
                                                                  {"delete", Op::Delete},
                                                                  {"truncate", Op::Truncate}}};

Error wrong(std::string detail) {
  return {Errc::Malformed, std::move(detail)};
}

/// Native rows: {"table":…,"op":…,"row":{…},"tx":…}.
class NativeReader final : public EventReader {
 public:
  explicit NativeReader(const Schema& schema) : EventReader(schema), uses_(schema) {}

  Status read(std::string_view event, SourceTransaction& out, Transaction& in) override {
    change_.clear();
    texts_.clear();
    in.clear();
    table_ = row_ = old_key_ = nullptr;
    ACCRETE_TRY(const Json* object, tree_.parse(event));
    if (!object->is(Json::Kind::Object)) return wrong("expected one object { … } a line");
    for (const Json& member : *object)
      ACCRETE_DO(read_member(member, in.id));
    if (table_ == nullptr) return wrong("\"table\" is missing");
    ACCRETE_TRY(const TableId id, writer().find_table(table_->text()));
    if (row_ != nullptr) ACCRETE_DO(read_object(*row_, id, change_.row));
    if (old_key_ != nullptr) ACCRETE_DO(read_object(*old_key_, id, change_.old_key));
    return writer().write(id, change_, out);
  }

 private:
  Status read_member(const Json& member, std::string& tx) {
    const std::string_view name = member.name();
    if (name == "table") {
      table_ = &member;
      return member.is(Json::Kind::Text) ? Status(Ok{}) : wrong("\"table\" must be a text");
    }
    if (name == "op") return read_op(member);
    if (name == "row" || name == "old_key") {
      (name == "row" ? row_ : old_key_) = &member;
      if (member.is(Json::Kind::Object)) return Ok{};
      return wrong("\"" + std::string(name) + "\" must be an object of column names and values");
    }
    if (name == "time") return read_time(member);
    if (name == "tx") {
      if (!member.is(Json::Kind::Number) && !member.is(Json::Kind::Text)) {
        return wrong("\"tx\" must be a number or text");
      }
      tx = json_of(member);
      return Ok{};
    }
    const std::string near = nearest_name(name, {"table", "op", "row", "old_key", "time", "tx"});
    return wrong("unknown member \"" + std::string(name) + "\"" +
                 (near.empty() ? "; known are table, op, row, old_key, time and tx"
                               : "; did you mean \"" + near + "\"?"));
  }

  Status read_op(const Json& member) {
    for (const auto& [name, op] : kOps) {
      if (!member.is(Json::Kind::Text) || name != member.text()) continue;
      change_.op = op;
      return Ok{};
    }
    return wrong("\"op\" must be insert, update, delete or truncate");
  }

  Status read_time(const Json& member) {
    ACCRETE_TRY(const Value value, plain_value(member, false, texts_));
    change_.time = value_time(value, TimeUnit::Microseconds);
    if (change_.time) return Ok{};
    return wrong("\"time\" must be a time such as \"2026-01-31T12:00:00Z\"");
  }

  Status read_object(const Json& object, TableId table, std::vector<NamedValue>& out) {
    for (const Json& cell : object) {
      const bool exact = uses_.of(table, cell.name()) == ColumnUse::Identity;
      Result<Value> value = plain_value(cell, exact, texts_);
      if (!value) {
        return wrong("column \"" + std::string(cell.name()) + "\": " + value.error().detail);
      }
      out.push_back({cell.name(), value.value()});
    }
    return Ok{};
  }

  ColumnUses uses_;
  JsonTree tree_;
  const Json* table_ = nullptr;
  const Json* row_ = nullptr;
  const Json* old_key_ = nullptr;
  std::deque<std::string> texts_;  // a deque, for values view them
  NamedChange change_;
};

}  // namespace

std::unique_ptr<EventReader> open_native(const Schema& schema) {
  return std::make_unique<NativeReader>(schema);
}

}  // namespace accrete::daemon
