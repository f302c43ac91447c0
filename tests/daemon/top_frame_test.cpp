// Frames of accretectl top: their text at three widths, what gives way, what is never wider.
#include "daemon/top_frame.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "proto/rng.h"
#include "proto/time.h"

namespace accrete::daemon::top {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

report::Running running() {
  report::Running out;
  out.epoch = 2;
  out.now = "2020-03-01T12:00:00Z";
  out.rows_in = 1'234'567;
  out.rows_folded = 1'234'000;
  out.late_rows = 3;
  out.published = 2000;
  out.newest_prediction = 4321;
  out.lag_seconds = 0.25;
  out.lag_records = 567;
  out.lag_bytes = 81'920;
  out.checkpoint_age = 12.5;
  out.records_since_checkpoint = 99;
  out.groups_waiting = 4;
  out.rows_waiting = 17;
  out.resident_bytes = 300u << 20;
  out.disk_bytes = 64u << 20;
  out.stages = {{"commit", 10, 0.1, 0.0016, 0.0128}, {"fold", 0, 0, nan, nan}};
  out.tables = {{"orders", {1000, 20, 3, 0}}, {"quiet", {}}, {"staff", {7, 0, 0, 1}}};
  out.subscribers = {{"billing", 4000, 321}};
  return out;
}

report::Task task() {
  report::Task out;
  out.name = "churn";
  out.kind = "binary";
  out.labels = 5000;
  out.candidates = {"global", "entity", "boosted"};
  out.baselines = {"global", "entity"};
  out.alarm_count = 3;
  const TimeUs at = parse_time("2020-02-28").value();
  out.alarms = {{at, "adwin", "drift alarm of adwin: mean loss from 0.2 to 0.5"}};
  report::Window window;
  window.rows = {{"mixture", {{"auroc", 0.8125}}},
                 {"global", {{"auroc", 0.5}}},
                 {"entity", {{"auroc", 0.75}}},
                 {"boosted", {{"auroc", 0.9}}}};
  out.windows.push_back(window);
  out.series.at = {at, at, at, at};
  out.series.curves.push_back(
      {"auroc", {{0, 0, 0, 0}, {0, 0, 0, 0}, {0, 0, 0, 0}, {0.5, nan, 0.6, 0.8}}});
  out.experts.names = {"block 0", "block 3", "extras"};
  out.experts.shares = {{{0.5, 0.25}, {0.25, 0.7}, {0.25, 0.05}}};
  out.experts.events = {{at, "birth", "birth, layer 0, expert 1"}};
  return out;
}

State state() {
  return {running(), {1500, 2.5, nan}, {task()}, ""};
}

std::string joined(const std::vector<std::string>& lines) {
  std::string out;
  for (const std::string& line : lines)
    out += line + "\n";
  return out;
}

std::size_t width(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) >> 6) != 2; }));
}

TEST(TopFrame, EightyColumns) {
  EXPECT_EQ(joined(frame(state(), {80, 0}, false)),
            "accreted: ready, rows up to 2020-03-01T12:00:00Z, epoch 2\n"
            "rows      1,500 /s in   2.5 /s folded   1,234,000 folded in all   3 late\n"
            "lag       250.0 ms   567 records   80.0 KiB\n"
            "commit    12.5 s ago   99 records since\n"
            "queues    4 groups for the fold   17 rows for the watermark\n"
            "sent      … /s predictions   2,000 sent in all   newest number 4,321\n"
            "memory    300.0 MiB resident   64.0 MiB on disk\n"
            "stages    commit p50 1.6 ms p99 12.8 ms   fold p50 – p99 –\n"
            "tables    orders +1,000 ~20 -3   staff +7 truncated 1\n"
            "readers   billing 321 behind\n"
            "\n"
            "task   metric  Accrete  baseline  trend  alarms  experts  labels  best baseline\n"
            "churn  AUROC   0.8125   0.7500    ▁ ▃█   3       2        5,000   entity\n"
            "  ▼ 2020-02-28 drift alarm of adwin: mean loss from 0.2 to 0.5\n"
            "  ▲ 2020-02-28 birth, layer 0, expert 1\n"
            "  layer 0 block 0 25 %   block 3 70 %   extras 5 %\n");
}

TEST(TopFrame, FortyColumnsWrapWhatIsLongAndLeaveOutTheLastColumns) {
  EXPECT_EQ(joined(frame(state(), {40, 0}, false)),
            "accreted: ready, rows up to 2020-03-01T…\n"
            "rows      1,500 /s in   2.5 /s folded\n"
            "          1,234,000 folded in all\n"
            "          3 late\n"
            "lag       250.0 ms   567 records\n"
            "          80.0 KiB\n"
            "commit    12.5 s ago   99 records since\n"
            "queues    4 groups for the fold\n"
            "          17 rows for the watermark\n"
            "sent      … /s predictions\n"
            "          2,000 sent in all\n"
            "          newest number 4,321\n"
            "memory    300.0 MiB resident\n"
            "          64.0 MiB on disk\n"
            "stages    commit p50 1.6 ms p99 12.8 ms\n"
            "          fold p50 – p99 –\n"
            "tables    orders +1,000 ~20 -3\n"
            "          staff +7 truncated 1\n"
            "readers   billing 321 behind\n"
            "\n"
            "task   metric  Accrete  baseline  trend\n"
            "churn  AUROC   0.8125   0.7500    ▁ ▃█\n"
            "  ▼ 2020-02-28 drift alarm of adwin: me…\n"
            "  ▲ 2020-02-28 birth, layer 0, expert 1\n"
            "  layer 0 block 0 25 %   block 3 70 %\n"
            "          extras 5 %\n");
}

TEST(TopFrame, WideTerminalsNeedNoMoreLines) {
  const auto eighty = frame(state(), {80, 0}, false);
  EXPECT_EQ(frame(state(), {200, 0}, false), eighty);
}

TEST(TopFrame, WhatNeedsALookIsRed) {
  State shown = state();
  const auto red = [&] {
    std::vector<std::string> found;
    for (const std::string& line : frame(shown, {80, 0}, true)) {
      if (line.starts_with("\x1b[31m") && line.ends_with("\x1b[0m"))
        found.push_back(line.substr(5, 5));
    }
    return found;
  };
  EXPECT_TRUE(red().empty());
  EXPECT_EQ(joined(frame(shown, {80, 0}, false)).find('\x1b'), std::string::npos);
  shown.running.lag_seconds = kBehindSeconds;
  shown.running.dead_letters = 1;
  shown.running.letters = {{1, "feed", 7, "orders", 10, "orders.amount: no number: \"x\""}};
  shown.tasks[0].windows[0].rows[0].metrics[0].second = 0.7;
  shown.trouble = "no answer";
  EXPECT_EQ(red(), (std::vector<std::string>{"no an", "lag  ", "refus", "churn"}));
  shown.tasks[0].kind = "regression";  // less is better: nothing is told of its metric here
  EXPECT_EQ(red(), (std::vector<std::string>{"no an", "lag  ", "refus"}));
  shown.running.lag_seconds = nan;
  EXPECT_NE(joined(frame(shown, {80, 0}, false)).find("accreted: behind"), std::string::npos);
}

TEST(TopFrame, ShortTerminalsSayWhatIsLeftOut) {
  const auto all = frame(state(), {80, 0}, false);
  const auto some = frame(state(), {80, 6}, false);
  ASSERT_EQ(some.size(), 6U);
  EXPECT_TRUE(std::equal(some.begin(), some.begin() + 5, all.begin()));
  EXPECT_EQ(some.back(),
            "… " + std::to_string(all.size() - 5) + " more lines in a taller terminal");
  EXPECT_EQ(frame(state(), {80, all.size()}, false), all);
  EXPECT_EQ(frame(state(), {80, 1}, false).size(), 1U);
}

TEST(TopFrame, NamesDoNotCommandTheTerminal) {
  State shown = state();
  shown.tasks[0].name =
      "a\x1b[2Jb\xc2\x9b"
      "c";
  shown.running.subscribers = {{"x\ny", 0, 0}};
  const std::string text = joined(frame(shown, {80, 0}, false));
  EXPECT_NE(text.find("a?[2Jb?c"), std::string::npos) << text;
  EXPECT_NE(text.find("x?y 0 behind"), std::string::npos) << text;
}

TEST(TopFrame, NoLineIsWiderThanTheTerminal) {
  Rng rng(1, 0, Purpose::Test);
  for (int round = 0; round < 300; ++round) {
    State shown = state();
    shown.tasks.assign(rng.below(4), task());
    for (report::Task& task : shown.tasks) {
      task.name.clear();
      for (std::uint64_t i = rng.below(60); i > 0; --i)
        task.name += rng.below(2) == 0 ? "ß" : "x";
    }
    shown.running.lag_bytes = rng.below(1ull << 62);
    const Size size{20 + rng.below(200), rng.below(40)};
    const auto lines = frame(shown, size, false);
    EXPECT_LE(lines.size(), size.lines > 0 ? size.lines : lines.size());
    for (const std::string& line : lines)
      ASSERT_LE(width(line), size.columns) << line;
  }
}

TEST(TopFrame, Sparklines) {
  EXPECT_EQ(sparkline({}, 8), "");
  EXPECT_EQ(sparkline(std::vector<double>{1, 2, 3, 4, 5, 6, 7, 8}, 8), "▁▂▃▄▅▆▇█");
  EXPECT_EQ(sparkline(std::vector<double>{0, 2, 7, 9}, 2), "▁█") << "means 1 and 8";
  EXPECT_EQ(sparkline(std::vector<double>{3, 3}, 8), "▅▅");
  EXPECT_EQ(sparkline(std::vector<double>{nan, 1, nan, 2}, 4), " ▁ █");
}

TEST(TopFrame, Rates) {
  report::Running before = running();
  report::Running now = before;
  now.rows_in += 30;
  now.rows_folded += 10;
  now.published = 5;  // a new process counts from zero
  const Rates rates = rates_of(before, now, 2);
  EXPECT_EQ(rates.rows_in, 15);
  EXPECT_EQ(rates.rows_folded, 5);
  EXPECT_TRUE(std::isnan(rates.predictions));
}

}  // namespace
}  // namespace accrete::daemon::top
