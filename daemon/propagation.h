// The learners of a column of rows that hang together in a graph: a convex softmax over each row
// and what lies two steps around it, fitted to stored rows, and its sister that keeps no row.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/any_task.h"
#include "daemon/neighbourhood_reader.h"
#include "daemon/propagation_plan.h"
#include "daemon/shown_times.h"
#include "models/candidate.h"
#include "models/projected_ridge.h"
#include "models/propagation.h"
#include "models/sparse_encoder.h"
#include "store/state.h"

namespace accrete::daemon {

/// Shares of bytes_max: a half for the rows of a fit, a quarter each for weights with their moments
/// (so many columns at most), for rows kept between readings, for the rows of one addition to the
/// sums; the ridge's width is such that its sums and their solution fit into a half. They are not
/// all in use at once. Labels cost a byte a row of the table on top.
struct PropagationOptions {
  std::size_t bytes_max = 128u << 20;
  std::uint64_t seed = 1;
  /// Old rows are read again to be learnt from. False: the ridge is the only candidate.
  bool from_rows = true;
};

/// Candidates "propagation" (softmax) and "propagation-ridge" (from sums; each row is read once,
/// when it is learnt). Binary tasks are two classes. Classes beyond the 64th are not learnt here.
///
/// When it learns: fit_if_due() at the end of an instant fits when rows with a label grew by a
/// tenth and by 64 since the last fit, or a class is new. So the number of fits is logarithmic and
/// the stream alone decides when they are. A fit reads all labelled rows with their surroundings
/// (as of when: ShownTimes); where bytes_max does not hold them it reads a uniform subset, the rows
/// of smallest hash under the seed, and the softmax learns from these alone.
///
/// Threads: one owner, the fold. Deterministic: same calls, same bits; memory of rows decides
/// nothing.
class Propagation {
 public:
  static constexpr std::size_t kCandidates = 2;
  /// `base`: what a joined head (join()) says of a row by these columns, a score a class; empty
  /// where there is none.
  struct Answers : std::array<models::Output, kCandidates> {
    std::vector<float> base;
  };

  /// Null where the task's rows have nothing around them, or it is a regression.
  static std::unique_ptr<Propagation> make(const TaskPlan& plan, const TaskWorld& world,
                                           const PropagationOptions& options);

  /// How many candidates there are: the last ones of Answers.
  std::size_t size() const { return options_.from_rows ? kCandidates : 1; }
  std::vector<std::string> names() const {
    if (size() == 1) return {"propagation-ridge"};
    return {"propagation", "propagation-ridge"};
  }

  /// As of when rows with a label are read to be learnt from; unless set, as they are at the fit.
  void set_shown_at(ShownAt shown_at) { shown_at_ = std::move(shown_at); }

  /// The label of a row (0/1 or a class index) became known.
  void learn(std::uint32_t row, double label);
  void forget(std::uint32_t row);
  /// Fit as of the end of the instant `at`; false: it was not time. Cost: 20 passes over all rows.
  bool fit_if_due(TimeUs at);

  /// Answers for rows as of `at`, in their order. Empty (binary: .5) before the first fit.
  /// Cost: what lies within two steps, each row once.
  void predict(std::span<const std::uint32_t> rows, TimeUs at, std::vector<Answers>& out);
  /// The same for one row that has just arrived, by the newest 64 of each step.
  void predict_arrival(std::uint32_t row, TimeUs at, Answers& out);

  /// For a head over the ridge's columns and others (graph_network_ridge.cpp): B; what rows (no
  /// repeats) show the ridge (rows, B); the ridge's sums; and the head's part for these columns,
  /// (B, classes), from which answers have their `base` from now on.
  std::size_t ridge_columns() const { return ridge_.width(); }
  /// Rows that project() and the sums read at once, so that they keep to their share of memory.
  std::size_t ridge_rows_max() const;
  void project(std::span<const RowAt> rows, Eigen::MatrixXf& out);
  models::BalancedClasses<float> ridge_sums() const { return ridge_.balanced(); }
  void join(const Eigen::MatrixXf& head);

  bool reads(TableId table) const { return reader_.reads(table); }
  std::size_t memory_bytes() const;

  void stage(store::State& state);
  /// Errors: Corruption, Unavailable.
  Status load(store::State& state);

 private:
  Propagation(const TaskPlan& task, PropagationPlan plan, const TaskWorld& world,
              const PropagationOptions& options);

  static constexpr std::size_t kPageRows = 1u << 16;
  static constexpr std::uint8_t kNoLabel = 0xFF;
  struct Page {
    std::vector<std::uint8_t> labels;  // kPageRows, or none
    bool dirty = true;
  };
  std::uint8_t* slot(std::uint32_t row);
  Answers unknown() const;
  std::size_t classes() const;
  std::vector<RowAt> shown(std::span<const std::uint32_t> rows, TimeUs at) const;
  void fit_softmax(TimeUs at);
  void add_to_ridge(TimeUs at);
  void answer(const models::Neighbourhood& rows, std::span<Answers> out) const;
  void answer_one(std::span<const float> scores, std::size_t classes, bool logits,
                  models::Output& out) const;
  std::string key(std::string_view part) const {
    return name_ + "/propagation/" + std::string(part);
  }
  void stage_fit(store::State& state);
  Status load_fit(std::string_view bytes);
  Status load_ridge(std::string_view bytes);
  Status load_labels(store::State& state);
  Error corrupt(const char* what) const;

  std::string name_;
  TaskKind kind_;
  PropagationPlan plan_;
  PropagationOptions options_;
  models::SparseEncoder encoder_;
  NeighbourhoodReader reader_;
  ShownAt shown_at_;

  std::vector<Page> pages_;                // labels by row
  std::vector<std::uint32_t> fresh_;       // rows labelled since the last fit
  std::vector<std::uint64_t> class_rows_;  // labelled rows of each class
  std::uint64_t labelled_ = 0;
  std::uint64_t labelled_at_fit_ = 0;
  std::uint64_t classes_at_fit_ = 0;

  models::HopWeights<float> softmax_;
  models::ProjectedRidge ridge_;
  models::HopWeights<float> ridge_weights_;
  models::HopWeights<float> joined_;  // no column: there is no joined head
  bool fitted_dirty_ = false;
  bool joined_dirty_ = false;
};

}  // namespace accrete::daemon
