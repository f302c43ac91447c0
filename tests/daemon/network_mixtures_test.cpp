// Mixtures in the place of rows: what is drawn looks like what was told, the bounds hold, a restart
// changes nothing.
#include "daemon/network_mixtures.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "store/state.h"
#include "tests/store/scratch.h"

namespace accrete::daemon {
namespace {

constexpr Eigen::Index kWidth = 6;

/// Rows around a place of their own for each number.
models::RowMatrix<float> rows_around(std::uint32_t number, Eigen::Index count, Rng& rng) {
  models::RowMatrix<float> rows(count, kWidth);
  for (Eigen::Index i = 0; i < rows.size(); ++i) {
    const bool own = i % kWidth == number % kWidth;
    rows.data()[i] = static_cast<float>((own ? 3 + number : 0) + rng.uniform() - 0.5);
  }
  return rows;
}

void add(std::uint32_t block, std::uint32_t classes, NetworkMixtures& mixtures) {
  Rng rng(1, block, Purpose::Test);
  const std::vector<models::RowMatrix<float>> gates = {rows_around(block, 60, rng),
                                                       rows_around(block + 1, 50, rng)};
  HeadRows head;
  head.vectors.resize(static_cast<Eigen::Index>(20 * classes), kWidth);
  // What is told beside them: of every class its own number, in more columns of later blocks.
  head.told = {models::RowMatrix<float>(20 * classes, 1 + block % 2)};
  for (std::uint32_t c = 0; c < classes; ++c) {
    const std::uint32_t label = block * classes + c;
    const auto first = static_cast<Eigen::Index>(20 * c);
    head.vectors.middleRows(first, 20) = rows_around(label, 20, rng);
    head.told[0].middleRows(first, 20).setConstant(static_cast<float>(label) + 1);
    head.classes.insert(head.classes.end(), 20, label);
  }
  mixtures.add(block, gates, head);
}

TEST(NetworkMixtures, DrawEachBlockAndClassAlikeFromWhereItsRowsWere) {
  NetworkMixtures mixtures(2, 7);
  for (const std::uint32_t block : {0U, 2U, 3U})
    add(block, 2, mixtures);
  EXPECT_EQ(mixtures.blocks(), 3U);
  const NetworkMixtures::Drawn drawn = mixtures.draw(60, Rng(5, 1, Purpose::Test));
  ASSERT_EQ(drawn.gates.size(), 2U);
  for (std::size_t l = 0; l < 2; ++l) {
    const models::PseudoRows& gate = drawn.gates[l];
    ASSERT_EQ(gate.rows.rows(), 60);
    for (const std::uint32_t block : {0U, 2U, 3U})
      EXPECT_EQ(std::ranges::count(gate.blocks, block), 20) << block;
    EXPECT_EQ(mixtures.likeliest(l, gate.rows), gate.blocks);
    for (Eigen::Index i = 0; i < gate.rows.rows(); ++i) {
      const auto place = static_cast<Eigen::Index>((gate.blocks[static_cast<std::size_t>(i)] + l) %
                                                   static_cast<std::size_t>(kWidth));
      Eigen::Index most = 0;
      gate.rows.row(i).maxCoeff(&most);
      EXPECT_EQ(most, place);
    }
  }
  EXPECT_EQ(mixtures.oldest(), 0U);
  EXPECT_EQ(mixtures.standing_for(1), 0U) << "block 1 has none of its own";
  EXPECT_EQ(mixtures.standing_for(2), 2U);
  EXPECT_EQ(mixtures.standing_for(9), 3U);
  ASSERT_EQ(drawn.head.classes.size(), 60U);
  for (const std::uint32_t label : {0U, 1U, 4U, 5U, 6U, 7U})
    EXPECT_EQ(std::ranges::count(drawn.head.classes, label), 10) << label;
  ASSERT_EQ(drawn.head.vectors.rows(), 60);
  ASSERT_EQ(drawn.head.told.size(), 1U);
  ASSERT_EQ(drawn.head.told[0].cols(), 2);
  for (Eigen::Index i = 0; i < 60; ++i) {
    const std::uint32_t label = drawn.head.classes[static_cast<std::size_t>(i)];
    Eigen::Index most = 0;
    drawn.head.vectors.row(i).maxCoeff(&most);
    EXPECT_EQ(most, label % kWidth);
    const float told = static_cast<float>(label) + 1;
    EXPECT_NEAR(drawn.head.told[0](i, 0), told, 0.3F * told);
    EXPECT_NEAR(drawn.head.told[0](i, 1), label < 6 ? 0 : told, 0.3F * told)
        << "blocks 0 and 2 did not have the column";
  }
}

TEST(NetworkMixtures, OldestGoAboveTheBound) {
  NetworkMixtures mixtures(2, 7);
  constexpr auto kBlocks = static_cast<std::uint32_t>(NetworkMixtures::kBlocksMax);
  for (std::uint32_t block = 0; block < kBlocks + 3; ++block)
    add(block, 5, mixtures);
  EXPECT_EQ(mixtures.blocks(), NetworkMixtures::kBlocksMax);
  const NetworkMixtures::Drawn drawn = mixtures.draw(1, Rng(5, 1, Purpose::Test));
  EXPECT_EQ(*std::ranges::min_element(drawn.gates[0].blocks), 3U);
  ASSERT_EQ(drawn.head.classes.size(), NetworkMixtures::kClassesMax);
  EXPECT_EQ(drawn.head.classes.back(), 5 * (kBlocks + 3) - 1);
  EXPECT_EQ(drawn.head.classes.front(), 5 * (kBlocks + 3) - NetworkMixtures::kClassesMax);
}

TEST(NetworkMixtures, SameDrawsAfterARestartAndNothingOfDamage) {
  const store::Scratch scratch;
  const auto database = store::open_database(scratch);
  const std::unique_ptr<store::State> state = store::must(store::State::open(*database));
  const std::string key = "t/network/mixtures";
  NetworkMixtures mixtures(2, 7);
  ASSERT_TRUE(mixtures.load(key, *state)) << "nothing is stored yet";
  EXPECT_EQ(mixtures.blocks(), 0U);
  add(0, 2, mixtures);
  mixtures.stage(key, *state);
  store::must(state->commit(state->cursor()));
  NetworkMixtures restarted(2, 7);
  ASSERT_TRUE(restarted.load(key, *state));
  for (NetworkMixtures* each : {&mixtures, &restarted})
    add(1, 2, *each);
  const auto numbers = [](const NetworkMixtures& of) {
    const NetworkMixtures::Drawn drawn = of.draw(30, Rng(5, 1, Purpose::Test));
    std::vector<float> all;
    for (const auto* rows :
         {&drawn.gates[0].rows, &drawn.gates[1].rows, &drawn.head.vectors, &drawn.head.told[0]})
      all.insert(all.end(), rows->data(), rows->data() + rows->size());
    return all;
  };
  EXPECT_EQ(numbers(mixtures), numbers(restarted));
  std::string bytes;
  ASSERT_TRUE(store::must(state->get(store::Section::Blobs, key, bytes)));
  state->put(store::Section::Blobs, key, bytes.substr(0, bytes.size() - 3));
  store::must(state->commit(state->cursor()));
  EXPECT_FALSE(NetworkMixtures(2, 7).load(key, *state));
}

}  // namespace
}  // namespace accrete::daemon
