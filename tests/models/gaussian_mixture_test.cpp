// Mixtures against their definition: what EM promises, what samples show, which block a row is of.
#include "models/gaussian_mixture.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <set>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "proto/rng.h"
#include "state_check.h"

namespace accrete::models {
namespace {

using Eigen::Index;
using Rows = RowMatrix<float>;

double normal(Rng& rng) {
  double sum = -6;
  for (int i = 0; i < 12; ++i)
    sum += rng.uniform();
  return sum;
}

/// Data of many kinds, most of them awkward.
Rows data_of(std::uint64_t kind, Rng& rng) {
  const auto n = kind == 1 ? 1 : 2 + static_cast<Index>(rng.below(60));
  const auto width = 1 + static_cast<Index>(rng.below(6));
  Rows rows(n, width);
  for (Index i = 0; i < n; ++i) {
    const double side = rng.uniform() < 0.4 ? 2 : -1;
    for (Index c = 0; c < width; ++c)
      rows(i, c) = static_cast<float>(side + normal(rng));
  }
  if (kind == 2) rows.col(0).setConstant(3);                         // a constant column
  if (kind == 3) rows.setConstant(0.5F);                             // nothing varies
  if (kind == 4) rows.setZero();                                     // nor is anything there
  if (kind == 5) rows = rows.topRows(std::min<Index>(n, 2)).eval();  // fewer rows than components
  if (kind == 6) {                                                   // two rows, many times
    for (Index i = 2; i < n; ++i)
      rows.row(i) = rows.row(i % 2);
  }
  if (kind == 7) rows.col(0) *= 1e4F;   // one column is far larger
  if (kind == 8) rows.row(0) *= 1000;   // one row is far away
  if (kind == 9) rows.array() += 1e3F;  // far from the origin
  return rows;
}

/// log p of a row, from the definition.
double naive_density(const GaussianMixture& mixture, const Rows& rows, Index i) {
  double top = -std::numeric_limits<double>::infinity();
  std::vector<double> parts;
  for (std::size_t k = 0; k < mixture.components(); ++k) {
    double part = std::log(mixture.weights()[k]);
    for (Index c = 0; c < rows.cols(); ++c) {
      const double v = mixture.variances()(static_cast<Index>(k), c);
      const double gap =
          static_cast<double>(rows(i, c)) - mixture.means()(static_cast<Index>(k), c);
      part -= 0.5 * std::log(2 * std::numbers::pi * v) + gap * gap / (2 * v);
    }
    parts.push_back(part);
    top = std::max(top, part);
  }
  double sum = 0;
  for (const double part : parts)
    sum += std::exp(part - top);
  return top + std::log(sum);
}

std::size_t distinct(const Rows& rows) {
  std::set<std::vector<float>> seen;
  for (Index i = 0; i < rows.rows(); ++i)
    seen.insert(std::vector<float>(rows.row(i).begin(), rows.row(i).end()));
  return seen.size();
}

TEST(GaussianMixture, LikelihoodNeverFallsAndIsThatOfTheDefinition) {
  std::size_t rounds = 0;
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    Rng rng(201, seed, Purpose::Test);
    const Rows rows = data_of(seed % 10, rng);
    MixtureOptions options;
    options.components = 1 + rng.below(4);
    options.gain_min = 0;
    options.rounds_max = 30;
    std::vector<double> path;
    const auto mixture =
        GaussianMixture::fit(rows, options, Rng(7, seed, Purpose::Training), &path);
    ASSERT_GE(path.size(), 2u);
    for (std::size_t r = 1; r < path.size(); ++r)
      ASSERT_GE(path[r], path[r - 1] - 1e-9 * std::max(1.0, std::abs(path[r]))) << seed << " " << r;
    rounds += path.size();
    double mean = 0;
    double total = 0;
    for (Index i = 0; i < rows.rows(); ++i) {
      const double naive = naive_density(mixture, rows, i);
      ASSERT_NEAR(mixture.log_density(rows, static_cast<std::size_t>(i)), naive,
                  1e-9 * std::max(1.0, std::abs(naive)));
      mean += naive / static_cast<double>(rows.rows());
    }
    EXPECT_NEAR(path.back(), mean, 1e-9 * std::max(1.0, std::abs(mean)));
    for (const double weight : mixture.weights())
      total += weight;
    EXPECT_NEAR(total, 1, 1e-12);
    EXPECT_GT(mixture.variances().minCoeff(), 0);
    EXPECT_EQ(mixture.components(), std::min(options.components, distinct(rows)));
  }
  EXPECT_GT(rounds, 4000u) << "most fits took many rounds";
}

TEST(GaussianMixture, StopsAtASmallGainAndNotBefore) {
  Rng rng(202, 0, Purpose::Test);
  Rows rows(400, 3);
  for (Index i = 0; i < rows.rows(); ++i) {
    for (Index c = 0; c < 3; ++c)
      rows(i, c) = static_cast<float>((i % 2 == 0 ? 1.5 : -1.5) + normal(rng));
  }
  std::vector<double> path;
  GaussianMixture::fit(rows, {}, Rng(1, 0, Purpose::Training), &path);
  ASSERT_LT(path.size(), 101u);
  for (std::size_t r = 1; r < path.size(); ++r) {
    const bool small = path[r] - path[r - 1] < 1e-6 * std::max(1.0, std::abs(path[r - 1]));
    EXPECT_EQ(small, r + 1 == path.size()) << r;
  }
}

TEST(GaussianMixture, FindsWhatDrewTheRows) {
  Rng rng(203, 0, Purpose::Test);
  Rows rows(20000, 2);
  for (Index i = 0; i < rows.rows(); ++i) {
    const bool right = rng.uniform() < 0.3;
    rows(i, 0) = static_cast<float>((right ? 4 : -1) + (right ? 0.5 : 1) * normal(rng));
    rows(i, 1) = static_cast<float>((right ? 1 : 2) + (right ? 2 : 0.3) * normal(rng));
  }
  const auto mixture = GaussianMixture::fit(rows, {}, Rng(1, 0, Purpose::Training));
  ASSERT_EQ(mixture.components(), 2u);
  const Index right = mixture.means()(0, 0) > 0 ? 0 : 1;
  EXPECT_NEAR(mixture.weights()[static_cast<std::size_t>(right)], 0.3, 0.01);
  EXPECT_NEAR(mixture.means()(right, 0), 4, 0.03);
  EXPECT_NEAR(mixture.means()(right, 1), 1, 0.1);
  EXPECT_NEAR(mixture.means()(1 - right, 0), -1, 0.03);
  EXPECT_NEAR(std::sqrt(mixture.variances()(right, 0)), 0.5, 0.02);
  EXPECT_NEAR(std::sqrt(mixture.variances()(right, 1)), 2, 0.08);
  EXPECT_NEAR(std::sqrt(mixture.variances()(1 - right, 1)), 0.3, 0.01);
}

/// Covariances of columns: all columns of a row come from one component, which no moment of one
/// column tells.
void expect_products(const GaussianMixture& mixture, const Rows& sample, std::uint64_t seed) {
  Eigen::VectorXd weight(static_cast<Index>(mixture.components()));
  for (Index k = 0; k < weight.size(); ++k)
    weight(k) = mixture.weights()[static_cast<std::size_t>(k)];
  const Eigen::MatrixXd means = mixture.means().cast<double>();
  const Eigen::RowVectorXd mean = weight.transpose() * means;
  const Eigen::MatrixXd off = means.rowwise() - mean;
  for (Index a = 0; a < sample.cols(); ++a) {
    for (Index b = 0; b < a; ++b) {
      const double expected = (weight.array() * off.col(a).array() * off.col(b).array()).sum();
      const Eigen::ArrayXd product = (sample.col(a).cast<double>().array() - mean(a)) *
                                     (sample.col(b).cast<double>().array() - mean(b));
      const auto count = static_cast<double>(product.size());
      const double deviation = std::sqrt((product - product.mean()).square().mean());
      EXPECT_NEAR(product.mean(), expected, 3.5 * deviation / std::sqrt(count))
          << seed << " " << a << " " << b;
    }
  }
}

TEST(GaussianMixture, SamplesHaveItsMoments) {
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    Rng rng(204, seed, Purpose::Test);
    Rows rows(300, 4);
    for (Index i = 0; i < rows.rows(); ++i) {
      for (Index c = 0; c < rows.cols(); ++c) {
        rows(i, c) = static_cast<float>((i % 3 == 0 ? 2 : -1) * static_cast<double>(c) +
                                        (1 + static_cast<double>(c)) * normal(rng));
      }
    }
    MixtureOptions options;
    options.components = 1 + seed;
    const auto mixture = GaussianMixture::fit(rows, options, Rng(seed, 0, Purpose::Training));
    ASSERT_EQ(mixture.components(), options.components);
    const std::size_t n = 100000;
    const Rows sample = mixture.sample(n, rng);
    ASSERT_EQ(sample.rows(), static_cast<Index>(n));
    for (Index c = 0; c < sample.cols(); ++c) {
      double mean = 0;
      for (std::size_t k = 0; k < mixture.components(); ++k)
        mean += mixture.weights()[k] * mixture.means()(static_cast<Index>(k), c);
      double second = 0;
      double fourth = 0;
      for (std::size_t k = 0; k < mixture.components(); ++k) {
        const double v = mixture.variances()(static_cast<Index>(k), c);
        const double off = mixture.means()(static_cast<Index>(k), c) - mean;
        second += mixture.weights()[k] * (v + off * off);
        fourth += mixture.weights()[k] * (3 * v * v + 6 * v * off * off + std::pow(off, 4));
      }
      const Eigen::VectorXd column = sample.col(c).cast<double>();
      const double seen = column.mean();
      const double spread = (column.array() - mean).square().mean();
      const auto count = static_cast<double>(n);
      EXPECT_NEAR(seen, mean, 3 * std::sqrt(second / count)) << seed << " " << c;
      EXPECT_NEAR(spread, second, 3 * std::sqrt((fourth - second * second) / count));
    }
    expect_products(mixture, sample, seed);
  }
}

/// Blocks of two clusters each, `gap` apart along columns of their own; clusters of a block lie on
/// opposite sides, so that their mean says little.
struct World {
  double gap = 0;
  static constexpr Index width = 8;

  std::pair<Index, double> centre(std::uint32_t block, bool right) const {
    return {static_cast<Index>(block) + (right ? 4 : 0), (right ? 1 : -1) * gap};
  }
  Rows draw(std::uint32_t block, Index n, Rng& rng) const {
    Rows rows(n, width);
    for (Index i = 0; i < n; ++i) {
      const auto [column, offset] = centre(block, rng.uniform() < 0.5);
      for (Index c = 0; c < width; ++c)
        rows(i, c) = static_cast<float>((c == column ? offset : 0) + normal(rng));
    }
    return rows;
  }
  /// The best that can be done: blocks by the density that drew the rows.
  std::uint32_t best(const Rows& rows, Index i) const {
    std::uint32_t best = 0;
    double most = -1;
    for (std::uint32_t b = 0; b < 4; ++b) {
      double density = 0;
      for (const bool right : {false, true}) {
        const auto [column, offset] = centre(b, right);
        const double x = static_cast<double>(rows(i, column));
        density += std::exp((x * x - (x - offset) * (x - offset)) / 2);
      }
      if (density > most) best = b;
      most = std::max(most, density);
    }
    return best;
  }
};

struct Labelled {
  Rows rows;
  std::vector<std::uint32_t> blocks;
};

Labelled draw_all(const World& world, Index per_block, Rng& rng) {
  Labelled out{Rows(4 * per_block, World::width), {}};
  for (std::uint32_t b = 0; b < 4; ++b) {
    out.rows.middleRows(static_cast<Index>(b) * per_block, per_block) =
        world.draw(b, per_block, rng);
    out.blocks.insert(out.blocks.end(), static_cast<std::size_t>(per_block), b);
  }
  return out;
}

double accuracy(const std::vector<std::uint32_t>& said, const std::vector<std::uint32_t>& truth) {
  std::size_t right = 0;
  for (std::size_t i = 0; i < truth.size(); ++i)
    right += said[i] == truth[i] ? 1u : 0u;
  return static_cast<double>(right) / static_cast<double>(truth.size());
}

/// Blocks by the nearest of the means of their training rows.
std::vector<std::uint32_t> nearest_mean(const Labelled& train, const Rows& rows) {
  Eigen::MatrixXf means = Eigen::MatrixXf::Zero(4, World::width);
  for (Index i = 0; i < train.rows.rows(); ++i)
    means.row(train.blocks[static_cast<std::size_t>(i)]) += train.rows.row(i);
  means /= static_cast<float>(train.rows.rows()) / 4;
  std::vector<std::uint32_t> out;
  for (Index i = 0; i < rows.rows(); ++i) {
    Index best = 0;
    (means.rowwise() - Eigen::RowVectorXf(rows.row(i))).rowwise().squaredNorm().minCoeff(&best);
    out.push_back(static_cast<std::uint32_t>(best));
  }
  return out;
}

TEST(BlockMixtures, ChooseTheBlockAsWellAsTheTruthAllows) {
  for (const double gap : {6.0, 2.5, 1.5}) {
    const World world{gap};
    Rng rng(205, static_cast<std::uint64_t>(10 * gap), Purpose::Test);
    const Labelled train = draw_all(world, 2000, rng);
    const Labelled test = draw_all(world, 2000, rng);
    BlockMixtures mixtures;
    for (std::uint32_t b = 0; b < 4; ++b)
      mixtures.add(b, train.rows.middleRows(2000 * static_cast<Index>(b), 2000));
    std::vector<std::uint32_t> ideal;
    for (Index i = 0; i < test.rows.rows(); ++i)
      ideal.push_back(world.best(test.rows, i));
    const double by_mixture = accuracy(mixtures.likeliest(test.rows), test.blocks);
    const double by_mean = accuracy(nearest_mean(train, test.rows), test.blocks);
    const double at_best = accuracy(ideal, test.blocks);
    RecordProperty("gap " + std::to_string(gap), std::to_string(by_mixture) + " mixture, " +
                                                     std::to_string(by_mean) + " nearest mean, " +
                                                     std::to_string(at_best) + " truth");
    EXPECT_GE(by_mixture, by_mean);
    EXPECT_GE(by_mixture, at_best - 0.02) << gap;
    if (gap > 5) {
      EXPECT_GT(by_mixture, 0.99);
    }
  }
}

TEST(BlockMixtures, PosteriorIsThatOfTheDensities) {
  Rng rng(206, 0, Purpose::Test);
  const World world{2};
  BlockMixtures mixtures;
  for (const std::uint32_t b : {0u, 1u, 2u, 3u})
    mixtures.add(10 * b, world.draw(b, 300, rng));
  const Rows rows = world.draw(2, 100, rng);
  const RowMatrix<double> posterior = mixtures.posterior(rows);
  const std::vector<std::uint32_t> likeliest = mixtures.likeliest(rows);
  for (Index i = 0; i < rows.rows(); ++i) {
    double total = 0;
    for (const std::uint32_t block : mixtures.blocks())
      total += std::exp(naive_density(mixtures.mixture(block), rows, i));
    Index top = 0;
    posterior.row(i).maxCoeff(&top);
    EXPECT_EQ(likeliest[static_cast<std::size_t>(i)], 10 * static_cast<std::uint32_t>(top));
    for (Index b = 0; b < 4; ++b) {
      const auto block = 10 * static_cast<std::uint32_t>(b);
      EXPECT_NEAR(posterior(i, b),
                  std::exp(naive_density(mixtures.mixture(block), rows, i)) / total, 1e-9);
    }
  }
}

/// A linear gate: softmax regression by gradient descent; returns what it says of `rows`.
std::vector<std::uint32_t> linear_gate(const Labelled& train, const Rows& rows) {
  Eigen::MatrixXd x(train.rows.rows(), World::width + 1);
  x << train.rows.cast<double>(), Eigen::VectorXd::Ones(train.rows.rows());
  Eigen::MatrixXd w = Eigen::MatrixXd::Zero(World::width + 1, 4);
  for (int step = 0; step < 200; ++step) {
    Eigen::MatrixXd p = (x * w).array().exp();
    for (Index i = 0; i < p.rows(); ++i) {
      p.row(i) /= p.row(i).sum();
      p(i, train.blocks[static_cast<std::size_t>(i)]) -= 1;
    }
    w -= 0.5 / static_cast<double>(p.rows()) * (x.transpose() * p);
  }
  Eigen::MatrixXd test(rows.rows(), World::width + 1);
  test << rows.cast<double>(), Eigen::VectorXd::Ones(rows.rows());
  const Eigen::MatrixXd scores = test * w;
  std::vector<std::uint32_t> out;
  for (Index i = 0; i < scores.rows(); ++i) {
    Index best = 0;
    scores.row(i).maxCoeff(&best);
    out.push_back(static_cast<std::uint32_t>(best));
  }
  return out;
}

TEST(BlockMixtures, AGateLearnsFromPseudoRowsAsFromRealOnes) {
  constexpr double margin = 0.02;
  for (const double gap : {6.0, 2.5, 1.5}) {
    const World world{gap};
    Rng rng(207, static_cast<std::uint64_t>(10 * gap), Purpose::Test);
    const Labelled train = draw_all(world, 1000, rng);
    const Labelled test = draw_all(world, 1000, rng);
    BlockMixtures mixtures;
    for (std::uint32_t b = 0; b < 4; ++b)
      mixtures.add(b, train.rows.middleRows(1000 * static_cast<Index>(b), 1000));
    PseudoRows pseudo = mixtures.pseudo_rows(1000, rng);
    ASSERT_EQ(pseudo.blocks, train.blocks);
    const double real = accuracy(linear_gate(train, test.rows), test.blocks);
    const double drawn =
        accuracy(linear_gate({std::move(pseudo.rows), pseudo.blocks}, test.rows), test.blocks);
    RecordProperty("gap " + std::to_string(gap),
                   std::to_string(real) + " real rows, " + std::to_string(drawn) + " pseudo-rows");
    EXPECT_NEAR(drawn, real, margin) << gap;
    EXPECT_GT(real, 0.4) << "far above chance, which is .25";
  }
}

TEST(BlockMixtures, OneInAHundredIsNovelAtHomeAndAllAreAbroad) {
  Rng rng(208, 0, Purpose::Test);
  const World world{6};
  BlockMixtures mixtures;
  EXPECT_EQ(mixtures.novel_share(world.draw(0, 10, rng)), 1);
  const Index n = 5000;
  for (const std::uint32_t b : {0u, 1u})
    mixtures.add(b, world.draw(b, n, rng));
  EXPECT_EQ(mixtures.novel_share(Rows(0, World::width)), 0);
  // The threshold is a quantile of n rows and the share one of as many.
  const double error = std::sqrt(0.01 * 0.99 * 2 / static_cast<double>(n));
  for (const std::uint32_t b : {0u, 1u})
    EXPECT_NEAR(mixtures.novel_share(world.draw(b, n, rng)), 0.01, 3 * error);
  EXPECT_GT(mixtures.novel_share(world.draw(2, n, rng)), 0.95);
  Rows far = world.draw(0, n, rng);
  far.array() += 5.0F;
  EXPECT_GT(mixtures.novel_share(far), 0.999);
}

TEST(BlockMixtures, FewRowsOfManyColumnsDoNotMakeTheirLikeNovel) {
  // The threshold comes from rows that the mixture was fitted to, and so found likelier than fresh
  // ones. With 257 numbers fitted to 1,000 rows the share must stay far below what counts as drift.
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    Rng rng(211, seed, Purpose::Test);
    const auto draw = [&rng](Index n) {
      Rows rows(n, 64);
      for (Index i = 0; i < rows.size(); ++i)
        rows.data()[i] = static_cast<float>(normal(rng));
      return rows;
    };
    BlockMixtures mixtures;
    mixtures.add(0, draw(1000));
    const double share = mixtures.novel_share(draw(4000));
    RecordProperty("share " + std::to_string(seed), std::to_string(share));
    EXPECT_LT(share, 0.05);
  }
}

TEST(BlockMixtures, OwnRowsThatAreAllEqualAreNotNovel) {
  BlockMixtures mixtures;
  mixtures.add(0, Rows::Constant(20, 3, 0.7F));
  EXPECT_EQ(mixtures.novel_share(Rows::Constant(20, 3, 0.7F)), 0);
  EXPECT_EQ(mixtures.novel_share(Rows::Constant(20, 3, 0.8F)), 1);
}

TEST(BlockMixtures, AreTheSameBitsInAnyOrderAndFromTheirState) {
  Rng rng(209, 0, Purpose::Test);
  const World world{3};
  std::vector<Rows> rows;
  for (std::uint32_t b = 0; b < 3; ++b)
    rows.push_back(world.draw(b, 200, rng));
  BlockMixtures forward({}, 5);
  BlockMixtures backward({}, 5);
  for (std::uint32_t b = 0; b < 3; ++b) {
    forward.add(b, rows[b]);
    backward.add(2 - b, rows[b]);  // the wrong rows …
  }
  for (std::uint32_t b = 3; b-- > 0;)
    backward.add(b, rows[b]);  // … replaced
  EXPECT_EQ(saved(forward), saved(backward));
  const std::string bytes = saved(forward);
  BlockMixtures copy;
  expect_exact_state(bytes, copy);
  EXPECT_EQ(copy.posterior(rows[1]), forward.posterior(rows[1]));
  Rng one(1, 2, Purpose::Training);
  Rng other(1, 2, Purpose::Training);
  EXPECT_EQ(copy.pseudo_rows(50, one).rows, forward.pseudo_rows(50, other).rows);
  GaussianMixture single;
  expect_exact_state(saved(forward.mixture(1)), single);
  EXPECT_EQ(single.memory_bytes(), 8u * (2 * (1 + 2 * 8) + 1));
  EXPECT_EQ(saved(single).size(), single.memory_bytes() + 37);
  EXPECT_EQ(forward.memory_bytes(), 3 * single.memory_bytes());
}

TEST(BlockMixtures, DamagedBytesAreRefusedOrStillAMixture) {
  Rng rng(210, 0, Purpose::Test);
  const World world{3};
  BlockMixtures mixtures;
  mixtures.add(0, world.draw(0, 100, rng));
  mixtures.add(1, world.draw(1, 100, rng));
  const std::string bytes = saved(mixtures);
  const Rows rows = world.draw(0, 5, rng);
  std::size_t refused = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (const char damage : {'\xFF', '\x80', '\x00'}) {
      std::string damaged = bytes;
      damaged[i] = damage;
      if (i > 0) damaged[i - 1] = damage;  // two bytes make NaN and infinity of a number
      BlockMixtures loaded;
      if (!loaded.load(damaged)) {
        ++refused;
        EXPECT_EQ(loaded.size(), 0u);
        continue;
      }
      ASSERT_EQ(loaded.size(), 2u);
      EXPECT_TRUE(loaded.posterior(rows).allFinite());
      for (const std::uint32_t block : loaded.blocks())
        EXPECT_TRUE(std::isfinite(loaded.mixture(block).novelty_threshold()));
    }
  }
  EXPECT_GT(refused, 200u);
}

}  // namespace
}  // namespace accrete::models
