// Keys first, then pages, then lists, then the ends of lists.
#include "daemon/lookahead.h"

#include "daemon/row_reader.h"

namespace accrete::daemon {
namespace {

constexpr RelationId kOwnKey{0xFFFF};

}  // namespace

Lookahead::Lookahead(const Schema& schema, const Layouts& layouts, store::Graph& graph,
                     std::size_t graph_bytes_min)
    : schema_(schema),
      layouts_(layouts),
      graph_(graph),
      graph_bytes_min_(graph_bytes_min),
      relations_of_child_(schema.tables().size()) {
  for (std::size_t i = 0; i < schema.relations().size(); ++i) {
    relations_of_child_[schema.relations()[i].child.value].push_back(
        RelationId{static_cast<std::uint16_t>(i)});
  }
}

void Lookahead::add_key(TableId table, RelationId relation, const std::vector<ColumnId>& columns) {
  const std::size_t begin = keys_.size();
  for (const ColumnId column : columns) {
    const bool named = column.value < cells_.size() && !cells_[column.value].is_null() &&
                       cells_[column.value].kind != ValueKind::Unchanged;
    if (!named) {
      keys_.resize(begin);
      return;
    }
    append_key(keys_, cells_[column.value]);
  }
  touches_.push_back({relation, table, static_cast<std::uint32_t>(begin),
                      static_cast<std::uint32_t>(keys_.size() - begin), 0});
}

void Lookahead::warm(const LogSlice& slice, std::size_t begin, std::size_t end) {
  if (graph_.memory_bytes() < graph_bytes_min_) return;
  keys_.clear();
  touches_.clear();
  for (std::size_t i = begin; i < end; ++i) {
    LogHeader header;
    const auto bytes = decode_entry(slice.entry(i), header);
    if (!bytes || !decode_record(bytes.value(), record_)) return;  // the fold says what is wrong
    if (record_.kind != RecordKind::Change || record_.change.op == Op::Truncate) continue;
    const BoundLayout* layout = layouts_.find(record_.change.layout);
    if (layout == nullptr) continue;
    const Table& table = schema_.table(layout->table);
    cells_in_column_order(record_.change, *layout, table, cells_);
    if (!table.key.empty()) add_key(layout->table, kOwnKey, table.key);
    for (const RelationId id : relations_of_child_[layout->table.value]) {
      const Relation& relation = schema_.relations()[id.value];
      add_key(relation.parent, id, table.foreign_keys[relation.foreign_key].columns);
    }
  }
  for (const Touch& touch : touches_)
    graph_.prefetch_key(touch.table, key(touch));
  std::size_t found = 0;
  for (Touch touch : touches_) {
    if (touch.relation == kOwnKey) continue;
    const auto row = graph_.cached_row(touch.table, key(touch));
    if (!row) continue;
    touch.row = *row;
    touches_[found++] = touch;
  }
  touches_.resize(found);
  using Stage = store::Graph::ListStage;
  for (const Stage stage : {Stage::Page, Stage::List, Stage::Tail, Stage::Directory}) {
    for (const Touch& touch : touches_)
      graph_.prefetch_list(touch.relation, touch.row, stage);
  }
}

}  // namespace accrete::daemon
