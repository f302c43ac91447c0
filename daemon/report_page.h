// A report as one HTML file that needs nothing else: no network, no library, no font.
#pragma once

#include <string>

#include "daemon/report_file.h"
#include "daemon/report_running.h"

namespace accrete::daemon::report {

/// The page: an overview, and per task the metric over event time, what the mixer gave each
/// candidate, what its experts did where the report tells it, and the metrics of every window as
/// tables. Charts are inline SVG that is complete without the script; the legend hides and shows
/// curves by the style sheet alone. The same report gives the same bytes. All names are escaped.
std::string page(const Report& report);

/// The same as a page that renews itself: every two seconds it fetches its own address again and
/// shows what has changed, as long as the pointer reads no chart. Where the daemon does not answer
/// it says so and goes on trying.
std::string console(const Report& report, const Running& running, bool explains);

}  // namespace accrete::daemon::report
