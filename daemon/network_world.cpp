// When scales are taken anew and blocks begin.
#include "daemon/network_world.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "daemon/saved.h"
#include "proto/bytes.h"

namespace accrete::daemon {
namespace {

constexpr std::uint64_t kFirstRows = 64;
// Beyond so many rows scales stand still within a block.
constexpr std::uint64_t kYoungRows = 1u << 17;
constexpr std::size_t kCacheBytes = 64u << 20;

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
    : config_(config), rows_(schema, graph, rows, kCacheBytes), clock_(clock_options(blocks)) {}

void NetworkWorld::folded(NodeId node, std::span<const Value> cells, TimeUs from, TimeUs now) {
  rows_.observe(node.table, cells, from);
  ++seen_;
  if (clock_.add({from.value, std::exchange(new_classes_, 0)}) == block()) return;
  rows_.begin_block(node, now);
  begun_ = true;
}

void NetworkWorld::end_instant() {
  const bool young = seen_ >= std::max(kFirstRows, 2 * frozen_) && frozen_ < kYoungRows;
  if (!begun_ && !young) return;
  rows_.freeze();
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
  put_saved(writer, clock_);
  state.put(store::Section::Blobs, "/network/clock", bytes);
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
  ACCRETE_DO(clock_.load(reader.get_text()));
  if (!reader.done()) {
    return Error{Errc::Corruption, "the stored block clock does not decode"};
  }
  return Ok{};
}

}  // namespace accrete::daemon
