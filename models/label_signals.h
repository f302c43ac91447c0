// What the labels of a task say about which family of learners suits it: do entities that share a
// row have like labels, and does an entity's label resemble its own earlier ones.
//
// For pairs (u, v) of labels, each with the label w of somebody else at the same time, and a kernel
// K (1[u = v] for classes):
//
//   h_edge = mean K(u, v)      chance = mean (K(u, w) + K(v, w)) / 2
//   h_adj  = (h_edge − chance) / (1 − chance)        1 alike, 0 as by chance, < 0 unlike
//
// Pairs are of one time: where more say yes this year than last year, any two of a time are more
// alike than any two of all times, which says nothing of neighbours. Where nobody else was there,
// chance is pᵀ K p, p the distribution of all these labels, in which an entity is as often as it
// has pairs. Numbers are compared by rank, K = exp(−(rank_u − rank_v)² / 2σ²), σ² the variance of
// the ranks: for normal labels chance is near 1/√(1 + 2 var/σ²), but where nine labels in ten are 0
// pairs agree by chance with .8, and only the labels themselves say so.
//
// Source: Relatron 2026, arXiv:2602.22552, for the signals; Platonov et al. 2023, arXiv:2209.06177,
// for adjusted homophily; chance within a time is ours.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proto/prediction.h"
#include "proto/result.h"

namespace accrete::models {

struct Homophily {
  std::uint64_t pairs = 0;  ///< that the numbers below rest on
  double edge = 0;
  double chance = 0;
  double adjusted = 0;  ///< 0 without pairs or where all labels are equal
  double error = 0;     ///< standard error of `adjusted`
};

struct LabelSignalOptions {
  /// Pairs kept a path, 32 bytes each. The standard error of h_adj is then .02 or less for two
  /// equally frequent classes.
  std::size_t pairs_max = 4096;
};

/// Rule of prior(); see there.
struct NetworkPrior {
  static constexpr double low = 0.1;
  static constexpr double high = 0.5;
  static constexpr double homophily_from = 0.05;
  static constexpr double homophily_to = 0.20;
  static constexpr double labels_from = 2000;
  static constexpr double labels_to = 20000;
};

/// The signals of one task, kept up to date label by label. Memory: bounded by paths × pairs_max.
class LabelSignals {
 public:
  static constexpr std::size_t paths_max = 256;
  static constexpr std::size_t lags = 2;  ///< earlier labels of an entity that are compared

  explicit LabelSignals(TaskKind kind, const LabelSignalOptions& options = {});

  /// Labels of two entities that share a middle row of a path. `key` names the pair (entities,
  /// middle row, times): of all keys ever told those with the least hashes are kept, a sample that
  /// does not depend on their order. A key that is told again replaces its labels.
  /// `other` is the label of somebody else at that time; NaN: there is none.
  /// Checks: path < paths_max, the two labels are finite, `other` is not infinite.
  /// Cost: O(log pairs_max), and a move of the kept pairs for one that is kept, which becomes rare.
  void add_pair(std::size_t path, std::uint64_t key, double first, double second, double other);

  /// A label that has matured, and those of the same entity before it, newest first; two are used.
  /// Checks: finite; classes are below classes_max. Cost: O(1).
  void add_label(double label, std::span<const double> earlier);

  std::size_t paths() const { return paths_.size(); }
  std::uint64_t labels() const { return labels_; }
  /// All zeros for a path that is not known. Cost: O(P log P), P its kept pairs; 256² more for
  /// numbers.
  Homophily homophily(std::size_t path) const;
  /// Correlation, over all entities, of labels and those one (two) before; 0 where undefined. For
  /// classes: covariance of the indicators summed over the classes, over the root of the variances
  /// summed likewise. Checks: lag is 1 or 2.
  double autocorrelation(std::size_t lag) const;

  /// Weight for the network family before any loss is known. With h the largest h_adj − 2 errors of
  /// a path, n the labels, r their autocorrelation at lag 1, but at least 0, and
  /// s(x) = 3x² − 2x³ clipped to [0, 1]:
  ///
  ///   low + (high − low) s((h − .05) / .15) s(log(n / 2,000) / log 10) (1 − r / 2)
  ///
  /// so low where h_adj < .05 or n < 2,000, and high, one half, from h = .2 and n = 20,000 where
  /// an entity's last label says nothing of its next: the more that says, the more the heads that
  /// are told it know without neighbours.
  double prior() const;

  std::size_t memory_bytes() const;
  void save(std::string& out) const;
  /// Errors: Corruption, also of another kind of task; nothing changes.
  Status load(std::string_view bytes);

 private:
  struct Pair {
    std::uint64_t hash = 0;
    double first = 0;  // the lower label
    double second = 0;
    double other = 0;  // of the same time; NaN: nobody's
  };
  using Path = std::vector<Pair>;  // by hash

  /// Moments of (earlier, later) pairs of labels: Welford's for numbers, counts for classes.
  struct Lag {
    std::uint64_t count = 0;
    double mean_earlier = 0;
    double mean_later = 0;
    double square_earlier = 0;
    double square_later = 0;
    double product = 0;
    std::uint64_t agree = 0;
    std::vector<std::uint64_t> earlier;
    std::vector<std::uint64_t> later;

    void add(double x, double y);
    void add_classes(std::size_t x, std::size_t y);
    double correlation() const;
    double class_correlation() const;
  };

  TaskKind kind_;
  LabelSignalOptions options_;
  std::vector<Path> paths_;
  std::uint64_t labels_ = 0;
  std::array<Lag, lags> lags_;
};

}  // namespace accrete::models
