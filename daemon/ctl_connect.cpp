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

#include "daemon/ctl_commands.h"
#include "daemon/ctl_endpoint.h"
#include "daemon/ctl_write_back.h"
#include "daemon/own_daemon.h"
#include "daemon/postgres/catalogue.h"
#include "daemon/postgres/connector.h"
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

/// "churn: PREDICT …" or "PREDICT …", as [[task]].
std::string task_toml(const std::string& text, std::size_t number) {
  std::string name = "task" + std::to_string(number);
  std::string query = text;
  const std::size_t colon = text.find(':');
  const std::size_t blank = text.find(' ');
  if (colon != std::string::npos && colon < blank) {
    name = text.substr(0, colon);
    query = text.substr(text.find_first_not_of(' ', colon + 1));
  }
  return "\n[[task]]\nname = " + toml_quoted(name) + "\npredict = " + toml_quoted(query) + "\n";
}

std::string config_toml(const ConnectFlags& flags, const postgres::Catalogue& catalogue,
                        const std::string& store) {
  std::string out =
      "# Written by accretectl connect postgres from the database's catalogue; yours to edit. A\n"
      "# changed table or task is learnt anew from the daemon's own log.\n[store]\npath = " +
      toml_quoted(store) + "\n\n[endpoints]\n";
  std::uint16_t port = flags.port;
  for (const char* name : {"ingest", "predictions", "replay", "control"}) {
    out += std::string(name) + " = \"tcp://127.0.0.1:" + std::to_string(port++) + "\"\n";
  }
  out += "# http = \"http://127.0.0.1:" + std::to_string(port) +
         "\"  # console, /metrics, /readyz: no keys, so this machine only\n";
  out += postgres::tables_toml(catalogue);
  for (std::size_t i = 0; i < flags.predict.size(); ++i)
    out += task_toml(flags.predict[i], i + 1);
  return out;
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

/// Leave the tables out of the catalogue that the configuration does not have.
Status keep_configured(const Config& config, postgres::Catalogue& catalogue) {
  std::vector<std::string> names;
  for (const postgres::CatalogueTable& table : catalogue.tables)
    names.push_back(table.name);
  for (const Table& table : config.schema.tables()) {
    if (std::find(names.begin(), names.end(), table.name) != names.end()) continue;
    const std::string near = nearest_name(table.name, names);
    return Error{Errc::NotFound, config.file + ": table \"" + table.name +
                                     "\" is not in the database" +
                                     (near.empty() ? "" : "; did you mean \"" + near + "\"?")};
  }
  std::erase_if(catalogue.tables, [&](const postgres::CatalogueTable& table) {
    return !config.schema.find(table.name);
  });
  return Ok{};
}

/// Print predictions as they are published, from where the last run of this command stopped.
void print_predictions(const std::stop_token& stop, stream::Subscriber& subscriber) {
  PredictionSeq last;
  std::uint64_t printed = 0;
  const auto acknowledge = [&] {
    terminal::flush();
    // A daemon that is away hears it with the next one; until then it may come again.
    if (last != PredictionSeq{}) static_cast<void>(subscriber.acknowledge(last));
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
    if (flags_.print_config) {
      terminal::print(config_toml(flags_, catalogue_, folder_ + "/store"));
      return Exit::Good;
    }
    const bool own = flags_.endpoint.config.empty();
    ACCRETE_TRY(const bool written, ensure_config());
    if (written && !own) {
      terminal::print("wrote " + config_path_ + "; now start the daemon, and run this again:\n" +
                      "  accreted --config " + config_path_ + "\n");
      return Exit::Good;
    }
    ACCRETE_TRY(config_, load_config(config_path_));
    ACCRETE_DO(keep_configured(config_, catalogue_));
    if (own) {
      ACCRETE_TRY(OwnDaemon daemon, OwnDaemon::start(config_path_, folder_ + "/accreted.log"));
      daemon_.emplace(std::move(daemon));
    }
    return serve();
  }

 private:
  /// Write the configuration where there is none; true if so.
  Result<bool> ensure_config() {
    std::error_code fault;
    config_path_ =
        flags_.endpoint.config.empty() ? folder_ + "/accreted.toml" : flags_.endpoint.config;
    if (fs::exists(config_path_, fault)) {
      if (flags_.predict.empty() && flags_.times.empty()) return false;
      if (!flags_.endpoint.config.empty()) {
        return Error{Errc::Malformed, config_path_ +
                                          " is there already; write --predict and "
                                          "--time into it"};
      }
      terminal::note(config_path_ +
                     " is there already and holds: --predict and --time are not "
                     "read again");
      return false;
    }
    const fs::path absolute = fs::absolute(folder_.empty() ? "." : folder_, fault);
    fs::create_directories(absolute, fault);
    const std::string text = config_toml(flags_, catalogue_, (absolute / "store").string());
    ACCRETE_TRY([[maybe_unused]] const Config checked, parse_config(text, config_path_));
    ACCRETE_DO(write_file(config_path_, text));
    return true;
  }

  Result<Exit> serve() {
    StopSignals signals;
    postgres::ConnectorOptions options;
    options.slot.url = flags_.url;
    options.slot.slot = flags_.slot;
    options.slot.publication = flags_.publication;
    options.slot.folder = folder_;
    options.slot.new_snapshot = flags_.new_snapshot;
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
    Status beside = Ok{};  // of the daemon we started, and of what writes back
    hooks.stopped = [&] {
      if (beside && daemon_) beside = daemon_->alive();
      if (beside && writer) beside = writer->fault();
      return signals.came() || !beside;
    };
    hooks.note = tell;
    hooks.snapshot = [this](std::uint64_t rows) {
      tell("snapshot of database " + database_ + " is durable, " + terminal::grouped(rows) +
           " records");
    };
    hooks.streaming = [this] {
      tell("following the changes of database " + database_);
      sd_notify(0, "READY=1");
    };
    const Status followed = postgres::follow(options, catalogue_, config_.schema, hooks);
    sd_notify(0, "STOPPING=1");
    if (!followed) return followed.error();
    if (!beside) return beside.error();
    return Exit::Good;
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
Ctrl-C ends it, and the accreted of step 2 with it. A server or daemon that is away is waited for.

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
