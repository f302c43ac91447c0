// Questions of HTTP to the fold, without either waiting for the other: who asks comes again.
#pragma once

#include <algorithm>
#include <cstddef>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proto/result.h"

namespace accrete::daemon {

/// A question is a serialized wire.ToControl, its answer a wire.FromControl. Threads: any.
class ExplainDesk {
 public:
  static constexpr std::size_t kQuestionsMax = 8;
  static constexpr double kKeptSeconds = 30;  ///< then a question, answered or not, is forgotten

  /// The answer, which is then given away; or the question is put on the desk.
  /// Errors: Unavailable: not answered yet, ask the same again; Exhausted: the desk is full.
  Result<std::string> ask(std::string_view question, double now) {
    const std::lock_guard lock(mutex_);
    std::erase_if(entries_, [&](const Entry& entry) { return now - entry.at > kKeptSeconds; });
    const auto found = std::ranges::find(entries_, question, &Entry::question);
    if (found != entries_.end()) {
      if (!found->answer) return waits();
      std::string answer = std::move(*found->answer);
      entries_.erase(found);
      return answer;
    }
    if (entries_.size() >= kQuestionsMax)
      return Error{Errc::Exhausted, "too many questions wait for the fold; ask again later"};
    entries_.push_back({std::string(question), now, false, {}});
    return waits();
  }

  /// For the fold: a question that nobody has taken yet.
  std::optional<std::string> next() {
    const std::lock_guard lock(mutex_);
    const auto found = std::ranges::find(entries_, false, &Entry::taken);
    if (found == entries_.end()) return std::nullopt;
    found->taken = true;
    return found->question;
  }

  /// Its answer; nobody may want it any more.
  void answer(std::string_view question, std::string answer) {
    const std::lock_guard lock(mutex_);
    const auto found = std::ranges::find(entries_, question, &Entry::question);
    if (found != entries_.end()) found->answer = std::move(answer);
  }

 private:
  struct Entry {
    std::string question;
    double at = 0;
    bool taken = false;
    std::optional<std::string> answer;
  };

  static Error waits() {
    return {Errc::Unavailable, "the fold answers between two groups of rows; ask the same again"};
  }

  std::mutex mutex_;
  std::vector<Entry> entries_;
};

}  // namespace accrete::daemon
