// Assignments against all permutations; two experts that differ by the order of their units.
#include "models/hidden_alignment.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "proto/rng.h"

namespace accrete::models {
namespace {

using Eigen::Index;
using Order = std::vector<std::size_t>;

Order identity(std::size_t n) {
  Order order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  return order;
}

double cost_of(const Eigen::MatrixXd& cost, const Order& order) {
  double sum = 0;
  for (std::size_t i = 0; i < order.size(); ++i)
    sum += cost(static_cast<Index>(i), static_cast<Index>(order[i]));
  return sum;
}

double least_cost(const Eigen::MatrixXd& cost) {
  Order order = identity(static_cast<std::size_t>(cost.rows()));
  double least = std::numeric_limits<double>::infinity();
  do {
    least = std::min(least, cost_of(cost, order));
  } while (std::next_permutation(order.begin(), order.end()));
  return least;
}

bool is_permutation_of_all(Order order) {
  std::sort(order.begin(), order.end());
  return order == identity(order.size());
}

TEST(Assignment, CostsTheLeastOfAllPermutations) {
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    Rng rng(221, seed, Purpose::Test);
    const auto n = static_cast<Index>(seed % 8);
    const std::uint64_t kind = seed / 8 % 3;
    Eigen::MatrixXd cost(n, n);
    for (Index i = 0; i < cost.size(); ++i) {
      const double x = rng.uniform() - 0.5;
      cost.data()[i] = kind == 0 ? x : kind == 1 ? std::floor(4 * x) : 1e6 * x * x * x;
    }
    const Order order = assign_least_cost(cost);
    ASSERT_EQ(order.size(), static_cast<std::size_t>(n));
    ASSERT_TRUE(is_permutation_of_all(order));
    EXPECT_NEAR(cost_of(cost, order), least_cost(cost), 1e-9 * (1 + cost.norm())) << seed;
    EXPECT_EQ(assign_least_cost(cost), order);
  }
}

TEST(Assignment, EqualCostsGiveTheIdentity) {
  EXPECT_EQ(assign_least_cost(Eigen::MatrixXd::Constant(6, 6, -2)), identity(6));
  EXPECT_TRUE(assign_least_cost(Eigen::MatrixXd(0, 0)).empty());
}

TEST(Assignment, FindsAHiddenPermutationAmongMany) {
  Rng rng(222, 0, Purpose::Test);
  const std::size_t n = 200;
  Order hidden = identity(n);
  for (std::size_t i = n; i-- > 1;)
    std::swap(hidden[i], hidden[rng.below(i + 1)]);
  Eigen::MatrixXd cost(200, 200);
  for (Index i = 0; i < cost.size(); ++i)
    cost.data()[i] = 1 + rng.uniform();
  for (std::size_t i = 0; i < n; ++i)
    cost(static_cast<Index>(i), static_cast<Index>(hidden[i])) = rng.uniform();
  EXPECT_EQ(assign_least_cost(cost), hidden);
}

template <class Real>
RowMatrix<Real> random_matrix(Index rows, Index cols, Rng& rng) {
  RowMatrix<Real> out(rows, cols);
  for (Index i = 0; i < out.size(); ++i)
    out.data()[i] = static_cast<Real>(2 * rng.uniform() - 1);
  return out;
}

/// y = W2 tanh(W1 x + b1) + b2: units are rows of W1, columns of b1 and of W2.
template <class Real>
struct Net {
  RowMatrix<Real> w1;
  RowMatrix<Real> b1;
  RowMatrix<Real> w2;
  RowMatrix<Real> b2;

  static Net random(Index in, Index hidden, Index out, Rng& rng) {
    return {random_matrix<Real>(hidden, in, rng), random_matrix<Real>(1, hidden, rng),
            random_matrix<Real>(out, hidden, rng), random_matrix<Real>(1, out, rng)};
  }
  Net permuted(const Order& order) const {
    return {permute_hidden(w1, HiddenAxis::Rows, order),
            permute_hidden(b1, HiddenAxis::Columns, order),
            permute_hidden(w2, HiddenAxis::Columns, order), b2};
  }
  RowMatrix<Real> say(const RowMatrix<Real>& x) const {
    RowMatrix<Real> hidden = x * w1.transpose();
    hidden.rowwise() += Eigen::Matrix<Real, 1, Eigen::Dynamic>(b1);
    RowMatrix<Real> y = hidden.array().tanh().matrix() * w2.transpose();
    y.rowwise() += Eigen::Matrix<Real, 1, Eigen::Dynamic>(b2);
    return y;
  }
};

template <class Real>
std::vector<HiddenPair<Real>> pairs_of(const Net<Real>& first, const Net<Real>& second) {
  return {{first.w1, second.w1, HiddenAxis::Rows},
          {first.b1, second.b1, HiddenAxis::Columns},
          {first.w2, second.w2, HiddenAxis::Columns}};
}

template <class Real>
Net<Real> merge(const Net<Real>& first, const Net<Real>& second, double usage_first,
                double usage_second) {
  const auto pairs = pairs_of(first, second);
  const auto merged = merge_hidden<Real>(pairs, usage_first, usage_second);
  return {merged[0], merged[1], merged[2],
          usage_mean(first.b2, second.b2, usage_first, usage_second)};
}

Order shuffled(std::size_t n, Rng& rng) {
  Order order = identity(n);
  for (std::size_t i = n; i-- > 1;)
    std::swap(order[i], order[rng.below(i + 1)]);
  return order;
}

template <class Real>
class HiddenAlignment : public testing::Test {};
using Reals = testing::Types<float, double>;
TYPED_TEST_SUITE(HiddenAlignment, Reals);

TYPED_TEST(HiddenAlignment, PermutedCopiesAlignAndMergeToThemselves) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Rng rng(223, seed, Purpose::Test);
    const auto net = Net<TypeParam>::random(10, 24, 5, rng);
    const Order order = shuffled(24, rng);
    const auto copy = net.permuted(order);
    const auto pairs = pairs_of(net, copy);
    const Order found = align_hidden<TypeParam>(pairs);
    for (std::size_t i = 0; i < found.size(); ++i)
      ASSERT_EQ(order[found[i]], i) << "the copy's unit found[i] is unit i";
    const auto x = random_matrix<TypeParam>(50, 10, rng);
    // A permutation alone changes the output by rounding only; a mean of unaligned copies does not.
    const auto said = net.say(x);
    EXPECT_LE((copy.say(x) - said).cwiseAbs().maxCoeff(), 1e-5);
    const auto merged = merge(net, copy, 0.3, 0.6);
    EXPECT_LE((merged.say(x) - said).cwiseAbs().maxCoeff(), 1e-6);
    EXPECT_EQ(merged.w1, net.w1) << "equal numbers stay bit for bit";
    const Net<TypeParam> unaligned{usage_mean(net.w1, copy.w1, 1, 1),
                                   usage_mean(net.b1, copy.b1, 1, 1),
                                   usage_mean(net.w2, copy.w2, 1, 1), net.b2};
    EXPECT_GT((unaligned.say(x) - said).cwiseAbs().maxCoeff(), 0.1);
  }
}

TYPED_TEST(HiddenAlignment, NoisyCopiesStillAlign) {
  Rng rng(224, 0, Purpose::Test);
  const auto net = Net<TypeParam>::random(10, 24, 5, rng);
  const Order order = shuffled(24, rng);
  auto copy = net.permuted(order);
  copy.w1 += TypeParam(0.3) * random_matrix<TypeParam>(24, 10, rng);
  copy.w2 += TypeParam(0.3) * random_matrix<TypeParam>(5, 24, rng);
  const auto pairs = pairs_of(net, copy);
  const Order found = align_hidden<TypeParam>(pairs);
  for (std::size_t i = 0; i < found.size(); ++i)
    EXPECT_EQ(order[found[i]], i);
}

TYPED_TEST(HiddenAlignment, MaximisesTheSummedSimilarity) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Rng rng(225, seed, Purpose::Test);
    const auto first = Net<TypeParam>::random(3, 6, 2, rng);
    const auto second = Net<TypeParam>::random(3, 6, 2, rng);
    const auto pairs = pairs_of(first, second);
    const auto similarity = [&](const Order& order) {
      const auto turned = second.permuted(order);
      return static_cast<double>(first.w1.cwiseProduct(turned.w1).sum() +
                                 first.b1.cwiseProduct(turned.b1).sum() +
                                 first.w2.cwiseProduct(turned.w2).sum());
    };
    double most = -std::numeric_limits<double>::infinity();
    Order order = identity(6);
    do {
      most = std::max(most, similarity(order));
    } while (std::next_permutation(order.begin(), order.end()));
    EXPECT_NEAR(similarity(align_hidden<TypeParam>(pairs)), most, 1e-5);
  }
}

TYPED_TEST(HiddenAlignment, UsageWeighsAndOneAloneComesBackExactly) {
  Rng rng(226, 0, Purpose::Test);
  const auto first = Net<TypeParam>::random(4, 8, 3, rng);
  const auto second = Net<TypeParam>::random(4, 8, 3, rng);
  const auto whole = merge(first, second, 1, 0);
  EXPECT_EQ(whole.w1, first.w1);
  EXPECT_EQ(whole.b1, first.b1);
  EXPECT_EQ(whole.w2, first.w2);
  EXPECT_EQ(whole.b2, first.b2);
  const auto pairs = pairs_of(first, second);
  const auto turned = second.permuted(align_hidden<TypeParam>(pairs));
  EXPECT_EQ(merge(first, second, 0, 7).w1, turned.w1);
  EXPECT_EQ(merge(first, second, 0, 7).w2, turned.w2);
  const auto mixed = merge(first, second, 3, 1);
  const RowMatrix<TypeParam> expected = (TypeParam(3) * first.w1 + turned.w1) / TypeParam(4);
  EXPECT_LE((mixed.w1 - expected).cwiseAbs().maxCoeff(), 1e-6);
  EXPECT_EQ(merge(first, second, 0, 0).w1, merge(first, second, 2, 2).w1) << "halves";
}

}  // namespace
}  // namespace accrete::models
