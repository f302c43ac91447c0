// Alarms and news of experts on the prediction socket: heard by who asks for them, no disturbance
// to anybody else.
#include <array>

#include "proto/drift_alarm.h"
#include "proto/expert_news.h"
#include "tests/stream/publish_fixture.h"

namespace accrete::stream {
namespace {

using std::chrono::seconds;

Outgoing alarm_row(const std::string& task, std::uint64_t count, std::uint64_t seq) {
  DriftAlarm alarm;
  alarm.task = task;
  alarm.count = count;
  alarm.before = 0.5;
  alarm.after = 1.5;
  alarm.seq = PredictionSeq{seq};
  Outgoing row;
  row.topic = drift_topic(task);
  row.header = drift_header(alarm, 1);
  encode_drift_alarm(alarm, row.payload);
  return row;
}

Outgoing news_row(const std::string& task, std::uint64_t count, std::uint64_t seq) {
  ExpertNews news;
  news.task = task;
  news.count = count;
  news.parents = {0, 1};
  news.seq = PredictionSeq{seq};
  Outgoing row;
  row.topic = expert_news_topic(task);
  row.header = expert_news_header(news, 1);
  encode_expert_news(news, row.payload);
  return row;
}

std::unique_ptr<AlarmSubscriber> listen(const Daemon& daemon, const std::string& task,
                                        Told told = Told::Drift) {
  AlarmSubscriberOptions options;
  options.told = told;
  options.predictions = daemon.predictions();
  options.task = task;
  auto opened = AlarmSubscriber::open(options);
  EXPECT_TRUE(opened) << opened.error().detail;
  return opened ? std::move(opened).value() : nullptr;
}

/// The next one but those of await_alarms().
DriftAlarm next_alarm(AlarmSubscriber& subscriber) {
  for (;;) {
    const auto next = subscriber.next(seconds(30));
    EXPECT_TRUE(next && next.value());
    if (!next || !next.value()) return {};
    EXPECT_NE(next.value()->header.flags & PredictionHeader::flag_alarm, 0);
    const auto alarm = decode_drift_alarm(next.value()->payload);
    EXPECT_TRUE(alarm);
    if (!alarm || alarm.value().count > 0) return alarm ? alarm.value() : DriftAlarm{};
  }
}

/// Alarms without a count go out until one is heard: the subscription has arrived at the daemon.
void await_alarms(Daemon& daemon, AlarmSubscriber& subscriber, const std::string& task) {
  for (int round = 0; round < 3000; ++round) {
    daemon.send({alarm_row(task, 0, 0)});
    const auto next = subscriber.next(std::chrono::milliseconds(10));
    ASSERT_TRUE(next);
    if (next.value()) return;
  }
  FAIL() << "nothing heard of " << task;
}

TEST(AlarmTest, GoesToWhoAskedForItsTask) {
  MemorySource source;
  Daemon daemon(source);
  const auto all = listen(daemon, "");
  const auto late = listen(daemon, "late");  // "late-2" begins with it and is another task
  await_alarms(daemon, *all, "late");
  await_alarms(daemon, *late, "late");
  daemon.send({alarm_row("churn", 1, 0)});
  daemon.send({alarm_row("late-2", 1, 0)});
  daemon.send({alarm_row("late", 7, 0)});
  EXPECT_EQ(next_alarm(*all).task, "churn");
  EXPECT_EQ(next_alarm(*all).task, "late-2");
  EXPECT_EQ(next_alarm(*all).count, 7u);
  EXPECT_EQ(next_alarm(*late).count, 7u);
  const auto nothing = late->next(std::chrono::milliseconds(1));
  ASSERT_TRUE(nothing);
  EXPECT_FALSE(nothing.value());
}

TEST(AlarmTest, NewsOfExpertsGoToWhoAskedForThem) {
  MemorySource source;
  Daemon daemon(source);
  const auto alarms = listen(daemon, "late");
  const auto news = listen(daemon, "late", Told::Experts);
  await_alarms(daemon, *alarms, "late");
  // News without a count go out until one is heard.
  std::optional<Delivered> heard;
  for (int round = 0; round < 3000 && !heard; ++round) {
    daemon.send({news_row("late", 0, 0)});
    const auto next = news->next(std::chrono::milliseconds(10));
    ASSERT_TRUE(next);
    heard = next.value();
  }
  ASSERT_TRUE(heard) << "nothing heard";
  daemon.send({news_row("late-2", 4, 0), news_row("late", 5, 0), alarm_row("late", 6, 0)});
  std::uint64_t count = 0;
  while (count == 0) {
    const auto next = news->next(seconds(30));
    ASSERT_TRUE(next && next.value());
    EXPECT_EQ(next.value()->header.flags,
              PredictionHeader::flag_progress | PredictionHeader::flag_experts);
    EXPECT_EQ(next.value()->topic, "experts/late");
    const auto told = decode_expert_news(next.value()->payload);
    ASSERT_TRUE(told) << told.error().detail;
    EXPECT_EQ(told.value().parents, (std::vector<std::uint32_t>{0, 1}));
    count = told.value().count;
  }
  EXPECT_EQ(count, 5u);
  EXPECT_EQ(next_alarm(*alarms).count, 6u) << "and no news among the alarms";
}

TEST(AlarmTest, DisturbsNoSubscriberOfPredictions) {
  MemorySource source;
  // Nobody reads before all is sent: the pipes hold it, in every form.
  Daemon daemon(source, 100'000);
  const auto everything = open_subscriber(daemon.subscriber(""));
  const auto predictions = open_subscriber(daemon.subscriber());
  await_live(daemon, source, {{*everything, ""}, {*predictions, "pred/"}});
  const auto gaps = [&] { return everything->counters().gaps + predictions->counters().gaps; };
  const std::uint64_t gaps_before = gaps();
  const std::uint64_t begin = source.end().value;
  auto created = Socket::create(daemon.context(), SocketKind::Sub, daemon.predictions());
  ASSERT_TRUE(created);
  Socket& plain = created.value();
  ASSERT_TRUE(plain.subscribe("json/drift/late"));
  ASSERT_TRUE(plain.subscribe("json/experts/late"));
  ASSERT_TRUE(plain.subscribe("progress/"));
  ASSERT_TRUE(plain.connect());
  std::vector<Frame> frames;
  std::array<Waiting, 1> items{};
  items[0].socket = &plain;
  const auto receive = [&](std::string_view topic) {
    for (int i = 0; i < 100'000; ++i) {
      const auto received = plain.receive(frames);
      ASSERT_TRUE(received);
      if (received.value() && frames.front().view() == topic) return;
      if (!received.value()) {
        ASSERT_TRUE(wait(items, seconds(1)));
      }
    }
    FAIL() << "no " << topic;
  };
  receive("progress/");  // the subscriptions have arrived
  for (std::uint64_t round = 1; round <= 10; ++round) {
    daemon.publish(50, 7);
    daemon.send({alarm_row("late", round, begin + 50 * round)});
    daemon.send({news_row("late", round, begin + 50 * round)});
  }
  std::vector<std::uint64_t> numbers;
  for (std::uint64_t seq = begin + 1; seq <= begin + 500; ++seq)
    numbers.push_back(seq);
  EXPECT_EQ(take(*everything, 500), numbers);
  EXPECT_EQ(take(*predictions, 500), numbers);
  EXPECT_EQ(gaps(), gaps_before);
  receive("json/drift/late");
  ASSERT_EQ(frames.size(), 3u);
  EXPECT_EQ(frames[2].view(), drift_alarm_json(alarm_row("late", 1, begin + 50).payload).value());
  receive("json/experts/late");
  ASSERT_EQ(frames.size(), 3u);
  EXPECT_EQ(frames[2].view(), expert_news_json(news_row("late", 1, begin + 50).payload).value());
  daemon.stop();
  EXPECT_EQ(daemon.counters.published, begin + 500);
  EXPECT_EQ(daemon.counters.alarms, 10u);
  EXPECT_EQ(daemon.counters.expert_news, 10u);
}

}  // namespace
}  // namespace accrete::stream
