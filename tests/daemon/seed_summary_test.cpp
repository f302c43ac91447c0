// What the head is told of seeds, against its definition.
#include "daemon/seed_summary.h"

#include <cmath>
#include <optional>
#include <vector>

#include <gtest/gtest.h>

namespace accrete::daemon {
namespace {

constexpr std::int64_t kDay = 86'400'000'000;

/// Entities (table 0) named by rows (table 1), and labels (table 2).
NetworkPlan plan_of() {
  NetworkPlan plan;
  plan.tables = {TableId{0}, TableId{1}};
  plan.entity = 0;
  plan.relations = {
      {{1, 0}, Way::Up, {}, {}}, {{0, 1}, Way::Down, {}, {}}, {{0, 2}, Way::Labels, {}, {}}};
  return plan;
}

/// Two seeds; the first is named by `ages.size()` rows of these ages, listed in this order. Row i
/// shows i + 1 and its square.
models::GraphBatch batch_of(const std::vector<std::int64_t>& ages) {
  models::GraphBatch batch;
  const auto rows = static_cast<std::uint32_t>(ages.size());
  batch.reach = {2, 2 + rows};
  batch.table.assign(2, 0);
  batch.row = {0, 1};
  batch.age_us = {models::kAgeless, models::kAgeless};
  batch.features.resize(3);
  batch.features[1].resize(rows, 2);
  batch.relations.resize(3);
  for (models::GraphBatch::Relation& relation : batch.relations)
    relation.begin.assign(3, 0);
  for (std::uint32_t i = 0; i < rows; ++i) {
    batch.table.push_back(1);
    batch.row.push_back(i);
    batch.age_us.push_back(ages[i]);
    const auto shown = static_cast<float>(i + 1);
    batch.features[1].row(i) << shown, shown * shown;
    batch.relations[1].source.push_back(2 + i);
  }
  batch.relations[1].begin = {0, rows, rows};
  return batch;
}

double same(double label) {
  return label;
}

TEST(SeedSummary, RowsAreAMeanWhoseWeightsFallByAFifthFromTheNewest) {
  const NetworkPlan plan = plan_of();
  const SeedSummary summary(plan, false);
  const NetworkMemory memory({});
  const std::vector<Seed> seeds{{0, TimeUs{kDay}}, {1, TimeUs{kDay}}};
  models::GraphBatch batch = batch_of({30, 10, 20});
  summary.write(plan, seeds, 0, memory, same, batch);
  ASSERT_EQ(batch.told.size(), 2u);
  EXPECT_EQ(batch.told[0].cols(), 0);
  ASSERT_EQ(batch.told[1].cols(), 2);
  const double total = 1 + 1 + .8 + .64;
  EXPECT_NEAR(batch.told[1](0, 0), (2 + .8 * 3 + .64 * 1) / total, 1e-6);
  EXPECT_NEAR(batch.told[1](0, 1), (4 + .8 * 9 + .64 * 1) / total, 1e-6);
  EXPECT_EQ(batch.told[1].row(1).squaredNorm(), 0);  // nobody names it
}

TEST(SeedSummary, OfManyRowsTheNewestCount) {
  const NetworkPlan plan = plan_of();
  const SeedSummary summary(plan, false);
  const NetworkMemory memory({});
  const std::vector<Seed> seeds{{0, TimeUs{kDay}}, {1, TimeUs{kDay}}};
  std::vector<std::int64_t> ages;
  for (std::size_t i = 0; i < SeedSummary::kRows + 5; ++i)
    ages.push_back(static_cast<std::int64_t>(100 - i));  // the oldest first
  models::GraphBatch batch = batch_of(ages);
  summary.write(plan, seeds, 0, memory, same, batch);
  double sum = 0;
  double total = 1;
  for (std::size_t j = 0; j < SeedSummary::kRows; ++j) {
    const double weight = std::pow(.8, static_cast<double>(j));
    sum += weight * static_cast<double>(ages.size() - j);
    total += weight;
  }
  EXPECT_NEAR(batch.told[1](0, 0), sum / total, 1e-5);
}

TEST(SeedSummary, LabelsAreToldAsTheyWereKnownAtTheTime) {
  const NetworkPlan plan = plan_of();
  const SeedSummary summary(plan, true);
  NetworkMemory memory({});
  memory.know(0, 3, TimeUs{10 * kDay});
  memory.know(1, 5, TimeUs{10 * kDay});
  memory.know(0, 7, TimeUs{20 * kDay});
  const auto told = [&](std::uint32_t row, std::int64_t day, std::int64_t lag_days) {
    models::GraphBatch batch = batch_of({});
    batch.reach = {1, 1};
    const std::vector<Seed> seeds{{row, TimeUs{day * kDay}}};
    const auto doubled = [](double label) { return 2 * label; };
    summary.write(plan, seeds, lag_days * kDay, memory, doubled, batch);
    std::vector<double> out;
    for (Eigen::Index c = 0; c < batch.told[0].cols(); ++c)
      out.push_back(batch.told[0](0, c));
    return out;
  };
  const auto expect = [](const std::vector<double>& got, const std::vector<double>& wanted) {
    ASSERT_EQ(got.size(), SeedSummary::kLabelColumns);
    for (std::size_t c = 0; c < wanted.size(); ++c)
      EXPECT_NEAR(got[c], wanted[c], 1e-6) << c;
  };
  expect(told(0, 5, 0), {0, 0, 0, 0, 0, 0});
  // Of the other's label the first entity knows the mean of all.
  expect(told(0, 12, 0), {8, 7, 7, 7, std::log(2.0) / 2, std::log(3.0) / 4});
  const double m = 2 * (.7 * 8 + 7) / (.7 * 2 + 1);
  const auto mean = [&](double d) { return (m + 14 + 6 * d) / (2 + d); };
  expect(told(0, 20, 0), {m, mean(.5), mean(.75), mean(.9), std::log(3.0) / 2, 0});
  // Shown as it was four days earlier, the age is told as of now.
  expect(told(0, 12, 4), {8, 7, 7, 7, std::log(2.0) / 2, std::log(7.0) / 4});
  expect(told(2, 20, 0), {m, m, m, m, 0, 0});  // no label of its own
}

}  // namespace
}  // namespace accrete::daemon
