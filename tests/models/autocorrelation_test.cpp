// Autocorrelation of labels against computations that keep everything.
#include <array>
#include <cmath>
#include <cstddef>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "models/label_signals.h"
#include "proto/rng.h"

namespace accrete::models {
namespace {

/// Pearson's correlation of two lists.
double pearson(const std::vector<double>& x, const std::vector<double>& y) {
  const auto n = static_cast<double>(x.size());
  double mx = 0;
  double my = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    mx += x[i] / n;
    my += y[i] / n;
  }
  double xx = 0;
  double yy = 0;
  double xy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    xx += (x[i] - mx) * (x[i] - mx);
    yy += (y[i] - my) * (y[i] - my);
    xy += (x[i] - mx) * (y[i] - my);
  }
  return xy / std::sqrt(xx * yy);
}

/// Labels of 20 entities in a random order; each stays near its own last one.
std::map<std::size_t, std::vector<double>> tell_stream(
    LabelSignals& signals, std::uint64_t seed, std::size_t labels,
    const std::function<double(double, Rng&)>& next) {
  std::map<std::size_t, std::vector<double>> histories;
  Rng rng(261, seed, Purpose::Test);
  for (std::size_t i = 0; i < labels; ++i) {
    auto& history = histories[static_cast<std::size_t>(rng.below(20))];
    const double label = next(history.empty() ? 0 : history.back(), rng);
    std::vector<double> earlier(history.rbegin(), history.rend());
    signals.add_label(label, earlier);
    history.push_back(label);
  }
  return histories;
}

/// (x, y) of all entities, y being `lag` labels after x.
std::pair<std::vector<double>, std::vector<double>> lagged(
    const std::map<std::size_t, std::vector<double>>& histories, std::size_t lag) {
  std::pair<std::vector<double>, std::vector<double>> out;
  for (const auto& [entity, history] : histories) {
    for (std::size_t i = lag; i < history.size(); ++i) {
      out.first.push_back(history[i - lag]);
      out.second.push_back(history[i]);
    }
  }
  return out;
}

TEST(Autocorrelation, EqualsTheCorrelationOfAllPairs) {
  for (const double offset : {0.0, 1e6}) {
    for (std::uint64_t seed = 0; seed < 5; ++seed) {
      LabelSignals signals(TaskKind::Regression);
      const auto histories = tell_stream(signals, seed, 3000, [&](double last, Rng& rng) {
        return offset + 0.7 * (last == 0 ? 0 : last - offset) + 3.5 * (rng.uniform() - 0.5);
      });
      EXPECT_EQ(signals.labels(), 3000u);
      for (const std::size_t lag : {1u, 2u}) {
        const auto [x, y] = lagged(histories, lag);
        EXPECT_NEAR(signals.autocorrelation(lag), pearson(x, y), 1e-8);
      }
      EXPECT_NEAR(signals.autocorrelation(1), 0.7, 0.06);
      EXPECT_NEAR(signals.autocorrelation(2), 0.49, 0.08);
    }
  }
}

TEST(Autocorrelation, OfClassesIsThatOfTheirIndicators) {
  const auto sticky = [](double classes) {
    return [classes](double last, Rng& rng) {
      return rng.uniform() < 0.4 ? last : std::floor(classes * rng.uniform());
    };
  };
  LabelSignals binary(TaskKind::Binary);
  LabelSignals two(TaskKind::Multiclass);
  tell_stream(binary, 1, 2000, sticky(2));
  tell_stream(two, 1, 2000, sticky(2));
  EXPECT_NEAR(binary.autocorrelation(1), two.autocorrelation(1), 1e-12)
      << "two classes are 0 and 1";
  LabelSignals five(TaskKind::Multiclass);
  const auto histories = tell_stream(five, 2, 4000, sticky(5));
  for (const std::size_t lag : {1u, 2u}) {
    const auto [x, y] = lagged(histories, lag);
    const auto n = static_cast<double>(x.size());
    double covariance = 0;
    double variance_x = 0;
    double variance_y = 0;
    for (const double c : {0.0, 1.0, 2.0, 3.0, 4.0}) {
      double p = 0;
      double q = 0;
      double both = 0;
      for (std::size_t i = 0; i < x.size(); ++i) {
        p += x[i] == c ? 1 / n : 0;
        q += y[i] == c ? 1 / n : 0;
        both += x[i] == c && y[i] == c ? 1 / n : 0;
      }
      covariance += both - p * q;
      variance_x += p * (1 - p);
      variance_y += q * (1 - q);
    }
    EXPECT_NEAR(five.autocorrelation(lag), covariance / std::sqrt(variance_x * variance_y), 1e-9);
  }
  EXPECT_NEAR(five.autocorrelation(1), 0.4, 0.06);
}

TEST(Autocorrelation, IsNoneWhereUndefined) {
  for (const TaskKind kind : {TaskKind::Binary, TaskKind::Multiclass, TaskKind::Regression}) {
    LabelSignals signals(kind);
    EXPECT_EQ(signals.autocorrelation(1), 0);
    const std::array<double, 3> same{3, 3, 3};
    for (int i = 0; i < 10; ++i)
      signals.add_label(3, same);
    EXPECT_EQ(signals.autocorrelation(1), 0);
    EXPECT_EQ(signals.autocorrelation(2), 0);
  }
}

}  // namespace
}  // namespace accrete::models
