// What the rows of each data block look like: a small Gaussian mixture per block, kept in place of
// the rows. It says which block a row comes from, whether it comes from none, and draws pseudo-rows
// on which a gate is trained without any old row.
//
// Dimensions, here and in gaussian_mixture.cpp:
//   N rows   d columns   K components   B blocks
//
//   p(x) = sum_k w_k prod_c N((x Q)_c; m_kc, v_kc)
//
// diagonal covariance along the columns of Q (d, d): Q = 1, or of the first a columns the principal
// axes of the block's rows, the others as they are. Hidden vectors vary together, and where blocks
// lie close to each other a cloud that varies along each column by itself covers its neighbours.
//
// The vectors must lie in one fixed space: mixtures of hidden vectors go stale when what computes
// the vectors is trained further.
//
// Source: Wang et al. 2025 (SOYO), CVPR, for mixtures that stand for a domain's rows; Dempster,
// Laird, Rubin 1977 for EM; Arthur and Vassilvitskii 2007 (k-means++) for its start.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/sparse_rows.h"
#include "proto/result.h"
#include "proto/rng.h"

namespace accrete::models {

struct MixtureOptions {
  std::size_t components = 2;
  int rounds_max = 100;    ///< of EM
  double gain_min = 1e-6;  ///< EM stops below this gain of the mean log density, relative to it
  /// Least variance of a column, as a share of the mean variance of the columns (of the mean square
  /// of the values, squared, where nothing varies): a constant column must not decide alone.
  double variance_floor = 1e-3;
  std::size_t axes = 0;  ///< a: first columns whose principal axes are found, at most
};

class GaussianMixture {
 public:
  /// The mixture of `rows` (N, d). At most `components`, and no more than there are distinct rows.
  /// The log likelihood never falls from round to round: with v bounded below, max(v, floor) is
  /// still the best v. `path`, unless null, gets the mean log density at the start and after each
  /// round. Checks: N, d > 0, all numbers finite. Cost: rounds × 4 N K d. Threads: pure; same
  /// calls, same bits.
  static GaussianMixture fit(const RowMatrix<float>& rows, const MixtureOptions& options, Rng rng,
                             std::vector<double>* path = nullptr);

  std::size_t components() const { return weights_.size(); }
  std::size_t width() const { return static_cast<std::size_t>(means_.cols()); }
  std::span<const double> weights() const { return weights_; }
  const RowMatrix<double>& means() const { return means_; }          ///< (K, d), along Q
  const RowMatrix<double>& variances() const { return variances_; }  ///< (K, d), along Q

  /// log p of a row of `rows`. Checks: rows are d wide. Cost: 3 K d, and a² along axes. Threads:
  /// pure.
  double log_density(const RowMatrix<float>& rows, std::size_t row) const;
  /// The same of all rows, for each of which there is a place.
  void log_densities(const RowMatrix<float>& rows, std::span<double> out) const;
  /// The density below which one in a hundred of the mixture's own rows lay.
  double novelty_threshold() const { return novelty_threshold_; }
  /// (n, d) rows drawn from the mixture. Cost: n d logarithms and cosines.
  RowMatrix<float> sample(std::size_t n, Rng& rng) const;

  /// 8 (K (1 + 2 d) + 1): 2,072 bytes for two components of 64 columns; 4 a² more along axes.
  std::size_t memory_bytes() const;
  /// memory_bytes() and 37 bytes of sizes. Errors of load: Corruption; the mixture is unchanged.
  void save(std::string& out) const;
  Status load(std::string_view bytes);

 private:
  RowMatrix<float> along_axes(const RowMatrix<float>& rows) const;
  double density_parts(const RowMatrix<float>& rows, std::size_t row,
                       std::span<double> parts) const;
  double expect(const RowMatrix<float>& rows, RowMatrix<double>& shares) const;
  void maximise(const RowMatrix<float>& rows, const RowMatrix<double>& shares, double floor);
  void derive();

  RowMatrix<float> axes_;  // of Q what is not 1 (a, a)
  std::vector<double> weights_;
  RowMatrix<double> means_;
  RowMatrix<double> variances_;
  double novelty_threshold_ = 0;
  // Follow from those above.
  RowMatrix<double> precisions_;
  std::vector<double> offsets_;  // log of a component's weight times its height
};

/// Rows that stand for blocks whose own rows are gone.
struct PseudoRows {
  RowMatrix<float> rows;
  std::vector<std::uint32_t> blocks;  ///< of each row
};

/// One mixture per data block. Blocks count the same in every answer, however many rows they had.
class BlockMixtures {
 public:
  /// `seed` keys the start of each block's mixture, together with the block's number.
  explicit BlockMixtures(const MixtureOptions& options = {}, std::uint64_t seed = 1)
      : options_(options), seed_(seed) {}

  /// The mixture of a block; one that is known is replaced. Checks and cost:
  /// GaussianMixture::fit(); rows of all blocks are equally wide.
  void add(std::uint32_t block, const RowMatrix<float>& rows);

  /// Forget the block of the lowest number. Checks: there is one.
  void drop_lowest();

  std::size_t size() const { return entries_.size(); }
  /// Ascending; the order of columns below.
  std::vector<std::uint32_t> blocks() const;
  /// Checks: the block is known.
  const GaussianMixture& mixture(std::uint32_t block) const;

  /// The block whose mixture gives a row the highest density; the lower number among equals.
  /// Checks: there is a block. Cost: N B (3 K d + a²). Threads: pure, as all below.
  std::vector<std::uint32_t> likeliest(const RowMatrix<float>& rows) const;
  /// (N, B) probabilities of the blocks. Checks and cost: the same.
  RowMatrix<double> posterior(const RowMatrix<float>& rows) const;
  /// Share of rows that their likeliest block finds less likely than 99 % of its own: about .01 for
  /// rows like those of a block, towards 1 for others. 1 without a block, 0 without rows.
  double novel_share(const RowMatrix<float>& rows) const;
  /// `per_block` rows of each block, block after block.
  PseudoRows pseudo_rows(std::size_t per_block, Rng& rng) const;

  std::size_t memory_bytes() const;
  void save(std::string& out) const;
  Status load(std::string_view bytes);

 private:
  struct Entry {
    std::uint32_t block = 0;
    GaussianMixture mixture;
  };
  RowMatrix<double> densities(const RowMatrix<float>& rows) const;

  MixtureOptions options_;
  std::uint64_t seed_ = 1;
  std::vector<Entry> entries_;  // by block
};

}  // namespace accrete::models
