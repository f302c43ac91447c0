// Parts of the status that are about rows and time: lag, stages, tables, dead letters.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <nlohmann/json.hpp>

#include "daemon/fold.h"
#include "daemon/gauges.h"
#include "proto/result.h"
#include "store/log.h"

namespace accrete::daemon {

/// Seconds since `at_ms` of the steady clock; null for 0, which stands for "not yet".
nlohmann::ordered_json seconds_since(std::uint64_t at_ms);

/// {"seconds", "records", "bytes"}: how far the fold is behind what is durable.
nlohmann::ordered_json lag_json(const Gauges& gauges, std::uint64_t records);

/// {"commit": {"count", "seconds", "p50", "p99"}, "fold": …, "control": …}: since this process
/// began; quantiles are the bounds of histogram buckets, null before the first.
nlohmann::ordered_json stages_json(const Gauges& gauges);

/// [{"table", "insert", "update", "delete", "truncate"}] since this process began.
nlohmann::ordered_json tables_json(const Fold& fold);

/// [{"number", "source", "position", "table", "bytes", "reason"}], the newest first, at most `max`
/// and 100. `table` is null where the record does not say it.
/// Errors: as store::Log::dead_letters(). Cost: one read a letter.
Result<nlohmann::ordered_json> letters_json(const store::Log& log,
                                            const std::vector<Layout>& layouts, std::size_t max);

}  // namespace accrete::daemon
