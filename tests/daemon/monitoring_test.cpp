// Alerts and the dashboard ask for metrics that there are.
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "daemon/metrics_page.h"

namespace accrete::daemon {
namespace {

std::string read_file(const std::string& name) {
  std::ifstream file(std::string(ACCRETE_SOURCE_DIR "/daemon/monitoring/") + name);
  EXPECT_TRUE(file) << name;
  return {std::istreambuf_iterator<char>(file), {}};
}

std::set<std::string> families() {
  const Gauges gauges;
  Readings readings;
  readings.status = R"({"queues":{},"predictions":{},"memory_bytes":{},"subscribers":[],
                        "tasks":[],"tables":[],"checkpoint":{}})";
  const auto page = metrics_page(gauges, readings);
  EXPECT_TRUE(page) << page.error().detail;
  std::set<std::string> found;
  const std::string& text = page.value();
  static const std::regex declared(R"(# TYPE (\w+) (\w+))");
  for (std::sregex_iterator at(text.begin(), text.end(), declared), end; at != end; ++at) {
    found.insert((*at)[1]);
    if ((*at)[2] != "histogram") continue;
    for (const char* part : {"_bucket", "_sum", "_count"})
      found.insert((*at)[1].str() + part);
  }
  return found;
}

/// Names of metrics in `text`, and which of them the daemon does not have.
std::set<std::string> unknown(const std::string& text, std::size_t& asked) {
  const std::set<std::string> known = families();
  static const std::regex name(R"(\baccrete_\w+)");
  std::set<std::string> missing;
  for (std::sregex_iterator at(text.begin(), text.end(), name), end; at != end; ++at, ++asked) {
    if (!known.contains(at->str())) missing.insert(at->str());
  }
  return missing;
}

TEST(Monitoring, AlertsAskForMetricsThatThereAre) {
  std::size_t asked = 0;
  EXPECT_EQ(unknown(read_file("accrete.rules.yml"), asked), std::set<std::string>{});
  EXPECT_GT(asked, 8u);
  EXPECT_EQ(unknown("x accrete_no_such_total y", asked).size(), 1u) << "the test can fail";
}

TEST(Monitoring, TheDashboardAsksForMetricsThatThereAre) {
  const std::string text = read_file("grafana.json");
  std::size_t asked = 0;
  EXPECT_EQ(unknown(text, asked), std::set<std::string>{});
  const auto json = nlohmann::json::parse(text, nullptr, false);
  ASSERT_FALSE(json.is_discarded());
  EXPECT_GT(json.at("panels").size(), 10u);
  for (const auto& panel : json.at("panels"))
    EXPECT_FALSE(panel.at("targets").empty()) << panel.at("title");
}

}  // namespace
}  // namespace accrete::daemon
