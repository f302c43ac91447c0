// The order of what is in memory and what is in the log.
#include "daemon/fold_queue.h"

#include <algorithm>
#include <string>
#include <utility>

namespace accrete::daemon {

FoldQueue::FoldQueue(const store::Log& log, Bounds bounds)
    : log_(log), bounds_(bounds), mail_(bounds.groups), admitted_(log.end()) {}

bool FoldQueue::give(LogSlice slice) {
  // Single rows share a place.
  const auto join = [this](LogSlice& waiting, const LogSlice& next) {
    return waiting.join(next, bounds_.group_records, bounds_.group_bytes);
  };
  if (bounds_.lag_records == 0) return mail_.send(std::move(slice), join);
  const std::uint64_t before = slice.first.value - 1;
  std::unique_lock lock(mutex_);
  room_.wait(lock, [&] {
    return closed_ || before <= admitted_.value || before - admitted_.value <= bounds_.lag_records;
  });
  if (closed_) return false;
  // While the fold reads the log, mail would overtake what it reads.
  if (!(admitted_ < left_to_log_) && mail_.try_send(slice, join)) return true;
  left_to_log_ = Ordinal{before + slice.size()};
  return true;
}

void FoldQueue::admitted(Ordinal newest) {
  {
    const std::lock_guard lock(mutex_);
    admitted_ = newest;
  }
  room_.notify_one();
}

Result<std::optional<LogSlice>> FoldQueue::take() {
  Ordinal next;
  std::uint64_t records = 0;
  {
    const std::lock_guard lock(mutex_);
    next = Ordinal{admitted_.value + 1};
    if (admitted_ < left_to_log_) records = left_to_log_.value - admitted_.value;
  }
  // Mail is older than what was left to the log after it, or came after all of that was read.
  if (auto slice = mail_.try_receive()) return std::optional(std::move(*slice));
  if (records == 0) return std::optional<LogSlice>();
  // Not beyond what was left: what is written after that comes by mail.
  records = std::min<std::uint64_t>(records, bounds_.group_records);
  ACCRETE_TRY(LogSlice slice, log_.read(next, records, bounds_.group_bytes));
  if (slice.size() == 0) {
    return Error{Errc::Corruption, "the log lacks record " + std::to_string(next.value)};
  }
  return std::optional(std::move(slice));
}

Result<std::optional<LogSlice>> FoldQueue::wait() {
  ACCRETE_TRY(auto slice, take());
  if (slice) return std::optional(std::move(*slice));
  return mail_.receive();
}

void FoldQueue::close() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  room_.notify_all();
  mail_.close();
}

bool FoldQueue::in_log() const {
  const std::lock_guard lock(mutex_);
  return admitted_ < left_to_log_;
}

}  // namespace accrete::daemon
