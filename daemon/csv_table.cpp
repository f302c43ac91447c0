// The rows of one table file as encoded changes.
#include "daemon/csv_table.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "proto/time.h"
#include "proto/value.h"

namespace accrete::daemon {

Result<CsvTable> CsvTable::open(const std::string& path, const Table& table, Order order) {
  ACCRETE_TRY(CsvReader reader, CsvReader::open(path));
  CsvTable file(std::move(reader), table);
  ACCRETE_DO(file.read_header());
  std::error_code ignored;
  const std::uintmax_t size = std::filesystem::file_size(path, ignored);
  file.bytes_total_ = ignored ? 0 : size;
  if (order == Order::File || !table.time) return file;

  ACCRETE_TRY(const bool in_order, file.in_time_order());
  ACCRETE_TRY(file.reader_, CsvReader::open(path));
  ACCRETE_DO(file.read_header());
  if (!in_order) ACCRETE_DO(file.sort_rows());
  return file;
}

Status CsvTable::read_header() {
  ACCRETE_TRY(const bool found, reader_.next(cells_));
  if (!found) return reader_.malformed("the file is empty; its first line must name the columns");
  layout_ = {table_->name, {}};
  roles_.clear();
  std::vector<std::string> names;
  for (const std::string_view cell : cells_) {
    if (cell.empty()) return reader_.malformed("a column without a name in the header");
    if (std::find(names.begin(), names.end(), cell) != names.end()) {
      return reader_.malformed("column \"" + std::string(cell) + "\" is in the header twice");
    }
    names.emplace_back(cell);
    const std::optional<ColumnId> column = table_->find(cell);
    const ColumnKind kind = column ? table_->columns[column->value].kind : ColumnKind::Inferred;
    if (kind == ColumnKind::Ignored) {
      roles_.push_back(CellRole::Ignored);
      continue;
    }
    layout_.columns.emplace_back(cell);
    roles_.push_back(column && table_->time == *column ? CellRole::Time
                     : kind == ColumnKind::Text        ? CellRole::Text
                                                       : CellRole::Guess);
  }
  const auto demand = [&](ColumnId id, std::string_view role) -> Status {
    const std::string& name = table_->columns[id.value].name;
    if (std::find(names.begin(), names.end(), name) != names.end()) return Ok{};
    const std::string near = nearest_name(name, names);
    return reader_.malformed("the header lacks " + std::string(role) + " column \"" + name +
                             "\" of table \"" + table_->name + "\"" +
                             (near.empty() ? "" : "; is it \"" + near + "\"?"));
  };
  for (const ColumnId id : table_->key)
    ACCRETE_DO(demand(id, "key"));
  if (table_->time) ACCRETE_DO(demand(*table_->time, "time"));
  for (const ForeignKey& key : table_->foreign_keys) {
    for (const ColumnId id : key.columns)
      ACCRETE_DO(demand(id, "foreign-key"));
  }
  change_.layout = layout_.hash();
  change_.op = Op::Insert;
  return Ok{};
}

Result<TimeUs> CsvTable::time_of(std::string_view cell) {
  if (cell.empty()) return kTimeMin;
  if (cell == last_time_text_) return last_time_;
  std::optional<TimeUs> time = try_parse_time(cell);
  if (!time) time = value_time(guess_value(cell), table_->time_unit);
  if (!time) {
    const Result<TimeUs> wrong = parse_time(cell);
    return reader_.malformed("column \"" + table_->columns[table_->time->value].name +
                             "\": " + (wrong ? "out of range" : wrong.error().detail));
  }
  last_time_text_ = cell;
  last_time_ = *time;
  return last_time_;
}

Result<bool> CsvTable::in_time_order() {
  const auto time_cell = static_cast<std::size_t>(
      std::find(roles_.begin(), roles_.end(), CellRole::Time) - roles_.begin());
  TimeUs previous = kTimeMin;
  while (true) {
    ACCRETE_TRY(const bool found, reader_.next(cells_));
    if (!found) return true;
    if (time_cell >= cells_.size()) return false;  // read_row() will say what is wrong
    ACCRETE_TRY(const TimeUs time, time_of(cells_[time_cell]));
    if (time == kTimeMin || time < previous) return false;
    previous = time;
  }
}

Status CsvTable::sort_rows() {
  sorted_ = true;
  while (true) {
    ACCRETE_TRY(const bool found, read_row());
    if (!found) break;
    const std::size_t begin = sorted_bytes_.size();
    encode_change(change_, sorted_bytes_);
    if (sorted_bytes_.size() > sorted_bytes_max) {
      return Error{Errc::Exhausted, reader_.path() + ": its rows are not in the order of \"" +
                                        table_->columns[table_->time->value].name + "\" and over " +
                                        std::to_string(sorted_bytes_max) +
                                        " bytes, too much to sort in memory; sort the file first"};
    }
    sorted_rows_.push_back(
        {time_, begin, static_cast<std::uint32_t>(sorted_bytes_.size() - begin)});
  }
  std::stable_sort(sorted_rows_.begin(), sorted_rows_.end(),
                   [](const SortedRow& a, const SortedRow& b) { return a.time < b.time; });
  return Ok{};
}

Result<bool> CsvTable::read_row() {
  ACCRETE_TRY(const bool found, reader_.next(cells_));
  if (!found) return false;
  if (cells_.size() != roles_.size()) {
    return reader_.malformed(std::to_string(cells_.size()) + " cells, the header names " +
                             std::to_string(roles_.size()) + " columns");
  }
  time_ = kTimeMin;
  change_.cells.clear();
  for (std::size_t i = 0; i < cells_.size(); ++i) {
    const std::string_view cell = cells_[i];
    switch (roles_[i]) {
      case CellRole::Ignored:
        break;
      case CellRole::Guess:
        change_.cells.push_back(guess_value(cell));
        break;
      case CellRole::Text:
        change_.cells.push_back(cell.empty() ? Value::null() : Value::of_text(cell));
        break;
      case CellRole::Time: {
        ACCRETE_TRY(time_, time_of(cell));
        change_.cells.push_back(cell.empty() ? Value::null() : Value::of_time(time_));
        break;
      }
    }
  }
  return true;
}

Result<bool> CsvTable::advance() {
  if (!sorted_) return read_row();
  if (next_row_ == sorted_rows_.size()) return false;
  time_ = sorted_rows_[next_row_++].time;
  return true;
}

void CsvTable::append_row(std::string& out) const {
  if (!sorted_) {
    encode_change(change_, out);
    return;
  }
  const SortedRow& row = sorted_rows_[next_row_ - 1];
  out.append(sorted_bytes_, row.begin, row.bytes);
}

void CsvTable::append_layout(std::string& out) const {
  encode_layout(layout_, out);
}

std::uint64_t CsvTable::bytes_done() const {
  if (!sorted_) return reader_.bytes_done();
  if (sorted_rows_.empty()) return bytes_total_;
  return bytes_total_ * next_row_ / sorted_rows_.size();
}

}  // namespace accrete::daemon
