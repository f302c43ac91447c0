// The configuration: what is read, what is printed, and that printing reads back to the same.
#include "daemon/config.h"

#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "source_text.h"

namespace accrete::daemon {
namespace {

constexpr const char* kShop = R"(
seed = 7
threads = 2
[store]
path = "/tmp/shop"
[endpoints]
ingest = "ipc:///run/accreted/ingest.sock"
[limits]
memory_max = "1 GiB"
credit = 1048576
lateness = "2 h"
log_max = "512 MiB"
[log]
level = "debug"
[[table]]
name = "customers"
key = "id"
time = "created"
time_unit = "ms"
columns = { status = "category", url = "ignored" }
ignore = ["mail"]
[[table]]
name = "lines"
key = ["order", "number"]
time = "date"
foreign_keys = { "order" = "orders", "article, variant" = "variants" }
columns = { order = "number" }
[[table]]
name = "orders"
key = "id"
foreign_keys = { customer = "customers" }
[[table]]
name = "variants"
key = ["article", "variant"]
[[table]]
name = "visits"
[[task]]
name = "buys.again"
predict = "PREDICT COUNT(orders.*, 0, 7, DAYS) FOR EACH customers.id EVERY 1 DAY"
anchor = ["2020-01-01", 2021-01-01, 2022-01-01T12:00:00Z]
on_change = false
debounce = "90 min"
)";

std::string column_names(const Table& table) {
  std::string names;
  for (const Column& column : table.columns) {
    names += column.name + ":" + std::string(column_kind_name(column.kind)) + " ";
  }
  return names;
}

TEST(Config, ReadsEverySection) {
  const Result<Config> read = parse_config(kShop, "shop.toml");
  ASSERT_TRUE(read) << read.error().detail;
  const Config& config = read.value();
  EXPECT_EQ(config.file, "shop.toml");
  EXPECT_EQ(config.seed, 7u);
  EXPECT_EQ(config.threads, 2);
  EXPECT_EQ(config.store.path, "/tmp/shop");
  EXPECT_EQ(config.endpoints.ingest, "ipc:///run/accreted/ingest.sock");
  EXPECT_EQ(config.endpoints.replay, EndpointsConfig().replay);
  EXPECT_EQ(config.limits.memory_bytes_max, 1u << 30);
  EXPECT_EQ(config.limits.credit_bytes, 1u << 20);
  EXPECT_EQ(config.limits.lateness_us, 7'200'000'000);
  EXPECT_EQ(config.limits.log_bytes_max, 512u << 20);
  EXPECT_EQ(config.log_level, "debug");

  ASSERT_EQ(config.schema.tables().size(), 5u);
  const Table& customers = config.schema.tables()[0];
  EXPECT_EQ(column_names(customers),
            "id:key created:time status:category url:ignored mail:ignored ");
  EXPECT_EQ(customers.time_unit, TimeUnit::Milliseconds);
  const Table& lines = config.schema.tables()[1];
  // Key, time, foreign keys in the order of the file; the explicit kind of a key column stands.
  EXPECT_EQ(column_names(lines),
            "order:number number:key date:time article:foreign_key variant:foreign_key ");
  ASSERT_EQ(lines.foreign_keys.size(), 2u);
  EXPECT_EQ(lines.foreign_keys[0].parent, TableId(2));
  EXPECT_EQ(lines.foreign_keys[1].parent, TableId(3));
  EXPECT_EQ(lines.foreign_keys[1].columns, (std::vector<ColumnId>{ColumnId(3), ColumnId(4)}));
  EXPECT_EQ(config.schema.relations().size(), 3u);
  EXPECT_TRUE(config.schema.tables()[4].key.empty());

  ASSERT_EQ(config.tasks.size(), 1u);
  const TaskConfig& task = config.tasks[0];
  EXPECT_EQ(task.name, "buys.again");
  EXPECT_EQ(task.query.entity.table, "customers");
  EXPECT_EQ(task.anchors,
            (std::vector<TimeUs>{TimeUs(1'577'836'800'000'000), TimeUs(1'609'459'200'000'000),
                                 TimeUs(1'641'038'400'000'000)}));
  EXPECT_EQ(task.on_change, OnChange::Nobody);
  EXPECT_EQ(task.debounce_us, 5'400'000'000);
}

TEST(Config, PrintingReadsBackToTheSame) {
  std::vector<std::string> texts = {
      kShop,
      "[[table]]\nname = \"t \\\"x\\\"\\n\"\nkey = [\"a b\", \"c\"]\n"
      "foreign_keys = { \"c\" = \"parent\" }\ncolumns = { \"a b\" = \"text\" }\n"
      "[[table]]\nname = \"parent\"\nkey = \"p\"\n[curve]\nkey_file = \"k\"\nclients_file = \"c\"\n"
      "[limits]\npredictions_age_max = \"90 s\"\nsubscriber_deadline = \"1500 ms\"\n"
      "lateness = 0\nmemory_max = 1000000007\n"};
  texts.push_back(texts[1] +
                  "[network]\nexperts = \"sage\"\n[[task]]\nname = \"t\"\non_change = "
                  "\"frontier\"\npredict = \"PREDICT parent.x FOR EACH parent.p\"\n");
  for (const char* name : {"rel-f1", "git-duckdb", "chinook"}) {
    std::ostringstream text;
    text << std::ifstream(ACCRETE_SOURCE_DIR "/tests/configs/" + std::string(name) + ".toml")
                .rdbuf();
    texts.push_back(text.str());
  }
  std::ostringstream git;
  git << std::ifstream(ACCRETE_SOURCE_DIR "/daemon/git.toml").rdbuf();
  texts.push_back(git.str());
  for (const std::string& text : texts) {
    const Result<Config> first = parse_config(text, "a.toml");
    ASSERT_TRUE(first) << first.error().detail << "\n" << text;
    const std::string printed = print_config(first.value());
    const Result<Config> second = parse_config(printed, "b.toml");
    ASSERT_TRUE(second) << second.error().detail << "\n" << printed;
    EXPECT_EQ(print_config(second.value()), printed);
    EXPECT_EQ(fold_fingerprint(second.value()), fold_fingerprint(first.value()));
    EXPECT_EQ(second.value().schema.fingerprint(), first.value().schema.fingerprint());
  }
}

TEST(Config, FingerprintHoldsWhatDecidesTheFoldAndNothingElse) {
  const Result<Config> read = parse_config(kShop, "shop.toml");
  ASSERT_TRUE(read) << read.error().detail;
  const std::uint64_t base = fold_fingerprint(read.value());
  const auto changed = [&](const std::string& from, const std::string& to) {
    std::string text = kShop;
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    const Result<Config> other = parse_config(text, "shop.toml");
    EXPECT_TRUE(other) << (other ? "" : other.error().detail);
    return other && fold_fingerprint(other.value()) != base;
  };
  EXPECT_TRUE(changed("seed = 7", "seed = 8"));
  EXPECT_TRUE(changed("\"2 h\"", "\"3 h\""));
  EXPECT_TRUE(changed("status = \"category\"", "status = \"text\""));
  EXPECT_TRUE(changed("time_unit = \"ms\"", "time_unit = \"s\""));
  EXPECT_TRUE(changed("0, 7, DAYS", "0, 8, DAYS"));
  EXPECT_TRUE(changed("2021-01-01", "2021-01-02"));
  EXPECT_TRUE(changed("on_change = false", "on_change = true"));
  EXPECT_TRUE(changed("90 min", "91 min"));
  EXPECT_TRUE(changed("buys.again", "buys.more"));
  EXPECT_FALSE(changed("threads = 2", "threads = 3"));
  // The learners' share of a small memory is part of what they can learn; a large one leaves it.
  EXPECT_TRUE(changed("1 GiB", "2 GiB"));
  EXPECT_FALSE(changed("1 GiB", "1 GiB\"\nfeatures_max = \"64 MiB\"\nlearners_max = \"64 MiB"));
  EXPECT_EQ(features_bytes({.memory_bytes_max = std::size_t{2} << 30}),
            features_bytes({.memory_bytes_max = std::size_t{3} << 30}));
  EXPECT_FALSE(changed("/tmp/shop", "/tmp/other"));
  EXPECT_FALSE(changed("PREDICT COUNT(", "predict  COUNT( "));
}

constexpr const char* kNetwork = R"(
[network]
experts = "attention"
old_experts = "freeze"
width = 48
fan_out = [12, 6, 3]
uniform = true
top = 3
batch_experts = 4
experts_max = 9
batch = 64
passes = 5
mean_steps = 150
learn_until = "2020-05-01"
memory = 4096
memory_per_class = 12
ridge = true
block_loss = false
graph_block_loss = false
topology_gate = false
[blocks]
by = "rows"
every = 5000
[[table]]
name = "t"
)";

TEST(Config, ReadsNetworkAndBlocks) {
  const Result<Config> read = parse_config(kNetwork, "a.toml");
  ASSERT_TRUE(read) << read.error().detail;
  const NetworkConfig& network = read.value().network;
  EXPECT_EQ(network.experts, NetworkConfig::Experts::Attention);
  EXPECT_EQ(network.old_experts, NetworkConfig::OldExperts::Freeze);
  EXPECT_EQ(network.width, 48U);
  EXPECT_EQ(network.fan_out, (std::vector<std::uint64_t>{12, 6, 3}));
  EXPECT_TRUE(network.uniform);
  EXPECT_EQ(network.top, 3U);
  EXPECT_EQ(network.batch_experts, 4U);
  EXPECT_EQ(network.experts_max, 9U);
  EXPECT_EQ(network.batch, 64U);
  EXPECT_EQ(network.passes, 5U);
  EXPECT_EQ(network.mean_steps, 150U);
  EXPECT_EQ(network.learn_until, TimeUs{1588'291'200'000'000});
  EXPECT_EQ(network.memory, 4096U);
  EXPECT_EQ(network.memory_per_class, 12U);
  EXPECT_EQ(network.replay, NetworkConfig::Replay::Rows);
  EXPECT_TRUE(network.ridge);
  EXPECT_FALSE(network.block_loss || network.graph_block_loss || network.topology_gate);
  EXPECT_EQ(read.value().blocks.by, models::BlockRule::Rows);
  EXPECT_EQ(read.value().blocks.every_rows, 5000U);
}

TEST(Config, WhatStandsForOldRowsReadsBackFromItsPrint) {
  for (const auto& [name, replay] :
       {std::pair<std::string, NetworkConfig::Replay>{"rows", NetworkConfig::Replay::Rows},
        {"both", NetworkConfig::Replay::Both},
        {"mixtures", NetworkConfig::Replay::Mixtures},
        {"none", NetworkConfig::Replay::None}}) {
    const Result<Config> read =
        parse_config("[network]\nexperts = \"sage\"\nold_experts = \"freeze\"\nreplay = \"" + name +
                         "\"\n[[table]]\nname = \"t\"\n",
                     "a.toml");
    ASSERT_TRUE(read) << read.error().detail;
    EXPECT_EQ(read.value().network.replay, replay);
    const Result<Config> again = parse_config(print_config(read.value()), "b.toml");
    ASSERT_TRUE(again) << again.error().detail;
    EXPECT_EQ(again.value().network.replay, replay);
  }
}

TEST(Config, NetworkIsOffAndBlocksFollowDriftUnlessTheFileSaysOtherwise) {
  for (const char* sections : {"", "[network]\n[blocks]\n"}) {
    const Result<Config> read =
        parse_config(std::string(sections) + "[[table]]\nname = \"t\"\n", "a.toml");
    ASSERT_TRUE(read) << read.error().detail;
    const NetworkConfig& network = read.value().network;
    EXPECT_EQ(network.experts, NetworkConfig::Experts::Off);
    EXPECT_EQ(network.old_experts, NetworkConfig::OldExperts::Slow);
    EXPECT_EQ(network.width, 32U);
    EXPECT_EQ(network.fan_out, (std::vector<std::uint64_t>{16, 8}));
    EXPECT_FALSE(network.uniform);
    EXPECT_EQ(network.top, 2U);
    EXPECT_EQ(network.batch_experts, 0U);
    EXPECT_EQ(network.experts_max, 16U);
    EXPECT_EQ(network.batch, 256U);
    EXPECT_EQ(network.passes, 8U);
    EXPECT_EQ(network.memory, 65'536U);
    EXPECT_EQ(network.memory_per_class, 0U);
    EXPECT_EQ(network.replay, NetworkConfig::Replay::Rows);
    EXPECT_FALSE(network.ridge);
    EXPECT_TRUE(network.block_loss && network.graph_block_loss && network.topology_gate);
    EXPECT_EQ(read.value().blocks.by, models::BlockRule::Drift);
  }
}

TEST(Config, EveryRuleAndKindOfExpertsReadsBackFromItsPrint) {
  const std::vector<std::string> blocks = {"by = \"drift\"",
                                           "by = \"marker\"",
                                           "by = \"rows\"\nevery = 1",
                                           "by = \"rows\"",
                                           "by = \"rows\"\nevery = 9223372036854775807",
                                           "by = \"classes\"",
                                           "by = \"classes\"\nevery = 5",
                                           "by = \"time\"",
                                           "by = \"time\"\nevery = \"90 min\""};
  for (const char* experts : {"off", "sage", "attention"}) {
    for (const char* old : {"freeze", "slow", "all"}) {
      for (const std::string& rule : blocks) {
        const Result<Config> first = parse_config(
            "[network]\nexperts = \"" + std::string(experts) + "\"\nold_experts = \"" + old +
                "\"\nfan_out = [128]\n[blocks]\n" + rule + "\n[[table]]\nname = \"t\"\n",
            "a.toml");
        ASSERT_TRUE(first) << first.error().detail;
        const std::string printed = print_config(first.value());
        const Result<Config> second = parse_config(printed, "b.toml");
        ASSERT_TRUE(second) << second.error().detail << "\n" << printed;
        EXPECT_EQ(print_config(second.value()), printed);
        EXPECT_EQ(second.value().network.experts, first.value().network.experts);
        EXPECT_EQ(second.value().network.old_experts, first.value().network.old_experts);
        EXPECT_EQ(second.value().network.fan_out, first.value().network.fan_out);
        EXPECT_EQ(second.value().blocks.by, first.value().blocks.by);
        EXPECT_EQ(second.value().blocks.every_rows, first.value().blocks.every_rows);
        EXPECT_EQ(second.value().blocks.every_us, first.value().blocks.every_us);
        EXPECT_EQ(second.value().blocks.every_classes, first.value().blocks.every_classes);
        EXPECT_EQ(fold_fingerprint(second.value()), fold_fingerprint(first.value()));
      }
    }
  }
  const Result<Config> time =
      parse_config("[blocks]\nby = \"time\"\nevery = \"90 min\"\n[[table]]\nname = \"t\"\n", "a");
  ASSERT_TRUE(time) << time.error().detail;
  EXPECT_EQ(time.value().blocks.every_us, 5'400'000'000);
}

TEST(Config, FingerprintHoldsTheNetworkOnlyWhereThereIsOne) {
  const auto fingerprint = [](const std::string& experts, const std::string& from,
                              const std::string& to) {
    std::string text = kNetwork;
    for (const auto& [old, now] :
         {std::pair<std::string, std::string>{from, to}, {"\"attention\"", experts}}) {
      const std::size_t at = text.find(old);
      EXPECT_NE(at, std::string::npos) << old;
      text.replace(at, old.size(), now);
    }
    const Result<Config> config = parse_config(text, "a.toml");
    EXPECT_TRUE(config) << (config ? "" : config.error().detail);
    return config ? fold_fingerprint(config.value()) : 0;
  };
  const std::vector<std::pair<std::string, std::string>> changes = {
      {"\"freeze\"", "\"slow\""},
      {"width = 48", "width = 64"},
      {"[12, 6, 3]", "[12, 6, 4]"},
      {"[12, 6, 3]", "[12, 6]"},
      {"uniform = true", "uniform = false"},
      {"top = 3", "top = 2"},
      {"batch_experts = 4", "batch_experts = 3"},
      {"experts_max = 9", "experts_max = 8"},
      {"batch = 64", "batch = 65"},
      {"passes = 5", "passes = 6"},
      {"mean_steps = 150", "mean_steps = 0"},
      {"2020-05-01", "2020-05-02"},
      {"learn_until = \"2020-05-01\"\n", ""},
      {"memory = 4096", "memory = 4097"},
      {"memory_per_class = 12", "memory_per_class = 13"},
      {"_class = 12", "_class = 12\nreplay = \"both\""},
      {"memory_per_class = 12\nridge = true", "replay = \"mixtures\""},
      {"memory_per_class = 12\nridge = true", "replay = \"none\""},
      {"ridge = true", "ridge = false"},
      {"\nblock_loss = false", "\nblock_loss = true"},
      {"graph_block_loss = false", "graph_block_loss = true"},
      {"topology_gate = false", "topology_gate = true"},
      {"\"rows\"\nevery = 5000", "\"classes\"\nevery = 2"},
      {"\"rows\"\nevery = 5000", "\"classes\"\nevery = 3"},
      {"\"rows\"\nevery = 5000", "\"rows\"\nevery = 5001"},
      {"\"rows\"\nevery = 5000", "\"marker\""},
      {"\"rows\"\nevery = 5000", "\"time\"\nevery = \"1 h\""},
      {"\"rows\"\nevery = 5000", "\"time\"\nevery = \"2 h\""}};
  const std::uint64_t none = fingerprint("\"off\"", "", "");
  std::set<std::uint64_t> seen = {none, fingerprint("\"sage\"", "", ""),
                                  fingerprint("\"attention\"", "", "")};
  EXPECT_EQ(seen.size(), 3U);
  for (const auto& [from, to] : changes) {
    EXPECT_TRUE(seen.insert(fingerprint("\"attention\"", from, to)).second) << to;
    EXPECT_EQ(fingerprint("\"off\"", from, to), none) << to;
  }
}

// NOLINTBEGIN(concurrency-mt-unsafe): the test has one thread
TEST(Config, EnvironmentDecidesTheStore) {
  const Folder folder;
  const std::string plain = folder.write("plain.toml", "[[table]]\nname = \"t\"\n");
  const std::string named =
      folder.write("named.toml", "[store]\npath = \"/named\"\n[[table]]\nname = \"t\"\n");
  const auto path_of = [](const std::string& file) {
    const Result<Config> config = load_config(file);
    return config ? config.value().store.path : config.error().detail;
  };
  ASSERT_EQ(unsetenv("ACCRETED_STORE_PATH"), 0);
  ASSERT_EQ(unsetenv("STATE_DIRECTORY"), 0);
  EXPECT_EQ(path_of(plain), "/var/lib/accreted");
  EXPECT_EQ(path_of(named), "/named");
  ASSERT_EQ(setenv("STATE_DIRECTORY", "/state:/second", 1), 0);
  EXPECT_EQ(path_of(plain), "/state");
  EXPECT_EQ(path_of(named), "/named");
  ASSERT_EQ(setenv("ACCRETED_STORE_PATH", "/override", 1), 0);
  EXPECT_EQ(path_of(plain), "/override");
  EXPECT_EQ(path_of(named), "/override");
  ASSERT_EQ(unsetenv("ACCRETED_STORE_PATH"), 0);
  ASSERT_EQ(unsetenv("STATE_DIRECTORY"), 0);
  const Result<Config> missing = load_config(folder.path() + "/none.toml");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Errc::NotFound);
}
// NOLINTEND(concurrency-mt-unsafe)

}  // namespace
}  // namespace accrete::daemon
