// accretectl connect: a live database into the daemon, its changes each once.
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <systemd/sd-daemon.h>

#include "daemon/connect_config.h"
#include "daemon/ctl_commands.h"
#include "daemon/ctl_endpoint.h"
#include "daemon/ctl_write_back.h"
#include "daemon/own_daemon.h"
#include "daemon/plan.h"
#include "daemon/postgres/catalogue.h"
#include "daemon/postgres/connector.h"
#include "daemon/postgres/slot.h"
#include "daemon/terminal.h"
#include "daemon/toml_reader.h"
#include "proto/prediction.h"
#include "stream/client.h"

namespace accrete::daemon {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr milliseconds kIdle{200};
constexpr milliseconds kDaemonPatience{10'000};  // then it is away, is said to be, and waited for
constexpr std::uint64_t kAcknowledgeEvery = 1000;
constexpr int kFirstPortMax = 65'531;  // four follow it, with HTTP's

struct ConnectFlags {
  EndpointFlags endpoint;
  std::string url;
  std::vector<std::string> tables;
  std::vector<std::string> times;
  std::vector<std::string> predict;
  std::string folder;
  std::string slot = "accrete";
  std::string publication = "accrete";
  std::string ingest;
  std::string write_back;
  std::uint16_t port = 7701;
  bool print_config = false;
  bool new_snapshot = false;
  bool quiet = false;
};

/// SIGTERM and SIGINT, blocked for all threads and asked for by one.
class StopSignals {
 public:
  StopSignals() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGTERM);
    sigaddset(&signals_, SIGINT);
    ::pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  }
  bool came() {
    const timespec at_once = {0, 0};
    came_ = came_ || ::sigtimedwait(&signals_, nullptr, &at_once) > 0;
    return came_;
  }

 private:
  sigset_t signals_{};
  bool came_ = false;
};

/// A word for a human, also for one who asks systemd.
void tell(const std::string& text) {
  terminal::note(text);
  sd_notifyf(0, "STATUS=%s", text.c_str());
}

Status write_file(const std::string& path, const std::string& text) {
  const std::string part = path + ".part";
  std::ofstream file(part, std::ios::binary);
  file << text;
  file.close();
  std::error_code fault;
  if (file) fs::rename(part, path, fault);
  if (file && !fault) return Ok{};
  return Error{Errc::Unavailable, path + ": cannot be written"};
}

Result<postgres::Catalogue> catalogue_of(const ConnectFlags& flags, std::string& database) {
  ACCRETE_TRY(postgres::Connection connection,
              postgres::Connection::open(flags.url, postgres::ConnectionKind::Sql));
  database = connection.database();
  ACCRETE_TRY(postgres::Catalogue catalogue,
              postgres::read_catalogue(connection, flags.tables, flags.write_back));
  for (const std::string& choice : flags.times)
    ACCRETE_DO(postgres::set_time(catalogue, choice));
  return catalogue;
}

/// Print predictions as they are published, from where the last run of this command stopped.
void print_predictions(const std::stop_token& stop, stream::Subscriber& subscriber) {
  PredictionSeq last;
  PredictionSeq acknowledged;
  std::uint64_t printed = 0;
  const auto acknowledge = [&] {
    if (last == acknowledged) return;
    terminal::flush();
    // A daemon that is away hears it with the next one; until then it may come again.
    if (subscriber.acknowledge(last)) acknowledged = last;
  };
  while (!stop.stop_requested()) {
    Result<std::optional<stream::Delivered>> next = subscriber.next(kIdle);
    if (!next && (next.error().code == Errc::Gap || next.error().code == Errc::NotFound)) {
      terminal::note(next.error().detail);
      static_cast<void>(subscriber.restart(1));
      continue;
    }
    if (!next || !next.value()) {
      if (printed % kAcknowledgeEvery != 0) acknowledge();
      continue;
    }
    const Result<std::string> line = prediction_json(next.value()->payload);
    if (line) terminal::print(line.value() + "\n");
    last = next.value()->header.seq;
    if (++printed % kAcknowledgeEvery == 0) acknowledge();
  }
}

/// Writes back on a thread of its own.
class WriteBackThread {
 public:
  explicit WriteBackThread(WriteBackOptions options)
      : thread_([this, options = std::move(options)](const std::stop_token& stop) {
          done_ = write_back(options, stop);
          if (!done_) done_ = Error{done_.error().code, "write-back: " + done_.error().detail};
          ended_ = true;
        }) {}
  /// Why it could not go on; Ok while it does.
  Status fault() const { return ended_ ? done_ : Ok{}; }

 private:
  Status done_ = Ok{};
  std::atomic<bool> ended_ = false;
  std::jthread thread_;
};

class Connect {
 public:
  explicit Connect(const ConnectFlags& flags) : flags_(flags) {}

  Result<Exit> run() {
    ACCRETE_TRY(catalogue_, catalogue_of(flags_, database_));
    for (const std::string& note : catalogue_.notes)
      terminal::note(note);
    folder_ = flags_.folder;
    if (folder_.empty()) {
      const fs::path config = flags_.endpoint.config;
      folder_ = config.empty() ? "accrete-" + database_ : config.parent_path().string();
    }
    config_path_ =
        flags_.endpoint.config.empty() ? folder_ + "/accreted.toml" : flags_.endpoint.config;
    if (flags_.print_config) {
      ACCRETE_TRY(const std::string text, wanted_config(folder_));
      terminal::print(text);
      return Exit::Good;
    }
    const bool own = flags_.endpoint.config.empty();
    std::error_code fault;
    const bool is_there = fs::exists(config_path_, fault);
    // Before anything is written or started: what is wrong is said, and leaves nothing behind.
    if (own || is_there) ACCRETE_DO(postgres::check_server(flags_.url));
    if (!is_there) ACCRETE_DO(write_config());
    if (!is_there && !own) {
      terminal::print("wrote " + config_path_ + "; now start the daemon, and run this again:\n" +
                      "  accreted --config " + config_path_ + "\n");
      return Exit::Good;
    }
    Result<Exit> done = go_on();
    const bool good = done && done.value() == Exit::Good;
    if (!good && own && !is_there && !begun()) fs::remove(config_path_, fault);
    return done;
  }

 private:
  ConnectConfig wanted(const std::string& folder) const {
    return {flags_.predict, flags_.times, folder + "/store", flags_.port};
  }

  /// The configuration as it would be written, checked. Errors: Malformed.
  Result<std::string> wanted_config(const std::string& folder) const {
    std::string text = connect_toml(wanted(folder), catalogue_);
    ACCRETE_DO(check_connect_toml(text, config_path_, catalogue_));
    return text;
  }

  Status write_config() {
    std::error_code fault;
    const fs::path absolute = fs::absolute(folder_.empty() ? "." : folder_, fault);
    ACCRETE_TRY(const std::string text, wanted_config(absolute.string()));
    const bool made = fs::create_directories(absolute, fault);
    // What will be in it are the database's rows.
    if (made) fs::permissions(absolute, fs::perms::owner_all, fault);
    return write_file(config_path_, text);
  }

  /// Whether something of the database was copied: then the configuration is that of the copy.
  bool begun() const {
    std::error_code fault;
    const std::string snapshot = postgres::snapshot_path(slot_options());
    return followed_ || fs::exists(snapshot, fault) || fs::exists(snapshot + ".part", fault);
  }

  postgres::SlotOptions slot_options() const {
    postgres::SlotOptions slot;
    slot.url = flags_.url;
    slot.slot = flags_.slot;
    slot.publication = flags_.publication;
    slot.folder = folder_;
    slot.new_snapshot = flags_.new_snapshot;
    slot.store = config_.store.path;
    slot.own_daemon = flags_.endpoint.config.empty();
    return slot;
  }

  /// With a configuration that is there.
  Result<Exit> go_on() {
    ACCRETE_TRY(config_, load_config(config_path_));
    ACCRETE_DO(check_tasks(config_));
    ACCRETE_DO(check_same(config_, wanted(folder_)));
    ACCRETE_DO(keep_configured(config_, catalogue_));
    if (config_.tasks.empty()) {
      terminal::note("nothing is predicted: " + config_path_ +
                     " has no [[task]]; add one, or remove the file and give --predict");
    }
    StopSignals signals;
    if (flags_.endpoint.config.empty()) {
      ACCRETE_TRY(OwnDaemon daemon, OwnDaemon::start(config_path_, folder_ + "/accreted.log"));
      daemon_.emplace(std::move(daemon));
      ACCRETE_DO(daemon_->await_ready([&] { return signals.came(); }, tell));
    }
    if (signals.came()) return Exit::Good;
    return serve(signals);
  }

  Result<Exit> serve(StopSignals& signals) {
    postgres::ConnectorOptions options;
    options.slot = slot_options();
    ACCRETE_TRY(options.producer.endpoint,
                endpoint_of(flags_.endpoint, config_,
                            flags_.ingest.empty() ? config_.endpoints.ingest : flags_.ingest));
    options.producer.name = "accretectl-connect";
    options.producer.give_up_after = kDaemonPatience;
    std::unique_ptr<stream::Subscriber> subscriber;
    std::jthread printer;
    if (daemon_ && !flags_.quiet && !config_.tasks.empty()) {
      ACCRETE_TRY(const stream::SubscriberOptions own, subscriber_options("accretectl-connect"));
      ACCRETE_TRY(subscriber, stream::Subscriber::open(own));
      printer = std::jthread(
          [&subscriber](const std::stop_token& stop) { print_predictions(stop, *subscriber); });
    }
    std::optional<WriteBackThread> writer;
    if (!flags_.write_back.empty()) {
      WriteBackOptions back;
      back.url = flags_.url;
      back.table = flags_.write_back;
      ACCRETE_TRY(back.subscriber, subscriber_options("write-back " + flags_.write_back));
      back.subscriber.snapshot = true;  // the newest of every entity is all that the table holds
      back.note = tell;
      writer.emplace(std::move(back));
    }
    postgres::ConnectorHooks hooks;
    Status beside = Ok{};        // of the daemon we started, and of what writes back
    std::optional<Exit> failed;  // once that was told
    hooks.stopped = [&] {
      if (beside && daemon_) beside = daemon_->alive();
      if (beside && writer) beside = writer->fault();
      // At once: those who wait for an answer of the daemon's end later.
      if (!beside && !failed) failed = terminal::fail(beside.error());
      return signals.came() || !beside;
    };
    hooks.note = tell;
    hooks.snapshot = [this](std::uint64_t rows) {
      tell("snapshot of database " + database_ + " is durable, " + terminal::grouped(rows) +
           " records");
    };
    hooks.streaming = [this] {
      followed_ = true;
      tell("following the changes of database " + database_);
      sd_notify(0, "READY=1");
    };
    const Status followed = postgres::follow(options, catalogue_, config_.schema, hooks);
    sd_notify(0, "STOPPING=1");
    if (!followed) return followed.error();
    return failed.value_or(Exit::Good);
  }

  Result<stream::SubscriberOptions> subscriber_options(const std::string& name) {
    stream::SubscriberOptions options;
    ACCRETE_TRY(options.predictions,
                endpoint_of(flags_.endpoint, config_, config_.endpoints.predictions));
    ACCRETE_TRY(options.replay, endpoint_of(flags_.endpoint, config_, config_.endpoints.replay));
    options.name = name;
    return options;
  }

  const ConnectFlags& flags_;
  postgres::Catalogue catalogue_;
  std::string database_;
  std::string folder_;
  std::string config_path_;
  Config config_;
  bool followed_ = false;
  std::optional<OwnDaemon> daemon_;
};

Exit run_connect(const ConnectFlags& flags) {
  Result<Exit> done = Connect(flags).run();
  terminal::flush();
  return done ? done.value() : terminal::fail(done.error());
}

constexpr const char* kExamples =
    R"help(What happens, each step taken up where an earlier run of this command left it:
  1. The catalogue is read: tables, keys, foreign keys, types, and for each table the column that
     says when a row happened.
  2. Without --config, the configuration is written from it and accreted started beside this
     command (its log: accreted.log in the folder). With --config, the daemon is yours; where that
     file is not there, it is written and nothing else happens.
  3. The server is told to keep its log for us (publication, replication slot), all tables are
     copied as of that moment, and the copy is sent.
  4. Every transaction from then on is sent once and whole, in the order of commits; the server is
     told what the daemon has made durable and may forget that much of its log.
  5. Predictions are printed as JSON (without --config), and kept in the table of --write-back.
Ctrl-C ends it, and the accreted of step 2 with it. A daemon that is away is waited for, a
server once it was reached.

The server needs wal_level = logical and nothing installed. The role needs REPLICATION, and either
owns the tables, or may read them and finds the publication made. As a service: accrete-postgres,
see accretectl(1).

Examples:
  accretectl connect postgres postgresql:///shop \
      --predict 'spend: PREDICT SUM(orders.total, 0, 30, DAYS) FOR EACH customers.id' \
      --write-back accrete_predictions
  accretectl connect postgres postgresql:///shop --print-config
  accretectl connect postgres postgresql://me@db/shop --config /etc/accreted/accreted.toml
  psql shop -c "SELECT pg_logical_emit_message(true, 'accrete', 'block')"   # a data block ends

The slot keeps the server's log until the daemon has it: drop it when you no longer connect
  psql shop -c "SELECT pg_drop_replication_slot('accrete')" -c "DROP PUBLICATION accrete")help";

}  // namespace

void add_connect(CLI::App& app, Exit& exit) {
  CLI::App* connect = app.add_subcommand("connect", "follow a live database, each change once");
  connect->require_subcommand(1);
  CLI::App* command =
      connect->add_subcommand("postgres", "PostgreSQL 10 or later, by logical replication");
  const auto flags = std::make_shared<ConnectFlags>();
  command->add_option("url", flags->url, "postgresql://user@host/database, as psql takes it")
      ->required();
  flags->endpoint.add_to(*command);
  command->get_option("--config")
      ->description("of your own daemon; without it one is written, and a daemon started with it");
  command->add_option("--tables", flags->tables, "only these, also as schema.table")
      ->delimiter(',');
  command->add_option("--predict", flags->predict, "a query, also as \"name: PREDICT …\"")
      ->allow_extra_args(false);
  command
      ->add_option("--time", flags->times,
                   "TABLE.COLUMN that says when a row happened; TABLE. for none")
      ->allow_extra_args(false);
  command->add_option("--folder", flags->folder,
                      "for the configuration, the daemon's store and the snapshot while it is "
                      "sent; without it accrete-DATABASE, or the folder of --config");
  command->add_option("--slot", flags->slot, "name of the replication slot")->capture_default_str();
  command->add_option("--publication", flags->publication, "name of the publication")
      ->capture_default_str();
  command->add_option("--ingest", flags->ingest,
                      "address to send to instead of [endpoints] ingest");
  command->add_option("--write-back", flags->write_back,
                      "keep the newest prediction of each entity in this table of the database");
  command
      ->add_option("--port", flags->port,
                   "first of the four ports of a configuration that is written")
      ->check(CLI::Range(1, kFirstPortMax))
      ->capture_default_str();
  command->add_flag("--print-config", flags->print_config,
                    "print the configuration that would be written, and stop");
  command->add_flag("--new-snapshot", flags->new_snapshot,
                    "begin anew with a daemon that has nothing: drop the slot if there is one");
  command->add_flag("--quiet", flags->quiet, "print no predictions");
  command->footer(kExamples);
  command->callback([flags, &exit] { exit = run_connect(*flags); });
}

}  // namespace accrete::daemon
