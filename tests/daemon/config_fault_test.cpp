// Wrong configurations: each is refused with its place and a message that helps.
#include <string>

#include <gtest/gtest.h>

#include "daemon/config.h"

namespace accrete::daemon {
namespace {

struct Fault {
  const char* name;
  const char* text;
  const char* message;  // somewhere in the error
};

constexpr const char* kTable = "[[table]]\nname = \"t\"\nkey = \"id\"\n";

void PrintTo(const Fault& fault, std::ostream* out) {
  *out << fault.name;
}

class Whole : public testing::TestWithParam<Fault> {};

TEST_P(Whole, IsRefused) {
  const Result<Config> config = parse_config(GetParam().text, "a.toml");
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().code, Errc::Malformed);
  EXPECT_NE(config.error().detail.find(GetParam().message), std::string::npos)
      << config.error().detail;
}

/// The same below a good table `t` with key `id`, which is lines 1 to 3.
class BesideTable : public testing::TestWithParam<Fault> {};

TEST_P(BesideTable, IsRefused) {
  ASSERT_TRUE(parse_config(kTable, "a.toml"));
  const Result<Config> config = parse_config(std::string(kTable) + GetParam().text, "a.toml");
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().code, Errc::Malformed);
  EXPECT_NE(config.error().detail.find(GetParam().message), std::string::npos)
      << config.error().detail;
}

std::string name_of(const testing::TestParamInfo<Fault>& info) {
  return info.param.name;
}

INSTANTIATE_TEST_SUITE_P(
    Config, Whole,
    testing::Values(
        Fault{"Empty", "", "there is no [[table]]; name at least one table to follow"},
        Fault{"NoToml", "a = = 1", "a.toml:1:"},
        Fault{"RepeatedKey", "seed = 1\nseed = 2\n", "a.toml:2:"},
        Fault{"UnknownTopKey", "sed = 1\n[[table]]\nname = \"t\"\n",
              "a.toml:1:1: unknown key \"sed\" in the configuration; did you mean \"seed\"?"},
        Fault{"SeedIsText", "seed = \"1\"\n",
              "a.toml:1:8: key \"seed\" in the configuration must "
              "be an integer, found a text"},
        Fault{"SeedNegative", "seed = -1\n", "seed = -1 is out of range"},
        Fault{"ThreadsTooMany", "threads = 5000\n",
              "threads = 5000 is out of range, give 0 to 1024"},
        Fault{"TableIsNoList", "[table]\nname = \"t\"\n",
              "key \"table\" in the configuration must be a list of tables, written [[table]]"},
        Fault{"TablesOfText", "table = [\"t\"]\n", "must be a list of tables, written [[table]]"},
        Fault{"StoreIsText", "store = \"/x\"\n", "must be a table, written [store], found a text"},
        Fault{"NetworkIsText", "network = \"sage\"\n",
              "a.toml:1:11: key \"network\" in the configuration must be a table, written "
              "[network], found a text"},
        Fault{"TableWithoutName", "[[table]]\nkey = \"id\"\n",
              "a.toml:1:1: [[table]]: name is missing"},
        Fault{"TableNameEmpty", "[[table]]\nname = \"\"\n", "name must have 1 to 256 bytes"},
        Fault{"KeyIsNumber", "[[table]]\nname = \"t\"\nkey = 1\n",
              "a.toml:3:7: key \"key\" in [[table]] \"t\" must be a text or a list of texts, found "
              "an integer"},
        Fault{"KeyListOfNumbers", "[[table]]\nname = \"t\"\nkey = [\"a\", 2]\n",
              "a.toml:3:13: key \"key\" in [[table]] \"t\" must be a text or a list of texts"},
        Fault{"KeyColumnTwice", "[[table]]\nname = \"t\"\nkey = [\"a\", \"a\"]\n",
              "column \"a\" is in the key twice"},
        Fault{"KeyColumnEmpty", "[[table]]\nname = \"t\"\nkey = \"\"\n",
              "a column name must have 1 to 256 bytes"},
        Fault{"KeyTooWide",
              "[[table]]\nname = \"t\"\nkey = [\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\","
              "\"9\",\"10\",\"11\",\"12\",\"13\",\"14\",\"15\",\"16\",\"17\"]\n",
              "a key has at most 16 columns"}),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    Tables, BesideTable,
    testing::Values(
        Fault{"UnknownKey", "foriegn_keys = { a = \"t\" }\n",
              "a.toml:4:1: unknown key \"foriegn_keys\" in [[table]] \"t\"; did you mean "
              "\"foreign_keys\"?"},
        Fault{"SameName", "[[table]]\nname = \"t\"\n",
              "a.toml:4:1: [[table]] \"t\": there is another table of this name"},
        Fault{"UnknownUnit", "time = \"at\"\ntime_unit = \"sec\"\n",
              "a.toml:5:13: [[table]] \"t\": unknown time_unit \"sec\"; give s, ms or us"},
        Fault{"UnitWithoutTime", "time_unit = \"ms\"\n", "time_unit needs a time column"},
        Fault{
            "UnknownKind", "columns = { a = \"categry\" }\n",
            "a.toml:4:17: [[table]] \"t\": unknown kind \"categry\" of column \"a\"; did you mean "
            "\"category\"?"},
        Fault{"KindIsKey", "columns = { a = \"key\" }\n", "becomes a key by key = …"},
        Fault{"KindOfTime", "time = \"at\"\ncolumns = { at = \"text\" }\n",
              "column \"at\" is the time column, its kind cannot be text"},
        Fault{"KindIsNumber", "columns = { a = 1 }\n",
              "key \"columns.a\" in [[table]] \"t\" must be a text, found an integer"},
        Fault{"IgnoredKey", "ignore = [\"id\"]\n", "column \"id\" is ignored and used"},
        Fault{"ParentUnknown", "foreign_keys = { a = \"Parnt\" }\n[[table]]\nname = \"parent\"\n",
              "a.toml:4:22: [[table]] \"t\": foreign key \"a\" = \"Parnt\": there is no such "
              "table; did "
              "you mean \"parent\"?"},
        Fault{"ParentWithoutKey", "foreign_keys = { a = \"u\" }\n[[table]]\nname = \"u\"\n",
              "that table has no key; give it key = [\"…\"]"},
        Fault{"Arity", "foreign_keys = { \"a,b\" = \"t\" }\n",
              "a.toml:4:18: [[table]] \"t\": foreign key \"a,b\" = \"t\": 2 column(s), but the key "
              "of that table has 1"},
        Fault{"ForeignColumnTwice", "foreign_keys = { \"a,a\" = \"t\" }\n",
              "names column \"a\" twice"},
        Fault{"ForeignKeyTwice",
              "foreign_keys = { \"a,b\" = \"u\", \"a, b\" = \"u\" }\n[[table]]\nname = \"u\"\n"
              "key = [\"x\", \"y\"]\n",
              "foreign key \"a, b\" is given twice"},
        Fault{"ForeignKeysOfList", "foreign_keys = [\"t\"]\n",
              "must be a table { name = \"value\", … }, found a list"}),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    Sections, BesideTable,
    testing::Values(
        Fault{"StoreUnknownKey", "[store]\npaths = \"x\"\n",
              "a.toml:5:1: unknown key \"paths\" in [store]; did you mean \"path\"?"},
        Fault{"StorePathEmpty", "[store]\npath = \"\"\n", "path is empty; name a folder"},
        Fault{"EndpointNoAddress", "[endpoints]\ningest = \"localhost:7701\"\n",
              "ingest = \"localhost:7701\" is no address; give tcp://HOST:PORT or ipc://PATH"},
        Fault{"EndpointsEqual", "[endpoints]\ncontrol = \"tcp://127.0.0.1:7701\"\n",
              "control and ingest have the same address tcp://127.0.0.1:7701"},
        Fault{"HttpNoAddress", "[endpoints]\nhttp = \"127.0.0.1:7705\"\n",
              "a.toml:5:8: [endpoints]: http: \"127.0.0.1:7705\" is no address"},
        Fault{"HttpOpen", "[endpoints]\nhttp = \"http://0.0.0.0:7705\"\n",
              "HTTP has no keys: give a loopback address, or say http_public = true"},
        Fault{"EndpointOpenWithoutCurve", "[endpoints]\ningest = \"tcp://0.0.0.0:7701\"\n",
              "a.toml:5:10: [endpoints]: ingest: "},
        Fault{"CurveClientsAlone", "[curve]\nclients_file = \"c\"\n",
              "clients_file needs key_file"},
        Fault{"SizeUnit", "[limits]\nmemory_max = \"2 gigs\"\n",
              "memory_max = \"2 gigs\" is no size; give a number and B, KiB"},
        Fault{"SizeTooLarge", "[limits]\nlog_max = \"99999999999 TiB\"\n", "is no size"},
        Fault{"SizeIsFlag", "[limits]\ncredit = true\n",
              "must be a size such as \"64 MiB\" or a number of bytes, found true or false"},
        Fault{"MemoryTooSmall", "[limits]\nmemory_max = \"1 MiB\"\n",
              "memory_max must be at least 67108864 bytes"},
        Fault{"LearnersTooSmall", "[limits]\nlearners_max = 1\n",
              "learners_max must be at least 1048576 bytes, or left out"},
        Fault{"FeaturesTooSmall", "[limits]\nfeatures_max = \"1023 KiB\"\n",
              "features_max must be at least 1048576 bytes, or left out"},
        Fault{"CreditTooSmall", "[limits]\ncredit = \"1 KiB\"\n",
              "credit must be at least 262144 bytes, one message of a producer"},
        Fault{"CreditOverMemory", "[limits]\ncredit = \"3 GiB\"\n", "is more than memory_max"},
        Fault{"TransactionOverMemory", "[limits]\ntransaction_max = \"4 GiB\"\n",
              "transaction_max (4294967296 bytes) is more than memory_max (2147483648 bytes)"},
        Fault{"TransactionTooSmall", "[limits]\ntransaction_max = \"1 MiB\"\n",
              "transaction_max must be at least 16777216 bytes, the largest single row"},
        Fault{"LogUnderTransaction", "[limits]\nlog_max = \"1 MiB\"\n",
              "log_max must be 0 (no bound) or at least transaction_max"},
        Fault{"CountZero", "[limits]\ngroup_rows_max = 0\n",
              "group_rows_max = 0 is out of range, give 1 to 1048576"},
        Fault{"DurationWithoutUnit", "[limits]\nlateness = 30\n",
              "must be a duration such as \"30 s\", found an integer"},
        Fault{"DurationUnit", "[limits]\nlateness = \"2 months\"\n", "lateness: "},
        Fault{"DurationNegative", "[limits]\nlateness = \"-1 s\"\n", "lateness"},
        Fault{"DeadlineZero", "[limits]\nsubscriber_deadline = 0\n",
              "subscriber_deadline must be longer than 0"},
        Fault{"UnknownLimit", "[limits]\nlatenes = \"1 s\"\n", "did you mean \"lateness\"?"},
        Fault{"LogLevel", "[log]\nlevel = \"warning\"\n",
              "unknown level \"warning\"; give trace, debug, info, warn or error; did you mean"}),
    name_of);

/// A section with experts, unless it says which; they come last and move nothing.
std::string with_experts(std::string text) {
  const bool network = text.starts_with("[network]\n");
  if (network && text.find("\nexperts =") == std::string::npos) text += "experts = \"sage\"\n";
  return text;
}

/// The whole text after `a.toml:`, and nothing else is said.
class NetworkSections : public testing::TestWithParam<Fault> {};

TEST_P(NetworkSections, AreRefusedWithOneMessage) {
  const Result<Config> config =
      parse_config(std::string(kTable) + with_experts(GetParam().text), "a.toml");
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().code, Errc::Malformed);
  EXPECT_EQ(config.error().detail, "a.toml:" + std::string(GetParam().message));
}

TEST(NetworkSection, WithoutExpertsIsRefused) {
  const Result<Config> config = parse_config(std::string(kTable) + "[network]\nwidth = 64\n", "a");
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().detail,
            "a:4:1: [network]: without experts there is no network: give experts = \"sage\" or "
            "\"attention\" (or \"off\" to keep the section for later)");
}

INSTANTIATE_TEST_SUITE_P(
    Network, NetworkSections,
    testing::Values(
        Fault{"UnknownSection", "[netwrk]\n",
              "4:2: unknown key \"netwrk\" in the configuration; did you mean \"network\"?"},
        Fault{"UnknownKey", "[network]\nfanout = [4]\n",
              "5:1: unknown key \"fanout\" in [network]; did you mean \"fan_out\"?"},
        Fault{"ExpertsUnknown", "[network]\nexperts = \"sagé\"\n",
              "5:11: [network]: experts = \"sagé\" is none of off, sage, attention; did you mean "
              "\"sage\"?"},
        Fault{"ReplayUnfrozen", "[network]\nreplay = \"mixtures\"\n",
              "5:10: [network]: replay = \"mixtures\" needs old_experts = \"freeze\""},
        Fault{"RidgeWithoutRows",
              "[network]\nold_experts = \"freeze\"\nreplay = \"none\"\nridge = true\n",
              "7:9: [network]: ridge needs kept rows: replay = \"rows\" or \"both\""},
        Fault{"PerClassWithoutRows",
              "[network]\nold_experts = \"freeze\"\nreplay = \"mixtures\"\nmemory_per_class = 5\n",
              "7:20: [network]: memory_per_class needs kept rows: replay = \"rows\" or \"both\""},
        Fault{"ExpertsOfFlag", "[network]\nexperts = true\n",
              "5:11: key \"experts\" in [network] must be a text, found true or false"},
        Fault{"ExpertsFarFromAll", "[network]\nexperts = \"transformers\"\n",
              "5:11: [network]: experts = \"transformers\" is none of off, sage, attention"},
        Fault{"OldExpertsUnknown", "[network]\nold_experts = \"freze\"\n",
              "5:15: [network]: old_experts = \"freze\" is none of freeze, slow, all; did you mean "
              "\"freeze\"?"},
        Fault{"WidthSmall", "[network]\nwidth = 8\n",
              "5:9: [network]: width = 8 is out of range, give 16 to 256"},
        Fault{"WidthNoMultiple", "[network]\nwidth = 40\n",
              "5:9: [network]: width = 40 must be a multiple of 16"},
        Fault{"FanOutIsNumber", "[network]\nfan_out = 16\n",
              "5:11: key \"fan_out\" in [network] must be a list of integers, found an integer"},
        Fault{"FanOutOfText", "[network]\nfan_out = [16, \"8\"]\n",
              "5:16: key \"fan_out\" in [network] must be an integer, found a text"},
        Fault{"FanOutEmpty", "[network]\nfan_out = []\n",
              "5:11: [network]: fan_out must have 1 to 3 numbers, one a layer"},
        Fault{"FanOutLong", "[network]\nfan_out = [4, 4, 4, 4, 4]\n",
              "5:11: [network]: fan_out must have 1 to 3 numbers, one a layer"},
        Fault{"FanOutHuge", "[network]\nfan_out = [128, 128, 128]\nwidth = 256\n",
              "5:11: [network]: what lies around one row may take 2048 MiB an array, at most 32: "
              "give less fan_out or width"},
        Fault{"FanOutZero", "[network]\nfan_out = [4, 0]\n",
              "5:11: [network]: fan_out = 0 is out of range, give 1 to 128"},
        Fault{"UniformIsNumber", "[network]\nuniform = 1\n",
              "5:11: key \"uniform\" in [network] must be true or false, found an integer"},
        Fault{"TopZero", "[network]\ntop = 0\n",
              "5:7: [network]: top = 0 is out of range, give 1 to 16"},
        Fault{"ExpertsMaxLarge", "[network]\nexperts_max = 257\n",
              "5:15: [network]: experts_max = 257 is out of range, give 1 to 256"},
        Fault{"BatchSmall", "[network]\nbatch = 15\n",
              "5:9: [network]: batch = 15 is out of range, give 16 to 4096"},
        Fault{"MeanStepsTooMany", "[network]\nmean_steps = 1000001\n",
              "5:14: [network]: mean_steps = 1000001 is out of range, give 0 to 1000000"},
        Fault{"LearnUntilIsNoTime", "[network]\nlearn_until = \"soon\"\n",
              "5:15: [network]: learn_until: not a time: \"soon\"; expected 2010-01-01, 2010-01-01 "
              "12:30[:05[.25]] or 2010-01-01T12:30:05Z (also +02:00, +0200, +02), years 0001 to "
              "9999"},
        Fault{"LearnUntilTwice", "[network]\nlearn_until = [\"2020-01-01\", \"2021-01-01\"]\n",
              "5:15: [network]: learn_until must be one time"},
        Fault{"PassesNegative", "[network]\npasses = -1\n",
              "5:10: [network]: passes = -1 is out of range, give 1 to 1000"},
        Fault{"BlockLossIsNumber", "[network]\nblock_loss = 0\n",
              "5:14: key \"block_loss\" in [network] must be true or false, found an integer"},
        Fault{"MemorySmall", "[network]\nmemory = 255\n",
              "5:10: [network]: memory = 255 is out of range, give 4096 to 1048576"}),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    Blocks, NetworkSections,
    testing::Values(
        Fault{"ByUnknown", "[blocks]\nby = \"row\"\n",
              "5:6: [blocks]: by = \"row\" is none of drift, rows, time, marker, classes; did you "
              "mean \"rows\"?"},
        // Which kind of `every` was meant is not known: nothing is said of it.
        Fault{"ByUnknownWithEvery", "[blocks]\nby = \"tme\"\nevery = \"7 days\"\n",
              "5:6: [blocks]: by = \"tme\" is none of drift, rows, time, marker, classes; did you "
              "mean \"time\"?"},
        Fault{"ByIsNumberWithEvery", "[blocks]\nby = 5\nevery = 5\n",
              "5:6: key \"by\" in [blocks] must be a text, found an integer"},
        Fault{"EveryUnderDrift", "[blocks]\nby = \"drift\"\nevery = 1000\n",
              "6:9: [blocks]: every needs by = \"rows\", \"time\" or \"classes\""},
        Fault{"EveryWithoutBy", "[blocks]\nevery = \"1 day\"\n",
              "5:9: [blocks]: every needs by = \"rows\", \"time\" or \"classes\""},
        Fault{"EveryUnderMarker", "[blocks]\nby = \"marker\"\nevery = 1000\n",
              "6:9: [blocks]: every needs by = \"rows\", \"time\" or \"classes\""},
        Fault{"ClassesZero", "[blocks]\nby = \"classes\"\nevery = 0\n",
              "6:9: [blocks]: every = 0 is out of range, give 1 to 65536"},
        Fault{"RowsZero", "[blocks]\nby = \"rows\"\nevery = 0\n",
              "6:9: [blocks]: every = 0 is out of range, give 1 to 9223372036854775807"},
        Fault{"RowsOfDuration", "[blocks]\nby = \"rows\"\nevery = \"1 day\"\n",
              "6:9: key \"every\" in [blocks] must be an integer, found a text"},
        Fault{"TimeZero", "[blocks]\nby = \"time\"\nevery = 0\n",
              "6:9: [blocks]: every must be longer than 0"},
        Fault{"TimeOfNumber", "[blocks]\nby = \"time\"\nevery = 1000\n",
              "6:9: key \"every\" in [blocks] must be a duration such as \"30 s\", found an "
              "integer"},
        Fault{"UnknownKey", "[blocks]\nevry = 1000\n",
              "5:1: unknown key \"evry\" in [blocks]; did you mean \"every\"?"}),
    name_of);

constexpr const char* kGoodQuery = "PREDICT COUNT(t.*, 0, 1, DAYS) FOR EACH t.id EVERY 1 DAY";

std::string task(const std::string& name, const std::string& query, const std::string& more = "") {
  return "[[task]]\nname = \"" + name + "\"\npredict = \"" + query + "\"\n" + more;
}

TEST(ConfigTask, Faults) {
  struct Case {
    std::string text;
    std::string message;
  };
  const std::vector<Case> cases = {
      {"[[task]]\npredict = \"" + std::string(kGoodQuery) + "\"\n",
       "a.toml:4:1: [[task]]: name is missing"},
      {"[[task]]\nname = \"a\"\n", "[[task]] \"a\": predict is missing"},
      {task("a b", kGoodQuery), "a task name is part of a topic"},
      {task("a/b", kGoodQuery), "a task name is part of a topic"},
      {task("", kGoodQuery), "a task name is part of a topic"},
      {task("a", kGoodQuery) + task("a", kGoodQuery),
       "a.toml:7:1: [[task]] \"a\": there is another task of this name"},
      {task("a", "PREDICT CONT(t.*, 0, 1, DAYS) FOR EACH t.id EVERY 1 DAY"),
       "a.toml:6:11: [[task]] \"a\": predict:\nPREDICT CONT("},
      {task("a", "PREDICT COUNT(tt.*, 0, 1, DAYS) FOR EACH t.id EVERY 1 DAY"),
       "unknown table \"tt\"; did you mean \"t\"?"},
      {task("a", "PREDICT COUNT(t.*, 0, 1, DAYS) FOR EACH tx.id EVERY 1 DAY"),
       "unknown table \"tx\""},
      {task("a", "PREDICT COUNT(t.* WHERE q.x = 1, 0, 1, DAYS) FOR EACH t.id EVERY 1 DAY"),
       "unknown table \"q\""},
      {task("a",
            "PREDICT COUNT(t.*, 0, 1, DAYS) FOR EACH t.id WHERE NOT (t.x = 1 AND "
            "COUNT(zz.*, -7, 0, DAYS) > 0) EVERY 1 DAY"),
       "unknown table \"zz\""},
      {task("a", kGoodQuery, "anchor = \"yesterday\"\n"), "a.toml:7:10: [[task]] \"a\": anchor: "},
      {task("a", kGoodQuery, "anchor = 5\n"), "must be a date or a list of dates"},
      {task("a", kGoodQuery, "anchor = [\"2010-01-01\", \"2005-01-01\"]\n"), "anchors must rise"},
      {task("a", "PREDICT t.x FOR EACH t.id", "anchor = \"2010-01-01\"\n"),
       "anchor needs a query with EVERY"},
      {task("a", kGoodQuery, "on_change = \"yes\"\n"),
       "[[task]] \"a\": on_change = \"yes\" is none of true, false, \"frontier\""},
      {task("a", kGoodQuery, "on_change = 1\n"),
       "key \"on_change\" in [[task]] \"a\" must be true or false, found"},
      {task("a", kGoodQuery, "on_change = \"frontier\"\n"),
       "there is none: give [network] experts, or say on_change = true"},
      {task("a", kGoodQuery, "debounce = 5\n"), "must be a duration such as \"30 s\""},
      {task("a", kGoodQuery, "query = \"x\"\n"), "unknown key \"query\" in [[task]] \"a\""},
  };
  ASSERT_TRUE(parse_config(kTable + task("a", kGoodQuery), "a.toml"));
  for (const Case& wrong : cases) {
    const Result<Config> config = parse_config(kTable + wrong.text, "a.toml");
    ASSERT_FALSE(config) << wrong.text;
    EXPECT_NE(config.error().detail.find(wrong.message), std::string::npos)
        << wrong.text << config.error().detail << "\nexpected: " << wrong.message;
  }
}

TEST(ConfigFault, ANetworkThatIsMisspeltIsOneFault) {
  const std::string text = kTable + task("a", kGoodQuery, "on_change = \"frontier\"\n") +
                           "[network]\nexperts = \"sag\"\n";
  const Result<Config> config = parse_config(text, "a.toml");
  ASSERT_FALSE(config);
  EXPECT_NE(config.error().detail.find("experts = \"sag\" is none of"), std::string::npos);
  EXPECT_EQ(config.error().detail.find("frontier"), std::string::npos) << config.error().detail;
}

TEST(ConfigTask, UnknownTableHasItsCaret) {
  const Result<Config> config = parse_config(
      kTable + task("a", "PREDICT COUNT(tt.*, 0, 1, DAYS) FOR EACH t.id EVERY 1 DAY"), "a.toml");
  ASSERT_FALSE(config);
  const std::string& detail = config.error().detail;
  const std::size_t query = detail.find("PREDICT COUNT(tt");
  const std::size_t caret = detail.find('^');
  ASSERT_NE(query, std::string::npos) << detail;
  ASSERT_NE(caret, std::string::npos) << detail;
  EXPECT_EQ(caret - detail.rfind('\n', caret) - 1,
            detail.find("tt.*") - (detail.rfind('\n', query) + 1))
      << detail;
}

TEST(Config, AllFaultsAreToldAtOnceInTheOrderOfTheFile) {
  const Result<Config> config =
      parse_config("seed = true\n[[table]]\nname = 1\n[[table]]\nname = \"a\"\nkei = \"x\"\n", "f");
  ASSERT_FALSE(config);
  const std::string& detail = config.error().detail;
  const std::size_t seed = detail.find("f:1:8:");
  const std::size_t name = detail.find("f:3:8:");
  const std::size_t key = detail.find("f:6:1:");
  EXPECT_NE(key, std::string::npos) << detail;
  EXPECT_LT(seed, name) << detail;
  EXPECT_LT(name, key) << detail;
}

}  // namespace
}  // namespace accrete::daemon
