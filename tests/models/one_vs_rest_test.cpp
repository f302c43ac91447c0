// Classes that come one after the other: the mirror, the late class, the bound, the state.
#include "models/one_vs_rest.h"

#include <vector>

#include <gtest/gtest.h>

#include "proto/rng.h"
#include "state_check.h"

namespace accrete::models {
namespace {

struct Example {
  std::vector<double> features;
  double label = 0;
};

/// Classes 0 and 1 by the sign of x; from row 600 on class 2 where y is large.
Example draw(std::uint64_t i) {
  Rng rng(91, i, Purpose::Test);
  Example e{{rng.uniform() * 2 - 1, rng.uniform() * 2 - 1}, 0};
  e.label = e.features[0] + 0.2 * (rng.uniform() - 0.5) > 0 ? 1 : 0;
  if (i >= 600 && e.features[1] > 0.4) e.label = 2;
  return e;
}

TEST(OneVsRest, GrowsAndLearnsEveryClass) {
  const auto classes = make_one_vs_rest({});
  Output output;
  classes->predict({draw(0).features, nullptr}, output);
  EXPECT_TRUE(output.classes.empty());
  std::size_t right = 0;
  for (std::uint64_t i = 0; i < 4000; ++i) {
    const Example e = draw(i);
    classes->predict({e.features, nullptr}, output);
    double total = 0;
    std::size_t best = 0;
    for (std::size_t k = 0; k < output.classes.size(); ++k) {
      total += output.classes[k];
      if (output.classes[k] > output.classes[best]) best = k;
    }
    EXPECT_NEAR(total, i > 0 ? 1 : 0, 1e-12);
    if (i >= 3000 && static_cast<double>(best) == e.label) ++right;
    classes->learn({e.features, nullptr}, e.label, 1);
  }
  EXPECT_GT(right, 880u);
}

TEST(OneVsRest, TheFirstClassKeepsWhatItLearntWhenAThirdComes) {
  const auto classes = make_one_vs_rest({});
  for (std::uint64_t i = 0; i < 500; ++i) {
    const Example e = draw(i);
    classes->learn({e.features, nullptr}, e.label, 1);
  }
  const std::vector<double> left = {-0.8, 0};
  Output two;
  classes->predict({left, nullptr}, two);
  ASSERT_GT(two.classes[0], 0.9);
  classes->learn({draw(700).features, nullptr}, 2, 1);
  Output three;
  classes->predict({left, nullptr}, three);
  ASSERT_EQ(three.classes.size(), 3u);
  EXPECT_GT(three.classes[0], three.classes[1] + 0.5);  // without the mirror image: 0.1 at most
}

TEST(OneVsRest, SaysNothingBeyondItsBound) {
  const auto classes = make_one_vs_rest({});
  for (std::size_t k = 0; k <= one_vs_rest_classes_max; ++k)
    classes->learn({draw(k).features, nullptr}, static_cast<double>(k), 1);
  Output output;
  classes->predict({draw(0).features, nullptr}, output);
  EXPECT_TRUE(output.classes.empty());
  const auto loaded = make_one_vs_rest({});
  expect_exact_state(saved(*classes), *loaded);
}

TEST(OneVsRest, GoesOnFromItsState) {
  for (const std::uint64_t rows : {1u, 300u, 900u}) {
    const auto whole = make_one_vs_rest({});
    for (std::uint64_t i = 0; i < rows; ++i)
      whole->learn({draw(i).features, nullptr}, draw(i).label, 1);
    const auto loaded = make_one_vs_rest({});
    expect_exact_state(saved(*whole), *loaded);
    for (std::uint64_t i = rows; i < rows + 400; ++i) {
      for (Candidate* candidate : {whole.get(), loaded.get()})
        candidate->learn({draw(i).features, nullptr}, draw(i).label, 1);
    }
    EXPECT_EQ(saved(*whole), saved(*loaded));
  }
}

}  // namespace
}  // namespace accrete::models
