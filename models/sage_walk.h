// How sage experts walk over who hears whom: for sage_expert.cpp and sage_expert_backward.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "models/expert_call.h"
#include "models/row_gather.h"

namespace accrete::models {

inline constexpr std::size_t kCacheLine = 64;  // bytes
// Whom a node hears lies where nothing near was read: so many hearings before, their list is sent
// for.
inline constexpr std::size_t kHearingsAhead = 3;

/// What expert t makes of node u before the mean.
template <class Real>
Real hearing_of(const ExpertCall<Real>& call, std::size_t t, std::size_t u) {
  return call.heard != nullptr ? row_of(*call.heard, u)[t] : Real(1);
}

/// Whether all listeners of a node hear the same.
template <class Real>
bool all_alike(const ExpertCall<Real>& call) {
  return call.heard == nullptr && !call.mask_later_blocks;
}

/// Whom the experts of a node hear by a relation, and which of them hear several.
template <class Listener>
struct Walked {
  std::size_t relation = 0;
  std::span<const std::uint32_t> neighbours;
  std::span<const Listener> listeners;
};

/// Calls each(walked, next) for all hearings; behind the last comes one of nobody.
template <class Real, class Tape, class Each>
void walk(const ExpertCall<Real>& call, const Tape& tape, Each each) {
  const std::span listeners(tape.listeners);
  Walked<typename decltype(listeners)::value_type> next;
  std::size_t first = 0;
  for (std::size_t i = 0; i <= tape.hearings.size(); ++i) {
    const auto walked = std::exchange(next, {});
    if (i + kHearingsAhead < tape.hearings.size()) {
      const auto& later = tape.hearings[i + kHearingsAhead];
      const auto& all = call.batch.relations[later.relation].source;
      for (std::size_t k = 0; k < later.count; k += kCacheLine / sizeof(std::uint32_t))
        __builtin_prefetch(all.data() + later.begin + k);
      __builtin_prefetch(all.data() + later.begin + later.count - 1);  // of a line that it shares
    }
    if (i < tape.hearings.size()) {
      const auto& hearing = tape.hearings[i];
      const std::span all(call.batch.relations[hearing.relation].source);
      next = {hearing.relation, all.subspan(hearing.begin, hearing.count),
              listeners.subspan(first, hearing.listeners)};
      first += hearing.listeners;
    }
    if (i > 0) each(walked, next);
  }
}

}  // namespace accrete::models
