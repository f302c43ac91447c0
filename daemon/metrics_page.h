// What /metrics says.
#pragma once

#include <string>
#include <string_view>

#include "daemon/gauges.h"
#include "proto/result.h"

namespace accrete::daemon {

/// Figures that are no gauge.
struct Readings {
  bool ready = false;
  double lag_seconds = 0;      ///< since the fold last had nothing waiting; NaN: never yet
  double status_age = 0;       ///< of `status`, in seconds
  std::size_t waiting = 0;     ///< committed groups that the fold has not taken
  std::uint64_t durable = 0;   ///< records in the log
  std::uint64_t requests = 0;  ///< HTTP
  std::string_view status;     ///< JSON as Answers::status writes it; empty: not known yet
};

/// Prometheus text. Errors: Malformed where `status` is not what it should be.
Result<std::string> metrics_page(const Gauges& gauges, const Readings& readings);

}  // namespace accrete::daemon
