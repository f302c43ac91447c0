// Reasons to end a block, gathered until it is large enough.
#include "models/block_clock.h"

#include <algorithm>

#include "models/state_bytes.h"
#include "proto/ids.h"

namespace accrete::models {
namespace {

constexpr std::uint8_t kStateVersion = 1;

/// Rounds down, also before 1970.
std::int64_t period_of(std::int64_t time_us, std::int64_t period_us) {
  return time_us / period_us - (time_us % period_us < 0 ? 1 : 0);
}

}  // namespace

BlockClock::BlockClock(const BlockClockOptions& options) : options_(options) {
  ACCRETE_CHECK(options.rows_min > 0 && options.rows_min <= options.rows_max);
  ACCRETE_CHECK(options.rule != BlockRule::Rows ||
                (options.rows_min <= options.rows && options.rows <= options.rows_max));
  ACCRETE_CHECK(options.rule != BlockRule::Time || options.period_us > 0);
  ACCRETE_CHECK(options.classes > 0 && options.chunk_rows > 0 && options.chunks > 0);
  if (options.rule == BlockRule::Time) period_ = period_of(kTimeMin.value, options.period_us);
}

std::uint32_t BlockClock::add(const BlockRow& row) {
  const bool by_time = options_.rule == BlockRule::Time;
  const std::int64_t period = by_time ? period_of(row.time_us, options_.period_us) : 0;
  if (by_time && period_ == period_of(kTimeMin.value, options_.period_us)) period_ = period;
  if (by_time && period > period_) {
    due_ = true;
    period_ = period;
  }
  if (options_.rule == BlockRule::Classes && row.new_classes > 0 && classes_ >= options_.classes) {
    due_ = true;
  }
  if (options_.rule == BlockRule::Rows && rows_ >= options_.rows) due_ = true;
  if ((due_ && rows_ >= options_.rows_min) || rows_ >= options_.rows_max) {
    ++block_;
    rows_ = 0;
    due_ = false;
    classes_ = 0;
    novel_run_ = 0;
  }
  ++rows_;
  classes_ += row.new_classes;
  return block_;
}

void BlockClock::mark() {
  // Before the first row there is no block to end.
  if (options_.rule == BlockRule::Marker && rows_ > 0) due_ = true;
}

bool BlockClock::chunk_full() const {
  return options_.rule == BlockRule::Drift && rows_ > options_.rows_min &&
         (rows_ - options_.rows_min) % options_.chunk_rows == 0;
}

void BlockClock::judge_chunk(double novel_share) {
  ACCRETE_CHECK(chunk_full() && novel_share >= 0 && novel_share <= 1);
  novel_run_ = novel_share > options_.novel_share ? novel_run_ + 1 : 0;
  if (novel_run_ >= options_.chunks) due_ = true;
}

void BlockClock::alarm() {
  if (options_.rule == BlockRule::Drift && rows_ >= options_.rows_min) due_ = true;
}

void BlockClock::save(std::string& out) const {
  StateWriter writer(out);
  writer.u8(kStateVersion);
  writer.u32(block_);
  writer.u64(rows_);
  writer.u8(due_ ? 1 : 0);
  writer.u64(static_cast<std::uint64_t>(period_));
  writer.u64(classes_);
  writer.u32(novel_run_);
}

Status BlockClock::load(std::string_view bytes) {
  StateReader reader(bytes);
  reader.require(reader.u8() == kStateVersion);
  BlockClock loaded(options_);
  loaded.block_ = reader.u32();
  loaded.rows_ = reader.u64();
  const std::uint8_t due = reader.u8();
  loaded.due_ = due == 1;
  loaded.period_ = static_cast<std::int64_t>(reader.u64());
  loaded.classes_ = reader.u64();
  loaded.novel_run_ = reader.u32();
  reader.require(due <= 1);
  ACCRETE_DO(reader.finish("block clock"));
  *this = loaded;
  return Ok{};
}

}  // namespace accrete::models
