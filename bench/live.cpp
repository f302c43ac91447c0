// Acknowledgements of a live daemon while its tasks learn, with and without the graph network: a
// database's history as fast as it goes, then its last rows at a rate, one by one and each waited
// for.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <poll.h>

#include "bench/control.h"
#include "bench/folded.h"
#include "bench/measure.h"
#include "daemon/clock.h"
#include "daemon/server.h"
#include "stream/client.h"

namespace accrete::bench {
namespace {

struct Options : Flags {
  std::string config = ACCRETE_SOURCE_DIR "/tests/configs/rel-f1.toml";
  std::string data = ACCRETE_SOURCE_DIR "/../shared/data/rel-f1";
  std::uint64_t paced_rows = 8000;
  double rate = 200;
  std::size_t rounds = 5;
};

constexpr char kLayoutTag = 0x0A;  // wire.Record: field 1, length-delimited

/// What one daemon did.
struct Figures {
  double fold_rate = 0;  // rows a second of a history, folded
  double cpu_seconds = 0;
  double paced_rate = 0;
  std::vector<double> delays_ms;  // from the moment a row is due until it is durable
  std::uint64_t rows = 0;
  std::uint64_t steps = 0;
};

std::uint64_t steps_of(const nlohmann::json& status) {
  std::uint64_t steps = 0;
  for (const auto& task : status.at("tasks")) {
    if (task.contains("experts")) steps += task.at("experts").at("steps").get<std::uint64_t>();
  }
  return steps;
}

std::vector<daemon::SourceTransaction> read_all(const Options& options,
                                                const daemon::Config& config) {
  const auto source = open_tables(options.data, config);
  std::vector<daemon::SourceTransaction> all;
  daemon::SourceTransaction next;
  while (must(source->next(next)) && !(options.quick && next.position > 400))
    all.push_back(next);
  return all;
}

/// The rows of a transaction one by one, each with the layouts before it.
std::vector<std::vector<std::string_view>> rows_of(const daemon::SourceTransaction& transaction) {
  std::vector<std::vector<std::string_view>> rows(1);
  std::vector<std::string_view> records;
  transaction.list(records);
  for (const std::string_view record : records) {
    rows.back().push_back(record);
    if (record.front() != kLayoutTag) rows.emplace_back();
  }
  rows.pop_back();
  return rows;
}

/// `due`: of the steady clock, in seconds.
void wait_until(double due) {
  const double left = std::max(0.0, due - daemon::steady_seconds());
  timespec time = {};
  time.tv_sec = static_cast<std::time_t>(left);
  time.tv_nsec = static_cast<long>((left - std::floor(left)) * 1e9);
  ::ppoll(nullptr, 0, &time, nullptr);
}

std::unique_ptr<stream::Producer> producer_to(const daemon::Server& server) {
  stream::ProducerOptions to;
  to.endpoint.address = server.ingest_address();
  to.source = "live";
  return must(stream::Producer::open(to));
}

/// Send the first `count` transactions as fast as they are taken. Returns how many rows they are.
std::uint64_t send_history(stream::Producer& producer,
                           const std::vector<daemon::SourceTransaction>& all, std::size_t count) {
  std::uint64_t rows = 0;
  std::vector<std::string_view> records;
  for (std::size_t i = 0; i < count; ++i) {
    all[i].list(records);
    must(producer.send(all[i].position, records));
    rows += all[i].rows;
  }
  must(producer.flush());
  return rows;
}

/// Rows a second of a whole history, acknowledged by a new daemon. It is stopped while it is
/// behind.
double history_rate(const daemon::Config& config,
                    const std::vector<daemon::SourceTransaction>& all) {
  const auto server = must(daemon::Server::start(config, nullptr));
  const auto producer = producer_to(*server);
  const double started = daemon::steady_seconds();
  const std::uint64_t rows = send_history(*producer, all, all.size());
  const double seconds = daemon::steady_seconds() - started;
  const auto records = status_of(*server).at("records").at("durable").get<std::uint64_t>();
  check(records >= rows, "every row is durable");  // layouts are records, too
  must(server->stop());
  std::filesystem::remove_all(config.store.path);
  return static_cast<double>(rows) / seconds;
}

Figures run_daemon(const Options& options, const daemon::Config& config,
                   const std::vector<daemon::SourceTransaction>& all) {
  Figures figures;
  const auto server = must(daemon::Server::start(config, nullptr));
  const auto producer = producer_to(*server);
  std::size_t last = all.size();
  std::uint64_t paced = 0;
  while (last > 0 && paced < options.paced_rows)
    paced += all[--last].rows;

  const double cpu = daemon::cpu_seconds();
  double started = daemon::steady_seconds();
  figures.rows = send_history(*producer, all, last);
  drain(*server);
  figures.fold_rate = static_cast<double>(figures.rows) / (daemon::steady_seconds() - started);

  started = daemon::steady_seconds();
  std::uint64_t sent = 0;
  std::uint64_t position = all[last].position;
  for (std::size_t i = last; i < all.size(); ++i) {
    for (const auto& row : rows_of(all[i])) {
      const double due = started + static_cast<double>(sent++) / options.rate;
      wait_until(due);
      must(producer->send(position++, row));
      must(producer->flush());
      figures.delays_ms.push_back((daemon::steady_seconds() - due) * 1e3);
    }
  }
  figures.paced_rate = static_cast<double>(sent) / (daemon::steady_seconds() - started);
  figures.rows += sent;
  drain(*server);
  figures.cpu_seconds = daemon::cpu_seconds() - cpu;
  const nlohmann::json status = status_of(*server);
  check(status.at("rows").get<std::uint64_t>() == figures.rows, "every row is folded");
  figures.steps = steps_of(status);
  must(server->stop());
  return figures;
}

void report(const std::string& when, const Figures& figures) {
  say(when + ": history, folded", figures.fold_rate, "rows/s");
  say(when + ": paced, acknowledged", figures.paced_rate, "rows/s");
  say(when + ": paced, due to durable p50", percentile(figures.delays_ms, 0.5), "ms");
  say(when + ": paced, due to durable p99", percentile(figures.delays_ms, 0.99), "ms");
  say(when + ": CPU in all", figures.cpu_seconds, "s");
}

void run(Options options) {
  if (options.quick) {
    options.paced_rows = 100;
    options.rate = 2000;
    options.rounds = 1;
  }
  const Folder folder(options.folder);
  const auto with = [&](daemon::NetworkConfig::Experts experts, const std::string& store) {
    daemon::Config config = must(daemon::load_config(options.config));
    config.endpoints.ingest = config.endpoints.predictions = "tcp://127.0.0.1:*";
    config.endpoints.replay = config.endpoints.control = "tcp://127.0.0.1:*";
    config.network.experts = experts;
    config.store.path = folder.path(store);
    return config;
  };
  const daemon::Config without = with(daemon::NetworkConfig::Experts::Off, "off");
  const daemon::Config network = with(daemon::NetworkConfig::Experts::Sage, "on");
  const auto all = read_all(options, without);
  check(!all.empty(), "there are rows in " + options.data);
  std::vector<double> rates_off;
  std::vector<double> rates_on;
  for (std::size_t round = 0; round < options.rounds; ++round) {
    rates_off.push_back(history_rate(without, all));
    rates_on.push_back(history_rate(network, all));
  }
  const Figures off = run_daemon(options, without, all);
  const Figures on = run_daemon(options, network, all);
  check(off.steps == 0 && (on.steps > 0 || options.quick), "the network trains where it is on");
  report("off", off);
  report("network", on);
  say("network: steps", static_cast<double>(on.steps), "");
  say("off: history, acknowledged", percentile(rates_off, 0.5), "rows/s");
  say("network: history, acknowledged", percentile(rates_on, 0.5), "rows/s");
  compare("history acknowledged, network / off",
          percentile(rates_on, 0.5) / percentile(rates_off, 0.5), 0.8, true);
  compare("paced rate, network / off", on.paced_rate / off.paced_rate, 0.8, true);
  compare("paced p99, network / off",
          percentile(on.delays_ms, 0.99) / percentile(off.delays_ms, 0.99), 2, false);
  say_load();
}

}  // namespace
}  // namespace accrete::bench

int main(int argc, char** argv) {
  CLI::App app("bench_live: acknowledgements while tasks learn, with and without the network");
  accrete::bench::Options options;
  accrete::bench::add_flags(app, options);
  app.add_option("--config", options.config, "tables and tasks");
  app.add_option("--data", options.data, "a folder of table files");
  app.add_option("--paced-rows", options.paced_rows, "the last of them are sent at --rate");
  app.add_option("--rate", options.rate, "rows a second")->check(CLI::PositiveNumber);
  app.add_option("--rounds", options.rounds, "of the whole history as fast as it goes; medians")
      ->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  if (!std::filesystem::exists(options.data)) {
    std::printf("skipped: no folder %s; give table files with --data\n", options.data.c_str());
    return 0;
  }
  accrete::bench::run(options);
  return 0;
}
