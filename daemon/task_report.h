// What `accretectl status` and a backtest's report say of a task in the same words.
#pragma once

#include <nlohmann/json.hpp>

#include "daemon/drift_watch.h"

namespace accrete::daemon {

/// Per detector how many alarms, and the newest one:
/// {"adwin": {"alarms", "as_of", "before", "after", "window"}, "page-hinkley": {…}}.
nlohmann::ordered_json drift_json(const DriftWatch& watch);

/// The alarms that are kept, oldest first, each as drift_alarm_json() writes it.
nlohmann::ordered_json alarms_json(const DriftWatch& watch);

}  // namespace accrete::daemon
