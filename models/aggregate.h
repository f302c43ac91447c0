// One aggregate's state: what the rows of one key (a driver's results) come to, column by column,
// as numbers that a row is added to and taken from in O(columns).
//
// Two parts. The fading part weighs a row by its age, 2^(−age / half-life), for H half-lives: sums
// are linear in the rows, so any row can be added, removed or revised at any time. The ordered part
// weighs a row by how many rows came after it, .9^rank, remembers the newest row, and keeps the
// ids, with a window also the values, of the newest window_rows rows: it takes rows in order, mends
// what changes among those, and after any other change is built anew from the newest
// rows_remembered rows.
//
// Notation: C columns, H half-lives, x a row's values (NaN = null: the row counts, its value does
// not), k prior strength.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace accrete::models {

/// One row as an aggregate sees it.
struct AggregateRow {
  double time = 0;  ///< microseconds; NaN: the row has no time, and does not enter the fading part
  double id = 0;    ///< orders rows of one time; below 2^32 where rows are revised
  std::span<const double> values;  ///< C
  std::span<const double> links;   ///< what to remember of the newest row beside its values
};

/// What to read: the half-lives a reader wants, and how long its unit of time is.
struct AggregateReading {
  double at = 0;                       ///< microseconds, not before the newest row
  double unit_us = 1;                  ///< ages are told in these
  std::span<const std::size_t> lives;  ///< indices of half-lives
  std::span<const double> priors;      ///< C means that few rows are drawn to
  bool window = true;                  ///< also what the window says, where there is one
};

/// The layout of a state and all arithmetic on it. A state is size() doubles; all zeros is empty.
class AggregateForm {
 public:
  /// Newest rows that determine the ordered part: the weight of the next one is .9^256 < 2e-12.
  static constexpr std::size_t rows_remembered = 256;
  static constexpr double order_decay = 0.9;
  /// Newest rows whose values are kept, as floats.
  static constexpr std::size_t window_rows = 8;

  AggregateForm() = default;
  /// An infinite half-life never fades; a form whose only half-life is infinite also takes rows
  /// without a time into its fading part.
  /// `window`: an ordered form also keeps the values and links of its newest window_rows rows.
  AggregateForm(std::vector<double> half_lives_us, std::size_t columns, std::size_t links,
                bool ordered, bool window);

  std::size_t size() const { return columns_at_ + columns_ * cell_size_; }
  std::size_t columns() const { return columns_; }
  bool ordered() const { return ordered_; }

  /// False: the row is older than the newest one, so the ordered part must be built anew.
  bool add(double* state, const AggregateRow& row) const;
  /// Takes a row out that is in. False: the ordered part must be built anew.
  bool remove(double* state, const AggregateRow& row) const;
  /// The same row at the same time with other values or links. False: the ordered part must be
  /// built anew.
  bool revise(double* state, const AggregateRow& before, const AggregateRow& after) const;
  /// Build the ordered part anew: clear it, then append the newest rows_remembered rows, oldest
  /// first. `first` is the time of the oldest row of all, NaN if none has one.
  void clear_order(double* state, double first) const;
  void append(double* state, const AggregateRow& row) const;

  double count(const double* state) const { return state[kCount]; }
  /// Of an ordered state that is not empty.
  double first_time(const double* state) const { return state[first_at()]; }
  double newest_id(const double* state) const { return state[first_at() + 2]; }
  std::span<const double> links(const double* state) const {
    return {state + first_at() + 3, links_};
  }

  /// log(1 + count), all and per life; ordered: log2(1 + t) of the ages t of the newest and the
  /// oldest row, NaN without one, and of the mean gap between two rows, NaN before the second; for
  /// each link, if there is a window, how many different rows the newest window_rows rows name,
  /// and in which share of them it is the one that the newest names.
  std::size_t header_width(std::size_t lives, bool window = true) const {
    return 1 + lives + (ordered_ ? 3u : 0u) + (window && window_ ? 2 * links_ : 0u);
  }
  void read_header(const double* state, const AggregateReading& reading, double* out) const;
  /// Per column of [begin, end): ordered: newest value, mean and standard deviation at .9; with the
  /// window, mean of the newest three rows, least, greatest and trend per row of the newest
  /// window_rows; then the mean per life. A mean that fades is (S + k prior) / (n + k), k = 1; what
  /// has too few values (one; three for the trend) is NaN. `state` may be null: empty.
  std::size_t column_width(std::size_t lives, bool window = true) const {
    return lives + ordered_width(window);
  }
  void read_columns(const double* state, const AggregateReading& reading, std::size_t begin,
                    std::size_t end, double* out) const;
  /// Of columns that are 1 for one value each of a category, 0 for the others: the share, at .9, of
  /// the value that has most (the first of equals), and whether the newest row has it. NaN: no row
  /// has a value; the newest has none. `state` may be null: empty. Checks: ordered.
  static constexpr std::size_t mode_width = 2;
  void read_mode(const double* state, std::span<const std::size_t> columns, double* out) const;
  /// The plain mean of each column at one half-life; NaN where no row has a value.
  void means(const double* state, std::size_t life, std::span<double> out) const;

 private:
  static constexpr std::size_t kCount = 0;
  static constexpr std::size_t kTimed = 1;      // 1 once the reference time below means something
  static constexpr std::size_t kReference = 2;  // time at which the fading sums are told
  static constexpr std::size_t kDecayed = 3;    // H decayed counts
  // Ordered: time of the oldest and newest row, id of the newest, links, rows appended, the windows
  // of ids and of links. Then the columns: ordered: newest value, weight, sum, sum of squares,
  // window; then H weights and H sums. A window is a ring of 4-byte numbers, two in the room of a
  // double.
  static constexpr std::size_t window_cells = window_rows / 2;
  std::size_t ordered_width(bool window) const {
    return (ordered_ ? 3u : 0u) + (window && window_ ? 4u : 0u);
  }
  std::size_t ordered_cells() const { return (ordered_ ? 4u : 0u) + (window_ ? window_cells : 0u); }

  std::size_t appended_at() const { return first_at() + 3 + links_; }
  std::size_t ids_at() const { return appended_at() + 1; }
  std::size_t link_window_at(std::size_t link) const {
    return ids_at() + (1 + link) * window_cells;
  }
  std::size_t window_size(const double* state) const;
  std::size_t window_slot(const double* state, std::size_t age) const;
  std::size_t window_age(const double* state, const AggregateRow& row) const;
  void read_window(const double* state, const double* window, double* out) const;
  void read_links(const double* state, double* out) const;
  std::size_t first_at() const { return kDecayed + lives_.size(); }
  double* cell(double* state, std::size_t c) const { return state + columns_at_ + c * cell_size_; }
  const double* cell(const double* state, std::size_t c) const {
    return state + columns_at_ + c * cell_size_;
  }
  bool weigh(double* state, double time) const;
  void accumulate(double* state, const AggregateRow& row, double sign) const;
  bool in_order(const double* state, const AggregateRow& row) const;

  std::vector<double> lives_;
  std::size_t columns_ = 0;
  std::size_t links_ = 0;
  std::size_t columns_at_ = 0;
  std::size_t cell_size_ = 0;
  bool ordered_ = false;
  bool window_ = false;
  bool timeless_ = false;
  mutable std::vector<double> weights_;  // of the row at hand, H
};

}  // namespace accrete::models
