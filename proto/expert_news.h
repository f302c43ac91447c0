// What happened to the experts of a task's graph network, as it travels from the fold to
// subscribers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "proto/ids.h"
#include "proto/prediction.h"
#include "proto/result.h"

namespace accrete {

/// An expert was born; two became one to make room for it; or neither was, since somebody's
/// examples would have lost too much or the network would have been clearly sharper; or an expert
/// learns no more, since a newer one was born.
enum class ExpertNewsKind : std::uint8_t { Birth = 0, Merge = 1, Rollback = 2, Freeze = 3 };

/// "birth", "merge", "rollback" or "freeze".
std::string_view news_name(ExpertNewsKind kind);

/// (task, count) is its identity: a daemon that comes back from a crash may publish one again, with
/// the same two and otherwise the same bytes.
struct ExpertNews {
  std::string task;
  std::uint64_t count = 0;  ///< 1, 2, 3, … of this task within an epoch
  ExpertNewsKind kind = ExpertNewsKind::Birth;
  TimeUs as_of;             ///< event time at which it happened
  std::uint32_t block = 0;  ///< the data block that an expert is born for; Freeze: was born for
  /// By layer the expert it began as a copy of; of a merge, or one rolled back, none.
  std::vector<std::uint32_t> parents;

  // Of merges: the pair is expert `first` and the next (Freeze: it is `first`); the block whose
  // examples lost most, and their mean loss with two experts and with one.
  std::uint32_t first = 0;
  std::uint32_t worst_block = 0;
  double loss_before = 0;
  double loss_after = 0;

  // Largest rise of the loss under small pushes of the weights, before and after; both 0 where it
  // was not asked. `sharper`: that is why it was rolled back.
  double rise_before = 0;
  double rise_after = 0;
  bool sharper = false;

  std::uint64_t model = 0;  ///< labels learnt by then
  Ordinal ordinal;          ///< last log record folded before it
  PredictionSeq seq;        ///< newest prediction before it

  bool operator==(const ExpertNews&) const = default;
};

/// Append the serialized wire.ExpertNews; equal news give equal bytes.
void encode_expert_news(const ExpertNews& news, std::string& out);
/// Errors: Malformed (no serialized news, an unknown kind).
Result<ExpertNews> decode_expert_news(std::string_view payload);

/// One line of JSON: {"task","count","kind","as_of","block","parents","rise","model","seq"}; of a
/// merge "expert","with","loss" instead of "parents", "reason" of a rollback, "expert" alone of a
/// freeze. `payload` is a
/// serialized wire.ExpertNews. Errors: Malformed.
Result<std::string> expert_news_json(std::string_view payload);

/// Header frame of the news: flags progress and experts, as an alarm's (proto/drift_alarm.h).
PredictionHeader expert_news_header(const ExpertNews& news, std::uint64_t epoch);

/// Topic of a task's news: `experts/<task>`.
std::string expert_news_topic(std::string_view task);

}  // namespace accrete
