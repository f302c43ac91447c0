// The same fold in process, over tables in event-time order: what the daemon would have published.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/config.h"
#include "daemon/fold.h"
#include "daemon/row_source.h"
#include "proto/ids.h"
#include "proto/result.h"
#include "store/database.h"

namespace accrete::daemon {

/// A span of as-of times whose predictions are graded together: [from, to).
struct ReportWindow {
  std::string name;
  TimeUs from = kTimeMin;
  TimeUs to = kTimeMax;
};

/// Explicit (time, entity) pairs to predict, from a CSV with columns `date` and the entity's key.
struct RequestFile {
  std::string task;
  std::string path;
};

struct BacktestOptions {
  std::vector<RequestFile> requests;
  std::optional<TimeUs> freeze;       ///< no row and no label after it; later requests are answered
  std::vector<ReportWindow> windows;  ///< beside "all"
  std::string predictions_path;       ///< JSON lines; "" = none
  std::string labels_path;            ///< CSV task,as_of,entity,label; "" = none
  std::string scratch;  ///< folder for the store; "" = a fresh one under TMPDIR, removed after
  std::uint64_t checkpoint_records = 0;  ///< 0 = as the configuration says
};

struct BacktestResult {
  std::string report;  ///< JSON: rows, seconds, digest, per task and window count and metrics
  std::string digest;  ///< SHA-256 over all predictions
  std::uint64_t rows = 0;
  std::uint64_t rejected = 0;  ///< transactions set aside, with the first reasons below
  std::vector<std::string> rejections;
  double seconds = 0;
};

/// How a configuration's limits are shared out; also used by the daemon.
FoldOptions fold_options(const Config& config);
store::DatabaseOptions database_options(const Config& config, const std::string& path);

/// Called now and then with how far it is.
using ProgressCall = std::function<void(const Progress&, TimeUs now)>;

/// Errors: Malformed (tasks, request files), Unavailable (I/O), Corruption.
Result<BacktestResult> run_backtest(const Config& config, RowSource& rows,
                                    const BacktestOptions& options, const ProgressCall& progress);

/// Rows of `base` with the requests merged in by time, and at the end a clock mark past the last
/// request, so that every one is answered. `base` must be in event-time order.
Result<std::unique_ptr<RowSource>> merge_requests(std::unique_ptr<RowSource> base,
                                                  const std::vector<RequestFile>& files,
                                                  const Config& config);

}  // namespace accrete::daemon
