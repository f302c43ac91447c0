// The page of a report: round axes, names that would be markup, damaged files.
#include <cmath>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "daemon/report_chart.h"
#include "daemon/report_file.h"
#include "daemon/report_page.h"
#include "daemon/report_scale.h"
#include "proto/rng.h"
#include "proto/time.h"

namespace accrete::daemon::report {
namespace {

using Json = nlohmann::ordered_json;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

TimeUs time_of(const char* text) {
  const auto parsed = parse_time(text);
  EXPECT_TRUE(parsed) << text;
  return parsed.value();
}

std::vector<std::string> labels_of(const std::vector<Tick>& ticks) {
  std::vector<std::string> labels;
  for (const Tick& tick : ticks)
    labels.push_back(tick.label);
  return labels;
}

TEST(ReportScale, ValuesHaveRoundTicks) {
  EXPECT_EQ(labels_of(value_axis(0.51, 0.93).ticks),
            (std::vector<std::string>{"0.5", "0.6", "0.7", "0.8", "0.9", "1.0"}));
  EXPECT_EQ(labels_of(value_axis(-3, 7).ticks),
            (std::vector<std::string>{"-4", "-2", "0", "2", "4", "6", "8"}));
  Rng rng(1, 0, Purpose::Test);
  for (int i = 0; i < 2000; ++i) {
    const double low = (rng.uniform() - 0.5) * std::pow(10.0, static_cast<double>(rng.below(14)));
    const double high =
        low + rng.uniform() * std::pow(10.0, static_cast<double>(rng.below(14)) - 5);
    const ValueAxis axis = value_axis(low, high);
    const double room = 1e-8 * std::max(std::abs(low), std::abs(high));
    ASSERT_LE(axis.low, low + room);
    ASSERT_GE(axis.high, high - room);
    ASSERT_LT(axis.low, axis.high);
    ASSERT_GE(axis.ticks.size(), 3U);
    ASSERT_LE(axis.ticks.size(), 9U);
  }
  EXPECT_LT(value_axis(2, 2).low, 2);
  EXPECT_GT(value_axis(0, 0).high, 0);
  for (const double wild : {1e308, 1e16, 1e-320, -1e16}) {
    for (const double low : {wild, -wild, 0.0, std::nextafter(wild, 0.0)}) {
      const ValueAxis axis = value_axis(std::min(low, wild), std::max(low, wild));
      EXPECT_LT(axis.low, axis.high);
      EXPECT_LE(axis.ticks.size(), 9U) << low << " " << wild;
    }
  }
}

TEST(ReportScale, TimesHaveTicksOfTheCalendar) {
  struct Case {
    const char* from;
    const char* to;
    std::size_t most;
    std::vector<std::string> labels;
  };
  const std::vector<Case> cases = {
      {"1958-03-01", "2009-01-01", 9, {"1960", "1970", "1980", "1990", "2000"}},
      {"2019-11-15", "2020-03-02", 5, {"2019-12", "2020-01", "2020-02", "2020-03"}},
      {"2020-02-28", "2020-03-01", 4, {"2020-02-28", "2020-02-29", "2020-03-01"}},
      {"2020-01-01 10:10", "2020-01-01 13:00", 3, {"01-01 11:00", "01-01 12:00", "01-01 13:00"}},
      {"2020-01-01", "2020-01-01", 4, {"01-01 00:00:00"}},
  };
  for (const Case& c : cases)
    EXPECT_EQ(labels_of(time_ticks(time_of(c.from), time_of(c.to), c.most)), c.labels) << c.from;
  EXPECT_FALSE(time_ticks(time_of("0001-01-01"), time_of("9999-12-31"), 9).empty());
  EXPECT_EQ(short_time(time_of("2010-01-01")), "2010-01-01");
  EXPECT_EQ(short_time(time_of("2010-01-01 12:30")), "2010-01-01 12:30:00");
}

TEST(ReportChart, SlidingMeanIsThatOfTheExamples) {
  const std::vector<double> values{1, nan, 4, 2};
  const std::vector<std::uint64_t> count{3, 5, 1, 2};
  const std::vector<double> means = sliding_mean(values, count, 3);
  EXPECT_EQ(means[0], 1);
  EXPECT_EQ(means[1], 1);
  EXPECT_EQ(means[2], 7.0 / 4);
  EXPECT_EQ(means[3], 8.0 / 3);
  EXPECT_EQ(sliding_mean(values, count, 1)[2], 4);
  EXPECT_TRUE(std::isnan(sliding_mean(values, count, 1)[1]));
}

TEST(ReportChart, TheAxisShowsTheMainCurveWhole) {
  const std::vector<double> main{0.5, 0.9};
  std::vector<double> other(100, 0.6);
  other[3] = 1e9;
  const ValueAxis axis = axis_around(main, {main, other});
  EXPECT_LE(axis.low, 0.5);
  EXPECT_GE(axis.high, 0.9);
  EXPECT_LT(axis.high, 2) << "one wild value does not flatten the rest";
  const std::vector<double> hopeless(100, 50.0);
  EXPECT_LT(axis_around(main, {main, hopeless}).high, 3) << "nor does one wild curve";
  const std::vector<double> near(100, 1.5);
  EXPECT_GE(axis_around(main, {main, near}).high, 1.5);
  const std::vector<double> unknown{nan, nan};
  EXPECT_EQ(axis_around(unknown, {unknown}).low, 0);
}

Json metrics(double auroc) {
  return {{"auroc", auroc}, {"log_loss", 0.5}};
}

/// A report as a backtest writes it, of one task of this name.
Json report_of(const std::string& name) {
  Json point = {{"at", "2010-01-01T00:00:00Z"},
                {"count", 64},
                {"metric", {{"global-mean", 0.5}, {"ridge", 0.75}, {"mixture", nullptr}}},
                {"log_loss", {{"global-mean", 0.7}, {"ridge", 0.5}, {"mixture", 0.4}}},
                {"weights", {{"global-mean", 0.25}, {"ridge", 0.75}}}};
  Json later = point;
  later["at"] = "2011-01-01T00:00:00Z";
  later["metric"]["mixture"] = 0.8;
  Json task;
  task["name"] = name;
  task["kind"] = "binary";
  task["labels"] = 128;
  task["regret"] = {{"mixture", 1.0},   {"best", 0.5},  {"candidate", "ridge"}, {"regret", 0.5},
                    {"bound", nullptr}, {"rounds", 10}, {"unit", "log loss"}};
  task["drift"] = {{"adwin", {{"alarms", 1}}}, {"page-hinkley", {{"alarms", 0}}}};
  task["alarms"] = {{{"task", name},
                     {"detector", "adwin"},
                     {"as_of", "2010-06-01T00:00:00Z"},
                     {"before", 0.1},
                     {"after", 0.9}}};
  task["series"] = Json::array({point, later});
  task["windows"] =
      Json::array({{{"window", "test"},
                    {"from", "2010-06-01T00:00:00Z"},
                    {"trigger", "tick"},
                    {"count", 128},
                    {"metrics", metrics(0.8)},
                    {"baselines", {{"global-mean", metrics(0.5)}}},
                    {"candidates", {{"global-mean", metrics(0.5)}, {"ridge", metrics(0.75)}}}}});
  return {{"rows", 1000}, {"digest", "ab12"}, {"tasks", Json::array({task})}};
}

std::string page_of(const Json& json) {
  const auto read = read_report(json.dump(), "r.json");
  EXPECT_TRUE(read) << (read ? "" : read.error().detail);
  return read ? page(read.value()) : "";
}

std::size_t count_of(std::string_view text, std::string_view part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1))
    ++count;
  return count;
}

TEST(ReportPage, ShowsWhatTheReportHas) {
  const std::string text = page_of(report_of("churn"));
  EXPECT_EQ(count_of(text, "<svg"), 3U) << "AUROC, log loss, weights";
  EXPECT_NE(text.find("<data value=\"0.75\">0.7500</data>"), std::string::npos);
  EXPECT_NE(text.find("drift alarm of adwin"), std::string::npos);
  EXPECT_EQ(text.find("Routing"), std::string::npos);
  EXPECT_EQ(text.find("://"), std::string::npos) << "nothing is fetched";
  EXPECT_EQ(text, page_of(report_of("churn"))) << "the same bytes";
}

/// What a network tells, as a backtest and a status write it.
Json experts() {
  return {{"events",
           {{{"at", "2010-02-01T00:00:00Z"},
             {"kind", "birth"},
             {"layer", 1},
             {"expert", 2},
             {"block", "b1"}},
            {{"at", "2010-03-01T00:00:00Z"},
             {"kind", "merge"},
             {"layer", 0},
             {"expert", 1},
             {"with", 2},
             {"block", nullptr}}}},
          {"count", 2},
          {"layers",
           {{{"layer", 0}, {"nodes", 900.5}, {"entropy", 0.625}, {"own_block", 0.8125}},
            {{"layer", 1}, {"nodes", 12}, {"entropy", nullptr}, {"own_block", 0.9375}}}},
          {"routing",
           {{"experts", {"block 0", "block 3", "extras"}},
            {"points",
             {{{"at", "2010-01-01T00:00:00Z"},
               {"answers", 64},
               {"layers", {{1.0, 0.0, 0.0}, {0.5, 0.0, 0.5}}}},
              {{"at", "2010-09-01T00:00:00Z"},
               {"answers", 64},
               {"layers", {{0.25, 0.5, 0.25}, {0.0, 1.0, 0.0}}}}}}}},
          {"matrix",
           {{"measure", "auroc"},
            {"examples", 256},
            {"blocks", {0, 3}},
            {"rows",
             {{{"at", "2010-02-01T00:00:00Z"},
               {"experts", 1},
               {"values", {0.9, nullptr}},
               {"losses", {0.3, nullptr}}},
              {{"at", "2010-12-01T00:00:00Z"},
               {"experts", 2},
               {"values", {0.5, 0.875}},
               {"losses", {0.7, 0.4}}}}},
            {"forgetting", 0.4}}}};
}

TEST(ReportPage, ShowsExpertsWhereTheReportHasThem) {
  Json json = report_of("churn");
  json["tasks"][0]["experts"] = experts();
  const std::string text = page_of(json);
  EXPECT_NE(text.find("birth, expert 2, layer 1, block b1"), std::string::npos);
  EXPECT_NE(text.find("merge, expert 1, with 2, layer 0<"), std::string::npos);
  EXPECT_EQ(count_of(text, "<svg"), 5U) << "two layers more";
  EXPECT_NE(text.find("id=\"task-0-routing-0\""), std::string::npos);
  EXPECT_NE(text.find("id=\"task-0-routing-1\""), std::string::npos);
  Json once = json;
  once["tasks"][0]["experts"]["routing"]["points"].erase(1);
  EXPECT_EQ(page_of(once).find("id=\"task-0-routing-0\""), std::string::npos) << "no empty chart";
  EXPECT_EQ(count_of(text, "class=\"layer "), 2U + 3 + 3) << "weights, and a layer's names twice";
  EXPECT_EQ(count_of(text, "</span>block 3</span>"), 1U) << "whose colour is whose";
  EXPECT_NE(text.find("<data value=\"0.8125\">"), std::string::npos) << "own block chosen";
  EXPECT_NE(text.find("forgotten since the best: 0.4000 on average"), std::string::npos);
  EXPECT_NE(text.find("1 expert, 2010-02-01<"), std::string::npos);
  EXPECT_NE(text.find("2 experts, 2010-12-01<"), std::string::npos);
  // The best is darkest, the worst is not, what is not known has no colour.
  EXPECT_NE(text.find("<td class=\"strong\" style=\"--v:1.0000\" title=\"loss 0.3000\"><data "
                      "value=\"0.9\">"),
            std::string::npos);
  EXPECT_NE(text.find("style=\"--v:0.0000\" title=\"loss –\">–</td>"), std::string::npos);
  EXPECT_NE(text.find("style=\"--v:0.0000\" title=\"loss 0.7000\"><data value=\"0.5\">"),
            std::string::npos);
  // Of errors the least is darkest.
  json["tasks"][0]["experts"]["matrix"]["measure"] = "mae";
  EXPECT_NE(page_of(json).find("style=\"--v:1.0000\" title=\"loss 0.7000\">"), std::string::npos);
}

TEST(ReportFile, WhatIsWrongWithExpertsIsNamed) {
  const auto says = [](const std::string& pointer, const Json& bad) {
    Json json = report_of("churn");
    json["tasks"][0]["experts"] = experts();
    json["tasks"][0]["experts"][Json::json_pointer(pointer)] = bad;
    const auto read = read_report(json.dump(), "r.json");
    return read ? std::string("nothing") : read.error().detail;
  };
  const auto named = [&](const std::string& pointer, const Json& bad, const std::string& words) {
    const std::string detail = says(pointer, bad);
    EXPECT_NE(detail.find("tasks[0].experts." + words), std::string::npos) << detail;
  };
  named("/matrix/rows/1/values", {0.5}, "matrix.rows[1].values: expected a number for each block");
  named("/matrix/blocks/0", "b", "matrix.blocks[0]: expected");
  named("/routing/points/1/at", "2009-01-01T00:00:00Z",
        "routing.points[1].at: expected a time not");
  named("/routing/points/1/layers/0", {1.0}, "routing.points[1].layers[0]: expected a share for");
  named("/routing/points/1/layers", Json::array({{1.0, 0.0, 0.0}}),
        "routing.points[1].layers: expected as many layers as before");
  named("/layers/0/nodes", "many", "layers[0].nodes: expected");
  EXPECT_EQ(says("/count", 3), "nothing");
}

TEST(ReportPage, NamesAreNoMarkup) {
  const std::string evil = "</script><script>alert('1')</script>\"&'><img src=x>";
  Json json = report_of(evil);
  json["digest"] = evil;
  json["tasks"][0]["windows"][0]["window"] = evil;
  json["tasks"][0]["windows"][0]["trigger"] = evil;
  json["tasks"][0]["windows"][0]["candidates"][evil] = metrics(0.1);
  json["tasks"][0]["windows"][0]["metrics"][evil] = 1;
  json["tasks"][0]["series"][0]["weights"][evil] = 0.1;
  json["tasks"][0]["alarms"][0]["detector"] = evil;
  json["tasks"][0]["regret"]["unit"] = evil;
  json["tasks"][0]["regret"]["candidate"] = evil;
  json["tasks"][0]["experts"] = {
      {"events", {{{"at", "2010-02-01T00:00:00Z"}, {"kind", evil}, {"block", evil}}}},
      {"layers", {{{evil, 1}}}},
      {"routing",
       {{"experts", {evil, evil}},
        {"points", {{{"at", "2010-02-01T00:00:00Z"}, {"layers", {{0.5, 0.5}}}}}}}},
      {"matrix",
       {{"measure", evil},
        {"examples", 9},
        {"forgetting", nullptr},
        {"blocks", {7}},
        {"rows",
         {{{"at", "2010-02-01T00:00:00Z"},
           {"experts", 1},
           {"values", {0.5}},
           {"losses", {0.5}}}}}}}};
  const auto read = read_report(json.dump(), evil);
  ASSERT_TRUE(read) << read.error().detail;
  const std::string text = page(read.value());
  EXPECT_EQ(count_of(text, "<script"), 2U) << "the data and our own";
  EXPECT_EQ(count_of(text, "</script"), 2U);
  EXPECT_EQ(count_of(text, "<img"), 0U);
  const std::string before_data = text.substr(0, text.find("id=\"data\""));
  EXPECT_EQ(count_of(before_data, "alert('1')"), 0U) << "a quote ends no attribute";
  EXPECT_GT(count_of(before_data, "alert(&#39;1&#39;)"), 9U);
}

TEST(ReportFile, EveryMemberThatIsMissingOrWrongIsNamed) {
  // Each member of the document in turn is taken away, and made something it should not be: the
  // reader gives an error that names the file, or a page; never anything else.
  Json whole = report_of("churn");
  whole["tasks"][0]["experts"] = experts();
  std::size_t refused = 0;
  const Json members = whole.flatten();
  for (const auto& [pointer, value] : members.items()) {
    for (const Json& bad : {Json("text"), Json(-1), Json::object(), Json(nullptr)}) {
      Json damaged = whole;
      damaged[Json::json_pointer(pointer)] = bad;
      const auto read = read_report(damaged.dump(), "r.json");
      if (read) {
        EXPECT_FALSE(page(read.value()).empty());
      } else {
        ++refused;
        EXPECT_TRUE(read.error().detail.starts_with("r.json: ")) << read.error().detail;
      }
    }
  }
  EXPECT_GT(refused, 60U);
}

TEST(ReportFile, ErrorsSayWhatAndWhere) {
  struct Case {
    std::string text;
    std::string says;
  };
  Json old = report_of("churn");
  old["tasks"][0].erase("series");
  Json kind = report_of("churn");
  kind["tasks"][0]["kind"] = "clustering";
  Json back = report_of("churn");
  back["tasks"][0]["series"][1]["at"] = "2009-01-01";
  const std::string whole = report_of("churn").dump();
  const std::vector<Case> cases = {
      {"", "not JSON, or cut short"},
      {whole.substr(0, whole.size() / 2), "not JSON, or cut short: parse error at line 1"},
      {"\"\xff\"", "not JSON"},
      {"[]", "expected a backtest's report"},
      {R"({"rows": 3})", "expected a backtest's report"},
      {R"({"digest": "", "tasks": 3})", "tasks: expected a list"},
      {old.dump(), "task \"churn\" has no series: the report is of an older accretectl"},
      {kind.dump(), "tasks[0].kind: expected \"binary\""},
      {back.dump(), "tasks[0].series[1].at: expected a time not before"},
  };
  for (const Case& c : cases) {
    const auto read = read_report(c.text, "r.json");
    ASSERT_FALSE(read) << c.says;
    EXPECT_NE(read.error().detail.find(c.says), std::string::npos) << read.error().detail;
  }
}

TEST(ReportFile, AStatusIsReadToo) {
  Json task = report_of("churn")["tasks"][0];
  Json live = {{"name", "churn"},
               {"kind", "binary"},
               {"labels", 9},
               {"baselines", {"global-mean"}},
               {"metrics", {{"global-mean", metrics(0.5)}, {"mixture", metrics(0.8)}}},
               {"weights", {{"global-mean", 1.0}}}};
  for (const char* name : {"regret", "drift", "alarms"})
    live[name] = task[name];
  live["experts"] = experts();
  const Json status = {
      {"now", "2010-01-01T00:00:00Z"}, {"rows", 5}, {"tasks", Json::array({live})}};
  const auto read = read_status(status.dump(), "tcp://127.0.0.1:1");
  ASSERT_TRUE(read) << read.error().detail;
  const std::string text = page(read.value());
  EXPECT_EQ(count_of(text, "<svg"), 2U) << "routing alone has a course";
  EXPECT_NE(text.find("<data value=\"0.8\">0.8000</data>"), std::string::npos);
  EXPECT_NE(text.find("drift alarm of adwin"), std::string::npos);
}

}  // namespace
}  // namespace accrete::daemon::report
