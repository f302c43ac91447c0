// Drift: what the detectors are told, which alarms they raise, that alarms and state survive
// everything, and that the live sink tells none twice that it can know of.
#include "daemon/drift_watch.h"

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "daemon/live_sink.h"
#include "tests/daemon/fold_world.h"

namespace accrete::daemon {
namespace {

/// A number as a regression's error against the label 0.
void grade(DriftWatch& watch, double loss) {
  watch.grade(TaskKind::Regression, {loss, 0, {}}, 0);
}

/// Complete what was raised, as the fold does.
std::vector<DriftAlarm> take(DriftWatch& watch) {
  std::vector<DriftAlarm> taken;
  const Status told = watch.tell([&](DriftAlarm& alarm) -> Status {
    alarm.task = "t";
    taken.push_back(alarm);
    return Ok{};
  });
  EXPECT_TRUE(told);
  return taken;
}

std::string saved(const DriftWatch& watch) {
  std::string bytes;
  watch.save(bytes);
  return bytes;
}

TEST(DriftWatch, RowsOfOneInstantAreOneNumber) {
  // Every instant has a level of its own, as days have: told row by row, such a stream would be one
  // change after another. Ten times as many rows say nothing new.
  for (const int rows : {20, 200}) {
    DriftWatch watch;
    models::Adwin naive;
    std::uint64_t naive_alarms = 0;
    for (std::uint64_t instant = 0; instant < 400; ++instant) {
      Rng rng(7, instant, Purpose::Test);
      const double level = rng.uniform();
      for (int row = 0; row < rows; ++row) {
        const double loss = level + 0.1 * rng.uniform();
        grade(watch, loss);
        if (naive.add(loss)) ++naive_alarms;
      }
      watch.settle(day(static_cast<double>(instant)), 0);
    }
    EXPECT_TRUE(take(watch).empty());
    EXPECT_GT(naive_alarms, 20U);
  }
}

TEST(DriftWatch, ARiseIsAnAlarmOfBothDetectorsAndAFallIsNone) {
  DriftWatch watch;
  std::vector<DriftAlarm> alarms;
  for (std::uint64_t i = 0; i < 1500; ++i) {
    Rng rng(8, i, Purpose::Test);
    const double level = i < 500 ? 3 : i < 1000 ? 1 : 2;
    grade(watch, level + rng.uniform());
    watch.settle(day(static_cast<double>(i)), i);
    for (const DriftAlarm& alarm : take(watch)) {
      EXPECT_GT(i, 1000U);
      EXPECT_LT(i, 1100U);
      EXPECT_EQ(alarm.as_of, day(static_cast<double>(i)));
      EXPECT_EQ(alarm.model, i);
      EXPECT_NEAR(alarm.before, 1.5, 0.3);
      EXPECT_NEAR(alarm.after, 2.5, 0.5);
      EXPECT_EQ(alarm.count, 1U);
      alarms.push_back(alarm);
    }
  }
  ASSERT_EQ(alarms.size(), 2U);
  EXPECT_NE(alarms[0].detector, alarms[1].detector);
  EXPECT_EQ(watch.alarms(), alarms);
  EXPECT_EQ(*watch.newest(DriftDetector::PageHinkley),
            alarms[alarms[0].detector == DriftDetector::PageHinkley ? 0 : 1]);
  EXPECT_EQ(watch.count(DriftDetector::Adwin), 1U);
}

TEST(DriftWatch, LossesThatAreNoNumbersAreLeftOut) {
  DriftWatch watch;
  DriftWatch other;
  for (std::uint64_t i = 0; i < 100; ++i) {
    Rng rng(9, i, Purpose::Test);
    const double loss = rng.uniform();
    grade(watch, loss);
    grade(other, loss);
    grade(other, std::nan(""));
    grade(other, std::numeric_limits<double>::infinity());
    grade(other, 1e200);
    other.grade(TaskKind::Multiclass, {}, 3);  // no class was known yet
    watch.settle(day(1), i);
    other.settle(day(1), i);
    other.settle(day(1), i);  // nothing graded: no instant
  }
  EXPECT_EQ(saved(watch), saved(other));
}

TEST(DriftWatch, KeepsTheNewestAlarmsAndContinuesBitForBit) {
  DriftWatch watch;
  DriftWatch copy;
  std::size_t alarms = 0;
  for (std::uint64_t i = 0; i < 40'000; ++i) {
    Rng rng(10, i, Purpose::Test);
    const double loss = rng.uniform() + static_cast<double>(i / 250 % 2) * 4;
    for (DriftWatch* each : {&watch, &copy}) {
      grade(*each, loss);
      each->settle(day(static_cast<double>(i)), i);
    }
    alarms += take(watch).size();
    take(copy);
    if (i % 997 != 0) continue;
    const std::string bytes = saved(copy);
    for (std::size_t size = 0; size < bytes.size(); size += 1 + bytes.size() / 50) {
      EXPECT_FALSE(copy.load_bytes(std::string_view(bytes).substr(0, size)));
    }
    EXPECT_EQ(saved(copy), bytes) << "a refused load changes nothing";
    DriftWatch fresh;
    ASSERT_TRUE(fresh.load_bytes(bytes));
    copy = fresh;
    EXPECT_EQ(saved(copy), bytes);
  }
  EXPECT_EQ(saved(watch), saved(copy));
  EXPECT_GT(alarms, limits::drift_alarms_max);
  EXPECT_EQ(watch.alarms().size(), limits::drift_alarms_max);
  EXPECT_EQ(watch.count(DriftDetector::Adwin) + watch.count(DriftDetector::PageHinkley), alarms);
}

constexpr const char* kFlipConfig = R"(
[[table]]
name = "events"
key = "id"
time = "at"
columns = { kind = "category" }

[[task]]
name = "kind"
predict = "PREDICT events.kind FOR EACH events.id"
)";

constexpr std::size_t kFlip = 1200;

/// The kind follows from x with a little noise; from row kFlip on it is the other one, if `flips`.
std::vector<Transaction> events(bool flips) {
  const Layout layout{"events", {"id", "x", "kind", "at"}};
  std::vector<Transaction> stream{{1, {layout_record(layout)}}};
  for (std::size_t i = 0; i < 1600; ++i) {
    Rng rng(11, i, Purpose::Test);
    const double x = rng.uniform();
    const bool wrong = rng.below(20) == 0;
    const bool high = (x > 0.5) != (wrong != (flips && i >= kFlip));
    stream.push_back({i + 2,
                      {change_record(layout, Op::Insert,
                                     {Value::of_integer(static_cast<std::int64_t>(i)),
                                      Value::of_real(x), Value::of_text(high ? "high" : "low"),
                                      Value::of_time(day(0.01 * static_cast<double>(i)))})}});
  }
  return stream;
}

Config parsed(const char* text) {
  auto config = parse_config(text, "test.toml");
  EXPECT_TRUE(config) << config.error().detail;
  return std::move(config).value();
}

TEST(Drift, ARowTaskWhoseWorldChangesRaisesAlarmsAndOneWhoseDoesNotNone) {
  const Config config = parsed(kFlipConfig);
  World quiet(config);
  quiet.feed(events(false));
  EXPECT_TRUE(quiet.sink->alarms.empty());
  World changed(config);
  changed.feed(events(true));
  ASSERT_GE(changed.sink->alarms.size(), 1U);
  for (const DriftAlarm& alarm : changed.sink->alarms) {
    EXPECT_EQ(alarm.task, "kind");
    EXPECT_GE(alarm.as_of, day(0.01 * kFlip));
    EXPECT_GT(alarm.after, alarm.before);
  }
  EXPECT_LE(changed.sink->alarms.front().as_of, day(0.01 * (kFlip + 100)));
}

TEST(Drift, AlarmsAndStateAreTheSameForAnyGroupingAndAcrossCrashes) {
  const Config config = parsed(kFlipConfig);
  const auto stream = events(true);
  World whole(config);
  whole.feed(stream);
  const DriftWatch& expected = whole.fold().find_task("kind")->drift();
  FoldOptions options;
  options.checkpoint_records_min = 1;
  World grouped(config, options);
  grouped.feed(stream, 9);
  EXPECT_EQ(grouped.sink->alarms, whole.sink->alarms);
  EXPECT_EQ(saved(grouped.fold().find_task("kind")->drift()), saved(expected));
  options.checkpoint_records_min = 37;
  World crashing(config, options);
  Rng rng(12, 0, Purpose::Test);
  for (std::size_t at = 0; at < stream.size();) {
    const std::size_t count = std::min<std::size_t>(1 + rng.below(200), stream.size() - at);
    crashing.feed(std::span(stream).subspan(at, count), 1 + rng.below(9));
    at += count;
    crashing.crash();
  }
  EXPECT_EQ(crashing.fold().find_task("kind")->drift().alarms(), expected.alarms());
  EXPECT_EQ(saved(crashing.fold().find_task("kind")->drift()), saved(expected));
}

constexpr const char* kVisitsConfig = R"(
[[table]]
name = "people"
key = "id"

[[table]]
name = "visits"
key = "id"
time = "at"
foreign_keys = { person = "people" }

[[task]]
name = "comes"
predict = "PREDICT EXISTS(visits.*, 0, 1, DAYS) FOR EACH people.id EVERY 1 DAY"
)";

/// Two of three people come nearly every day, the third hardly; from day 120 on, if `changes`,
/// everybody comes by chance.
std::vector<Transaction> visits(bool changes) {
  const Layout people{"people", {"id"}};
  const Layout layout{"visits", {"id", "person", "at"}};
  Transaction first{1, {layout_record(people), layout_record(layout)}};
  for (std::int64_t person = 0; person < 30; ++person)
    first.records.push_back(change_record(people, Op::Insert, {Value::of_integer(person)}));
  std::vector<Transaction> stream{std::move(first)};
  std::int64_t id = 0;
  for (std::uint64_t today = 0; today < 180; ++today) {
    for (std::int64_t person = 0; person < 30; ++person) {
      Rng rng(13, today * 100 + static_cast<std::uint64_t>(person), Purpose::Test);
      const double usual = person % 3 == 0 ? 0.05 : 0.95;
      if (rng.uniform() >= (changes && today >= 120 ? 0.5 : usual)) continue;
      const double at = static_cast<double>(today) + 0.01 * static_cast<double>(person) + 0.1;
      stream.push_back({stream.size() + 1,
                        {change_record(layout, Op::Insert,
                                       {Value::of_integer(id++), Value::of_integer(person),
                                        Value::of_time(day(at))})}});
    }
  }
  return stream;
}

TEST(Drift, ATaskAtTicksRaisesAlarmsWhenTheOutcomesBecomeKnown) {
  const Config config = parsed(kVisitsConfig);
  World quiet(config);
  quiet.feed(visits(false));
  EXPECT_TRUE(quiet.sink->alarms.empty());
  World changed(config);
  changed.feed(visits(true));
  ASSERT_GE(changed.sink->alarms.size(), 1U);
  for (const DriftAlarm& alarm : changed.sink->alarms) {
    EXPECT_GE(alarm.as_of, day(120));
    EXPECT_GT(alarm.after, alarm.before + 0.2);
  }
  EXPECT_LE(changed.sink->alarms.front().as_of, day(140));
  const std::vector<DriftAlarm> told = changed.sink->alarms;
  EXPECT_EQ(changed.fold().find_task("comes")->drift().alarms(), told);
  ASSERT_TRUE(changed.fold().checkpoint());
  changed.crash();
  EXPECT_EQ(changed.fold().find_task("comes")->drift().alarms(), told);
}

TEST(LiveSink, LeavesOutAlarmsThatAStoredPredictionFollowed) {
  stream::Mailbox<stream::OutgoingBatch> mail(8);
  LiveSink sink(mail, PredictionSeq{100});
  DriftAlarm alarm;
  alarm.task = "churn";
  for (const std::uint64_t seq : {40U, 99U, 100U, 101U}) {
    alarm.seq = PredictionSeq{seq};
    sink.alarm(alarm, 2);
  }
  ASSERT_EQ(mail.size(), 2U);
  const auto batch = mail.try_receive();
  ASSERT_TRUE(batch.has_value());
  EXPECT_EQ(batch->epoch, 2U);
  EXPECT_EQ(batch->progress.seq, PredictionSeq{100});
  ASSERT_EQ(batch->predictions.size(), 1U);
  EXPECT_EQ(batch->predictions[0].topic, "drift/churn");
}

}  // namespace
}  // namespace accrete::daemon
