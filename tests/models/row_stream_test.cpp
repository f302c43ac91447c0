// Context of a stream's rows against sums over all rows before; groups and lags; state.
#include "models/row_stream.h"

#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "proto/rng.h"
#include "state_check.h"

namespace accrete::models {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

struct Seen {
  std::vector<double> values;
  std::vector<std::uint64_t> keys;
  double label = 0;
};

/// Column 0 a number, column 1 missing now and then; keys: a foreign key of 20, nothing, a cycle of
/// six, a number that never comes again.
Seen draw(std::uint64_t i) {
  Rng rng(77, i, Purpose::Test);
  Seen seen;
  seen.values = {rng.uniform() * 10, rng.below(5) == 0 ? nan : rng.uniform() - 0.5};
  seen.keys = {1 + rng.below(20), 0, 100 + i % 6, 1000 + i};
  const bool often = seen.keys[2] == 103 || rng.below(4) == 0;
  seen.label = often ? 1 : 0;
  return seen;
}

/// The mean of x by weights decay^age, newest last.
template <class Get>
double faded(const std::vector<Seen>& past, double decay, const Get& get, double k = 0,
             double prior = 0) {
  double sum = 0;
  double weight = 0;
  double w = 1;
  for (std::size_t i = past.size(); i-- > 0;) {
    const auto x = get(past[i]);
    if (!x) continue;
    sum += w * *x;
    weight += w;
    w *= decay;
  }
  return weight + k > 0 ? (sum + k * prior) / (weight + k) : nan;
}

std::size_t position(const std::vector<std::string>& names, const std::string& name) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] == name) return i;
  }
  ADD_FAILURE() << "no feature " << name;
  return 0;
}

TEST(RowStream, EqualsSumsOverAllRowsBefore) {
  RowStream stream(TaskKind::Binary, {0});
  const std::vector<std::string> columns = {"x", "y"};
  const std::vector<std::string> keys = {"parent", "none", "cycle", "number"};
  std::vector<Seen> past;
  std::vector<double> out;
  for (std::uint64_t i = 0; i < 2100; ++i) {
    const Seen now = draw(i);
    stream.widen(now.values.size());
    out.assign(stream.width(), 0);
    stream.compute({now.values, now.keys}, out);
    if (i > 0 && (i % 97 == 0 || i > 2095)) {
      const auto names = stream.names(columns, keys);
      ASSERT_EQ(names.size(), out.size());
      const auto y = [](const Seen& s) {
        return std::isnan(s.values[1]) ? std::optional<double>() : s.values[1];
      };
      const auto label = [](const Seen& s) { return std::optional(s.label); };
      const auto siblings = [&](const Seen& s) {
        return s.keys[0] == now.keys[0] ? std::optional(s.label) : std::nullopt;
      };
      const double all = faded(past, .99, label);
      EXPECT_NEAR(out[position(names, "y, mean, decay .97")], faded(past, .97, y), 1e-9);
      EXPECT_NEAR(out[position(names, "label, mean, decay .9")], faded(past, .9, label), 1e-9);
      EXPECT_NEAR(out[position(names, "label by parent, mean, decay .7")],
                  faded(past, .7, siblings, 1, all), 1e-9);
      EXPECT_NEAR(out[position(names, "label by parent, mean, decay .99")],
                  faded(past, .99, siblings, 1, all), 1e-9);
      const double gap = now.values[0] - past.back().values[0];
      EXPECT_DOUBLE_EQ(out[position(names, "x, difference to the previous row")], gap);
      EXPECT_EQ(out[position(names, "label, newest")], past.back().label);
    }
    stream.observe_row({now.values, now.keys});
    stream.observe_label(now.label, now.keys);
    past.push_back(now);
  }
  // The cycle is found as a group, the running number is not; lags are whole cycles.
  const auto names = stream.names(columns, keys);
  const auto has = [&](const std::string& part) {
    return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
      return name.find(part) != std::string::npos;
    });
  };
  EXPECT_TRUE(has("label by cycle, newest"));
  EXPECT_TRUE(has(" labels ago"));
  for (std::size_t lag = 2; lag <= RowStream::lags_max; ++lag) {
    const bool found = has("label, " + std::to_string(lag) + " labels ago");
    EXPECT_TRUE(!found || lag % 6 == 0) << lag;
  }
  EXPECT_FALSE(has("number"));
}

TEST(RowStream, LabelsOfNothingHaveNoLags) {
  RowStream stream(TaskKind::Multiclass, {});
  Rng rng(78, 0, Purpose::Test);
  for (int i = 0; i < 5000; ++i)
    stream.observe_label(static_cast<double>(rng.below(3)), {});
  for (const std::string& name : stream.names({}, {}))
    EXPECT_EQ(name.find("ago"), std::string::npos) << name;
}

TEST(RowStream, GoesOnFromItsState) {
  RowStream whole(TaskKind::Multiclass, {0});
  for (std::uint64_t i = 0; i < 1500; ++i) {
    Seen now = draw(i);
    if (i > 700) now.values.push_back(3);  // a column that came later
    if (i > 800 && i % 3 == 0) now.label = 2;
    whole.observe_row({now.values, now.keys});
    whole.observe_label(now.label, now.keys);
  }
  RowStream loaded(TaskKind::Multiclass, {0});
  expect_exact_state(saved(whole), loaded);
  for (std::uint64_t i = 1500; i < 4500; ++i) {
    Seen now = draw(i);
    now.values.push_back(i % 5 == 0 ? 1 : 2);
    ASSERT_EQ(whole.width(), loaded.width());
    std::vector<double> a(whole.width());
    std::vector<double> b(whole.width());
    whole.compute({now.values, now.keys}, a);
    loaded.compute({now.values, now.keys}, b);
    for (std::size_t j = 0; j < a.size(); ++j) {
      ASSERT_TRUE(a[j] == b[j] || (std::isnan(a[j]) && std::isnan(b[j]))) << i << " " << j;
    }
    for (RowStream* stream : {&whole, &loaded}) {
      stream->observe_row({now.values, now.keys});
      stream->observe_label(now.label, now.keys);
    }
  }
  EXPECT_EQ(saved(whole), saved(loaded));
}

}  // namespace
}  // namespace accrete::models
