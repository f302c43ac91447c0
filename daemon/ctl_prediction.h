// A prediction, an alarm of drift, or news of experts, as one line for people.
#pragma once

#include <string>
#include <string_view>

#include "proto/result.h"

namespace accrete::wire {
class Prediction;
}

namespace accrete::daemon {

/// Number, time, task, entity and outcome. `payload` is a serialized wire.Prediction.
/// Errors: Malformed.
Result<std::string> prediction_line(std::string_view payload);

/// Time, task, detector and its count, loss before and after, instants since the change.
/// `payload` is a serialized wire.DriftAlarm. Errors: Malformed.
Result<std::string> alarm_line(std::string_view payload);

/// Time, task, count and kind, the block, and of whom: parents by layer, or the pair and its loss.
/// `payload` is a serialized wire.ExpertNews. Errors: Malformed.
Result<std::string> expert_news_line(std::string_view payload);

/// The entity's key, its parts joined by '|'; the score, the value or the likeliest classes with
/// their probabilities; the interval, or "".
std::string entity_text(const wire::Prediction& prediction);
std::string outcome_text(const wire::Prediction& prediction);
std::string interval_text(const wire::Prediction& prediction);

}  // namespace accrete::daemon
