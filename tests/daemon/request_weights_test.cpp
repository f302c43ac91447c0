// What candidates are worth for rows that wait: which rows are held out, and that a timid candidate
// counts as much as a bold one that knows less.
#include "daemon/request_weights.h"

#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "proto/rng.h"

namespace accrete::daemon {
namespace {

constexpr std::size_t kCandidates = 2;

models::Output three(double first, double second) {
  models::Output output;
  output.classes = {first, second, 1 - first - second};
  return output;
}

/// The timid one names the class nine times in ten but gives it .4; the bold one gives .95 to what
/// it names, and is right seven times in ten.
std::vector<models::Output> opinions(std::uint64_t example) {
  Rng rng(1, example, Purpose::Test);
  const bool knows = rng.below(10) != 0;
  const bool lucky = rng.below(10) < 7;
  return {knows ? three(0.4, 0.3) : three(0.3, 0.4),
          lucky ? three(0.95, 0.025) : three(0.025, 0.95)};
}

RequestWeights weighed(std::uint64_t examples) {
  RequestWeights weights(TaskKind::Multiclass, kCandidates, 1);
  for (std::uint64_t i = 0; i < examples; ++i)
    weights.say(opinions(i), 0);
  weights.weigh();
  return weights;
}

TEST(RequestWeights, WhoKnowsMoreCountsMoreHoweverTimid) {
  const RequestWeights weights = weighed(300);
  ASSERT_TRUE(weights.known());
  EXPECT_GT(weights.weights()[0], 0.6);
  std::size_t right = 0;
  double loss = 0;
  for (std::uint64_t i = 1000; i < 2000; ++i) {
    models::Output mixed;
    weights.combine(opinions(i), mixed);
    if (mixed.classes[0] > mixed.classes[1]) ++right;
    loss -= std::log(mixed.classes[0]);
  }
  EXPECT_GT(right, 870U);
  // As good as the better one would be if it were as sure of itself as it may be.
  EXPECT_LT(loss / 1000, -0.9 * std::log(0.9) - 0.1 * std::log(0.05));
}

TEST(RequestWeights, AFewExamplesOverruleNobody) {
  EXPECT_FALSE(weighed(7).known());
  EXPECT_TRUE(weighed(8).known());
}

TEST(RequestWeights, OneRowInThirtyTwoIsHeldOutAndAllOfItIsKept) {
  RequestWeights weights = weighed(100);
  std::size_t held = 0;
  for (std::uint32_t row = 0; row < 6400; ++row) {
    if (!weights.holds_out(row)) continue;
    ++held;
    weights.add(row, row % 3);
  }
  EXPECT_NEAR(static_cast<double>(held), 200, 60);
  EXPECT_EQ(weights.examples().size(), held);
  std::string bytes;
  weights.save(bytes);
  RequestWeights loaded(TaskKind::Multiclass, kCandidates, 1);
  ASSERT_TRUE(loaded.load(bytes));
  std::string again;
  loaded.save(again);
  EXPECT_EQ(again, bytes);
  models::Output mixed;
  models::Output expected;
  loaded.combine(opinions(5), mixed);
  weights.combine(opinions(5), expected);
  EXPECT_EQ(mixed.classes, expected.classes);
  for (std::size_t size = 0; size < bytes.size(); size += 7)
    EXPECT_FALSE(loaded.load(bytes.substr(0, size)));
  loaded.forget(loaded.examples().front().row);
  EXPECT_EQ(loaded.examples().size(), held - 1);
}

}  // namespace
}  // namespace accrete::daemon
