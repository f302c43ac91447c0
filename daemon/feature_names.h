// What the features of an aggregate are called, in the order in which they are computed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/feature_run.h"
#include "daemon/synthesis_plan.h"
#include "proto/schema.h"

namespace accrete::daemon {

class Synthesis;

/// "half-life 3 days", or "ever" for an infinite one.
std::string life_name(double life_us);

/// Of the rows themselves: `what` names them; `ordered`: the aggregate knows its newest; `links`:
/// what it remembers of that.
void name_header(const std::string& what, bool ordered, const std::vector<std::string>& lives,
                 const std::vector<std::string>& links, std::vector<std::string>& names);
/// Of one column of them; `window`: also of the newest few rows alone.
void name_column(const std::string& what, bool ordered, bool window,
                 const std::vector<std::string>& lives, std::vector<std::string>& names);

/// What the features of one task's streams are named after.
struct StreamNaming {
  const Synthesis& synthesis;
  const Schema& schema;
  std::int64_t window_us = 0;
  std::vector<std::string> lives;
};
/// Of a run of the stream that a key reads. Checks: run.of_stream().
void name_stream_run(const StreamNaming& naming, const KeyPlan& key, const FeatureRun& run,
                     std::vector<std::string>& names);

}  // namespace accrete::daemon
