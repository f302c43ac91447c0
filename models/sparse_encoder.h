// Rows of tables as sparse numbers: words, items and categories have a column each, found by hash.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/sparse_rows.h"
#include "models/state_bytes.h"
#include "proto/schema.h"
#include "proto/value.h"

namespace accrete::models {

/// A row before its numbers are put on a scale.
struct RawRow {
  struct Number {
    std::uint32_t column = 0;
    float value = 0;
    float weight = 1;  ///< of the standardised value
  };
  std::vector<SparseEntry> entries;
  std::vector<Number> numbers;
  bool complete = true;  ///< nothing in it was unknown

  void clear();
  /// Add `weight` times another row. Cost: linear; repeats of a column stay.
  void add(const RawRow& other, float weight);
  /// One entry a column, in column order.
  void merge();
  std::size_t bytes() const;
};

/// What each cell gives, by its column's kind (Inferred: by what the value is):
///
///   Set, Vector  its items or positions with their weights, to length 1
///   Text         its words (letters and digits, lower case), counted, to length 1
///   Category     the value, 1; Flag likewise; inferred text without blanks up to 64 bytes, too
///   Number       the value, standardised, clipped at ±3
///   Time, Key, ForeignKey, Ignored, null: nothing
///
/// all divided by the square root of the number of cells that gave something. So a row with one
/// set has length 1, and no column outshouts the others by its length alone.
///
/// Columns are given to items in the order in which they are first encoded with `grow`; column
/// numbers never move. When `columns_max` are taken, later items share the last sixteenth of them.
class SparseEncoder {
 public:
  /// Checks: columns_max >= 16.
  explicit SparseEncoder(std::size_t columns_max);

  /// `block` keeps the same item apart where it comes by different ways (hops, paths). `skip[c]`:
  /// column c gives nothing (keys, the predicted column). Without `grow` unknown items are left
  /// out. Cost: linear in the text, one lookup an item.
  void encode(std::uint32_t block, const Table& table, std::span<const Value> cells,
              const std::vector<bool>& skip, bool grow, RawRow& out);

  /// Account the numbers of a row for their scale; they take effect at rescale().
  void measure(const RawRow& row);
  /// Means and deviations of what was measured since the last time are the scale from here on;
  /// columns that nothing was measured of keep theirs.
  void rescale();

  /// Append the entries of a row on the scale of now. Numbers without a scale give nothing.
  void finish(const RawRow& row, std::vector<SparseEntry>& out) const;

  /// Key of each column, in column order.
  std::span<const std::uint64_t> keys() const { return keys_; }
  std::size_t memory_bytes() const;

  void save(StateWriter& writer) const;
  /// Fails the reader on sizes that do not agree.
  void load(StateReader& reader);

 private:
  struct Scale {
    double mean = 0;
    double inverse = 0;  // of the standard deviation
  };
  struct Moments {
    double count = 0;
    double mean = 0;
    double squares = 0;
  };
  /// False: unknown, and not to grow.
  bool column_of(std::string_view item, bool grow, std::uint32_t& column);
  std::size_t place_of(std::uint64_t key) const;
  void rebuild_table();
  void begin_item(std::uint32_t block, std::size_t column, char tag);
  void add_item(std::string_view item, double weight, bool grow, RawRow& out);
  void encode_text(std::string_view text, bool grow, RawRow& out);
  bool encode_cell(ColumnKind kind, const Value& cell, bool grow, RawRow& out);

  std::size_t columns_max_;
  std::vector<std::uint64_t> keys_;
  std::vector<std::uint32_t> table_;          // open addressing: 1 + column at a place of its key
  std::map<std::uint32_t, Scale> scales_;     // of number columns
  std::map<std::uint32_t, Moments> moments_;  // being measured

  std::string item_;  // block, column and kind, then the item
  std::size_t prefix_ = 0;
  std::string word_;
};

}  // namespace accrete::models
