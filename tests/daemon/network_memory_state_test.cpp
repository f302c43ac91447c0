// What a graph network's memory keeps across restarts, late examples among it.
#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "proto/bytes.h"
#include "tests/daemon/network_memory_world.h"

namespace accrete::daemon {
namespace {

using store::Section;

TEST(NetworkMemory, LateExamplesFindTheirBlockAndPlace) {
  NetworkMemory memory(of_most(1000));
  std::map<std::uint32_t, std::set<Entry>> all;
  Rng rng(6, 0, Purpose::Test);
  for (std::uint32_t row = 0; row < 300; ++row) {
    const auto at = static_cast<std::int64_t>(rng.below(row < 150 ? 100 : 200));
    const auto block = static_cast<std::uint32_t>(at / 100);
    memory.add({row, 1, TimeUs{at}, block});
    all[block].insert({block, at, row, 1});
  }
  for (const std::uint32_t block : {0U, 1U})
    EXPECT_EQ(content(memory, block), all[block]);
  Kept kept;
  memory.stage("t/", *kept.state);
  kept.commit();
  NetworkMemory loaded(of_most(1000));
  store::must(loaded.load("t/", *kept.state));
  EXPECT_EQ(drawn(loaded, 200, 1), drawn(memory, 200, 1));
}

TEST(NetworkMemory, ContinuesAfterARestartWithTheSameDraws) {
  Kept kept;
  constexpr std::size_t kMost = 300;
  NetworkMemory memory(of_most(kMost));
  auto restarted = std::make_unique<NetworkMemory>(of_most(kMost));
  // Another task's, whose rows must not be met.
  NetworkMemory other(of_most(kMost));
  other.add({1, 1, TimeUs{1}, 0});
  other.know(1, 1, TimeUs{1});
  other.stage("task2/network/", *kept.state);
  std::int64_t at = 0;
  for (std::uint64_t step = 0; step < 40; ++step) {
    Rng rng(5, step, Purpose::Test);
    for (int i = 0; i < 60; ++i) {
      if (rng.below(4) == 0) ++at;
      const auto row = static_cast<std::uint32_t>(rng.below(400));
      const double label = rng.uniform();
      for (NetworkMemory* each : {&memory, restarted.get()}) {
        if (step % 5 != 4)
          each->add({row, label, TimeUs{at}, static_cast<std::uint32_t>(step / 6)});
        each->know(row, label, TimeUs{at});
      }
    }
    restarted->stage("task/network/", *kept.state);
    EXPECT_GT(kept.state->staged_bytes(), 0U);
    kept.commit();
    const std::uint64_t nothing = kept.state->staged_bytes();
    restarted->stage("task/network/", *kept.state);
    EXPECT_EQ(kept.state->staged_bytes(), nothing) << "nothing changed";
    if (rng.below(3) == 0) {
      restarted = std::make_unique<NetworkMemory>(of_most(kMost));
      store::must(restarted->load("task/network/", *kept.state));
    }
    ASSERT_EQ(restarted->size(), memory.size());
    ASSERT_EQ(drawn(*restarted, 500, step), drawn(memory, 500, step));
    for (std::uint32_t row = 0; row < 410; ++row)
      ASSERT_EQ(newest(*restarted, row, at, 300), newest(memory, row, at, 300));
    for (std::int64_t t = 0; t <= at; ++t)
      ASSERT_EQ(restarted->typical(TimeUs{t}), memory.typical(TimeUs{t}));
  }
}

TEST(NetworkMemory, NothingStoredIsAnEmptyMemory) {
  Kept kept;
  NetworkMemory memory(of_most(100));
  store::must(memory.load("task/network/", *kept.state));
  EXPECT_EQ(memory.size(), 0U);
  EXPECT_TRUE(newest(memory, 0, 10, 10).empty());
}

/// Of a block of many examples those that changed, and what lies behind them.
TEST(NetworkMemory, ACommitWritesWhatChanged) {
  constexpr std::uint32_t kExamples = 5000;
  Kept kept;
  NetworkMemory memory(of_most(kExamples));
  const auto staged = [&] {
    const std::uint64_t before = kept.state->staged_bytes();
    memory.stage("t/", *kept.state);
    const std::uint64_t bytes = kept.state->staged_bytes() - before;
    kept.commit();
    return bytes;
  };
  const auto same_after_a_restart = [&] {
    NetworkMemory loaded(of_most(kExamples));
    store::must(loaded.load("t/", *kept.state));
    return loaded.size() == memory.size() && loaded.blocks() == memory.blocks() &&
           drawn(loaded, 3000, 1) == drawn(memory, 3000, 1);
  };
  for (std::uint32_t i = 0; i < kExamples; ++i)
    memory.add({i, 1, TimeUs{i}, i / 4000});
  const std::uint64_t all = staged();
  EXPECT_GT(all, 28U * kExamples);
  memory.add({0, 1, TimeUs{kExamples}, 1});
  EXPECT_LT(staged(), all / 8) << "the last page of the second block";
  EXPECT_TRUE(same_after_a_restart());
  memory.add({0, 1, TimeUs{3900}, 0});
  EXPECT_LT(staged(), all / 8) << "the last page of the first";
  memory.add({0, 1, TimeUs{100}, 0});
  EXPECT_GT(staged(), all / 2) << "all of the first";
  EXPECT_TRUE(same_after_a_restart());
  const std::size_t pages = kept.values(Section::Blobs).size();
  for (std::uint32_t i = 0; i < 1000; ++i)
    memory.add({i, 2, TimeUs{2 * kExamples + i}, 2});
  EXPECT_LE(memory.size(), kExamples + kExamples / 10);
  staged();
  EXPECT_LE(kept.values(Section::Blobs).size(), pages + 2) << "what is no more is erased";
  EXPECT_TRUE(same_after_a_restart());
  memory.forget_before(2);
  staged();
  EXPECT_LE(kept.values(Section::Blobs).size(), 3U) << "two pages, and their number";
  EXPECT_TRUE(same_after_a_restart());
  memory.forget_before(3);
  staged();
  EXPECT_EQ(memory.size(), 0U);
  EXPECT_EQ(memory.blocks(), 0U);
  EXPECT_EQ(kept.values(Section::Blobs).size(), 1U);
  memory.add({1, 1, TimeUs{1}, 500});  // and is gone before anybody kept it
  memory.forget_before(501);
  staged();
  EXPECT_EQ(memory.size(), 0U);
}

/// Many links of one list: all or none of them fit.
TEST(NetworkMemory, ANewestBlockThatDoesNotFitIsNoBlockAfterARestartEither) {
  Kept kept;
  NetworkMemory memory(of_most(20));
  for (std::uint32_t i = 0; i < 10; ++i)
    memory.add({i, 1, TimeUs{i}, 0});
  for (std::uint32_t i = 0; i < 13; ++i)
    memory.add({7, static_cast<double>(i), TimeUs{100}, 1});
  EXPECT_EQ(memory.size(1), 0U);
  EXPECT_EQ(memory.blocks(), 1U);
  memory.stage("t/", *kept.state);
  kept.commit();
  NetworkMemory loaded(of_most(20));
  store::must(loaded.load("t/", *kept.state));
  EXPECT_EQ(loaded.blocks(), memory.blocks());
  EXPECT_EQ(drawn(loaded, 50, 1), drawn(memory, 50, 1));
}

TEST(NetworkMemory, DamagedBytesAreRefused) {
  Kept kept;
  {
    NetworkMemory memory(of_most(100));
    for (std::uint32_t i = 0; i < 6; ++i)
      memory.add({i, 1, TimeUs{i}, i / 3});
    for (std::uint32_t i = 0; i < 3; ++i)
      memory.know(0, 1, TimeUs{i});
    memory.stage("t/", *kept.state);
    kept.commit();
  }
  const auto loads = [&] {
    NetworkMemory memory(of_most(100));
    const Status loaded = memory.load("t/", *kept.state);
    if (!loaded) {
      EXPECT_EQ(loaded.error().code, Errc::Corruption);
    }
    return loaded.has_value();
  };
  const auto refused = [&](Section section, const std::string& key, const std::string& bytes) {
    kept.state->put(section, key, bytes);
    kept.commit();
    return !loads();
  };
  // Where it is: a time of the first example, of the first label, of the first mean.
  const auto unordered_at = [](const std::string& key) -> std::size_t {
    if (key.find("examples/") != key.npos) return 4 + 8 + 7;
    return key.find("labels/") != key.npos ? 4 : 8 + 7;
  };
  for (const Section section : {Section::Blobs, Section::Labels}) {
    const auto values = kept.values(section);
    ASSERT_EQ(values.size(), section == Section::Blobs ? 4U : 1U)
        << "of examples their number and a page a block; means of labels";
    for (const auto& [key, good] : values) {
      for (std::size_t size = section == Section::Labels ? 1 : 0; size < good.size(); ++size)
        EXPECT_TRUE(refused(section, key, good.substr(0, size))) << key << " " << size << " bytes";
      EXPECT_TRUE(refused(section, key, good + "x"));
      std::string many = good;
      many[key.ends_with("examples") ? 4 + 7 : 7] = '\x7f';  // in the first count
      if (key.find("examples/") == key.npos) {
        EXPECT_TRUE(refused(section, key, many)) << key;
      }
      std::string unordered = good;
      unordered[unordered_at(key)] = '\x7f';
      if (!key.ends_with("examples")) {
        EXPECT_TRUE(refused(section, key, unordered)) << key;
      }
      EXPECT_FALSE(refused(section, key, good));
    }
  }
  // A page that is missing, and one behind it.
  const std::string page = std::next(kept.values(Section::Blobs).begin())->first;
  const std::string good = kept.values(Section::Blobs).at(page);
  kept.state->erase(Section::Blobs, page);
  kept.commit();
  EXPECT_FALSE(loads());
  std::string next = page;
  next.back() = 1;
  EXPECT_TRUE(refused(Section::Blobs, next, good)) << "the first page is not full";
  kept.state->erase(Section::Blobs, next);
  EXPECT_FALSE(refused(Section::Blobs, page, good));
  const std::string key = kept.values(Section::Labels).begin()->first;
  std::string bytes;
  ByteWriter writer(bytes);
  // One label more than a row may have, all of them there.
  const auto many = static_cast<std::uint32_t>(NetworkMemoryOptions().labels_max + 1);
  writer.put(many);
  for (std::uint32_t i = 0; i < many; ++i) {
    writer.put(std::int64_t{i});
    writer.put(1.0);
  }
  EXPECT_TRUE(refused(Section::Labels, key, bytes));
  // Rows of more than a page.
  EXPECT_TRUE(refused(Section::Labels, key, std::string(65 * sizeof(std::uint32_t), '\0')));
  EXPECT_FALSE(refused(Section::Labels, key, std::string(64 * sizeof(std::uint32_t), '\0')));
}

}  // namespace
}  // namespace accrete::daemon
