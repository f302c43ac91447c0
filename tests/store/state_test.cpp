// Derived state: nothing before commit, everything after, cursor included; reset.
#include "store/state.h"

#include <map>

#include <gtest/gtest.h>

#include "proto/rng.h"
#include "scratch.h"
#include "store/log.h"
#include "store/prediction_log.h"

namespace accrete::store {
namespace {

constexpr Section kSections[] = {Section::Keys,     Section::Nodes,  Section::Adjacency,
                                 Section::Segments, Section::Labels, Section::Blobs};

std::map<std::string, std::string> all(const State& state, Section section,
                                       std::string_view prefix = {}) {
  std::map<std::string, std::string> out;
  must(state.scan(section, prefix, [&](std::string_view key, std::string_view value) {
    out.emplace(key, value);
    return true;
  }));
  return out;
}

TEST(State, StagedWritesAppearWithTheCommitAndNotBefore) {
  Scratch scratch;
  Cursor cursor;
  cursor.epoch = 4;
  cursor.fingerprint = 77;
  cursor.folded = Ordinal{12};
  cursor.predicted = PredictionSeq{3};
  {
    const auto database = open_database(scratch);
    const auto state = must(State::open(*database));
    EXPECT_TRUE(state->fresh());
    for (const Section section : kSections)
      state->put(section, "key", "value");
    EXPECT_GT(state->staged_bytes(), 0u);
    for (const Section section : kSections)
      EXPECT_FALSE(must(state->get(section, "key")));
    must(state->commit(cursor));
    EXPECT_FALSE(state->fresh());
    for (const Section section : kSections)
      EXPECT_EQ(must(state->get(section, "key")), "value");
    state->erase(Section::Blobs, "key");
    state->put(Section::Labels, "lost", "with the process");
  }
  const auto database = open_database(scratch);
  const auto state = must(State::open(*database));
  EXPECT_FALSE(state->fresh());
  EXPECT_EQ(state->cursor().epoch, 4u);
  EXPECT_EQ(state->cursor().fingerprint, 77u);
  EXPECT_EQ(state->cursor().folded.value, 12u);
  EXPECT_EQ(state->cursor().predicted.value, 3u);
  EXPECT_EQ(must(state->get(Section::Blobs, "key")), "value");
  EXPECT_FALSE(must(state->get(Section::Labels, "lost")));
}

TEST(State, BehavesLikeAMap) {
  Scratch scratch;
  auto database = open_database(scratch);
  auto state = must(State::open(*database));
  std::map<std::string, std::string> committed;
  std::map<std::string, std::string> staged;
  Rng rng(5, 0, Purpose::Test);
  for (int i = 0; i < 5000; ++i) {
    const std::string key = std::to_string(rng.below(200));
    const std::uint64_t what = rng.below(100);
    if (what < 40) {
      staged[key] = std::to_string(rng.next());
      state->put(Section::Nodes, key, staged[key]);
    } else if (what < 60) {
      staged[key] += "+more";
      state->append(Section::Nodes, key, "+more");
    } else if (what < 80) {
      staged.erase(key);
      state->erase(Section::Nodes, key);
    } else if (what < 98) {
      const auto found = must(state->get(Section::Nodes, key));
      EXPECT_EQ(found.has_value(), committed.contains(key));
      if (found) {
        EXPECT_EQ(*found, committed[key]);
      }
    } else if (what == 98) {
      must(state->commit({}));
      committed = staged;
    } else {
      state.reset();
      database.reset();
      database = open_database(scratch);
      state = must(State::open(*database));
      staged = committed;
    }
  }
  EXPECT_EQ(all(*state, Section::Nodes), committed);
}

TEST(State, ScanKeepsToThePrefixAndStops) {
  Scratch scratch;
  const auto database = open_database(scratch);
  const auto state = must(State::open(*database));
  for (const char* key : {"a", "ab", "abc", "b", "\xFF", "\xFF\xFF"}) {
    state->put(Section::Blobs, key, key);
  }
  must(state->commit({}));
  EXPECT_EQ(all(*state, Section::Blobs, "ab").size(), 2u);
  EXPECT_EQ(all(*state, Section::Blobs, "\xFF").size(), 2u);
  EXPECT_EQ(all(*state, Section::Blobs).size(), 6u);
  int visits = 0;
  must(state->scan(Section::Blobs, "",
                   [&](std::string_view, std::string_view) { return ++visits < 3; }));
  EXPECT_EQ(visits, 3);
}

TEST(State, ResetDropsWhatIsDerivedAndKeepsWhatIsNot) {
  Scratch scratch;
  {
    const auto database = open_database(scratch);
    const auto state = must(State::open(*database));
    Log log = must(Log::open(*database));
    const SourceId source = must(log.source("s"));
    LogSlice slice;
    std::string record;
    encode_mark({}, record);
    slice.append({source, 9, true}, record);
    const Log::Advance advance{source, 9};
    must(log.append(slice, {&advance, 1}));
    const auto predictions = must(PredictionLog::open(*database));
    StoredPrediction prediction;
    prediction.header.seq = PredictionSeq{1};
    prediction.topic = "pred/t/1";
    must(predictions->append({&prediction, 1}));
    must(predictions->acknowledge({"reader", 1, PredictionSeq{1}, 5}));
    for (const Section section : kSections)
      state->put(section, "\xFF\xFFkey", "value");
    must(state->commit({}));
    state->put(Section::Blobs, "staged", "goes too");

    must(state->reset(2, 88));
    must(predictions->reset());
    EXPECT_EQ(predictions->end().value, 0u);
    EXPECT_EQ(predictions->oldest().value, 1u);
    must(predictions->append({&prediction, 1}));  // numbers start anew
    EXPECT_EQ(log.end().value, 1u);
  }
  const auto database = open_database(scratch);
  const auto state = must(State::open(*database));
  EXPECT_EQ(state->cursor().epoch, 2u);
  EXPECT_EQ(state->cursor().fingerprint, 88u);
  EXPECT_EQ(state->cursor().folded.value, 0u);
  for (const Section section : kSections)
    EXPECT_TRUE(all(*state, section).empty());
  Log log = must(Log::open(*database));
  EXPECT_EQ(log.end().value, 1u);
  EXPECT_EQ(log.position(must(log.source("s"))), 9u);
  const auto predictions = must(PredictionLog::open(*database));
  EXPECT_EQ(predictions->end().value, 1u);
  EXPECT_TRUE(must(predictions->subscriber("reader")));
}

}  // namespace
}  // namespace accrete::store
