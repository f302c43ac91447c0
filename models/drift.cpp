// Buckets of powers of two; a sum against its own minimum.
#include "models/drift.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "models/state_bytes.h"

namespace accrete::models {
namespace {

constexpr std::uint8_t state_version = 2;

}  // namespace

Adwin::Adwin(const AdwinOptions& options) : options_(options) {
  ACCRETE_CHECK(options.delta > 0 && options.delta < 1 && options.buckets_per_size >= 2);
  ACCRETE_CHECK(options.look_every > 0 && options.side_min > 0);
}

std::optional<Shift> Adwin::add(double x) {
  ACCRETE_CHECK(std::isfinite(x));
  buckets_.insert(buckets_.begin(), {1, x, 0, x, x});
  ++count_;
  ++seen_;
  sum_ += x;
  compress();
  if (seen_ % options_.look_every != 0) return std::nullopt;
  const std::optional<Shift> found = clearest_cut();
  if (!found) return std::nullopt;
  ++changes_;
  do {
    count_ -= buckets_.back().count;
    sum_ -= buckets_.back().sum;
    buckets_.pop_back();
  } while (clearest_cut());
  return found;
}

/// Where a size has one bucket too many, its two oldest become one of the next size.
void Adwin::compress() {
  std::size_t begin = 0;
  while (begin < buckets_.size()) {
    std::size_t end = begin;
    while (end < buckets_.size() && buckets_[end].count == buckets_[begin].count)
      ++end;
    if (end - begin <= options_.buckets_per_size) return;
    Bucket& newer = buckets_[end - 2];
    const Bucket older = buckets_[end - 1];
    const auto half = static_cast<double>(older.count);
    const double gap = (newer.sum - older.sum) / half;
    newer.squares += older.squares + gap * gap * half / 2;
    newer.sum += older.sum;
    newer.lowest = std::min(newer.lowest, older.lowest);
    newer.highest = std::max(newer.highest, older.highest);
    newer.count += older.count;
    buckets_.erase(buckets_.begin() + static_cast<std::ptrdiff_t>(end) - 1);
    begin = end - 2;
  }
}

double Adwin::variance() const {
  double squares = 0;
  const double centre = mean();
  for (const Bucket& bucket : buckets_) {
    const auto n = static_cast<double>(bucket.count);
    const double gap = bucket.sum / n - centre;
    squares += bucket.squares + n * gap * gap;
  }
  return squares / static_cast<double>(count_);
}

double Adwin::range() const {
  double lowest = buckets_.front().lowest;
  double highest = buckets_.front().highest;
  for (const Bucket& bucket : buckets_) {
    lowest = std::min(lowest, bucket.lowest);
    highest = std::max(highest, bucket.highest);
  }
  return highest - lowest;
}

/// Of the cuts whose sides differ by more than the bound, the one that exceeds it most.
std::optional<Shift> Adwin::clearest_cut() const {
  std::optional<Shift> clearest;
  double most = 1;  // difference over bound
  const double spread = variance();
  const double width = range();
  const double confidence = std::log(2 * std::log(static_cast<double>(count_)) / options_.delta);
  std::uint64_t newer = 0;
  double newer_sum = 0;
  for (const Bucket& bucket : buckets_) {
    newer += bucket.count;
    newer_sum += bucket.sum;
    const std::uint64_t older = count_ - newer;
    if (older < options_.side_min) break;
    if (newer < options_.side_min) continue;
    const auto n0 = static_cast<double>(older);
    const auto n1 = static_cast<double>(newer);
    const double inverse = 1 / n0 + 1 / n1;
    const double bound =
        std::sqrt(2 * inverse * spread * confidence) + 2.0 / 3 * inverse * confidence * width;
    const Shift cut{(sum_ - newer_sum) / n0, newer_sum / n1, newer};
    const double difference = std::abs(cut.after - cut.before);
    if (difference <= most * bound) continue;
    most = bound > 0 ? difference / bound : std::numeric_limits<double>::infinity();
    clearest = cut;
  }
  return clearest;
}

void Adwin::save(std::string& out) const {
  StateWriter writer(out);
  writer.u8(state_version);
  writer.u64(buckets_.size());
  for (const Bucket& bucket : buckets_) {
    writer.u64(bucket.count);
    writer.f64(bucket.sum);
    writer.f64(bucket.squares);
    writer.f64(bucket.lowest);
    writer.f64(bucket.highest);
  }
  writer.u64(seen_);
  writer.u64(count_);
  writer.f64(sum_);
  writer.u64(changes_);
}

Status Adwin::load(std::string_view bytes) {
  StateReader reader(bytes);
  reader.require(reader.u8() == state_version);
  std::vector<Bucket> buckets(reader.count(5 * sizeof(double)));
  std::uint64_t total = 0;
  for (Bucket& bucket : buckets) {
    bucket.count = reader.u64();
    bucket.sum = reader.f64();
    bucket.squares = reader.f64();
    bucket.lowest = reader.f64();
    bucket.highest = reader.f64();
    reader.require(bucket.count > 0);
    total += bucket.count;
  }
  const std::uint64_t seen = reader.u64();
  const std::uint64_t count = reader.u64();
  const double sum = reader.f64();
  const std::uint64_t changes = reader.u64();
  reader.require(count == total && seen >= count);
  ACCRETE_DO(reader.finish("drift detector"));
  buckets_ = std::move(buckets);
  seen_ = seen;
  count_ = count;
  sum_ = sum;
  changes_ = changes;
  return Ok{};
}

std::optional<Shift> PageHinkley::add(double x) {
  ACCRETE_CHECK(std::isfinite(x));
  ++count_;
  const double gap = x - mean_;
  mean_ += gap / static_cast<double>(count_);
  squares_ += gap * (x - mean_);
  const double deviation = std::sqrt(squares_ / static_cast<double>(count_));
  if (deviation > 0) excess_ += (x - mean_) / deviation - options_.slack;
  if (excess_ <= lowest_) {
    lowest_ = excess_;
    lowest_count_ = count_;
    lowest_mean_ = mean_;
  }
  if (count_ < options_.warm || excess_ - lowest_ <= options_.threshold) return std::nullopt;
  const std::uint64_t since = count_ - lowest_count_;
  const double rest =
      mean_ * static_cast<double>(count_) - lowest_mean_ * static_cast<double>(lowest_count_);
  const Shift shift{lowest_mean_, rest / static_cast<double>(since), since};
  const std::uint64_t changes = changes_ + 1;
  *this = PageHinkley(options_);
  changes_ = changes;
  return shift;
}

void PageHinkley::save(std::string& out) const {
  StateWriter writer(out);
  writer.u8(state_version);
  writer.u64(count_);
  for (const double v : {mean_, squares_, excess_, lowest_, lowest_mean_}) {
    writer.f64(v);
  }
  writer.u64(lowest_count_);
  writer.u64(changes_);
}

Status PageHinkley::load(std::string_view bytes) {
  StateReader reader(bytes);
  reader.require(reader.u8() == state_version);
  PageHinkley fresh(options_);
  fresh.count_ = reader.u64();
  for (double* v :
       {&fresh.mean_, &fresh.squares_, &fresh.excess_, &fresh.lowest_, &fresh.lowest_mean_}) {
    *v = reader.f64();
  }
  fresh.lowest_count_ = reader.u64();
  reader.require(fresh.lowest_count_ <= fresh.count_);
  fresh.changes_ = reader.u64();
  ACCRETE_DO(reader.finish("drift detector"));
  *this = fresh;
  return Ok{};
}

}  // namespace accrete::models
