// Who hears what the fold derives. The live daemon publishes; a backtest writes files and counts.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "daemon/plan.h"
#include "models/candidate.h"
#include "models/metrics.h"
#include "proto/drift_alarm.h"
#include "proto/expert_news.h"
#include "proto/ids.h"
#include "proto/prediction.h"
#include "store/prediction_log.h"

namespace accrete::daemon {

/// A label that has just become known.
struct MaturedLabel {
  const TaskPlan* task = nullptr;
  TimeUs as_of;
  std::string_view entity_key;  ///< canonical key bytes
  double value = 0;             ///< 0/1, the number, the class index, or how many items
  std::string_view text;        ///< multiclass: the class; ranking: the items, ["a","b"]
};

/// A prediction that has just been graded against its label.
struct GradedPrediction {
  const TaskPlan* task = nullptr;
  TimeUs as_of;
  Trigger trigger = Trigger::Tick;
  std::span<const models::Output> outputs;  ///< one per candidate
  const models::Output* mixed = nullptr;
  models::Interval interval;        ///< published with the mixture, regression
  double label = 0;                 ///< ranking: how many items were right
  TimeUs known;                     ///< when the label became known
  std::span<const double> weights;  ///< what the mixer gives each candidate; views during the call
  std::span<const models::RankedGrade> ranked{};  ///< ranking: of each output, the mixture last
};

class FoldSink {
 public:
  FoldSink() = default;
  FoldSink(const FoldSink&) = delete;
  FoldSink& operator=(const FoldSink&) = delete;
  virtual ~FoldSink() = default;

  /// Predictions of one or several instants, in sequence order, already in the prediction log.
  virtual void predictions(std::span<const store::StoredPrediction> predictions) = 0;
  virtual void label(const MaturedLabel& label) = 0;
  virtual void graded(const GradedPrediction& graded) = 0;
  /// The loss of a task has risen. Every prediction up to alarm.seq was handed out before.
  virtual void alarm(const DriftAlarm& alarm, std::uint64_t epoch) = 0;
  /// Something happened to a task's experts. Every prediction up to news.seq was handed out before.
  /// Who does not override it leaves them with the task, which keeps them.
  virtual void experts(const ExpertNews&, std::uint64_t /*epoch*/) {}
};

}  // namespace accrete::daemon
