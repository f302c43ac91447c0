// The query language: what parses and how it prints, and the exact message for what does not.
#include "proto/query.h"

#include <array>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include "proto/limits.h"
#include "proto/rng.h"
#include "proto/time.h"
#include "tests/proto/query_equality.h"

namespace accrete::query {
namespace {

struct Good {
  std::string_view text;
  std::string_view printed;  ///< "" where the text is canonical already
};

// Short forms: the parts that do not matter for a case are as brief as the grammar allows.
const std::vector<Good> good = {
    {"PREDICT MAX(results.statusId != 1, 0, 30, DAYS)   FOR EACH drivers.driverId  "
     "WHERE COUNT(results.*, -365, 0, DAYS) > 0  EVERY 30 DAYS",
     "PREDICT MAX(results.statusId != 1, 0, 30, DAYS) FOR EACH drivers.driverId "
     "WHERE COUNT(results.*, -365, 0, DAYS) > 0 EVERY 30 DAYS"},
    {"PREDICT AVG(results.positionOrder, 0, 60, DAYS) FOR EACH drivers.driverId "
     "WHERE COUNT(results.*, -365, 0, DAYS) > 0 EVERY 60 DAYS",
     ""},
    {"PREDICT COUNT(orders.*, 0, 7, DAYS), 14, 28 FOR EACH customers.id EVERY 1 DAY  -- horizons",
     "PREDICT COUNT(orders.*, 0, 7, DAYS), 14, 28 FOR EACH customers.id EVERY 1 DAYS"},
    {"PREDICT papers.field FOR EACH papers.id -- a column of the row itself", ""},
    {"PREDICT LIST_DISTINCT(ratings.movieId, 0, 30, DAYS) RANK TOP 10 FOR EACH users.id", ""},
    // every aggregate, in any case
    {"predict sum(o.v, 0, 1, day) for each c.id", "PREDICT SUM(o.v, 0, 1, DAYS) FOR EACH c.id"},
    {"PREDICT MIN(o.v, 0, 1, DAYS) FOR EACH c.id", ""},
    {"PREDICT FIRST(o.v, 0, 1, DAYS) FOR EACH c.id", ""},
    {"PREDICT LAST(o.v, 0, 1, DAYS) FOR EACH c.id", ""},
    {"PREDICT Count_Distinct(o.v, 0, 1, DAYS) FOR EACH c.id",
     "PREDICT COUNT_DISTINCT(o.v, 0, 1, DAYS) FOR EACH c.id"},
    {"PREDICT EXISTS(o.*, 0, 1, DAYS) FOR EACH c.id", ""},
    {"PREDICT EXISTS(o.v, 0, 1, DAYS) FOR EACH c.id", ""},
    {"PREDICT LIST_DISTINCT(o.v, 0, 1, DAYS) FOR EACH c.id", ""},
    // windows: units, fractions, signs
    {"PREDICT SUM(o.v, 0, 2, WEEKS) FOR EACH c.id", "PREDICT SUM(o.v, 0, 14, DAYS) FOR EACH c.id"},
    {"PREDICT SUM(o.v, 0, 48, HOURS) FOR EACH c.id", "PREDICT SUM(o.v, 0, 2, DAYS) FOR EACH c.id"},
    {"PREDICT SUM(o.v, 0, 0.5, DAYS) FOR EACH c.id",
     "PREDICT SUM(o.v, 0, 12, HOURS) FOR EACH c.id"},
    {"PREDICT SUM(o.v, -1.5, 90, MINUTES) FOR EACH c.id",
     "PREDICT SUM(o.v, -90, 5400, SECONDS) FOR EACH c.id"},
    {"PREDICT SUM(o.v, -0.25, 0.000001, SECONDS) FOR EACH c.id", ""},
    {"PREDICT SUM(o.v, +1, +2, HOURS) FOR EACH c.id",
     "PREDICT SUM(o.v, 1, 2, HOURS) FOR EACH c.id"},
    {"PREDICT SUM(o.v, - 7, - 1, DAYS) FOR EACH c.id",
     "PREDICT SUM(o.v, -7, -1, DAYS) FOR EACH c.id"},
    {"PREDICT LAST(o.v, -inf, 0, DAYS) FOR EACH c.id",
     "PREDICT LAST(o.v, -INF, 0, DAYS) FOR EACH c.id"},
    {"PREDICT SUM(o.v, 0, 1, DAYS), 1.5, 2 FOR EACH c.id",
     "PREDICT SUM(o.v, 0, 24, HOURS), 36, 48 FOR EACH c.id"},
    {"PREDICT SUM(o.v, 0, 1, DAYS) VIA buyer_id FOR EACH c.id", ""},
    {"PREDICT SUM(o.v, 0, 1, DAYS) VIA \"buyer id\" > 5, 2 FOR EACH c.id", ""},
    // constants
    {"PREDICT COUNT(o.*, 0, 1, DAYS) > 0 FOR EACH c.id", ""},
    {"PREDICT COUNT(o.*, 0, 1, DAYS) == 0 FOR EACH c.id",
     "PREDICT COUNT(o.*, 0, 1, DAYS) = 0 FOR EACH c.id"},
    {"PREDICT LAST(o.v, 0, 1, DAYS) <> 'it''s' FOR EACH c.id",
     "PREDICT LAST(o.v, 0, 1, DAYS) != 'it''s' FOR EACH c.id"},
    {"PREDICT LAST(o.v = true, 0, 1, DAYS) FOR EACH c.id",
     "PREDICT LAST(o.v = TRUE, 0, 1, DAYS) FOR EACH c.id"},
    {"PREDICT MIN(o.v <= -9223372036854775808, 0, 1, DAYS) FOR EACH c.id", ""},
    {"PREDICT MIN(o.v >= 1.0, 0, 1, DAYS) FOR EACH c.id", ""},
    {"PREDICT MIN(o.v < 2.50E+3, 0, 1, DAYS) FOR EACH c.id",
     "PREDICT MIN(o.v < 2500.0, 0, 1, DAYS) FOR EACH c.id"},
    {"PREDICT MIN(o.v < -0.1, 0, 1, DAYS) FOR EACH c.id", ""},
    {"PREDICT LAST(o.v = 'naïve − 東京', 0, 1, DAYS) FOR EACH c.id", ""},
    {"PREDICT LAST(o.v = '', 0, 1, DAYS) FOR EACH c.id", ""},
    // conditions
    {"PREDICT c.x FOR EACH c.id WHERE c.x IS NULL AND c.y is not null",
     "PREDICT c.x FOR EACH c.id WHERE c.x IS NULL AND c.y IS NOT NULL"},
    {"PREDICT c.x FOR EACH c.id WHERE c.a = 1 OR c.b = 2 AND c.d = 3",
     "PREDICT c.x FOR EACH c.id WHERE c.a = 1 OR c.b = 2 AND c.d = 3"},
    {"PREDICT c.x FOR EACH c.id WHERE (c.a = 1 OR c.b = 2) AND NOT c.d = FALSE", ""},
    {"PREDICT c.x FOR EACH c.id WHERE NOT (c.a = 1 AND c.b = 2)", ""},
    {"PREDICT c.x FOR EACH c.id WHERE NOT NOT ((c.a = 1))",
     "PREDICT c.x FOR EACH c.id WHERE NOT NOT c.a = 1"},
    {"PREDICT c.x FOR EACH c.id WHERE (c.a = 1 AND c.b = 2) AND (c.d = 3 OR (c.e = 4 OR c.f = 5))",
     ""},
    {"PREDICT SUM(o.v WHERE o.w > 3 AND o.k = 'x', 0, 1, DAYS) FOR EACH c.id", ""},
    {"PREDICT SUM(o.v > 2 WHERE (o.w > 3 OR o.w IS NULL), 0, 1, DAYS) FOR EACH c.id",
     "PREDICT SUM(o.v > 2 WHERE o.w > 3 OR o.w IS NULL, 0, 1, DAYS) FOR EACH c.id"},
    {"PREDICT SUM(o.v WHERE COUNT(i.*, -1, 0, DAYS) > 2, 0, 1, DAYS) FOR EACH c.id", ""},
    // names: no word is reserved, other names are quoted
    {"PREDICT count.where FOR EACH each.for WHERE not.and = 1 AND every.is IS NULL EVERY 1 DAYS",
     ""},
    {"PREDICT SUM(where.distinct WHERE distinct.via = 1, 0, 1, DAYS) VIA for FOR EACH c.id", ""},
    {"PREDICT \"2020 \"\"orders\"\"\".\"naïve\" FOR EACH \"plain\".id",
     "PREDICT \"2020 \"\"orders\"\"\".\"naïve\" FOR EACH plain.id"},
    {"PREDICT c . x FOR EACH c\n.\nid", "PREDICT c.x FOR EACH c.id"},
    // blanks and comments
    {"-- what\r\nPREDICT c.x -- which\n\tFOR EACH c.id\n-- the end", "PREDICT c.x FOR EACH c.id"},
    {"PREDICT c.x FOR EACH c.id WHERE c.a=-1--1", "PREDICT c.x FOR EACH c.id WHERE c.a = -1"},
    // every
    {"PREDICT c.x FOR EACH c.id EVERY 0.5 HOURS", "PREDICT c.x FOR EACH c.id EVERY 30 MINUTES"},
    {"PREDICT c.x FOR EACH c.id EVERY 1 week", "PREDICT c.x FOR EACH c.id EVERY 7 DAYS"},
};

TEST(Query, GoodQueriesPrintInTheirCanonicalForm) {
  EXPECT_GE(good.size(), 40U);
  for (const Good& c : good) {
    const auto parsed = parse(c.text);
    ASSERT_TRUE(parsed) << parsed.error().detail;
    const std::string printed = print(parsed.value());
    if (c.printed.empty()) {
      EXPECT_EQ(printed, c.text.substr(0, c.text.find(" --")));
    } else {
      EXPECT_EQ(printed, c.printed);
    }
    EXPECT_EQ(parsed.value().text, c.text);
    const auto again = parse(printed);
    ASSERT_TRUE(again) << again.error().detail;
    EXPECT_TRUE(same(parsed.value(), again.value())) << printed;
  }
}

TEST(Query, TheTreeHoldsWhatWasWritten) {
  const auto parsed = parse(
      "PREDICT SUM(o.v >= 2.5 WHERE o.k = 'x', -INF, 0.5, DAYS) VIA buyer != -3, 7\n"
      "FOR EACH c.id WHERE NOT c.a IS NULL EVERY 2 HOURS");
  ASSERT_TRUE(parsed) << parsed.error().detail;
  const Query& query = parsed.value();
  const auto& window = std::get<Window>(query.target.operand);
  EXPECT_EQ(window.aggregate, Aggregate::Sum);
  EXPECT_EQ(window.argument.table, "o");
  EXPECT_EQ(window.argument.column, "v");
  EXPECT_EQ(window.row_compare, Compare::Ge);
  EXPECT_EQ(window.row_literal, Literal(2.5));
  ASSERT_TRUE(window.where);
  EXPECT_EQ(window.where->literal, Literal(std::string("x")));
  EXPECT_EQ(window.start_us, kTimeMin.value);
  EXPECT_EQ(window.end_us, kDayUs / 2);
  EXPECT_EQ(window.via, "buyer");
  EXPECT_EQ(query.target.compare, Compare::Ne);
  EXPECT_EQ(query.target.literal, Literal(std::int64_t{-3}));
  EXPECT_EQ(query.target.more_horizons_us, std::vector<std::int64_t>{7 * kDayUs});
  EXPECT_FALSE(query.target.rank_top.has_value());
  EXPECT_EQ(query.every_us, 2 * kHourUs);
  ASSERT_TRUE(query.where);
  EXPECT_EQ(query.where->kind, Condition::Kind::Not);
  ASSERT_EQ(query.where->children.size(), 1U);
  EXPECT_EQ(query.where->children[0]->kind, Condition::Kind::IsNull);

  // Places are those of the text, so that later checks can point at them.
  EXPECT_EQ(window.at.column, 9U);
  EXPECT_EQ(window.argument.at.column, 13U);
  EXPECT_EQ(window.argument.at.length, 3U);
  EXPECT_EQ(query.entity.at.line, 2U);
  EXPECT_EQ(query.entity.at.column, 10U);
  EXPECT_EQ(error_at(query.text, query.entity.at, "unknown table c").detail,
            "FOR EACH c.id WHERE NOT c.a IS NULL EVERY 2 HOURS\n         ^~~~\nunknown table c");
}

TEST(Query, TheExamplesOfTheReadmeParse) {
  std::ifstream readme(ACCRETE_SOURCE_DIR "/proto/README.md");
  int examples = 0;
  for (std::string line; std::getline(readme, line);) {
    if (!line.starts_with("PREDICT ") || line.find("CONT(") != std::string::npos) continue;
    ++examples;
    const auto parsed = parse(line);
    EXPECT_TRUE(parsed) << (parsed ? "" : parsed.error().detail);
  }
  EXPECT_GE(examples, 6);
}

TEST(Query, AndBindsMoreTightlyThanOrAndNotMostOfAll) {
  const auto parsed =
      parse("PREDICT c.x FOR EACH c.id WHERE NOT c.a = 1 AND c.b = 2 OR c.d = 3 OR c.e = 4");
  ASSERT_TRUE(parsed);
  const Condition& top = *parsed.value().where;
  EXPECT_EQ(top.kind, Condition::Kind::Or);
  ASSERT_EQ(top.children.size(), 3U);
  EXPECT_EQ(top.children[0]->kind, Condition::Kind::And);
  ASSERT_EQ(top.children[0]->children.size(), 2U);
  EXPECT_EQ(top.children[0]->children[0]->kind, Condition::Kind::Not);
}

/// Random trees that obey the checks of the parser, and nothing more.
class RandomQuery {
 public:
  explicit RandomQuery(std::uint64_t position) : rng_(7, position, Purpose::Test) {}

  Query query() {
    Query out;
    if (chance(4)) {
      out.target.operand = column(false);
    } else {
      Window target = window(2);
      const bool list = target.aggregate == Aggregate::ListDistinct;
      if (!list && chance(2)) {
        out.target.compare = compare();
        out.target.literal = literal();
      }
      std::int64_t end_us = target.end_us;
      while (chance(3))
        out.target.more_horizons_us.push_back(end_us += duration_us());
      if (list && chance(2)) out.target.rank_top = static_cast<std::uint32_t>(1 + rng_.below(100));
      out.target.operand = std::move(target);
    }
    out.entity = column(false);
    if (chance(2)) out.where = condition(4);
    if (chance(2)) out.every_us = duration_us();
    return out;
  }

 private:
  bool chance(std::uint64_t one_in) { return rng_.below(one_in) == 0; }

  template <std::size_t N>
  std::string pick(const std::array<const char*, N>& from) {
    return from[rng_.below(N)];
  }

  std::string name() {
    return pick(std::array{"orders", "id", "x_1", "WHERE", "not", "count", "day", "inf", "null",
                           "a b", "quo\"te", "'", "naïve", "2020", "--", "a$", "_", "."});
  }

  ColumnRef column(bool star) { return {name(), star ? "*" : name(), {}}; }

  Compare compare() { return static_cast<Compare>(rng_.below(6)); }

  Literal literal() {
    switch (rng_.below(5)) {
      case 0:
        return chance(2);
      case 1:
        return static_cast<std::int64_t>(rng_.next());
      case 2:
        return static_cast<std::int64_t>(rng_.below(10));
      case 3: {
        const double magnitude = static_cast<double>(rng_.below(600)) - 300.0;
        return (rng_.uniform() - 0.5) * std::pow(10.0, magnitude);
      }
      default:
        return pick(std::array{"", "it's", "''", "two\nlines", "\ttab", "NULL", "-- no", "東京"});
    }
  }

  /// From a microsecond to decades, whole in one unit or in none.
  std::int64_t duration_us() {
    static constexpr std::array<std::int64_t, 6> units_us = {1,       kSecondUs, kMinuteUs,
                                                             kHourUs, kDayUs,    7 * kDayUs};
    return static_cast<std::int64_t>(1 + rng_.below(2000)) * units_us[rng_.below(units_us.size())];
  }

  Window window(int depth) {
    Window out;
    out.aggregate = static_cast<Aggregate>(rng_.below(10));
    const bool counts = out.aggregate == Aggregate::Count || out.aggregate == Aggregate::Exists;
    out.argument = column(counts && chance(2));
    if (out.argument.column != "*" && chance(3)) {
      out.row_compare = compare();
      out.row_literal = literal();
    }
    if (depth > 0 && chance(3)) out.where = condition(depth - 1);
    out.start_us = chance(2) ? duration_us() : -duration_us();
    out.end_us = out.start_us + duration_us();
    if (chance(5)) out.start_us = kTimeMin.value;
    if (chance(4)) out.via = name();
    return out;
  }

  ConditionPtr condition(int depth) {
    auto out = std::make_unique<Condition>();
    const std::uint64_t kind = rng_.below(depth > 0 ? 6 : 3);
    out->kind =
        std::array{Condition::Kind::Comparison, Condition::Kind::IsNull, Condition::Kind::IsNotNull,
                   Condition::Kind::Not,        Condition::Kind::And,    Condition::Kind::Or}[kind];
    if (kind == 3) {
      out->children.push_back(condition(depth - 1));
    } else if (kind > 3) {
      const std::uint64_t count = 2 + rng_.below(3);
      for (std::uint64_t i = 0; i < count; ++i)
        out->children.push_back(condition(depth - 1));
    } else if (kind > 0 || chance(2)) {
      out->operand = column(false);
    } else {
      Window window_of = window(depth - 1);
      if (window_of.aggregate == Aggregate::ListDistinct) window_of.aggregate = Aggregate::Last;
      out->operand = std::move(window_of);
    }
    if (kind == 0) {
      out->compare = compare();
      out->literal = literal();
    }
    return out;
  }

  Rng rng_;
};

TEST(Query, EveryTreeSurvivesPrintingAndParsing) {
  for (std::uint64_t i = 0; i < 3000; ++i) {
    const Query query = RandomQuery(i).query();
    const std::string printed = print(query);
    const auto parsed = parse(printed);
    if (printed.size() > limits::query_bytes_max) continue;
    ASSERT_TRUE(parsed) << parsed.error().detail;
    ASSERT_TRUE(same(query, parsed.value())) << printed << "\n" << print(parsed.value());
    EXPECT_EQ(print(parsed.value()), printed);
  }
}

TEST(Query, EveryCutAndEveryFlippedByteGivesAQueryOrAMessage) {
  std::uint64_t refused = 0;
  for (std::uint64_t i = 0; i < 25; ++i) {
    const std::string printed = print(RandomQuery(i).query());
    Rng rng(11, i, Purpose::Test);
    for (std::size_t cut = 0; cut < printed.size(); ++cut) {
      std::string flipped = printed;
      flipped[cut] = static_cast<char>(rng.below(256));
      for (const std::string& text : {printed.substr(0, cut), flipped}) {
        const auto parsed = parse(text);
        if (parsed) continue;
        ++refused;
        EXPECT_EQ(parsed.error().code, Errc::Malformed);
        EXPECT_NE(parsed.error().detail.find('^'), std::string::npos);
      }
    }
  }
  EXPECT_GT(refused, 1000U);
}

}  // namespace
}  // namespace accrete::query
