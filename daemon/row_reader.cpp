// Reading rows through a direct-mapped cache keyed by log position.
#include "daemon/row_reader.h"

#include <functional>
#include <utility>

namespace accrete::daemon {
namespace {

constexpr std::size_t kept_bytes_max = 16u << 10;

}  // namespace

void cells_in_column_order(const Change& change, const BoundLayout& layout, const Table& table,
                           std::vector<Value>& cells) {
  const Value missing = change.op == Op::Update ? Value::unchanged() : Value::null();
  cells.assign(table.columns.size(), missing);
  for (std::size_t i = 0; i < layout.column_of_cell.size() && i < change.cells.size(); ++i) {
    cells[layout.column_of_cell[i].value] = change.cells[i];
  }
}

RowReader::RowReader(const store::Log& log, const Schema& schema, const Layouts& layouts,
                     store::Graph& graph, std::size_t rows_max)
    : log_(log), schema_(schema), layouts_(layouts), graph_(graph), slots_(rows_max) {
  ACCRETE_CHECK(rows_max > 0);
}

RowReader::Slot& RowReader::slot_of(Ordinal ordinal) {
  return slots_[ordinal.value % slots_.size()];
}

const RowContent* RowReader::row(NodeId node, TimeUs as_of) {
  const auto version = graph_.version(node, as_of);
  if (!version || version->deleted) return nullptr;
  return content(node, *version);
}

const RowContent* RowReader::content(NodeId node, const store::Version& version) {
  Slot& slot = slot_of(version.ordinal);
  if (slot.row.ordinal == version.ordinal) return &slot.row;
  const std::size_t before = slot.row.bytes.capacity();
  if (!load(version, slot)) return nullptr;
  inherit(node, version, slot);
  if (slot.row.bytes.size() > kept_bytes_max) {
    large_ = std::move(slot);
    slot = Slot{};
    memory_bytes_ -= before;
    return &large_.row;
  }
  memory_bytes_ += slot.row.bytes.capacity() - before;
  return &slot.row;
}

bool RowReader::load(const store::Version& version, Slot& slot) {
  slot.row.ordinal = Ordinal{};
  Status read = log_.get(version.ordinal, slot.row.bytes);
  if (!read) {
    if (!failure_) failure_ = read.error();
    return false;
  }
  LogHeader header;
  auto bytes = decode_entry(slot.row.bytes, header);
  Status decoded = bytes ? decode_record(bytes.value(), record_) : Status(bytes.error());
  const BoundLayout* layout = decoded && record_.kind == RecordKind::Change
                                  ? layouts_.find(record_.change.layout)
                                  : nullptr;
  if (layout == nullptr) {
    if (!failure_) {
      failure_ = Error{Errc::Corruption, "log record " + std::to_string(version.ordinal.value) +
                                             " is not the row its node says; run accretectl log "
                                             "verify"};
    }
    return false;
  }
  cells_in_column_order(record_.change, *layout, schema_.table(layout->table), slot.row.cells);
  slot.row.ordinal = version.ordinal;
  slot.row.table = layout->table;
  slot.inherited.clear();
  return true;
}

void RowReader::inherit(NodeId node, const store::Version& version, Slot& slot) {
  std::vector<std::size_t> open;  // cells still without a value
  for (std::size_t i = 0; i < slot.row.cells.size(); ++i) {
    if (slot.row.cells[i].kind == ValueKind::Unchanged) open.push_back(i);
  }
  slot.inherited.reserve(open.size());
  Slot older;
  auto previous = open.empty() ? std::nullopt : graph_.version_before(node, version);
  while (!open.empty() && previous && !previous->deleted) {
    // A row that is kept has had all its cells from those before it.
    const Slot& kept = slot_of(previous->ordinal);
    const bool is_kept = kept.row.ordinal == previous->ordinal;
    if (!is_kept && !load(*previous, older)) break;
    const RowContent& from = is_kept ? kept.row : older.row;
    std::erase_if(open, [&](std::size_t i) {
      Value value = from.at(ColumnId{static_cast<std::uint16_t>(i)});
      if (value.kind == ValueKind::Unchanged) return false;
      if (value.kind == ValueKind::Text) {
        slot.inherited.emplace_back(value.text);
        value.text = slot.inherited.back();
      }
      slot.row.cells[i] = value;
      return true;
    });
    previous = graph_.version_before(node, *previous);
  }
  for (const std::size_t i : open)
    slot.row.cells[i] = Value::null();
}

void RowReader::forget_after(NodeId node, Ordinal ordinal, Ordinal newest) {
  const auto before = [&](Ordinal end) { return graph_.version_before(node, {kTimeMax, end}); };
  for (auto later = before(Ordinal{newest.value + 1}); later && later->ordinal > ordinal;
       later = before(later->ordinal)) {
    Slot& slot = slot_of(later->ordinal);
    if (slot.row.ordinal == later->ordinal) slot.row.ordinal = Ordinal{};
  }
}

void RowReader::remember(NodeId node, const store::Version& version, std::string_view entry,
                         std::span<const Value> cells) {
  if (entry.size() > kept_bytes_max) return;
  Slot& slot = slot_of(version.ordinal);
  const std::size_t before = slot.row.bytes.capacity();
  slot.row.ordinal = version.ordinal;
  slot.row.table = node.table;
  slot.row.bytes.assign(entry);
  slot.row.cells.assign(cells.begin(), cells.end());
  slot.inherited.clear();
  const std::less<const char*> before_in_memory;
  for (Value& cell : slot.row.cells) {
    if (cell.kind != ValueKind::Text) continue;
    const char* text = cell.text.data();
    const bool inside = !before_in_memory(text, entry.data()) &&
                        !before_in_memory(entry.data() + entry.size(), text);
    ACCRETE_CHECK(inside || cell.text.empty());
    if (inside) cell.text = {slot.row.bytes.data() + (text - entry.data()), cell.text.size()};
  }
  inherit(node, version, slot);
  memory_bytes_ += slot.row.bytes.capacity() - before;
}

}  // namespace accrete::daemon
