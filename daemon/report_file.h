// What the page of accretectl report shows, read from a backtest's report or a daemon's status.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proto/ids.h"
#include "proto/result.h"

namespace accrete::daemon::report {

// A number that is not known (null in the file) is NaN in all of these.

/// Metrics of the mixture or of one candidate, in the file's order.
struct Scores {
  std::string name;
  std::vector<std::pair<std::string, double>> metrics;
};

/// Predictions that were graded together.
struct Window {
  std::string name;
  TimeUs from = kTimeMin;  ///< as-of times [from, to); kTimeMin, kTimeMax: open
  TimeUs to = kTimeMax;
  std::string trigger;
  std::uint64_t count = 0;
  std::vector<Scores> rows;  ///< the mixture first, then the candidates in the mixer's order
};

/// One metric at every point of a series.
struct Curve {
  std::string metric;
  std::vector<std::vector<double>> values;  ///< [candidate, the mixture last][point]
};

struct Series {
  std::vector<TimeUs> at;  ///< does not fall
  std::vector<std::uint64_t> count;
  std::vector<Curve> curves;                 ///< the headline metric, then log loss if it is there
  std::vector<std::vector<double>> weights;  ///< [candidate][point]
};

/// Something that happened at a time: an alarm of a detector, or an expert's birth, merge, rollback
/// or freeze.
struct Mark {
  TimeUs at;
  std::string kind;
  std::string text;  ///< one line for people
};

/// How well a network with so many experts knew the blocks, at the end of its time.
struct ExpertRow {
  TimeUs at;
  std::uint64_t experts = 0;
  std::vector<double> values;  ///< by block
  std::vector<double> losses;
};

/// What a network of experts tells of itself. Empty lists: not told.
struct Experts {
  std::vector<Mark> events;
  std::vector<Scores> layers;      ///< figures of each layer, of late
  std::vector<std::string> names;  ///< of the experts, what stands beside them last
  std::vector<TimeUs> at;
  std::vector<std::vector<std::vector<double>>> shares;  ///< [layer][name][point]
  std::string measure;
  std::uint64_t examples = 0;  ///< of a block, at most
  std::vector<std::uint64_t> blocks;
  std::vector<ExpertRow> rows;
  double forgetting = 0;
};

struct Task {
  std::string name;
  std::string kind;  ///< binary, regression, multiclass or ranking
  std::uint64_t labels = 0;
  std::vector<std::string> candidates;  ///< in the mixer's order
  std::vector<std::string> baselines;   ///< those of them that are no more than a comparison
  std::vector<Window> windows;
  std::vector<Mark> alarms;  ///< the newest that are kept
  std::uint64_t alarm_count = 0;
  std::string regret;                                   ///< one line for people; "": no rounds yet
  Series series;                                        ///< empty from a status
  std::vector<std::pair<std::string, double>> weights;  ///< newest
  Experts experts;
};

struct Report {
  std::string title;
  std::string source;                                      ///< file or address
  std::vector<std::pair<std::string, std::string>> facts;  ///< what ran, for people
  std::vector<Task> tasks;
};

/// The report that `accretectl backtest --report` wrote. `path` is what the messages call it.
/// Errors: Malformed, naming the place in the file: not JSON, not a report, a report without series
/// (of a version before they were written), a member of another kind than it should be.
Result<Report> read_report(std::string_view text, const std::string& path);

/// The same of a daemon's status with alarms. Series are there where it was asked for them.
/// Errors: Malformed, naming the place in the answer.
Result<Report> read_status(std::string_view text, const std::string& address);

/// Whether more of this metric is better (1), less (-1), or neither (0).
int direction(std::string_view metric);

/// "AUROC" for auroc; names that are not known stay.
std::string metric_title(std::string_view metric);

/// The metric a kind of task is known by; "" for an unknown kind.
std::string headline_metric(std::string_view kind);

}  // namespace accrete::daemon::report
