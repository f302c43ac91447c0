// A sample of pairs by least hash; homophily of grades; covariances of an entity's labels.
#include "models/label_signals.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "models/candidate.h"
#include "models/state_bytes.h"
#include "proto/rng.h"

namespace accrete::models {
namespace {

constexpr std::uint8_t kStateVersion = 2;
constexpr std::size_t kGrades = 256;  // of ranks; finer than the noise of 4,096 pairs

/// What two labels have in common, by their grades (the class, or the rank in 256 steps).
struct Kernel {
  std::vector<double> by_distance;  // numbers: of |a − b|; classes: none

  double operator()(std::size_t a, std::size_t b) const {
    if (by_distance.empty()) return a == b ? 1 : 0;
    return by_distance[a > b ? a - b : b - a];
  }
};

/// Grades of the sorted ends, and how often each occurs.
struct Grades {
  std::vector<double> value;  // ascending, distinct
  std::vector<std::size_t> grade;
  std::vector<double> counts;

  std::size_t of(double label) const {
    const auto place = std::lower_bound(value.begin(), value.end(), label);
    return grade[static_cast<std::size_t>(place - value.begin())];
  }
};

Grades grade(const std::vector<double>& ends, bool by_rank) {
  Grades out;
  if (by_rank) out.counts.assign(kGrades, 0);
  for (std::size_t begin = 0; begin < ends.size();) {
    std::size_t end = begin;
    while (end < ends.size() && ends[end] == ends[begin])
      ++end;
    out.value.push_back(ends[begin]);
    // The middle of the ranks that equal labels share.
    out.grade.push_back(by_rank ? (begin + end) * kGrades / (2 * ends.size()) : out.grade.size());
    if (!by_rank) out.counts.push_back(0);
    out.counts[out.grade.back()] += static_cast<double>(end - begin);
    begin = end;
  }
  return out;
}

double rank_variance(const std::vector<double>& counts, double total) {
  double mean = 0;
  for (std::size_t g = 0; g < counts.size(); ++g)
    mean += counts[g] / total * static_cast<double>(g);
  double variance = 0;
  for (std::size_t g = 0; g < counts.size(); ++g) {
    const double gap = static_cast<double>(g) - mean;
    variance += counts[g] / total * gap * gap;
  }
  return variance;
}

double chance_of(const std::vector<double>& counts, double total, const Kernel& kernel) {
  double chance = 0;
  for (std::size_t a = 0; a < counts.size(); ++a) {
    if (kernel.by_distance.empty()) {
      chance += counts[a] / total * (counts[a] / total);
      continue;
    }
    for (std::size_t b = 0; b < counts.size(); ++b)
      chance += counts[a] / total * (counts[b] / total) * kernel(a, b);
  }
  return chance;
}

/// 0 to 1 without a corner.
double rise(double x) {
  const double t = std::clamp(x, 0.0, 1.0);
  return t * t * (3 - 2 * t);
}

std::uint64_t hash_of(std::uint64_t key) {
  return Rng(0, key, Purpose::Sample).next();  // one to one, so distinct keys never collide
}

}  // namespace

LabelSignals::LabelSignals(TaskKind kind, const LabelSignalOptions& options)
    : kind_(kind), options_(options) {
  ACCRETE_CHECK(options.pairs_max > 0);
}

void LabelSignals::add_pair(std::size_t path, std::uint64_t key, double first, double second,
                            double other) {
  ACCRETE_CHECK(path < paths_max && std::isfinite(first) && std::isfinite(second) &&
                !std::isinf(other));
  if (path >= paths_.size()) paths_.resize(path + 1);
  Path& pairs = paths_[path];
  const Pair pair{hash_of(key), std::min(first, second), std::max(first, second), other};
  const auto place =
      std::lower_bound(pairs.begin(), pairs.end(), pair.hash,
                       [](const Pair& kept, std::uint64_t hash) { return kept.hash < hash; });
  if (place != pairs.end() && place->hash == pair.hash) {
    *place = pair;
    return;
  }
  if (place == pairs.end() && pairs.size() >= options_.pairs_max) return;
  pairs.insert(place, pair);
  if (pairs.size() > options_.pairs_max) pairs.pop_back();
}

void LabelSignals::add_label(double label, std::span<const double> earlier) {
  ACCRETE_CHECK(std::isfinite(label));
  ++labels_;
  for (std::size_t lag = 0; lag < std::min(lags_.size(), earlier.size()); ++lag) {
    const double before = earlier[lag];
    ACCRETE_CHECK(std::isfinite(before));
    if (kind_ != TaskKind::Multiclass) {
      lags_[lag].add(before, label);
      continue;
    }
    const auto bound = static_cast<double>(classes_max);
    ACCRETE_CHECK(before >= 0 && before < bound && label >= 0 && label < bound);
    lags_[lag].add_classes(static_cast<std::size_t>(before), static_cast<std::size_t>(label));
  }
}

Homophily LabelSignals::homophily(std::size_t path) const {
  Homophily out;
  if (path >= paths_.size() || paths_[path].empty()) return out;
  const Path& pairs = paths_[path];
  std::vector<double> labels;
  labels.reserve(3 * pairs.size());
  for (const Pair& pair : pairs) {
    labels.push_back(pair.first);
    labels.push_back(pair.second);
    if (!std::isnan(pair.other)) labels.push_back(pair.other);
  }
  std::sort(labels.begin(), labels.end());
  const auto total = static_cast<double>(labels.size());
  const bool by_rank = kind_ == TaskKind::Regression;
  const Grades grades = grade(labels, by_rank);
  Kernel kernel;
  if (by_rank) {
    const double variance = rank_variance(grades.counts, total);
    for (std::size_t g = 0; g < kGrades; ++g) {
      const auto far = static_cast<double>(g * g);
      kernel.by_distance.push_back(g == 0 ? 1 : variance > 0 ? std::exp(-far / 2 / variance) : 0);
    }
  }
  const auto count = static_cast<double>(pairs.size());
  const double of_all = chance_of(grades.counts, total, kernel);
  double squares = 0;  // of how much more a pair is alike than by chance
  for (const Pair& pair : pairs) {
    const std::size_t first = grades.of(pair.first);
    const std::size_t second = grades.of(pair.second);
    const double alike = kernel(first, second);
    double chance = of_all;
    if (!std::isnan(pair.other)) {
      const std::size_t other = grades.of(pair.other);
      chance = (kernel(first, other) + kernel(second, other)) / 2;
    }
    out.edge += alike;
    out.chance += chance;
    squares += (alike - chance) * (alike - chance);
  }
  out.edge /= count;
  out.chance /= count;
  squares /= count;
  out.pairs = pairs.size();
  if (grades.value.size() < 2 || 1 - out.chance < 1e-12) return out;
  const double more = out.edge - out.chance;
  out.adjusted = more / (1 - out.chance);
  out.error = std::sqrt(std::max(squares - more * more, 0.0) / count) / (1 - out.chance);
  return out;
}

void LabelSignals::Lag::add(double x, double y) {
  ++count;
  const auto n = static_cast<double>(count);
  const double from_earlier = x - mean_earlier;
  const double from_later = y - mean_later;
  mean_earlier += from_earlier / n;
  mean_later += from_later / n;
  square_earlier += from_earlier * (x - mean_earlier);
  square_later += from_later * (y - mean_later);
  product += from_earlier * (y - mean_later);
}

void LabelSignals::Lag::add_classes(std::size_t x, std::size_t y) {
  ++count;
  const std::size_t classes = std::max({x + 1, y + 1, earlier.size()});
  earlier.resize(classes, 0);
  later.resize(classes, 0);
  ++earlier[x];
  ++later[y];
  if (x == y) ++agree;
}

double LabelSignals::Lag::correlation() const {
  const double scale = std::sqrt(square_earlier) * std::sqrt(square_later);
  const double r = product / scale;
  return scale > 0 && std::isfinite(r) ? std::clamp(r, -1.0, 1.0) : 0;
}

double LabelSignals::Lag::class_correlation() const {
  if (count == 0) return 0;
  const auto n = static_cast<double>(count);
  double variance_earlier = 1;
  double variance_later = 1;
  double covariance = static_cast<double>(agree) / n;
  for (std::size_t c = 0; c < earlier.size(); ++c) {
    const double p = static_cast<double>(earlier[c]) / n;
    const double q = static_cast<double>(later[c]) / n;
    variance_earlier -= p * p;
    variance_later -= q * q;
    covariance -= p * q;
  }
  const double product_of_variances = variance_earlier * variance_later;
  // Rounding leaves about 1e-16 where there is but one class.
  return product_of_variances > 1e-24 ? covariance / std::sqrt(product_of_variances) : 0;
}

double LabelSignals::autocorrelation(std::size_t lag) const {
  ACCRETE_CHECK(lag >= 1 && lag <= lags_.size());
  const Lag& moments = lags_[lag - 1];
  return kind_ == TaskKind::Multiclass ? moments.class_correlation() : moments.correlation();
}

double LabelSignals::prior() const {
  double strongest = 0;
  for (std::size_t path = 0; path < paths_.size(); ++path) {
    const Homophily signal = homophily(path);
    // Few pairs that happen to agree have no spread, and so no error that could be believed.
    if (signal.pairs < 256) continue;
    strongest = std::max(strongest, signal.adjusted - 2 * signal.error);
  }
  using P = NetworkPrior;
  const double by_homophily =
      rise((strongest - P::homophily_from) / (P::homophily_to - P::homophily_from));
  const double labels = std::max(static_cast<double>(labels_), 1.0);
  const double by_labels =
      rise(std::log(labels / P::labels_from) / std::log(P::labels_to / P::labels_from));
  const double by_neighbours = 1 - std::clamp(autocorrelation(1), 0.0, 1.0) / 2;
  return P::low + (P::high - P::low) * by_homophily * by_labels * by_neighbours;
}

std::size_t LabelSignals::memory_bytes() const {
  std::size_t bytes = sizeof *this;
  for (const Path& path : paths_)
    bytes += sizeof(Path) + path.capacity() * sizeof(Pair);
  for (const Lag& lag : lags_)
    bytes += (lag.earlier.capacity() + lag.later.capacity()) * sizeof(std::uint64_t);
  return bytes;
}

void LabelSignals::save(std::string& out) const {
  StateWriter writer(out);
  writer.u8(kStateVersion);
  writer.u8(static_cast<std::uint8_t>(kind_));
  writer.u64(labels_);
  writer.u64(paths_.size());
  for (const Path& path : paths_) {
    writer.u64(path.size());
    for (const Pair& pair : path) {
      writer.u64(pair.hash);
      writer.f64(pair.first);
      writer.f64(pair.second);
      writer.f64(pair.other);
    }
  }
  for (const Lag& lag : lags_) {
    writer.u64(lag.count);
    for (const double moment :
         {lag.mean_earlier, lag.mean_later, lag.square_earlier, lag.square_later, lag.product})
      writer.f64(moment);
    writer.u64(lag.agree);
    writer.u64(lag.earlier.size());
    for (std::size_t c = 0; c < lag.earlier.size(); ++c) {
      writer.u64(lag.earlier[c]);
      writer.u64(lag.later[c]);
    }
  }
}

Status LabelSignals::load(std::string_view bytes) {
  StateReader reader(bytes);
  reader.require(reader.u8() == kStateVersion);
  reader.require(reader.u8() == static_cast<std::uint8_t>(kind_));
  LabelSignals loaded(kind_, options_);
  loaded.labels_ = reader.u64();
  const std::uint64_t paths = reader.count(sizeof(std::uint64_t));
  reader.require(paths <= paths_max);
  if (!reader.failed()) loaded.paths_.resize(paths);
  for (Path& path : loaded.paths_) {
    path.resize(reader.count(sizeof(Pair)));
    for (std::size_t i = 0; i < path.size(); ++i) {
      path[i] = {reader.u64(), reader.f64(), reader.f64(), reader.f64()};
      reader.require(i == 0 || path[i - 1].hash < path[i].hash);
      reader.require(std::isfinite(path[i].first) && path[i].first <= path[i].second &&
                     std::isfinite(path[i].second) && !std::isinf(path[i].other));
    }
    // The least hashes of a larger sample are the smaller sample.
    if (path.size() > options_.pairs_max) path.resize(options_.pairs_max);
  }
  for (Lag& lag : loaded.lags_) {
    lag.count = reader.u64();
    for (double* moment :
         {&lag.mean_earlier, &lag.mean_later, &lag.square_earlier, &lag.square_later, &lag.product})
      *moment = reader.f64();
    lag.agree = reader.u64();
    lag.earlier.resize(reader.count(2 * sizeof(std::uint64_t)));
    lag.later.resize(lag.earlier.size());
    for (std::size_t c = 0; c < lag.earlier.size(); ++c) {
      lag.earlier[c] = reader.u64();
      lag.later[c] = reader.u64();
    }
    reader.require(lag.agree <= lag.count && lag.earlier.size() <= classes_max);
  }
  ACCRETE_DO(reader.finish("label signals"));
  *this = std::move(loaded);
  return Ok{};
}

}  // namespace accrete::models
