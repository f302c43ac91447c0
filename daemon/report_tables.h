// Tables of a report's page, and which colour a candidate has in all of it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "daemon/report_file.h"

namespace accrete::daemon::report {

/// A colour for every candidate, the same in all tasks: the mixture's own, greys for the baselines.
class Colours {
 public:
  explicit Colours(const Report& report);
  /// A value for --k: var(--c2), say.
  std::string of(const std::string& candidate) const;

 private:
  std::map<std::string, std::string, std::less<>> by_name_;
};

/// The shown text is rounded; the element keeps every digit.
std::string number(double value);

bool is_baseline(const Task& task, const std::string& candidate);

/// Classes of a candidate's curve: "main" for the mixture, dashes for the baselines.
std::string line_class(const Task& task, const std::string& candidate);

/// The piece of curve that stands before a name in legends and tables.
std::string swatch_of(const Task& task, const std::string& candidate, const Colours& colours);

/// Every task and window in one line: the mixture beside the best baseline.
std::string overview(const Report& report);

/// Metrics of the mixture and all candidates in one window; the best of each column is marked.
std::string window_table(const Task& task, const Window& window, const Colours& colours);

/// The newest weights, as bars.
std::string weight_table(const Task& task, const Colours& colours);

/// Marks as a list, for a page without curves; "" where there are none.
std::string mark_list(const std::vector<Mark>& marks);

}  // namespace accrete::daemon::report
