// Candidate "network-on-heads" of windows whose outcomes are classes: the ridge, with as much of
// the graph network added to its logits as the newest outcomes say it is worth.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <Eigen/Core>

#include "models/candidate.h"
#include "models/logit_residual.h"
#include "proto/result.h"

namespace accrete::daemon {

/// Examples are what both said of rows of ticks before their outcomes were known; the newest
/// kExamplesMax are kept, as many of each tick as there are, up to kOfTick. Fitted anew when a
/// tick's outcomes are complete and an eighth of the examples is new (models/logit_residual.h says
/// to what, and when it is kept).
///
/// Threads: the fold's; combine() from several at once. Deterministic: same calls, same bits.
class NewestOnHeads {
 public:
  static constexpr std::size_t kExamplesMax = 512;
  static constexpr std::size_t kOfTick = 128;

  NewestOnHeads() : residual_(TaskKind::Multiclass) {}

  /// An outcome. Cost: a copy of both.
  void grade(const models::Output& head, const models::Output& network, double label);
  /// Whether an eighth of the examples came since the last settle().
  bool is_due() const { return fresh_ > 0 && fresh_ * 8 >= examples_.size(); }
  /// Fit to the newest outcomes; `shares` as LogitResidual::begin().
  void settle(const Eigen::MatrixXd& shares);

  void combine(const models::Output& head, const models::Output& network,
               models::Output& out) const {
    residual_.combine(head, network, out);
  }
  const std::vector<double>& scales() const { return residual_.scales(); }
  std::size_t memory_bytes() const;

  void save(std::string& out) const;
  /// Errors: Corruption; then nothing has changed.
  Status load(std::string_view bytes);

 private:
  struct Example {
    models::Output head;
    models::Output network;
    double label = 0;
  };

  models::LogitResidual residual_;
  std::vector<Example> examples_;  // a ring
  std::size_t oldest_ = 0;         // where the next goes, once it is full
  std::size_t fresh_ = 0;          // that came since the last settle
};

}  // namespace accrete::daemon
