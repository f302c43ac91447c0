// The rows of one table file as encoded changes, in file order or in the order of their times.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/csv_reader.h"
#include "proto/codec.h"
#include "proto/ids.h"
#include "proto/result.h"
#include "proto/schema.h"

namespace accrete::daemon {

class CsvTable {
 public:
  enum class Order : std::uint8_t { File, Time };

  /// Read the header; `table` must outlive the object. With Order::Time the file is read once
  /// ahead: where its rows do not already rise in time they are all kept in memory and sorted
  /// (stable; rows without a time first), up to sorted_bytes_max.
  /// Errors: Malformed with file:line for a header without a key, time or foreign-key column, a
  ///         duplicate or empty column name, and as advance(); Exhausted over sorted_bytes_max
  ///         ("sort the file by its time column first"); NotFound, Unavailable.
  static Result<CsvTable> open(const std::string& path, const Table& table, Order order);

  static constexpr std::size_t sorted_bytes_max = std::size_t{1} << 30;

  /// Step to the next row, which there is not before the first call; false at the end.
  /// Errors: Malformed with file:line for a wrong number of cells or an unparsable time.
  Result<bool> advance();

  /// Time of the row at hand; kTimeMin if it has none.
  TimeUs time() const { return time_; }
  /// Append the row at hand as a wire.Record.
  void append_row(std::string& out) const;
  /// Append the layout as a wire.Record; it goes before the first row.
  void append_layout(std::string& out) const;

  const std::string& path() const { return reader_.path(); }
  std::uint64_t bytes_total() const { return bytes_total_; }
  std::uint64_t bytes_done() const;

 private:
  enum class CellRole : std::uint8_t { Guess, Text, Time, Ignored };
  struct SortedRow {
    TimeUs time;
    std::size_t begin;
    std::uint32_t bytes;
  };

  CsvTable(CsvReader reader, const Table& table) : reader_(std::move(reader)), table_(&table) {}
  Status read_header();
  /// True if the rows already rise in time and all have one.
  Result<bool> in_time_order();
  Status sort_rows();
  Result<bool> read_row();
  Result<TimeUs> time_of(std::string_view cell);

  CsvReader reader_;
  const Table* table_;
  Layout layout_;
  std::vector<CellRole> roles_;  // by cell of the file
  std::vector<std::string_view> cells_;
  Change change_;
  TimeUs time_ = kTimeMin;
  std::string last_time_text_;  // many rows in a row share their time: parse it once
  TimeUs last_time_;
  std::uint64_t bytes_total_ = 0;
  // Order::Time over a file that is not in order:
  bool sorted_ = false;
  std::string sorted_bytes_;
  std::vector<SortedRow> sorted_rows_;
  std::size_t next_row_ = 0;
};

}  // namespace accrete::daemon
