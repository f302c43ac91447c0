// The joint choice of experts against all subsets.
#include "models/expert_selection.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include <gtest/gtest.h>

#include "proto/rng.h"

namespace accrete::models {
namespace {

/// What rows gain from a set of experts, by definition.
double gain(const RowMatrix<double>& logits, std::uint32_t set) {
  double sum = 0;
  for (Eigen::Index v = 0; v < logits.rows(); ++v) {
    const Eigen::ArrayXd shares = logits.row(v).transpose().array().exp();
    for (Eigen::Index e = 0; e < logits.cols(); ++e)
      sum += (set >> e & 1U) != 0 ? shares[e] / shares.sum() : 0;
  }
  return sum;
}

TEST(ExpertSelection, IsTheBestOfAllSetsThatKeepEverybodysFirst) {
  Rng rng(1, 1, Purpose::Test);
  for (int round = 0; round < 1000; ++round) {
    const std::size_t experts = 1 + rng.below(12);
    const std::size_t extras = rng.below(2) * 3;
    const std::size_t most = 1 + rng.below(experts);
    RowMatrix<double> logits(static_cast<Eigen::Index>(1 + rng.below(6)),
                             static_cast<Eigen::Index>(experts + extras));
    for (Eigen::Index i = 0; i < logits.size(); ++i)
      logits.data()[i] = 4 * rng.uniform();
    std::uint32_t firsts = 0;
    for (Eigen::Index v = 0; v < logits.rows(); ++v) {
      Eigen::Index best = 0;
      logits.row(v).maxCoeff(&best);
      if (static_cast<std::size_t>(best) < experts) firsts |= 1U << best;
    }
    const std::vector<char> chosen = choose_experts(logits, experts, most);
    ASSERT_EQ(chosen.size(), experts);
    std::uint32_t greedy = 0;
    for (std::size_t e = 0; e < experts; ++e)
      greedy |= chosen[e] != 0 ? 1U << e : 0;
    ASSERT_EQ(greedy & firsts, firsts) << "somebody lost its best expert";
    const auto size = static_cast<std::size_t>(std::popcount(greedy));
    ASSERT_EQ(size, std::max(most, static_cast<std::size_t>(std::popcount(firsts))));
    double best = 0;
    for (std::uint32_t set = 0; set < 1U << experts; ++set) {
      if ((set & firsts) == firsts && static_cast<std::size_t>(std::popcount(set)) == size)
        best = std::max(best, gain(logits, set));
    }
    ASSERT_NEAR(gain(logits, greedy), best, 1e-9);
  }
}

TEST(ExpertSelection, TiesGoToTheLowerIndex) {
  const RowMatrix<float> logits = RowMatrix<float>::Zero(3, 5);
  EXPECT_EQ(choose_experts(logits, 4, 2), (std::vector<char>{1, 1, 0, 0}));
}

}  // namespace
}  // namespace accrete::models
