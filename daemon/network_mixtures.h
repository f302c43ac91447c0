// What stands for the rows of blocks that a graph network has left behind: Gaussian mixtures of
// what its gates and its head read of them, and rows drawn from these.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/gaussian_mixture.h"
#include "proto/result.h"
#include "proto/rng.h"
#include "store/state.h"

namespace accrete::daemon {

/// What a network's head reads of rows with a class.
struct HeadRows {
  models::RowMatrix<float> vectors;            ///< (rows, d)
  std::vector<models::RowMatrix<float>> told;  ///< beside them, by source; columns may grow
  std::vector<std::uint32_t> classes;          ///< of each row
};

/// Of each block one mixture for each layer's gate and, where labels are classes, one for each
/// class it taught. Bounded: of more than kBlocksMax blocks, or kClassesMax classes, the oldest go.
/// Threads: the fold's. Deterministic: same calls, same bits.
class NetworkMixtures {
 public:
  static constexpr std::size_t kBlocksMax = 256;
  static constexpr std::size_t kClassesMax = 1024;  ///< a class counts once a block

  /// `seed` keys the start of each mixture.
  NetworkMixtures(std::size_t layers, std::uint64_t seed);

  /// What the gates read of a block (a matrix a layer, each with rows), and the head (maybe no
  /// rows). Checks: vectors are equally wide and sources as many, now and later; blocks come in
  /// their order. Cost: EM for each mixture (models/gaussian_mixture.h); at the next stage() all
  /// mixtures are written.
  void add(std::uint32_t block, std::span<const models::RowMatrix<float>> gates,
           const HeadRows& head);

  std::size_t blocks() const { return gates_.front().size(); }
  std::size_t layers() const { return gates_.size(); }

  struct Drawn {
    std::vector<models::PseudoRows> gates;  ///< by layer; `blocks` as they were told
    HeadRows head;  ///< columns that a class's rows did not have yet are zeros
  };
  /// About `count` rows a layer, and as many for the head: the same number of each block and class,
  /// at least one. Checks: a block is known.
  Drawn draw(std::size_t count, Rng rng) const;

  /// The lowest block that is known. Checks: there is one.
  std::uint32_t oldest() const { return gates_.front().blocks().front(); }
  /// The block under which the mixture is known that stands for this one, as for those before the
  /// next that is known. Checks: it is not below the oldest. Cost: linear in blocks.
  std::uint32_t standing_for(std::uint32_t block) const;
  /// The block whose mixture makes a row of what a layer's gate reads the most likely.
  /// Checks: a block is known. Cost: N B (3 K d + d²).
  std::vector<std::uint32_t> likeliest(std::size_t layer,
                                       const models::RowMatrix<float>& rows) const;

  std::size_t memory_bytes() const;
  /// Under this key, if something changed.
  void stage(const std::string& key, store::State& state);
  /// Errors: Corruption, Unavailable. Without a stored state there are none.
  Status load(const std::string& key, const store::State& state);

 private:
  /// Of a class that a block taught: vectors and what is told beside them in one row.
  struct OfClass {
    std::uint32_t label = 0;
    std::vector<std::uint32_t> columns;  // of the vectors, then of each source
    models::GaussianMixture mixture;
  };
  void add_class(std::uint32_t label, const HeadRows& head, std::span<const std::size_t> rows);
  void draw_head(std::size_t count, Rng& rng, HeadRows& out) const;
  Status load_bytes(std::string_view bytes);

  std::uint64_t seed_;
  std::vector<models::BlockMixtures> gates_;  // by layer
  std::vector<OfClass> head_;                 // as they came
  std::uint32_t next_ = 0;                    // number of its next, from the first one on
  bool dirty_ = false;
};

}  // namespace accrete::daemon
