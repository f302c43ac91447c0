// Logging of the daemon: lines with time on a terminal, priorities for journald under systemd.
#pragma once

#include <string>

#include "proto/result.h"

namespace accrete::daemon {

/// Send spdlog's default logger to standard error. With $JOURNAL_STREAM set every line begins with
/// its priority (`<3>` error … `<7>` debug), and journald keeps the time.
/// Errors: Malformed for an unknown level.
Status open_log(const std::string& level);
/// Another level for the default logger. Errors: Malformed for an unknown one. Threads: any.
Status set_log_level(const std::string& level);

}  // namespace accrete::daemon
