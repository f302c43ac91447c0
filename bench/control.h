// What benches ask a running daemon.
#pragma once

#include <nlohmann/json.hpp>

#include "daemon/server.h"

namespace accrete::bench {

/// Return once everything durable is folded and committed.
void drain(const daemon::Server& server);
/// What `accretectl status` shows.
nlohmann::json status_of(const daemon::Server& server);

}  // namespace accrete::bench
