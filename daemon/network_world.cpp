// When scales are taken anew and blocks begin.
#include "daemon/network_world.h"

#include <algorithm>
#include <limits>

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
  return options;
}

}  // namespace

NetworkWorld::NetworkWorld(const NetworkConfig& config, const BlocksConfig& blocks,
                           const Schema& schema, store::Graph& graph, RowReader& rows)
    : config_(config), rows_(schema, graph, rows, kCacheBytes), clock_(clock_options(blocks)) {}

void NetworkWorld::folded(TableId table, std::span<const Value> cells, TimeUs from) {
  rows_.observe(table, cells, from);
  ++seen_;
  clock_.add({from.value, 0});
}

void NetworkWorld::end_instant(TimeUs at) {
  if (clock_.block() != clocked_) {
    clocked_ = clock_.block();
    rows_.begin_block(at);
    rows_.freeze();
    frozen_ = seen_;
  } else if (seen_ >= std::max(kFirstRows, 2 * frozen_) && frozen_ < kYoungRows) {
    rows_.freeze();
    frozen_ = seen_;
  }
}

void NetworkWorld::stage(store::State& state) {
  rows_.stage(state);
  std::string bytes;
  ByteWriter writer(bytes);
  writer.put(clocked_);
  writer.put(seen_);
  writer.put(frozen_);
  put_saved(writer, clock_);
  state.put(store::Section::Blobs, "/network/clock", bytes);
}

Status NetworkWorld::load(store::State& state) {
  ACCRETE_DO(rows_.load(state));
  std::string bytes;
  ACCRETE_TRY(const bool stored, state.get(store::Section::Blobs, "/network/clock", bytes));
  if (!stored) return Ok{};
  ByteReader reader(bytes);
  clocked_ = reader.get<std::uint32_t>();
  seen_ = reader.get<std::uint64_t>();
  frozen_ = reader.get<std::uint64_t>();
  ACCRETE_DO(clock_.load(reader.get_text()));
  if (!reader.done()) {
    return Error{Errc::Corruption, "the stored block clock does not decode"};
  }
  return Ok{};
}

}  // namespace accrete::daemon
