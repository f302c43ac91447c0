// The mixer seam: one answer from several candidates, by their prequential losses.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/candidate.h"

namespace accrete::models {

struct MixerOptions {
  double eta = 0.5;     ///< learning rate on losses scaled to about [0, 1]
  double share = 0.02;  ///< fixed share: weight that returns to uniform at every update
};

/// Hedge with fixed share (Herbster & Warmuth 1998). Losses: log loss (binary, multiclass) or
/// absolute error over a running scale (regression), averaged over the labels of one settle().
class Mixer {
 public:
  Mixer(TaskKind kind, std::size_t candidates, const MixerOptions& options);

  /// Weighted mean of the candidates' outputs (probabilities, values; variance by total variance).
  void combine(std::span<const Output> outputs, Output& mixed) const;
  /// Account one graded example.
  void grade(std::span<const Output> outputs, double label);
  /// Apply the losses gathered since the last settle to the weights.
  void settle();

  std::span<const double> weights() const { return weights_; }
  void save(std::string& out) const;
  Status load(std::string_view bytes);

 private:
  TaskKind kind_;
  MixerOptions options_;
  std::vector<double> weights_;  // sum to 1
  std::vector<double> losses_;   // since the last settle
  double graded_ = 0;            // examples in losses_
  double scale_ = 0;             // running mean of |label - mean prediction|, regression only
  double scale_count_ = 0;
};

/// Loss of one output on one label, as the mixer and the metrics count it: log loss with
/// probabilities clipped to [1e-6, 1-1e-6], or absolute error.
double loss_of(TaskKind kind, const Output& output, double label);

}  // namespace accrete::models
