// Accepted transactions into the change log and on to the fold: the one place where a live daemon
// and a backtest decide what a log entry looks like, so that the same transactions give the same
// log.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "daemon/gauges.h"
#include "proto/codec.h"
#include "proto/result.h"
#include "store/database.h"
#include "store/log.h"
#include "stream/ingest_server.h"

namespace accrete::daemon {

class LogSink final : public stream::CommitSink {
 public:
  /// `next` takes every durable slice, in order; it may block: that is the back-pressure.
  /// `log_bytes_max`: refuse rows (Exhausted) while the store's files are larger; 0 = never.
  /// `seconds` is told how long each write to the log takes, if it is not null.
  LogSink(store::Database& database, store::Log& log, std::uint64_t log_bytes_max,
          std::function<Status(LogSlice)> next, Histogram* seconds = nullptr)
      : database_(database),
        log_(log),
        log_bytes_max_(log_bytes_max),
        next_(std::move(next)),
        seconds_(seconds) {}

  std::uint64_t position(std::string_view source) override;
  Result<std::vector<stream::KeptMemory>> memories(std::string_view source) override;
  Status commit(std::span<const stream::Transaction> transactions,
                std::span<const stream::Rejected> rejected) override;

 private:
  Status check_room();
  void advance(SourceId source, std::uint64_t position);

  store::Database& database_;
  store::Log& log_;
  std::uint64_t log_bytes_max_;
  std::function<Status(LogSlice)> next_;
  Histogram* seconds_;
  std::vector<store::Log::Advance> advances_;
  std::uint32_t commits_since_look_ = 0;
  std::uint64_t bytes_since_look_ = 0;
  bool full_ = false;
};

}  // namespace accrete::daemon
