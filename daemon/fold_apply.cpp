// Applying one row to the graph: versions, edges, and who is touched by them.
#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "daemon/fold.h"

namespace accrete::daemon {

Status Fold::apply(Ordinal ordinal, std::string_view entry, TimeUs time) {
  LogHeader header;
  ACCRETE_TRY(const auto bytes, decode_entry(entry, header));
  ACCRETE_DO(decode_record(bytes, applying_));
  if (applying_.kind == RecordKind::Mark) {  // of a block's end: no other waits
    network_->marked();
    return Ok{};
  }
  const Change& change = applying_.change;
  const BoundLayout* layout = layouts_.find(change.layout);
  ACCRETE_CHECK(layout != nullptr);  // admit_change() looked
  applied_ = ordinal;
  ++counters_.rows;
  ++table_changes_[layout->table.value][static_cast<std::size_t>(change.op)];
  ++since_checkpoint_;
  highest_ = std::max(highest_, ordinal);
  return take_effect(ordinal, entry, *layout, time);
}

/// Of `applying_`, from `time` on.
Status Fold::take_effect(Ordinal ordinal, std::string_view entry, const BoundLayout& layout,
                         TimeUs time) {
  const Change& change = applying_.change;
  const Table& table = schema_.table(layout.table);
  if (change.op == Op::Truncate) return truncate(layout.table, ordinal, time);
  key_.clear();
  key_of(change, layout, table, key_);
  if (change.op == Op::Delete) {
    const auto known = graph_->find(layout.table, key_);
    const bool there = known && graph_->newest_version(*known);
    if (!there) ++counters_.unknown_deletes;
    // The row may be one of those that wait.
    if (!there && timeline_.waiting() == 0) return Ok{};
    const NodeId node = there ? *known : graph_->intern(layout.table, key_);
    if (there) remove(node, ordinal, time);
    if (!there) put_version(node, {time, ordinal, true});
    return apply_again(node, ordinal, time);
  }
  std::optional<NodeId> gone;
  if (change.op == Op::Update && !change.old_key.empty()) {
    std::string old_key;
    for (const Value& value : change.old_key)
      append_key(old_key, value);
    const auto old_node = graph_->find(layout.table, old_key);
    if (old_node && old_key != key_) {
      remove(*old_node, ordinal, time);
      gone = old_node;
    } else if (!old_node) {
      ++counters_.unknown_deletes;
    }
  }
  const std::uint32_t rows_before = graph_->node_count(layout.table);
  const NodeId node =
      table.key.empty() ? graph_->append(layout.table) : graph_->intern(layout.table, key_);
  cells_in_column_order(change, layout, table, cells_);
  // What replaces a row often has its time, which was before its end; without a time it was there
  // always. It cannot have been there while the row was gone.
  const auto newest = graph_->newest_version(node);
  const bool returns = change.op == Op::Insert && newest && newest->deleted;
  // A row whose own time is yet to come may be changed before: from that time on it is the new one.
  const bool early = change.op == Op::Update && newest && !newest->deleted && time < newest->from &&
                     !graph_->version(node, time);
  ACCRETE_DO(upsert(node, node.row >= rows_before, ordinal, entry,
                    returns || early ? std::max(time, newest->from) : time));
  if (gone) ACCRETE_DO(apply_again(*gone, ordinal, time));
  return apply_again(node, ordinal, time);
}

/// Changes of a row take effect at their times, but one that came later was made later: the last
/// that says all of the row, where it took effect earlier, does so again behind what is folded only
/// now. So a DELETE that waited does not end the row that an INSERT behind it brought, and a row
/// that was to come stays as it was changed, or deleted, before.
Status Fold::apply_again(NodeId node, Ordinal ordinal, TimeUs time) {
  if (ordinal >= highest_) return Ok{};
  const auto newest = graph_->newest_version(node);
  if (!newest || newest->ordinal != ordinal) return Ok{};
  time = std::max(time, newest->from);
  const auto before = [&](Ordinal end) { return graph_->version_before(node, {kTimeMax, end}); };
  for (auto later = before(Ordinal{highest_.value + 1}); later && later->ordinal > ordinal;
       later = before(later->ordinal)) {
    if (later->deleted) {
      remove(node, later->ordinal, time);
      return Ok{};
    }
    std::string entry;
    ACCRETE_DO(log_.get(later->ordinal, entry));
    LogHeader header;
    ACCRETE_TRY(const auto bytes, decode_entry(entry, header));
    ACCRETE_DO(decode_record(bytes, applying_));
    const BoundLayout* layout = layouts_.find(applying_.change.layout);
    ACCRETE_CHECK(layout != nullptr);
    cells_in_column_order(applying_.change, *layout, schema_.table(layout->table), cells_);
    const bool whole = std::ranges::none_of(
        cells_, [](const Value& cell) { return cell.kind == ValueKind::Unchanged; });
    if (whole) return upsert(node, false, later->ordinal, entry, time);
  }
  return Ok{};
}

void Fold::put_version(NodeId node, const store::Version& version) {
  graph_->put_version(node, version);
  if (version.ordinal < highest_) rows_->forget_after(node, version.ordinal, highest_);
}

Status Fold::upsert(NodeId node, bool is_new, Ordinal ordinal, std::string_view entry,
                    TimeUs time) {
  const auto newest = graph_->newest_version(node);
  const store::Version version{time, ordinal, false};
  synthesis_->changing(node, newest, time);
  put_version(node, version);
  changed(node, time);
  if (content_matters_[node.table.value]) rows_->remember(node, version, entry, cells_);
  if (network_ != nullptr) {
    if (const RowContent* row = rows_->content(node, version)) {
      network_->folded(node, is_new, row->cells, time, std::max(now_, time));
    }
  }
  // A version older than the newest is late: the edges follow the newest, or ended with it.
  const bool newer = !newest || newest->from <= time;
  const bool arrives = newer && (!newest || newest->deleted);
  if (arrives) {
    link_parents(node, version);
  } else if (newer) {
    relink(node, *newest, version);
  }
  if (!tasks_of_entity_[node.table.value].empty()) {
    const Emit emit = emitter();
    for (const std::size_t task : tasks_of_entity_[node.table.value]) {
      // Read anew for each: a task may read other rows, and the reader's content goes then.
      const RowContent* row = rows_->content(node, version);
      if (row == nullptr) continue;  // remembered as the reader's failure
      ACCRETE_DO(tasks_[task]->row_folded(
          {node.row, row->cells, std::max(now_, time), arrives, time}, state_, emit, sink_));
      ACCRETE_DO(tell_alarms(*tasks_[task]));
      ACCRETE_DO(tell_experts(*tasks_[task]));
    }
  }
  return Ok{};
}

/// The parent that a foreign key of these cells names; nullopt where it is null.
std::optional<NodeId> Fold::parent_of(const Relation& relation, std::span<const Value> cells) {
  const ForeignKey& foreign = schema_.table(relation.child).foreign_keys[relation.foreign_key];
  key_.clear();
  for (const ColumnId column : foreign.columns) {
    if (column.value >= cells.size()) return std::nullopt;
    const Value& cell = cells[column.value];
    if (cell.is_null() || cell.kind == ValueKind::Unchanged) return std::nullopt;
    append_key(key_, cell);
  }
  return graph_->intern(relation.parent, key_);
}

/// A row got a version, or ended. One that is yet to take effect is nobody's news.
void Fold::changed(NodeId node, TimeUs time) {
  if (time < timeline_.watermark()) newest_change_ = std::max(newest_change_, time);
  for (const auto& frontier : frontiers_) {
    if (frontier != nullptr) frontier->changed(node);
  }
}

/// As of when the instant's changes are told: a late row may have taken effect after the newest
/// that was in time, and is to be seen.
TimeUs Fold::changed_at() const {
  return now_ == kTimeMin ? now_ : std::max(now_, newest_change_);
}

/// Whoever reads what the instant changed is touched by it.
void Fold::touch_frontiers(TimeUs at) {
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    if (frontiers_[i] == nullptr) continue;
    for (const std::uint32_t row : frontiers_[i]->take(at))
      tasks_[i]->touch(row);
  }
}

std::uint64_t Fold::frontiers_cut() const {
  std::uint64_t cut = 0;
  for (const auto& frontier : frontiers_)
    cut += frontier == nullptr ? 0 : frontier->cut();
  return cut;
}

void Fold::touch_parent(NodeId parent) {
  for (const auto& frontier : frontiers_) {
    if (frontier != nullptr) frontier->relisted(parent);
  }
  for (const std::size_t task : tasks_of_entity_[parent.table.value]) {
    tasks_[task]->touch(parent.row);
  }
}

/// Where a row hangs by these cells.
Fold::Place Fold::place_of(TableId table_id, std::span<const Value> cells) {
  const Table& table = schema_.table(table_id);
  Place place;
  for (const RelationId id : relations_of_child_[table_id.value]) {
    place.parents.push_back(parent_of(schema_.relations()[id.value], cells));
  }
  if (table.time && table.time->value < cells.size()) {
    place.time = value_time(cells[table.time->value], table.time_unit);
  }
  return place;
}

/// The same for the version just put, whose cells are at hand but for those it leaves unchanged.
Fold::Place Fold::place_of(NodeId node, const store::Version& version) {
  const bool whole = std::none_of(cells_.begin(), cells_.end(), [](const Value& cell) {
    return cell.kind == ValueKind::Unchanged;
  });
  if (whole || relations_of_child_[node.table.value].empty()) return place_of(node.table, cells_);
  const RowContent* row = rows_->content(node, version);
  return place_of(node.table, row == nullptr ? std::span<const Value>() : std::span(row->cells));
}

void Fold::link_parents(NodeId node, const store::Version& version) {
  const auto& relations = relations_of_child_[node.table.value];
  const Place place = place_of(node, version);
  for (std::size_t i = 0; i < relations.size(); ++i) {
    const auto& parent = place.parents[i];
    if (!parent) continue;
    graph_->link(relations[i], *parent, node, version.from);
    touch_parent(*parent);
  }
}

/// An update: an edge whose foreign key (or whose row's event time) changed ends, and the new one
/// begins when the change takes effect, so that no reading as of an earlier time sees it.
void Fold::relink(NodeId node, const store::Version& previous, const store::Version& version) {
  const auto& relations = relations_of_child_[node.table.value];
  if (relations.empty()) return;
  const Place place = place_of(node, version);
  const RowContent* old_row = rows_->content(node, previous);
  if (old_row == nullptr) return;
  const Place old_place = place_of(node.table, old_row->cells);
  for (std::size_t i = 0; i < relations.size(); ++i) {
    const auto& parent = place.parents[i];
    const auto& old_parent = old_place.parents[i];
    if (parent == old_parent && place.time == old_place.time) {
      if (parent) touch_parent(*parent);
      continue;
    }
    if (old_parent) {
      graph_->unlink(relations[i], *old_parent, node, version.from);
      touch_parent(*old_parent);
    }
    if (parent) {
      graph_->link(relations[i], *parent, node, version.from);
      touch_parent(*parent);
    }
  }
}

/// A row that was to come later never comes: it ends as it begins.
void Fold::remove(NodeId node, Ordinal ordinal, TimeUs time) {
  const auto newest = graph_->newest_version(node);
  if (!newest || newest->deleted) return;
  time = std::max(time, newest->from);
  synthesis_->changing(node, newest, time);
  if (const auto& relations = relations_of_child_[node.table.value]; !relations.empty()) {
    const RowContent* row = rows_->content(node, *newest);
    const std::vector<Value> cells = row == nullptr ? std::vector<Value>() : row->cells;
    for (const RelationId id : relations) {
      if (const auto parent = parent_of(schema_.relations()[id.value], cells)) {
        graph_->unlink(id, *parent, node, time);
        touch_parent(*parent);
      }
    }
  }
  put_version(node, {time, ordinal, true});
  changed(node, time);
  for (const std::size_t task : tasks_of_entity_[node.table.value])
    tasks_[task]->row_removed(node.row);
}

Status Fold::truncate(TableId table, Ordinal ordinal, TimeUs time) {
  const std::uint32_t count = graph_->node_count(table);
  for (std::uint32_t row = 0; row < count; ++row) {
    remove(NodeId{table, row}, ordinal, time);
    ACCRETE_DO(apply_again(NodeId{table, row}, ordinal, time));
  }
  return Ok{};
}

}  // namespace accrete::daemon
