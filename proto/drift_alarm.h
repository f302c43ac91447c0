// An alarm of drift as it travels from the fold to subscribers: the loss of a task has risen.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "proto/ids.h"
#include "proto/prediction.h"
#include "proto/result.h"

namespace accrete {

enum class DriftDetector : std::uint8_t { Adwin = 0, PageHinkley = 1 };
inline constexpr std::size_t kDriftDetectors = 2;

/// "adwin" or "page-hinkley".
std::string_view detector_name(DriftDetector detector);

/// (task, detector, count) is its identity: a daemon that comes back from a crash may publish one
/// again, with the same three and otherwise the same bytes.
struct DriftAlarm {
  std::string task;
  DriftDetector detector = DriftDetector::Adwin;
  std::uint64_t count = 0;   ///< 1, 2, 3, … of this task and detector within an epoch
  TimeUs as_of;              ///< when the loss that raised it became known
  double before = 0;         ///< mean loss of a graded instant before the change
  double after = 0;          ///< and since
  std::uint64_t window = 0;  ///< graded instants since the change
  std::uint64_t model = 0;   ///< labels learnt by then
  Ordinal ordinal;           ///< last log record folded before it
  PredictionSeq seq;         ///< newest prediction before it

  bool operator==(const DriftAlarm&) const = default;
};

/// Append the serialized wire.DriftAlarm; equal alarms give equal bytes.
void encode_drift_alarm(const DriftAlarm& alarm, std::string& out);
/// Errors: Malformed (no serialized alarm, an unknown detector).
Result<DriftAlarm> decode_drift_alarm(std::string_view payload);

/// One line of JSON: {"task","detector","count","as_of","before","after","window","model","seq"}.
/// `payload` is a serialized wire.DriftAlarm. Errors: Malformed.
Result<std::string> drift_alarm_json(std::string_view payload);

/// Header frame of an alarm: flags progress and alarm, so that who knows only predictions takes it
/// for a statement about the newest number, which it is.
PredictionHeader drift_header(const DriftAlarm& alarm, std::uint64_t epoch);

/// Topic of a task's alarms: `drift/<task>`.
std::string drift_topic(std::string_view task);

}  // namespace accrete
