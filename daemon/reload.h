// Rereading the configuration while the daemon runs: what takes effect at once, what waits for a
// restart.
#pragma once

#include <string>
#include <vector>

#include "daemon/config.h"
#include "proto/result.h"
#include "stream/socket.h"

namespace accrete::daemon {

struct Reloaded {
  std::vector<std::string> applied;        ///< "log level debug", "clients_file, 3 keys"
  std::vector<std::string> needs_restart;  ///< parts of the file that differ: "[limits]"
};

/// Read `running.file` again. The log level and the keys in curve.clients_file take effect; all
/// else is compared with `running`, which is what the daemon was started with. A key that is no
/// longer listed stays connected until its connection ends: ZeroMQ asks at the handshake only.
///
/// Errors:  Malformed, NotFound, Unavailable as load_config(), check_tasks() and read_client_keys()
///          say; then nothing has changed.
/// Threads: any, one call at a time.
Result<Reloaded> reload(const Config& running, stream::Context& context);

/// What came of it, to the log.
void log_reload(const Result<Reloaded>& reloaded);

/// {"reloaded":[…],"needs_restart":[…]}
std::string reloaded_json(const Reloaded& reloaded);

}  // namespace accrete::daemon
