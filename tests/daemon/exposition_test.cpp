// Metrics as text: escaping, numbers, histograms; and the page of metrics from gauges and a status.
#include "daemon/exposition.h"

#include <cmath>
#include <limits>
#include <set>
#include <sstream>

#include <gtest/gtest.h>

#include "daemon/metrics_page.h"

namespace accrete::daemon {
namespace {

TEST(Exposition, EscapesAndLeavesOutWhatIsNotKnown) {
  Exposition out;
  out.family("a_total", "counter", "line\nand \\ and \"")
      .sample(3)
      .sample(std::nan(""), {{"no", "such"}})
      .sample(-1.5e-7, {{"task", "say \"a\\b\"\n"}, {"x", ""}})
      .sample(std::numeric_limits<double>::infinity());
  EXPECT_EQ(out.take(),
            "# HELP a_total line\\nand \\\\ and \"\n# TYPE a_total counter\na_total 3\n"
            "a_total{task=\"say \\\"a\\\\b\\\"\\n\",x=\"\"} -1.5e-07\na_total +Inf\n");
}

TEST(Exposition, HistogramsAreCumulative) {
  Histogram histogram;
  for (const double seconds : {0.00005, 0.0001, 0.00015, 1.0, 1000.0})
    histogram.add(seconds);
  Exposition out;
  out.family("t_seconds", "histogram", "t").histogram(histogram, {{"stage", "fold"}});
  const std::string text = out.take();
  for (const char* line :
       {"t_seconds_bucket{stage=\"fold\",le=\"1e-04\"} 2\n",
        "t_seconds_bucket{stage=\"fold\",le=\"2e-04\"} 3\n",
        "t_seconds_bucket{stage=\"fold\",le=\"0.8192\"} 3\n",
        "t_seconds_bucket{stage=\"fold\",le=\"1.6384\"} 4\n",
        "t_seconds_bucket{stage=\"fold\",le=\"+Inf\"} 5\n",
        "t_seconds_sum{stage=\"fold\"} 1001.0003\n", "t_seconds_count{stage=\"fold\"} 5\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
}

TEST(Exposition, QuantilesAreBoundsOfBuckets) {
  Histogram histogram;
  EXPECT_TRUE(std::isnan(histogram.quantile(0.5)));
  for (const double seconds : {0.00005, 0.00015, 0.00015, 1.0})
    histogram.add(seconds);
  EXPECT_EQ(histogram.count(), 4u);
  EXPECT_EQ(histogram.quantile(0.25), 0.0001);
  EXPECT_EQ(histogram.quantile(0.5), 0.0002);
  EXPECT_EQ(histogram.quantile(0.75), 0.0002);
  EXPECT_EQ(histogram.quantile(0.99), 1.6384);
  histogram.add(1000);
  EXPECT_TRUE(std::isinf(histogram.quantile(0.99)));
}

constexpr std::string_view kStatus =
    R"({"epoch":1,"rows":7,"late_rows":0,"frontiers_cut":6,"rows_ahead":2,"checkpoints":2,
  "dead_letters":3,"queues":{"rows_waiting_for_watermark":4},
  "predictions":{"newest":9,"oldest":1,"bytes":100},
  "memory_bytes":{"fold":1,"store":2,"resident":3},"disk_bytes":5,
  "checkpoint":{"age_seconds":1.5,"records_since":12},
  "tables":[{"table":"orders","insert":5,"update":4,"delete":3,"truncate":0}],
  "subscribers":[{"name":"billing \"x\"","behind":6}],
  "tasks":[{"name":"churn","labels":8,"pending":1,"shed":0,"unusable":2,
    "metrics":{"mixture":{"auroc":0.75,"fading_auroc":0.5},"ridge":{"auroc":null}},
    "weights":{"ridge":0.25},"drift":{"ADWIN":{"alarms":2}},
    "experts":{"count":3,"layers":[{"layer":0,"entropy":0.5}],
               "shares":{"layer 0":{"expert 1":0.125}}}},
   {"name":"plain","labels":0,"pending":0,"shed":0,"unusable":0,"metrics":{},"weights":{},
    "drift":{}}]})";

TEST(MetricsPage, HasWhatTheStatusSays) {
  Gauges gauges;
  gauges.durable_bytes = 125;
  gauges.folded_bytes = 100;
  Readings readings;
  readings.ready = true;
  readings.status = kStatus;
  const auto page = metrics_page(gauges, readings);
  ASSERT_TRUE(page) << page.error().detail;
  for (const char* line : {
           "accrete_ready 1\n",
           "accrete_dead_letters 3\n",
           "accrete_frontiers_cut_total 6\n",
           "accrete_rows_ahead 2\n",
           "accrete_fold_lag_bytes 25\n",
           "accrete_checkpoint_age_seconds 1.5\n",
           "accrete_checkpoint_records 12\n",
           "accrete_table_changes_total{table=\"orders\",operation=\"delete\"} 3\n",
           "accrete_stream_seq{end=\"newest\"} 9\n",
           "accrete_subscriber_behind{name=\"billing \\\"x\\\"\"} 6\n",
           "accrete_labels_total{task=\"churn\"} 8\n",
           "accrete_unusable_labels_total{task=\"churn\"} 2\n",
           "accrete_prequential_metric{task=\"churn\",candidate=\"mixture\",metric=\"auroc\","
           "window=\"sliding\"} 0.75\n",
           "accrete_prequential_metric{task=\"churn\",candidate=\"mixture\",metric=\"auroc\","
           "window=\"fading\"} 0.5\n",
           "accrete_mixture_weight{task=\"churn\",candidate=\"ridge\"} 0.25\n",
           "accrete_drift_alarms_total{task=\"churn\",detector=\"ADWIN\"} 2\n",
           "accrete_experts{task=\"churn\"} 3\n",
           "accrete_routing_entropy{task=\"churn\",layer=\"0\"} 0.5\n",
           "accrete_routing_share{task=\"churn\",layer=\"0\",expert=\"expert 1\"} 0.125\n",
       }) {
    EXPECT_NE(page.value().find(line), std::string::npos) << line << page.value();
  }
  EXPECT_EQ(page.value().find("candidate=\"ridge\",metric"), std::string::npos) << "null is no 0";
}

/// Each family is declared once, before its samples, which all follow it.
TEST(MetricsPage, FamiliesAreDeclaredOnceAndStayTogether) {
  const Gauges gauges;
  Readings readings;
  readings.status = kStatus;
  std::istringstream lines(metrics_page(gauges, readings).value());
  std::set<std::string> seen;
  std::string family;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("# HELP ")) {
      family = line.substr(7, line.find(' ', 7) - 7);
      EXPECT_TRUE(seen.insert(family).second) << family;
    } else if (!line.starts_with("# TYPE ")) {
      EXPECT_TRUE(line.starts_with(family)) << line << " under " << family;
    }
  }
  EXPECT_GT(seen.size(), 30u);
}

TEST(MetricsPage, ADamagedStatusIsAnError) {
  const Gauges gauges;
  Readings readings;
  for (const std::string_view damaged : {"{", "[]", "{\"tasks\":[{}]}", "{\"tasks\":7}"}) {
    readings.status = damaged;
    EXPECT_FALSE(metrics_page(gauges, readings)) << damaged;
  }
}

}  // namespace
}  // namespace accrete::daemon
