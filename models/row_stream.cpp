// Fading sums over rows and labels, the search for groups and for lags.
#include "models/row_stream.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace accrete::models {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

constexpr double decay[] = {.7, .9, .97, .99};
constexpr std::size_t per_column = 5;  // the newest, then one mean per decay
constexpr double drawn_rows = 1;       // a group's mean counts the mean of all as so many rows
constexpr double drawn_rows_newest = .001;

constexpr std::uint64_t first_review = 256;
constexpr std::size_t pair_values_max = 1024;  // of a pair: more would hardly ever come again
constexpr std::size_t newcomers_share = 8;     // one in so many values may be new in the newer half

constexpr std::uint64_t first_lag_review = 1024;
constexpr std::size_t peaks_per_review = 4;
constexpr std::size_t lag_features_max = 8;
constexpr double peak_errors = 4;  // standard errors of an autocorrelation of nothing

/// One number of two; not symmetric.
std::uint64_t joined(std::uint64_t a, std::uint64_t b) {
  std::uint64_t x = a * 0x9E37'79B9'7F4A'7C15ULL + b;
  x ^= x >> 32;
  x *= 0xD6E8'FEB8'6659'FD93ULL;
  return x ^ (x >> 32);
}

}  // namespace

RowStream::RowStream(TaskKind kind, std::vector<std::uint32_t> foreign_keys)
    : kind_(kind), foreign_keys_(std::min(foreign_keys.size(), groups_max)) {
  if (kind != TaskKind::Multiclass) grow_labels(1);
  for (std::size_t f = 0; f < foreign_keys_; ++f)
    add_group(foreign_keys[f], std::nullopt);
}

std::size_t RowStream::width_of(const Run& run) {
  const std::size_t columns = run.end - run.begin;
  return run.block == Block::Rows || run.block == Block::Labels ? columns * per_column : columns;
}

void RowStream::append(Block block, std::size_t of, std::size_t begin, std::size_t end) {
  const Run run{block, static_cast<std::uint32_t>(of), static_cast<std::uint32_t>(begin),
                static_cast<std::uint32_t>(end)};
  if (run.begin == run.end) return;
  runs_.push_back(run);
  width_ += width_of(run);
}

void RowStream::widen(std::size_t columns) {
  const std::size_t before = columns_.size();
  const std::size_t after = std::min(columns, columns_max);
  if (after <= before) return;
  columns_.resize(after);
  for (std::size_t c = before; c < after; ++c)
    columns_[c].previous = nan;
  append(Block::Difference, 0, before, after);
  append(Block::Rows, 0, before, after);
}

void RowStream::grow_labels(std::size_t columns) {
  const std::size_t before = label_columns_;
  if (columns <= before || before >= label_columns_max) return;
  label_columns_ = std::min(columns, label_columns_max);
  append(Block::Labels, 0, before, label_columns_);
  for (std::size_t g = 0; g < groups_.size(); ++g)
    append(Block::Labels, g + 1, before, label_columns_);
  for (std::size_t l = 0; l < lags_.size(); ++l)
    append(Block::Lag, l, before, label_columns_);
}

void RowStream::add_group(std::uint32_t first, std::optional<std::uint32_t> second) {
  if (groups_.size() >= groups_max) return;
  groups_.push_back({first, second, {}});
  append(Block::Labels, groups_.size(), 0, label_columns_);
}

std::optional<std::uint64_t> RowStream::key_of(const Group& group,
                                               std::span<const std::uint64_t> keys) {
  const auto value = [&](std::uint32_t column) { return column < keys.size() ? keys[column] : 0; };
  const std::uint64_t first = value(group.first);
  if (first == 0) return std::nullopt;
  if (!group.second) return first;
  const std::uint64_t second = value(*group.second);
  return second == 0 ? std::nullopt : std::optional(joined(first, second));
}

double RowStream::column_of(double label, std::size_t column) const {
  if (kind_ != TaskKind::Multiclass) return label;
  return label == static_cast<double>(column + 1) ? 1 : 0;
}

/// The slowest mean of a label column over all rows; 0 before the first label.
double RowStream::prior(std::size_t column) const {
  if (all_.count == 0 || column >= all_.columns.size()) return 0;
  return all_.columns[column].mean[decays - 1];
}

void RowStream::compute_labels(const Labels* labels, const Run& run, bool drawn,
                               double* out) const {
  for (std::uint32_t c = run.begin; c < run.end; ++c) {
    const double towards = prior(c);
    const bool any = labels != nullptr && labels->count > 0;
    const Fading* fading = any && c < labels->columns.size() ? &labels->columns[c] : nullptr;
    const double last = fading == nullptr ? 0 : fading->last;
    const double k_last = drawn ? drawn_rows_newest : 0;
    const double k = drawn ? drawn_rows : 0;
    *out++ = any ? (last + k_last * towards) / (1 + k_last) : towards;
    for (std::size_t d = 0; d < decays; ++d) {
      const double mean = fading == nullptr ? 0 : fading->mean[d];
      const double weight = any ? labels->weight[d] : 0;
      *out++ = any ? (weight * mean + k * towards) / (weight + k) : towards;
    }
  }
}

void RowStream::compute(const Row& row, std::span<double> out) const {
  ACCRETE_CHECK(out.size() >= width_);
  double* next = out.data();
  for (const Run& run : runs_) {
    switch (run.block) {
      case Block::Difference:
        for (std::uint32_t c = run.begin; c < run.end; ++c) {
          next[c - run.begin] =
              (c < row.values.size() ? row.values[c] : nan) - columns_[c].previous;
        }
        break;
      case Block::Rows:
        for (std::uint32_t c = run.begin; c < run.end; ++c) {
          const Column& column = columns_[c];
          double* to = next + (c - run.begin) * per_column;
          to[0] = column.any ? column.value.last : nan;
          for (std::size_t d = 0; d < decays; ++d)
            to[d + 1] = column.any ? column.value.mean[d] : nan;
        }
        break;
      case Block::Labels: {
        const Labels* labels = &all_;
        if (run.of > 0) {
          const Group& group = groups_[run.of - 1];
          const auto key = key_of(group, row.keys);
          const auto found = key ? group.keys.find(*key) : group.keys.end();
          labels = found == group.keys.end() ? nullptr : &found->second;
        }
        compute_labels(labels, run, run.of > 0, next);
        break;
      }
      case Block::Lag: {
        const std::uint32_t lag = lags_[run.of];
        for (std::uint32_t c = run.begin; c < run.end; ++c) {
          const bool known = labels_ >= lag;
          next[c - run.begin] =
              known ? column_of(newest_labels_[(labels_ - lag) % labels_max], c) : nan;
        }
        break;
      }
    }
    next += width_of(run);
  }
}

void RowStream::observe_row(const Row& row) {
  widen(row.values.size());
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    Column& column = columns_[c];
    column.previous = c < row.values.size() ? row.values[c] : nan;
    if (!std::isfinite(column.previous)) {
      column.previous = nan;
      continue;
    }
    column.any = true;
    column.value.last = column.previous;
    for (std::size_t d = 0; d < decays; ++d) {
      column.weight[d] = decay[d] * column.weight[d] + 1;
      column.value.mean[d] += (column.previous - column.value.mean[d]) / column.weight[d];
    }
  }
  if (watches_.size() < row.keys.size()) watches_.resize(row.keys.size());
  for (std::size_t c = 0; c < row.keys.size(); ++c) {
    Watch& watch = watches_[c];
    if (!watch.open || row.keys[c] == 0) continue;
    watch.values.insert(row.keys[c]);
    if (watch.values.size() <= values_max) continue;
    watch.open = false;
    watch.values.clear();
  }
  ++rows_;
  const bool due = rows_ >= first_review && (rows_ & (rows_ - 1)) == 0;
  if (due) review_groups();
}

void RowStream::review_groups() {
  for (std::uint32_t c = 0; c < watches_.size(); ++c) {
    Watch& watch = watches_[c];
    if (!watch.open) continue;
    const std::size_t count = watch.values.size();
    const std::size_t newcomers = count - watch.at_review;
    watch.at_review = count;
    const bool is_foreign_key =
        std::any_of(groups_.begin(), groups_.begin() + static_cast<std::ptrdiff_t>(foreign_keys_),
                    [&](const Group& group) { return group.first == c; });
    if (is_foreign_key) watch.open = false;
    if (is_foreign_key || count < 2 || newcomers * newcomers_share > count) continue;
    watch.open = false;
    add_group(c, std::nullopt);
    for (const std::uint32_t other : small_) {
      if (watches_[other].at_review * count <= pair_values_max) add_group(other, c);
    }
    small_.push_back(c);
  }
}

void RowStream::enter(Labels& labels, double label) const {
  if (labels.columns.size() < label_columns_) labels.columns.resize(label_columns_);
  ++labels.count;
  for (std::size_t d = 0; d < decays; ++d)
    labels.weight[d] = decay[d] * labels.weight[d] + 1;
  for (std::size_t c = 0; c < label_columns_; ++c) {
    const double value = column_of(label, c);
    labels.columns[c].last = value;
    for (std::size_t d = 0; d < decays; ++d) {
      double& mean = labels.columns[c].mean[d];
      mean += (value - mean) / labels.weight[d];
    }
  }
}

void RowStream::observe_label(double label, std::span<const std::uint64_t> keys) {
  // Kept as floats in the ring: the sums see the same number.
  label = static_cast<double>(static_cast<float>(label));
  if (kind_ == TaskKind::Multiclass) grow_labels(static_cast<std::size_t>(label));
  enter(all_, label);
  for (Group& group : groups_) {
    const auto key = key_of(group, keys);
    if (!key) continue;
    auto found = group.keys.find(*key);
    if (found == group.keys.end()) {
      if (group.keys.size() >= keys_max) continue;
      found = group.keys.emplace(*key, Labels{}).first;
    }
    enter(found->second, label);
  }
  if (newest_labels_.size() < labels_max) newest_labels_.resize(labels_max);
  newest_labels_[labels_ % labels_max] = static_cast<float>(label);
  ++labels_;
  const bool power = (labels_ & (labels_ - 1)) == 0;
  const bool even = power && (labels_ & 0x5555'5555'5555'5555ULL) != 0;  // a power of four
  if (even && labels_ >= first_lag_review) find_lags();
}

/// Autocorrelation of the newest labels at a lag; of classes: of being the same.
double RowStream::repeats(std::size_t lag) const {
  const std::size_t count = std::min<std::size_t>(labels_, labels_max);
  const auto at = [&](std::size_t i) {
    return static_cast<double>(newest_labels_[(labels_ - count + i) % labels_max]);
  };
  if (kind_ == TaskKind::Multiclass) {
    std::size_t same = 0;
    for (std::size_t i = lag; i < count; ++i)
      same += at(i) == at(i - lag) ? 1U : 0U;
    return static_cast<double>(same) / static_cast<double>(count - lag);
  }
  double mean = 0;
  for (std::size_t i = 0; i < count; ++i)
    mean += at(i) / static_cast<double>(count);
  double product = 0;
  double square = 0;
  for (std::size_t i = 0; i < count; ++i) {
    square += (at(i) - mean) * (at(i) - mean);
    if (i >= lag) product += (at(i) - mean) * (at(i - lag) - mean);
  }
  return square > 0 ? product / square : 0;
}

/// Peaks that stand out of what lags without any say, the highest first.
void RowStream::find_lags() {
  std::vector<double> repeat(lags_max + 2);
  std::vector<double> sorted;
  for (std::size_t lag = 1; lag < repeat.size(); ++lag) {
    repeat[lag] = repeats(lag);
    if (lag > lags_max / 2) sorted.push_back(repeat[lag]);
  }
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2),
                   sorted.end());
  const double middle = sorted[sorted.size() / 2];
  const auto count = static_cast<double>(std::min<std::size_t>(labels_, labels_max));
  const double least = middle + peak_errors / std::sqrt(count);
  std::vector<std::uint32_t> peaks;
  for (std::uint32_t lag = 2; lag <= lags_max; ++lag) {
    const bool top = repeat[lag] > repeat[lag - 1] && repeat[lag] >= repeat[lag + 1];
    if (top && repeat[lag] > least) peaks.push_back(lag);
  }
  std::stable_sort(peaks.begin(), peaks.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return repeat[a] > repeat[b]; });
  peaks.resize(std::min(peaks.size(), peaks_per_review));
  for (const std::uint32_t lag : peaks) {
    const bool known = std::any_of(lags_.begin(), lags_.end(), [&](std::uint32_t other) {
      return std::max(lag, other) - std::min(lag, other) <= 1;
    });
    if (known || lags_.size() >= lag_features_max) continue;
    lags_.push_back(lag);
    append(Block::Lag, lags_.size() - 1, 0, label_columns_);
  }
}

std::size_t RowStream::memory_bytes() const {
  std::size_t bytes = columns_.capacity() * sizeof(Column) + newest_labels_.capacity() * 4;
  for (const Group& group : groups_)
    bytes += group.keys.size() * (sizeof(Labels) + 48 + label_columns_ * sizeof(Fading));
  return bytes;
}

}  // namespace accrete::models
