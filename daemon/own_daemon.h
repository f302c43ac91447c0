// accreted as a child of the tool: started with a configuration, ended with its parent.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include <sys/types.h>

#include "proto/result.h"

namespace accrete::daemon {

class OwnDaemon {
 public:
  /// Start the accreted that stands beside this program; what it says goes to `log`. It ends when
  /// its parent does. Call before other threads begin. Errors: Unavailable.
  static Result<OwnDaemon> start(const std::string& config, const std::string& log);
  OwnDaemon(OwnDaemon&& other) noexcept;
  OwnDaemon& operator=(OwnDaemon&&) = delete;
  /// Asks it to stop, and waits: it commits what it has.
  ~OwnDaemon();

  /// Wait until it answers on its endpoints, or `stopped`, which is asked several times a second.
  /// What it does meanwhile (it folds its log) is told to `note` now and then.
  /// Errors: as alive().
  Status await_ready(const std::function<bool()>& stopped,
                     const std::function<void(const std::string&)>& note);
  /// Errors: Unavailable once it has ended: by which signal, or with which exit code and the last
  /// fault that it wrote; and where its log is.
  Status alive();

 private:
  OwnDaemon(pid_t child, int notify, std::string log, std::uint64_t begin)
      : child_(child), notify_(notify), log_(std::move(log)), log_begin_(begin) {}
  void close_notify();
  std::string last_fault() const;

  pid_t child_;  // -1: waited for
  int notify_;   // where it says that it is ready, as to systemd; -1 once it has
  std::string log_;
  std::uint64_t log_begin_;  // bytes of earlier runs
};

}  // namespace accrete::daemon
