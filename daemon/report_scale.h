// Axes of a chart: where a value and a time stand, and the round ticks between.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "proto/ids.h"

namespace accrete::daemon::report {

struct Tick {
  double at = 0;  ///< the value, or the time in microseconds
  std::string label;
};

/// Range of an axis of values with ticks at round numbers.
struct ValueAxis {
  double low = 0;
  double high = 1;
  std::vector<Tick> ticks;
};

/// An axis from a round number at or below `low` to one at or above `high`, of four to eight ticks.
/// Checks: both are finite.
ValueAxis value_axis(double low, double high);

/// Ticks of the calendar (UTC) within [from, to]: round seconds, minutes, hours, days, months or
/// years, as many as fit but at most `ticks_max`. Checks: from <= to, ticks_max > 0.
std::vector<Tick> time_ticks(TimeUs from, TimeUs to, std::size_t ticks_max);

/// "2010-01-01", or with the time of day where it is not midnight: "2010-01-01 12:30:05".
std::string short_time(TimeUs time);

/// Four decimals, so that columns line up, where that says something; otherwise four significant
/// digits. "–" for NaN.
std::string short_number(double value);

}  // namespace accrete::daemon::report
