// What candidate "network-ridge" of a task stands on: a graph network at rest, and a ridge over
// what it says of rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <Eigen/Core>

#include "daemon/network_memory.h"
#include "models/candidate.h"
#include "models/expert_network.h"
#include "models/joined_ridge.h"

namespace accrete::daemon {

/// The columns of a row are the last vector (embedding) that a graph network has of it. The network
/// of the task learns on, so its vectors move; sums over them would be of columns that are no more.
/// They are read from a copy at rest. A new copy is taken when the task's network has become
/// another: a block or class began, experts were born or merged, or the labels grew by a quarter.
/// Its vectors are new columns: those of the copy before are dropped, which is exact, and rows that
/// are remembered are read again. No row is fitted twice to the same columns.
///
/// Where the task has candidate "propagation-ridge", its columns come before these, by its sums:
/// all rows ever learnt are in them, with zeros in the vectors' columns; rows that are remembered
/// are there once more, as they are now, with both. All else is fitted to what is remembered and to
/// the labels that came since, under the same copy.
///
/// Threads: the fold's. Deterministic: same calls, same bits.
class NetworkRidge {
 public:
  static constexpr std::string_view kName = "network-ridge";
  static constexpr std::size_t kRowsMax = 8192;  ///< remembered, that one copy reads
  static constexpr std::size_t kClassesMax = 64;
  static constexpr std::uint64_t kLabelsMin =
      64;  ///< from one copy to the next, unless for a class

  /// `base`: columns of the propagation ridge, 0 where there is none.
  NetworkRidge(TaskKind kind, std::size_t base, std::size_t width);

  bool classes() const { return options_.classes; }
  /// An example of the task's network.
  void add(const NetworkExample& example);

  /// What the task's network is at the moment, so far as it decides when a copy is taken.
  struct Moment {
    std::uint64_t classes = 0;
    std::uint64_t block = 0;   ///< that is open
    std::uint64_t events = 0;  ///< births and merges so far
  };
  bool is_due(const Moment& now) const;
  bool fitted() const { return weights_.size() > 0; }
  const std::vector<NetworkExample>& fresh() const { return fresh_; }
  models::ExpertNetwork<float>& at_rest() { return *rest_; }

  /// This is the copy from now on; all sums are dropped.
  void rest(models::ExpertNetwork<float> network, const Moment& now);
  /// Sums over rows with these vectors; fresh() is empty then. Checks: those of JoinedRidge.
  void learn(const Eigen::MatrixXf& base, const models::RowMatrix<float>& vectors,
             std::span<const double> targets);
  /// Fit. Returns the part of the base columns (B, classes). Where there are some, the sums are
  /// given back: the next fit begins with a copy.
  Eigen::MatrixXf fit(const models::BalancedClasses<float>* before);
  /// Scores of one row without those of its base columns. Checks: fitted().
  void score(std::span<const float> vector, std::vector<double>& out) const;

  std::size_t memory_bytes() const;
  /// Bytes of the copy since the last call; empty: it is the same.
  std::string take_rest_bytes() { return std::exchange(rest_bytes_, {}); }
  /// All but the copy.
  void save(std::string& out) const;
  /// `network`: of the task's shape, becomes the copy by `rest` (take_rest_bytes()), unless that is
  /// empty. Errors: Corruption.
  Status load(std::string_view bytes, std::string_view rest, models::ExpertNetwork<float> network);

 private:
  models::JoinedRidgeOptions options_;
  std::unique_ptr<models::ExpertNetwork<float>> rest_;  // null: none was taken
  std::string rest_bytes_;
  models::JoinedRidge<float> sums_;
  Eigen::MatrixXf weights_;            // of the vector and the intercept, (d + 1, C)
  std::vector<NetworkExample> fresh_;  // since the last sums; not where there are base columns
  std::uint64_t labels_ = 0;
  std::uint64_t labels_at_rest_ = 0;
  Moment at_rest_;
};

}  // namespace accrete::daemon
