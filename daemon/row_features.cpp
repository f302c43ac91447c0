// The row's own columns beside what the stream says.
#include "daemon/row_features.h"

#include <algorithm>
#include <utility>

#include "proto/bytes.h"
#include "proto/hash.h"

namespace accrete::daemon {
namespace {

using store::Section;

constexpr std::size_t kKeyBytesMax = 256;  // of a longer text the beginning is the group

}  // namespace

std::vector<std::uint32_t> RowFeatures::foreign_keys(const Table& table) {
  std::vector<std::uint32_t> columns;
  for (const ForeignKey& key : table.foreign_keys) {
    // A composite key is grouped by its first column: the coarser group.
    columns.push_back(key.columns.front().value);
  }
  return columns;
}

RowFeatures::RowFeatures(const TaskPlan& plan, const Schema& schema, RowReader& rows)
    : task_(plan.name),
      entity_(plan.entity),
      target_(*plan.column),
      schema_(schema),
      rows_(rows),
      stream_(plan.kind, foreign_keys(schema.table(plan.entity))) {
  grow();
}

void RowFeatures::append(bool own, std::size_t begin, std::size_t end) {
  if (begin == end) return;
  runs_.push_back({own, static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end)});
  width_ += end - begin;
}

/// Give what came since the last call its positions.
void RowFeatures::grow() {
  append(true, own_width_, encoder_.width());
  own_width_ = encoder_.width();
  encoder_.plain_positions(plain_);
  stream_.widen(plain_.size());
  append(false, stream_width_, stream_.width());
  stream_width_ = stream_.width();
}

/// The entity's table as the encoder may see it; columns come while the stream runs.
const Table& RowFeatures::masked() {
  const Table& table = schema_.table(entity_);
  if (masked_.columns.size() != table.columns.size()) {
    masked_ = table;
    masked_.columns[target_.value].kind = ColumnKind::Ignored;
  }
  return masked_;
}

void RowFeatures::observe(std::span<const Value> cells) {
  encoder_.observe(masked(), cells);
  grow();
}

void RowFeatures::hash_keys(std::span<const Value> cells) {
  const Table& table = masked();
  keys_.assign(table.columns.size(), 0);
  std::string bytes;
  for (std::size_t c = 0; c < cells.size() && c < keys_.size(); ++c) {
    const ColumnKind kind = table.columns[c].kind;
    const bool grouped = kind != ColumnKind::Ignored && kind != ColumnKind::Text &&
                         kind != ColumnKind::Vector && kind != ColumnKind::Set &&
                         kind != ColumnKind::Time && !(table.time && table.time->value == c);
    if (!grouped || cells[c].is_null() || cells[c].kind == ValueKind::Unchanged) continue;
    bytes.clear();
    Value value = cells[c];
    if (value.kind == ValueKind::Text) value.text = value.text.substr(0, kKeyBytesMax);
    append_key(bytes, value);
    keys_[c] = std::max<std::uint64_t>(hash64(bytes), 1);
  }
  for (const ColumnId column : table.key)
    keys_[column.value] = 0;  // every row has its own
  for (const std::uint32_t column : foreign_keys(table)) {
    if (column >= cells.size() || cells[column].is_null()) continue;
    bytes.clear();
    append_key(bytes, cells[column]);
    keys_[column] = std::max<std::uint64_t>(hash64(bytes), 1);
  }
}

models::RowStream::Row RowFeatures::stream_row(std::span<const Value> cells, TimeUs at) {
  encoder_.encode(cells, at, encoded_);
  values_.clear();
  for (const std::uint32_t position : plain_)
    values_.push_back(encoded_[position]);
  hash_keys(cells);
  return {values_, keys_};
}

void RowFeatures::compute_row(std::span<const Value> cells, TimeUs at, std::vector<double>& out) {
  const models::RowStream::Row row = stream_row(cells, at);
  context_.resize(stream_.width());
  stream_.compute(row, context_);
  out.clear();
  for (const Run& run : runs_) {
    const std::vector<double>& from = run.own ? encoded_ : context_;
    out.insert(out.end(), from.begin() + run.begin, from.begin() + run.end);
  }
}

void RowFeatures::enter(std::span<const Value> cells, TimeUs at) {
  stream_.observe_row(stream_row(cells, at));
  grow();
}

void RowFeatures::learn(double label, std::span<const Value> cells) {
  hash_keys(cells);
  stream_.observe_label(label, keys_);
  grow();
}

void RowFeatures::own_part(std::span<const double> features, std::vector<double>& out) const {
  out.clear();
  std::size_t begin = 0;
  for (const Run& run : runs_) {
    const std::size_t size = run.end - run.begin;
    if (begin + size > features.size()) return;  // a vector of the past
    if (run.own) {
      const auto part = features.subspan(begin, size);
      out.insert(out.end(), part.begin(), part.end());
    }
    begin += size;
  }
}

void RowFeatures::mature(std::span<const std::uint32_t> rows, std::span<const double> labels,
                         TimeUs at) {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const RowContent* row = rows_.row(NodeId{entity_, rows[i]}, at);
    if (row != nullptr) learn(labels[i], row->cells);
  }
}

void RowFeatures::compute(NodeId entity, TimeUs at, std::vector<double>& out) {
  const RowContent* row = rows_.row(entity, at);
  compute_row(row == nullptr ? std::span<const Value>() : std::span(row->cells), at, out);
}

std::vector<std::string> RowFeatures::names() {
  const Table& table = masked();
  const std::vector<std::string> own = encoder_.feature_names(table);
  std::vector<std::string> followed;
  for (const std::uint32_t position : plain_)
    followed.push_back(own[position]);
  std::vector<std::string> columns;
  for (const Column& column : table.columns)
    columns.push_back(column.name);
  const std::vector<std::string> context = stream_.names(followed, columns);
  std::vector<std::string> names;
  for (const Run& run : runs_) {
    const std::vector<std::string>& from = run.own ? own : context;
    names.insert(names.end(), from.begin() + run.begin, from.begin() + run.end);
  }
  return names;
}

std::size_t RowFeatures::memory_bytes() const {
  return stream_.memory_bytes() + runs_.capacity() * sizeof(Run);
}

void RowFeatures::stage(store::State& state) {
  std::string bytes;
  ByteWriter writer(bytes);
  std::string part;
  encoder_.save(part);
  writer.put_text(part);
  part.clear();
  stream_.save(part);
  writer.put_text(part);
  writer.put(static_cast<std::uint64_t>(runs_.size()));
  for (const Run& run : runs_) {
    writer.put(static_cast<std::uint8_t>(run.own));
    writer.put(run.begin);
    writer.put(run.end);
  }
  state.put(Section::Blobs, task_ + "/features", bytes);
}

Status RowFeatures::load(store::State& state) {
  std::string bytes;
  ACCRETE_TRY(const bool has_bytes, state.get(Section::Blobs, task_ + "/features", bytes));
  if (!has_bytes) return Ok{};
  const Error corrupt{Errc::Corruption, "task \"" + task_ + "\": stored features do not decode"};
  ByteReader reader(bytes);
  ACCRETE_DO(encoder_.load(reader.get_text()));
  ACCRETE_DO(stream_.load(reader.get_text()));
  runs_.clear();
  width_ = own_width_ = stream_width_ = 0;
  const auto runs = reader.get<std::uint64_t>();
  for (std::uint64_t i = 0; i < runs && reader.ok(); ++i) {
    const bool own = reader.get<std::uint8_t>() != 0;
    const auto begin = reader.get<std::uint32_t>();
    const auto end = reader.get<std::uint32_t>();
    std::size_t& known = own ? own_width_ : stream_width_;
    if (begin != known || end <= begin) return corrupt;
    known = end;
    append(own, begin, end);
  }
  const bool whole = own_width_ == encoder_.width() && stream_width_ == stream_.width();
  if (!reader.done() || !whole) return corrupt;
  encoder_.plain_positions(plain_);
  return Ok{};
}

}  // namespace accrete::daemon
