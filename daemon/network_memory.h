// What a graph network keeps of its task: examples by data block, and each entity's own labels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proto/ids.h"
#include "proto/result.h"
#include "proto/rng.h"
#include "store/state.h"

namespace accrete::daemon {

/// An outcome of an entity.
struct KnownLabel {
  double label = 0;
  TimeUs known;
};

/// An outcome that is known. What lay around the entity at that time is read from the graph, which
/// keeps everything, so an example is four numbers.
struct NetworkExample {
  std::uint32_t row = 0;
  double label = 0;
  TimeUs at;
  std::uint32_t block = 0;
  double start = 0;  ///< what was known without the network, in the label's terms
};

struct NetworkMemoryOptions {
  std::size_t examples_max = 65'536;
  /// Of each label of a block that is over (`classes`; otherwise of all of it together); 0: no such
  /// bound. A block is over when a newer one begins, or by close_before() alone (`told_over`).
  std::size_t per_class = 0;
  bool told_over = false;
  bool classes = false;  ///< labels are classes: each of a block's is drawn as often as any other
  bool lists = false;    ///< a row has several examples of one instant, each of another label
  std::size_t labels_max = 64;  ///< of one entity; > 1
  /// Of all together: of more, each keeps half as many, and so on down to two.
  std::size_t all_labels_max = std::size_t{1} << 22;
  bool means = true;  ///< whether typical() is asked
  std::uint64_t seed = 1;
};

/// Bounded: of examples, each block keeps the same number, those of smallest hash under the seed
/// (of more blocks than examples, the newest); of an entity's labels, the newest. Threads: the
/// fold's. Deterministic: same calls, same bits.
class NetworkMemory {
 public:
  static constexpr std::size_t kInstantsMax = std::size_t{1} << 14;  ///< that typical() knows
  static constexpr std::size_t kRunRows = 64;  ///< of one instant, drawn together

  explicit NetworkMemory(const NetworkMemoryOptions& options);

  /// An example; of a block that is over, too, whose bound it does not raise. Cost: logarithmic in
  /// the order of instants, else linear in the block.
  void add(const NetworkExample& example);
  /// Blocks before this one are over; or all of their examples are forgotten.
  void close_before(std::uint32_t block);
  void forget_before(std::uint32_t block);
  /// The entity's label became known at `known`, which never falls: from then on it is a row around
  /// the entity.
  void know(std::uint32_t row, double label, TimeUs known);

  std::size_t size() const { return size_; }
  std::size_t size(std::uint32_t block) const;
  /// Time of the oldest example. Cost: linear in blocks. Checks: there is one.
  TimeUs oldest() const;

  /// `count` examples, in runs of one instant (their surroundings overlap). The newest block gives
  /// up to four times its share, at most half; each older block the same of the rest. Examples of a
  /// block are equally likely, but that the last run may be cut short; where labels are classes
  /// there are no runs, and each class of the block is as likely as any other.
  /// Checks: there is an example.
  void draw(std::size_t count, Rng rng, std::vector<NetworkExample>& out) const;
  /// The same from one block, in runs of at most `run_max`. Checks: it has an example; run_max > 0.
  void draw_from(std::uint32_t block, std::size_t count, Rng& rng, std::vector<NetworkExample>& out,
                 std::size_t run_max = kRunRows) const;

  /// Examples in the order of blocks and instants, appended: all, or every n-th so that they are at
  /// most `most`.
  void sample_all(std::size_t most, std::vector<NetworkExample>& out) const;

  /// Of a block: how many examples have each label, added to `counts`. Checks: labels are whole
  /// numbers, and `counts` has a place for each that there is. Cost: linear in the examples.
  void count_labels(std::uint32_t block, std::span<double> counts) const;

  /// The newest block with examples and those before it.
  std::uint32_t blocks() const { return static_cast<std::uint32_t>(blocks_.size()); }

  /// The newest `k` labels of an entity that were known at `at`, newest first, appended to `out`.
  void newest(std::uint32_t row, TimeUs at, std::size_t k, std::vector<KnownLabel>& out) const;

  /// Mean of all labels that were known at `at`, where each instant at which some became known
  /// counts .7 of what the next one does, label by label. Nothing: none was, or they are forgotten,
  /// or options.means is not set.
  /// Cost: logarithmic in kInstantsMax.
  std::optional<double> typical(TimeUs at) const;

  std::size_t memory_bytes() const;
  void stage(const std::string& prefix, store::State& state);
  /// Errors: Corruption, Unavailable.
  Status load(const std::string& prefix, store::State& state);

 private:
  struct Stored {
    std::uint32_t row = 0;
    double label = 0;
    std::int64_t at_us = 0;
    double start = 0;
  };
  static NetworkExample told(const Stored& example, std::uint32_t block) {
    return {example.row, example.label, TimeUs{example.at_us}, block, example.start};
  }
  static constexpr std::uint32_t kPageRows = 64;  // whose labels are stored together
  using Labels = std::vector<KnownLabel>;         // ascending times
  /// Labels up to an instant at which some became known, decayed.
  struct Instant {
    std::int64_t known_us = 0;
    double sum = 0;
    double count = 0;
  };

  std::uint64_t hash_of(const Stored& example) const;
  void shrink();
  void drop_empty_end();
  void change(std::uint32_t block, std::size_t from);
  void halve_labels();
  void close(std::uint32_t number);
  void draw_classes(std::uint32_t block, std::size_t count, Rng& rng,
                    std::vector<NetworkExample>& out) const;
  void stage_block(std::uint32_t block, std::size_t from, const std::string& prefix,
                   store::State& state);
  Status load_examples(std::string_view position, const std::string& prefix,
                       const store::State& state);
  bool load_page(std::uint32_t block, std::uint32_t page, std::string_view bytes);
  Status load_instants(std::string_view bytes);
  bool load_labels(std::size_t row, std::string_view bytes);

  NetworkMemoryOptions options_;
  std::size_t size_ = 0;
  std::vector<std::vector<Stored>> blocks_;  // each in the order of instants
  std::uint32_t over_ = 0;  // blocks before it were closed, and keep no more of what comes late
  bool dirty_ = false;
  std::map<std::uint32_t, std::size_t> changed_;  // blocks: from which example on
  std::vector<std::uint32_t> pages_;              // of each block, that are stored
  std::vector<Labels> labels_;                    // by entity row
  std::size_t labels_now_max_;                    // of one entity
  std::size_t labels_kept_ = 0;                   // of all
  std::set<std::uint32_t> touched_;               // pages of labels_
  std::vector<Instant> instants_;                 // ascending
  bool instants_dirty_ = false;
};

}  // namespace accrete::daemon
