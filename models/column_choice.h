// Choosing raw columns for a panel: moments, correlation with the target, redundancy.
#pragma once

#include <cstdint>
#include <vector>

#include "models/panel_design.h"

namespace accrete::models {

/// Of one raw column over the weighted examples whose pages hold it.
struct ColumnMoments {
  double present = 0;  // weight of examples with a value
  double absent = 0;   // and of those that miss it
  double mean = 0;
  double deviation = 0;    // 0: does not vary
  double correlation = 0;  // of the clipped standardised value (missing = 0), with the target
  double absent_correlation = 0;  // of the indicator

  double missing_share() const { return present + absent > 0 ? absent / (present + absent) : 0; }
};

/// One entry for each raw column. Cost: three passes over at most options.moment_rows examples.
std::vector<ColumnMoments> column_moments(const ExampleMemory& memory, const LabelScale& scale,
                                          const DesignOptions& options);

/// Kept columns (values and indicators), pinned ones first, then best first.
std::vector<DesignColumn> choose_kept(const ExampleMemory& memory,
                                      const std::vector<ColumnMoments>& moments,
                                      const DesignOptions& options);

}  // namespace accrete::models
