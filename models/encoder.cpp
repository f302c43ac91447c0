// Cells to numbers: kind inference, growing dictionaries, hashed trigrams.
#include "models/encoder.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>

#include "models/sparse_projection.h"
#include "models/state_bytes.h"
#include "proto/codec.h"
#include "proto/hash.h"
#include "proto/time.h"

namespace accrete::models {
namespace {

constexpr std::uint8_t state_version = 1;
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

constexpr std::size_t category_slots = 15;     // then one slot for "other"
constexpr std::size_t category_distinct = 64;  // more of them within the watch: text
constexpr std::uint32_t watch_rows = 256;
constexpr std::size_t text_buckets = 8;
constexpr std::size_t text_bytes_max = 4096;  // of a longer text the beginning speaks
constexpr std::size_t category_bytes_max = 256;

bool is_blank(const Value& value) {
  return value.is_null() || value.kind == ValueKind::Unchanged;
}

const Value& cell_at(std::span<const Value> cells, std::size_t i) {
  static const Value null = Value::null();
  return i < cells.size() ? cells[i] : null;
}

bool is_key_column(const Table& table, std::size_t index) {
  const auto is_it = [&](ColumnId id) { return id.value == index; };
  if (std::any_of(table.key.begin(), table.key.end(), is_it)) return true;
  return std::any_of(table.foreign_keys.begin(), table.foreign_keys.end(), [&](const auto& key) {
    return std::any_of(key.columns.begin(), key.columns.end(), is_it);
  });
}

double age_of(const Value& value, TimeUnit unit, TimeUs as_of) {
  const std::optional<TimeUs> time = value_time(value, unit);
  if (!time || *time == kTimeMin || *time == kTimeMax) return nan;
  // In double: the difference of two far-apart times does not fit 64 bits.
  const double days = (static_cast<double>(as_of.value) - static_cast<double>(time->value)) /
                      static_cast<double>(kDayUs);
  return std::copysign(std::log1p(std::abs(days)), days);
}

/// log1p of the number of elements, then their projection; missing where the text is no vector.
void encode_elements(ColumnKind kind, const Value& value, std::span<const std::uint32_t> positions,
                     std::vector<double>& out) {
  const std::string buffer = value.kind == ValueKind::Text ? std::string() : value_text(value);
  const std::string_view text = value.kind == ValueKind::Text ? value.text : buffer;
  std::array<double, projection_width> projected{};
  std::size_t count = 0;
  if (kind == ColumnKind::Vector) {
    std::vector<double> numbers;
    if (!read_vector(text, numbers)) return;
    count = numbers.size();
    project_vector(numbers, projected);
  } else {
    std::vector<WeightedItem> items;
    read_set(text, items);
    count = items.size();
    project_set(items, projected);
  }
  out[positions[0]] = std::log1p(static_cast<double>(count));
  for (std::size_t i = 0; i < projection_width; ++i)
    out[positions[i + 1]] = projected[i];
}

void encode_text(std::string_view text, std::span<const std::uint32_t> positions,
                 std::vector<double>& out) {
  std::array<double, text_buckets> counts{};
  const std::string_view head = text.substr(0, text_bytes_max);
  const std::size_t grams = head.size() < 3 ? (head.empty() ? 0 : 1) : head.size() - 2;
  for (std::size_t i = 0; i < grams; ++i) {
    std::array<char, 3> gram{};
    const std::string_view piece = head.substr(i, 3);
    std::transform(piece.begin(), piece.end(), gram.begin(), [](char c) {
      return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    counts[hash64({gram.data(), piece.size()}) % text_buckets] += 1;
  }
  for (std::size_t b = 0; b < text_buckets; ++b) {
    out[positions[b]] = grams > 0 ? counts[b] / static_cast<double>(grams) : 0;
  }
  out[positions[text_buckets]] = std::log1p(static_cast<double>(text.size()));
}

/// The dictionary's name of a value; `buffer` holds it where the cell itself does not.
std::string_view category_of(const Value& value, std::string& buffer) {
  if (value.kind == ValueKind::Text) return value.text.substr(0, category_bytes_max);
  buffer = value_text(value);
  return buffer;
}

std::size_t scalar_count(ColumnKind kind) {
  switch (kind) {
    case ColumnKind::Number:
    case ColumnKind::Flag:
    case ColumnKind::Time:
      return 1;
    case ColumnKind::Vector:
    case ColumnKind::Set:
      return projection_width + 1;
    case ColumnKind::Text:
      return text_buckets + 1;
    case ColumnKind::Inferred:
    case ColumnKind::Category:
    case ColumnKind::Key:
    case ColumnKind::ForeignKey:
    case ColumnKind::Ignored:
      return 0;
  }
  return 0;
}

}  // namespace

double number_value(const Value& value) {
  const Value number = value.kind == ValueKind::Text ? guess_value(value.text) : value;
  if (!number.is_number()) return nan;
  const double v = number.as_number();
  return std::isfinite(v) ? v : nan;
}

double flag_value(const Value& value) {
  if (value.kind == ValueKind::Text) {
    for (const std::string_view yes : {"t", "true", "True", "TRUE", "y", "yes", "1"}) {
      if (value.text == yes) return 1;
    }
    for (const std::string_view no : {"f", "false", "False", "FALSE", "n", "no", "0"}) {
      if (value.text == no) return 0;
    }
    return nan;
  }
  return value.is_number() ? (value.as_number() != 0 ? 1 : 0) : nan;
}

void RowEncoder::assign_scalar(ColumnState& column, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    column.scalar.push_back(static_cast<std::uint32_t>(width_++));
  }
}

void RowEncoder::resolve(ColumnState& column, const Table& table, std::size_t index,
                         const Value& value) {
  ColumnKind kind = table.columns[index].kind;
  if (kind == ColumnKind::Inferred) {
    if (table.time && table.time->value == index) {
      kind = ColumnKind::Time;
    } else if (is_key_column(table, index)) {
      kind = ColumnKind::Ignored;
    } else {
      switch (value.kind) {
        case ValueKind::Null:
        case ValueKind::Unchanged:
          return;
        case ValueKind::Flag:
          kind = ColumnKind::Flag;
          break;
        case ValueKind::Integer:
        case ValueKind::Real:
          kind = ColumnKind::Number;
          break;
        case ValueKind::Time:
          kind = ColumnKind::Time;
          break;
        case ValueKind::Text:
          kind = try_parse_time(value.text) ? ColumnKind::Time : ColumnKind::Category;
          column.watching = kind == ColumnKind::Category;
          break;
      }
    }
  }
  column.kind = kind;
  column.unit = table.time_unit;
  assign_scalar(column, scalar_count(kind));
}

void RowEncoder::observe_category(ColumnState& column, const Value& value) {
  std::string buffer;
  const std::string_view name = category_of(value, buffer);
  const auto found = column.values.find(name);
  if (column.watching) ++column.seen;
  if (found == column.values.end()) {
    // Beyond the slots a value is remembered only while it can still prove the column to be text.
    const std::size_t slot = column.values.size();
    if (slot < category_slots || column.watching) {
      column.values.emplace(name, static_cast<std::uint32_t>(slot));
    }
    if (column.slots.size() <= category_slots) {
      column.slots.push_back(static_cast<std::uint32_t>(width_++));
    }
  }
  if (!column.watching) return;
  const bool is_text = column.values.size() > category_distinct;
  if (!is_text && column.seen < watch_rows) return;
  column.watching = false;
  std::erase_if(column.values, [](const auto& entry) { return entry.second >= category_slots; });
  if (!is_text) return;
  column.kind = ColumnKind::Text;
  assign_scalar(column, scalar_count(ColumnKind::Text));
}

void RowEncoder::observe(const Table& table, std::span<const Value> cells) {
  if (columns_.size() < table.columns.size()) columns_.resize(table.columns.size());
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    ColumnState& column = columns_[i];
    const Value& value = cell_at(cells, i);
    if (column.kind == ColumnKind::Inferred) resolve(column, table, i, value);
    if (column.kind == ColumnKind::Category && !is_blank(value)) observe_category(column, value);
  }
}

void RowEncoder::encode(std::span<const Value> cells, TimeUs as_of,
                        std::vector<double>& out) const {
  out.assign(width_, nan);
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    const ColumnState& column = columns_[i];
    const Value& value = cell_at(cells, i);
    if (is_blank(value)) continue;
    if (!column.slots.empty()) {
      std::string buffer;
      const auto found = column.values.find(category_of(value, buffer));
      const std::size_t slot = found == column.values.end()
                                   ? category_slots
                                   : std::min<std::size_t>(found->second, category_slots);
      for (std::size_t s = 0; s < column.slots.size(); ++s) {
        out[column.slots[s]] = s == slot ? 1 : 0;
      }
    }
    if (column.scalar.empty()) continue;
    double& scalar = out[column.scalar.front()];
    switch (column.kind) {
      case ColumnKind::Number:
        scalar = number_value(value);
        break;
      case ColumnKind::Flag:
        scalar = flag_value(value);
        break;
      case ColumnKind::Time:
        scalar = age_of(value, column.unit, as_of);
        break;
      case ColumnKind::Vector:
      case ColumnKind::Set:
        encode_elements(column.kind, value, column.scalar, out);
        break;
      case ColumnKind::Text: {
        const std::string text = value.kind == ValueKind::Text ? std::string() : value_text(value);
        encode_text(value.kind == ValueKind::Text ? value.text : text, column.scalar, out);
        break;
      }
      case ColumnKind::Inferred:
      case ColumnKind::Category:
      case ColumnKind::Key:
      case ColumnKind::ForeignKey:
      case ColumnKind::Ignored:
        break;
    }
  }
}

std::vector<std::string> RowEncoder::feature_names(const Table& table) const {
  std::vector<std::string> names(width_);
  for (std::size_t i = 0; i < columns_.size() && i < table.columns.size(); ++i) {
    const ColumnState& column = columns_[i];
    const std::string& name = table.columns[i].name;
    for (const auto& [value, slot] : column.values) {
      if (slot < category_slots) names[column.slots[slot]].append(name).append("=").append(value);
    }
    if (column.slots.size() > category_slots) names[column.slots.back()] = name + "=(other)";
    const bool text = column.kind == ColumnKind::Text;
    const bool elements = column.kind == ColumnKind::Vector || column.kind == ColumnKind::Set;
    for (std::size_t s = 0; s < column.scalar.size(); ++s) {
      const bool length = (text && s == text_buckets) || (elements && s == 0);
      const std::size_t number = elements ? s - 1 : s;
      const std::string bucket = text || elements ? "#" + std::to_string(number) : "";
      names[column.scalar[s]] = name + (length ? ".length" : bucket);
    }
  }
  return names;
}

void RowEncoder::plain_positions(std::vector<std::uint32_t>& out) const {
  out.clear();
  for (const ColumnState& column : columns_) {
    out.insert(out.end(), column.slots.begin(), column.slots.end());
    const bool plain = column.kind == ColumnKind::Number || column.kind == ColumnKind::Flag ||
                       column.kind == ColumnKind::Time;
    if (plain) out.insert(out.end(), column.scalar.begin(), column.scalar.end());
  }
  std::sort(out.begin(), out.end());
}

void RowEncoder::name_positions(std::vector<bool>& out) const {
  out.assign(width_, false);
  for (const ColumnState& column : columns_) {
    for (const std::uint32_t position : column.slots)
      out[position] = column.slots.size() > category_slots;
    for (std::size_t i = 0; column.kind == ColumnKind::Text && i + 1 < column.scalar.size(); ++i)
      out[column.scalar[i]] = true;  // the last is the length
  }
}

void RowEncoder::columns_of_positions(std::vector<std::uint32_t>& out) const {
  out.assign(width_, 0);
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    for (const auto* positions : {&columns_[i].slots, &columns_[i].scalar}) {
      for (const std::uint32_t position : *positions)
        out[position] = static_cast<std::uint32_t>(i);
    }
  }
}

void RowEncoder::save(std::string& out) const {
  StateWriter writer(out);
  writer.u8(state_version);
  writer.u64(width_);
  writer.u64(columns_.size());
  for (const ColumnState& column : columns_) {
    writer.u8(static_cast<std::uint8_t>(column.kind));
    writer.u8(static_cast<std::uint8_t>(column.unit));
    writer.u8(column.watching ? 1 : 0);
    writer.u32(column.seen);
    writer.u64(column.values.size());
    for (const auto& [value, slot] : column.values) {
      writer.text(value);
      writer.u32(slot);
    }
    for (const auto* positions : {&column.slots, &column.scalar}) {
      writer.u64(positions->size());
      for (const std::uint32_t position : *positions) {
        writer.u32(position);
      }
    }
  }
}

Status RowEncoder::load(std::string_view bytes) {
  StateReader reader(bytes);
  RowEncoder fresh;
  reader.require(reader.u8() == state_version);
  fresh.width_ = reader.u64();
  // A column takes at least its fixed fields.
  fresh.columns_.resize(reader.count(31));
  std::size_t assigned = 0;
  for (ColumnState& column : fresh.columns_) {
    const std::uint8_t kind = reader.u8();
    const std::uint8_t unit = reader.u8();
    reader.require(kind <= static_cast<std::uint8_t>(ColumnKind::Ignored));
    reader.require(unit <= static_cast<std::uint8_t>(TimeUnit::Microseconds));
    if (reader.failed()) break;
    column.kind = static_cast<ColumnKind>(kind);
    column.unit = static_cast<TimeUnit>(unit);
    column.watching = reader.u8() != 0;
    column.seen = reader.u32();
    for (std::uint64_t n = reader.count(8); n > 0 && !reader.failed(); --n) {
      std::string value = reader.text();
      const std::uint32_t slot = reader.u32();
      column.values.emplace_hint(column.values.end(), std::move(value), slot);
    }
    for (auto* positions : {&column.slots, &column.scalar}) {
      positions->resize(reader.count(sizeof(std::uint32_t)));
      for (std::uint32_t& position : *positions) {
        position = reader.u32();
        reader.require(position < fresh.width_);
      }
      assigned += positions->size();
    }
    const std::size_t slots = std::min(column.values.size(), category_slots);
    const auto fits = [&](const auto& entry) { return entry.second < column.values.size(); };
    reader.require(std::all_of(column.values.begin(), column.values.end(), fits));
    reader.require(column.slots.size() >= slots && column.slots.size() <= category_slots + 1);
    reader.require(column.scalar.size() == scalar_count(column.kind));
  }
  reader.require(assigned == fresh.width_);
  ACCRETE_DO(reader.finish("row encoder"));
  *this = std::move(fresh);
  return Ok{};
}

}  // namespace accrete::models
