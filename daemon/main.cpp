// accreted: read the configuration, start the server, wait for a signal, stop in order.
#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <malloc.h>
#include <spdlog/spdlog.h>
#include <sysexits.h>
#include <systemd/sd-daemon.h>

#include "daemon/clock.h"
#include "daemon/config.h"
#include "daemon/log.h"
#include "daemon/plan.h"
#include "daemon/server.h"
#include "daemon/terminal.h"
#include "models/threads.h"

namespace {

using accrete::Errc;
using accrete::Error;
using accrete::daemon::Config;
using accrete::daemon::Server;

int exit_code(const Error& error) {
  switch (error.code) {
    case Errc::Malformed:
      return EX_CONFIG;
    case Errc::Corruption:
      return EX_DATAERR;
    case Errc::Unavailable:
      return EX_IOERR;
    default:
      return EX_SOFTWARE;
  }
}

void recovering(std::uint64_t done, std::uint64_t total) {
  static std::time_t told = 0;
  const std::time_t now = std::time(nullptr);
  if (now == told && done != total) return;
  told = now;
  const auto percent = 100 * done / total;
  spdlog::info("folding the log: {} of {} records ({} %)", done, total, percent);
  // Between two calls up to 8,192 records are folded: minutes, where a graph network learns.
  sd_notifyf(0, "STATUS=folding the log, %d %%\nEXTEND_TIMEOUT_USEC=300000000",
             static_cast<int>(percent));
}

/// systemd wants to be told the time a reload began, also where it failed that it is over.
void reload(Server& server) {
  sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%.0f", accrete::daemon::steady_seconds() * 1e6);
  static_cast<void>(bool(server.reload()));
  sd_notify(0, "READY=1");
}

/// Wait for signals; feed the watchdog while the fold is alive. Returns when it is time to stop.
void serve(Server& server, const sigset_t& signals) {
  std::uint64_t turns = 0;
  while (!server.failure()) {
    const timespec second{1, 0};
    const int signal = sigtimedwait(&signals, nullptr, &second);
    if (signal == SIGTERM || signal == SIGINT) {
      spdlog::info("stopping: {}", server.summary());
      return;
    }
    if (signal == SIGUSR1) server.request_checkpoint();
    if (signal == SIGHUP) reload(server);
    if (server.fold_turns() != turns) {
      turns = server.fold_turns();
      sd_notifyf(0, "WATCHDOG=1\nSTATUS=%s", server.summary().c_str());
    }
  }
}

/// glibc raises the size from which a block has pages of its own to that of the largest one freed,
/// up to 32 MiB; smaller ones then stay in the heaps of the threads that asked for them. Against
/// `memory_max` of 128 MiB that was a quarter more than is counted. A fixed size keeps it in
/// proportion: what a network step and a group commit take is below it.
void bound_kept_memory(std::size_t memory_bytes_max) {
  const std::size_t own_pages =
      std::clamp(memory_bytes_max / 128, std::size_t{128} << 10, std::size_t{32} << 20);
  // NOLINTBEGIN(concurrency-mt-unsafe): before any thread starts
  ::mallopt(M_MMAP_THRESHOLD, static_cast<int>(own_pages));
  ::mallopt(M_TRIM_THRESHOLD, static_cast<int>(2 * own_pages));
  // NOLINTEND(concurrency-mt-unsafe)
}

int run(const Config& config) {
  bound_kept_memory(config.limits.memory_bytes_max);
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1})
    sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);  // threads made later inherit this
  auto server = Server::start(config, recovering);
  if (!server) {
    spdlog::error("{}", server.error().detail);
    return exit_code(server.error());
  }
  spdlog::info("ready: ingest {}, predictions {}, replay {}, control {}",
               server.value()->ingest_address(), server.value()->predictions_address(),
               server.value()->replay_address(), server.value()->control_address());
  sd_notify(0, "READY=1");
  serve(*server.value(), signals);
  sd_notify(0, "STOPPING=1");
  const accrete::Status stopped = server.value()->stop();
  if (!stopped) {
    spdlog::error("{}", stopped.error().detail);
    return exit_code(stopped.error());
  }
  spdlog::info("stopped: {}", server.value()->summary());
  return EX_OK;
}

}  // namespace

// NOLINTNEXTLINE(bugprone-exception-escape): out of memory ends the process
int main(int count, char** arguments) {
  CLI::App app(
      "accreted learns from a database while it is being written: it takes row changes on a\n"
      "ZeroMQ socket, grades its own predictions, learns from the grades and republishes.\n\n"
      "Example: accreted --config /etc/accreted/accreted.toml",
      "accreted");
  std::string path = "/etc/accreted/accreted.toml";
  bool check = false;
  bool print = false;
  app.add_option("-c,--config", path, "configuration file")->capture_default_str();
  app.add_flag("--check-config", check, "check the configuration and the queries, then exit");
  app.add_flag("--print-config", print, "print every effective value, then exit");
  app.set_version_flag("--version", "accreted " ACCRETE_VERSION);
  try {
    app.parse(count, arguments);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? EX_OK : EX_USAGE;
  }
  namespace terminal = accrete::daemon::terminal;
  const auto config = accrete::daemon::load_config(path);
  accrete::Status checked = config ? accrete::daemon::check_tasks(config.value()) : config.error();
  if (checked && config) checked = accrete::daemon::open_log(config.value().log_level);
  if (!checked) {
    terminal::complain("accreted", checked.error().detail);
    return EX_CONFIG;
  }
  if (print) terminal::print(accrete::daemon::print_config(config.value()));
  if (check) terminal::print(path + ": good\n");
  if (print || check) return EX_OK;
  if (config.value().threads > 0) accrete::models::set_threads(config.value().threads);
  return run(config.value());
}
