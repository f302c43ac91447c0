// The exact line, caret and message for every kind of mistake in a query.
#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "proto/limits.h"
#include "proto/query.h"

namespace accrete::query {
namespace {

struct Bad {
  std::string_view marked;  ///< the offending token stands between « and » (or « and the end)
  std::string_view message;
};

const std::vector<Bad> bad = {
    {"«»", "expected PREDICT, found the end of the query"},
    {"«PREDCIT» c.x FOR EACH c.id", "expected PREDICT, found PREDCIT; did you mean PREDICT?"},
    {"«SELECT» * FROM t", "expected PREDICT, found SELECT"},
    {"PREDICT«»",
     "expected an aggregate (COUNT, SUM, …) or table.column, found the end of the query"},
    {"PREDICT«»   -- nothing",
     "expected an aggregate (COUNT, SUM, …) or table.column, found the end of the query"},
    {"PREDICT «orders» FOR EACH c.id",
     "expected an aggregate (COUNT, SUM, …) or table.column, found orders"},
    {"PREDICT «3» FOR EACH c.id", "expected an aggregate (COUNT, SUM, …) or table.column, found 3"},
    {"PREDICT c.x«»", "expected FOR EACH, found the end of the query"},
    {"PREDICT c.x «FRO» EACH c.id", "expected FOR EACH, found FRO; did you mean FOR?"},
    {"PREDICT c.x FOR «EVERY» 1 DAY", "expected EACH after FOR, found EVERY"},
    {"PREDICT c.x «WHERE» c.x = 1 FOR EACH c.id",
     "expected FOR EACH, found WHERE; WHERE comes after FOR EACH"},
    {"PREDICT c.x FOR EACH«»",
     "expected table.column of the entity after FOR EACH, found the end of the query"},
    {"PREDICT c.x FOR EACH c «WHERE» c.x = 1",
     "expected a dot and a column name after the table c, found WHERE"},
    {"PREDICT c.x FOR EACH c.«*»",
     "expected a column name, found \"*\"; * stands for whole rows, which only COUNT and EXISTS "
     "take; write c.column"},
    {"PREDICT c.x FOR EACH c.id «WERE» c.x = 1",
     "expected WHERE, EVERY or the end of the query, found WERE; did you mean WHERE?"},
    {"PREDICT c.x FOR EACH c.id «EVRY» 1 DAY",
     "expected WHERE, EVERY or the end of the query, found EVRY; did you mean EVERY?"},
    {"PREDICT c.x FOR EACH c.id «RANK» TOP 3",
     "expected WHERE, EVERY or the end of the query, found RANK; RANK TOP comes before FOR EACH"},
    {"PREDICT c.x FOR EACH c.id EVERY 1 DAY «WHERE» c.x = 1",
     "expected the end of the query, found WHERE; WHERE comes before EVERY"},
    {"PREDICT c.x FOR EACH c.id EVERY 1 DAY «c»", "expected the end of the query, found c"},
    {"PREDICT c.x FOR EACH c.id«;»", "a query ends without a ;"},
    {"PREDICT c.«*» FOR EACH c.id",
     "expected a column name, found \"*\"; * stands for whole rows, which only COUNT and EXISTS "
     "take; write c.column"},
    {"PREDICT c.x «=» 3 FOR EACH c.id",
     "expected FOR EACH, found \"=\"; a column is predicted as it is; only a window is compared"},
    {"PREDICT c.x«,» 14 FOR EACH c.id",
     "expected FOR EACH, found \",\"; only a window has more horizons"},
    {"PREDICT c.x «RANK» TOP 3 FOR EACH c.id", "RANK TOP ranks a LIST_DISTINCT, not a column"},
    {"PREDICT c.«3» FOR EACH c.id", "expected a column name after c., found 3"},
    {"PREDICT «CONT»(orders.*, 0, 7, DAYS) FOR EACH customers.id",
     "expected an aggregate (COUNT, SUM, …) or table.column, found CONT; did you mean COUNT?"},
    {"PREDICT «MEDIAN»(o.v, 0, 7, DAYS) FOR EACH c.id",
     "expected an aggregate (COUNT, SUM, …) or table.column, found MEDIAN"},
    {"PREDICT «COUNT_DISTNCT»(o.v, 0, 7, DAYS) FOR EACH c.id",
     "expected an aggregate (COUNT, SUM, …) or table.column, found COUNT_DISTNCT; did you mean "
     "COUNT_DISTINCT?"},
    {"PREDICT COUNT «FOR» EACH c.id", "expected ( after COUNT, found FOR"},
    {"PREDICT COUNT(«*», 0, 7, DAYS) FOR EACH c.id",
     "expected table.* or table.column after COUNT(, found \"*\""},
    {"PREDICT SUM(o.«*», 0, 7, DAYS) FOR EACH c.id",
     "expected a column name, found \"*\"; * stands for whole rows, which only COUNT and EXISTS "
     "take; write o.column"},
    {"PREDICT LIST_DISTINCT(o.«*», 0, 7, DAYS) FOR EACH c.id",
     "expected a column name, found \"*\"; * stands for whole rows, which only COUNT and EXISTS "
     "take; write o.column"},
    {"PREDICT COUNT(o.* «=» 3, 0, 7, DAYS) FOR EACH c.id",
     "expected a comma or WHERE, found \"=\"; * has no value to compare; name a column"},
    {"PREDICT COUNT(«DISTINCT» o.v, 0, 7, DAYS) FOR EACH c.id",
     "expected table.column after COUNT(; distinct values are written COUNT_DISTINCT or "
     "LIST_DISTINCT"},
    {"PREDICT COUNT(o«,» 0, 7, DAYS) FOR EACH c.id",
     "expected a dot and a column name after the table o, found \",\""},
    {"PREDICT SUM(«» ", "expected table.column after SUM(, found the end of the query"},
    {"PREDICT SUM(o.v«)» FOR EACH c.id", "expected a comma and the window's start, found \")\""},
    {"PREDICT SUM(o.v «WHER» o.w = 1, 0, 7, DAYS) FOR EACH c.id",
     "expected a comma and the window's start, found WHER; did you mean WHERE?"},
    {"PREDICT SUM(o.v WHERE o.w = 1 «0», 7, DAYS) FOR EACH c.id",
     "expected AND, OR, or a comma and the window's start, found 0"},
    {"PREDICT SUM(o.v, «now», 7, DAYS) FOR EACH c.id",
     "expected the window's start (a number or -INF), found now"},
    {"PREDICT SUM(o.v, 0«)» FOR EACH c.id", "expected a comma and the window's end, found \")\""},
    {"PREDICT SUM(o.v, 0, «INF», DAYS) FOR EACH c.id",
     "expected the window's end, found INF; a window without an end never matures"},
    {"PREDICT SUM(o.v, 0, «-»INF, DAYS) FOR EACH c.id",
     "expected the window's end, found \"-\"; a window without an end never matures"},
    {"PREDICT SUM(o.v, «INF», 1, DAYS) FOR EACH c.id",
     "expected the window's start (a number or -INF), found INF"},
    {"PREDICT SUM(o.v, 0, 7«)» FOR EACH c.id",
     "expected a comma and the window's unit (SECONDS, MINUTES, HOURS, DAYS or WEEKS), found "
     "\")\""},
    {"PREDICT SUM(o.v, 0, 7, «)» FOR EACH c.id",
     "expected a unit (SECONDS, MINUTES, HOURS, DAYS or WEEKS) at the end of the window, found "
     "\")\""},
    {"PREDICT SUM(o.v, 0, 7, «DYAS») FOR EACH c.id",
     "expected a unit (SECONDS, MINUTES, HOURS, DAYS or WEEKS) at the end of the window, found "
     "DYAS; did you mean DAYS?"},
    {"PREDICT SUM(o.v, 0, 7, «MONTHS») FOR EACH c.id",
     "expected a unit (SECONDS, MINUTES, HOURS, DAYS or WEEKS), found MONTHS; months and years "
     "differ in length; write DAYS"},
    {"PREDICT SUM(o.v, 0, 7, «furlongs») FOR EACH c.id",
     "expected a unit (SECONDS, MINUTES, HOURS, DAYS or WEEKS) at the end of the window, found "
     "furlongs"},
    {"PREDICT SUM(o.v, 0, 7, DAYS «FOR» EACH c.id",
     "expected ) after the window's unit, found FOR"},
    {"PREDICT SUM(o.v, 0, «0», DAYS) FOR EACH c.id",
     "expected an end after the start; the window is (t + start, t + end]"},
    {"PREDICT SUM(o.v, 7, «-7», DAYS) FOR EACH c.id",
     "expected an end after the start; the window is (t + start, t + end]"},
    {"PREDICT SUM(o.v, 0, «1e3», DAYS) FOR EACH c.id", "a time is written without an exponent"},
    {"PREDICT SUM(o.v, 0, «99999999999», DAYS) FOR EACH c.id",
     "the time is out of range; it must stay below 292,000 years"},
    {"PREDICT SUM(o.v, «-99999999999999999999», 0, SECONDS) FOR EACH c.id",
     "the time is out of range; it must stay below 292,000 years"},
    {"PREDICT SUM(o.v, 0, «7DAYS», DAYS) FOR EACH c.id",
     "\"7DAYS\" is not a number; leave a blank between a number and a word, and put a name that "
     "starts with a digit in double quotes"},
    {"PREDICT SUM(o.v, 0, 7«.», DAYS) FOR EACH c.id",
     "expected a comma and the window's unit (SECONDS, MINUTES, HOURS, DAYS or WEEKS), found "
     "\".\""},
    {"PREDICT SUM(o.v, 0, «.»5, DAYS) FOR EACH c.id", "expected the window's end, found \".\""},
    {"PREDICT SUM(o.v, 0, 7, DAYS), «7» FOR EACH c.id",
     "expected an end after the one before; horizons must increase"},
    {"PREDICT SUM(o.v, 0, 7, DAYS), 14, «10» FOR EACH c.id",
     "expected an end after the one before; horizons must increase"},
    {"PREDICT SUM(o.v, 0, 7, DAYS), «FOR» EACH c.id",
     "expected a further end of the window, found FOR"},
    {"PREDICT SUM(o.v, 0, 7, DAYS), 14 «DAYS» FOR EACH c.id", "expected FOR EACH, found DAYS"},
    {"PREDICT SUM(o.v, 0, 7, DAYS) VIA «FOR».x EACH c.id",
     "expected a foreign-key column alone after VIA, without its table"},
    {"PREDICT SUM(o.v, 0, 7, DAYS) VIA «3» FOR EACH c.id",
     "expected a foreign-key column after VIA, found 3"},
    {"PREDICT SUM(o.v, 0, 7, DAYS) «RANK» TOP 3 FOR EACH c.id",
     "RANK TOP ranks a LIST_DISTINCT, not SUM"},
    {"PREDICT LIST_DISTINCT(o.v, 0, 7, DAYS) RANK «3» FOR EACH c.id",
     "expected TOP after RANK, found 3"},
    {"PREDICT LIST_DISTINCT(o.v, 0, 7, DAYS) RANK TOP «0» FOR EACH c.id",
     "expected a whole number from 1 to 4294967295 after RANK TOP, found 0"},
    {"PREDICT LIST_DISTINCT(o.v, 0, 7, DAYS) RANK TOP «2.5» FOR EACH c.id",
     "expected a whole number from 1 to 4294967295 after RANK TOP, found 2.5"},
    {"PREDICT LIST_DISTINCT(o.v, 0, 7, DAYS) RANK TOP «-»1 FOR EACH c.id",
     "expected a whole number from 1 to 4294967295 after RANK TOP, found \"-\""},
    {"PREDICT LIST_DISTINCT(o.v, 0, 7, DAYS) RANK TOP «4294967296» FOR EACH c.id",
     "expected a whole number from 1 to 4294967295 after RANK TOP, found 4294967296"},
    {"PREDICT LIST_DISTINCT(o.v, 0, 7, DAYS) «>» 3 FOR EACH c.id",
     "a LIST_DISTINCT is a list and has no order; compare a COUNT_DISTINCT"},
    {"PREDICT SUM(o.v, 0, 7, DAYS) > «NULL» FOR EACH c.id",
     "nothing compares with NULL; use IS NULL or IS NOT NULL"},
    {"PREDICT SUM(o.v, 0, 7, DAYS) > «lots» FOR EACH c.id",
     "expected a constant (a number, 'text', TRUE or FALSE), found lots; text takes single quotes"},
    {"PREDICT SUM(o.v, 0, 7, DAYS) > «\"lots\"» FOR EACH c.id",
     "expected a constant (a number, 'text', TRUE or FALSE), found \"lots\"; double quotes hold "
     "names; text takes single quotes"},
    {"PREDICT SUM(o.v, 0, 7, DAYS) > «o».w FOR EACH c.id",
     "expected a constant (a number, 'text', TRUE or FALSE), found o; columns are compared with "
     "constants, not with each other"},
    {"PREDICT SUM(o.v, 0, 7, DAYS) > «FOR» EACH c.id",
     "expected a constant (a number, 'text', TRUE or FALSE), found FOR; text takes single quotes"},
    {"PREDICT SUM(o.v = «9223372036854775808», 0, 7, DAYS) FOR EACH c.id",
     "the number is out of range; whole numbers have 64 bits"},
    {"PREDICT SUM(o.v = «-1e999», 0, 7, DAYS) FOR EACH c.id",
     "the number is out of range; the largest is about 1.8e308"},
    {"PREDICT SUM(o.v «!» 1, 0, 7, DAYS) FOR EACH c.id", "the character ! cannot stand here"},
    {"PREDICT c.x FOR EACH c.id WHERE«»",
     "expected a condition (NOT, (, an aggregate or table.column), found the end of the query"},
    {"PREDICT c.x FOR EACH c.id WHERE c.y«»",
     "expected a comparison (= != < <= > >=) or IS after the column, found the end of the query"},
    {"PREDICT c.x FOR EACH c.id WHERE c.y «LIKE» 'a'",
     "expected a comparison (= != < <= > >=) or IS after the column, found LIKE"},
    {"PREDICT c.x FOR EACH c.id WHERE «1» = c.y",
     "expected an aggregate or table.column, found 1; a constant goes on the right side"},
    {"PREDICT c.x FOR EACH c.id WHERE «NTO» c.y = 1",
     "expected a condition (NOT, (, an aggregate or table.column), found NTO; did you mean NOT?"},
    {"PREDICT c.x FOR EACH c.id WHERE c.y = «NULL»",
     "nothing compares with NULL; use IS NULL or IS NOT NULL"},
    {"PREDICT c.x FOR EACH c.id WHERE c.y = «TREU»",
     "expected a constant (a number, 'text', TRUE or FALSE), found TREU; did you mean TRUE?"},
    {"PREDICT c.x FOR EACH c.id WHERE c.y IS «3»", "expected NULL or NOT NULL after IS, found 3"},
    {"PREDICT c.x FOR EACH c.id WHERE c.y IS NOT «NUL»",
     "expected NULL after IS NOT, found NUL; did you mean NULL?"},
    {"PREDICT c.x FOR EACH c.id WHERE c.y = 1 «ADN» c.z = 2",
     "expected AND, OR, EVERY or the end of the query, found ADN; did you mean AND?"},
    {"PREDICT c.x FOR EACH c.id WHERE c.y = 1 «=» 2",
     "expected AND, OR, EVERY or the end of the query, found \"=\""},
    {"PREDICT c.x FOR EACH c.id WHERE c.y = 1 AND«»",
     "expected a condition (NOT, (, an aggregate or table.column), found the end of the query"},
    {"PREDICT c.x FOR EACH c.id WHERE (c.y = 1«»",
     "expected AND, OR or ), found the end of the query"},
    {"PREDICT c.x FOR EACH c.id WHERE (c.y = 1 «EVERY» 1 DAY",
     "expected AND, OR or ), found EVERY"},
    {"PREDICT c.x FOR EACH c.id WHERE c.y = 1«)»",
     "expected AND, OR, EVERY or the end of the query, found \")\""},
    {"PREDICT c.x FOR EACH c.id WHERE EXISTS(o.*, -7, 0, DAYS)«»",
     "expected a comparison (= != < <= > >=) after the window, found the end of the query"},
    {"PREDICT c.x FOR EACH c.id WHERE COUNT(o.*, -7, 0, DAYS) «IS» NULL",
     "expected a comparison (= != < <= > >=), found IS; IS NULL asks about a column; for a window "
     "write EXISTS(…) = 0"},
    {"PREDICT c.x FOR EACH c.id WHERE LIST_DISTINCT(o.v, -7, 0, DAYS) «=» 1",
     "a LIST_DISTINCT is a list and has no order; compare a COUNT_DISTINCT"},
    {"PREDICT c.x FOR EACH c.id WHERE «c» = 1",
     "expected a condition (NOT, (, an aggregate or table.column), found c"},
    {"PREDICT c.x FOR EACH c.id WHERE c.«*» IS NULL",
     "expected a column name, found \"*\"; * stands for whole rows, which only COUNT and EXISTS "
     "take; write c.column"},
    {"PREDICT c.x FOR EACH c.id WHERE c.y = «'open",
     "the text is not closed; expected ' at its end (write '' for a quote inside)"},
    {"PREDICT c.x FOR EACH c.id WHERE c.«\"open", "the name is not closed; expected \" at its end"},
    {"PREDICT c.x FOR EACH c.id WHERE c.«\"\"» = 1", "a name cannot be empty"},
    {"PREDICT c.x FOR EACH c.id WHERE c.«\"*\"» = 1",
     "\"*\" cannot be a name; * alone stands for whole rows"},
    {"PREDICT c.x FOR EACH c.id WHERE c.y = «‘»a’",
     "curly quotes are not quotes; write 'text' and \"name\""},
    {"PREDICT c.x FOR EACH c.id WHERE c.na«ï»ve = 1",
     "the character ï cannot stand here; put a name with other letters in double quotes"},
    {"PREDICT c.x FOR EACH c.id WHERE c.y «#» 1", "the character # cannot stand here"},
    {"PREDICT c.x FOR EACH «2020».id",
     "expected table.column of the entity after FOR EACH, found 2020"},
    {"PREDICT c.x FOR EACH «2020_orders».id",
     "\"2020_orders\" is not a number; leave a blank between a number and a word, and put a name "
     "that starts with a digit in double quotes"},
    {"PREDICT c.x FOR EACH c.id EVERY«»",
     "expected a number after EVERY, found the end of the query"},
    {"PREDICT c.x FOR EACH c.id EVERY «DAY»", "expected a number after EVERY, found DAY"},
    {"PREDICT c.x FOR EACH c.id EVERY 1«»",
     "expected a unit (SECONDS, MINUTES, HOURS, DAYS or WEEKS) after EVERY's number, found the end "
     "of the query"},
    {"PREDICT c.x FOR EACH c.id EVERY «0» DAYS", "expected a time greater than 0 after EVERY"},
    {"PREDICT c.x FOR EACH c.id EVERY «-1» DAYS", "expected a time greater than 0 after EVERY"},
    {"PREDICT c.x FOR EACH c.id EVERY «0.0000001» SECONDS",
     "expected a time greater than 0 after EVERY"},
    {"PREDICT c.x FOR EACH c.id EVERY 1 «YEAR»",
     "expected a unit (SECONDS, MINUTES, HOURS, DAYS or WEEKS), found YEAR; months and years "
     "differ in length; write DAYS"},
    {"PREDICT c.x FOR EACH c.id EVERY 1 «DAZE»",
     "expected a unit (SECONDS, MINUTES, HOURS, DAYS or WEEKS) after EVERY's number, found DAZE"},
};

/// Characters, not bytes.
std::size_t width(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
  }));
}

struct Marked {
  std::string text;
  std::string expected;  ///< the line of the mark, and the caret line
};

/// Take the marks out; draw the line and the caret that belong to them.
Marked unmark(std::string_view marked) {
  constexpr std::size_t mark_bytes = std::string_view("«").size();
  const std::size_t open = marked.find("«");
  const std::size_t close = std::min(marked.find("»"), marked.size());
  const std::string_view before = marked.substr(0, open);
  const std::string_view token = marked.substr(open + mark_bytes, close - open - mark_bytes);
  Marked out;
  out.text = std::string(before) + std::string(token);
  if (close < marked.size()) out.text += marked.substr(close + mark_bytes);
  const std::size_t line_begin = before.rfind('\n') + 1;
  const std::size_t line_end = std::min(out.text.find('\n', line_begin), out.text.size());
  const std::size_t shown = width(token.substr(0, token.find('\n')));
  out.expected = out.text.substr(line_begin, line_end - line_begin) + "\n" +
                 std::string(width(before.substr(line_begin)), ' ') + "^" +
                 std::string(shown > 1 ? shown - 1 : 0, '~') + "\n";
  return out;
}

void expect_message(std::string_view marked_text, std::string_view message) {
  const Marked marked = unmark(marked_text);
  const auto parsed = parse(marked.text);
  ASSERT_FALSE(parsed) << marked.text;
  EXPECT_EQ(parsed.error().code, Errc::Malformed);
  EXPECT_EQ(parsed.error().detail, marked.expected + std::string(message));
}

std::string detail_of(std::string_view text) {
  const auto parsed = parse(text);
  return parsed ? "parsed" : parsed.error().detail;
}

std::string repeated(std::string_view text, std::size_t count) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i)
    out += text;
  return out;
}

TEST(QueryErrors, ShowTheLineTheCaretAndWhatWasExpected) {
  EXPECT_GE(bad.size(), 60U);
  for (const Bad& c : bad)
    expect_message(c.marked, c.message);
}

TEST(QueryErrors, ShowTheLineOfTheMistakeInAQueryOfManyLines) {
  expect_message("PREDICT c.x\n\n  FOR EACH c.id -- naïve\n  «WERE» c.x = 1\n EVERY 1 DAY",
                 "expected WHERE, EVERY or the end of the query, found WERE; did you mean WHERE?");
  expect_message("PREDICT c.x FOR EACH c.id\n WHERE c.t = 'é' «is»\n NULL",
                 "expected AND, OR, EVERY or the end of the query, found is");
  expect_message("PREDICT c.x FOR EACH c.id WHERE c.t = 'a\nb' «'c\nd'",
                 "expected AND, OR, EVERY or the end of the query, found 'c…");
  expect_message("PREDICT c.x FOR EACH c.id WHERE c.t = 'a\nb'\n AND«»\n\n -- no more\n",
                 "expected a condition (NOT, (, an aggregate or table.column), found the end of "
                 "the query");
}

TEST(QueryErrors, NestOnlyToTheStatedDepth) {
  constexpr std::size_t depth = limits::query_depth_max;
  const std::string head = "PREDICT c.x FOR EACH c.id WHERE ";
  const auto parentheses = [&](std::size_t n) {
    return head + repeated("(", n) + "c.y = 1" + repeated(")", n);
  };
  const auto negations = [&](std::size_t n) { return head + repeated("NOT ", n) + "c.y = 1"; };
  const auto windows = [&](std::size_t n) {
    return head + repeated("SUM(o.v WHERE ", n) + "c.y = 1" + repeated(", 0, 1, DAYS) > 0", n);
  };
  for (const auto& text : {parentheses(depth), negations(depth), windows(depth)}) {
    EXPECT_EQ(detail_of(text), "parsed");
  }
  for (const auto& text : {parentheses(depth + 1), negations(depth + 1), windows(depth + 1),
                           parentheses(8000), negations(4000)}) {
    EXPECT_NE(detail_of(text).find("nested too deeply; at most 64 levels"), std::string::npos);
  }
}

TEST(QueryErrors, ReadOnlyTheStatedLength) {
  const std::string query = "PREDICT c.x FOR EACH c.id";
  const std::string fits = query + std::string(limits::query_bytes_max - query.size(), ' ');
  EXPECT_EQ(detail_of(fits), "parsed");
  EXPECT_EQ(detail_of(fits + " "), "the query has 16385 bytes; at most 16384 are read");

  const std::string name(limits::name_bytes_max, 'n');
  EXPECT_EQ(detail_of("PREDICT c." + name + " FOR EACH c.id"), "parsed");
  EXPECT_EQ(detail_of("PREDICT c.\"" + name + "\" FOR EACH c.id"), "parsed");
  for (const std::string& longer : {name + "n", "\"" + name + "n\""}) {
    EXPECT_NE(detail_of("PREDICT c." + longer + " FOR EACH c.id").find("at most 256 bytes"),
              std::string::npos);
  }
}

TEST(QueryErrors, RefuseBytesThatAreNoText) {
  for (const std::string_view bytes :
       {"\xff", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\xf0\x82\x82\xac"}) {
    for (const std::string_view place : {"PREDICT c.x#", "PREDICT c.x FOR EACH c.id WHERE c.y = '#",
                                         "PREDICT c.\"#", "PREDICT c.x -- #"}) {
      const std::string text =
          std::string(place.substr(0, place.size() - 1)) + std::string(bytes) + "'";
      EXPECT_NE(detail_of(text).find("\nthe query is not valid UTF-8 here"), std::string::npos)
          << detail_of(text);
    }
  }
  using namespace std::string_view_literals;
  EXPECT_EQ(detail_of("PREDICT\0"sv), "PREDICT?\n       ^\na control character cannot stand here");
  EXPECT_EQ(detail_of("PREDICT c.\"a\nb\" "),
            "PREDICT c.\"a\n            ^\na control character cannot be part of a name or text");
}

TEST(QueryErrors, ShowTabsAsBlanksAndCutWideLinesAroundTheCaret) {
  EXPECT_EQ(detail_of("\tPREDICT\tc.x\r\n\t\tFOR\tEVRY c.id\r\n"),
            "  FOR EVRY c.id\n      ^~~~\nexpected EACH after FOR, found EVRY");
  const std::string wide = "PREDICT c.x FOR EACH c.id WHERE " + repeated("c.y = 1 AND ", 50) +
                           "c.y ~ 1" + repeated(" AND c.y = 1", 50);
  const std::string detail = detail_of(wide);
  const std::size_t caret_line = detail.find('\n') + 1;
  const std::string line = detail.substr(0, caret_line - 1);
  EXPECT_EQ(width(line), 100U);
  EXPECT_TRUE(line.starts_with("…") && line.ends_with("…")) << line;
  // 40 characters before the caret; the mark in front has three bytes and one column.
  EXPECT_EQ(detail.find('^') - caret_line, 40U);
  EXPECT_EQ(line[40 + std::string_view("…").size() - 1], '~') << line;
  const std::string start = detail_of("WRONG " + wide);
  EXPECT_TRUE(start.starts_with("WRONG PREDICT c.x")) << start;
  const std::string end =
      detail_of("PREDICT c.x FOR EACH c.id WHERE " + repeated("c.y = 1 AND ", 50));
  EXPECT_NE(end.find("c.y = 1 AND \n" + std::string(99, ' ') + "^\n"), std::string::npos) << end;
}

TEST(QueryErrors, ErrorAtStandsForAnySpan) {
  EXPECT_EQ(error_at("PREDICT naïve.x", {1, 9, 8}, "no").detail,
            "PREDICT naïve.x\n        ^~~~~~~\nno");
  EXPECT_EQ(error_at("a\nb", {9, 9, 9}, "no").detail, "b\n ^\nno");
  EXPECT_EQ(error_at("", {0, 0, 0}, "no").detail, "\n^\nno");
}

}  // namespace
}  // namespace accrete::query
