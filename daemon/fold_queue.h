// Durable slices on their way from ingest to the fold. What finds no place in memory is in the log
// already, and is read there when its turn comes: who writes waits for the disk, not for learning.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>

#include "proto/codec.h"
#include "proto/ids.h"
#include "proto/result.h"
#include "store/log.h"
#include "stream/mailbox.h"

namespace accrete::daemon {

class FoldQueue {
 public:
  struct Bounds {
    std::size_t groups = 8;           ///< slices in memory
    std::size_t group_records = 512;  ///< records of one slice that was joined or read from the log
    std::size_t group_bytes = 1u << 20;
    /// Durable records that may wait in all, give or take a slice; 0: those in memory, no more.
    std::uint64_t lag_records = 0;
  };

  /// `log` outlives this; all that it holds counts as admitted.
  FoldQueue(const store::Log& log, Bounds bounds);

  /// Give the newest records of the log away. Blocks while too many wait: that is the
  /// back-pressure. False once closed. Threads: one, the log's writer.
  bool give(LogSlice slice);

  /// The fold has all records up to `newest`. Threads: one, the fold's.
  void admitted(Ordinal newest);
  /// The records after the admitted ones; nullopt: none wait.
  /// Errors: Corruption, Unavailable: the log cannot be read. Threads: the fold's.
  Result<std::optional<LogSlice>> take();
  /// The same, but waits for some; nullopt once closed.
  Result<std::optional<LogSlice>> wait();

  /// Either side. What waits in memory can still be taken; what waits in the log is folded by who
  /// opens the store next.
  void close();

  // Threads: any.
  bool closed() const { return mail_.closed(); }       ///< and nothing waits in memory
  std::size_t groups() const { return mail_.size(); }  ///< slices in memory
  bool in_log() const;                                 ///< records wait in the log alone
  bool idle() const { return groups() == 0 && !in_log(); }
  int fd() const { return mail_.fd(); }  ///< readable while slices wait in memory

 private:
  const store::Log& log_;
  const Bounds bounds_;
  stream::Mailbox<LogSlice> mail_;
  mutable std::mutex mutex_;
  std::condition_variable room_;
  bool closed_ = false;
  Ordinal admitted_{0};
  Ordinal left_to_log_{0};  // what came up to here after the mail was full; newer mail has to wait
};

}  // namespace accrete::daemon
