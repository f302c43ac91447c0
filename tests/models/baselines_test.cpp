// Baselines: cold start, warm entities, and their own prequential variance.
#include "models/baselines.h"

#include <array>

#include <gtest/gtest.h>

#include "state_check.h"

namespace accrete::models {
namespace {

using Make = std::unique_ptr<Candidate> (*)(TaskKind);
constexpr std::array<Make, 3> makers{make_global_mean, make_last_label, make_running_mean};

Output ask(const Candidate& candidate, const LabelHistory* history = nullptr) {
  Output output{99, 99, {99}};
  candidate.predict({{}, history}, output);
  return output;
}

TEST(Baselines, ColdStart) {
  for (const Make make : makers) {
    EXPECT_EQ(ask(*make(TaskKind::Binary)).value, 0.5);
    EXPECT_EQ(ask(*make(TaskKind::Regression)).value, 0);
    EXPECT_EQ(ask(*make(TaskKind::Regression)).variance, 0);
    EXPECT_TRUE(ask(*make(TaskKind::Multiclass)).classes.empty());
  }
}

TEST(Baselines, Names) {
  EXPECT_EQ(make_global_mean(TaskKind::Regression)->name(), "global-mean");
  EXPECT_EQ(make_global_mean(TaskKind::Multiclass)->name(), "majority");
  EXPECT_EQ(make_last_label(TaskKind::Binary)->name(), "last-label");
  EXPECT_EQ(make_running_mean(TaskKind::Binary)->name(), "running-mean");
}

TEST(Baselines, AnEntityWithoutLabelsGetsTheWeightedGlobalMean) {
  for (const Make make : makers) {
    const auto candidate = make(TaskKind::Regression);
    const LabelHistory empty;
    candidate->learn({{}, &empty}, 10, 1);
    candidate->learn({{}, &empty}, 20, 3);
    EXPECT_DOUBLE_EQ(ask(*candidate).value, 17.5);
    EXPECT_DOUBLE_EQ(ask(*candidate, &empty).value, 17.5);
  }
}

TEST(Baselines, ReadTheEntitysHistory) {
  LabelHistory history;
  for (const double label : {1.0, 0.0, 1.0})
    history.learn(TaskKind::Binary, label);
  EXPECT_EQ(ask(*make_global_mean(TaskKind::Binary), &history).value, 0.5);
  EXPECT_EQ(ask(*make_last_label(TaskKind::Binary), &history).value, 1);
  EXPECT_DOUBLE_EQ(ask(*make_running_mean(TaskKind::Binary), &history).value, 0.79);
}

TEST(Baselines, MulticlassGivesProbabilities) {
  LabelHistory history;
  for (const double label : {1.0, 3.0})
    history.learn(TaskKind::Multiclass, label);
  const std::array<std::vector<double>, 3> expected{
      std::vector<double>{0.5, 0.25, 0.25}, {0, 0, 0, 1}, {0, 0.7, 0, 0.3}};
  for (std::size_t m = 0; m < makers.size(); ++m) {
    const auto candidate = makers[m](TaskKind::Multiclass);
    for (const double label : {0.0, 1.0, 2.0, 0.0})
      candidate->learn({}, label, 1);
    const Output output = ask(*candidate, &history);
    ASSERT_EQ(output.classes.size(), expected[m].size()) << candidate->name();
    for (std::size_t c = 0; c < expected[m].size(); ++c) {
      EXPECT_NEAR(output.classes[c], expected[m][c], 1e-6) << candidate->name() << c;
    }
  }
}

TEST(Baselines, VarianceIsTheMeanSquaredPrequentialError) {
  const auto candidate = make_last_label(TaskKind::Regression);
  LabelHistory history;
  double squares = 0;
  for (const double label : {4.0, 6.0, 3.0}) {
    const double error = label - ask(*candidate, &history).value;
    squares += error * error;
    candidate->learn({{}, &history}, label, 1);
    history.learn(TaskKind::Regression, label);
  }
  EXPECT_DOUBLE_EQ(ask(*candidate, &history).variance, squares / 3);
  EXPECT_EQ(squares, 16 + 4 + 9);
}

TEST(Baselines, StateIsExact) {
  for (const TaskKind kind : {TaskKind::Binary, TaskKind::Regression, TaskKind::Multiclass}) {
    for (const Make make : makers) {
      const auto candidate = make(kind);
      for (const double label : {1.0, 0.0, 1.0, 1.0})
        candidate->learn({}, label, 0.3);
      const auto copy = make(kind);
      expect_exact_state(saved(*candidate), *copy);
      candidate->learn({}, 1, 0.7);
      copy->learn({}, 1, 0.7);
      EXPECT_EQ(saved(*candidate), saved(*copy));
    }
  }
}

TEST(Baselines, RefuseTheStateOfAnother) {
  const std::string bytes = saved(*make_last_label(TaskKind::Binary));
  EXPECT_FALSE(make_running_mean(TaskKind::Binary)->load(bytes));
  EXPECT_FALSE(make_last_label(TaskKind::Regression)->load(bytes));
}

}  // namespace
}  // namespace accrete::models
