// The configuration: what is read, what is printed, and that printing reads back to the same.
#include "daemon/config.h"

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

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
  EXPECT_FALSE(task.on_change);
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
