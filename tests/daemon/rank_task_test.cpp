// Ranked lists: the fold's promises, outcomes by a naive look at all rows, what lists contain, and
// that habits are learnt.
#include <algorithm>
#include <cstdlib>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <stream.pb.h>

#include "daemon/graph_network.h"
#include "daemon/network_report.h"
#include "models/threads.h"
#include "tests/daemon/market.h"

namespace accrete::daemon {
namespace {

constexpr const char* kRanked = R"(
[[task]]
name = "bought"
predict = """
PREDICT LIST_DISTINCT(orders.product, 0, 3, DAYS) RANK TOP 5 FOR EACH sessions.id
WHERE COUNT(orders.*, -20, 0, DAYS) > 0 EVERY 2 DAYS"""
debounce = "6 HOURS"

[[task]]
name = "visited"
predict = """
PREDICT LIST_DISTINCT(sessions.shop WHERE sessions.pages > 2, 0, 20, DAYS) RANK TOP 2
FOR EACH customers.id EVERY 5 DAYS"""
)";

constexpr const char* kNetwork = R"(
[blocks]
by = "rows"
every = 100
[network]
experts = "sage"
width = 16
fan_out = [4, 4]
batch = 16
passes = 1
)";

FoldOptions options_of(const Config& config) {
  FoldOptions options;
  options.network = config.network;
  options.blocks = config.blocks;
  return options;
}

Config config_of(const std::string& text) {
  auto config = parse_config(text, "test.toml");
  EXPECT_TRUE(config) << config.error().detail;
  return std::move(config).value();
}

/// The market's tables with tasks that rank.
Config ranked_config(const std::string& more = "") {
  std::string text = kMarketConfig;
  text.resize(text.find("[[task]]"));
  return config_of(text + kRanked + more);
}

std::vector<Transaction> market_stream(std::uint64_t seed, int steps) {
  Market market(seed);
  for (int i = 0; i < steps; ++i)
    market.step();
  return market.stream;
}

wire::Prediction parsed(const std::string& payload) {
  wire::Prediction prediction;
  EXPECT_TRUE(prediction.ParseFromString(payload));
  return prediction;
}

TEST(RankTask, SameBitsForAnyGroupingCommitsThreadsAndLateness) {
  const Config config = ranked_config();
  const auto stream = market_stream(1, 500);
  for (const std::int64_t lateness : {std::int64_t{0}, kDayUs}) {
    FoldOptions options;
    options.lateness_us = lateness;
    const std::string expected = digest_of(config, stream, options);
    EXPECT_EQ(digest_of(config, stream, options, 7), expected);
    options.checkpoint_records_min = 1;
    EXPECT_EQ(digest_of(config, stream, options, 7), expected);
    options.pending_bytes_max = 1;
    options.graph_bytes_max = 1;
    options.row_cache_rows = 3;
    models::set_threads(2);
    EXPECT_EQ(digest_of(config, stream, options, 7), expected);
    models::set_threads(1);
  }
}

TEST(RankTask, CrashesAnywhereChangeNothing) {
  for (const char* network : {"", kNetwork}) {
    const Config config = ranked_config(network);
    const auto stream = market_stream(2, *network == 0 ? 500 : 300);
    FoldOptions options = options_of(config);
    options.checkpoint_records_min = 37;
    const std::string expected = digest_of(config, stream, options);
    for (std::uint64_t seed = 0; seed < 3; ++seed)
      EXPECT_EQ(digest_after_crashes(config, stream, options, seed), expected) << "seed " << seed;
  }
}

TEST(RankTask, ListsAreOfRowsThatAreThereBestFirstEachOnce) {
  const Config config = ranked_config();
  Market market(3);
  World world(config);
  world.feed(market.stream);
  std::map<std::string, std::size_t> lists;
  // Step by step: a row that is deleted later, as of earlier, was there.
  for (std::size_t step = 0, told = 0; told < world.sink->payloads.size() || step < 600; ++told) {
    for (; told == world.sink->payloads.size() && step < 600; ++step) {
      const Transaction transaction = market.step();
      world.feed({&transaction, 1});
    }
    if (told == world.sink->payloads.size()) break;
    const wire::Prediction prediction = parsed(world.sink->payloads[told]);
    ASSERT_EQ(prediction.kind(), wire::Prediction::RANKING);
    const int places = prediction.task() == "bought" ? 5 : 2;
    ASSERT_LE(prediction.classes_size(), places);
    lists[prediction.task()] += prediction.classes_size() == places ? 1u : 0u;
    std::set<std::string> seen;
    for (int i = 0; i < prediction.classes_size(); ++i) {
      EXPECT_TRUE(seen.insert(prediction.classes(i).label()).second) << "listed twice";
      if (i > 0) {
        EXPECT_GE(prediction.classes(i - 1).probability(), prediction.classes(i).probability());
      }
    }
    if (prediction.classes_size() == 0) continue;
    EXPECT_EQ(prediction.score(), prediction.classes(0).probability());
    const char* const table = prediction.task() == "bought" ? "products" : "shops";
    for (const std::string& item : seen) {
      const auto row = market.tables[table].find(std::strtoll(item.c_str(), nullptr, 10));
      ASSERT_NE(row, market.tables[table].end()) << item;
      EXPECT_TRUE(row->second.there(TimeUs{prediction.as_of_us()})) << item;
    }
    ASSERT_EQ(prediction.candidates_size(), 4);
    EXPECT_EQ(prediction.candidates(3).name(), "choice-logit");
  }
  EXPECT_GT(lists["bought"], 100u);
  EXPECT_GT(lists["visited"], 20u);
}

/// Customers with habits: each buys two products of its own again and again, now and then one that
/// whoever likes the same buys, too.
std::vector<Transaction> habits(std::size_t orders, std::uint64_t seed) {
  Rng rng(seed, 0, Purpose::Test);
  const Layout customers{"customers", {"id"}};
  const Layout products{"products", {"id"}};
  const Layout bought{"orders", {"id", "customer", "product", "at"}};
  Transaction first;
  first.records = {layout_record(customers), layout_record(products), layout_record(bought)};
  for (std::int64_t i = 0; i < 40; ++i) {
    first.records.push_back(change_record(customers, Op::Insert, {Value::of_integer(i)}));
    first.records.push_back(change_record(products, Op::Insert, {Value::of_integer(i)}));
  }
  std::vector<Transaction> stream{first};
  for (std::size_t i = 0; i < orders; ++i) {
    const auto customer = static_cast<std::int64_t>(rng.below(40));
    // 8 groups of 5 customers share 5 products; product 0 is bought by everybody at times.
    const std::int64_t group = customer / 5;
    std::int64_t product = group * 5 + (customer + static_cast<std::int64_t>(rng.below(2))) % 5;
    if (rng.below(6) == 0) product = group * 5 + static_cast<std::int64_t>(rng.below(5));
    if (rng.below(8) == 0) product = 0;
    stream.push_back({0,
                      {change_record(bought, Op::Insert,
                                     {Value::of_integer(static_cast<std::int64_t>(i)),
                                      Value::of_integer(customer), Value::of_integer(product),
                                      Value::of_time(day(static_cast<double>(i) * .02))})}});
  }
  for (std::size_t i = 0; i < stream.size(); ++i)
    stream[i].position = i + 1;
  return stream;
}

constexpr const char* kHabits = R"(
[[table]]
name = "customers"
key = "id"
[[table]]
name = "products"
key = "id"
[[table]]
name = "orders"
key = "id"
time = "at"
foreign_keys = { customer = "customers", product = "products" }
[[task]]
name = "next"
predict = """
PREDICT LIST_DISTINCT(orders.product, 0, 2, DAYS) RANK TOP 3 FOR EACH customers.id EVERY 2 DAYS"""
on_change = false
)";

double metric(const AnyTask& task, const std::string& candidate, const std::string& name) {
  const auto names = task.candidate_names();
  const auto at = static_cast<std::size_t>(std::ranges::find(names, candidate) - names.begin());
  for (const auto& [known, value] : task.metrics()[at].sliding()) {
    if (known == name) return value;
  }
  ADD_FAILURE() << "no " << name << " of " << candidate;
  return 0;
}

TEST(RankTask, OutcomesAreTheLinksOfTheWindow) {
  const Config config = config_of(kHabits);
  const auto stream = habits(1500, 4);
  struct Bought {
    std::string customer;
    std::string product;
    TimeUs at;
  };
  std::vector<Bought> all;
  Record decoded;
  for (std::size_t i = 1; i < stream.size(); ++i) {
    ASSERT_TRUE(decode_record(stream[i].records[0], decoded));
    const auto& cells = decoded.change.cells;
    all.push_back({value_text(cells[1]), value_text(cells[2]), TimeUs{cells[3].integer}});
  }
  World world(config);
  world.feed(stream);
  std::size_t several = 0;
  ASSERT_GT(world.sink->labels.size(), 300u);
  for (std::size_t i = 0; i < world.sink->labels.size(); ++i) {
    const std::string& line = world.sink->labels[i];  // task|time|customer|count
    const std::size_t time = line.find('|') + 1;
    const std::size_t who = line.find('|', time) + 1;
    const std::size_t count = line.find('|', who) + 1;
    const TimeUs at = parse_time(line.substr(time, who - time - 1)).value();
    std::set<std::string> products;
    std::string expected;
    for (const Bought& one : all) {
      if (one.customer != line.substr(who, count - who - 1)) continue;
      if (one.at <= at || one.at > shift(at, 2 * kDayUs)) continue;
      if (!products.insert(one.product).second) continue;
      expected += (expected.empty() ? "[\"" : ",\"") + one.product + "\"";
    }
    EXPECT_FALSE(products.empty()) << "an entity without a link has no label: " << line;
    EXPECT_EQ(world.sink->label_values[i], static_cast<double>(products.size())) << line;
    EXPECT_EQ(world.sink->label_texts[i], expected + "]") << line;
    several += products.size() > 1 ? 1u : 0u;
  }
  EXPECT_GT(several, 50u);
  EXPECT_EQ(world.sink->graded_count, world.sink->labels.size());
  EXPECT_EQ(world.fold().find_task("next")->labels(), world.sink->labels.size());
}

TEST(RankTask, HabitsAreLearntAndTheMixtureKeepsUp) {
  const Config config = config_of(kHabits);
  World world(config);
  world.feed(habits(6000, 5));
  const AnyTask& task = *world.fold().find_task("next");
  const double popularity = metric(task, "popularity", "map");
  const double past = metric(task, "own-past", "map");
  const double learnt = metric(task, "choice-logit", "map");
  const double mixture = metric(task, "mixture", "map");
  EXPECT_GT(past, 2 * popularity);
  EXPECT_GT(learnt, past - .01);
  EXPECT_GT(mixture, past - .01);
  EXPECT_GT(metric(task, "mixture", "recall"), .6);
  EXPECT_LT(metric(task, "choice-logit", "log_loss"), .6 * metric(task, "popularity", "log_loss"));
  EXPECT_LT(task.weights()[0], .1) << "popularity alone says little here";
}

/// Customers who come, buy three times and go: what they like shows in their own row alone.
std::vector<Transaction> tastes(std::size_t customers, std::uint64_t seed) {
  Rng rng(seed, 0, Purpose::Test);
  const Layout people{"customers", {"id", "taste"}};
  const Layout products{"products", {"id"}};
  const Layout bought{"orders", {"id", "customer", "product", "at"}};
  static const char* const kTastes[] = {"sweet", "sour", "salty", "bitter"};
  Transaction first;
  first.records = {layout_record(people), layout_record(products), layout_record(bought)};
  for (std::int64_t i = 0; i < 16; ++i)
    first.records.push_back(change_record(products, Op::Insert, {Value::of_integer(i)}));
  std::vector<Transaction> stream{first};
  for (std::size_t c = 0; c < customers; ++c) {
    const std::uint64_t taste = rng.below(4);
    const auto customer = Value::of_integer(static_cast<std::int64_t>(c));
    Transaction buys;
    buys.records.push_back(
        change_record(people, Op::Insert, {customer, Value::of_text(kTastes[taste])}));
    for (std::size_t i = 0; i < 3; ++i) {
      const std::uint64_t product = rng.below(8) == 0 ? rng.below(16) : 4 * taste + rng.below(4);
      const TimeUs at = day(static_cast<double>(c) * .04 + static_cast<double>(i));
      buys.records.push_back(change_record(
          bought, Op::Insert,
          {Value::of_integer(static_cast<std::int64_t>(3 * c + i)), customer,
           Value::of_integer(static_cast<std::int64_t>(product)), Value::of_time(at)}));
    }
    stream.push_back(std::move(buys));
  }
  for (std::size_t i = 0; i < stream.size(); ++i)
    stream[i].position = i + 1;
  return stream;
}

TEST(RankTask, TheNetworkLearnsWhatRowsSayOfTheItems) {
  std::string text = kHabits;
  text.replace(text.find("EVERY 2 DAYS"), 12, "WHERE COUNT(orders.*, -3, 0, DAYS) > 0 EVERY 1 DAY");
  const Config config = config_of(text + kNetwork);
  FoldOptions options = options_of(config);
  options.lateness_us = 4 * kDayUs;
  World world(config, options);
  world.feed(tastes(2500, 6));
  const AnyTask& task = *world.fold().find_task("next");
  ASSERT_NE(task.network(), nullptr);
  EXPECT_EQ(task.network()->kind(), TaskKind::Multiclass);
  EXPECT_GT(task.network()->steps(), 100u);
  EXPECT_GT(metric(task, "network", "map"), 1.5 * metric(task, "popularity", "map"));
  EXPECT_LT(metric(task, "network", "log_loss"), metric(task, "choice-logit", "log_loss"));
  EXPECT_GT(task.weights().back(), .5) << "the mixer sees it";
}

/// They are learnt like classes, but a list has no end of them.
TEST(RankTask, ItemsEndNoBlockAndHaveNoRidge) {
  std::string text = kHabits;
  text.replace(text.find("EVERY 2 DAYS"), 12, "WHERE COUNT(orders.*, -3, 0, DAYS) > 0 EVERY 1 DAY");
  const Config config = config_of(text + kNetwork);
  FoldOptions options = options_of(config);
  options.blocks = {};
  options.blocks.by = models::BlockRule::Classes;
  options.blocks.every_classes = 2;
  options.network.ridge = true;
  options.network.flatness_rise = std::nullopt;
  options.lateness_us = 4 * kDayUs;
  World world(config, options);
  world.feed(tastes(2000, 6));
  const AnyTask& task = *world.fold().find_task("next");
  EXPECT_GT(task.network()->steps(), 0u);
  EXPECT_TRUE(task.network()->events().empty()) << "no expert for a block that items ended";
  const auto names = task.candidate_names();
  EXPECT_EQ(std::ranges::count(names, GraphNetwork::kName), 1);
  EXPECT_EQ(std::ranges::count(names, NetworkRidge::kName), 0);
  // One item of each list is compared with those of others and with the one before it.
  const models::LabelSignals& signals = task.network()->signals();
  EXPECT_EQ(signals.labels(), task.labels());
  ASSERT_EQ(signals.paths(), 1u) << "the newest product";
  EXPECT_GT(signals.homophily(0).pairs, 256u);
  EXPECT_GT(signals.homophily(0).adjusted, .1) << "who bought the same has the same taste";
  EXPECT_GT(signals.autocorrelation(1), .1);
  EXPECT_EQ(network_json(task)["labels"]["known"], signals.labels());
}

TEST(RankTask, QuestionsAndRequestsAreAnsweredAndLeaveNoTrace) {
  const Config config = config_of(kHabits);
  auto stream = habits(1200, 7);
  World plain(config);
  plain.feed(stream);
  World asked(config);
  asked.feed(std::span(stream).first(700));
  std::vector<wire::Prediction> answers;
  AnyTask& task = *asked.fold().find_task("next");
  const TimeUs now = asked.fold().now();
  const auto row = asked.fold().graph().find(task.plan().entity, [] {
    std::string key;
    append_key(key, Value::of_integer(7));
    return key;
  }());
  ASSERT_TRUE(row);
  const std::vector<std::uint32_t> rows{row->row};
  ASSERT_TRUE(task.what_if(rows, now, [&](Prediction& prediction) -> Status {
    std::string payload;
    encode_prediction(prediction, payload);
    answers.push_back(parsed(payload));
    const auto json = prediction_json(payload);
    EXPECT_TRUE(json);
    EXPECT_NE(json.value().find("\"kind\":\"ranking\",\"items\":[{\"item\":\""), std::string::npos)
        << json.value();
    return Ok{};
  }));
  ASSERT_EQ(answers.size(), 1u);
  ASSERT_EQ(answers[0].classes_size(), 3);
  // Customer 7 is of the second group: products 5 to 9, and 7 and 8 above all.
  EXPECT_TRUE(answers[0].classes(0).label() == "7" || answers[0].classes(0).label() == "8");
  for (const auto& candidate : answers[0].candidates())
    EXPECT_FALSE(candidate.label().empty()) << candidate.name();
  EXPECT_EQ(task.feature_values(row->row, now).size(), task.features().names().size());
  asked.feed(std::span(stream).subspan(700));
  EXPECT_EQ(asked.stored_digest(), plain.stored_digest());

  // A request is graded, and taught nothing.
  stream.insert(stream.begin() + 900, Transaction{0, {request_record("next", 7, day(17.99))}});
  for (std::size_t i = 0; i < stream.size(); ++i)
    stream[i].position = i + 1;
  World requested(config);
  requested.feed(stream);
  EXPECT_EQ(requested.sink->payloads.size(), plain.sink->payloads.size() + 1);
  EXPECT_EQ(requested.fold().find_task("next")->labels(), plain.fold().find_task("next")->labels());
}

}  // namespace
}  // namespace accrete::daemon
