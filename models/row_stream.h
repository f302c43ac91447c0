// What a stream of rows says about its next one: differences, fading means, group by group, and the
// labels so far at the lags where they repeat.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/candidate.h"
#include "models/state_bytes.h"

namespace accrete::models {

/// Context features of rows that come one by one, each with a label that may come with it, later or
/// never. Nothing here sees a label before observe_label() says it.
///
///   differences   of each of the first columns_max values to the previous row
///   rows          each such value: the newest, and means that fade by row, .7, .9, .97, .99
///   labels        the same of the label, over all rows and over each group's; a group's mean is
///                 (S + k m) / (n + k), k = 1 (.001 for the newest), m the mean of all at .99
///   lags          the label l labels ago, for the peaks l of the labels' autocorrelation
///
/// Groups: the values of each column that is named as a foreign key; of each other column that
/// shows 2 to 64 values and, in the newer half of the rows, hardly a new one (looked at after 256,
/// 512, 1024, … rows, never taken back); and of pairs of the latter. A multiclass label counts as
/// its indicators of the second to the ninth class.
///
/// Positions never move; new ones are appended. Not thread-safe.
/// Cost: O(width) a row; every fourfold of rows 2 million steps for the peaks.
class RowStream {
 public:
  static constexpr std::size_t columns_max = 32;
  static constexpr std::size_t groups_max = 16;
  static constexpr std::size_t keys_max = 16'384;  ///< of one group; later ones read as empty
  static constexpr std::size_t lags_max = 512;

  /// `foreign_keys`: positions in `keys` of foreign keys.
  RowStream(TaskKind kind, std::vector<std::uint32_t> foreign_keys);

  /// A row as the stream takes it. `values`: numbers, NaN where missing; the width may grow.
  /// `keys[c]`: hash of column c's value, 0 where it is null, not to be grouped by, or the label.
  struct Row {
    std::span<const double> values;
    std::span<const std::uint64_t> keys;
  };

  /// Give positions to new columns; call before compute() whenever values became wider.
  void widen(std::size_t columns);
  std::size_t width() const { return width_; }
  /// Context of `row` by the rows and labels so far, into out[0 .. width()).
  void compute(const Row& row, std::span<double> out) const;
  /// This row is now the newest.
  void observe_row(const Row& row);
  /// A label has become known, of a row with these keys. Binary: 0 or 1; multiclass: the class.
  void observe_label(double label, std::span<const std::uint64_t> keys);

  /// Size: width(). `columns`, `key_columns`: names of the positions in Row.
  std::vector<std::string> names(std::span<const std::string> columns,
                                 std::span<const std::string> key_columns) const;
  std::size_t memory_bytes() const;

  void save(std::string& out) const;
  /// Errors: Corruption; nothing has changed then.
  Status load(std::string_view bytes);

 private:
  static constexpr std::size_t decays = 4;
  static constexpr std::size_t values_max = 64;        // of a column to group by
  static constexpr std::size_t label_columns_max = 8;  // indicators of classes
  static constexpr std::size_t labels_max = 4096;      // kept to find and to read lags
  enum class Block : std::uint8_t { Difference, Rows, Labels, Lag };
  struct Run {
    Block block = Block::Difference;
    std::uint32_t of = 0;  // Labels: group + 1, 0 for all; Lag: which
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
  };
  /// Means as steps towards each new number: one that never varies gives the same bits for ever.
  struct Fading {
    double last = 0;
    double mean[decays] = {};
  };
  struct Column {
    double previous = 0;  // NaN where the previous row missed it
    Fading value;
    double weight[decays] = {};
    bool any = false;
  };
  /// Labels of one key.
  struct Labels {
    std::uint64_t count = 0;
    double weight[decays] = {};
    std::vector<Fading> columns;  // may be shorter than the label columns there are: the rest is 0
  };
  struct Watch {
    std::set<std::uint64_t> values;
    std::size_t at_review = 0;
    bool open = true;
  };
  struct Group {
    std::uint32_t first = 0;
    std::optional<std::uint32_t> second;
    std::map<std::uint64_t, Labels> keys;
  };

  void append(Block block, std::size_t of, std::size_t begin, std::size_t end);
  static std::size_t width_of(const Run& run);
  void add_group(std::uint32_t first, std::optional<std::uint32_t> second);
  void review_groups();
  void find_lags();
  void grow_labels(std::size_t columns);
  static std::optional<std::uint64_t> key_of(const Group& group,
                                             std::span<const std::uint64_t> keys);
  double column_of(double label, std::size_t column) const;
  double prior(std::size_t column) const;
  void compute_labels(const Labels* labels, const Run& run, bool drawn, double* out) const;
  void enter(Labels& labels, double label) const;
  double repeats(std::size_t lag) const;
  void save_groups(StateWriter& writer) const;
  void load_columns(StateReader& reader);
  void load_groups(StateReader& reader);

  TaskKind kind_;
  std::size_t foreign_keys_ = 0;
  std::vector<Run> runs_;
  std::size_t width_ = 0;
  std::vector<Column> columns_;
  std::vector<Watch> watches_;        // by key column
  std::vector<std::uint32_t> small_;  // key columns of few values
  std::vector<Group> groups_;
  Labels all_;
  std::size_t label_columns_ = 0;
  std::vector<std::uint32_t> lags_;
  std::vector<float> newest_labels_;  // a ring
  std::uint64_t rows_ = 0;
  std::uint64_t labels_ = 0;
};

}  // namespace accrete::models
