// What a graph network tells of itself: where its layers sent the rows, now and over event time,
// and how well it knew the blocks of the past at each birth of an expert.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/merged_points.h"
#include "models/dymoe_layer.h"
#include "proto/ids.h"
#include "proto/result.h"
#include "store/state.h"

namespace accrete::daemon {

/// Sums of the weights with which a layer's nodes went to its experts.
struct LayerLoad {
  std::vector<double> experts;  ///< by column (NetworkMetrics::experts()); those behind have none
  double extras = 0;            ///< to the zero, copy and constant experts

  double total() const;
};

/// Fading sums over the nodes that a layer handled.
struct LayerRouting {
  LayerLoad load;
  double nodes = 0;
  double entropy = 0;       ///< of the weights of a node's experts, in nats
  double dead = 0;          ///< shares of the experts' hidden numbers that are asleep
  double own_block = 0;     ///< nodes whose largest block logit is their block's
  double block_loss = 0;    ///< cross entropy of the gate's choice and the node's block
  double mixture_rows = 0;  ///< nodes that were asked about, of blocks with a mixture
  double by_mixtures = 0;   ///< of them, those whose likeliest mixture is their block's
};

/// Answers of some neighbouring instants.
struct RoutingPoint {
  TimeUs at = kTimeMin;  ///< of the newest
  std::uint64_t answers = 0;
  std::uint64_t blocks = 0;
  std::vector<LayerLoad> layers;

  void take(const RoutingPoint& next);
};

/// How well the network knew a block, by a sample of the examples that are kept of it.
struct BlockScore {
  std::uint32_t block = 0;
  double measure = 0;  ///< the kind's headline (graded_series.h); NaN: the sample does not say
  double loss = 0;     ///< log loss, or mean absolute error
};

/// The same of all blocks at one moment: a row of the matrix that shows forgetting.
struct BlockScores {
  TimeUs at = kTimeMin;
  std::uint32_t experts = 0;       ///< that a layer had
  std::vector<BlockScore> scores;  ///< ascending blocks
};

/// An expert's name, here and in what is made of it, is the block it was born for: other numbers of
/// experts change when experts merge.
///
/// Part of the state: derived again after a crash, the same bits. Memory: bounded, some 100 KB.
/// Threads: the fold's.
class NetworkMetrics {
 public:
  static constexpr std::size_t kExpertsMax = 64;  // named apart; more the eye does not tell apart
  static constexpr std::size_t kAnswersMin = 64;  // of a block of the series
  static constexpr std::size_t kRowsMax = 32;     // of the matrix: the newest
  static constexpr std::size_t kBlocksMax = 32;   // of a row: the newest
  /// So many answers later a sum is a half to a third of itself.
  static constexpr double kFadingAnswers = 8192;

  /// The layers handled these rows to answer `answers` rows as of `at`. `experts`: of each block
  /// expert the block it was born for, ascending. Checks: loads of at least so many experts.
  void add(TimeUs at, std::size_t answers, std::span<const std::uint32_t> experts,
           std::span<const models::RoutingStats> layers);
  /// Of `rows` nodes of blocks with a mixture, the likeliest was that of `own` nodes' block. What
  /// was told before fades.
  void add_by_mixtures(std::size_t layer, std::size_t rows, std::size_t own);
  /// Scores just before an expert is born.
  void add(BlockScores row);

  /// Names of the columns, ascending. Where more experts than kExpertsMax have been seen, the
  /// oldest are one.
  std::span<const std::uint32_t> experts() const { return experts_; }
  /// Of late: what is older fades with the answers that came since, what mixtures chose with the
  /// nodes that were asked about. Empty before the first.
  std::span<const LayerRouting> layers() const { return layers_; }
  /// The whole course, oldest first.
  std::vector<RoutingPoint> points() const;
  /// Oldest first.
  std::span<const BlockScores> rows() const { return rows_; }

  std::size_t memory_bytes() const;
  /// Under this key, if something changed.
  void stage(const std::string& key, store::State& state);
  /// Errors: Corruption, Unavailable. Without a stored state it begins anew.
  Status load(const std::string& key, const store::State& state);

 private:
  void name(std::span<const std::uint32_t> experts);
  void join_oldest();
  std::size_t column(std::uint32_t expert) const;
  void add_load(const models::RoutingStats& stats, std::span<const std::uint32_t> experts,
                LayerLoad& load) const;
  void save(std::string& out) const;
  bool load_bytes(std::string_view bytes);

  std::vector<std::uint32_t> experts_;
  std::vector<LayerRouting> layers_;
  MergedPoints<RoutingPoint> points_;
  RoutingPoint open_;
  std::vector<BlockScores> rows_;
  bool dirty_ = false;
};

}  // namespace accrete::daemon
