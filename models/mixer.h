// The mixer seam: one answer from several candidates, by their prequential losses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/candidate.h"

namespace accrete::models {

struct MixerOptions {
  double eta = 0.5;     ///< learning rate on losses scaled to about [0, 1]
  double share = 0.02;  ///< fixed share: weight that returns to the prior at every update
  /// Binary: the family of each candidate, -1 for none; empty: no families. Variants of one idea
  /// are one family.
  std::vector<int> families;
  /// A settle of n labels counts as √(n / labels) settles, one at least and four at most: the mean
  /// of so many losses is surer by as much. 0: all settles count alike.
  double labels = 0;
};

/// What the mixture lost beyond the best single candidate, which only hindsight knows. The mixture
/// is taken with the weights at grading, a settle or more after a late outcome was predicted.
/// Losses are summed over settles of the mean loss of their labels, times what the settle counts
/// (MixerOptions::labels): log loss (binary, multiclass), or absolute error in units of the running
/// mean of the mixture's; each clipped to 8.
struct Regret {
  double mixture = 0;         ///< loss of the mixture
  double best = 0;            ///< loss of the best candidate
  std::size_t candidate = 0;  ///< which that is
  std::uint64_t rounds = 0;   ///< settles with labels
  /// value() is at most this, whatever the labels were (README, "Mixer"); infinite for eta = 0 and
  /// for share = 1.
  double bound = 0;
  bool by_labels = false;  ///< whether settles count by their labels

  /// Negative: better than any single candidate.
  double value() const { return mixture - best; }
};

/// Hedge with fixed share (Herbster & Warmuth 1998). Losses: log loss (binary, multiclass) or
/// absolute error over a running scale (regression), averaged over the labels of one settle().
///
/// Binary candidates are pooled by their logits. Where families are named (binary, regression), one
/// more expert is the plain mean of the families' means, with half of the prior: over tens of
/// updates hardly anything beats it, and when a family fails, Hedge leaves it for the others.
class Mixer {
 public:
  Mixer(TaskKind kind, std::size_t candidates, const MixerOptions& options);

  /// From the next settle on candidate k has this share of what returns to the prior (its part of
  /// the plain mean apart), the other experts the rest as before; before the first label it also
  /// begins with it. Not part of the state: the last call alone decides, so who loads says it again
  /// and nothing of the path there is left. Checks: k is a candidate; share in (0, 1).
  void set_prior(std::size_t k, double share);
  /// How much more candidate k has lost than the best of the others, as a share of what that one
  /// lost; 0 where it lost less, and before the first label. Checks: k is a candidate.
  double excess(std::size_t k) const;
  /// What was lost so far is no longer counted there.
  void restart_excess();

  /// Weighted mean of the candidates' outputs (logits, values, class probabilities; variance by
  /// total variance).
  void combine(std::span<const Output> outputs, Output& mixed) const;
  /// Account one graded example.
  void grade(std::span<const Output> outputs, double label);
  /// Apply the losses gathered since the last settle to the weights.
  void settle();

  /// Of the candidates, summing to 1; a family's part of the plain mean included.
  std::span<const double> weights() const { return weights_; }
  /// Against the best single candidate so far. Cost: O(K).
  Regret regret() const;
  void save(std::string& out) const;
  Status load(std::string_view bytes);

 private:
  double pool(std::span<const Output> outputs, std::span<const double> weights) const;
  void spread();
  double count_of_settle() const;

  TaskKind kind_;
  MixerOptions options_;
  std::vector<double> mean_;     // share of each candidate in the plain mean; empty: no such expert
  std::vector<double> even_;     // of the experts: candidates, then the plain mean if there is one
  std::vector<double> prior_;    // the same as set_prior() says
  std::vector<double> start_;    // the prior before the first label
  std::vector<double> experts_;  // sum to 1
  std::vector<double> weights_;  // of candidates, from experts_
  std::vector<double> losses_;   // of experts since the last settle
  std::vector<double> totals_;   // of candidates, mean loss summed over settles as they count
  std::vector<double> before_;   // the same when excess() was last restarted
  double mixture_ = 0;           // loss of the mixture since the last settle
  double mixture_total_ = 0;
  double gap_total_ = 0;      // of Hedge's mean loss over its mix loss, summed over settles
  std::uint64_t rounds_ = 0;  // settles with labels
  double graded_ = 0;         // examples in losses_
  double scale_ = 0;          // running mean of |label - mean prediction|, regression only
  double scale_count_ = 0;
};

/// Loss of one output on one label, as the mixer and the metrics count it: log loss with
/// probabilities clipped to [1e-6, 1-1e-6], or absolute error.
double loss_of(TaskKind kind, const Output& output, double label);

}  // namespace accrete::models
