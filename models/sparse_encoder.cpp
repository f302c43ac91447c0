// Hashing items to columns; scales of numbers.
#include "models/sparse_encoder.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "models/encoder.h"
#include "models/robust_moments.h"
#include "models/sparse_projection.h"
#include "proto/hash.h"
#include "proto/result.h"

namespace accrete::models {
namespace {

constexpr std::size_t kItemBytesMax = 256;  // of a longer value the beginning counts
constexpr std::size_t kPlainTextMax = 64;   // inferred text up to this is one value
constexpr double kClip = 3;
constexpr std::size_t kSharedPart =
    16;  // the last 1/16 of the columns is shared when all are taken

bool is_word(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

/// The nearest float; of what is beyond them, the last.
float as_float(double x) {
  constexpr double kLast = std::numeric_limits<float>::max();
  return static_cast<float>(std::clamp(x, -kLast, kLast));
}

/// Divide what was added since `from` by its length.
void to_length_one(RawRow& row, std::size_t from) {
  double squares = 0;
  for (std::size_t i = from; i < row.entries.size(); ++i)
    squares += static_cast<double>(row.entries[i].value) * row.entries[i].value;
  if (squares <= 0) return;
  const double length = std::sqrt(squares);
  const auto scale = static_cast<float>(1 / length);
  const bool is_float = std::isnormal(scale);  // one over the length of what is tiny is not
  for (std::size_t i = from; i < row.entries.size(); ++i) {
    float& value = row.entries[i].value;
    value = is_float ? value * scale : static_cast<float>(static_cast<double>(value) / length);
  }
}

}  // namespace

void RawRow::clear() {
  entries.clear();
  numbers.clear();
  complete = true;
}

void RawRow::add(const RawRow& other, float weight) {
  for (const SparseEntry& entry : other.entries)
    entries.push_back({entry.column, entry.value * weight});
  for (const Number& number : other.numbers)
    numbers.push_back({number.column, number.value, number.weight * weight});
  complete = complete && other.complete;
}

void RawRow::merge() {
  // Stable, so that equal columns are summed in the order they came.
  std::stable_sort(entries.begin(), entries.end(),
                   [](const SparseEntry& a, const SparseEntry& b) { return a.column < b.column; });
  std::size_t kept = 0;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (kept > 0 && entries[kept - 1].column == entries[i].column) {
      entries[kept - 1].value += entries[i].value;
    } else {
      entries[kept++] = entries[i];
    }
  }
  entries.resize(kept);
}

std::size_t RawRow::bytes() const {
  return entries.capacity() * sizeof(SparseEntry) + numbers.capacity() * sizeof(Number);
}

SparseEncoder::SparseEncoder(std::size_t columns_max) : columns_max_(columns_max) {
  ACCRETE_CHECK(columns_max >= kSharedPart);
  rebuild_table();
}

/// Where a key is in the table, or would be: it is never full.
std::size_t SparseEncoder::place_of(std::uint64_t key) const {
  const std::size_t mask = table_.size() - 1;
  std::size_t place = key & mask;
  while (table_[place] != 0 && keys_[table_[place] - 1] != key)
    place = (place + 1) & mask;
  return place;
}

void SparseEncoder::rebuild_table() {
  table_.assign(std::bit_ceil(std::max<std::size_t>(keys_.size(), 16) * 4), 0);
  for (std::uint32_t c = 0; c < keys_.size(); ++c)
    table_[place_of(keys_[c])] = c + 1;
}

bool SparseEncoder::column_of(std::string_view item, bool grow, std::uint32_t& column) {
  const std::uint64_t key = hash64(item);
  const std::size_t place = place_of(key);
  if (table_[place] != 0) {
    column = table_[place] - 1;
    return true;
  }
  if (keys_.size() >= columns_max_) {
    const std::size_t shared = columns_max_ / kSharedPart;
    column = static_cast<std::uint32_t>(columns_max_ - shared + key % shared);
    return true;
  }
  if (!grow) return false;
  column = static_cast<std::uint32_t>(keys_.size());
  keys_.push_back(key);
  table_[place] = column + 1;
  if (keys_.size() * 2 > table_.size()) rebuild_table();
  return true;
}

void SparseEncoder::begin_item(std::uint32_t block, std::size_t column, char tag) {
  item_.clear();
  for (const std::size_t number : {static_cast<std::size_t>(block), column}) {
    for (int shift = 0; shift < 32; shift += 8)
      item_.push_back(static_cast<char>((number >> shift) & 0xFF));
  }
  item_.push_back(tag);
  prefix_ = item_.size();
}

void SparseEncoder::add_item(std::string_view item, double weight, bool grow, RawRow& out) {
  item_.resize(prefix_);
  item_.append(item.substr(0, kItemBytesMax));
  std::uint32_t column = 0;
  if (!std::isfinite(weight)) return;
  if (column_of(item_, grow, column)) {
    out.entries.push_back({column, as_float(weight)});
  } else {
    out.complete = false;
  }
}

void SparseEncoder::encode_text(std::string_view text, bool grow, RawRow& out) {
  word_.clear();
  for (const char c : text) {
    if (is_word(c)) {
      word_.push_back(lower(c));
    } else if (!word_.empty()) {
      add_item(word_, 1, grow, out);
      word_.clear();
    }
  }
  if (!word_.empty()) add_item(word_, 1, grow, out);
}

/// False: the cell gives nothing.
bool SparseEncoder::encode_cell(ColumnKind kind, const Value& cell, bool grow, RawRow& out) {
  const std::size_t from = out.entries.size();
  if (kind == ColumnKind::Set || kind == ColumnKind::Vector || kind == ColumnKind::Text) {
    const std::string held = cell.kind == ValueKind::Text ? std::string() : value_text(cell);
    const std::string_view text = cell.kind == ValueKind::Text ? cell.text : held;
    if (kind == ColumnKind::Text) {
      encode_text(text, grow, out);
    } else if (kind == ColumnKind::Set) {
      std::vector<WeightedItem> items;
      read_set(text, items);
      for (const WeightedItem& item : items)
        add_item(item.item, item.weight, grow, out);
    } else {
      std::vector<double> numbers;
      if (!read_vector(text, numbers)) return false;
      for (std::size_t i = 0; i < numbers.size(); ++i)
        add_item(std::to_string(i), numbers[i], grow, out);
    }
    to_length_one(out, from);
    return out.entries.size() > from;
  }
  if (kind == ColumnKind::Number) {
    const double number = number_value(cell);
    std::uint32_t column = 0;
    if (!std::isfinite(number)) return false;
    if (!column_of(item_, grow, column)) {
      out.complete = false;
      return false;
    }
    out.numbers.push_back({column, as_float(number), 1});
    return true;
  }
  add_item(value_text(cell), 1, grow, out);
  return true;
}

void SparseEncoder::encode(std::uint32_t block, const Table& table, std::span<const Value> cells,
                           const std::vector<bool>& skip, bool grow, RawRow& out) {
  out.clear();
  std::size_t given = 0;
  for (std::size_t c = 0; c < cells.size() && c < table.columns.size(); ++c) {
    const Value& cell = cells[c];
    if ((c < skip.size() && skip[c]) || cell.is_null() || cell.kind == ValueKind::Unchanged)
      continue;
    ColumnKind kind = table.columns[c].kind;
    if (kind == ColumnKind::Inferred) {
      const bool number = cell.kind == ValueKind::Integer || cell.kind == ValueKind::Real;
      const bool words = cell.kind == ValueKind::Text &&
                         (cell.text.size() > kPlainTextMax ||
                          cell.text.find_first_of(" \t\n") != std::string_view::npos);
      kind = number                         ? ColumnKind::Number
             : words                        ? ColumnKind::Text
             : cell.kind == ValueKind::Time ? ColumnKind::Time
                                            : ColumnKind::Category;
    }
    const bool silent = kind == ColumnKind::Time || kind == ColumnKind::Key ||
                        kind == ColumnKind::ForeignKey || kind == ColumnKind::Ignored;
    if (silent) continue;
    begin_item(block, c, kind == ColumnKind::Number ? 'n' : 'i');
    if (encode_cell(kind, cell, grow, out)) ++given;
  }
  if (given < 2) return;
  const auto part = static_cast<float>(1 / std::sqrt(static_cast<double>(given)));
  for (SparseEntry& entry : out.entries)
    entry.value *= part;
  for (RawRow::Number& number : out.numbers)
    number.weight *= part;
}

void SparseEncoder::measure(const RawRow& row) {
  for (const RawRow::Number& number : row.numbers) {
    Moments& moments = moments_[number.column];
    const double x = within_reach(number.value, moments.mean, moments.squares, moments.count);
    moments.count += 1;
    const double step = x - moments.mean;
    moments.mean += step / moments.count;
    moments.squares += step * (x - moments.mean);
  }
}

void SparseEncoder::rescale() {
  for (const auto& [column, moments] : moments_) {
    const double variance = moments.squares / moments.count;
    scales_[column] = {moments.mean, variance > 1e-12 ? 1 / std::sqrt(variance) : 0};
  }
  moments_.clear();
}

void SparseEncoder::finish(const RawRow& row, std::vector<SparseEntry>& out) const {
  out.insert(out.end(), row.entries.begin(), row.entries.end());
  for (const RawRow::Number& number : row.numbers) {
    const auto scale = scales_.find(number.column);
    if (scale == scales_.end() || scale->second.inverse <= 0) continue;
    const double z = (number.value - scale->second.mean) * scale->second.inverse;
    out.push_back(
        {number.column, number.weight * static_cast<float>(std::clamp(z, -kClip, kClip))});
  }
}

std::size_t SparseEncoder::memory_bytes() const {
  return keys_.capacity() * sizeof(std::uint64_t) + table_.capacity() * sizeof(std::uint32_t) +
         (scales_.size() + moments_.size()) * 80;
}

void SparseEncoder::save(StateWriter& writer) const {
  ACCRETE_CHECK(moments_.empty());  // between measure() and rescale() there is nothing to keep
  writer.u64(columns_max_);
  writer.u64(keys_.size());
  writer.raw(keys_.data(), keys_.size() * sizeof(std::uint64_t));
  writer.u64(scales_.size());
  for (const auto& [column, scale] : scales_) {
    writer.u32(column);
    writer.f64(scale.mean);
    writer.f64(scale.inverse);
  }
}

void SparseEncoder::load(StateReader& reader) {
  reader.require(reader.u64() == columns_max_);
  std::vector<std::uint64_t> keys(reader.count(sizeof(std::uint64_t)));
  reader.require(keys.size() <= columns_max_);
  reader.raw(keys.data(), keys.size() * sizeof(std::uint64_t));
  std::map<std::uint32_t, Scale> scales;
  for (auto n = reader.count(20); n > 0 && !reader.failed(); --n) {
    const std::uint32_t column = reader.u32();
    const double mean = reader.f64();
    scales[column] = {mean, reader.f64()};
  }
  if (reader.failed()) return;
  keys_ = std::move(keys);
  scales_ = std::move(scales);
  rebuild_table();
}

}  // namespace accrete::models
