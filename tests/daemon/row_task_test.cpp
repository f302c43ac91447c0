// Columns of the row itself: masked, predicted on arrival, graded and learnt when the value is
// there; the fold's promises for them.
#include "daemon/row_task.h"

#include <map>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <stream.pb.h>

#include "models/threads.h"
#include "tests/daemon/fold_world.h"

namespace accrete::daemon {
namespace {

constexpr const char* kPapersConfig = R"(
[[table]]
name = "authors"
key = "id"

[[table]]
name = "papers"
key = "id"
time = "at"
foreign_keys = { author = "authors" }
columns = { field = "category", words = "set", pages = "number", month = "category", open = "flag" }

[[task]]
name = "field"
predict = "PREDICT papers.field FOR EACH papers.id"

[[task]]
name = "pages"
predict = "PREDICT papers.pages FOR EACH papers.id WHERE papers.author >= 3"

[[task]]
name = "open"
predict = "PREDICT papers.open FOR EACH papers.id"
debounce = "1 DAY"
)";

const char* const kFields[] = {"math", "physics", "biology"};

Layout papers_layout() {
  return {"papers", {"id", "author", "words", "month", "pages", "field", "open", "at"}};
}

Config papers_config() {
  auto config = parse_config(kPapersConfig, "test.toml");
  EXPECT_TRUE(config) << config.error().detail;
  return std::move(config).value();
}

struct Paper {
  std::int64_t author = 0;
  std::string words;
  std::string month;
  double pages = 0;
  std::size_t field = 0;
  bool open = false;
  bool with_value = false;  // else its value comes later, or never
  std::optional<std::size_t> told_after;
  double at = 0;
};

/// Authors keep to fields, fields to words; the third field appears half-way.
std::vector<Paper> papers(std::uint64_t seed, std::size_t count) {
  Rng rng(seed, 5, Purpose::Test);
  std::vector<Paper> all;
  double now = 0;
  for (std::size_t i = 0; i < count; ++i) {
    Paper paper;
    paper.author = static_cast<std::int64_t>(rng.below(12));
    const auto usual = static_cast<std::size_t>(paper.author) % 3;
    paper.field = rng.below(5) == 0 ? rng.below(3) : usual;
    if (i < count / 2 && paper.field == 2) paper.field = 0;
    paper.words = "w" + std::to_string(10 * paper.field + rng.below(4)) + ":2 common";
    paper.month = "m" + std::to_string(i % 12);
    paper.pages = 5.0 + 3.0 * static_cast<double>(paper.field) + static_cast<double>(rng.below(3));
    paper.open = paper.field == 0 || rng.below(4) == 0;
    paper.with_value = rng.below(3) != 0;
    if (!paper.with_value && rng.below(3) != 0) paper.told_after = 1 + rng.below(20);
    if (rng.below(3) != 0) now += rng.uniform() * 0.3;
    paper.at = rng.below(15) == 0 ? now - rng.uniform() * 3 : now;
    all.push_back(std::move(paper));
  }
  return all;
}

std::string paper_record(std::size_t id, const Paper& paper, Op op, bool with_field,
                         std::optional<TimeUs> when = std::nullopt) {
  const Value field = with_field ? Value::of_text(kFields[paper.field]) : Value::null();
  return change_record(
      papers_layout(), op,
      {Value::of_integer(static_cast<std::int64_t>(id)), Value::of_integer(paper.author),
       Value::of_text(paper.words), Value::of_text(paper.month), Value::of_real(paper.pages), field,
       Value::flag(paper.open), Value::of_time(day(paper.at))},
      when);
}

std::vector<Transaction> stream_of(const std::vector<Paper>& all) {
  std::vector<Transaction> stream;
  stream.push_back({1, {layout_record(papers_layout())}});
  std::multimap<std::size_t, std::size_t> told;  // at which transaction -> paper
  for (std::size_t i = 0; i < all.size(); ++i) {
    Transaction transaction;
    transaction.records.push_back(paper_record(i, all[i], Op::Insert, all[i].with_value));
    if (all[i].told_after) told.emplace(i + *all[i].told_after, i);
    const auto [begin, end] = told.equal_range(i);
    for (auto paper = begin; paper != end; ++paper) {
      transaction.records.push_back(
          paper_record(paper->second, all[paper->second], Op::Update, true, day(all[i].at)));
    }
    if (i % 40 == 39 && !all[i - 7].told_after) {  // one leaves, whether its value was there or not
      transaction.records.push_back(
          paper_record(i - 7, all[i - 7], Op::Delete, false, day(all[i].at)));
    }
    if (i % 25 == 24) {  // one changes in another column
      transaction.records.push_back(paper_record(i, all[i], Op::Update, all[i].with_value));
    }
    transaction.position = stream.size() + 1;
    stream.push_back(std::move(transaction));
  }
  return stream;
}

std::vector<wire::Prediction> decoded(const std::vector<std::string>& payloads,
                                      const std::string& task, wire::Prediction::Trigger trigger) {
  std::vector<wire::Prediction> all;
  for (const std::string& payload : payloads) {
    wire::Prediction prediction;
    EXPECT_TRUE(prediction.ParseFromString(payload));
    if (prediction.task() == task && prediction.trigger() == trigger) all.push_back(prediction);
  }
  return all;
}

/// All that a prediction says of the row, without its number.
std::string said(wire::Prediction prediction) {
  prediction.clear_seq();
  return prediction.SerializeAsString();
}

// Every one of them teaches a dozen heads of some hundred columns for each class.
constexpr std::size_t kPapers = kSanitized ? 80 : 120;

TEST(RowTask, SameBitsForAnyGroupingCommitsThreadsAndLateness) {
  const Config config = papers_config();
  const auto stream = stream_of(papers(1, kPapers));
  for (const std::int64_t lateness : {std::int64_t{0}, 2 * kDayUs}) {
    FoldOptions options;
    options.lateness_us = lateness;
    const std::string expected = digest_of(config, stream, options);
    EXPECT_EQ(digest_of(config, stream, options, 7), expected);
    options.checkpoint_records_min = 1;
    options.pending_bytes_max = 1;  // what waits lives in the store
    options.graph_bytes_max = 1;
    options.row_cache_rows = 3;
    EXPECT_EQ(digest_of(config, stream, options, 5), expected);
    models::set_threads(2);
    EXPECT_EQ(digest_of(config, stream, options, 1000), expected);
    models::set_threads(1);
  }
}

TEST(RowTask, CrashesAnywhereChangeNothing) {
  const Config config = papers_config();
  const auto stream = stream_of(papers(2, kPapers));
  FoldOptions options;
  options.lateness_us = kDayUs;
  options.checkpoint_records_min = 37;
  options.pending_bytes_max = 2000;
  const std::string expected = digest_of(config, stream, options);
  for (std::uint64_t seed = 0; seed < 3; ++seed)
    EXPECT_EQ(digest_after_crashes(config, stream, options, seed), expected) << "seed " << seed;
}

TEST(RowTask, ARowNeverSeesItsOwnValueAndLaterOnesDo) {
  const Config config = papers_config();
  const std::vector<Paper> all = papers(3, 160);
  World original(config);
  original.feed(stream_of(all));
  const auto before = decoded(original.sink->payloads, "field", wire::Prediction::ARRIVAL);
  ASSERT_EQ(before.size(), all.size());
  std::size_t changed_later = 0;
  for (const std::size_t flipped : {std::size_t{40}, std::size_t{76}, std::size_t{120}}) {
    std::size_t at = flipped;
    while (!all[at].with_value)
      ++at;
    std::vector<Paper> other = all;
    other[at].field = all[at].field == 0 ? 1 : 0;
    World world(config);
    world.feed(stream_of(other));
    const auto after = decoded(world.sink->payloads, "field", wire::Prediction::ARRIVAL);
    ASSERT_EQ(after.size(), before.size());
    bool same_so_far = true;
    for (std::size_t i = 0; i < before.size(); ++i) {
      const bool same = said(before[i]) == said(after[i]);
      same_so_far = same_so_far && same;
      if (same_so_far) continue;
      EXPECT_GT(before[i].entity(0).integer(), static_cast<std::int64_t>(at));
      ++changed_later;
      break;
    }
  }
  EXPECT_EQ(changed_later, 3U);
}

TEST(RowTask, EveryArrivalIsPredictedAndEveryValueGradedOnce) {
  const Config config = papers_config();
  const std::vector<Paper> all = papers(4, 500);
  const auto stream = stream_of(all);
  World world(config);
  world.feed(stream);
  // What is expected, from the records alone.
  std::set<std::size_t> waits;
  std::size_t values = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].with_value) {
      ++values;
    } else {
      waits.insert(i);
    }
    for (std::size_t p = 0; p <= i; ++p) {
      if (all[p].told_after && p + *all[p].told_after == i && waits.erase(p) > 0) ++values;
    }
    if (i % 40 == 39 && !all[i - 7].told_after) waits.erase(i - 7);
  }
  AnyTask* task = world.fold().find_task("field");
  EXPECT_EQ(decoded(world.sink->payloads, "field", wire::Prediction::ARRIVAL).size(), all.size());
  EXPECT_EQ(task->labels(), values);
  EXPECT_EQ(task->pending(), waits.size());
  EXPECT_GT(waits.size(), 30U);
  // Classes grow, and are learnt: the last hundred arrivals are mostly right.
  const auto arrivals = decoded(world.sink->payloads, "field", wire::Prediction::ARRIVAL);
  // The first rows came before any class: no class is no answer to grade.
  const auto unsaid = std::ranges::count_if(
      arrivals, [](const wire::Prediction& arrival) { return arrival.classes_size() == 0; });
  EXPECT_GE(unsaid, 1);
  EXPECT_LE(unsaid, 3);
  const std::vector<double>& told = world.sink->label_values;
  const std::vector<double>& answered = world.sink->graded_labels;
  EXPECT_LT(answered.size(), told.size());
  EXPECT_LE(std::ssize(told) - std::ssize(answered), unsaid);
  std::size_t next = 0;  // in the same order, none twice
  for (const double label : told) {
    if (next < answered.size() && answered[next] == label) ++next;
  }
  EXPECT_EQ(next, answered.size());
  std::size_t right = 0;
  for (std::size_t i = arrivals.size() - 100; i < arrivals.size(); ++i) {
    std::string best;
    double most = -1;
    double total = 0;
    for (const auto& score : arrivals[i].classes()) {
      total += score.probability();
      if (score.probability() <= most) continue;
      most = score.probability();
      best = score.label();
    }
    EXPECT_NEAR(total, 1, 1e-9);
    const auto id = static_cast<std::size_t>(arrivals[i].entity(0).integer());
    if (best == kFields[all[id].field]) ++right;
  }
  EXPECT_EQ(arrivals.back().classes_size(), 3);
  // What the sink is told to grade against are the classes that came.
  const auto& graded = world.sink->graded_by_task["field"];
  ASSERT_EQ(graded.size(), 3U);
  for (const auto& [label, times] : graded)
    EXPECT_GT(times, 20U) << "class " << label;
  EXPECT_GT(right, 80U);
  // The condition on the entity's own column held.
  const auto some = decoded(world.sink->payloads, "pages", wire::Prediction::ARRIVAL);
  EXPECT_LT(some.size(), all.size());
  for (const auto& prediction : some)
    EXPECT_GE(all[static_cast<std::size_t>(prediction.entity(0).integer())].author, 3);
}

TEST(RowTask, QuestionsLeaveNoTraceAndAnswerForRowsThatWait) {
  const Config config = papers_config();
  const auto stream = stream_of(papers(5, kPapers));
  World quiet(config);
  quiet.feed(stream);
  World asked(config);
  std::size_t answers = 0;
  for (const Transaction& transaction : stream) {
    asked.feed({&transaction, 1});
    AnyTask* task = asked.fold().find_task("field");
    const TimeUs now = asked.fold().now();
    if (now == kTimeMin) continue;
    const auto rows = task->population(now);
    ASSERT_TRUE(task->what_if(rows, now, [&](Prediction& prediction) -> Status {
      EXPECT_EQ(prediction.trigger, Trigger::Query);
      ++answers;
      return Ok{};
    }));
    if (!rows.empty()) {
      EXPECT_EQ(task->feature_values(rows[0], now).size(), task->features().names().size());
    }
  }
  EXPECT_GT(answers, 200U);
  EXPECT_EQ(asked.stored_digest(), quiet.stored_digest());
}

}  // namespace
}  // namespace accrete::daemon
