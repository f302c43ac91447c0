// Whether rows of several tables still look like those of the data blocks so far: for each table a
// mixture per block, over numbers whose scale never changes.
//
// A table's space is fixed when it gets its first mixture: the positions its encoder has then, each
// standardised with the moments of the rows seen until then and clipped to ±4, 0 where it is
// missing; not those that never varied or only say which row it is. More than `width` positions are
// added up at width places, each with a sign, both by a hash of the position (Weinberger et al.
// 2009, arXiv:0902.2206). Positions that come later do not count: a mixture must mean tomorrow what
// it means today.
//
// The mixture of the open block is fitted to a uniform sample of the table's rows in it, when there
// are rows_min of them and again, while little is novel, when they have doubled: what changes
// slowly is one block, what changes at once is two.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/feature_scale.h"
#include "models/gaussian_mixture.h"
#include "proto/result.h"

namespace accrete::models {

struct RowNoveltyOptions {
  std::size_t width = 64;       ///< numbers of a table's space, at most; > 0
  std::size_t rows_min = 512;   ///< rows of a table in a block, for a mixture; > 0
  std::size_t sample = 512;     ///< rows that a mixture is fitted to; rows_min at most
  std::size_t blocks_max = 32;  ///< mixtures of a table, the newest; > 0
  /// A share is told of so many judged rows at least: fewer say little.
  std::size_t judged_min = 32;
  /// No mixture is fitted again while a larger share is novel: it would take in the change.
  double calm_share = 0.1;
  MixtureOptions mixture;
  std::uint64_t seed = 1;
};

/// Told of every row in the order of the log. Deterministic. Threads: one owner.
class RowNovelty {
 public:
  /// `names(table)` has a flag for each position of the table's encoder: it only says which row it
  /// is. Checks: the bounds named at the options.
  RowNovelty(std::size_t tables, const RowNoveltyOptions& options,
             std::function<std::vector<bool>(std::size_t table)> names);

  /// A row of the open block: what its table's encoder made of it (NaN: missing). Judged once the
  /// table has a mixture of that block. Cost: 3 B K width for B mixtures of the table; once that of
  /// a fit. Checks: table < tables.
  void add(std::size_t table, std::span<const double> encoded);
  /// The next row begins this block. Checks: blocks come in ascending order.
  void begin(std::uint32_t block);

  /// Of the rows judged since the last call the share that the likeliest of their table's blocks
  /// finds less likely than 99 % of its own. 0 without any. Cost: the fits that are due.
  double take_novel_share();

  std::size_t tables() const { return tables_.size(); }
  /// Mixtures of a table. Checks: table < tables.
  std::size_t mixtures(std::size_t table) const { return tables_[table].blocks.size(); }
  std::size_t memory_bytes() const;

  /// The state of the tables that changed since the last call, by number; then what is common.
  void save(const std::function<void(std::size_t table, const std::string& bytes)>& changed,
            std::string& common);
  /// Errors: Corruption; nothing changes.
  Status load_table(std::size_t table, std::string_view bytes);
  Status load_common(std::string_view bytes);

 private:
  struct Table {
    FeatureScale scale;               // of its rows until its first mixture
    std::vector<std::uint32_t> told;  // positions of its space; empty: it has none yet
    BlockMixtures blocks;
    // Of the open block:
    std::uint64_t rows = 0;
    std::uint64_t fitted = 0;  // rows there were when its mixture was last fitted; 0: it has none
    std::vector<std::vector<double>> sample;  // as encoded while there is no space, then in it
    bool dirty = false;
  };
  std::size_t width_of(const Table& table) const {
    return std::min(table.told.size(), options_.width);
  }
  std::vector<double> place(const Table& table, std::span<const double> encoded) const;
  bool fix(std::size_t number);
  void judge(const Table& table, std::span<const double> placed);
  void keep(std::size_t number, std::span<const double> row);
  void fit(std::size_t number);

  RowNoveltyOptions options_;
  std::function<std::vector<bool>(std::size_t)> names_;
  std::vector<Table> tables_;
  std::uint32_t block_ = 0;
  bool due_ = false;          // a table's rows have doubled since its mixture was fitted
  std::uint64_t judged_ = 0;  // since the last call
  std::uint64_t novel_ = 0;
  RowMatrix<float> row_;
};

}  // namespace accrete::models
