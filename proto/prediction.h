// A prediction as it travels from the fold to subscribers, and the fixed header that goes with it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/ids.h"
#include "proto/result.h"

namespace accrete {

enum class TaskKind : std::uint8_t { Binary = 0, Regression = 1, Multiclass = 2, Ranking = 3 };
/// "binary", "regression", "multiclass", "ranking".
std::string_view task_kind_name(TaskKind kind);
/// Arrival: the row itself came, and a column of it is predicted.
enum class Trigger : std::uint8_t { Tick = 0, Change = 1, Request = 2, Query = 3, Arrival = 4 };

struct CandidateScore {
  std::string_view name;
  double score = 0;
  std::string_view label{};  ///< the class it finds likeliest itself; "" = not told
};

struct ClassScore {
  std::string_view label;
  double probability = 0;
};

/// Views point into strings owned by the task; encode before the next model step.
struct Prediction {
  PredictionSeq seq;
  std::string_view task;
  std::string_view entity_key;  ///< canonical key bytes
  TimeUs as_of;
  Trigger trigger = Trigger::Tick;
  TaskKind kind = TaskKind::Binary;
  double score = 0;
  std::vector<ClassScore> classes;  ///< Ranking: the items, best first
  std::optional<double> low;
  std::optional<double> high;
  std::uint64_t model = 0;  ///< version: rises with labels, and with steps and fits between them
  std::vector<CandidateScore> candidates;
  Ordinal ordinal;
};

/// Append the serialized wire.Prediction; equal predictions give equal bytes.
void encode_prediction(const Prediction& prediction, std::string& out);

/// One line of JSON, the form of `accretectl subscribe --json` and `backtest --predictions`:
/// {"seq","task","entity","as_of","kind","score"|"value"|"classes"|"items","interval","model",
/// "candidates","trigger"}, and "candidate_classes" where candidates tell their own. `payload` is a
/// serialized wire.Prediction. Errors: Malformed.
Result<std::string> prediction_json(std::string_view payload);

/// Fixed-width header frame, big-endian, 48 bytes: magic "ACPR", version u8, flags u8, reserved
/// u16, epoch u64, seq u64, as-of i64 (us), log ordinal u64, model version u64.
struct PredictionHeader {
  static constexpr std::size_t bytes = 48;
  static constexpr std::uint8_t flag_progress = 1;  ///< no payload: a progress frame
  static constexpr std::uint8_t flag_replayed = 2;
  static constexpr std::uint8_t flag_alarm = 4;    ///< beside flag_progress: proto/drift_alarm.h
  static constexpr std::uint8_t flag_experts = 8;  ///< the same: proto/expert_news.h
  std::uint8_t flags = 0;
  std::uint64_t epoch = 0;
  PredictionSeq seq;  ///< of this prediction; of the newest one in a progress frame
  TimeUs as_of;       ///< in a progress frame: the watermark
  Ordinal ordinal;
  std::uint64_t model = 0;

  std::array<char, bytes> encode() const;
  static Result<PredictionHeader> decode(std::string_view frame);
};

/// Topic of a prediction: `pred/<task>/<key text>`.
std::string prediction_topic(std::string_view task, std::string_view entity_key);

}  // namespace accrete
