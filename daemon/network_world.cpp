// When scales are taken anew and blocks begin.
#include "daemon/network_world.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "daemon/saved.h"
#include "proto/bytes.h"

namespace accrete::daemon {
namespace {

constexpr std::uint64_t kFirstRows = 64;
// Beyond so many rows scales stand still within a block.
constexpr std::uint64_t kYoungRows = 1u << 17;
constexpr std::size_t kCacheBytes = 64u << 20;

const std::string kNoveltyKey = "/network/novelty";

std::string novelty_key(std::size_t table) {
  return kNoveltyKey + '/' + std::to_string(table);
}

models::BlockClockOptions clock_options(const BlocksConfig& blocks) {
  models::BlockClockOptions options;
  options.rule = blocks.by;
  options.rows_min = std::min(options.rows_min, blocks.every_rows);
  // Drift alone has a largest block: what changes slowly raises no alarm.
  if (blocks.by != models::BlockRule::Drift)
    options.rows_max = std::numeric_limits<std::uint64_t>::max();
  options.rows = blocks.every_rows;
  options.period_us = blocks.every_us;
  options.classes = blocks.every_classes;
  return options;
}

}  // namespace

NetworkWorld::NetworkWorld(const NetworkConfig& config, const BlocksConfig& blocks,
                           const Schema& schema, store::Graph& graph, RowReader& rows)
    : config_(config), rows_(schema, graph, rows, kCacheBytes), clock_(clock_options(blocks)) {
  if (blocks.by != models::BlockRule::Drift) return;
  novelty_ = std::make_unique<models::RowNovelty>(
      schema.tables().size(), models::RowNoveltyOptions(),
      [this](std::size_t t) { return rows_.names(TableId{static_cast<std::uint16_t>(t)}); });
}

void NetworkWorld::folded(NodeId node, bool is_new, std::span<const Value> cells, TimeUs from,
                          TimeUs now) {
  rows_.observe(node.table, cells, from);
  ++seen_;
  if (clock_.add({from.value, std::exchange(new_classes_, 0)}) != block()) {
    rows_.begin_block(is_new ? std::optional(node) : std::nullopt, now);
    begun_ = true;
    if (novelty_ != nullptr) novelty_->begin(block());
  }
  if (novelty_ != nullptr) watch_novelty(node.table);
}

/// The row last observed, in the block that is open now.
void NetworkWorld::watch_novelty(TableId table) {
  novelty_->add(table.value, rows_.observed());
  // What was novel before was the change that opened the block.
  if (clock_.judgeable()) static_cast<void>(novelty_->take_novel_share());
  if (clock_.chunk_full()) clock_.judge_chunk(novelty_->take_novel_share());
}

void NetworkWorld::end_instant(TimeUs now) {
  if (!config_.learns_at(now)) return;
  const bool young = seen_ >= std::max(kFirstRows, 2 * frozen_) && frozen_ < kYoungRows;
  if (!begun_ && !young) return;
  // What stands for old blocks was seen in the scale of the first, or of those that came at once.
  if (config_.replay != NetworkConfig::Replay::Rows && kept_) return;
  rows_.freeze();
  kept_ = block() > 0;
  frozen_ = seen_;
  begun_ = false;
}

void NetworkWorld::stage(store::State& state) {
  rows_.stage(state);
  std::string bytes;
  ByteWriter writer(bytes);
  writer.put(new_classes_);
  writer.put(seen_);
  writer.put(frozen_);
  writer.put(static_cast<std::uint8_t>(begun_));
  writer.put(static_cast<std::uint8_t>(kept_));
  put_saved(writer, clock_);
  state.put(store::Section::Blobs, "/network/clock", bytes);
  if (novelty_ == nullptr) return;
  std::string common;
  novelty_->save(
      [&](std::size_t table, const std::string& saved) {
        state.put(store::Section::Blobs, novelty_key(table), saved);
      },
      common);
  state.put(store::Section::Blobs, kNoveltyKey, common);
}

Status NetworkWorld::load(store::State& state) {
  ACCRETE_DO(rows_.load(state));
  std::string bytes;
  ACCRETE_TRY(const bool stored, state.get(store::Section::Blobs, "/network/clock", bytes));
  if (!stored) return Ok{};
  ByteReader reader(bytes);
  new_classes_ = reader.get<std::uint32_t>();
  seen_ = reader.get<std::uint64_t>();
  frozen_ = reader.get<std::uint64_t>();
  begun_ = reader.get<std::uint8_t>() != 0;
  kept_ = reader.get<std::uint8_t>() != 0;
  ACCRETE_DO(clock_.load(reader.get_text()));
  if (!reader.done()) {
    return Error{Errc::Corruption, "the stored block clock does not decode"};
  }
  if (novelty_ == nullptr) return Ok{};
  return load_novelty(state);
}

Status NetworkWorld::load_novelty(store::State& state) {
  std::string bytes;
  ACCRETE_TRY(const bool known, state.get(store::Section::Blobs, kNoveltyKey, bytes));
  if (known) ACCRETE_DO(novelty_->load_common(bytes));
  for (std::size_t t = 0; t < novelty_->tables(); ++t) {
    ACCRETE_TRY(const bool kept, state.get(store::Section::Blobs, novelty_key(t), bytes));
    if (kept) ACCRETE_DO(novelty_->load_table(t, bytes));
  }
  return Ok{};
}

}  // namespace accrete::daemon
