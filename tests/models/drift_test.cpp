// Drift detectors against naive references that keep every number.
#include "models/drift.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <vector>

#include <gtest/gtest.h>

#include "proto/rng.h"
#include "state_check.h"

namespace accrete::models {
namespace {

/// ADWIN2 from its definition: buckets that keep their numbers, means and variances anew each time.
class NaiveAdwin {
 public:
  void add(double x) {
    buckets_.insert(buckets_.begin(), {x});
    for (std::size_t size = 1; merge(size); size *= 2) {
    }
    found.reset();
    if (++seen_ % 32 != 0) return;
    found = cut();
    if (found) ++changes;
    while (cut())
      buckets_.pop_back();
  }
  std::vector<double> window() const {
    std::vector<double> all;
    for (const auto& bucket : buckets_)
      all.insert(all.end(), bucket.begin(), bucket.end());
    return all;
  }
  std::uint64_t changes = 0;
  std::optional<Shift> found;  // by the last number

 private:
  bool merge(std::size_t size) {
    std::vector<std::size_t> equal;
    for (std::size_t b = 0; b < buckets_.size(); ++b) {
      if (buckets_[b].size() == size) equal.push_back(b);
    }
    if (equal.size() < 6) return false;
    auto& target = buckets_[equal[4]];
    target.insert(target.end(), buckets_[equal[5]].begin(), buckets_[equal[5]].end());
    buckets_.erase(buckets_.begin() + static_cast<std::ptrdiff_t>(equal[5]));
    return true;
  }
  static double mean(const std::vector<double>& x, std::size_t from, std::size_t to) {
    double sum = 0;
    for (std::size_t i = from; i < to; ++i)
      sum += x[i];
    return sum / static_cast<double>(to - from);
  }
  std::optional<Shift> cut() const {
    const std::vector<double> all = window();
    const auto [lowest, highest] = std::minmax_element(all.begin(), all.end());
    const auto n = static_cast<double>(all.size());
    const double centre = mean(all, 0, all.size());
    double variance = 0;
    for (const double x : all)
      variance += (x - centre) * (x - centre) / n;
    std::optional<Shift> clearest;
    double most = 1;
    std::size_t at = 0;
    for (const auto& bucket : buckets_) {
      at += bucket.size();
      if (at < 5 || all.size() - at < 5) continue;
      const double n1 = static_cast<double>(at);
      const double harmonic = 1 / (1 / n1 + 1 / (n - n1));
      const double log_term = std::log(2 * std::log(n) / 0.002);
      const double bound = std::sqrt(2 / harmonic * variance * log_term) +
                           2 / (3 * harmonic) * log_term * (*highest - *lowest);
      const Shift shift{mean(all, at, all.size()), mean(all, 0, at), at};
      if (std::abs(shift.before - shift.after) <= most * bound) continue;
      most = std::abs(shift.before - shift.after) / bound;
      clearest = shift;
    }
    return clearest;
  }
  std::vector<std::vector<double>> buckets_;
  std::uint64_t seen_ = 0;
};

TEST(Adwin, EqualsTheNaiveWindow) {
  for (std::uint64_t round = 0; round < 4; ++round) {
    Adwin adwin;
    NaiveAdwin naive;
    for (std::uint64_t i = 0; i < 2500; ++i) {
      Rng rng(81 + round, i, Purpose::Test);
      const double level = i < 900 ? 0.2 : i < 1700 ? 0.6 : 0.1;
      const double x = round % 2 == 0 ? level + rng.uniform() : (rng.uniform() < level ? 1 : 0);
      const std::optional<Shift> shift = adwin.add(x);
      naive.add(x);
      ASSERT_EQ(shift.has_value(), naive.found.has_value()) << i;
      if (shift) {
        EXPECT_NEAR(shift->before, naive.found->before, 1e-9);
        EXPECT_NEAR(shift->after, naive.found->after, 1e-9);
        EXPECT_EQ(shift->window, naive.found->window);
      }
      if (i % 16 != 0) continue;
      const std::vector<double> window = naive.window();
      ASSERT_EQ(adwin.size(), window.size()) << i;
      const double sum = std::accumulate(window.begin(), window.end(), 0.0);
      EXPECT_NEAR(adwin.mean(), sum / static_cast<double>(window.size()), 1e-9);
      EXPECT_EQ(adwin.changes(), naive.changes);
    }
    EXPECT_GE(adwin.changes(), 2u) << "two changes, each found once or in steps";
    EXPECT_LT(adwin.size(), 900u) << "the old levels are gone";
  }
}

TEST(Adwin, IsQuietWithoutAChange) {
  std::uint64_t alarms = 0;
  for (std::uint64_t round = 0; round < 10; ++round) {
    Adwin adwin;
    for (std::uint64_t i = 0; i < 5000; ++i) {
      Rng rng(91 + round, i, Purpose::Test);
      adwin.add(rng.uniform() < 0.3 ? 1 : 0);
    }
    alarms += adwin.changes();
    EXPECT_LT(saved(adwin).size(), 2000u) << "logarithmic memory";
  }
  EXPECT_LE(alarms, 1u);
}

/// One number of a stationary stream, as losses are: exponential, 0/1, lognormal, nearly normal and
/// far from 0, log loss of a calibrated prediction.
double stationary(int kind, Rng& rng) {
  const double u = 1 - rng.uniform();  // never 0
  double bell = -6;
  for (int i = 0; i < 12; ++i)
    bell += rng.uniform();
  switch (kind) {
    case 0:
      return -std::log(u);
    case 1:
      return u < 0.1 ? 1 : 0;
    case 2:
      return std::exp(1.5 * bell);
    case 3:
      return 0.2 + 0.05 * bell;
    default:
      return -std::log(std::max(rng.uniform() < u ? u : 1 - u, 1e-6));
  }
}

TEST(Adwin, IsQuietOnLossesOfAnyShapeLookingAtEveryNumber) {
  AdwinOptions options;
  options.look_every = 1;
  for (int kind = 0; kind < 5; ++kind) {
    std::uint64_t changes = 0;
    for (std::uint64_t stream = 0; stream < 100; ++stream) {
      Adwin adwin(options);
      Rng rng(96, stream, Purpose::Test);
      for (int i = 0; i < 2000; ++i)
        adwin.add(stationary(kind, rng));
      changes += adwin.changes();
    }
    EXPECT_EQ(changes, 0u) << "kind " << kind;
  }
}

TEST(Adwin, FindsTheSameInAnyUnit) {
  Adwin one;
  Adwin thousandth;
  for (std::uint64_t i = 0; i < 2000; ++i) {
    Rng rng(95, i, Purpose::Test);
    const double x = rng.uniform() + (i >= 1000 ? 0.5 : 0);
    const auto shift = one.add(x);
    const auto small = thousandth.add(x / 1024);  // a power of two, so that no rounding differs
    ASSERT_EQ(shift.has_value(), small.has_value());
    if (!shift) continue;
    EXPECT_EQ(shift->window, small->window);
    EXPECT_EQ(shift->before, 1024 * small->before);
    EXPECT_GT(i, 1000u);
    EXPECT_LT(shift->before, shift->after);
  }
  EXPECT_GE(one.changes(), 1u);
}

/// Page-Hinkley from its definition over the numbers since the last alarm.
std::uint64_t naive_alarms(const std::vector<double>& stream) {
  std::uint64_t alarms = 0;
  std::vector<double> now;
  std::vector<double> sums;
  for (const double x : stream) {
    now.push_back(x);
    const auto n = static_cast<double>(now.size());
    const double mean = std::accumulate(now.begin(), now.end(), 0.0) / n;
    double variance = 0;
    for (const double v : now)
      variance += (v - mean) * (v - mean) / n;
    const double step = variance > 1e-20 ? (x - mean) / std::sqrt(variance) - 0.2 : 0;
    sums.push_back((sums.empty() ? 0 : sums.back()) + step);
    double lowest = 0;
    for (const double sum : sums)
      lowest = std::min(lowest, sum);
    if (now.size() < 30 || sums.back() - lowest <= 40) continue;
    ++alarms;
    now.clear();
    sums.clear();
  }
  return alarms;
}

TEST(PageHinkley, EqualsItsDefinitionInAnyUnit) {
  PageHinkley one;
  PageHinkley thousand;
  std::vector<double> stream;
  for (std::uint64_t i = 0; i < 1500; ++i) {
    Rng rng(101, i, Purpose::Test);
    stream.push_back(rng.uniform() + (i >= 600 && i < 1000 ? 1 : 0) + (i >= 1200 ? 3 : 0));
    const auto shift = one.add(stream.back());
    if (shift && i < 1000) {
      EXPECT_NEAR(shift->before, 0.5, 0.05);
      EXPECT_NEAR(shift->after, 1.5, 0.3);
      EXPECT_NEAR(static_cast<double>(shift->window), static_cast<double>(i) - 599, 20)
          << "it says when the change was";
    }
    thousand.add(1000 * stream.back());
    if (i == 599) {
      EXPECT_EQ(one.changes(), 0u);
    }
    if (i == 650) {
      EXPECT_EQ(one.changes(), 1u) << "found within fifty numbers";
    }
  }
  EXPECT_EQ(one.changes(), naive_alarms(stream));
  EXPECT_EQ(thousand.changes(), one.changes());
}

TEST(Drift, DetectorsContinueBitForBitFromTheirState) {
  Adwin adwin;
  Adwin adwin_copy;
  PageHinkley page;
  PageHinkley page_copy;
  for (std::uint64_t i = 0; i < 800; ++i) {
    Rng rng(111, i, Purpose::Test);
    const double x = rng.uniform() + (i > 400 ? 0.7 : 0);
    EXPECT_EQ(adwin.add(x), adwin_copy.add(x));
    EXPECT_EQ(page.add(x), page_copy.add(x));
    if (i % 97 != 0) continue;
    const std::string adwin_bytes = saved(adwin_copy);
    adwin_copy = Adwin();
    expect_exact_state(adwin_bytes, adwin_copy);
    const std::string page_bytes = saved(page_copy);
    page_copy = PageHinkley();
    expect_exact_state(page_bytes, page_copy);
  }
  EXPECT_EQ(saved(adwin), saved(adwin_copy));
  EXPECT_EQ(saved(page), saved(page_copy));
  EXPECT_GE(adwin.changes(), 1u);
  EXPECT_GE(page.changes(), 1u);
}

}  // namespace
}  // namespace accrete::models
