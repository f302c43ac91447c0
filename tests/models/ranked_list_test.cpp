// Lists and their grades, against counts by hand and by a loop.
#include "models/ranked_list.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "models/metrics.h"
#include "proto/rng.h"
#include "state_check.h"

namespace accrete::models {
namespace {

TEST(RankedList, TheBestComeFirstTiesByPosition) {
  const std::vector<double> scores{.1, .4, std::numeric_limits<double>::quiet_NaN(), .4, .2};
  EXPECT_EQ(best_of(scores, 3), (std::vector<std::uint32_t>{1, 3, 4}));
  EXPECT_EQ(best_of(scores, 9), (std::vector<std::uint32_t>{1, 3, 4, 0, 2}));
  EXPECT_TRUE(best_of({}, 3).empty());
}

TEST(RankedList, GradesCountedByHand) {
  // Listed: 0 (right), 2, 3 (right); 4 is right and not listed, two more were not considered.
  const std::vector<double> said{.4, .05, .25, .2, .1};
  const std::vector<bool> right{true, false, false, true, true};
  const RankedGrade grade = grade_list(said, right, 2, 3);
  EXPECT_DOUBLE_EQ(grade.average_precision, (1. + 2. / 3) / 3);
  EXPECT_DOUBLE_EQ(grade.precision, 2. / 3);
  EXPECT_DOUBLE_EQ(grade.recall, 2. / 5);
  EXPECT_DOUBLE_EQ(grade.considered, 3. / 5);
  EXPECT_DOUBLE_EQ(grade.ndcg, (1 + 1 / 2.) / (1 + 1 / std::log2(3.) + 1 / 2.));
  EXPECT_DOUBLE_EQ(grade.loss,
                   (-std::log(.4) - std::log(.2) - std::log(.1) + 2 * std::log(6.)) / 5);
}

TEST(RankedList, FewRightItemsCanFillTheListAndNoneIsNothing) {
  const std::vector<double> said{.7, .3};
  EXPECT_DOUBLE_EQ(grade_list(said, {true, false}, 0, 10).average_precision, 1);
  EXPECT_DOUBLE_EQ(grade_list(said, {true, false}, 0, 10).ndcg, 1);
  const RankedGrade missed = grade_list(said, {false, false}, 1, 10);
  EXPECT_EQ(missed.average_precision, 0);
  EXPECT_EQ(missed.recall, 0);
  const RankedGrade nothing = grade_list({}, {}, 1, 10);
  EXPECT_EQ(nothing.ndcg, 0);
  EXPECT_DOUBLE_EQ(nothing.loss, std::log(11.)) << "an empty list is no perfect one";
  EXPECT_EQ(nothing.considered, 0);
}

TEST(RankedList, MetricsAreMeansAndSurviveTheirState) {
  Rng rng(3, 0, Purpose::Test);
  Prequential metrics(TaskKind::Ranking, 20);
  Graded all(TaskKind::Ranking);
  std::vector<RankedGrade> grades;
  for (int i = 0; i < 50; ++i) {
    std::vector<double> said;
    std::vector<bool> right;
    for (int k = 0; k < 12; ++k) {
      said.push_back(rng.uniform());
      right.push_back(rng.below(3) == 0);
    }
    grades.push_back(grade_list(said, right, 1 + rng.below(2), 5));
    metrics.add(grades.back());
    all.add(grades.back());
  }
  const auto mean = [&](double RankedGrade::*number, std::size_t first) {
    double sum = 0;
    for (std::size_t i = first; i < grades.size(); ++i)
      sum += grades[i].*number;
    return sum / static_cast<double>(grades.size() - first);
  };
  const std::vector<std::pair<std::string, double RankedGrade::*>> names{
      {"map", &RankedGrade::average_precision}, {"ndcg", &RankedGrade::ndcg},
      {"precision", &RankedGrade::precision},   {"recall", &RankedGrade::recall},
      {"considered", &RankedGrade::considered}, {"log_loss", &RankedGrade::loss}};
  ASSERT_EQ(metrics.sliding().size(), names.size());
  for (std::size_t m = 0; m < names.size(); ++m) {
    EXPECT_EQ(all.metrics()[m].first, names[m].first);
    EXPECT_NEAR(all.metrics()[m].second, mean(names[m].second, 0), 1e-12);
    EXPECT_NEAR(metrics.sliding()[m].second, mean(names[m].second, 30), 1e-12);
  }
  ASSERT_EQ(metrics.fading().size(), 2u);
  EXPECT_EQ(metrics.fading()[1].first, "map");
  EXPECT_NEAR(metrics.fading()[1].second, mean(&RankedGrade::average_precision, 0), .02);
  Prequential fresh(TaskKind::Ranking, 20);
  expect_exact_state(saved(metrics), fresh);
  EXPECT_EQ(fresh.sliding(), metrics.sliding());
}

}  // namespace
}  // namespace accrete::models
