// How outputs become a prediction.
#include "daemon/any_task.h"

#include <algorithm>
#include <cmath>

namespace accrete::daemon {
namespace {

constexpr double kNormal95 = 1.6448536269514722;  // two-sided 90 % interval

}  // namespace

void tell(const TaskPlan& plan, Trigger trigger, std::span<const models::Output> outputs,
          const std::vector<std::string>& candidates, const std::vector<std::string>& classes,
          Prediction& prediction) {
  const models::Output& mixed = outputs.back();
  prediction.task = plan.name;
  prediction.kind = plan.kind;
  prediction.trigger = trigger;
  prediction.score = mixed.value;
  std::size_t top = 0;  // multiclass: candidates are quoted on the mixture's best class
  for (std::size_t k = 0; k < mixed.classes.size() && k < classes.size(); ++k) {
    prediction.classes.push_back({classes[k], mixed.classes[k]});
    if (mixed.classes[k] > mixed.classes[top]) top = k;
  }
  if (plan.kind == TaskKind::Regression && mixed.variance > 0) {
    const double half = kNormal95 * std::sqrt(mixed.variance);
    prediction.low = mixed.value - half;
    prediction.high = mixed.value + half;
  }
  for (std::size_t c = 0; c < candidates.size(); ++c) {
    const bool has_class = plan.kind == TaskKind::Multiclass && top < outputs[c].classes.size();
    prediction.candidates.push_back(
        {candidates[c], has_class ? outputs[c].classes[top] : outputs[c].value});
    const std::vector<double>& said = outputs[c].classes;
    const bool asked = trigger == Trigger::Request || trigger == Trigger::Query;
    if (!asked || said.empty()) continue;
    const auto own = std::max_element(said.begin(), said.end()) - said.begin();
    prediction.candidates.back().label = classes[static_cast<std::size_t>(own)];
  }
}

}  // namespace accrete::daemon
