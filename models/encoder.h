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

/// What each column gives: Number (value, or NaN) · Flag (0/1) · Time (age at `as_of` in days,
/// log1p-signed) · Category: one-hot of the first 15 values seen plus "other", the dictionary grows
/// and never reorders · Text: 8 hashed trigram buckets and log1p(length) · Inferred: decided at the
/// first non-null value, text with at most 64 distinct values in the first 256 rows counts as a
/// category · Vector, Set: dimension/size only (their own encoders come with the learners that use
/// them) · Key, ForeignKey, Ignored: nothing.
/// Output positions of a column never move once assigned; new ones are appended, so a vector of
/// the past is a prefix of the vector of the future.
class RowEncoder {
 public:
  RowEncoder() = default;

  /// Look at a row before it is encoded for the first time: infer kinds, grow dictionaries.
  /// `cells[i]` is the value of column i of `table` (short spans: the rest is null).
  void observe(const Table& table, std::span<const Value> cells);

  /// Numbers of one row as of a time; resized to width(), NaN where null or unknown.
  void encode(std::span<const Value> cells, TimeUs as_of, std::vector<double>& out) const;

  std::size_t width() const { return width_; }
  /// `column`, `column=value`, `column#3`, `column.length`; for explain.
  std::vector<std::string> feature_names(const Table& table) const;

  void save(std::string& out) const;
  Status load(std::string_view bytes);

 private:
  struct ColumnState {
    ColumnKind kind = ColumnKind::Inferred;
    std::uint32_t seen = 0;
    std::map<std::string, std::uint32_t, std::less<>> values;  // dictionary, value -> slot
    std::vector<std::uint32_t> positions;                      // output positions of its slots
  };
  std::vector<ColumnState> columns_;
  std::size_t width_ = 0;
};

}  // namespace accrete::models
