// The prediction log: numbers, repetition, snapshots, pruning and the subscribers that hold it
// back.
#include "store/prediction_log.h"

#include <map>

#include <gtest/gtest.h>

#include "proto/rng.h"
#include "scratch.h"

namespace accrete::store {
namespace {

StoredPrediction prediction(std::uint64_t seq, std::size_t payload_bytes = 50) {
  StoredPrediction out;
  out.header.epoch = 1;
  out.header.seq = PredictionSeq{seq};
  out.header.as_of = TimeUs{static_cast<std::int64_t>(seq) * 10};
  out.header.ordinal = Ordinal{seq * 2};
  out.header.model = seq / 100;
  out.topic = (seq % 3 == 0 ? "pred/churn/" : "pred/sales/") + std::to_string(seq % 7);
  out.payload = std::string(payload_bytes, static_cast<char>('a' + seq % 26));
  return out;
}

void append(PredictionLog& log, std::uint64_t from, std::uint64_t upto) {
  std::vector<StoredPrediction> some;
  for (std::uint64_t seq = from; seq <= upto; ++seq)
    some.push_back(prediction(seq));
  must(log.append(some));
}

void expect_equal(const StoredPrediction& a, const StoredPrediction& b) {
  EXPECT_EQ(a.header.encode(), b.header.encode());
  EXPECT_EQ(a.topic, b.topic);
  EXPECT_EQ(a.payload, b.payload);
}

/// Follow from `from` to the end in pages; checks that no number is missing or twice.
std::uint64_t follow(const PredictionLog& log, PredictionSeq from, std::size_t max,
                     std::string_view prefix) {
  std::uint64_t found = 0;
  std::uint64_t expected = from.value;
  while (from <= log.end()) {
    const PredictionLog::Page page = must(log.read(from, max, 2000, prefix));
    EXPECT_GT(page.next, from);
    EXPECT_LE(page.predictions.size(), max);
    for (const StoredPrediction& p : page.predictions) {
      while (expected < p.header.seq.value) {
        EXPECT_FALSE(prediction(expected++).topic.starts_with(prefix));
      }
      expect_equal(p, prediction(expected++));
      ++found;
    }
    from = page.next;
  }
  return found;
}

class PredictionLogTest : public testing::Test {
 protected:
  void reopen() {
    log_.reset();
    database_.reset();
    database_ = open_database(scratch_);
    log_ = must(PredictionLog::open(*database_));
  }
  void SetUp() override { reopen(); }

  Scratch scratch_;
  std::unique_ptr<Database> database_;
  std::unique_ptr<PredictionLog> log_;
};

TEST_F(PredictionLogTest, ReadsWhatWasAppendedInPagesOfAnySize) {
  EXPECT_EQ(log_->end().value, 0u);
  EXPECT_EQ(log_->oldest().value, 1u);
  append(*log_, 1, 70);
  reopen();
  append(*log_, 71, 200);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(log_->end().value, 200u);
    EXPECT_EQ(log_->oldest().value, 1u);
    for (const std::size_t max : {1u, 7u, 1000u}) {
      EXPECT_EQ(follow(*log_, PredictionSeq{1}, max, ""), 200u);
      EXPECT_EQ(follow(*log_, PredictionSeq{1}, max, "pred/churn/"), 66u);
      EXPECT_EQ(follow(*log_, PredictionSeq{150}, max, "pred/"), 51u);
      EXPECT_EQ(follow(*log_, PredictionSeq{1}, max, "none"), 0u);
    }
    EXPECT_TRUE(must(log_->read(PredictionSeq{201}, 10, 1000, "")).predictions.empty());
    reopen();
  }
}

TEST_F(PredictionLogTest, RepeatedNumbersMustBeTheSame) {
  append(*log_, 1, 20);
  const std::uint64_t bytes = log_->bytes();
  append(*log_, 5, 20);
  EXPECT_EQ(log_->end().value, 20u);
  EXPECT_EQ(log_->bytes(), bytes);
  append(*log_, 15, 30);  // some repeated, some new
  EXPECT_EQ(follow(*log_, PredictionSeq{1}, 100, ""), 30u);

  for (int field = 0; field < 3; ++field) {
    StoredPrediction different = prediction(11);
    if (field == 0) different.payload.back() = '!';
    if (field == 1) different.topic += "x";
    if (field == 2) different.header.model += 1;
    const std::vector<StoredPrediction> again = {prediction(10), different};
    const Status refused = log_->append(again);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::Corruption);
    EXPECT_NE(refused.error().detail.find("prediction 11 "), std::string::npos);
  }
  const StoredPrediction beyond = prediction(32);
  EXPECT_FALSE(log_->append({&beyond, 1}));
  const std::vector<StoredPrediction> torn = {prediction(31), prediction(33)};
  EXPECT_FALSE(log_->append(torn));
  EXPECT_EQ(log_->end().value, 30u);
}

TEST_F(PredictionLogTest, SnapshotHasTheNewestOfEveryTopic) {
  EXPECT_EQ(must(log_->snapshot("", [](const StoredPrediction&) { return true; })).value, 0u);
  append(*log_, 1, 100);
  append(*log_, 101, 150);
  must(log_->prune(1, kTimeMin, 0));  // the newest of a topic outlives its place in the log
  for (const std::string prefix : {"", "pred/churn/", "pred/sales/3", "none"}) {
    std::map<std::string, std::uint64_t> newest;
    for (std::uint64_t seq = 1; seq <= 150; ++seq) {
      if (prediction(seq).topic.starts_with(prefix)) newest[prediction(seq).topic] = seq;
    }
    std::vector<std::pair<const std::string, std::uint64_t>> seen;
    const PredictionSeq moment = must(log_->snapshot(prefix, [&](const StoredPrediction& p) {
      // What is appended during a snapshot is not in it.
      if (seen.empty()) append(*log_, log_->end().value + 1, log_->end().value + 10);
      expect_equal(p, prediction(p.header.seq.value));
      seen.emplace_back(p.topic, p.header.seq.value);
      return true;
    }));
    if (prefix.empty()) {
      EXPECT_EQ(moment.value, 150u);
      EXPECT_TRUE(std::equal(seen.begin(), seen.end(), newest.begin(), newest.end()));
    }
    EXPECT_EQ(seen.size(), newest.size());
  }
  int visits = 0;
  must(log_->snapshot("", [&](const StoredPrediction&) { return ++visits < 2; }));
  EXPECT_EQ(visits, 2);
}

TEST_F(PredictionLogTest, PruningBySizeAndAge) {
  append(*log_, 1, 1000);
  const std::uint64_t bytes = log_->bytes();
  EXPECT_EQ(must(log_->prune(bytes, kTimeMin, 0)).predictions, 0u);
  EXPECT_EQ(must(log_->prune(0, kTimeMin, 0)).predictions, 0u);
  EXPECT_EQ(must(log_->prune(0, TimeUs{1005}, 0)).predictions, 100u);  // as_of = 10 * seq
  EXPECT_EQ(log_->oldest().value, 101u);
  EXPECT_LT(log_->bytes(), bytes);
  const std::uint64_t bound = log_->bytes() / 2;
  EXPECT_GT(must(log_->prune(bound, kTimeMin, 0)).predictions, 400u);
  EXPECT_LE(log_->bytes(), bound);
  EXPECT_GT(log_->bytes() + prediction(1).payload.size() * 3, bound);
  const std::uint64_t oldest = log_->oldest().value;

  for (int i = 0; i < 2; ++i) {
    const auto gone = log_->read(PredictionSeq{oldest - 1}, 10, 1000, "");
    ASSERT_FALSE(gone);
    EXPECT_EQ(gone.error().code, Errc::NotFound);
    EXPECT_EQ(follow(*log_, PredictionSeq{oldest}, 64, ""), 1001 - oldest);
    const std::uint64_t before = log_->bytes();
    reopen();
    EXPECT_EQ(log_->oldest().value, oldest);
    EXPECT_EQ(log_->bytes(), before);
  }
  append(*log_, oldest - 5, 1000);  // pruned numbers are taken on trust

  EXPECT_GT(must(log_->prune(1, kTimeMax, 0)).predictions, 0u);
  EXPECT_EQ(log_->oldest().value, 1001u);
  EXPECT_EQ(log_->bytes(), 0u);
  reopen();
  EXPECT_EQ(log_->end().value, 1000u);
  EXPECT_EQ(log_->oldest().value, 1001u);
  append(*log_, 1001, 1010);
  EXPECT_EQ(follow(*log_, PredictionSeq{1001}, 64, ""), 10u);
}

TEST_F(PredictionLogTest, SubscribersHoldPruningBackUntilTheyExpire) {
  append(*log_, 1, 100);
  must(log_->acknowledge({"slow", 1, PredictionSeq{20}, 1000}));
  must(log_->acknowledge({"fast", 1, PredictionSeq{90}, 2000}));
  must(log_->acknowledge({"of another epoch", 7, PredictionSeq{1}, 2000}));
  EXPECT_TRUE(must(log_->prune(1, kTimeMin, 500)).dropped_subscribers.empty());
  EXPECT_EQ(log_->oldest().value, 21u);
  reopen();
  const std::optional<Subscriber> slow = must(log_->subscriber("slow"));
  ASSERT_TRUE(slow);
  EXPECT_EQ(slow->seq.value, 20u);
  EXPECT_EQ(slow->seen_us, 1000);
  must(log_->acknowledge({"slow", 1, PredictionSeq{30}, 1000}));
  must(log_->prune(1, kTimeMin, 500));
  EXPECT_EQ(log_->oldest().value, 31u);

  const PredictionLog::Pruned pruned = must(log_->prune(1, kTimeMin, 1001));
  EXPECT_EQ(pruned.dropped_subscribers, std::vector<std::string>{"slow"});
  EXPECT_EQ(log_->oldest().value, 91u);
  EXPECT_FALSE(must(log_->subscriber("slow")));
  EXPECT_EQ(must(log_->subscribers()).size(), 2u);

  must(log_->prune(1, kTimeMin, 3000));  // they expire whether or not there is something to prune
  EXPECT_TRUE(must(log_->subscribers()).empty());
  must(log_->prune(1, kTimeMax, 0));
  must(log_->acknowledge({"late", 1, PredictionSeq{100}, 10}));
  EXPECT_EQ(must(log_->prune(1, kTimeMin, 11)).dropped_subscribers.size(), 1u);
}

TEST_F(PredictionLogTest, RandomOperationsAgreeWithAList) {
  Rng rng(9, 0, Purpose::Test);
  std::uint64_t end = 0;
  std::uint64_t oldest = 1;
  for (int i = 0; i < 400; ++i) {
    const std::uint64_t what = rng.below(10);
    if (what < 6) {
      const std::uint64_t back = rng.below(std::min<std::uint64_t>(end, 5) + 1);
      const std::uint64_t upto = end + rng.below(40);
      if (upto > end - back) append(*log_, end - back + 1, upto);
      end = std::max(end, upto);
    } else if (what < 8 && end > 0) {
      const std::uint64_t keep_from = oldest + rng.below(end - oldest + 2);
      must(log_->prune(0, TimeUs{static_cast<std::int64_t>(keep_from) * 10}, 0));
      oldest = std::max(oldest, keep_from);
    } else if (what == 8) {
      reopen();
    } else {
      EXPECT_EQ(follow(*log_, PredictionSeq{oldest}, 1 + rng.below(50), ""), end + 1 - oldest);
    }
    ASSERT_EQ(log_->end().value, end);
    ASSERT_EQ(log_->oldest().value, oldest);
    std::uint64_t bytes = 0;
    for (std::uint64_t seq = oldest; seq <= end; ++seq) {
      bytes += PredictionHeader::bytes + 1 + prediction(seq).topic.size() + 50;
    }
    ASSERT_EQ(log_->bytes(), bytes);
  }
}

}  // namespace
}  // namespace accrete::store
