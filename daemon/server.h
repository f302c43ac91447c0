// The daemon's threads and who owns what: ingest, fold, publish. Data flows one way, and stopping
// follows it: ingest first, then the fold drains and commits, then publish sends what is left.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "daemon/config.h"
#include "daemon/gauges.h"
#include "daemon/reload.h"
#include "proto/result.h"

namespace accrete::daemon {

class Server {
 public:
  /// Open the store, fold what the log holds beyond the last commit, bind the sockets, start the
  /// threads. `recovering` is told how far the log is folded: done, total.
  /// Errors: Malformed (a task does not bind, a public address without CURVE), Unavailable (store
  ///         locked, address in use), Corruption.
  static Result<std::unique_ptr<Server>> start(
      const Config& config,
      const std::function<void(std::uint64_t done, std::uint64_t total)>& recovering);
  ~Server();

  /// The error that ended a thread, if one did.
  std::optional<Error> failure() const;
  /// Rises while the fold is alive.
  std::uint64_t fold_turns() const;
  /// One line for systemd: rows, predictions, lag.
  std::string summary() const;
  /// Commit now (SIGUSR1); done by the fold between two slices.
  void request_checkpoint();

  /// Read the configuration again (SIGHUP, `accretectl reload`); what came of it is logged.
  /// Errors: as reload() says; then all is as it was. Threads: any.
  Result<Reloaded> reload();

  /// Stop in order and commit. Errors: what went wrong while stopping.
  Status stop();

  std::string ingest_address() const;
  std::string predictions_address() const;
  std::string replay_address() const;
  std::string control_address() const;

 private:
  struct Parts;
  explicit Server(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace accrete::daemon
