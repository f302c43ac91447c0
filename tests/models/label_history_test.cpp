// Label histories: the recursion, and compact bytes.
#include <gtest/gtest.h>

#include "models/candidate.h"
#include "proto/rng.h"

namespace accrete::models {
namespace {

bool same(const LabelHistory& a, const LabelHistory& b) {
  return a.count == b.count && a.last == b.last && a.sum == b.sum && a.ewma == b.ewma &&
         a.class_ewma == b.class_ewma;
}

TEST(LabelHistory, FollowsItsRecursion) {
  LabelHistory history;
  history.learn(TaskKind::Regression, 10);
  EXPECT_EQ(history.ewma, 10);
  history.learn(TaskKind::Regression, 20);
  EXPECT_DOUBLE_EQ(history.ewma, 13);
  EXPECT_EQ(history.last, 20);
  EXPECT_EQ(history.sum, 30);
  EXPECT_EQ(history.count, 2u);
}

TEST(LabelHistory, ClassSharesSumToOneAndOldClassesFade) {
  LabelHistory history;
  for (const double label : {2.0, 0.0, 2.0, 5.0})
    history.learn(TaskKind::Multiclass, label);
  ASSERT_EQ(history.class_ewma.size(), 6u);
  float sum = 0;
  for (const float share : history.class_ewma)
    sum += share;
  EXPECT_NEAR(sum, 1, 1e-6);
  EXPECT_FLOAT_EQ(history.class_ewma[5], 0.3F);
  for (int i = 0; i < 60; ++i)
    history.learn(TaskKind::Multiclass, 5);
  EXPECT_EQ(history.class_ewma[0], 0);
}

TEST(LabelHistory, BytesAreExactAndCompact) {
  struct Case {
    TaskKind kind;
    int labels;
    std::size_t bytes_max;
  };
  for (const Case& c :
       {Case{TaskKind::Binary, 0, 1}, Case{TaskKind::Binary, 1, 5}, Case{TaskKind::Binary, 40, 13},
        Case{TaskKind::Regression, 300, 28}, Case{TaskKind::Multiclass, 50, 15 + 3 + 6 * 30}}) {
    Rng rng(7, static_cast<std::uint64_t>(c.labels), Purpose::Test);
    LabelHistory history;
    for (int i = 0; i < c.labels; ++i) {
      const double label = c.kind == TaskKind::Regression   ? rng.uniform() * 1e9 - 1
                           : c.kind == TaskKind::Multiclass ? static_cast<double>(rng.below(30))
                                                            : static_cast<double>(rng.below(2));
      history.learn(c.kind, label);
    }
    std::string bytes;
    append_history(bytes, history);
    EXPECT_LE(bytes.size(), c.bytes_max) << "labels " << c.labels;
    append_history(bytes, LabelHistory{});
    std::string_view rest = bytes;
    LabelHistory back;
    ASSERT_TRUE(read_history(rest, back));
    EXPECT_TRUE(same(history, back));
    EXPECT_EQ(rest.size(), 1u) << "took the next history too";
    for (std::size_t size = 0; size + 1 < bytes.size(); ++size) {
      std::string_view cut(bytes.data(), size);
      EXPECT_FALSE(read_history(cut, back)) << size;
    }
  }
}

TEST(LabelHistory, HostileSizesAreRefused) {
  // One label, all small, class vector of 2^40 entries.
  std::string bytes("\x01\x0f\x00\x01\x00\x80\x80\x80\x80\x80\x20\x00", 12);
  std::string_view rest = bytes;
  LabelHistory back;
  EXPECT_FALSE(read_history(rest, back));
}

}  // namespace
}  // namespace accrete::models
