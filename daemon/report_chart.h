// Charts of a report's page as inline SVG: curves and stacked shares over event time.
//
// A chart is W x H units of its view box and scales with the page. Paths are written in tenths of a
// unit, as whole numbers and relative to the point before: half the bytes of absolute decimals.
// Colours and what is hidden come from the page's style (report_look.h) by class: `s0`, `s1`, … are
// the series that the legend hides, `--k` is the colour of one.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/report_file.h"
#include "daemon/report_scale.h"

namespace accrete::daemon::report {

/// Text and attribute values of HTML: & < > " ' as entities.
std::string escaped(std::string_view text);

/// One curve or one layer of shares. `values` as long as the times; NaN leaves a gap.
struct Line {
  std::string classes;  ///< "s3", say; more than one with blanks
  std::string colour;   ///< value of --k, such as var(--c2)
  std::span<const double> values;
};

/// A span of time behind the curves.
struct Shade {
  std::string name;
  TimeUs from;
  TimeUs to;
};

struct Chart {
  std::string id;     ///< of the element; also that of its data for the read-out
  std::string label;  ///< what it shows, for who cannot see it
  std::span<const TimeUs> at;
  std::vector<Line> lines;
  std::vector<Shade> shades;
  std::span<const Mark> alarms;
  std::span<const Mark> events;
  TimeUs from;  ///< of the axis: the charts of a task share it
  TimeUs to;
};

/// Curves over time; what is outside `axis` is cut off. Checks: from <= to.
std::string curve_chart(const Chart& chart, const ValueAxis& axis);

/// Layers that add up to one, the first at the bottom. Unknown values count as 0.
std::string share_chart(const Chart& chart);

/// Trailing mean of `values` over `span` points, weighted by `count`; unknown values are left out.
std::vector<double> sliding_mean(std::span<const double> values,
                                 std::span<const std::uint64_t> count, std::size_t span);

/// Range that shows the `main` curve whole, and of all curves what is not far from it: the
/// outermost 2 % of values, and what is further away than three times the range of `main`, is cut
/// off, so that a hopeless baseline does not flatten the rest. [0, 1] if nothing is known.
ValueAxis axis_around(std::span<const double> main,
                      const std::vector<std::span<const double>>& all);

}  // namespace accrete::daemon::report
