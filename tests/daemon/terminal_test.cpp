// What the tools print: aligned tables, readable numbers, JSON as a tree.
#include "daemon/terminal.h"

#include <cmath>

#include <gtest/gtest.h>

namespace accrete::daemon::terminal {
namespace {

TEST(Terminal, Numbers) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1,000");
  EXPECT_EQ(grouped(123456), "123,456");
  EXPECT_EQ(grouped(18446744073709551615u), "18,446,744,073,709,551,615");
  EXPECT_EQ(bytes_text(1023), "1023 B");
  EXPECT_EQ(bytes_text(1536), "1.5 KiB");
  EXPECT_EQ(bytes_text(3ull << 40), "3.0 TiB");
  EXPECT_EQ(seconds_text(0.123), "0.12 s");
  EXPECT_EQ(seconds_text(59.94), "59.9 s");
  EXPECT_EQ(duration_text(0), "0.0 ms");
  EXPECT_EQ(duration_text(0.02561), "25.6 ms");
  EXPECT_EQ(duration_text(6.5536), "6.55 s");
  EXPECT_EQ(duration_text(std::nan("")), "–");
  EXPECT_EQ(seconds_text(61), "1 min 01 s");
  EXPECT_EQ(seconds_text(7'500), "2 h 05 min");
}

TEST(Terminal, TableAlignsTextLeftAndNumbersRight) {
  Table table({"name", "rows", "note"});
  table.add({"größe", "7", ""});
  table.add({"b", "1,234", "x"});
  EXPECT_EQ(table.text("  "),
            "  name    rows  note\n"
            "  größe      7\n"
            "  b      1,234  x\n");
}

TEST(Terminal, JsonTree) {
  const Result<std::string> tree = tree_of_json(
      R"({"epoch":1,"watermark":null,"list":[1,2],"none":[],"queues":{"a":1,"longer":0.123456789},
          "tasks":[{"name":"t","metrics":{"x":{"auroc":0.5},"y":{"auroc":0.25,"n":3}}}],
          "flat":[{"k":"a","v":1},{"k":"b","w":true}]})");
  ASSERT_TRUE(tree);
  EXPECT_EQ(tree.value(),
            "epoch      1\n"
            "watermark  -\n"
            "list       1, 2\n"
            "none       none\n"
            "queues\n"
            "  a       1\n"
            "  longer  0.12346\n"
            "tasks\n"
            "  name  t\n"
            "  metrics\n"
            "       auroc  n\n"
            "    x    0.5\n"
            "    y   0.25  3\n"
            "flat\n"
            "  k  v  w\n"
            "  a  1\n"
            "  b     true\n");
  EXPECT_FALSE(tree_of_json("{"));
}

TEST(Terminal, CountsKeepTheirDigits) {
  const Result<std::string> tree =
      tree_of_json(R"({"rows":44564510,"most":18446744073709551615,"least":-3000000,"mean":3e6})");
  ASSERT_TRUE(tree);
  EXPECT_EQ(tree.value(),
            "rows   44564510\n"
            "most   18446744073709551615\n"
            "least  -3000000\n"
            "mean   3e+06\n");
}

}  // namespace
}  // namespace accrete::daemon::terminal
