// Sums that fade by time, and sums that fade by row.
#include "models/aggregate.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "proto/result.h"

namespace accrete::models {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double prior_strength = 1.0;

// Weights below this are what is left of rows that were taken out, or of a very distant past.
constexpr double weight_min = 1e-9;

// Offsets in the ordered part of a column.
constexpr std::size_t newest_at = 0;
constexpr std::size_t weight_at = 1;
constexpr std::size_t sum_at = 2;
constexpr std::size_t square_at = 3;
constexpr std::size_t window_at = 4;

double order_of(double time) {
  return std::isnan(time) ? -std::numeric_limits<double>::infinity() : time;
}

/// Numbers of four bytes, two in each double from `at` on.
template <class Number>
Number packed(const double* at, std::size_t slot) {
  static_assert(sizeof(Number) == 4);
  Number number;
  std::memcpy(&number, reinterpret_cast<const char*>(at) + 4 * slot, sizeof number);
  return number;
}
template <class Number>
void pack(double* at, std::size_t slot, Number number) {
  static_assert(sizeof(Number) == 4);
  std::memcpy(reinterpret_cast<char*>(at) + 4 * slot, &number, sizeof number);
}

/// A row's link as it is kept in a window; -1, none, becomes the greatest number.
std::uint32_t packed_link(double link) {
  return link < 0 ? ~std::uint32_t{0} : static_cast<std::uint32_t>(link);
}

double log2_age(double at, double time, double unit) {
  return std::isfinite(time) ? std::log2(1 + std::max(0.0, at - time) / unit) : nan;
}

}  // namespace

AggregateForm::AggregateForm(std::vector<double> half_lives_us, std::size_t columns,
                             std::size_t links, bool ordered, bool window)
    : lives_(std::move(half_lives_us)),
      columns_(columns),
      links_(links),
      ordered_(ordered),
      window_(ordered && window),
      timeless_(lives_.size() == 1 && std::isinf(lives_.front())),
      weights_(lives_.size()) {
  columns_at_ = ordered ? link_window_at(window_ ? links : 0) : first_at();
  cell_size_ = 2 * lives_.size() + ordered_cells();
}

/// The row's weight per half-life, as told at the state's reference time, which moves on to the
/// newest row; false if the row does not enter the fading part.
bool AggregateForm::weigh(double* state, double time) const {
  if (timeless_) {
    weights_[0] = 1;
    return true;
  }
  if (std::isnan(time)) return false;
  if (state[kTimed] == 0) {
    state[kTimed] = 1;
    state[kReference] = time;
  }
  const std::size_t H = lives_.size();
  const double ahead = time - state[kReference];
  if (ahead <= 0) {
    for (std::size_t h = 0; h < H; ++h) {
      weights_[h] = ahead == 0 ? 1 : std::exp2(ahead / lives_[h]);
    }
    return true;
  }
  state[kReference] = time;
  for (std::size_t h = 0; h < H; ++h) {
    const double fade = std::exp2(-ahead / lives_[h]);
    weights_[h] = 1;
    state[kDecayed + h] *= fade;
    const std::size_t fading = ordered_cells();
    for (std::size_t c = 0; c < columns_; ++c) {
      double* column = cell(state, c) + fading;
      column[h] *= fade;
      column[H + h] *= fade;
    }
  }
  return true;
}

void AggregateForm::accumulate(double* state, const AggregateRow& row, double sign) const {
  state[kCount] += sign;
  if (!weigh(state, row.time)) return;
  const std::size_t H = lives_.size();
  const std::size_t fading = ordered_cells();
  for (std::size_t h = 0; h < H; ++h) {
    state[kDecayed + h] += sign * weights_[h];
  }
  for (std::size_t c = 0; c < columns_; ++c) {
    const double x = row.values[c];
    if (std::isnan(x)) continue;
    double* column = cell(state, c) + fading;
    for (std::size_t h = 0; h < H; ++h) {
      column[h] += sign * weights_[h];
      column[H + h] += sign * weights_[h] * x;
    }
  }
}

bool AggregateForm::in_order(const double* state, const AggregateRow& row) const {
  if (state[kCount] == 0) return true;
  const double newest = state[first_at() + 1];
  const double time = order_of(row.time);
  return time > newest || (time == newest && row.id > newest_id(state));
}

bool AggregateForm::add(double* state, const AggregateRow& row) const {
  const bool next = ordered_ && in_order(state, row);
  const bool first = state[kCount] == 0;
  accumulate(state, row, 1);
  if (!ordered_) return true;
  double& oldest = state[first_at()];
  if (first) oldest = nan;
  if (!std::isnan(row.time) && !(oldest <= row.time)) oldest = row.time;
  if (next) append(state, row);
  return next;
}

void AggregateForm::append(double* state, const AggregateRow& row) const {
  ACCRETE_CHECK(row.values.size() == columns_ && row.links.size() == links_);
  double* newest = state + first_at();
  newest[1] = order_of(row.time);
  newest[2] = row.id;
  std::copy(row.links.begin(), row.links.end(), newest + 3);
  double& appended = state[appended_at()];
  const std::size_t slot = static_cast<std::size_t>(appended) % window_rows;
  appended += 1;
  pack(state + ids_at(), slot, static_cast<std::uint32_t>(static_cast<std::uint64_t>(row.id)));
  for (std::size_t l = 0; window_ && l < links_; ++l)
    pack(state + link_window_at(l), slot, packed_link(row.links[l]));
  for (std::size_t c = 0; c < columns_; ++c) {
    double* column = cell(state, c);
    const double x = row.values[c];
    const bool has = !std::isnan(x);
    column[newest_at] = x;
    if (window_) pack(column + window_at, slot, static_cast<float>(x));
    column[weight_at] = order_decay * column[weight_at] + (has ? 1 : 0);
    column[sum_at] = order_decay * column[sum_at] + (has ? x : 0);
    column[square_at] = order_decay * column[square_at] + (has ? x * x : 0);
  }
}

bool AggregateForm::remove(double* state, const AggregateRow& row) const {
  ACCRETE_CHECK(state[kCount] >= 1);
  if (state[kCount] == 1) {
    // What is empty is exactly so: no residue of rounding stays behind.
    std::fill_n(state, size(), 0.0);
    return true;
  }
  accumulate(state, row, -1);
  return !ordered_;
}

bool AggregateForm::revise(double* state, const AggregateRow& before,
                           const AggregateRow& after) const {
  const bool same = columns_ == 0 || std::memcmp(before.values.data(), after.values.data(),
                                                 columns_ * sizeof(double)) == 0;
  if (!same) {
    accumulate(state, before, -1);
    accumulate(state, after, 1);
  }
  if (!ordered_) return true;
  const std::size_t age = window_age(state, after);
  if (age == window_rows) return same;  // the links of older rows are not remembered
  const std::size_t slot = window_slot(state, age);
  if (age == 0) {
    std::copy(after.links.begin(), after.links.end(), state + first_at() + 3);
  }
  for (std::size_t l = 0; window_ && l < links_; ++l)
    pack(state + link_window_at(l), slot, packed_link(after.links[l]));
  if (same) return true;
  const double share = std::pow(order_decay, static_cast<double>(age));
  for (std::size_t c = 0; c < columns_; ++c) {
    double* column = cell(state, c);
    const double was = before.values[c];
    const double is = after.values[c];
    const bool had = !std::isnan(was);
    const bool has = !std::isnan(is);
    if (age == 0) column[newest_at] = is;
    column[weight_at] += share * ((has ? 1 : 0) - (had ? 1 : 0));
    column[sum_at] += share * ((has ? is : 0) - (had ? was : 0));
    column[square_at] += share * ((has ? is * is : 0) - (had ? was * was : 0));
    if (window_) pack(column + window_at, slot, static_cast<float>(is));
  }
  return true;
}

void AggregateForm::clear_order(double* state, double first) const {
  ACCRETE_CHECK(ordered_);
  std::fill(state + first_at(), state + columns_at_, 0.0);
  state[first_at()] = first;
  for (std::size_t c = 0; c < columns_; ++c) {
    std::fill_n(cell(state, c), ordered_cells(), 0.0);
  }
}

void AggregateForm::read_header(const double* state, const AggregateReading& reading,
                                double* out) const {
  const bool any = state != nullptr && state[kCount] > 0;
  *out++ = any ? std::log1p(state[kCount]) : 0;
  const double age = any ? std::max(0.0, reading.at - state[kReference]) : 0;
  for (const std::size_t h : reading.lives) {
    const double fade = timeless_ ? 1 : std::exp2(-age / lives_[h]);
    *out++ = any ? std::log1p(std::max(0.0, state[kDecayed + h] * fade)) : 0;
  }
  if (!ordered_) return;
  *out++ = any ? log2_age(reading.at, state[first_at() + 1], reading.unit_us) : nan;
  *out++ = any ? log2_age(reading.at, state[first_at()], reading.unit_us) : nan;
  const double span = any ? state[first_at() + 1] - state[first_at()] : nan;
  const bool gaps = any && state[kCount] > 1 && std::isfinite(span);
  *out++ = gaps ? std::log2(1 + std::max(0.0, span) / (state[kCount] - 1) / reading.unit_us) : nan;
  if (!window_ || !reading.window) return;
  if (any) {
    read_links(state, out);
  } else {
    std::fill_n(out, 2 * links_, nan);
  }
}

std::size_t AggregateForm::window_size(const double* state) const {
  return std::min(window_rows, static_cast<std::size_t>(state[appended_at()]));
}

/// Where the row is that `age` rows came after; age < window_size().
std::size_t AggregateForm::window_slot(const double* state, std::size_t age) const {
  return (static_cast<std::size_t>(state[appended_at()]) - 1 - age) % window_rows;
}

/// How many rows came after this one; window_rows if it is not among the newest.
std::size_t AggregateForm::window_age(const double* state, const AggregateRow& row) const {
  const auto id = static_cast<std::uint32_t>(static_cast<std::uint64_t>(row.id));
  const std::size_t rows = window_size(state);
  for (std::size_t age = 0; age < rows; ++age) {
    if (packed<std::uint32_t>(state + ids_at(), window_slot(state, age)) == id) return age;
  }
  return window_rows;
}

/// Of each link: how many different rows the window names, and the share that names the newest.
void AggregateForm::read_links(const double* state, double* out) const {
  const std::size_t rows = window_size(state);
  for (std::size_t l = 0; l < links_; ++l) {
    const double* window = state + link_window_at(l);
    std::size_t different = 0;
    std::size_t same = 0;
    for (std::size_t i = 0; i < rows; ++i) {
      const auto named = packed<std::uint32_t>(window, window_slot(state, i));
      bool known = false;
      for (std::size_t j = 0; j < i && !known; ++j)
        known = packed<std::uint32_t>(window, window_slot(state, j)) == named;
      different += known ? 0u : 1u;
      same += named == packed<std::uint32_t>(window, window_slot(state, 0)) ? 1u : 0u;
    }
    *out++ = rows > 0 ? static_cast<double>(different) : nan;
    *out++ = rows > 0 ? static_cast<double>(same) / static_cast<double>(rows) : nan;
  }
}

/// Mean of the newest three, least, greatest, and the slope of the line of least squares.
void AggregateForm::read_window(const double* state, const double* window, double* out) const {
  double least = nan;
  double greatest = nan;
  double newest_three = 0;
  double n_three = 0;
  double n = 0;
  double sum_t = 0;
  double sum_x = 0;
  double sum_tt = 0;
  double sum_tx = 0;
  for (std::size_t i = 0, rows = window_size(state); i < rows; ++i) {
    const auto x = static_cast<double>(packed<float>(window, window_slot(state, i)));
    if (std::isnan(x)) continue;
    least = n > 0 ? std::min(least, x) : x;
    greatest = n > 0 ? std::max(greatest, x) : x;
    newest_three += i < 3 ? x : 0;
    n_three += i < 3 ? 1 : 0;
    const double t = -static_cast<double>(i);
    n += 1;
    sum_t += t;
    sum_x += x;
    sum_tt += t * t;
    sum_tx += t * x;
  }
  const double spread = n * sum_tt - sum_t * sum_t;
  out[0] = n_three > 0 ? newest_three / n_three : nan;
  out[1] = least;
  out[2] = greatest;
  out[3] = n > 2 ? (n * sum_tx - sum_t * sum_x) / spread : nan;
}

void AggregateForm::read_columns(const double* state, const AggregateReading& reading,
                                 std::size_t begin, std::size_t end, double* out) const {
  const bool any = state != nullptr && state[kCount] > 0;
  const std::size_t H = lives_.size();
  const std::size_t fading = ordered_cells();
  const double age = any ? std::max(0.0, reading.at - state[kReference]) : 0;
  for (std::size_t i = 0; i < reading.lives.size(); ++i) {
    weights_[i] = timeless_ ? 1 : std::exp2(-age / lives_[reading.lives[i]]);
  }
  for (std::size_t c = begin; c < end; ++c) {
    const double prior = reading.priors[c];
    if (!any) {
      if (ordered_) {
        out[0] = nan;
        out[1] = prior;
        std::fill_n(out + 2, ordered_width(reading.window) - 2, nan);
        out += ordered_width(reading.window);
      }
      std::fill_n(out, reading.lives.size(), prior);
      out += reading.lives.size();
      continue;
    }
    const bool has_prior = !std::isnan(prior);
    const double k = has_prior ? prior_strength : 0;
    const double drawn = has_prior ? prior_strength * prior : 0;
    const double* column = cell(state, c);
    if (ordered_) {
      const double n = column[weight_at];
      out[0] = column[newest_at];
      out[1] = n + k > weight_min ? (column[sum_at] + drawn) / (n + k) : nan;
      const double mean = column[sum_at] / n;
      out[2] = n > 1 ? std::sqrt(std::max(0.0, column[square_at] / n - mean * mean)) : nan;
      if (window_ && reading.window) read_window(state, column + window_at, out + 3);
      out += ordered_width(reading.window);
    }
    for (std::size_t i = 0; i < reading.lives.size(); ++i) {
      const std::size_t h = reading.lives[i];
      const double n = column[fading + h] * weights_[i];
      const double sum = column[fading + H + h] * weights_[i];
      *out++ = n + k > weight_min ? (sum + drawn) / (n + k) : nan;
    }
  }
}

void AggregateForm::read_mode(const double* state, std::span<const std::size_t> columns,
                              double* out) const {
  ACCRETE_CHECK(ordered_);
  std::fill_n(out, mode_width, nan);
  if (state == nullptr || state[kCount] == 0) return;
  for (const std::size_t c : columns) {
    const double* column = cell(state, c);
    if (column[weight_at] <= weight_min) continue;
    const double share = column[sum_at] / column[weight_at];
    if (share <= out[0]) continue;
    out[0] = share;
    out[1] = column[newest_at];
  }
}

void AggregateForm::means(const double* state, std::size_t life, std::span<double> out) const {
  const std::size_t H = lives_.size();
  const std::size_t fading = ordered_cells();
  for (std::size_t c = 0; c < columns_; ++c) {
    const double* column = state == nullptr ? nullptr : cell(state, c) + fading;
    const bool any = column != nullptr && column[life] > weight_min;
    out[c] = any ? column[H + life] / column[life] : nan;
  }
}

}  // namespace accrete::models
