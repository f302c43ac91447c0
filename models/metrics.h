// Prequential metrics under their usual names, exact over a list and over a sliding window.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/candidate.h"
#include "models/ranked_list.h"

namespace accrete::models {

using Metrics = std::vector<std::pair<std::string, double>>;  ///< name -> value, fixed order

/// Area under the ROC curve by ranks, ties counted half. NaN when a class is absent.
double auroc(std::span<const double> scores, std::span<const double> labels);
/// Average precision: sum over thresholds of (recall step × precision), ties as one threshold.
double average_precision(std::span<const double> scores, std::span<const double> labels);

/// Expected calibration error: over `bins` equal bins of probability, the mean |share of hits -
/// mean probability|, weighted by examples. Probabilities of the positive class with 0/1 hits, or
/// of the predicted class with 1 where it was right. NaN for an empty list.
double expected_calibration_error(std::span<const double> probabilities,
                                  std::span<const double> hits, std::size_t bins = 10);

/// What was published as containing the label with a stated probability; NaN: nothing was.
struct Interval {
  double low = std::numeric_limits<double>::quiet_NaN();
  double high = std::numeric_limits<double>::quiet_NaN();
};

/// Graded examples, kept exactly. For report windows and for tests.
class Graded {
 public:
  explicit Graded(TaskKind kind) : kind_(kind) {}
  void add(const Output& output, double label, const Interval& interval = {});
  /// Of a ranking. Checks: the kind.
  void add(const RankedGrade& grade);
  std::size_t size() const { return labels_.size(); }
  /// binary: auroc, average_precision, log_loss, brier, accuracy, ece · multiclass: accuracy,
  /// macro_f1, log_loss, ece · regression: mae, rmse, r2, nll (Gaussian, where the variance is
  /// known), coverage and width (where an interval was published) · ranking: map, ndcg, precision,
  /// recall, considered, log_loss, of lists as long as they are. Empty list: no entries.
  Metrics metrics() const;

 private:
  friend class Prequential;
  void put(std::size_t i, const Output& output, double label, const Interval& interval);
  void put(std::size_t i, const RankedGrade& grade);
  void resize(std::size_t size);

  TaskKind kind_;
  // Ranking: scores average precision, labels ndcg, certainties precision, lows recall, highs
  // considered.
  std::vector<double> scores_;  // binary: probability; regression: value; multiclass: arg max
  std::vector<double> losses_;  // log loss (binary, multiclass), absolute error (regression)
  std::vector<double> labels_;
  std::vector<double> certainties_;  // regression: variance; multiclass: probability of the arg max
  std::vector<double> lows_;         // regression only
  std::vector<double> highs_;
};

/// Sliding window over the last `window` graded examples (all metrics, computed on demand) and
/// fading means of the per-example losses.
class Prequential {
 public:
  Prequential(TaskKind kind, std::size_t window, double fading = 0.999);
  void add(const Output& output, double label, const Interval& interval = {});
  /// Of a ranking. Checks: the kind.
  void add(const RankedGrade& grade);
  std::uint64_t count() const { return count_; }
  Metrics sliding() const;
  /// log_loss and accuracy (binary, multiclass), mae (regression), or log_loss and map (ranking),
  /// exponentially faded.
  Metrics fading() const;
  void save(std::string& out) const;
  Status load(std::string_view bytes);

 private:
  template <class... What>
  void keep(const What&... graded);
  void fade(double loss, double hit);

  TaskKind kind_;
  std::size_t window_;
  double fading_;
  std::uint64_t count_ = 0;
  Graded ring_;  // at most window_ entries, next_ is overwritten next
  std::size_t next_ = 0;
  double faded_loss_ = 0;
  double faded_hit_ = 0;
  double faded_weight_ = 0;
};

}  // namespace accrete::models
