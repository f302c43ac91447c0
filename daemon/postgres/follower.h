// The replication stream on a thread of its own: reads transactions into a bounded queue, and tells
// the server what is durable, also while the daemon is busy or away.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "daemon/postgres/connection.h"
#include "daemon/postgres/translator.h"
#include "daemon/row_source.h"
#include "proto/result.h"

namespace accrete::daemon::postgres {

/// Whole transactions on their way from the server to the daemon.
///
/// Threads: one puts, one takes.
class TransactionQueue {
 public:
  explicit TransactionQueue(std::size_t bytes_max) : bytes_max_(bytes_max) {}

  /// There is room; a transaction may go beyond it.
  bool has_room() const;
  void put(SourceTransaction transaction);
  /// What is there, waiting up to `timeout` for `wanted` transactions.
  std::deque<SourceTransaction> take(std::chrono::milliseconds timeout, std::size_t wanted);
  void clear();

 private:
  bool enough() const;

  const std::size_t bytes_max_;
  mutable std::mutex mutex_;
  std::condition_variable filled_;
  std::deque<SourceTransaction> transactions_;
  std::size_t bytes_ = 0;
  std::size_t wanted_ = 0;  // transactions, by one who waits
};

/// What is confirmed to the server: everything the daemon has made durable; and when nothing waits,
/// everything the server has sent, so that a slot whose tables are quiet in a busy server does not
/// hold its log. Pure.
class Confirmation {
 public:
  /// A transaction that goes to the daemon ends here.
  void queued(Lsn end) { last_queued_ = end; }
  /// The server has sent everything up to here, and no transaction is open.
  void passed(Lsn end) { passed_ = std::max(passed_, end); }
  void durable(Lsn position) { durable_ = std::max(durable_, position); }
  /// Never goes back.
  Lsn confirmed() {
    Lsn now = durable_;
    if (durable_ >= last_queued_) now = std::max(now, passed_);
    confirmed_ = std::max(confirmed_, now);
    return confirmed_;
  }

 private:
  Lsn last_queued_ = 0;
  Lsn passed_ = 0;
  Lsn durable_ = 0;
  Lsn confirmed_ = 0;
};

class Follower {
 public:
  struct Start {
    Lsn sent = 0;     ///< transactions up to here are on their way to the daemon: passed over
    Lsn durable = 0;  ///< and these it has
  };
  /// Streams on `connection` (START_REPLICATION was said) until it is destroyed or an error.
  Follower(Connection connection, Translator& translator, TransactionQueue& queue, Start start);
  ~Follower();
  Follower(const Follower&) = delete;
  Follower& operator=(const Follower&) = delete;

  /// The daemon has everything up to here. Any thread.
  void durable(Lsn position);
  /// The error that ended the stream, if one did. Any thread.
  std::optional<Error> error() const;
  std::vector<std::string> take_notes();

 private:
  void run(const std::stop_token& stop);
  Status turn();
  Result<std::size_t> read_some();
  Status on_item(std::string_view bytes);
  Status tell();
  void wait(bool busy);

  Connection connection_;
  Translator& translator_;
  TransactionQueue& queue_;
  Confirmation confirmation_;
  Lsn received_ = 0;
  Lsn last_queued_;
  Lsn told_ = 0;
  double told_at_;
  double heard_at_;
  bool reply_now_ = false;
  int wake_;
  std::atomic<Lsn> durable_;
  mutable std::mutex mutex_;
  std::optional<Error> error_;
  std::vector<std::string> notes_;
  std::jthread thread_;
};

}  // namespace accrete::daemon::postgres
