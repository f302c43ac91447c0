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
constexpr std::size_t ordered_cells = 4;

double order_of(double time) {
  return std::isnan(time) ? -std::numeric_limits<double>::infinity() : time;
}

double log2_age(double at, double time, double unit) {
  return std::isfinite(time) ? std::log2(1 + std::max(0.0, at - time) / unit) : nan;
}

}  // namespace

AggregateForm::AggregateForm(std::vector<double> half_lives_us, std::size_t columns,
                             std::size_t links, bool ordered)
    : lives_(std::move(half_lives_us)),
      columns_(columns),
      links_(links),
      ordered_(ordered),
      timeless_(lives_.size() == 1 && std::isinf(lives_.front())),
      weights_(lives_.size()) {
  columns_at_ = first_at() + (ordered ? 3 + links : 0);
  cell_size_ = 2 * lives_.size() + (ordered ? ordered_cells : 0);
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
    const std::size_t fading = ordered_ ? ordered_cells : 0;
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
  const std::size_t fading = ordered_ ? ordered_cells : 0;
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
  for (std::size_t c = 0; c < columns_; ++c) {
    double* column = cell(state, c);
    const double x = row.values[c];
    const bool has = !std::isnan(x);
    column[newest_at] = x;
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
  const bool same =
      std::memcmp(before.values.data(), after.values.data(), columns_ * sizeof(double)) == 0;
  if (!same) {
    accumulate(state, before, -1);
    accumulate(state, after, 1);
  }
  if (!ordered_) return true;
  double* newest = state + first_at();
  // Of an older row the links were never remembered.
  if (newest[1] != order_of(after.time) || newest[2] != after.id) return same;
  std::copy(after.links.begin(), after.links.end(), newest + 3);
  for (std::size_t c = 0; c < columns_; ++c) {
    double* column = cell(state, c);
    const double was = before.values[c];
    const double is = after.values[c];
    const bool had = !std::isnan(was);
    const bool has = !std::isnan(is);
    column[newest_at] = is;
    column[weight_at] += (has ? 1 : 0) - (had ? 1 : 0);
    column[sum_at] += (has ? is : 0) - (had ? was : 0);
    column[square_at] += (has ? is * is : 0) - (had ? was * was : 0);
  }
  return true;
}

void AggregateForm::clear_order(double* state, double first) const {
  ACCRETE_CHECK(ordered_);
  std::fill(state + first_at(), state + columns_at_, 0.0);
  state[first_at()] = first;
  for (std::size_t c = 0; c < columns_; ++c) {
    std::fill_n(cell(state, c), ordered_cells, 0.0);
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
}

void AggregateForm::read_columns(const double* state, const AggregateReading& reading,
                                 std::size_t begin, std::size_t end, double* out) const {
  const bool any = state != nullptr && state[kCount] > 0;
  const std::size_t H = lives_.size();
  const std::size_t fading = ordered_ ? ordered_cells : 0;
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
        out[2] = nan;
        out += 3;
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
      out += 3;
    }
    for (std::size_t i = 0; i < reading.lives.size(); ++i) {
      const std::size_t h = reading.lives[i];
      const double n = column[fading + h] * weights_[i];
      const double sum = column[fading + H + h] * weights_[i];
      *out++ = n + k > weight_min ? (sum + drawn) / (n + k) : nan;
    }
  }
}

void AggregateForm::means(const double* state, std::size_t life, std::span<double> out) const {
  const std::size_t H = lives_.size();
  const std::size_t fading = ordered_ ? ordered_cells : 0;
  for (std::size_t c = 0; c < columns_; ++c) {
    const double* column = state == nullptr ? nullptr : cell(state, c) + fading;
    const bool any = column != nullptr && column[life] > weight_min;
    out[c] = any ? column[H + life] / column[life] : nan;
  }
}

}  // namespace accrete::models
