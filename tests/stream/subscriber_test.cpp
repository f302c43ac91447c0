// The subscriber against a real publish server over tcp: complete, in order, never twice.
#include <numeric>

#include <stream.pb.h>

#include "proto/rng.h"
#include "tests/stream/publish_fixture.h"

namespace accrete::stream {
namespace {

using std::chrono::milliseconds;

std::vector<std::uint64_t> range(std::uint64_t from, std::uint64_t to) {
  std::vector<std::uint64_t> numbers(to - from + 1);
  std::iota(numbers.begin(), numbers.end(), from);
  return numbers;
}

TEST(SubscriberTest, SlowJoinerGetsTheWholePastThenTheLiveStream) {
  constexpr std::uint64_t past = 200'000;
  MemorySource source;
  Daemon daemon(source);
  daemon.publish(past);
  SubscriberOptions options = daemon.subscriber();
  options.from = 1;
  const auto subscriber = open_subscriber(options);
  const Instant begin = now();
  EXPECT_EQ(take(*subscriber, past), range(1, past));
  const double seconds = std::chrono::duration<double>(now() - begin).count();
  RecordProperty("replayed_per_s", std::to_string(static_cast<double>(past) / seconds));
  daemon.publish(500, 1);
  EXPECT_EQ(take(*subscriber, 500), range(past + 1, past + 500));
  EXPECT_GE(subscriber->counters().replayed + subscriber->counters().live, past + 500);
  EXPECT_GT(subscriber->counters().live, 0u);
  EXPECT_EQ(subscriber->counters().gaps, 0u);
  EXPECT_EQ(subscriber->newest().value, past + 500);
}

TEST(SubscriberTest, DeliversWhatWasPublishedUnchanged) {
  MemorySource source;
  Daemon daemon(source);
  const auto rows = source.append(3);
  daemon.send({rows[0], rows[1]});
  SubscriberOptions options = daemon.subscriber();
  options.from = 1;
  const auto subscriber = open_subscriber(options);
  daemon.send({rows[2]});
  for (const Outgoing& row : rows) {
    const auto next = subscriber->next(std::chrono::seconds(30));
    ASSERT_TRUE(next && next.value());
    EXPECT_EQ(next.value()->topic, row.topic);
    EXPECT_EQ(next.value()->payload, row.payload);
    EXPECT_EQ(next.value()->header.as_of, row.header.as_of);
    EXPECT_EQ(next.value()->header.ordinal, row.header.ordinal);
  }
}

TEST(SubscriberTest, SlowSubscriberLosesLiveFramesAndNothingElse) {
  constexpr std::uint64_t burst = 200'000;
  for (const std::string topic : {"pred/", "pred/late/", "pred/late/5", ""}) {
    SCOPED_TRACE(topic);
    MemorySource source;
    Daemon daemon(source, 4);
    const auto subscriber = open_subscriber(daemon.subscriber(topic));
    // The pipe cannot hold the burst; stop() returns once all of it was published.
    daemon.publish(burst);
    daemon.stop();
    EXPECT_EQ(daemon.counters.published, burst);
    daemon.start();
    daemon.publish(100);
    const auto wanted = source.numbers(topic);
    EXPECT_EQ(take(*subscriber, wanted.size()), wanted);
    EXPECT_GT(subscriber->counters().replayed, 0u);
    if (topic == "pred/") {
      EXPECT_GT(subscriber->counters().gaps, 0u);
    }
    const auto rest = subscriber->next(milliseconds(0));
    EXPECT_TRUE(rest && !rest.value());
  }
}

TEST(SubscriberTest, LossAtTheEndOfABurstIsFoundWithoutFurtherPredictions) {
  MemorySource source;
  Daemon daemon(source, 1);
  const auto subscriber = open_subscriber(daemon.subscriber("pred/churn/"));
  daemon.publish(100'000);
  const auto wanted = source.numbers("pred/churn/");
  EXPECT_EQ(take(*subscriber, wanted.size()), wanted);
  EXPECT_GT(subscriber->counters().gaps, 0u);
}

TEST(SubscriberTest, FiltersSeeTheirTopicsOnlyAndNeedNoReplayForTheHoles) {
  MemorySource source;
  Daemon daemon(source);
  for (const std::string topic : {"pred/spend/", "pred/spend/11", "pred/"}) {
    SCOPED_TRACE(topic);
    const auto subscriber = open_subscriber(daemon.subscriber(topic));
    await_live(daemon, source, {{*subscriber, topic}});
    const auto before = subscriber->counters();
    const std::uint64_t begin = source.end().value + 1;
    for (int i = 0; i < 20; ++i) {
      daemon.publish(300, 7);
      const auto wanted = source.numbers(topic, begin + 300 * static_cast<std::uint64_t>(i));
      EXPECT_EQ(take(*subscriber, wanted.size()), wanted);
    }
    EXPECT_EQ(subscriber->counters().gaps, before.gaps);
    EXPECT_EQ(subscriber->counters().replayed, before.replayed);
  }
}

TEST(SubscriberTest, NamedSubscriberResumesExactlyAfterWhatItAcknowledged) {
  constexpr std::uint64_t total = 30'000;
  for (const std::string topic : {"pred/", "pred/late/"}) {
    SCOPED_TRACE(topic);
    MemorySource source;
    Daemon daemon(source, 16);
    SubscriberOptions options = daemon.subscriber(topic);
    options.name = "warehouse";
    // New names begin now, and keep that place though nothing is acknowledged.
    open_subscriber(options).reset();
    std::thread publisher([&] { daemon.publish(total, 50); });
    Rng rng(7, 0, Purpose::Test);
    std::vector<std::uint64_t> done;
    // At most 1500 of our topic at a time, of which there are always more to come.
    while (done.empty() || done.back() + 6000 < total) {
      const auto subscriber = open_subscriber(options);
      ASSERT_NE(subscriber, nullptr);
      const auto taken = take(*subscriber, 1 + rng.below(1500));
      const std::size_t keep = rng.below(taken.size() + 1);
      if (keep == 0) continue;
      done.insert(done.end(), taken.begin(), taken.begin() + static_cast<std::ptrdiff_t>(keep));
      ASSERT_TRUE(subscriber->acknowledge(PredictionSeq{done.back()}));
    }
    publisher.join();
    const auto subscriber = open_subscriber(options);
    const auto rest = source.numbers(topic, done.back() + 1);
    const auto taken = take(*subscriber, rest.size());
    done.insert(done.end(), taken.begin(), taken.end());
    EXPECT_EQ(done, source.numbers(topic));
  }
}

TEST(SubscriberTest, PlaceAdvancesOverOtherTopicsToo) {
  MemorySource source;
  Daemon daemon(source);
  SubscriberOptions options = daemon.subscriber("pred/no_such_task/");
  options.name = "quiet";
  const auto subscriber = open_subscriber(options);
  daemon.publish(5000, 100);
  while (subscriber->complete().value < 5000) {
    const auto next = subscriber->next(milliseconds(100));
    ASSERT_TRUE(next && !next.value());
  }
  ASSERT_TRUE(subscriber->acknowledge(subscriber->complete()));
  EXPECT_EQ(source.subscriber("quiet").value().second.value, 5000u);
}

TEST(SubscriberTest, DaemonRestartsInTheMiddleOnTheSamePorts) {
  MemorySource source;
  Daemon daemon(source, 64);
  SubscriberOptions options = daemon.subscriber("pred/churn/");
  options.from = 1;
  options.stall_timeout = milliseconds(2000);
  daemon.publish(40'000);
  const auto subscriber = open_subscriber(options);
  std::vector<std::uint64_t> taken = take(*subscriber, 1000);
  for (int i = 0; i < 3; ++i) {
    daemon.stop();
    daemon.start();
    daemon.publish(20'000);
    const auto more = take(*subscriber, 5000);
    taken.insert(taken.end(), more.begin(), more.end());
  }
  const auto wanted = source.numbers("pred/churn/");
  const auto rest = take(*subscriber, wanted.size() - taken.size());
  taken.insert(taken.end(), rest.begin(), rest.end());
  EXPECT_EQ(taken, wanted);
}

TEST(SubscriberTest, SilenceMakesItConnectAnewAndResume) {
  MemorySource source;
  Daemon daemon(source);
  SubscriberOptions options = daemon.subscriber();
  options.stall_timeout = milliseconds(200);
  const auto subscriber = open_subscriber(options);
  daemon.publish(10);
  EXPECT_EQ(take(*subscriber, 10), range(1, 10));
  daemon.stop();
  const auto nothing = subscriber->next(milliseconds(700));
  ASSERT_TRUE(nothing && !nothing.value());
  EXPECT_GE(subscriber->counters().reconnects, 2u);
  daemon.start();
  daemon.publish(10);
  EXPECT_EQ(take(*subscriber, 10), range(11, 20));
}

TEST(SubscriberTest, PrunedNumbersAreToldNeverSkipped) {
  MemorySource source;
  Daemon daemon(source);
  daemon.publish(1000);
  daemon.flush();  // who comes now has to ask the log
  source.prune(600);
  SubscriberOptions options = daemon.subscriber();
  options.from = 500;
  const auto subscriber = open_subscriber(options);
  for (int i = 0; i < 2; ++i) {
    const auto error = first_error(*subscriber);
    ASSERT_TRUE(error);
    EXPECT_EQ(error->code, Errc::NotFound);
    EXPECT_EQ(error->detail,
              "GONE: number 500 was pruned; the oldest is 601; call restart(601) to go on there");
  }
  ASSERT_TRUE(subscriber->restart(601));
  EXPECT_EQ(take(*subscriber, 400), range(601, 1000));
}

TEST(SubscriberTest, NewEpochIsToldAndRestartGoesOnThere) {
  for (const bool live : {true, false}) {
    SCOPED_TRACE(live);
    MemorySource source;
    Daemon daemon(source);
    SubscriberOptions options = daemon.subscriber();
    options.name = "epochs";
    auto subscriber = open_subscriber(options);
    daemon.publish(100);
    EXPECT_EQ(take(*subscriber, 100), range(1, 100));
    ASSERT_TRUE(subscriber->acknowledge(PredictionSeq{100}));
    if (!live) subscriber.reset();
    daemon.stop();
    source.begin_epoch(2);
    daemon.start();
    daemon.publish(50);
    if (!live) subscriber = open_subscriber(options);
    const auto error = first_error(*subscriber);
    ASSERT_TRUE(error);
    EXPECT_EQ(error->code, Errc::Gap);
    EXPECT_EQ(error->detail,
              "new epoch 2: the daemon began its numbers again (ours was epoch 1); call restart()");
    ASSERT_TRUE(subscriber->restart(1));
    EXPECT_EQ(subscriber->epoch(), 2u);
    EXPECT_EQ(take(*subscriber, 50), range(1, 50));
  }
}

TEST(SubscriberTest, SnapshotThenLive) {
  MemorySource source;
  Daemon daemon(source);
  daemon.publish(20'000);
  std::map<std::string, std::uint64_t> newest;
  {
    std::vector<Outgoing> rows;
    PredictionSeq next;
    ASSERT_TRUE(source.read(PredictionSeq{1}, 20'000, "pred/late/", rows, next));
    for (const Outgoing& row : rows)
      newest[row.topic] = row.header.seq.value;
  }
  SubscriberOptions options = daemon.subscriber("pred/late/");
  options.snapshot = true;
  const auto subscriber = open_subscriber(options);
  std::map<std::string, std::uint64_t> seen;
  std::uint64_t last = 0;
  for (std::size_t i = 0; i < newest.size(); ++i) {
    const auto next = subscriber->next(std::chrono::seconds(30));
    ASSERT_TRUE(next && next.value());
    EXPECT_GT(next.value()->header.seq.value, last);
    last = next.value()->header.seq.value;
    seen[next.value()->topic] = last;
  }
  EXPECT_EQ(seen, newest);
  EXPECT_EQ(seen.size(), 97u);
  daemon.publish(300);
  const auto wanted = source.numbers("pred/late/", 20'001);
  EXPECT_EQ(take(*subscriber, wanted.size()), wanted);
}

TEST(SubscriberTest, RefusesWhatCannotWork) {
  MemorySource source;
  std::string nobody;
  {
    Daemon daemon(source);
    SubscriberOptions json = daemon.subscriber("json/pred/");
    const auto refused = Subscriber::open(json);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::Malformed);
    const auto nameless = open_subscriber(daemon.subscriber());
    EXPECT_EQ(nameless->acknowledge(PredictionSeq{1}).error().code, Errc::Malformed);
    SubscriberOptions named = daemon.subscriber();
    named.name = "early";
    const auto early = open_subscriber(named);
    const auto ahead = early->acknowledge(PredictionSeq{5});
    ASSERT_FALSE(ahead);
    EXPECT_EQ(ahead.error().code, Errc::Malformed);
    EXPECT_EQ(ahead.error().detail,
              "subscriber \"early\" acknowledges 5, but the newest number is 0");
    nobody = daemon.predictions().address;
  }
  SubscriberOptions options;
  options.predictions.address = options.replay.address = nobody;
  options.stall_timeout = milliseconds(100);
  const auto alone = Subscriber::open(options);
  ASSERT_FALSE(alone);
  EXPECT_EQ(alone.error().code, Errc::Unavailable);
  EXPECT_EQ(alone.error().detail, "no answer from " + nobody + " in 100 ms; is accreted running?");
}

TEST(SubscriberTest, FaultsOfTheLogReachTheSubscriber) {
  MemorySource source;
  Daemon daemon(source);
  SubscriberOptions options = daemon.subscriber();
  options.from = 1;
  daemon.publish(10);
  daemon.flush();  // who comes now has to ask the log
  source.fail_reads();
  const auto subscriber = open_subscriber(options);
  const auto error = first_error(*subscriber);
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code, Errc::Corruption);
  EXPECT_EQ(error->detail, "block 7 does not match its checksum");
}

}  // namespace
}  // namespace accrete::stream
