// What a network adds to a head's logits: its scales against a naive loss, the block gate, when it
// is kept, its state.
#include "models/logit_residual.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "proto/rng.h"
#include "state_check.h"

namespace accrete::models {
namespace {

constexpr std::size_t kClasses = 4;  // two a block
constexpr std::size_t kExperts = 2;

struct Row {
  Output head;
  Output network;
  std::size_t label = 0;
};

std::vector<double> softmax(std::vector<double> scores) {
  double sum = 0;
  for (double& score : scores)
    sum += score = std::exp(score);
  for (double& score : scores)
    score /= sum;
  return scores;
}

/// Classes 0 and 1 are of block 0, 2 and 3 of block 1.
Eigen::MatrixXd by_block() {
  Eigen::MatrixXd shares = Eigen::MatrixXd::Zero(kClasses, kExperts);
  shares << 1, 0, 1, 0, 0, 1, 0, 1;
  return shares;
}

/// The head knows the block, and of the class a little; the network knows the class of rows of
/// blocks that it `knows`, and of the others nothing.
std::vector<Row> rows_of(std::size_t count, std::vector<bool> knows, std::uint64_t seed) {
  Rng rng(seed, 0, Purpose::Test);
  std::vector<Row> rows(count);
  for (Row& row : rows) {
    row.label = rng.below(kClasses);
    std::vector<double> head(kClasses);
    std::vector<double> network(kClasses);
    for (std::size_t k = 0; k < kClasses; ++k) {
      head[k] = (k / 2 == row.label / 2 ? 3.0 : 0.0) + (k == row.label ? .5 : 0) + rng.uniform();
      network[k] = 3 * rng.uniform() + (k == row.label && knows[row.label / 2] ? 2.5 : 0);
    }
    row.head.classes = softmax(head);
    row.network.classes = softmax(network);
  }
  return rows;
}

void teach(const std::vector<Row>& rows, LogitResidual& residual) {
  residual.begin(by_block());
  for (const Row& row : rows)
    residual.say(row.head, row.network, static_cast<double>(row.label));
  residual.fit();
}

/// By the definition in the header, with its priors.
double naive_objective(const std::vector<Row>& rows, const std::vector<double>& scales) {
  double loss = 0;
  for (std::size_t j = 0; j < scales.size(); ++j)
    loss += (j < 2 ? .5 : j < 2 + kExperts ? 5 : .25) * scales[j] * scales[j];
  for (const Row& row : rows) {
    std::vector<double> scores;
    const std::vector<double>& head = row.head.classes;
    const double first = head[0] + head[1];
    for (std::size_t k = 0; k < kClasses; ++k) {
      const double by = scales[1] + first * scales[2] + (1 - first) * scales[3];
      scores.push_back((1 + scales[0]) * std::log(head[k]) + by * std::log(row.network.classes[k]) +
                       scales[2 + kExperts + k]);
    }
    loss -= std::log(softmax(scores)[row.label]);
  }
  return loss;
}

double log_loss(const std::vector<Row>& rows, const LogitResidual* residual) {
  double loss = 0;
  for (const Row& row : rows) {
    Output out = row.head;
    if (residual != nullptr) residual->combine(row.head, row.network, out);
    loss -= std::log(out.classes[row.label]) / static_cast<double>(rows.size());
  }
  return loss;
}

std::vector<double> said_of(const LogitResidual& residual, const Row& row) {
  Output out;
  residual.combine(row.head, row.network, out);
  return out.classes;
}

TEST(LogitResidual, ScalesAreTheBestOfTheNaiveLoss) {
  const std::vector<Row> rows = rows_of(300, {true, false}, 1);
  LogitResidual residual(TaskKind::Multiclass);
  teach(rows, residual);
  const std::vector<double> best = residual.scales();
  ASSERT_EQ(best.size(), 2 + kExperts + kClasses);
  const double least = naive_objective(rows, best);
  for (std::size_t j = 0; j < best.size(); ++j) {
    for (const double away : {-1e-3, 1e-3}) {
      std::vector<double> other = best;
      other[j] += away;
      EXPECT_GT(naive_objective(rows, other), least) << j << ' ' << away;
      // The slope is zero: what is left is the curvature's.
      EXPECT_LT(naive_objective(rows, other), least + 1e-3) << j << ' ' << away;
    }
  }
}

TEST(LogitResidual, BeginsAsTheHead) {
  LogitResidual residual(TaskKind::Multiclass);
  const Row row = rows_of(1, {true, true}, 2).front();
  Output out;
  residual.combine(row.head, row.network, out);
  EXPECT_EQ(out.classes, row.head.classes);
  residual.begin(by_block());
  residual.combine(row.head, row.network, out);
  EXPECT_EQ(out.classes, row.head.classes);
  residual.fit();  // no example
  residual.combine(row.head, row.network, out);
  EXPECT_EQ(out.classes, row.head.classes);
}

TEST(LogitResidual, CountsMostForTheBlockThatTheNetworkKnows) {
  LogitResidual residual(TaskKind::Multiclass);
  teach(rows_of(500, {true, false}, 3), residual);
  ASSERT_EQ(residual.scales().size(), 2 + kExperts + kClasses);
  EXPECT_GT(residual.scales()[2], residual.scales()[3] + .3);
  const std::vector<Row> fresh = rows_of(2000, {true, false}, 4);
  EXPECT_LT(log_loss(fresh, &residual), .8 * log_loss(fresh, nullptr));
  // Without blocks to tell apart it gains less.
  LogitResidual plain(TaskKind::Multiclass);
  plain.begin(Eigen::MatrixXd::Ones(kClasses, 1));
  for (const Row& row : rows_of(500, {true, false}, 3))
    plain.say(row.head, row.network, static_cast<double>(row.label));
  plain.fit();
  ASSERT_EQ(plain.scales().size(), 2 + kClasses);
  EXPECT_LT(log_loss(fresh, &residual), log_loss(fresh, &plain) - .01);
}

TEST(LogitResidual, GivesBackWhatTheNetworkTakesFromAClass) {
  // It tells classes apart, but has forgotten 0 and nearly never says so.
  const auto forgetful = [](std::size_t count, std::uint64_t seed) {
    std::vector<Row> rows = rows_of(count, {true, true}, seed);
    for (Row& row : rows) {
      std::vector<double> scores;
      for (std::size_t k = 0; k < kClasses; ++k)
        scores.push_back(std::log(row.network.classes[k]) - (k == 0 ? 4 : 0));
      row.network.classes = softmax(scores);
    }
    return rows;
  };
  LogitResidual residual(TaskKind::Multiclass);
  teach(forgetful(500, 13), residual);
  const std::vector<double> scales = residual.scales();
  ASSERT_EQ(scales.size(), 2 + kExperts + kClasses);
  const double given = scales[2 + kExperts];
  for (std::size_t k = 1; k < kClasses; ++k)
    EXPECT_GT(given, scales[2 + kExperts + k] + 1) << k;
  const std::vector<Row> fresh = forgetful(2000, 14);
  std::size_t own = 0;
  std::size_t found = 0;
  for (const Row& row : fresh) {
    if (row.label != 0) continue;
    Output out;
    residual.combine(row.head, row.network, out);
    ++own;
    if (std::ranges::max_element(out.classes) == out.classes.begin()) ++found;
  }
  EXPECT_GT(found, own / 2);
}

TEST(LogitResidual, ClassesThatCameAfterTheFitHaveNoNumberOfTheirOwn) {
  LogitResidual residual(TaskKind::Multiclass);
  teach(rows_of(300, {true, true}, 15), residual);
  Row row = rows_of(1, {true, true}, 16).front();
  Output before;
  residual.combine(row.head, row.network, before);
  row.head.classes.push_back(0);
  row.network.classes.push_back(0);
  Output after;
  residual.combine(row.head, row.network, after);
  ASSERT_EQ(after.classes.size(), kClasses + 1);
  for (std::size_t k = 0; k < kClasses; ++k)
    EXPECT_NEAR(after.classes[k], before.classes[k], 1e-4) << k;
}

TEST(LogitResidual, IsNotKeptWhereItDoesNotPay) {
  // The head is as sure as it should be, the network guesses.
  Rng rng(5, 0, Purpose::Test);
  std::vector<Row> rows = rows_of(400, {false, false}, 5);
  for (Row& row : rows) {
    double left = rng.uniform();
    row.label = 0;
    while (row.label + 1 < kClasses && (left -= row.head.classes[row.label]) > 0)
      ++row.label;
  }
  LogitResidual residual(TaskKind::Multiclass);
  teach(rows_of(400, {true, true}, 6), residual);
  EXPECT_FALSE(residual.scales().empty());
  teach(rows, residual);
  EXPECT_TRUE(residual.scales().empty());
  Output out;
  residual.combine(rows[0].head, rows[0].network, out);
  EXPECT_EQ(out.classes, rows[0].head.classes);
  residual.combine_held_out(0, rows[0].head, rows[0].network, out);
  EXPECT_EQ(out.classes, rows[0].head.classes);
}

TEST(LogitResidual, AnswersAnExampleByTheOtherHalf) {
  const std::vector<Row> rows = rows_of(301, {true, false}, 7);
  LogitResidual residual(TaskKind::Multiclass);
  teach(rows, residual);
  for (const std::size_t half : {0U, 1U}) {
    std::vector<Row> others;
    for (std::size_t i = 1 - half; i < rows.size(); i += 2)
      others.push_back(rows[i]);
    LogitResidual alone(TaskKind::Multiclass);
    teach(others, alone);
    Output expected;
    Output out;
    for (std::size_t i = half; i < rows.size(); i += 50) {
      alone.combine(rows[i].head, rows[i].network, expected);
      residual.combine_held_out(i, rows[i].head, rows[i].network, out);
      for (std::size_t k = 0; k < kClasses; ++k)
        EXPECT_NEAR(out.classes[k], expected.classes[k], 1e-12) << i;
    }
  }
}

TEST(LogitResidual, SaysWhatTheHeadSaysWhereThereIsNothingToAdd) {
  LogitResidual residual(TaskKind::Multiclass);
  teach(rows_of(300, {true, true}, 8), residual);
  const Row row = rows_of(1, {true, true}, 9).front();
  Output out;
  residual.combine(row.head, Output{}, out);
  EXPECT_EQ(out.classes, row.head.classes);
  residual.combine(Output{}, row.network, out);
  EXPECT_TRUE(out.classes.empty());
  // A class that only the network has heard of is there, too.
  Output more = row.network;
  more.classes.push_back(.5);
  residual.combine(row.head, more, out);
  ASSERT_EQ(out.classes.size(), kClasses + 1);
  double sum = 0;
  for (const double share : out.classes)
    sum += share;
  EXPECT_NEAR(sum, 1, 1e-12);
}

TEST(LogitResidual, LeavesOutExamplesOfNoUseButCountsThem) {
  const std::vector<Row> rows = rows_of(300, {true, false}, 10);
  LogitResidual plain(TaskKind::Multiclass);
  LogitResidual other(TaskKind::Multiclass);
  for (LogitResidual* residual : {&plain, &other}) {
    residual->begin(by_block());
    for (const Row& row : rows) {
      residual->say(row.head, row.network, static_cast<double>(row.label));
      if (residual == &plain) continue;
      residual->say(Output{}, row.network, 0);
      residual->say(row.head, row.network, LogitResidual::kClassesMax);
    }
    residual->fit();
  }
  EXPECT_EQ(plain.scales(), other.scales());
}

TEST(LogitResidual, OfTwoClassesItAddsToTheLogit) {
  Rng rng(11, 0, Purpose::Test);
  LogitResidual residual(TaskKind::Binary);
  residual.begin(Eigen::MatrixXd::Ones(2, 1));
  std::vector<std::vector<double>> rows;
  for (int i = 0; i < 600; ++i) {
    const double by_head = 4 * rng.uniform() - 2;
    const double by_network = 4 * rng.uniform() - 2;
    const double p = 1 / (1 + std::exp(-by_head - by_network));
    const double label = rng.uniform() < p ? 1 : 0;
    residual.say({1 / (1 + std::exp(-by_head)), 0, {}}, {1 / (1 + std::exp(-by_network)), 0, {}},
                 label);
  }
  residual.say({std::numeric_limits<double>::quiet_NaN(), 0, {}}, {.5, 0, {}}, 1);
  residual.fit();
  ASSERT_EQ(residual.scales().size(), 4U);
  EXPECT_NEAR(residual.scales()[0], 0, .25);
  EXPECT_NEAR(residual.scales()[1], 1, .25);
  Output out;
  residual.combine({.6, 0, {}}, {.8, 0, {}}, out);
  EXPECT_TRUE(out.classes.empty());
  const auto logit = [](double p) { return std::log(p / (1 - p)); };
  EXPECT_NEAR(logit(out.value),
              (1 + residual.scales()[0]) * logit(.6) + residual.scales()[1] * logit(.8) +
                  residual.scales()[3] - residual.scales()[2],
              1e-9);
}

TEST(LogitResidual, NoClassNeedBeKnown) {
  const std::vector<Row> rows = rows_of(300, {true, true}, 17);
  for (const Eigen::Index experts : {1, 2}) {
    LogitResidual residual(TaskKind::Multiclass);
    residual.begin(Eigen::MatrixXd::Zero(0, experts));
    for (const Row& row : rows)
      residual.say(row.head, row.network, static_cast<double>(row.label));
    residual.fit();
    ASSERT_FALSE(residual.scales().empty());
    LogitResidual fresh(TaskKind::Multiclass);
    expect_exact_state(saved(residual), fresh);
    const std::vector<double> said = said_of(residual, rows[0]);
    EXPECT_EQ(said, said_of(fresh, rows[0]));
    EXPECT_NE(said, rows[0].head.classes);
  }
}

TEST(LogitResidual, NeighboursAmongManyExpertsShareAScale) {
  constexpr auto kMany = static_cast<Eigen::Index>(4 * LogitResidual::kExpertsMax);
  const std::vector<Row> rows = rows_of(300, {true, false}, 18);
  // Class 0's examples are of the first expert, those of the others of the last.
  Eigen::MatrixXd many = Eigen::MatrixXd::Zero(kClasses, kMany);
  Eigen::MatrixXd few = Eigen::MatrixXd::Zero(kClasses, LogitResidual::kExpertsMax);
  for (Eigen::MatrixXd* shares : {&many, &few}) {
    shares->col(0)(0) = 1;
    shares->col(shares->cols() - 1).tail(3).setOnes();
  }
  LogitResidual of_many(TaskKind::Multiclass);
  LogitResidual of_few(TaskKind::Multiclass);
  of_many.begin(many);
  of_few.begin(few);
  for (LogitResidual* residual : {&of_many, &of_few}) {
    for (const Row& row : rows)
      residual->say(row.head, row.network, static_cast<double>(row.label));
    residual->fit();
  }
  ASSERT_EQ(of_many.scales().size(), 2 + LogitResidual::kExpertsMax + kClasses);
  EXPECT_EQ(of_many.scales(), of_few.scales());
}

TEST(LogitResidual, StateIsExact) {
  LogitResidual residual(TaskKind::Multiclass);
  LogitResidual fresh(TaskKind::Multiclass);
  expect_exact_state(saved(residual), fresh);
  const std::vector<Row> rows = rows_of(300, {true, false}, 12);
  teach(rows, residual);
  ASSERT_FALSE(residual.scales().empty());
  expect_exact_state(saved(residual), fresh);
  EXPECT_EQ(said_of(residual, rows[0]), said_of(fresh, rows[0]));
}

}  // namespace
}  // namespace accrete::models
