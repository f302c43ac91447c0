// Spaces of tables, mixtures of their rows, and how many rows none of them knows.
#include "models/row_novelty.h"

#include <cmath>
#include <utility>

#include "models/state_bytes.h"
#include "proto/hash.h"
#include "proto/rng.h"

namespace accrete::models {
namespace {

constexpr std::uint8_t kStateVersion = 1;
constexpr double kClip = 4;

Eigen::Index at(std::size_t i) {
  return static_cast<Eigen::Index>(i);
}

std::uint64_t hash_of(std::uint32_t position) {
  return hash64({reinterpret_cast<const char*>(&position), sizeof position});
}

void to_floats(std::span<const double> from, float* to) {
  std::ranges::transform(from, to, [](double x) { return static_cast<float>(x); });
}

}  // namespace

RowNovelty::RowNovelty(std::size_t tables, const RowNoveltyOptions& options,
                       std::function<std::vector<bool>(std::size_t)> names)
    : options_(options), names_(std::move(names)), tables_(tables) {
  ACCRETE_CHECK(options.width > 0 && options.blocks_max > 0 && options.rows_min > 0);
  ACCRETE_CHECK(options.sample > 0 && options.sample <= options.rows_min);
  for (std::size_t t = 0; t < tables; ++t)
    tables_[t].blocks = BlockMixtures(options.mixture, options.seed + t);
}

void RowNovelty::add(std::size_t number, std::span<const double> encoded) {
  Table& table = tables_[number];
  ++table.rows;
  table.dirty = true;
  if (table.told.empty()) {
    table.scale.grow(std::max(table.scale.width(), encoded.size()));
    table.scale.observe(encoded);
    keep(number, encoded);
  } else {
    const std::vector<double> placed = place(table, encoded);
    if (table.rows > options_.rows_min) judge(table, placed);
    keep(number, placed);
  }
  if (table.rows == options_.rows_min) fit(number);
  if (table.rows == 2 * table.fitted) due_ = true;
}

/// A uniform sample of the block's rows (Vitter 1985, algorithm R).
void RowNovelty::keep(std::size_t number, std::span<const double> row) {
  Table& table = tables_[number];
  if (table.sample.size() < options_.sample) {
    table.sample.emplace_back(row.begin(), row.end());
    return;
  }
  Rng rng(options_.seed + number, std::uint64_t{block_} << 40 ^ table.rows, Purpose::Sample);
  const std::uint64_t place = rng.below(table.rows);
  if (place < table.sample.size()) table.sample[place].assign(row.begin(), row.end());
}

/// A row in its table's space.
std::vector<double> RowNovelty::place(const Table& table, std::span<const double> encoded) const {
  std::vector<double> out(width_of(table));
  const bool folded = table.told.size() > out.size();
  for (std::size_t i = 0; i < table.told.size(); ++i) {
    const std::uint32_t p = table.told[i];
    if (p >= encoded.size() || !std::isfinite(encoded[p])) continue;
    const double value = table.scale.standardise(p, encoded[p], kClip);
    const std::uint64_t hash = folded ? hash_of(p) : 0;
    out[folded ? hash % out.size() : i] += (hash >> 63) != 0 ? -value : value;
  }
  return out;
}

void RowNovelty::judge(const Table& table, std::span<const double> placed) {
  row_.resize(1, at(placed.size()));
  to_floats(placed, row_.data());
  ++judged_;
  if (table.blocks.novel_share(row_) > 0) ++novel_;
}

/// The table's space, of the rows so far; false if none of its positions varies.
bool RowNovelty::fix(std::size_t number) {
  Table& table = tables_[number];
  const std::vector<bool> names = names_(number);
  table.scale.freeze();
  for (std::size_t p = 0; p < table.scale.width(); ++p) {
    const bool name = p < names.size() && names[p];
    if (!name && table.scale.varies(p)) table.told.push_back(static_cast<std::uint32_t>(p));
  }
  if (table.told.empty()) return false;
  for (std::vector<double>& row : table.sample)
    row = place(table, row);
  return true;
}

void RowNovelty::fit(std::size_t number) {
  Table& table = tables_[number];
  if (table.told.empty() && !fix(number)) return;
  RowMatrix<float> rows(at(table.sample.size()), at(width_of(table)));
  for (std::size_t i = 0; i < table.sample.size(); ++i)
    to_floats(table.sample[i], rows.row(at(i)).data());
  table.blocks.add(block_, rows);
  if (table.blocks.size() > options_.blocks_max) table.blocks.drop_lowest();
  table.fitted = table.rows;
}

void RowNovelty::begin(std::uint32_t block) {
  ACCRETE_CHECK(block > block_);
  block_ = block;
  for (Table& table : tables_) {
    table.dirty = table.dirty || table.rows > 0;
    table.rows = 0;
    table.fitted = 0;
    table.sample.clear();
  }
  due_ = false;
  judged_ = 0;
  novel_ = 0;
}

double RowNovelty::take_novel_share() {
  const std::uint64_t judged = std::exchange(judged_, 0);
  const auto novel = static_cast<double>(std::exchange(novel_, 0));
  const double share =
      novel / static_cast<double>(std::max<std::uint64_t>(judged, options_.judged_min));
  if (due_ && share <= options_.calm_share) {
    for (std::size_t t = 0; t < tables_.size(); ++t) {
      if (tables_[t].fitted == 0 || tables_[t].rows < 2 * tables_[t].fitted) continue;
      fit(t);
      tables_[t].dirty = true;  // it may have had no row since it was written
    }
    due_ = false;
  }
  return share;
}

std::size_t RowNovelty::memory_bytes() const {
  std::size_t bytes = 0;
  for (const Table& table : tables_) {
    bytes += table.blocks.memory_bytes() + table.scale.width() * 6 * sizeof(double);
    for (const std::vector<double>& row : table.sample)
      bytes += row.capacity() * sizeof(double) + sizeof(std::vector<double>);
  }
  return bytes;
}

void RowNovelty::save(
    const std::function<void(std::size_t table, const std::string& bytes)>& changed,
    std::string& common) {
  std::string bytes;
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    Table& table = tables_[t];
    if (!std::exchange(table.dirty, false)) continue;
    bytes.clear();
    StateWriter writer(bytes);
    writer.u8(kStateVersion);
    table.scale.save(writer);
    writer.u64(table.told.size());
    for (const std::uint32_t p : table.told)
      writer.u32(p);
    std::string blocks;
    table.blocks.save(blocks);
    writer.text(blocks);
    writer.u64(table.rows);
    writer.u64(table.fitted);
    writer.u64(table.sample.size());
    for (const std::vector<double>& row : table.sample)
      writer.doubles(row);
    changed(t, bytes);
  }
  StateWriter writer(common);
  writer.u8(kStateVersion);
  writer.u32(block_);
  writer.u8(due_ ? 1 : 0);
  writer.u64(judged_);
  writer.u64(novel_);
}

Status RowNovelty::load_table(std::size_t number, std::string_view bytes) {
  StateReader reader(bytes);
  Table table;
  reader.require(reader.u8() == kStateVersion);
  table.scale.load(reader);
  table.told.resize(reader.count(sizeof(std::uint32_t)));
  for (std::uint32_t& p : table.told) {
    p = reader.u32();
    reader.require(p < table.scale.width());
  }
  reader.require(table.blocks.load(reader.text()).has_value());
  reader.require(table.blocks.size() == 0 ||
                 table.blocks.mixture(table.blocks.blocks().front()).width() == width_of(table));
  table.rows = reader.u64();
  table.fitted = reader.u64();
  reader.require(table.fitted <= table.rows);
  table.sample.resize(reader.count(sizeof(std::uint64_t)));
  for (std::vector<double>& row : table.sample) {
    row = reader.doubles();
    reader.require(table.told.empty() ? row.size() <= table.scale.width()
                                      : row.size() == width_of(table));
  }
  reader.require(table.sample.size() == std::min<std::uint64_t>(table.rows, options_.sample));
  ACCRETE_DO(reader.finish("row novelty"));
  tables_[number] = std::move(table);
  return Ok{};
}

Status RowNovelty::load_common(std::string_view bytes) {
  StateReader reader(bytes);
  reader.require(reader.u8() == kStateVersion);
  const std::uint32_t block = reader.u32();
  const std::uint8_t due = reader.u8();
  const std::uint64_t judged = reader.u64();
  const std::uint64_t novel = reader.u64();
  reader.require(novel <= judged && due <= 1);
  ACCRETE_DO(reader.finish("row novelty"));
  block_ = block;
  due_ = due == 1;
  judged_ = judged;
  novel_ = novel;
  return Ok{};
}

}  // namespace accrete::models
