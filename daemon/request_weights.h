// How much each candidate counts in answers about rows that wait: weighed on labelled rows of all
// time that no candidate has learnt from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/candidate.h"

namespace accrete::daemon {

/// One row in 32, by a hash of seed and row, is held out; of those labelled so far the 512 of
/// smallest hash are kept, a uniform draw over all time. After each fit all of them are answered
/// anew as of then: each candidate is made as sure of itself as it should be (a power of its
/// probabilities, where that gains two nats: otherwise the boldest would count most), and the
/// linear pool that explains the labels best holds until the next fit.
///
/// Prequential weights cannot do this: where classes come one after another, "the same as the last
/// row" predicts the next row well and says nothing about a row of last year.
class RequestWeights {
 public:
  struct Example {
    std::uint64_t order = 0;  // the hash
    std::uint32_t row = 0;
    double label = 0;
  };

  RequestWeights(TaskKind kind, std::size_t candidates, std::uint64_t seed);

  bool holds_out(std::uint32_t row) const;
  /// Checks: holds_out(row).
  void add(std::uint32_t row, double label);
  /// Whether it was one of the examples.
  bool forget(std::uint32_t row);
  std::span<const Example> examples() const { return examples_; }

  /// What the candidates answer for one of the examples, and its label.
  void say(std::span<const models::Output> outputs, double label);
  /// Weights from what was said since the last time. Cost: 100 × examples × candidates. Kept of an
  /// example: 8 bytes for each candidate and exponent that is tried, however many classes there
  /// are.
  void weigh();

  /// There were examples to weigh with.
  bool known() const { return !weights_.empty(); }
  std::span<const double> weights() const { return weights_; }
  void combine(std::span<const models::Output> outputs, models::Output& mixed) const;

  void save(std::string& out) const;
  /// Errors: Corruption.
  Status load(std::string_view bytes);

 private:
  std::uint64_t hash(std::uint32_t row) const;
  std::size_t exponent_of(std::size_t candidate) const;

  TaskKind kind_;
  std::size_t candidates_;
  std::uint64_t seed_;
  std::vector<Example> examples_;  // by hash
  std::vector<double> weights_;    // of candidates; empty: not weighed yet
  std::vector<double> exponents_;  // the same
  std::vector<double> said_;       // example, candidate, exponent of the grid
};

}  // namespace accrete::daemon
