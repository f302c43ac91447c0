// The clocks of the process. Nothing that decides an output may ask them: they are for progress
// lines, time-outs, retention by age and figures about speed.
#pragma once

#include <cstdint>

namespace accrete::daemon {

/// Wall clock, microseconds since 1970-01-01 UTC.
std::int64_t wall_clock_us();
/// Seconds on a clock that never goes back.
double steady_seconds();
/// CPU seconds this process has used, all threads.
double cpu_seconds();
/// Largest resident set of this process so far, in bytes.
std::uint64_t peak_memory_bytes();
/// Present resident set, in bytes.
std::uint64_t resident_bytes();

}  // namespace accrete::daemon
