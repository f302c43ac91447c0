// The heads of a panel: what each keeps of the rows of a shared design, and what it says.
//
// Dimensions, here and in panel_heads.cpp:  K columns of z   N rows of a block
#pragma once

#include <cmath>
#include <memory>
#include <string>

#include <Eigen/Core>

#include "models/candidate.h"
#include "models/panel_design.h"
#include "models/quadratic_memory.h"

namespace accrete::models {

struct HeadSpec {
  double half_life = 32'000;  ///< examples until an example counts half
  double lambda = 1;          ///< prior precision of a weight is lambda × columns
};

/// Rows of one tick, at most ExampleMemory::page_rows of them.
struct TickRows {
  Eigen::MatrixXd rows;     // (K, N)
  Eigen::VectorXd labels;   // (N), as they came
  Eigen::VectorXd weights;  // (N) > 0
  double centre = 0;        // of the labels of earlier ticks
  double spread = 1;
  BlockSums squares;  // sum of w z z' and of w z target(label): every ridge head adds the same
};

/// The whole memory in a new design.
struct MemoryRows {
  Eigen::MatrixXd rows;        // (K, N)
  Eigen::VectorXd labels;      // (N)
  Eigen::VectorXd weights;     // (N), without age
  Eigen::VectorXd ages;        // (N) examples learnt since
  Eigen::VectorXd centres;     // (N)
  Eigen::VectorXd spreads;     // (N)
  LabelScale linear;           // of labels
  LabelScale skewed;           // of labels, logarithmic where they are skewed
  LabelScale relative;         // of (label - centre) / spread
  std::uint64_t position = 0;  // examples learnt so far: the seed of what is drawn
};

class PanelHead {
 public:
  PanelHead() = default;
  PanelHead(const PanelHead&) = delete;
  PanelHead& operator=(const PanelHead&) = delete;
  virtual ~PanelHead() = default;

  virtual const std::string& name() const = 0;
  /// Fit anew; `start` carries weights of the design so far into the new one.
  virtual void refit(const MemoryRows& memory, const PanelDesign& old, const PanelDesign& now) = 0;
  /// `count` examples come: what is known fades.
  virtual void fade(double count) = 0;
  virtual void learn(const TickRows& tick) = 0;
  /// Solve, if anything was learnt.
  virtual void refresh() = 0;
  virtual void predict(const Eigen::VectorXd& z, double centre, double spread,
                       Output& output) const = 0;
  virtual void save(StateWriter& writer) const = 0;
  /// Fails the reader on damaged bytes. `columns` of the design; 0 = not fitted yet.
  virtual void load(StateReader& reader, Eigen::Index columns) = 0;
};

/// Squared loss; binary (clipped into [0.001, 0.999]) and regression with s^2 (1 + leverage), s^2
/// the faded mean of squared errors before learning, each over its own 1 + leverage.
std::unique_ptr<PanelHead> make_ridge_head(TaskKind kind, const HeadSpec& spec, std::string name);

/// Binary: the posterior mean of the probability by MacKay's probit correction
/// sigma(f / sqrt(1 + pi v / 8)), v the Laplace variance of f.
std::unique_ptr<PanelHead> make_logistic_head(const HeadSpec& spec, std::string name);

/// Regression: the conditional median of the label, or of its deviation from the tick.
/// variance = faded mean of squared errors before learning.
enum class MedianOf : std::uint8_t { Label, TickDeviation };
std::unique_ptr<PanelHead> make_median_head(MedianOf what, const HeadSpec& spec, std::string name);

/// Boosted trees, fitted at every new design and left alone between. Binary: the probability.
/// Regression: the conditional median of the label, variance = faded mean of squared errors before
/// the label was known. `spec.lambda` is not used: what limits trees is TreeOptions.
std::unique_ptr<PanelHead> make_tree_head(TaskKind kind, const HeadSpec& spec, std::string name);

/// Squared errors made before learning, faded.
struct HeadErrors {
  double squares = 0;
  double weight = 0;

  void fade(double factor) {
    squares *= factor;
    weight *= factor;
  }
  void add(double error, double w) {
    if (!std::isfinite(error * error)) return;
    squares += w * error * error;
    weight += w;
  }
  double mean() const { return weight > 0 ? squares / weight : 0; }
};

/// What is left of an example's weight after `count` more.
inline double fade_factor(double count, double half_life) {
  return std::exp2(-count / half_life);
}

/// Weights (N) of a memory's examples, aged.
Eigen::VectorXd aged_weights(const MemoryRows& memory, double half_life);

/// Probabilities are kept this far from 0 and 1.
inline constexpr double probability_min = 0.001;

}  // namespace accrete::models
