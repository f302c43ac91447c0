// Whether a task's world has changed: two detectors over the mixture's prequential loss.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "models/candidate.h"
#include "models/drift.h"
#include "proto/drift_alarm.h"
#include "proto/limits.h"
#include "store/state.h"

namespace accrete::daemon {

/// The loss (models::loss_of: log loss, or absolute error in the label's unit) is told row by row;
/// what is settled together is one number to the detectors, the mean. For a tick that is its whole
/// population: rows of one instant share what moves them (a holiday, an outage), so they are not
/// independent, and a detector told each of them would call every odd day a change. A row task
/// settles row by row, as it learns.
///
/// Alarms are raised where the loss rises; then that detector begins anew, so one change is one
/// alarm of each. ADWIN also sees falls: the learning itself, or a world that became easier. They
/// move its window, and Page-Hinkley, whose mean would stay behind, begins anew.
///
/// Threads: the fold's. Cost: O(log n) a settled instant, and a few KB.
class DriftWatch {
 public:
  DriftWatch();

  /// What the mixture said of one row, and its label. Left out: a loss that is no number or too
  /// large to be squared, and what was said before any class was known.
  void grade(TaskKind kind, const models::Output& mixed, double label);
  /// The same of a loss that is known.
  void grade(double loss);

  /// The rows graded since the last call are one instant, known at `at`. `model`: labels learnt,
  /// for the alarm.
  void settle(TimeUs at, std::uint64_t model);

  /// Calls `complete` for each alarm raised since the last call, oldest first; it fills in what the
  /// watch does not know (task, ordinal, seq) and publishes it. The alarm is then kept.
  Status tell(const std::function<Status(DriftAlarm&)>& complete);

  /// The newest alarms of both detectors, oldest first; at most limits::drift_alarms_max.
  const std::vector<DriftAlarm>& alarms() const { return alarms_; }
  /// Alarms of this detector so far, those no longer kept included.
  std::uint64_t count(DriftDetector detector) const {
    return counts_[static_cast<std::size_t>(detector)];
  }
  /// The newest alarm of this detector; nullptr if none is kept.
  const DriftAlarm* newest(DriftDetector detector) const;

  /// Stage the state of the task of this name, if it changed. Checks: every alarm was told.
  void stage(const std::string& task, store::State& state);
  /// Errors: Corruption, Unavailable. Without a stored state it begins anew.
  Status load(const std::string& task, const store::State& state);

  void save(std::string& out) const;
  Status load_bytes(std::string_view bytes);

 private:
  void raise(DriftDetector detector, const models::Shift& shift, TimeUs at, std::uint64_t model);

  models::Adwin adwin_;  // looks at every number: ticks may be a month apart
  models::PageHinkley page_hinkley_;
  std::array<std::uint64_t, kDriftDetectors> counts_{};
  std::vector<DriftAlarm> alarms_;
  std::size_t told_ = 0;   // of alarms_
  double open_loss_ = 0;   // summed since the last settle
  double open_count_ = 0;  // and of how many rows
  bool dirty_ = false;
};

}  // namespace accrete::daemon
