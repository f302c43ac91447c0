// What a graph network adds to the logits of a convex head, as much as it is worth for each data
// block.
//
//   o_k = (1 + a) log h_k + (b + sum over t of g_t d_t) log n_k + c_k       p = softmax(o)
//   g_t = sum over k of h_k P(t | k)
//
// K classes (two of a binary task), T experts, each of its data blocks
//   h (K) what the head says, n (K) what the network says        g (T) the head's posterior of the
//   block a row is of: P(t | k) is the share of a class's examples that are of blocks of expert t
//   c (K) gives back to a class what the network takes from it since it has forgotten the class, or
//   learnt it from more or fewer rows than there are
//   a, b, c, d (T) begin at zero: at first the head's word stands
//
// Source: Hinton 2002, "Training products of experts by minimizing contrastive divergence", for
// adding logits; Jacobs et al. 1991, "Adaptive mixtures of local experts", for a gate by block; Wu
// et al. 2019, arXiv:1905.13260, for a class's own number, fitted to rows that nobody learnt from.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <Eigen/Core>

#include "models/candidate.h"

namespace accrete::models {

/// Fitted to examples from which neither head nor network has learnt: on what they have learnt the
/// network knows too well.
///
/// The log loss is convex in (a, b, c, d), under a normal prior, and there are few of them, so
/// Newton finds the one best. It is kept only while it pays: scales fitted to one half of the
/// examples must explain the other half better than the head alone, by kGainMin nats; else all are
/// zero.
///
/// Deterministic: same calls, same bits. Threads: const calls from several at once.
class LogitResidual {
 public:
  /// Of examples; later classes are not fitted to and have no c of their own.
  static constexpr std::size_t kClassesMax = 64;
  /// With a scale of their own; of more, neighbours share one.
  static constexpr std::size_t kExpertsMax = 32;
  static constexpr double kGainMin = 2;  ///< a likelihood ratio that chance gives once in twenty

  /// `kind`: binary or multiclass, the latter unless told. Checks: one of these.
  explicit LogitResidual(TaskKind kind);

  /// Examples anew. `shares` (K, T): of each class, how its examples are shared by experts, in the
  /// order of their blocks; rows sum to 1, or to 0 for a class without any. No class may be known.
  /// Until fit() the head's word stands.
  void begin(const Eigen::MatrixXd& shares);
  /// An example. One whose label is beyond kClassesMax, or of which one of the two says nothing, is
  /// of no use, but is counted.
  void say(const Output& head, const Output& network, double label);
  /// Scales from the examples since begin(), whose room is given back. Cost: three fits of up to 20
  /// steps, a step examples × K (T² + K).
  void fit();

  /// What they say together; where either says nothing, what the head says.
  void combine(const Output& head, const Output& network, Output& out) const;
  /// The same of the example that was said as number `example`, from 0, by scales that were fitted
  /// without it. Between fit() and the next begin(). Checks: there was one.
  void combine_held_out(std::size_t example, const Output& head, const Output& network,
                        Output& out) const;

  /// a, b, d (none of one expert), c; empty: the head's word stands.
  const std::vector<double>& scales() const { return scales_; }
  std::size_t memory_bytes() const;

  void save(std::string& out) const;
  /// Examples are not part of it. Errors: Corruption; then nothing has changed.
  Status load(std::string_view bytes);

 private:
  struct Example {
    Eigen::MatrixXd columns;  // (K, P): how each class's logit answers to each scale
    Eigen::VectorXd start;    // (K) the head's logits
    Eigen::Index label = -1;  // -1: of no use
  };
  using Scales = std::vector<double>;
  Example example_of(const Output& head, const Output& network, std::size_t most) const;
  using Members = std::vector<std::size_t>;  // of examples_
  struct Slope {
    Eigen::VectorXd gradient;
    Eigen::MatrixXd curvature;  // lower triangle
  };
  static Eigen::VectorXd logits(const Example& example, const Scales& scales);
  double objective(const Scales& scales, const Members& members, Slope* slope) const;
  Scales fit_to(const Members& members) const;
  void combine_by(const Scales& scales, const Output& head, const Output& network,
                  Output& out) const;

  TaskKind kind_;
  Eigen::MatrixXd shares_;
  Scales scales_;
  std::vector<Example> examples_;
  std::array<Scales, 2> without_;  // fitted without the even, the odd examples
};

}  // namespace accrete::models
