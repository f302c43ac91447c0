// The convex head of ranked lists: which of the items before somebody are chosen, from numbers
// about each pair.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proto/result.h"

namespace accrete::models {

struct ChoiceLogitOptions {
  std::size_t width = 0;  ///< numbers about a pair
  double lambda = 1;  ///< prior, in examples: weights of standardised numbers are about N(0, 1/λ)
  double half_life =
      50;               ///< of what is known of the curvature, in settles that taught; 0: for ever
  double step_max = 1;  ///< of all weights together in one settle: a first tick is small
};

/// Conditional logit (McFadden 1974): the probability that item i of a list is chosen is
/// exp(w·x_i) / Σ_j exp(w·x_j). Several chosen items of one list are as many choices, each with
/// 1 / (their number) of the weight.
///
/// The log loss is convex in w. Between two settles gradient and curvature are summed at the w of
/// the last; settle() takes one damped Newton step with the curvature of all lists so far, older
/// ones fading: of a stationary stream the weights come as near to the best as batches of all lists
/// would (a stochastic Newton method).
///
/// Prior and bound are told in units of the deviations of the numbers from their lists' means, over
/// all lists so far.
/// Deterministic: same calls, same bits. Threads: const calls from several at once.
class ChoiceLogit {
 public:
  explicit ChoiceLogit(const ChoiceLogitOptions& options);

  /// `items`: n × width, finite. Probabilities of the n items; nothing learnt yet: all alike.
  /// Checks: items.size() is n × width.
  void predict(std::span<const float> items, std::span<double> probabilities) const;

  /// One list and what was chosen; a list without a chosen item says nothing.
  /// Cost: O(n width²).
  void learn(std::span<const float> items, const std::vector<bool>& chosen);
  /// Take the step that the lists since the last settle ask for. Cost: O(width³).
  void settle();

  /// Of the numbers as they are given.
  const std::vector<double>& weights() const { return weights_; }

  void save(std::string& out) const;
  /// Errors: Corruption, also of another width; then nothing has changed.
  Status load(std::string_view bytes);

 private:
  std::vector<double> deviations() const;

  ChoiceLogitOptions options_;
  std::vector<double> weights_;
  std::vector<double> squares_;    // sum over lists of the mean squared deviation
  double lists_ = 0;               // in squares_
  std::vector<double> curvature_;  // width × width, of lists before the last settle, faded
  std::vector<double> gradient_;   // of the lists since
  std::vector<double> fresh_;      // curvature of the lists since
  double taught_ = 0;              // lists since
};

}  // namespace accrete::models
