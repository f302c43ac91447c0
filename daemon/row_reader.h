// Row contents by log position: the graph says which record is valid when, this reads it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proto/codec.h"
#include "proto/ids.h"
#include "proto/result.h"
#include "proto/schema.h"
#include "store/graph.h"
#include "store/log.h"

namespace accrete::daemon {

/// One decoded row, cells in column order of its table. Views point into the reader's cache.
struct RowContent {
  Ordinal ordinal;
  TableId table;
  std::string bytes;         ///< the log entry
  std::vector<Value> cells;  ///< index = ColumnId; columns a row does not have are null

  const Value& at(ColumnId column) const {
    static const Value kNull{};
    return column.value < cells.size() ? cells[column.value] : kNull;
  }
};

class RowReader {
 public:
  /// `rows_max` slots of cache; rows over 16 KiB are read but not kept.
  RowReader(const store::Log& log, const Schema& schema, const Layouts& layouts,
            store::Graph& graph, std::size_t rows_max);

  /// The row of `node` valid at `as_of`, or nullptr when there is none. The pointer is good until
  /// the next call. `unchanged` cells are filled in from older versions.
  const RowContent* row(NodeId node, TimeUs as_of);

  /// The row that `version` names. Same lifetime.
  const RowContent* content(NodeId node, const store::Version& version);

  /// Put a row just decoded into the cache: the fold reads most rows soon after it wrote them.
  /// `cells` are in column order and may point into `entry`, the log entry they were decoded from.
  void remember(NodeId node, const store::Version& version, std::string_view entry,
                std::span<const Value> cells);
  /// A version was put below those that were logged after `ordinal`, up to `newest`: what is kept
  /// of these may have cells from another one now. Cost: linear in the row's versions.
  void forget_after(NodeId node, Ordinal ordinal, Ordinal newest);

  std::size_t memory_bytes() const { return memory_bytes_; }
  /// First failed read since opening.
  const std::optional<Error>& failure() const { return failure_; }

 private:
  struct Slot {
    RowContent row;
    std::vector<std::string> inherited;  ///< texts of `unchanged` cells
  };
  Slot& slot_of(Ordinal ordinal);
  bool load(const store::Version& version, Slot& slot);
  void inherit(NodeId node, const store::Version& version, Slot& slot);

  const store::Log& log_;
  const Schema& schema_;
  const Layouts& layouts_;
  store::Graph& graph_;
  std::vector<Slot> slots_;
  Slot large_;
  Record record_;
  std::size_t memory_bytes_ = 0;
  std::optional<Error> failure_;
};

/// Cells of a decoded change in column order of its table (missing columns: null in an insert,
/// unchanged in an update).
void cells_in_column_order(const Change& change, const BoundLayout& layout, const Table& table,
                           std::vector<Value>& cells);

}  // namespace accrete::daemon
