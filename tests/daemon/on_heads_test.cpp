// What the graph network adds to heads' logits, of columns of rows and of classes of windows: it is
// kept where it pays, as in a world whose outcomes no sum of columns tells.
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "daemon/graph_network.h"
#include "daemon/newest_on_heads.h"
#include "models/label_signals.h"
#include "models/threads.h"
#include "tests/daemon/fold_world.h"
#include "tests/models/state_check.h"

namespace accrete::daemon {
namespace {

constexpr const char* kTables = R"(
[[table]]
name = "nodes"
key = "id"
time = "at"
columns = { left = "category", right = "category", kind = "category", flag = "flag" }

[[table]]
name = "links"
time = "at"
foreign_keys = { src = "nodes", dst = "nodes" }

[[table]]
name = "visits"
key = "id"
time = "at"
foreign_keys = { node = "nodes" }
columns = { mood = "category", what = "category" }
)";

constexpr const char* kKindTask = R"(
[[task]]
name = "kind"
predict = "PREDICT nodes.kind FOR EACH nodes.id"
)";

constexpr const char* kFlagTask = R"(
[[task]]
name = "flag"
predict = "PREDICT nodes.flag FOR EACH nodes.id"
)";

constexpr const char* kWindowTask = R"(
[[task]]
name = "what"
predict = "PREDICT LAST(visits.what, 0, 1, DAYS) FOR EACH nodes.id EVERY 1 DAY"
)";

Config config_of(const char* tasks) {
  auto config = parse_config(std::string(kTables) + tasks, "test.toml");
  EXPECT_TRUE(config) << config.error().detail;
  return std::move(config).value();
}

Layout nodes_layout() {
  return {"nodes", {"id", "left", "right", "kind", "flag", "at"}};
}
Layout links_layout() {
  return {"links", {"src", "dst", "at"}};
}
Layout visits_layout() {
  return {"visits", {"id", "node", "mood", "what", "at"}};
}

std::string letter(std::uint64_t which) {
  return which == 0 ? "a" : "b";
}

std::vector<Transaction> begun() {
  std::vector<Transaction> stream(1);
  stream[0].records = {layout_record(nodes_layout()), layout_record(links_layout()),
                       layout_record(visits_layout())};
  return stream;
}

void number(std::vector<Transaction>& stream) {
  for (std::size_t i = 0; i < stream.size(); ++i)
    stream[i].position = i + 1;
}

/// One column, kind or flag, that says whether left and right are the same: neither says anything
/// alone. With `noise` it says nothing at all.
std::vector<Transaction> pairs(std::int64_t nodes, const std::string& column, bool noise) {
  Rng rng(1, 3, Purpose::Test);
  std::vector<Transaction> stream = begun();
  for (std::int64_t id = 0; id < nodes; ++id) {
    const TimeUs at = day(0.05 * static_cast<double>(id));
    const std::uint64_t left = rng.below(2);
    const std::uint64_t right = rng.below(2);
    const std::uint64_t kind = noise ? rng.below(2) : left ^ right;
    Transaction& transaction = stream.emplace_back();
    const bool says = id % 5 != 0;
    transaction.records.push_back(change_record(
        nodes_layout(), Op::Insert,
        {Value::of_integer(id), Value::of_text(letter(left)), Value::of_text(letter(right)),
         says && column == "kind" ? Value::of_text(kind == 0 ? "same" : "other") : Value::null(),
         says && column == "flag" ? Value::flag(kind == 0) : Value::null(), Value::of_time(at)}));
    if (id == 0) continue;
    const auto other = static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(id)));
    transaction.records.push_back(
        change_record(links_layout(), Op::Insert,
                      {Value::of_integer(id), Value::of_integer(other), Value::of_time(at)}));
  }
  Transaction& asks = stream.emplace_back();
  const TimeUs end = day(0.05 * static_cast<double>(nodes));
  for (std::int64_t id = nodes / 2 / 5 * 5; id < nodes; id += 5)
    asks.records.push_back(request_record(column, id, end));
  encode_mark({MarkKind::Clock, day(0.05 * static_cast<double>(nodes + 20))},
              stream.emplace_back().records.emplace_back());
  number(stream);
  return stream;
}

/// What happens on a day: whether the mood of the day before is the node's own letter.
std::vector<Transaction> days(std::int64_t nodes, std::int64_t count) {
  Rng rng(4, 3, Purpose::Test);
  std::vector<Transaction> stream = begun();
  std::vector<std::uint64_t> left;
  std::vector<std::uint64_t> mood;
  for (std::int64_t id = 0; id < nodes; ++id) {
    left.push_back(rng.below(2));
    mood.push_back(rng.below(2));
    stream[0].records.push_back(
        change_record(nodes_layout(), Op::Insert,
                      {Value::of_integer(id), Value::of_text(letter(left.back())),
                       Value::of_text("a"), Value::null(), Value::null(), Value::of_time(day(0))}));
  }
  for (std::int64_t d = 0; d < count; ++d) {
    Transaction& transaction = stream.emplace_back();
    for (std::int64_t id = 0; id < nodes; ++id) {
      std::uint64_t& last = mood[static_cast<std::size_t>(id)];
      const bool same = last == left[static_cast<std::size_t>(id)];
      last = rng.below(2);
      transaction.records.push_back(
          change_record(visits_layout(), Op::Insert,
                        {Value::of_integer(d * nodes + id), Value::of_integer(id),
                         Value::of_text(letter(last)), Value::of_text(same ? "same" : "other"),
                         Value::of_time(day(static_cast<double>(d) + 0.5))}));
    }
  }
  number(stream);
  return stream;
}

FoldOptions network_options() {
  FoldOptions options;
  options.network.experts = NetworkConfig::Experts::Sage;
  options.network.width = 16;
  options.network.fan_out = {4, 4};
  options.network.batch = 32;
  options.network.passes = 16;
  options.blocks.by = models::BlockRule::Rows;
  options.blocks.every_rows = 1000;
  return options;
}

/// Of each candidate, of all predictions before their outcomes.
std::map<std::string, double> losses(World& world, const std::string& task) {
  AnyTask& of = *world.fold().find_task(task);
  std::map<std::string, double> out;
  const auto names = of.candidate_names();
  for (std::size_t c = 0; c < names.size(); ++c) {
    for (const auto& [name, value] : of.metrics()[c].sliding())
      if (name == "log_loss") out[names[c]] = value;
  }
  return out;
}

const char* task_of(const std::string& column) {
  return column == "kind" ? kKindTask : kFlagTask;
}

TEST(OnHeads, OfRowsTheNetworkIsAddedWhereNoSumOfColumnsTells) {
  if (kSanitized) GTEST_SKIP() << "it takes thousands of steps";
  for (const char* column : {"kind", "flag"}) {
    const Config config = config_of(task_of(column));
    World world(config, network_options());
    world.feed(pairs(2000, column, false));
    const auto names = world.fold().find_task(column)->candidate_names();
    EXPECT_EQ(names.back(), GraphNetwork::kOnHeads);
    std::map<std::string, double> loss = losses(world, column);
    EXPECT_GT(loss.at("propagation"), 0.6) << column;
    EXPECT_LT(loss.at("network-on-heads"), 0.5 * loss.at("propagation")) << column;
  }
}

TEST(OnHeads, OfRowsTheHeadsWordStandsWhereThereIsNothingToAdd) {
  if (kSanitized) GTEST_SKIP() << "it takes thousands of steps";
  const Config config = config_of(kKindTask);
  World world(config, network_options());
  world.feed(pairs(2000, "kind", true));
  std::map<std::string, double> loss = losses(world, "kind");
  EXPECT_LT(loss.at("network-on-heads"), loss.at("propagation") + 0.01);
}

TEST(OnHeads, OfWindowsTheNetworkIsAddedWhereNoSumOfColumnsTells) {
  if (kSanitized) GTEST_SKIP() << "it takes thousands of steps";
  const Config config = config_of(kWindowTask);
  World world(config, network_options());
  world.feed(days(30, 60));
  const auto names = world.fold().find_task("what")->candidate_names();
  EXPECT_EQ(names.back(), GraphNetwork::kOnHeads);
  std::map<std::string, double> loss = losses(world, "what");
  EXPECT_GT(loss.at("ridge"), 0.6);
  EXPECT_LT(loss.at("network-on-heads"), 0.6 * loss.at("ridge"));
}

TEST(OnHeads, OutcomesBeforeTheNetworkKnowsAClassAreNoFault) {
  // Most of a tick's rows are graded and not taught, so the first outcomes teach nothing.
  const Config config = config_of(kWindowTask);
  FoldOptions options = network_options();
  options.taught_rows_max = 64;
  Rng rng(8, 0, Purpose::Test);
  std::vector<Transaction> stream = begun();
  constexpr std::int64_t kNodes = 2000;
  for (std::int64_t node = 0; node < kNodes; ++node) {
    stream[0].records.push_back(
        change_record(nodes_layout(), Op::Insert,
                      {Value::of_integer(node), Value::of_text("a"), Value::of_text("a"),
                       Value::null(), Value::null(), Value::of_time(day(0))}));
  }
  for (std::int64_t id = 0; id < 24; ++id) {
    const auto node = static_cast<std::int64_t>(rng.below(kNodes));
    const TimeUs at = day(.5 + .25 * static_cast<double>(id));
    stream.emplace_back().records.push_back(
        change_record(visits_layout(), Op::Insert,
                      {Value::of_integer(id), Value::of_integer(node), Value::of_text("a"),
                       Value::of_text(id % 2 == 0 ? "same" : "other"), Value::of_time(at)}));
  }
  number(stream);
  World world(config, options);
  std::size_t crashes = 0;
  for (const Transaction& transaction : stream) {
    world.feed({&transaction, 1});
    if (world.fold().find_task("what")->labels() == 0) continue;
    ASSERT_TRUE(world.fold().checkpoint());
    world.crash();
    if (HasFatalFailure()) return;
    ++crashes;
  }
  EXPECT_GT(crashes, 10U);
}

TEST(OnHeads, IsNoCandidateWhereTheConfigurationSaysSo) {
  FoldOptions options = network_options();
  options.network.on_heads = false;
  for (const char* task : {kKindTask, kWindowTask}) {
    const Config config = config_of(task);
    World world(config, options);
    const auto names = world.fold().find_task(config.tasks[0].name)->candidate_names();
    EXPECT_EQ(names.back(), GraphNetwork::kName);
  }
}

/// Until losses say something else, and few labels suggest little.
TEST(NetworkPrior, IsWhatTheNetworkWeighsAtFirst) {
  FoldOptions options = network_options();
  options.network.on_heads = false;
  const Config config = config_of(kWindowTask);
  World world(config, options);
  world.feed(days(30, 1));
  const AnyTask& task = *world.fold().find_task("what");
  EXPECT_DOUBLE_EQ(task.weights().back(), models::NetworkPrior::low);
  EXPECT_GT(task.weights().front(), models::NetworkPrior::low) << "as many share the rest";
}

TEST(OnHeads, SameBitsForAnyGroupingCommitsThreadsAndCrashes) {
  FoldOptions options = network_options();
  options.blocks.every_rows = 300;
  for (const char* task : {"kind", "flag", "what"}) {
    const bool rows = task != std::string("what");
    options.network.passes = rows ? 4 : 16;  // windows have far fewer labels
    const Config config = config_of(rows ? task_of(task) : kWindowTask);
    const auto stream =
        rows ? pairs(kSanitized ? 300 : 700, task, false) : days(30, kSanitized ? 10 : 40);
    const std::string expected = digest_of(config, stream, options);
    FoldOptions other = options;
    other.checkpoint_records_min = 1;
    other.pending_bytes_max = 1;
    models::set_threads(2);
    EXPECT_EQ(digest_of(config, stream, other, 100), expected) << task;
    models::set_threads(1);
    EXPECT_EQ(digest_after_crashes(config, stream, options, 1, rows ? 60 : 3), expected) << task;
    other.network.on_heads = false;
    EXPECT_NE(digest_of(config, stream, other), expected) << task << ": it is in the answers";
  }
}

models::Output classes(std::vector<double> shares) {
  models::Output out;
  out.classes = std::move(shares);
  return out;
}

/// Outcomes that the network knows, or the contrary of what it says.
void grade(std::size_t count, bool knows, std::uint64_t seed, NewestOnHeads& heads) {
  Rng rng(seed, 5, Purpose::Test);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t label = rng.below(2);
    const bool first = (label == 0) == knows;
    heads.grade(classes({.5, .5}), classes({first ? .8 : .2, first ? .2 : .8}),
                static_cast<double>(label));
  }
}

TEST(NewestOnHeads, ForgetsWhatIsNotAmongTheNewest) {
  NewestOnHeads heads;
  const Eigen::MatrixXd shares = Eigen::MatrixXd::Ones(2, 1);
  grade(NewestOnHeads::kExamplesMax, true, 1, heads);
  heads.settle(shares);
  ASSERT_EQ(heads.scales().size(), 4U);
  EXPECT_GT(heads.scales()[1], 1);
  grade(NewestOnHeads::kExamplesMax, false, 2, heads);
  heads.settle(shares);
  ASSERT_EQ(heads.scales().size(), 4U);
  EXPECT_LT(heads.scales()[1], -1);
  NewestOnHeads only;
  grade(NewestOnHeads::kExamplesMax, false, 2, only);
  only.settle(shares);
  EXPECT_EQ(heads.scales(), only.scales());
}

TEST(NewestOnHeads, IsFittedWhenAnEighthIsNew) {
  NewestOnHeads heads;
  const Eigen::MatrixXd shares = Eigen::MatrixXd::Ones(2, 1);
  EXPECT_FALSE(heads.is_due()) << "nothing was said";
  grade(80, true, 4, heads);
  EXPECT_TRUE(heads.is_due());
  heads.settle(shares);
  EXPECT_FALSE(heads.is_due());
  grade(11, true, 5, heads);  // of 91
  EXPECT_FALSE(heads.is_due());
  NewestOnHeads fresh;
  models::expect_exact_state(models::saved(heads), fresh);
  for (NewestOnHeads* one : {&heads, &fresh}) {
    grade(1, true, 6, *one);
    EXPECT_TRUE(one->is_due());
  }
}

TEST(NewestOnHeads, StateIsExactAndItGoesOnAsItWould) {
  const Eigen::MatrixXd shares = Eigen::MatrixXd::Ones(2, 1);
  for (const std::size_t count : {std::size_t{0}, std::size_t{100}, std::size_t{700}}) {
    NewestOnHeads heads;
    NewestOnHeads fresh;
    grade(count, true, 3, heads);
    heads.settle(shares);
    models::expect_exact_state(models::saved(heads), fresh);
    for (NewestOnHeads* one : {&heads, &fresh}) {
      grade(300, false, 4, *one);
      one->settle(shares);
    }
    EXPECT_EQ(models::saved(fresh), models::saved(heads));
  }
}

TEST(NewestOnHeads, KeepsNoMoreOfManyClassesThanItFitsTo) {
  NewestOnHeads heads;
  const std::vector<double> many(5000, 1. / 5000);
  for (std::size_t i = 0; i < 2 * NewestOnHeads::kExamplesMax; ++i)
    heads.grade(classes(many), classes(many), 1);
  EXPECT_LT(heads.memory_bytes(), std::size_t{1} << 20);
}

}  // namespace
}  // namespace accrete::daemon
