// JSON rows, one object a line, as a source of transactions.
#include <algorithm>
#include <array>
#include <deque>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <limits>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <simdjson.h>

#include "daemon/row_source.h"
#include "proto/codec.h"
#include "proto/hash.h"
#include "proto/limits.h"
#include "proto/time.h"
#include "proto/value.h"

namespace accrete::daemon {
namespace {

using simdjson::dom::element;
using simdjson::dom::element_type;

constexpr std::array<std::pair<std::string_view, Op>, 4> kOps = {{{"insert", Op::Insert},
                                                                  {"update", Op::Update},
                                                                  {"delete", Op::Delete},
                                                                  {"truncate", Op::Truncate}}};

Error wrong(std::string detail) {
  return {Errc::Malformed, std::move(detail)};
}

/// The columns of one table as far as they have been seen, so that rows that name them in any
/// order, or leave some out, still share one layout.
struct TableState {
  Layout layout;
  std::uint64_t hash = 0;
  bool declared = false;
};

/// One member of a row. Views stand until the next line is parsed.
struct NamedValue {
  std::string_view name;
  Value value;
};

/// Turns lines into records.
class LineReader {
 public:
  explicit LineReader(const Schema& schema) : schema_(schema), tables_(schema.tables().size()) {
    for (std::size_t i = 0; i < tables_.size(); ++i) {
      const Table& table = schema.tables()[i];
      tables_[i].layout.table = table.name;
      for (const Column& column : table.columns) {
        if (column.kind != ColumnKind::Ignored) {
          tables_[i].layout.columns.push_back(column.name);
        }
      }
    }
  }

  /// Append the line's records (a layout where one is due, then the change) to `out`; `tx` gets
  /// the text of its transaction, "" where it has none. Appends nothing on an error.
  Status read(std::string_view line, SourceTransaction& out, std::string& tx) {
    element document;
    if (const auto fault = parser_.parse(line.data(), line.size()).get(document)) {
      return wrong("no JSON: " + std::string(simdjson::error_message(fault)));
    }
    simdjson::dom::object object;
    if (document.get(object) != simdjson::SUCCESS) {
      return wrong("expected one object { … } a line");
    }
    change_ = {};
    table_ = {};
    row_.clear();
    old_key_.clear();
    nested_.clear();
    tx.clear();
    for (const auto& [name, value] : object)
      ACCRETE_DO(read_member(name, value, tx));
    ACCRETE_TRY(const TableId id, find_table());
    ACCRETE_DO(fill_cells(id));
    put(id, out);
    return Ok{};
  }

 private:
  Status read_member(std::string_view name, const element& value, std::string& tx) {
    if (name == "table") {
      if (value.get(table_) == simdjson::SUCCESS) return Ok{};
      return wrong("\"table\" must be a text");
    }
    if (name == "op") return read_op(value);
    if (name == "row") return read_object(name, value, row_);
    if (name == "old_key") return read_object(name, value, old_key_);
    if (name == "time") {
      const std::optional<TimeUs> time = value_time(value_of(value), TimeUnit::Microseconds);
      if (!time) return wrong("\"time\" must be a time such as \"2026-01-31T12:00:00Z\"");
      change_.change_time = *time;
      return Ok{};
    }
    if (name == "tx") {
      if (!value.is_number() && !value.is_string()) return wrong("\"tx\" must be a number or text");
      tx = simdjson::minify(value);
      return Ok{};
    }
    const std::string near = nearest_name(name, {"table", "op", "row", "old_key", "time", "tx"});
    return wrong("unknown member \"" + std::string(name) + "\"" +
                 (near.empty() ? "; known are table, op, row, old_key, time and tx"
                               : "; did you mean \"" + near + "\"?"));
  }

  Status read_op(const element& value) {
    std::string_view text;
    if (value.get(text) == simdjson::SUCCESS) {
      for (const auto& [name, op] : kOps) {
        if (name != text) continue;
        change_.op = op;
        return Ok{};
      }
    }
    return wrong("\"op\" must be insert, update, delete or truncate");
  }

  Status read_object(std::string_view name, const element& value, std::vector<NamedValue>& out) {
    simdjson::dom::object object;
    if (value.get(object) != simdjson::SUCCESS) {
      return wrong("\"" + std::string(name) + "\" must be an object of column names and values");
    }
    for (const auto& [column, cell] : object) {
      const bool taken = std::any_of(
          out.begin(), out.end(), [&, key = column](const NamedValue& v) { return v.name == key; });
      if (taken) return wrong("column \"" + std::string(column) + "\" is given twice");
      out.push_back({column, value_of(cell)});
    }
    return Ok{};
  }

  /// Lists, objects and integers beyond 63 bits travel as their JSON text.
  Value value_of(const element& value) {
    switch (value.type()) {
      case element_type::NULL_VALUE:
        return Value::null();
      case element_type::BOOL:
        return Value::flag(bool(value));
      case element_type::INT64:
        return Value::of_integer(std::int64_t(value));
      case element_type::DOUBLE:
        return Value::of_real(double(value));
      case element_type::STRING:
        return Value::of_text(std::string_view(value));
      case element_type::UINT64:  // an identity, which a double would blur
      case element_type::ARRAY:
      case element_type::OBJECT:
        break;
    }
    return Value::of_text(nested_.emplace_back(simdjson::minify(value)));
  }

  Result<TableId> find_table() const {
    if (table_.empty()) return wrong("\"table\" is missing");
    if (const std::optional<TableId> id = schema_.find(table_)) return *id;
    std::vector<std::string> names;
    for (const Table& table : schema_.tables())
      names.push_back(table.name);
    const std::string near = nearest_name(table_, names);
    return wrong("unknown table \"" + std::string(table_) + "\"" +
                 (near.empty() ? "" : "; did you mean \"" + near + "\"?"));
  }

  /// The row's values in the order of the table's layout, which grows by new names.
  Status fill_cells(TableId id) {
    const Table& table = schema_.table(id);
    if (change_.op == Op::Truncate) {
      return row_.empty() ? Status(Ok{}) : wrong("a truncate has no row");
    }
    if (change_.op != Op::Insert && table.key.empty()) {
      return wrong("table \"" + table.name + "\" has no key, so it takes inserts only");
    }
    std::vector<std::string>& columns = tables_[id.value].layout.columns;
    // What an update does not say stands; what an insert or a delete does not say is NULL.
    const Value absent = change_.op == Op::Update ? Value::unchanged() : Value::null();
    change_.cells.assign(columns.size(), absent);
    for (const auto& [name, value] : row_) {
      const std::optional<ColumnId> column = table.find(name);
      if (column && table.columns[column->value].kind == ColumnKind::Ignored) continue;
      const auto at = std::find(columns.begin(), columns.end(), name);
      const auto cell = static_cast<std::size_t>(at - columns.begin());
      if (at == columns.end()) {
        columns.emplace_back(name);
        tables_[id.value].declared = false;
        change_.cells.push_back(absent);
      }
      change_.cells[cell] = value;
      if (column && table.time == *column) ACCRETE_DO(read_time(name, table, change_.cells[cell]));
    }
    return check_key(table);
  }

  static Status read_time(std::string_view name, const Table& table, Value& cell) {
    if (cell.is_null()) return Ok{};
    const std::optional<TimeUs> time = value_time(cell, table.time_unit);
    if (!time) {
      return wrong("column \"" + std::string(name) + "\": \"" + value_text(cell) +
                   "\" is no time, expected text such as \"2026-01-31T12:00:00Z\"");
    }
    cell = Value::of_time(*time);
    return Ok{};
  }

  static const NamedValue* find(const std::vector<NamedValue>& values, std::string_view name) {
    for (const NamedValue& value : values) {
      if (value.name == name) return &value;
    }
    return nullptr;
  }

  Status check_key(const Table& table) {
    for (const ColumnId id : table.key) {
      const std::string& name = table.columns[id.value].name;
      const NamedValue* cell = find(row_, name);
      if (cell == nullptr || cell->value.is_null()) {
        return wrong("table \"" + table.name + "\": the row lacks its key column \"" + name + "\"");
      }
      if (old_key_.empty()) continue;
      const NamedValue* old = find(old_key_, name);
      if (old == nullptr || change_.op != Op::Update) {
        return wrong("\"old_key\" belongs to an update and names every key column of table \"" +
                     table.name + "\"");
      }
      change_.old_key.push_back(old->value);
    }
    return Ok{};
  }

  void put(TableId id, SourceTransaction& out) {
    TableState& table = tables_[id.value];
    if (!table.declared) {
      table.declared = true;
      table.hash = table.layout.hash();
      encode_layout(table.layout, out.bytes);
      close_record(out);
    }
    change_.layout = table.hash;
    encode_change(change_, out.bytes);
    close_record(out);
    ++out.rows;
  }

  static void close_record(SourceTransaction& out) {
    ACCRETE_CHECK(out.bytes.size() <= std::numeric_limits<std::uint32_t>::max());
    out.ends.push_back(static_cast<std::uint32_t>(out.bytes.size()));
  }

  const Schema& schema_;
  std::vector<TableState> tables_;
  simdjson::dom::parser parser_;
  std::string_view table_;
  std::vector<NamedValue> row_;
  std::vector<NamedValue> old_key_;
  std::deque<std::string> nested_;  // texts made here; a deque, for values view them
  Change change_;
};

class JsonlSource final : public RowSource {
 public:
  JsonlSource(std::string path, const Schema& schema) : path_(std::move(path)), reader_(schema) {
    if (path_ != "-") {
      std::error_code fault;
      file_.open(path_, std::ios::binary);
      const std::uintmax_t size = std::filesystem::file_size(path_, fault);
      bytes_total_ = fault ? 0 : size;
    }
  }

  bool good() const { return path_ == "-" || file_.is_open(); }

  std::string name() const override {
    std::error_code fault;
    const std::filesystem::path whole = std::filesystem::weakly_canonical(path_, fault);
    const std::string name = "jsonl:" + (fault || path_ == "-" ? path_ : whole.string());
    return name.size() <= limits::name_bytes_max ? name : "jsonl:" + std::to_string(hash64(name));
  }

  Result<bool> next(SourceTransaction& out) override {
    // A row without "tx" is whole by itself: whoever types rows sees each of them go.
    if (!open_.ends.empty() && open_tx_.empty()) return give(out);
    while (read_line()) {
      if (line_.find_first_not_of(" \t\r") == std::string::npos) continue;
      std::string tx;
      clear(row_);
      if (Status read = reader_.read(line_, row_, tx); !read) {
        return Error{read.error().code,
                     path_ + ":" + std::to_string(line_number_) + ": " + read.error().detail};
      }
      if (!open_.ends.empty() && tx == open_tx_) {
        ACCRETE_DO(join());
        continue;
      }
      const bool complete = !open_.ends.empty();
      if (complete) give(out);
      std::swap(open_, row_);
      std::swap(open_tx_, tx);
      if (complete) return true;
      if (open_tx_.empty()) return give(out);
    }
    if (input().bad()) return Error{Errc::Unavailable, path_ + ": reading failed"};
    if (open_.ends.empty()) return false;
    return give(out);
  }

  Progress progress() const override { return {rows_, bytes_done_, bytes_total_}; }

 private:
  std::istream& input() { return path_ == "-" ? std::cin : file_; }

  static void clear(SourceTransaction& transaction) {
    transaction.bytes.clear();
    transaction.ends.clear();
    transaction.rows = 0;
  }

  /// Hand the open transaction to the caller and begin with nothing.
  bool give(SourceTransaction& out) {
    std::swap(out, open_);
    clear(open_);
    open_tx_.clear();
    out.position = ++position_;
    rows_ += out.rows;
    return true;
  }

  /// Add the line just read to the open transaction.
  Status join() {
    const std::size_t before = open_.bytes.size();
    if (before + row_.bytes.size() > std::numeric_limits<std::uint32_t>::max()) {
      return Error{Errc::Exhausted, path_ + ":" + std::to_string(line_number_) + ": transaction " +
                                        open_tx_ + " is larger than 4 GiB; give its rows several"};
    }
    open_.bytes += row_.bytes;
    for (const std::uint32_t end : row_.ends) {
      open_.ends.push_back(static_cast<std::uint32_t>(before + end));
    }
    open_.rows += row_.rows;
    return Ok{};
  }

  bool read_line() {
    if (!std::getline(input(), line_)) return false;
    ++line_number_;
    bytes_done_ += line_.size() + 1;
    return true;
  }

  std::string path_;
  LineReader reader_;
  std::ifstream file_;
  std::string line_;
  SourceTransaction row_;   // of the line just read
  SourceTransaction open_;  // being collected
  std::string open_tx_;
  std::uint64_t line_number_ = 0;
  std::uint64_t bytes_done_ = 0;
  std::uint64_t bytes_total_ = 0;
  std::uint64_t position_ = 0;
  std::uint64_t rows_ = 0;
};

}  // namespace

Result<std::unique_ptr<RowSource>> open_jsonl(const std::string& path, const Schema& schema) {
  auto source = std::make_unique<JsonlSource>(path, schema);
  if (!source->good()) {
    return Error{Errc::NotFound,
                 path + ": cannot be opened; name a readable file, or - for " + "standard input"};
  }
  return std::unique_ptr<RowSource>(std::move(source));
}

}  // namespace accrete::daemon
