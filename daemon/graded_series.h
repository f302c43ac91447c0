// A task's graded predictions over event time, in a bounded number of points.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "daemon/fold_sink.h"
#include "daemon/merged_points.h"
#include "models/metrics.h"

namespace accrete::daemon {

/// What a report draws: how good the mixture and every candidate were while the stream went by, and
/// what the mixer gave each candidate. Only predictions that the mixer is graded by count, those of
/// ticks and arrivals.
///
/// Graded predictions are collected into blocks: a block ends with its instant once it holds
/// kBlockMin of them, or when it holds kBlockMax. Points are blocks that merge as the series grows
/// (merged_points.h); they are sums only, and the same whatever else the machine does.
///
/// AUROC does not add up, so a point keeps the pairs instead: of all (positive, negative) pairs
/// within its blocks the number in the right order, ties counted half. These are whole numbers.
///
/// Cost: a loss per output and prediction, a sort per output and block. Memory: kPointsMax points
/// and one block. Threads: the fold's.
class GradedSeries {
 public:
  static constexpr std::size_t kBlockMin = 64;    // below it an AUROC says little
  static constexpr std::size_t kBlockMax = 4096;  // bounds the open block of a large population

  /// `outputs`: the candidates, and the mixture as the last.
  GradedSeries(TaskKind kind, std::size_t outputs);

  /// Checks: as many outputs as were announced, and a weight for each candidate; `known` does not
  /// fall.
  void add(const GradedPrediction& graded);

  struct Point {
    TimeUs at = kTimeMin;  ///< when the newest of the outcomes became known
    std::uint64_t count = 0;
    std::uint64_t blocks = 0;
    std::vector<double> losses;   ///< per output: sum of models::loss_of
    std::vector<double> hits;     ///< per output: how often the likeliest class was right, or the
                                  ///< average precisions of lists
    std::vector<double> wins;     ///< per output: pairs in the right order; binary only
    double pairs = 0;             ///< of a positive and a negative in one block
    std::vector<double> weights;  ///< per candidate: sum over the predictions

    void take(const Point& next);
  };
  static constexpr std::size_t kPointsMax = MergedPoints<Point>::kPointsMax;
  /// Oldest first, the open block included.
  std::vector<Point> points() const;

  /// [{"at", "count", "metric": {candidate: value}, "log_loss": {…}, "weights": {…}}]: the headline
  /// metric of the kind (see headline()); the log loss unless it is a regression. Values to six
  /// digits; null where a point has none.
  nlohmann::ordered_json json(const std::vector<std::string>& candidates) const;

 private:
  Point closed_block() const;
  void close();

  TaskKind kind_;
  std::size_t outputs_;
  MergedPoints<Point> points_;
  Point open_;  // sums of the open block, without its pairs
  std::vector<double> labels_;
  std::vector<std::vector<double>> scores_;  // per output; binary only
};

/// The metric a kind of task is known by: auroc, mae, accuracy or map.
const char* headline(TaskKind kind);

/// To six digits: a picture needs no more, and a report is read by people too. Null for NaN.
nlohmann::ordered_json rounded(double value);

}  // namespace accrete::daemon
