// What rows show to the graph network, shared by all tasks of a fold: standardised numbers that
// change only when told to, the rows they name, their own time and the data block they came in.
//
// A row's own time is what its time column says, but not later than its version began; without a
// time column (or a null in it) the moment its version began. Features do not depend on when they
// are read: times among them are told relative to the row's own time.
//
// Columns of kind Set are told as items, a column of their own each, not as numbers.
//
// Threads: one owner, the fold. Determinism: what is kept in the cache decides nothing.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/row_reader.h"
#include "models/encoder.h"
#include "models/feature_scale.h"
#include "models/large_pages.h"
#include "models/sparse_encoder.h"
#include "proto/ids.h"
#include "proto/schema.h"
#include "proto/value.h"
#include "store/graph.h"
#include "store/state.h"

namespace accrete::daemon {

/// A column that somebody must not see.
struct MaskedColumn {
  TableId table;
  ColumnId column;
};

class NetworkRows {
 public:
  static constexpr std::uint32_t kNoRow = 0xFFFF'FFFF;

  /// Schema, graph and reader must outlive it. The cache takes at most `cache_bytes_max`.
  NetworkRows(const Schema& schema, store::Graph& graph, RowReader& rows,
              std::size_t cache_bytes_max);

  /// Look at a row when it is folded; `cells` are complete (what RowReader says, not `unchanged`),
  /// `from` is when its version begins. Cost: an encoding, and a few flops a position.
  void observe(TableId table, std::span<const Value> cells, TimeUs from);
  /// What the table's encoder made of the row last observed.
  std::span<const double> observed() const { return encoded_; }
  /// Positions of the table's encoder that only name the row.
  std::vector<bool> names(TableId table) const;
  /// From now on features are standardised with the moments of now, and all that has shown itself
  /// until now has a column. Cost: positions; the cache is empty after it.
  void freeze();

  /// Columns of a table's features as of the last freeze(); 0 before the first. Never shrinks: a
  /// feature row of the past has the columns of the future, as far as there were any.
  ///
  /// A column is a position of the encoder, standardised and clipped to ±4, 0 where it is missing
  /// or only names the row (RowEncoder::name_positions: a network learns outcomes by such names);
  /// or, behind those that were there first, 1 where a column of the table that often misses does.
  std::size_t width(TableId table) const { return tables_[table.value].shown.size(); }
  /// Columns of the features that a column of the table has, ascending; replaces `out`.
  void columns_of(MaskedColumn masked, std::vector<std::uint32_t>& out) const;

  /// Items that a table's columns of kind Set have held so far, a column each; bounded. Numbers of
  /// the kind are not shown besides: 64 sums of them say less. Never shrinks.
  std::size_t items(TableId table) const { return tables_[table.value].items.keys().size(); }
  bool has_items(TableId table) const { return !tables_[table.value].not_items.empty(); }

  /// What one version of a row shows.
  struct View {
    std::span<const float> features;  ///< width() of them
    std::span<const models::SparseEntry> items;
    std::span<const std::uint32_t> parents;  ///< rows by foreign key; kNoRow: it names none
    TimeUs time;                             ///< its own; kTimeMin: it has none
  };
  /// Good until the next call. A parent may have no version. A row that cannot be read shows zeros
  /// (RowReader::failure() stops the fold). Cost: a read of RAM for a row that is kept, else its
  /// content is read and encoded.
  View view(NodeId node, const store::Version& version);
  /// A hint that view() of this row will be asked for soon. Changes nothing, and so always inlined:
  /// GCC drops calls of a function that does nothing but fetch ahead.
  [[gnu::always_inline]] void prefetch(NodeId node) const {
    const TableState& table = tables_[node.table.value];
    if (table.slot_count == 0) return;
    const std::size_t bytes = table.slots.size() >> std::countr_zero(table.slot_count);
    const std::byte* const slot = table.slots.data() + (node.row & (table.slot_count - 1)) * bytes;
    for (std::size_t at = 0; at < bytes && at < kPrefetchBytes; at += 64)
      __builtin_prefetch(slot + at);
  }

  /// A new data block begins at `at`: all rows that the graph gets from now on belong to it, and so
  /// does `newcomer`, the row that it got last (nullopt: a row began it that was there before).
  void begin_block(std::optional<NodeId> newcomer, TimeUs at);
  std::uint32_t blocks() const { return static_cast<std::uint32_t>(block_times_.size()) + 1; }
  /// The block in which a row was first mentioned; it never changes. Cost: O(log blocks).
  std::uint32_t block(NodeId node) const;
  /// The block of what became known at a time.
  std::uint32_t block_at(TimeUs time) const;

  std::size_t memory_bytes() const;

  /// Writes the tables that changed since the last call.
  void stage(store::State& state);
  /// Errors: Corruption, Unavailable.
  Status load(store::State& state);

 private:
  static constexpr std::size_t kPrefetchBytes = 256;  // more than most rows take

  /// A column of the features.
  struct Shown {
    std::uint32_t index = 0;  // position of the encoder, or column of the table
    bool missing = false;     // 1 where that column is missing
    bool name = false;        // shows 0: it only says which row it is
  };
  struct TableState {
    TableState();

    models::RowEncoder encoder;
    models::SparseEncoder items;
    std::vector<bool> not_items;  // by column; empty: the table has none of them
    bool items_dirty = false;
    models::FeatureScale scale;
    bool dirty = false;
    std::vector<std::uint32_t> block_rows;  // first rows of blocks 1, 2, …

    // As frozen.
    std::vector<Shown> shown;
    std::vector<std::uint32_t> column_of;  // position -> column of the table
    std::vector<std::uint32_t> first;      // column of the table -> its first position

    // The cache: a row's slot is its number modulo their count, a power of two.
    std::vector<std::byte, models::RoomAllocator<std::byte>> slots;
    std::vector<std::vector<models::SparseEntry>> item_slots;  // where the table has items
    std::size_t slot_count = 0;
  };
  /// The beginning of a slot; parents and features follow.
  struct SlotHead {
    Ordinal ordinal;  // 0: empty
    TimeUs from;      // of the version: a change may take effect twice
    TimeUs time;
    std::uint32_t row = 0;
    std::uint32_t frozen = 0;  // of which freeze() its features are
  };

  static TimeUs own_time(const Table& table, std::span<const Value> cells, TimeUs from);
  static void index_positions(TableState& table);
  void freeze(TableState& table);
  std::size_t stride(TableId id) const;
  std::byte* slot_of(TableId id, std::uint32_t row);
  static void regroup_items(TableState& table, std::size_t count);
  void forget_items(std::vector<models::SparseEntry>& items);
  bool keep_items(std::vector<models::SparseEntry>& items);
  void list_items(TableId id, std::span<const Value> cells, bool grow);
  bool read_parents(TableId id, std::span<const Value> cells, std::uint32_t* parents);
  void write_features(const TableState& table, float* features) const;
  void drop_slots(TableState& table);
  static void save(const TableState& table, std::string& out);
  static Status load(std::string_view bytes, TableState& table);
  Status load_blocks(std::string_view bytes);

  const Schema& schema_;
  store::Graph& graph_;
  RowReader& rows_;
  std::size_t cache_bytes_max_;
  std::size_t cache_bytes_ = 0;
  std::uint32_t frozen_ = 0;        // how often
  std::vector<TableState> tables_;  // by TableId
  std::vector<TimeUs> block_times_;
  bool blocks_dirty_ = false;

  std::vector<double> encoded_;
  models::RawRow raw_;
  std::vector<std::byte> spare_;  // a slot where none is kept
  std::vector<models::SparseEntry> spare_items_;
  std::string key_;
};

}  // namespace accrete::daemon
