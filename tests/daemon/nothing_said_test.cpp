// Tasks that have nothing to say: before any class is known, and where nobody is asked about.
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "daemon/plan_columns.h"
#include "tests/daemon/fold_world.h"

namespace accrete::daemon {
namespace {

constexpr const char* kVisits = R"(
[[table]]
name = "people"
key = "id"

[[table]]
name = "visits"
key = "id"
time = "at"
foreign_keys = { person = "people" }
columns = { what = "category" }
)";

Config config_of(const std::string& tasks) {
  auto config = parse_config(kVisits + tasks, "test.toml");
  EXPECT_TRUE(config) << config.error().detail;
  return std::move(config).value();
}

/// Everybody visits once a day, in turns for one thing and another.
std::vector<Transaction> days(std::int64_t people, std::int64_t count) {
  const Layout persons{"people", {"id"}};
  const Layout visits{"visits", {"id", "person", "what", "at"}};
  std::vector<Transaction> stream(1);
  stream[0].records = {layout_record(persons), layout_record(visits)};
  for (std::int64_t id = 0; id < people; ++id)
    stream[0].records.push_back(change_record(persons, Op::Insert, {Value::of_integer(id)}));
  for (std::int64_t d = 0; d < count; ++d) {
    Transaction& transaction = stream.emplace_back();
    for (std::int64_t id = 0; id < people; ++id) {
      transaction.records.push_back(
          change_record(visits, Op::Insert,
                        {Value::of_integer(d * people + id), Value::of_integer(id),
                         Value::of_text((d + id) % 2 == 0 ? "this" : "that"),
                         Value::of_time(day(static_cast<double>(d) + .5))}));
    }
  }
  for (std::size_t i = 0; i < stream.size(); ++i)
    stream[i].position = i + 1;
  return stream;
}

TEST(NothingSaid, BeforeAnyClassIsKnownIsNotGraded) {
  World world(config_of(R"(
[[task]]
name = "what"
predict = "PREDICT LAST(visits.what, 0, 1, DAYS) FOR EACH people.id EVERY 1 DAY"
)"),
              FoldOptions{});
  world.feed(days(20, 6));
  AnyTask& task = *world.fold().find_task("what");
  const std::uint64_t graded = task.metrics().back().count();
  EXPECT_GT(graded, 0U);
  EXPECT_LT(graded, task.labels()) << "the outcomes of the first tick are the first classes";
  for (const auto& [name, value] : task.metrics().back().sliding()) {
    if (name == "log_loss") {
      EXPECT_LT(value, 1);
    }
  }
}

TEST(NothingSaid, ATaskWithoutOutcomesSaysSo) {
  World world(config_of(R"(
[[task]]
name = "nobody"
predict = "PREDICT COUNT(visits.*, 0, 1, DAYS) FOR EACH people.id )"
                        R"(WHERE COUNT(visits.*, -1, 0, DAYS) > 99 EVERY 1 DAY"

[[task]]
name = "everybody"
predict = "PREDICT COUNT(visits.*, 0, 1, DAYS) FOR EACH people.id EVERY 1 DAY"
)"),
              FoldOptions{});
  EXPECT_TRUE(notes_of(*world.fold().find_task("nobody"), world.fold()).empty()) << "no tick yet";
  world.feed(days(20, 4));
  const auto notes = notes_of(*world.fold().find_task("nobody"), world.fold());
  ASSERT_EQ(notes.size(), 1U);
  EXPECT_NE(notes[0].find("\"nobody\" knows no outcome and waits for none"), std::string::npos);
  EXPECT_NE(notes[0].find("no row of people met its WHERE"), std::string::npos);
  EXPECT_TRUE(notes_of(*world.fold().find_task("everybody"), world.fold()).empty());
}

/// A request's outcome is graded, not learnt; the class it names for the first time stays known.
TEST(NothingSaid, AClassThatOnlyARequestHasSeenOutlivesACrash) {
  const Config config = config_of(R"(
[[task]]
name = "what"
predict = "PREDICT LAST(visits.what, 0, 1, DAYS) FOR EACH people.id EVERY 10 DAYS"
anchor = "2020-09-20"
)");
  std::vector<Transaction> stream = days(12, 40);  // the first of them is September 14
  const std::size_t asked = 4;                     // days, no tick's outcome is among them
  stream[asked - 1].records.push_back(request_record("what", 0, day(asked - 1.4)));
  const std::size_t seen = asked + 3;
  expect_same_after_a_crash(config, stream, {}, 2, seen, [](World& world) {
    EXPECT_EQ(world.sink->graded_count + world.sink->labels.size(), 0U) << "nothing said, no tick";
    EXPECT_EQ(world.fold().find_task("what")->pending(), 0U) << "the request has its outcome";
  });
}

}  // namespace
}  // namespace accrete::daemon
