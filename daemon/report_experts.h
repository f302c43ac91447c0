// The experts of a graph network in a report: read from the file, and as parts of the page.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "daemon/report_file.h"
#include "daemon/report_json.h"
#include "proto/result.h"

namespace accrete::daemon::report {

/// The member "experts" of a task (daemon/network_report.h); each of its parts may be missing.
/// Errors: Malformed, naming the place.
Result<Experts> read_experts(const Place& place);

/// A value for --k of each name; grey for what stands beside the experts.
std::vector<std::string> expert_colours(const Experts& experts);

/// What the chart of a layer shows.
std::string routing_note(std::size_t layer, std::size_t layers);

/// Which colour is which expert.
std::string expert_keys(const Experts& experts);

/// Figures of each layer; "" where there are none.
std::string layer_table(const Experts& experts);

/// How well each block was known at each birth, darker where it was better; "" where nothing says.
std::string expert_matrix(const Experts& experts);

}  // namespace accrete::daemon::report
