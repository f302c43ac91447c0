// Which examples of a step are shown as they were earlier.
#include "daemon/lagged_view.h"

#include <algorithm>
#include <set>

#include <gtest/gtest.h>

namespace accrete::daemon {
namespace {

std::vector<NetworkExample> examples_of(std::int64_t instants, std::uint32_t rows) {
  std::vector<NetworkExample> out;
  for (std::int64_t t = 0; t < instants; ++t)
    for (std::uint32_t row = 0; row < rows; ++row)
      out.push_back({row, static_cast<double>(t), TimeUs{1000 + 10 * t}, 0, 0});
  return out;
}

TEST(LaggedView, MovesWholeInstantsAndKeepsTheirOrder) {
  const auto before = examples_of(40, 3);
  auto after = before;
  const LaggedView view = choose_lagged(after, TimeUs{200}, Rng(7, 1, Purpose::Training));
  ASSERT_EQ(after.size(), before.size());
  const auto moved = after.begin() + static_cast<std::ptrdiff_t>(view.first);
  const auto row_in_time = [](const NetworkExample& e) { return std::pair(e.at.value, e.row); };
  EXPECT_TRUE(std::is_sorted(after.begin(), moved, [&](const auto& a, const auto& b) {
    return row_in_time(a) < row_in_time(b);
  }));
  EXPECT_TRUE(std::is_sorted(moved, after.end(), [&](const auto& a, const auto& b) {
    return row_in_time(a) < row_in_time(b);
  }));
  std::set<std::int64_t> shown;
  for (auto e = after.begin(); e != moved; ++e)
    shown.insert(e->at.value);
  for (auto e = moved; e != after.end(); ++e)
    EXPECT_FALSE(shown.contains(e->at.value));
  std::multiset<std::pair<std::int64_t, std::uint32_t>> all;
  for (const NetworkExample& e : after)
    all.insert(row_in_time(e));
  for (const NetworkExample& e : before) {
    const auto found = all.find(row_in_time(e));
    ASSERT_NE(found, all.end());
    all.erase(found);
  }
}

TEST(LaggedView, TakesAQuarterOfInstantsAndAtMostAnEighthOfTheSpan) {
  std::size_t lagged = 0;
  std::size_t all = 0;
  std::int64_t longest = 0;
  for (std::uint64_t step = 0; step < 400; ++step) {
    auto examples = examples_of(20, 2);
    const LaggedView view = choose_lagged(examples, TimeUs{390}, Rng(7, step, Purpose::Training));
    lagged += examples.size() - view.first;
    all += examples.size();
    EXPECT_GE(view.lag_us, 0);
    longest = std::max(longest, view.lag_us);
  }
  EXPECT_NEAR(static_cast<double>(lagged) / static_cast<double>(all), .25, .02);
  EXPECT_LE(longest, (1190 - 390) / 8);
  EXPECT_GE(longest, 90);
}

TEST(LaggedView, IsTheSameEachTime) {
  auto first = examples_of(20, 2);
  auto second = first;
  const LaggedView one = choose_lagged(first, TimeUs{0}, Rng(7, 5, Purpose::Training));
  const LaggedView other = choose_lagged(second, TimeUs{0}, Rng(7, 5, Purpose::Training));
  EXPECT_EQ(one.first, other.first);
  EXPECT_EQ(one.lag_us, other.lag_us);
  for (std::size_t i = 0; i < first.size(); ++i)
    EXPECT_EQ(first[i].at, second[i].at);
}

TEST(LaggedView, OfNothingIsNothing) {
  std::vector<NetworkExample> none;
  EXPECT_EQ(choose_lagged(none, TimeUs{0}, Rng(1, 1, Purpose::Training)).first, 0u);
}

}  // namespace
}  // namespace accrete::daemon
