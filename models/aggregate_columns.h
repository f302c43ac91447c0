// A table's rows as numbers to aggregate: which columns they have is decided from the rows seen so
// far, at set points of the table's stream, and never taken back.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proto/ids.h"
#include "proto/result.h"
#include "proto/schema.h"
#include "proto/value.h"

namespace accrete::models {

/// What a table's columns give, once they have shown it (keys, foreign keys and the time column
/// give nothing):
///
///   numbers, flags       the value (if it varies); where rows share time stamps also its rank
///   text, categories     1 or 0 for each of the most frequent values (at most 6, in 6–94 % and at
///                        least 4 of the rows); the logarithm of its length if there are more
///                        values than 64
///   anything             1 where it is null, if that is so in 2–98 % of the rows
///
/// The rank is that among the rows of one time stamp: (less + equal/2) / n − 1/2 over the n that
/// have a value, itself among the equal.
class AggregateColumns {
 public:
  /// A review is due when the rows observed reach 16, 32, … rows_reviewed_max: a table has shown
  /// by then what it is, and each review that finds something costs a pass over its rows.
  static constexpr std::uint64_t rows_first = 16;
  static constexpr std::uint64_t rows_reviewed_max = 1u << 18;

  /// `given` columns come first and are filled by the caller.
  explicit AggregateColumns(std::size_t given = 0) : given_(given) {}

  /// Count a new row. `shares_stamp`: its time is that of the row before it.
  void observe(const Table& table, std::span<const Value> cells, bool shares_stamp);
  /// Enough rows were observed since the last review.
  bool review_due() const { return due_; }
  /// Append the columns that the rows so far justify; true if there are new ones.
  bool review(const Table& table);

  /// Columns of the table with few values, each of many rows: rows may be grouped by them.
  std::vector<std::size_t> groups(const Table& table) const;

  std::size_t width() const { return given_ + specs_.size(); }
  /// Does this column say something about other rows that name this one? A length does not.
  bool is_shared(std::size_t index) const;
  /// The table's column of whose values this one tells one; nullopt: it tells something else.
  std::optional<std::size_t> category_of(std::size_t index) const;
  bool has_ranks() const { return has_ranks_; }
  /// Fill all but the given columns; NaN: null. Ranks are left NaN.
  void encode(std::span<const Value> cells, std::span<double> out) const;
  /// Fill the ranks of all rows of one time stamp, each as encode() left it.
  void rank(std::span<const std::span<double>> rows) const;

  /// "price", "city = Bonn", "price is null", "length of note", "rank of price"; not the given.
  std::vector<std::string> names(const Table& table) const;

  /// Byte-exact state. Errors: Corruption.
  void save(std::string& out) const;
  Status load(std::string_view bytes);

 private:
  enum class Kind : std::uint8_t { Number, Null, Equals, Length, Rank };
  struct Spec {
    Kind kind = Kind::Number;
    std::uint16_t column = 0;
    std::uint16_t of = 0;  // Rank: the spec that is ranked
    std::string value;     // Equals
  };
  struct Seen {
    std::uint64_t nulls = 0;
    std::uint64_t numbers = 0;
    std::uint64_t texts = 0;
    double least = 0;
    double greatest = 0;
    std::map<std::string, std::uint64_t, std::less<>> values;  // texts: at most values_max
    bool many = false;                                         // more values than that
  };

  void observe_text(Seen& seen, std::string_view text);
  void review_column(const Table& table, std::size_t index);
  bool has(Kind kind, std::size_t column) const;
  bool add(Kind kind, std::size_t column, std::string value = {});

  std::size_t given_;
  std::vector<Spec> specs_;
  std::vector<Seen> seen_;  // by column
  std::uint64_t rows_ = 0;
  std::uint64_t shared_ = 0;
  std::uint64_t next_review_ = rows_first;
  bool due_ = false;
  bool has_ranks_ = false;
};

}  // namespace accrete::models
