// Encoding, freezing, the cache of encoded rows, blocks, and what is saved of them.
#include "daemon/network_rows.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "models/state_bytes.h"

namespace accrete::daemon {
namespace {

using store::Section;

constexpr double kClip = 4;
// A column that misses more rarely than this would cost a weight that hardly ever learns.
constexpr double kOftenMissing = 0.01;
constexpr std::size_t kSlotsMin = 256;
constexpr std::size_t kItemsMax = 1u << 14;  // of a table; later ones share the last sixteenth
constexpr std::uint32_t kNoPosition = 0xFFFF'FFFF;
constexpr const char* kBlocksKey = "/network/blocks";

std::string table_key(std::size_t table) {
  return "/network/rows/" + std::to_string(table);
}

std::string items_key(std::size_t table) {
  return "/network/items/" + std::to_string(table);
}

}  // namespace

NetworkRows::NetworkRows(const Schema& schema, store::Graph& graph, RowReader& rows,
                         std::size_t cache_bytes_max)
    : schema_(schema),
      graph_(graph),
      rows_(rows),
      cache_bytes_max_(cache_bytes_max),
      tables_(schema.tables().size()) {
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    const auto& columns = schema.tables()[t].columns;
    const auto is_set = [](const Column& column) { return column.kind == ColumnKind::Set; };
    if (std::ranges::none_of(columns, is_set)) continue;
    for (const Column& column : columns)
      tables_[t].not_items.push_back(!is_set(column));
  }
}

NetworkRows::TableState::TableState() : items(kItemsMax) {}

/// Entries of the row into raw_.
void NetworkRows::list_items(TableId id, std::span<const Value> cells, bool grow) {
  TableState& table = tables_[id.value];
  const std::size_t before = table.items.keys().size();
  // Columns that came after the table was declared are no sets.
  table.not_items.resize(std::max(table.not_items.size(), cells.size()), true);
  table.items.encode(0, schema_.table(id), cells, table.not_items, grow, raw_);
  raw_.merge();
  table.items_dirty = table.items_dirty || table.items.keys().size() != before;
}

TimeUs NetworkRows::own_time(const Table& table, std::span<const Value> cells, TimeUs from) {
  if (!table.time || table.time->value >= cells.size()) return from;
  const auto own = value_time(cells[table.time->value], table.time_unit);
  return own && *own != kTimeMin ? std::min(*own, from) : from;
}

void NetworkRows::observe(TableId id, std::span<const Value> cells, TimeUs from) {
  TableState& table = tables_[id.value];
  const Table& shape = schema_.table(id);
  table.encoder.observe(shape, cells);
  const TimeUs own = own_time(shape, cells, from);
  table.encoder.encode(cells, own == kTimeMin ? TimeUs{0} : own, encoded_);
  table.scale.grow(table.encoder.width());
  table.scale.observe(encoded_);
  table.dirty = true;
  if (has_items(id)) list_items(id, cells, true);
}

std::vector<bool> NetworkRows::names(TableId id) const {
  std::vector<bool> out;
  tables_[id.value].encoder.name_positions(out);
  return out;
}

void NetworkRows::index_positions(TableState& table) {
  table.encoder.columns_of_positions(table.column_of);
  table.first.clear();
  for (std::size_t p = 0; p < table.column_of.size(); ++p) {
    const std::uint32_t column = table.column_of[p];
    if (column >= table.first.size()) table.first.resize(column + 1, kNoPosition);
    table.first[column] = std::min(table.first[column], static_cast<std::uint32_t>(p));
  }
}

void NetworkRows::freeze(TableState& table) {
  const std::size_t before = table.column_of.size();
  index_positions(table);
  table.scale.freeze();
  for (std::size_t p = before; p < table.column_of.size(); ++p) {
    const std::uint32_t column = table.column_of[p];
    const bool as_items = column < table.not_items.size() && !table.not_items[column];
    if (!as_items) table.shown.push_back({static_cast<std::uint32_t>(p), false});
  }
  std::vector<bool> names;
  table.encoder.name_positions(names);
  for (Shown& shown : table.shown)
    shown.name = !shown.missing && names[shown.index];
  std::vector<bool> told(table.first.size(), false);
  for (const Shown& shown : table.shown) {
    if (shown.missing) told[shown.index] = true;
  }
  for (std::size_t c = 0; c < table.first.size(); ++c) {
    const bool shows = table.first[c] != kNoPosition && !told[c];
    if (shows && table.scale.missing_share(table.first[c]) >= kOftenMissing)
      table.shown.push_back({static_cast<std::uint32_t>(c), true});
  }
  table.dirty = true;
}

void NetworkRows::freeze() {
  ++frozen_;  // what is kept shows what was frozen before
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    const TableId id{static_cast<std::uint16_t>(t)};
    const std::size_t before = stride(id);
    freeze(tables_[t]);
    if (stride(id) != before) drop_slots(tables_[t]);
  }
}

void NetworkRows::columns_of(MaskedColumn masked, std::vector<std::uint32_t>& out) const {
  out.clear();
  const TableState& table = tables_[masked.table.value];
  for (std::size_t i = 0; i < table.shown.size(); ++i) {
    const Shown& shown = table.shown[i];
    const std::uint32_t column = shown.missing ? shown.index : table.column_of[shown.index];
    if (column == masked.column.value) out.push_back(static_cast<std::uint32_t>(i));
  }
}

void NetworkRows::drop_slots(TableState& table) {
  cache_bytes_ -= models::room_size(table.slots.size());
  for (const auto& items : table.item_slots)
    cache_bytes_ -= items.capacity() * sizeof(models::SparseEntry);
  decltype(table.slots)().swap(table.slots);
  std::vector<std::vector<models::SparseEntry>>().swap(table.item_slots);
  table.slot_count = 0;
}

std::size_t NetworkRows::stride(TableId id) const {
  const std::size_t words = schema_.table(id).foreign_keys.size() + width(id);
  return sizeof(SlotHead) + (4 * words + 7) / 8 * 8;
}

/// Where a row is kept. The cache of a table doubles until it has a slot for each row or there is
/// no room; from then on rows take each other's place.
std::byte* NetworkRows::slot_of(TableId id, std::uint32_t row) {
  TableState& table = tables_[id.value];
  const std::size_t bytes = stride(id);
  // Not step by step where nothing would move: wider rows come in as many slots as the old ones.
  std::size_t first = std::max(kSlotsMin, std::bit_ceil(std::size_t{row} + 1));
  while (table.slot_count == 0 && first > kSlotsMin &&
         cache_bytes_ + models::room_size(first * bytes) > cache_bytes_max_)
    first /= 2;
  while (row >= table.slot_count) {
    const std::size_t count = table.slot_count == 0 ? first : 2 * table.slot_count;
    // The old slots are there until the new ones are filled.
    if (cache_bytes_ + models::room_size(count * bytes) > cache_bytes_max_) break;
    decltype(table.slots) slots(count * bytes);
    // Items stay where their row does: both go by the row's number modulo the count.
    if (has_items(id)) regroup_items(table, count);
    for (std::size_t i = 0; i < table.slot_count; ++i) {
      SlotHead head;
      std::memcpy(&head, table.slots.data() + i * bytes, sizeof head);
      if (head.ordinal == Ordinal{}) continue;
      std::memcpy(slots.data() + (head.row & (count - 1)) * bytes, table.slots.data() + i * bytes,
                  bytes);
    }
    cache_bytes_ += models::room_size(count * bytes) - models::room_size(table.slots.size());
    table.slots.swap(slots);
    table.slot_count = count;
  }
  if (table.slot_count > 0) return table.slots.data() + (row & (table.slot_count - 1)) * bytes;
  spare_.assign(bytes, std::byte{});
  return spare_.data();
}

void NetworkRows::regroup_items(TableState& table, std::size_t count) {
  const std::size_t bytes = table.slot_count == 0 ? 0 : table.slots.size() / table.slot_count;
  std::vector<std::vector<models::SparseEntry>> grown(count);
  for (std::size_t i = 0; i < table.slot_count; ++i) {
    SlotHead head;
    std::memcpy(&head, table.slots.data() + i * bytes, sizeof head);
    if (head.ordinal != Ordinal{}) grown[head.row & (count - 1)].swap(table.item_slots[i]);
  }
  table.item_slots.swap(grown);
}

/// False: a key that the graph does not know yet, so the answer may change.
bool NetworkRows::read_parents(TableId id, std::span<const Value> cells, std::uint32_t* parents) {
  bool known = true;
  for (const ForeignKey& foreign : schema_.table(id).foreign_keys) {
    key_.clear();
    bool whole = !foreign.columns.empty();
    for (const ColumnId column : foreign.columns) {
      whole = whole && column.value < cells.size() && !cells[column.value].is_null() &&
              cells[column.value].kind != ValueKind::Unchanged;
      if (whole) append_key(key_, cells[column.value]);
    }
    const auto parent = whole ? graph_.find(foreign.parent, key_) : std::nullopt;
    *parents++ = parent ? parent->row : kNoRow;
    known = known && (parent || !whole);
  }
  return known;
}

void NetworkRows::write_features(const TableState& table, float* features) const {
  for (const Shown& shown : table.shown) {
    const double x = encoded_[shown.missing ? table.first[shown.index] : shown.index];
    if (shown.missing) {
      *features++ = std::isfinite(x) ? 0.0F : 1.0F;
    } else {
      const bool told = std::isfinite(x) && !shown.name;
      const double value = told ? table.scale.standardise(shown.index, x, kClip) : 0;
      *features++ = static_cast<float>(value);
    }
  }
}

NetworkRows::View NetworkRows::view(NodeId node, const store::Version& version) {
  TableState& table = tables_[node.table.value];
  std::byte* const slot = slot_of(node.table, node.row);
  auto* const parents = reinterpret_cast<std::uint32_t*>(slot + sizeof(SlotHead));
  const std::size_t keys = schema_.table(node.table).foreign_keys.size();
  auto* const features = reinterpret_cast<float*>(parents + keys);
  auto* const items = table.slot_count > 0 && has_items(node.table)
                          ? &table.item_slots[node.row & (table.slot_count - 1)]
                          : nullptr;
  SlotHead head;
  std::memcpy(&head, slot, sizeof head);
  if (head.ordinal != version.ordinal || head.from != version.from || head.row != node.row ||
      head.frozen != frozen_) {
    if (items != nullptr) forget_items(*items);
    spare_items_.clear();
    head = {version.ordinal, version.from, kTimeMin, node.row, frozen_};
    const RowContent* row = rows_.content(node, version);
    if (row != nullptr) {
      head.time = own_time(schema_.table(node.table), row->cells, version.from);
      if (!read_parents(node.table, row->cells, parents)) head.ordinal = Ordinal{};
      const TimeUs at = head.time == kTimeMin ? TimeUs{0} : head.time;
      table.encoder.encode(row->cells, at, encoded_);
      write_features(table, features);
      if (has_items(node.table)) {
        list_items(node.table, row->cells, false);
        spare_items_.assign(raw_.entries.begin(), raw_.entries.end());
        if (items != nullptr && !keep_items(*items)) head.ordinal = Ordinal{};  // read anew then
      }
    } else {
      head.ordinal = Ordinal{};
      std::fill_n(parents, keys, kNoRow);
      std::fill_n(features, table.shown.size(), 0.0F);
    }
    std::memcpy(slot, &head, sizeof head);
  }
  const auto& told = items != nullptr && head.ordinal != Ordinal{} ? *items : spare_items_;
  return {{features, table.shown.size()}, told, {parents, keys}, head.time};
}

/// The room goes too: what is not shown any more must not fill the cache.
void NetworkRows::forget_items(std::vector<models::SparseEntry>& items) {
  cache_bytes_ -= items.capacity() * sizeof(models::SparseEntry);
  std::vector<models::SparseEntry>().swap(items);
}

/// Keep the spare items here; false: there is no room.
bool NetworkRows::keep_items(std::vector<models::SparseEntry>& items) {
  if (cache_bytes_ + spare_items_.size() * sizeof(models::SparseEntry) > cache_bytes_max_)
    return false;
  items.assign(spare_items_.begin(), spare_items_.end());
  cache_bytes_ += items.capacity() * sizeof(models::SparseEntry);
  return true;
}

void NetworkRows::begin_block(std::optional<NodeId> newcomer, TimeUs at) {
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    const TableId id{static_cast<std::uint16_t>(t)};
    const std::uint32_t count = graph_.node_count(id);
    tables_[t].block_rows.push_back(newcomer && newcomer->table == id ? newcomer->row : count);
  }
  block_times_.push_back(block_times_.empty() ? at : std::max(at, block_times_.back()));
  blocks_dirty_ = true;
}

std::uint32_t NetworkRows::block(NodeId node) const {
  const std::vector<std::uint32_t>& rows = tables_[node.table.value].block_rows;
  return static_cast<std::uint32_t>(std::upper_bound(rows.begin(), rows.end(), node.row) -
                                    rows.begin());
}

std::uint32_t NetworkRows::block_at(TimeUs time) const {
  const auto next = std::upper_bound(block_times_.begin(), block_times_.end(), time);
  return static_cast<std::uint32_t>(next - block_times_.begin());
}

std::size_t NetworkRows::memory_bytes() const {
  std::size_t bytes = cache_bytes_ + block_times_.size() * sizeof(TimeUs);
  for (const TableState& table : tables_) {
    // Moments and their frozen copy, and some 64 bytes for what a position is called.
    bytes += table.scale.width() * (6 * sizeof(double) + 64) + 4 * table.block_rows.size() +
             table.items.memory_bytes();
  }
  return bytes;
}

void NetworkRows::save(const TableState& table, std::string& out) {
  std::string encoder;
  table.encoder.save(encoder);
  models::StateWriter writer(out);
  writer.text(encoder);
  table.scale.save(writer);
  writer.u64(table.column_of.size());
  writer.u64(table.shown.size());
  for (const Shown& shown : table.shown) {
    writer.u32(shown.index);
    writer.u8(static_cast<std::uint8_t>((shown.missing ? 1 : 0) | (shown.name ? 2 : 0)));
  }
}

Status NetworkRows::load(std::string_view bytes, TableState& table) {
  models::StateReader reader(bytes);
  ACCRETE_DO(table.encoder.load(reader.text()));
  table.scale.load(reader);
  index_positions(table);
  const std::uint64_t positions = reader.u64();
  reader.require(table.scale.width() == table.encoder.width() &&
                 positions <= table.encoder.width());
  if (!reader.failed()) {
    table.column_of.resize(positions);
    for (std::uint32_t& position : table.first) {
      if (position >= positions) position = kNoPosition;
    }
  }
  table.shown.resize(reader.count(5));
  for (Shown& shown : table.shown) {
    shown.index = reader.u32();
    const std::uint8_t flags = reader.u8();
    shown.missing = (flags & 1) != 0;
    shown.name = (flags & 2) != 0;
    if (shown.missing) {
      const bool there = shown.index < table.first.size();
      reader.require(there && table.first[shown.index] != kNoPosition);
    } else {
      reader.require(shown.index < positions);
    }
  }
  table.dirty = false;
  return reader.finish("network rows");
}

void NetworkRows::stage(store::State& state) {
  std::string bytes;
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    if (!tables_[t].dirty) continue;
    bytes.clear();
    save(tables_[t], bytes);
    state.put(Section::Blobs, table_key(t), bytes);
    tables_[t].dirty = false;
  }
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    if (!tables_[t].items_dirty) continue;
    bytes.clear();
    models::StateWriter writer(bytes);
    tables_[t].items.save(writer);
    state.put(Section::Blobs, items_key(t), bytes);
    tables_[t].items_dirty = false;
  }
  if (!blocks_dirty_) return;
  bytes.clear();
  models::StateWriter writer(bytes);
  writer.u64(block_times_.size());
  for (const TimeUs time : block_times_)
    writer.u64(static_cast<std::uint64_t>(time.value));
  for (const TableState& table : tables_) {
    for (const std::uint32_t row : table.block_rows)
      writer.u32(row);
  }
  state.put(Section::Blobs, kBlocksKey, bytes);
  blocks_dirty_ = false;
}

Status NetworkRows::load_blocks(std::string_view bytes) {
  models::StateReader reader(bytes);
  block_times_.resize(reader.count(sizeof(std::uint64_t)));
  for (TimeUs& time : block_times_)
    time.value = static_cast<std::int64_t>(reader.u64());
  reader.require(std::is_sorted(block_times_.begin(), block_times_.end()));
  for (TableState& table : tables_) {
    table.block_rows.resize(block_times_.size());
    for (std::uint32_t& row : table.block_rows)
      row = reader.u32();
    reader.require(std::is_sorted(table.block_rows.begin(), table.block_rows.end()));
  }
  return reader.finish("network blocks");
}

Status NetworkRows::load(store::State& state) {
  std::string bytes;
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    drop_slots(tables_[t]);
    ACCRETE_TRY(const bool there, state.get(Section::Blobs, table_key(t), bytes));
    if (there) ACCRETE_DO(load(bytes, tables_[t]));
    ACCRETE_TRY(const bool items, state.get(Section::Blobs, items_key(t), bytes));
    if (!items) continue;
    models::StateReader reader(bytes);
    tables_[t].items.load(reader);
    ACCRETE_DO(reader.finish("items of network rows"));
  }
  ACCRETE_TRY(const bool blocks, state.get(Section::Blobs, kBlocksKey, bytes));
  return blocks ? load_blocks(bytes) : Status(Ok{});
}

}  // namespace accrete::daemon
