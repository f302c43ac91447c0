// Row encoder: one table's columns to numbers, learnt online from the rows as they are folded.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proto/ids.h"
#include "proto/result.h"
#include "proto/schema.h"
#include "proto/value.h"

namespace accrete::models {

/// A cell of a Number or a Flag column (0 or 1), as it is written or as text; NaN: it is none.
double number_value(const Value& value);
double flag_value(const Value& value);

/// What each column gives, by its kind (or by what its first non-null value shows, if Inferred):
///
///   Number      value                       Time   sign·log1p of the age at `as_of` in days
///   Flag        0/1                         Text   8 shares of hashed trigrams, log1p(bytes)
///   Category    one-hot of the first 15 values seen, then "other" from the 16th on
///   Vector, Set log1p(number of elements), then 64 numbers (sparse_projection.h)
///   Key, ForeignKey, Ignored  nothing; nor an Inferred column of the table's key or foreign keys
///
/// Inferred text counts as Category until it has shown more than 64 distinct values within its
/// first 256 rows; then it is Text from there on, and its category positions stay as they are.
///
/// Output positions of a column never move once assigned; new ones are appended, so a vector of
/// the past is a prefix of the vector of the future.
class RowEncoder {
 public:
  RowEncoder() = default;

  /// Look at a row before it is encoded for the first time: infer kinds, grow dictionaries.
  /// `cells[i]` is the value of column i of `table` (short spans: the rest is null).
  /// Cost: one dictionary lookup per category column; no allocation for values seen before.
  void observe(const Table& table, std::span<const Value> cells);

  /// Numbers of one row as of a time; resized to width(), NaN where null or unknown.
  /// A category value that was never observed is all zeros, or "other" if there is one.
  void encode(std::span<const Value> cells, TimeUs as_of, std::vector<double>& out) const;

  std::size_t width() const { return width_; }
  /// Positions that say something on their own (numbers, flags, times, categories), ascending; the
  /// hashed parts of texts, sets and vectors are left out. A position of the past stays.
  void plain_positions(std::vector<std::uint32_t>& out) const;
  /// The column of the table that each position is of; replaces `out`, size: width().
  void columns_of_positions(std::vector<std::uint32_t>& out) const;
  /// Positions that say which row it is rather than what it is like: hashed parts of texts, and
  /// categories of more values than have a position. `out[p]`: p is one of them; size width().
  void name_positions(std::vector<bool>& out) const;
  /// `column`, `column=value`, `column#3`, `column.length`; for explain. Size: width().
  std::vector<std::string> feature_names(const Table& table) const;

  /// Byte-exact state; load(save()) encodes and grows identically. Errors: Corruption.
  void save(std::string& out) const;
  Status load(std::string_view bytes);

 private:
  struct ColumnState {
    ColumnKind kind = ColumnKind::Inferred;  // as resolved; Inferred while only nulls were seen
    TimeUnit unit = TimeUnit::Seconds;
    bool watching = false;   // inferred text that may still turn out to be Text
    std::uint32_t seen = 0;  // values while watching
    std::map<std::string, std::uint32_t, std::less<>> values;  // dictionary, value -> slot
    std::vector<std::uint32_t> slots;                          // output positions of category slots
    std::vector<std::uint32_t> scalar;  // output positions of the other kinds, Text: 9 of them
  };

  void resolve(ColumnState& column, const Table& table, std::size_t index, const Value& value);
  void observe_category(ColumnState& column, const Value& value);
  void assign_scalar(ColumnState& column, std::size_t count);

  std::vector<ColumnState> columns_;
  std::size_t width_ = 0;
};

}  // namespace accrete::models
