// accreted as a child of the tool: started with a configuration, ended with its parent.
#pragma once

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

  /// Errors: Unavailable with where to read why, once it has ended.
  Status alive();

 private:
  OwnDaemon(pid_t child, std::string log) : child_(child), log_(std::move(log)) {}

  pid_t child_;  // -1: waited for
  std::string log_;
};

}  // namespace accrete::daemon
