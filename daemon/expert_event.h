// What happened to the experts of a graph network.
#pragma once

#include <cstdint>
#include <vector>

#include "proto/ids.h"

namespace accrete::daemon {

/// An expert was born in every layer, for the rows of a block; or two neighbours were merged to
/// make room for it. Or they were not (Rollback), since some block's examples lost too much by it;
/// or neither was, since the network would have been clearly sharper. Or an expert learns no more
/// (Freeze), since a newer one was born.
struct ExpertEvent {
  enum class Kind : std::uint8_t { Birth, Merge, Rollback, Freeze };

  Kind kind = Kind::Birth;
  TimeUs at;                ///< when the block had given enough examples
  std::uint32_t block = 0;  ///< that was to have an expert; Freeze: that it was born for
  /// By layer the expert it began as a copy of; of a merge, or one rolled back, none.
  std::vector<std::uint32_t> parents;

  /// Of a merge, or one rolled back: the pair is this and the next, as numbered until then; Birth
  /// and Freeze: it.
  std::uint32_t first = 0;

  // Merge and Rollback.
  /// The block (of some that are asked together, the first) whose examples lost most, against the
  /// bound, and their mean losses with two experts and with one.
  std::uint32_t worst_block = 0;
  double loss_before = 0;
  double loss_after = 0;

  /// The largest rise of the loss under small pushes of the weights, before and after; 0 where it
  /// was not asked (a merge that loses too much).
  double rise_before = 0;
  double rise_after = 0;
  bool sharper = false;  ///< Rollback: for that reason

  /// Or a merge rolled back.
  bool is_merge() const { return parents.empty() && kind != Kind::Freeze; }
};

}  // namespace accrete::daemon
