// What `accretectl status` and a backtest's report say of a task in the same words.
#pragma once

#include <nlohmann/json.hpp>

#include "daemon/any_task.h"

namespace accrete::daemon {

/// The mixture against the best single candidate so far, which is named: {"mixture", "best",
/// "candidate", "regret", "bound", "rounds", "unit"}; see models::Regret.
nlohmann::ordered_json regret_json(const AnyTask& task);

/// Per detector how many alarms, and the newest one:
/// {"adwin": {"alarms", "as_of", "before", "after", "window"}, "page-hinkley": {…}}.
nlohmann::ordered_json drift_json(const DriftWatch& watch);

/// Births of experts, an event a layer: {"events": [{"at", "kind", "layer", "expert", "parent",
/// "block"}]}.
nlohmann::ordered_json experts_json(const AnyTask& task);

/// The alarms that are kept, oldest first, each as drift_alarm_json() writes it.
nlohmann::ordered_json alarms_json(const DriftWatch& watch);

}  // namespace accrete::daemon
