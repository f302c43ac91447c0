// What accretectl top shows: a status as lines of text that fit a terminal.
#pragma once

#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "daemon/report_file.h"
#include "daemon/report_running.h"

namespace accrete::daemon::top {

/// Between two answers; NaN: there was only one.
struct Rates {
  double rows_in = std::numeric_limits<double>::quiet_NaN();  ///< a second, and so the others
  double rows_folded = std::numeric_limits<double>::quiet_NaN();
  double predictions = std::numeric_limits<double>::quiet_NaN();
};

/// `seconds` > 0 between them. A counter that fell (the daemon began anew) has no rate.
Rates rates_of(const report::Running& before, const report::Running& now, double seconds);

struct State {
  report::Running running;
  Rates rates;
  std::vector<report::Task> tasks;
  std::string trouble;  ///< why this is not the newest; "": it is
};

struct Size {
  std::size_t columns = 80;  ///< at least 20 are used
  std::size_t lines = 0;     ///< 0: as many as it takes
};

/// A lag in seconds from which the daemon is not ready (DaemonPages::kReadyLagSeconds).
constexpr double kBehindSeconds = 5;

/// Lines without a line end, none wider than the terminal. Where they are more than fit, the last
/// says how many are left out. `colours`: titles bold, what needs a look in red; otherwise no
/// escape sequences at all. Control characters in names become "?".
std::vector<std::string> frame(const State& state, const Size& size, bool colours);

/// `width` bars from the lowest to the highest of `values`, each the mean of its part of them;
/// blanks where nothing is known, and fewer bars for fewer values.
std::string sparkline(std::span<const double> values, std::size_t width);

}  // namespace accrete::daemon::top
