// Which columns a table shows, and a row's values of them.
#include "models/aggregate_columns.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "models/state_bytes.h"

namespace accrete::models {
namespace {

constexpr std::uint8_t state_version = 1;
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

constexpr std::size_t columns_max = 256;     // of one table's rows
constexpr std::size_t values_max = 256;      // counted per column; the frequent ones come early
constexpr std::size_t text_values_min = 64;  // more than these: a text, of which the length counts
constexpr std::size_t value_bytes_max = 64;
constexpr std::size_t indicators_max = 6;  // per column
constexpr std::uint64_t indicator_rows_min = 4;
constexpr double share_min = 0.06;           // a rarer value, or a rarer other, tells too little
constexpr std::uint64_t group_rows_min = 8;  // per value, on average
constexpr double null_share_min = 0.02;
constexpr double shared_stamps_min = 0.5;

bool is_blank(const Value& value) {
  return value.is_null() || value.kind == ValueKind::Unchanged;
}

const Value& cell_at(std::span<const Value> cells, std::size_t i) {
  static const Value null = Value::null();
  return i < cells.size() ? cells[i] : null;
}

bool is_silent(const Table& table, std::size_t index) {
  const auto is_it = [&](ColumnId id) { return id.value == index; };
  const ColumnKind kind = table.columns[index].kind;
  if (kind == ColumnKind::Key || kind == ColumnKind::ForeignKey || kind == ColumnKind::Ignored) {
    return true;
  }
  if (table.time && is_it(*table.time)) return true;
  if (std::any_of(table.key.begin(), table.key.end(), is_it)) return true;
  return std::any_of(table.foreign_keys.begin(), table.foreign_keys.end(), [&](const auto& key) {
    return std::any_of(key.columns.begin(), key.columns.end(), is_it);
  });
}

bool is_category(ColumnKind kind) {
  return kind == ColumnKind::Category || kind == ColumnKind::Text;
}

double number_of(const Value& value) {
  const double v = value.is_number() ? value.as_number() : nan;
  return std::isfinite(v) ? v : nan;
}

/// The name under which a value is counted; `buffer` holds it where the cell itself does not.
std::string_view name_of(const Value& value, std::string& buffer) {
  if (value.kind == ValueKind::Text) return value.text.substr(0, value_bytes_max);
  buffer = value_text(value);
  return buffer;
}

}  // namespace

void AggregateColumns::observe_text(Seen& seen, std::string_view text) {
  ++seen.texts;
  const auto found = seen.values.find(text);
  if (found != seen.values.end()) {
    ++found->second;
  } else if (seen.values.size() < values_max) {
    seen.values.emplace(text, 1);
  } else {
    seen.many = true;
  }
}

void AggregateColumns::observe(const Table& table, std::span<const Value> cells,
                               bool shares_stamp) {
  if (rows_ >= rows_reviewed_max) return;
  if (seen_.size() < table.columns.size()) {
    // A column that comes later was null in the rows before.
    Seen late;
    late.nulls = rows_;
    seen_.resize(table.columns.size(), late);
  }
  ++rows_;
  shared_ += shares_stamp ? 1 : 0;
  std::string buffer;
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    if (is_silent(table, i)) continue;
    Seen& seen = seen_[i];
    const Value& cell = cell_at(cells, i);
    if (is_blank(cell)) {
      ++seen.nulls;
    } else if (is_category(table.columns[i].kind) || cell.kind == ValueKind::Text) {
      observe_text(seen, name_of(cell, buffer));
    } else if (const double v = number_of(cell); !std::isnan(v)) {
      seen.least = seen.numbers == 0 ? v : std::min(seen.least, v);
      seen.greatest = seen.numbers == 0 ? v : std::max(seen.greatest, v);
      ++seen.numbers;
    }
  }
  due_ = due_ || rows_ >= next_review_;
}

bool AggregateColumns::has(Kind kind, std::size_t column) const {
  return std::any_of(specs_.begin(), specs_.end(),
                     [&](const Spec& spec) { return spec.kind == kind && spec.column == column; });
}

bool AggregateColumns::add(Kind kind, std::size_t column, std::string value) {
  if (width() >= columns_max) return false;
  Spec spec;
  spec.kind = kind;
  spec.column = static_cast<std::uint16_t>(column);
  spec.value = std::move(value);
  specs_.push_back(std::move(spec));
  return true;
}

void AggregateColumns::review_column(const Table& table, std::size_t index) {
  const Seen& seen = seen_[index];
  const auto rows = static_cast<double>(rows_);
  if (seen.numbers > 0 && seen.texts == 0 && seen.least < seen.greatest &&
      !has(Kind::Number, index)) {
    add(Kind::Number, index);
  }
  const double null_share = static_cast<double>(seen.nulls) / rows;
  if (null_share >= null_share_min && null_share <= 1 - null_share_min && !has(Kind::Null, index)) {
    add(Kind::Null, index);
  }
  std::vector<std::pair<std::uint64_t, std::string>> frequent;
  for (const auto& [value, count] : seen.values) {
    const double share = static_cast<double>(count) / rows;
    if (share < share_min || share > 1 - share_min || count < indicator_rows_min) continue;
    frequent.emplace_back(count, value);
  }
  std::stable_sort(frequent.begin(), frequent.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  for (auto& [count, value] : frequent) {
    std::size_t indicators = 0;
    bool known = false;
    for (const Spec& spec : specs_) {
      if (spec.kind != Kind::Equals || spec.column != index) continue;
      ++indicators;
      known = known || spec.value == value;
    }
    if (!known && indicators < indicators_max) add(Kind::Equals, index, std::move(value));
  }
  const bool is_text = table.columns[index].kind == ColumnKind::Text ||
                       (table.columns[index].kind != ColumnKind::Category &&
                        (seen.many || seen.values.size() > text_values_min));
  if (seen.texts > 0 && is_text && !has(Kind::Length, index)) add(Kind::Length, index);
}

bool AggregateColumns::review(const Table& table) {
  due_ = false;
  while (next_review_ <= rows_)
    next_review_ *= 2;
  const std::size_t before = specs_.size();
  for (std::size_t i = 0; i < seen_.size(); ++i) {
    if (!is_silent(table, i)) review_column(table, i);
  }
  if (static_cast<double>(shared_) > shared_stamps_min * static_cast<double>(rows_)) {
    has_ranks_ = true;
  }
  const std::size_t unranked = has_ranks_ ? specs_.size() : 0;
  for (std::size_t s = 0; s < unranked; ++s) {
    const std::size_t column = specs_[s].column;
    if (specs_[s].kind != Kind::Number || has(Kind::Rank, column)) continue;
    if (add(Kind::Rank, column)) specs_.back().of = static_cast<std::uint16_t>(s);
  }
  return specs_.size() > before;
}

std::vector<std::size_t> AggregateColumns::groups(const Table& table) const {
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i < seen_.size(); ++i) {
    const Seen& seen = seen_[i];
    const ColumnKind kind = table.columns[i].kind;
    if (is_silent(table, i) || kind == ColumnKind::Text || seen.texts == 0) continue;
    if (seen.values.size() < 2 || seen.numbers > 0) continue;
    const bool few = !seen.many && seen.values.size() * group_rows_min <= seen.texts;
    if (few || kind == ColumnKind::Category) found.push_back(i);
  }
  return found;
}

bool AggregateColumns::is_shared(std::size_t index) const {
  if (index < given_) return false;
  const Kind kind = specs_[index - given_].kind;
  return kind == Kind::Number || kind == Kind::Null || kind == Kind::Equals;
}

std::optional<std::size_t> AggregateColumns::category_of(std::size_t index) const {
  if (index < given_ || specs_[index - given_].kind != Kind::Equals) return std::nullopt;
  return specs_[index - given_].column;
}

void AggregateColumns::encode(std::span<const Value> cells, std::span<double> out) const {
  ACCRETE_CHECK(out.size() == width());
  std::string buffer;
  for (std::size_t s = 0; s < specs_.size(); ++s) {
    const Spec& spec = specs_[s];
    const Value& cell = cell_at(cells, spec.column);
    double& x = out[given_ + s];
    x = nan;
    if (spec.kind == Kind::Null) x = is_blank(cell) ? 1 : 0;
    if (is_blank(cell)) continue;
    switch (spec.kind) {
      case Kind::Number:
        x = number_of(cell);
        break;
      case Kind::Equals:
        x = name_of(cell, buffer) == spec.value ? 1 : 0;
        break;
      case Kind::Length:
        if (cell.kind == ValueKind::Text) x = std::log1p(static_cast<double>(cell.text.size()));
        break;
      case Kind::Null:
      case Kind::Rank:
        break;
    }
  }
}

void AggregateColumns::rank(std::span<const std::span<double>> rows) const {
  for (std::size_t s = 0; s < specs_.size(); ++s) {
    if (specs_[s].kind != Kind::Rank) continue;
    const std::size_t from = given_ + specs_[s].of;
    const std::size_t to = given_ + s;
    std::vector<double> values;
    for (const std::span<double> row : rows) {
      if (!std::isnan(row[from])) values.push_back(row[from]);
    }
    std::sort(values.begin(), values.end());
    for (const std::span<double> row : rows) {
      row[to] = nan;
      if (std::isnan(row[from])) continue;
      const auto [low, high] = std::equal_range(values.begin(), values.end(), row[from]);
      const auto less = static_cast<double>(low - values.begin());
      const auto equal = static_cast<double>(high - low);
      row[to] = (less + equal / 2) / static_cast<double>(values.size()) - 0.5;
    }
  }
}

std::vector<std::string> AggregateColumns::names(const Table& table) const {
  std::vector<std::string> names;
  for (const Spec& spec : specs_) {
    const std::string& column = table.columns[spec.column].name;
    switch (spec.kind) {
      case Kind::Number:
        names.push_back(column);
        break;
      case Kind::Null:
        names.push_back(column + " is null");
        break;
      case Kind::Equals:
        names.push_back(column + " = " + spec.value);
        break;
      case Kind::Length:
        names.push_back("length of " + column);
        break;
      case Kind::Rank:
        names.push_back("rank of " + column);
        break;
    }
  }
  return names;
}

void AggregateColumns::save(std::string& out) const {
  StateWriter writer(out);
  writer.u8(state_version);
  writer.u64(given_);
  writer.u64(rows_);
  writer.u64(shared_);
  writer.u64(next_review_);
  writer.u8(has_ranks_ ? 1 : 0);
  writer.u64(specs_.size());
  for (const Spec& spec : specs_) {
    writer.u8(static_cast<std::uint8_t>(spec.kind));
    writer.u32(spec.column);
    writer.u32(spec.of);
    writer.text(spec.value);
  }
  writer.u64(seen_.size());
  for (const Seen& seen : seen_) {
    writer.u64(seen.nulls);
    writer.u64(seen.numbers);
    writer.u64(seen.texts);
    writer.f64(seen.least);
    writer.f64(seen.greatest);
    writer.u8(seen.many ? 1 : 0);
    writer.u64(seen.values.size());
    for (const auto& [value, count] : seen.values) {
      writer.text(value);
      writer.u64(count);
    }
  }
}

Status AggregateColumns::load(std::string_view bytes) {
  StateReader reader(bytes);
  AggregateColumns fresh(given_);
  reader.require(reader.u8() == state_version);
  reader.require(reader.u64() == given_);
  fresh.rows_ = reader.u64();
  fresh.shared_ = reader.u64();
  fresh.next_review_ = reader.u64();
  fresh.has_ranks_ = reader.u8() != 0;
  fresh.specs_.resize(reader.count(13));
  for (Spec& spec : fresh.specs_) {
    const std::uint8_t kind = reader.u8();
    reader.require(kind <= static_cast<std::uint8_t>(Kind::Rank));
    if (reader.failed()) break;
    spec.kind = static_cast<Kind>(kind);
    spec.column = static_cast<std::uint16_t>(reader.u32());
    spec.of = static_cast<std::uint16_t>(reader.u32());
    spec.value = reader.text();
    reader.require(spec.of < fresh.specs_.size());
  }
  fresh.seen_.resize(reader.count(49));
  for (Seen& seen : fresh.seen_) {
    seen.nulls = reader.u64();
    seen.numbers = reader.u64();
    seen.texts = reader.u64();
    seen.least = reader.f64();
    seen.greatest = reader.f64();
    seen.many = reader.u8() != 0;
    for (std::uint64_t n = reader.count(12); n > 0 && !reader.failed(); --n) {
      std::string value = reader.text();
      seen.values.emplace_hint(seen.values.end(), std::move(value), reader.u64());
    }
  }
  for (const Spec& spec : fresh.specs_)
    reader.require(spec.column < fresh.seen_.size());
  ACCRETE_DO(reader.finish("aggregate columns"));
  *this = std::move(fresh);
  return Ok{};
}

}  // namespace accrete::models
