// Between a PostgreSQL server and the daemon.
#include "daemon/postgres/connector.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include <poll.h>

#include "daemon/postgres/follower.h"
#include "daemon/postgres/spool.h"
#include "daemon/postgres/translator.h"
#include "proto/limits.h"

namespace accrete::daemon::postgres {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kBackOffMin{100};
constexpr milliseconds kBackOffMax{5'000};
constexpr milliseconds kTurn{100};  // how long a stop may go unseen
constexpr milliseconds kGather{2};  // for a batch, while the daemon has one
constexpr std::uint64_t kStopCheckTransactions = 256;
constexpr std::size_t kQueueBytesMax = 16u << 20;
/// Transactions of a snapshot between two waits until all of it is durable.
constexpr std::uint64_t kSnapshotFlushTransactions = 64;

class Connector {
 public:
  Connector(const ConnectorOptions& options, const Catalogue& catalogue, const Schema& schema,
            const ConnectorHooks& hooks)
      : options_(options),
        catalogue_(catalogue),
        hooks_(hooks),
        translator_(schema, table_names(catalogue), catalogue.domains),
        queue_(kQueueBytesMax) {}

  Status run() {
    while (!hooks_.stopped()) {
      Status ended = session();
      if (ended) return ended;
      const Error& error = ended.error();
      // A slot stays in use until the server notices that its former reader died.
      if (error.code != Errc::Unavailable && error.code != Errc::Exhausted) return ended;
      if (hooks_.stopped()) break;
      if (pause_ == kBackOffMin) hooks_.note(error.detail + "; trying again");
      wait(pause_);
      pause_ = std::min(2 * pause_, kBackOffMax);
    }
    return Ok{};
  }

 private:
  /// One connection to the server, until it breaks or we are to stop.
  Status session() {
    ACCRETE_TRY(Connection sql, Connection::open(options_.slot.url, ConnectionKind::Sql));
    ACCRETE_TRY(const std::string publications,
                ensure_publications(sql, catalogue_, options_.slot.publication));
    if (!producer_) ACCRETE_DO(open_producer());
    if (!producer_) return Ok{};  // stopped
    if (options_.slot.new_snapshot && durable() > 0 && !std::exchange(told_held_, true)) {
      hooks_.note("--new-snapshot changes nothing: the daemon has this database up to " +
                  lsn_text(durable()) + ", and goes on from there; to " +
                  begin_anew(options_.slot));
    }
    told_held_ = true;
    ACCRETE_DO(flush());
    ACCRETE_DO(ensure_slot(sql, options_.slot, catalogue_, translator_, durable(), hooks_.stopped));
    if (durable() < kStreamPositionMin) ACCRETE_DO(send_snapshot());
    if (hooks_.stopped()) return Ok{};

    ACCRETE_TRY(Connection stream,
                Connection::open(options_.slot.url, ConnectionKind::Replication));
    translator_.begin_session();
    queue_.clear();
    Status begun =
        stream.begin_stream("START_REPLICATION SLOT " + Connection::name(options_.slot.slot) +
                            " LOGICAL 0/0 (proto_version '1', publication_names " +
                            sql.literal(publications) + messages_option(stream) + ")");
    if (!begun) {
      // What the slot needs may have been removed while the snapshot was sent: that says more.
      ACCRETE_DO(
          ensure_slot(sql, options_.slot, catalogue_, translator_, durable(), hooks_.stopped));
      return begun;
    }
    pause_ = kBackOffMin;
    Follower follower(std::move(stream), translator_, queue_, {sent_, durable()});
    if (hooks_.streaming) hooks_.streaming();
    return forward(follower);
  }

  static std::string messages_option(const Connection& connection) {
    return connection.server_version() >= 140'000 ? ", messages 'true'" : "";
  }

  Status open_producer() {
    stream::ProducerOptions options = options_.producer;
    ACCRETE_TRY(options.source, source_name(options_.slot));
    while (!hooks_.stopped()) {
      Result<std::unique_ptr<stream::Producer>> opened = stream::Producer::open(options);
      if (opened) {
        producer_ = std::move(opened).value();
        sent_ = durable();
        return Ok{};
      }
      if (opened.error().code != Errc::Unavailable) return opened.error();
      say_away(opened.error());
    }
    return Ok{};
  }

  std::uint64_t durable() const { return producer_->durable_position(); }

  void say_away(const Error& error) {
    if (!std::exchange(away_, true)) hooks_.note("the daemon is away, waiting: " + error.detail);
  }

  /// Do one thing with the producer; while the daemon is away, wait for it.
  Status patiently(const std::function<Status()>& first) {
    const auto may_pass = [](const Status& status) {
      return status.error().code == Errc::Unavailable || status.error().code == Errc::Exhausted;
    };
    Status done = first();
    while (!done && may_pass(done) && !hooks_.stopped()) {
      say_away(done.error());
      done = producer_->push();
    }
    if (done && std::exchange(away_, false)) hooks_.note("the daemon is back");
    for (const std::string& fault : producer_->take_faults())
      hooks_.note("set aside by the daemon: " + fault);
    return done;
  }

  Status send(const SourceTransaction& transaction, std::uint64_t position) {
    if (position <= sent_) return Ok{};
    return give(transaction, position);
  }

  /// The producer keeps it from here on, whatever becomes of the daemon.
  Status give(const SourceTransaction& transaction, std::uint64_t position) {
    transaction.list(records_);
    for (const std::string_view record : records_) {
      if (record.size() <= limits::row_bytes_max) continue;
      return Error{Errc::Malformed, "transaction " + lsn_text(position) + " has a row of " +
                                        std::to_string(record.size()) +
                                        " bytes, the daemon takes 16 MiB; ignore its large column "
                                        "in the configuration"};
    }
    sent_ = std::max(sent_, position);
    return patiently([&] { return producer_->send(position, records_); });
  }

  Status flush() {
    while (!hooks_.stopped()) {
      Status done = patiently([&] { return producer_->flush(); });
      if (!done || !away_) return done;
    }
    return Ok{};
  }

  Status send_snapshot() {
    ACCRETE_TRY(SpoolReader spool, SpoolReader::open(snapshot_path(options_.slot)));
    SourceTransaction next;
    SourceTransaction transaction;
    std::uint64_t rows = 0;
    ACCRETE_TRY(bool more, spool.next(next));
    while (more && !hooks_.stopped()) {
      std::swap(transaction, next);
      ACCRETE_TRY(more, spool.next(next));
      rows += transaction.ends.size();
      // Layouts are said in what the daemon has already; the producer keeps them.
      const std::uint64_t position = more ? transaction.position : spool.consistent_point();
      ACCRETE_DO(resend(transaction, position));
      if (position % kSnapshotFlushTransactions == 0) ACCRETE_DO(flush());
    }
    ACCRETE_DO(flush());
    if (durable() < spool.consistent_point()) return Ok{};  // stopped
    std::error_code fault;
    std::filesystem::remove(snapshot_path(options_.slot), fault);
    if (!hooks_.stopped() && hooks_.snapshot) hooks_.snapshot(rows);
    return Ok{};
  }

  /// As send(), but what is durable is shown to the producer once, for its layouts.
  Status resend(const SourceTransaction& transaction, std::uint64_t position) {
    if (position <= shown_) return Ok{};
    shown_ = position;
    return give(transaction, position);
  }

  Status forward(Follower& follower) {
    std::uint64_t count = 0;
    while (!hooks_.stopped()) {
      // With something on its way, what comes next may as well wait to be a batch.
      const bool idle = producer_->idle();
      const std::deque<SourceTransaction> taken =
          idle ? queue_.take(kTurn, 1) : queue_.take(kGather, options_.producer.batch_rows);
      for (const std::string& note : follower.take_notes())
        hooks_.note(note);
      for (const SourceTransaction& transaction : taken) {
        ACCRETE_DO(send(transaction, transaction.position));
        publish(follower);
        // Asking costs system calls, a transaction little more.
        if (++count % kStopCheckTransactions == 0 && hooks_.stopped()) return Ok{};
      }
      ACCRETE_DO(patiently([&] { return producer_->advance(); }));
      publish(follower);
      if (auto error = follower.error(); error && taken.empty()) return *error;
    }
    return Ok{};
  }

  void publish(Follower& follower) {
    if (durable() == published_) return;
    published_ = durable();
    follower.durable(published_);
  }

  void wait(milliseconds pause) {
    while (pause > milliseconds(0) && !hooks_.stopped()) {
      const milliseconds step = std::min(pause, kTurn);
      ::poll(nullptr, 0, static_cast<int>(step.count()));
      pause -= step;
    }
  }

  const ConnectorOptions& options_;
  const Catalogue& catalogue_;
  const ConnectorHooks& hooks_;
  Translator translator_;
  TransactionQueue queue_;
  std::unique_ptr<stream::Producer> producer_;
  std::vector<std::string_view> records_;  // of the transaction that is given
  std::uint64_t sent_ = 0;       // newest position given to the producer, or durable before it
  std::uint64_t shown_ = 0;      // newest position of the snapshot given to the producer
  std::uint64_t published_ = 0;  // newest durable position that a follower was told
  milliseconds pause_ = kBackOffMin;
  bool away_ = false;
  bool told_held_ = false;  // what becomes of --new-snapshot was said, or nothing was to be said
};

}  // namespace

Result<std::string> source_name(const SlotOptions& options) {
  ACCRETE_TRY(Connection server, Connection::open(options.url, ConnectionKind::Replication));
  ACCRETE_TRY(const Rows rows, server.query("IDENTIFY_SYSTEM"));
  if (rows.empty() || rows[0].empty() || !rows[0][0]) {
    return Error{Errc::Malformed, "PostgreSQL: IDENTIFY_SYSTEM gave no identity"};
  }
  return "postgres:" + *rows[0][0] + "/" + server.database() + "/" + options.slot;
}

Status follow(const ConnectorOptions& options, const Catalogue& catalogue, const Schema& schema,
              const ConnectorHooks& hooks) {
  return Connector(options, catalogue, schema, hooks).run();
}

}  // namespace accrete::daemon::postgres
