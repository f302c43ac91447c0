// Writing tables.
#include "daemon/report_tables.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <nlohmann/json.hpp>

#include "daemon/report_chart.h"
#include "daemon/report_look.h"
#include "daemon/report_scale.h"
#include "daemon/terminal.h"

namespace accrete::daemon::report {
namespace {

/// NaN if it is not told.
double metric_of(const Scores& scores, std::string_view metric) {
  for (const auto& [name, value] : scores.metrics) {
    if (name == metric) return value;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

/// The best value of a metric among rows; NaN where more is not better or worse.
double best_of(const std::vector<Scores>& rows, const std::string& metric) {
  const int sign = direction(metric);
  double best = std::numeric_limits<double>::quiet_NaN();
  for (const Scores& row : rows) {
    const double value = metric_of(row, metric);
    if (sign == 0 || std::isnan(value)) continue;
    if (std::isnan(best) || sign * (value - best) > 0) best = value;
  }
  return best;
}

std::string window_words(const Window& window) {
  std::string words = terminal::grouped(window.count) + " graded";
  if (!window.trigger.empty()) words += " (" + window.trigger + ")";
  if (window.from != kTimeMin) words += ", as of " + short_time(window.from) + " on";
  if (window.to != kTimeMax) words += ", as of before " + short_time(window.to);
  return words;
}

std::string overview_row(const Task& task, std::size_t index, const Window& window) {
  const std::string metric = headline_metric(task.kind);
  const int sign = direction(metric);
  const Scores* best = nullptr;
  for (const Scores& row : window.rows) {
    const double value = metric_of(row, metric);
    if (!is_baseline(task, row.name) || std::isnan(value)) continue;
    if (best == nullptr || sign * (value - metric_of(*best, metric)) > 0) best = &row;
  }
  const double mixture = window.rows.empty() ? std::numeric_limits<double>::quiet_NaN()
                                             : metric_of(window.rows[0], metric);
  std::string gain = "<td>–</td>";
  if (best != nullptr && !std::isnan(mixture)) {
    const double difference = mixture - metric_of(*best, metric);
    const char* word = sign * difference > 0 ? "better" : sign * difference < 0 ? "worse" : "equal";
    gain = std::string("<td class=\"") + word + "\">" + (difference < 0 ? "−" : "+") +
           short_number(std::abs(difference)) + " " + word + "</td>";
  }
  return "<tr><th scope=\"row\"><a href=\"#task-" + std::to_string(index) + "\">" +
         escaped(task.name) + "</a></th><td class=\"word\">" + escaped(window.name) +
         (window.trigger.empty() ? "" : ", " + escaped(window.trigger)) +
         "</td><td class=\"word\">" + metric_title(metric) + "</td><td>" + number(mixture) +
         "</td><td>" + (best != nullptr ? number(metric_of(*best, metric)) : "–") +
         "</td><td class=\"word\">" + (best != nullptr ? escaped(best->name) : "") + "</td>" +
         gain + "<td>" + terminal::grouped(window.count) + "</td><td>" +
         terminal::grouped(task.alarm_count) + "</td></tr>\n";
}

}  // namespace

std::string number(double value) {
  if (std::isnan(value)) return "–";
  return "<data value=\"" + nlohmann::json(value).dump() + "\">" + short_number(value) + "</data>";
}

Colours::Colours(const Report& report) {
  by_name_["mixture"] = "var(--main)";
  std::size_t next = 0;
  for (const Task& task : report.tasks) {
    for (std::size_t b = 0; b < task.baselines.size(); ++b) {
      constexpr const char* kGreys[] = {"var(--base)", "var(--base2)", "var(--base3)"};
      by_name_.emplace(task.baselines[b], kGreys[b % 3]);
    }
    for (const std::string& name : task.candidates) {
      const std::string colour = "var(--c" + std::to_string(next % kColours) + ")";
      if (by_name_.emplace(name, colour).second) ++next;
    }
  }
}

std::string Colours::of(const std::string& candidate) const {
  const auto found = by_name_.find(candidate);
  return found == by_name_.end() ? "var(--soft)" : found->second;
}

bool is_baseline(const Task& task, const std::string& candidate) {
  return std::find(task.baselines.begin(), task.baselines.end(), candidate) != task.baselines.end();
}

std::string line_class(const Task& task, const std::string& candidate) {
  if (candidate == "mixture") return "main";
  const auto found = std::find(task.baselines.begin(), task.baselines.end(), candidate);
  if (found == task.baselines.end()) return "candidate";
  constexpr const char* kDashes[] = {"base", "base second", "base third"};
  return kDashes[(found - task.baselines.begin()) % 3];
}

std::string swatch_of(const Task& task, const std::string& candidate, const Colours& colours) {
  return "<span class=\"key " + line_class(task, candidate) +
         "\" style=\"--k:" + colours.of(candidate) + "\"></span>";
}

std::string overview(const Report& report) {
  std::string out =
      "<section aria-labelledby=\"overview\"><h2 id=\"overview\">Overview</h2>\n"
      "<div class=\"scroll\"><table><caption>Accrete beside the best of the baselines"
      "<small>graded before learning, test then train</small></caption><thead><tr><th "
      "scope=\"col\">task</th><th scope=\"col\" "
      "class=\"word\">window</th><th scope=\"col\" class=\"word\">metric</th><th "
      "scope=\"col\">Accrete</th><th scope=\"col\">best baseline</th><th scope=\"col\" "
      "class=\"word\">which</th><th scope=\"col\">difference</th><th scope=\"col\">graded</th>"
      "<th scope=\"col\">drift alarms</th></tr></thead><tbody>\n";
  for (std::size_t t = 0; t < report.tasks.size(); ++t) {
    for (const Window& window : report.tasks[t].windows)
      out += overview_row(report.tasks[t], t, window);
  }
  return out + "</tbody></table></div></section>\n";
}

std::string window_table(const Task& task, const Window& window, const Colours& colours) {
  std::string out = "<div class=\"scroll\"><table><caption>Window “" + escaped(window.name) +
                    "”<small>" + escaped(window_words(window)) +
                    "</small></caption><thead><tr><th scope=\"col\">candidate</th>";
  std::vector<std::string> metrics;
  if (!window.rows.empty()) {
    for (const auto& [metric, value] : window.rows[0].metrics)
      metrics.push_back(metric);
  }
  for (const std::string& metric : metrics) {
    const int up = direction(metric);
    out += "<th scope=\"col\">" + escaped(metric_title(metric)) +
           (up > 0   ? " ↑"
            : up < 0 ? " ↓"
                     : "") +
           "</th>";
  }
  out += "</tr></thead><tbody>\n";
  for (const Scores& row : window.rows) {
    const bool mixture = row.name == "mixture";
    out += std::string("<tr") +
           (mixture                       ? " class=\"main\""
            : is_baseline(task, row.name) ? " class=\"base\""
                                          : "") +
           "><th scope=\"row\">" + swatch_of(task, row.name, colours) + escaped(row.name) + "</th>";
    for (const std::string& metric : metrics) {
      const double value = metric_of(row, metric);
      const bool best = value == best_of(window.rows, metric);  // never of NaN
      out += std::string(best ? "<td class=\"best\">" : "<td>") + number(value) + "</td>";
    }
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

std::string weight_table(const Task& task, const Colours& colours) {
  if (task.weights.empty()) return "";
  std::string out =
      "<div class=\"scroll\"><table><caption>Weights in the mixture<small>newest</small></caption>"
      "<thead><tr><th scope=\"col\">candidate</th><th scope=\"col\">weight</th><th scope=\"col\" "
      "class=\"word\"></th></tr></thead><tbody>\n";
  for (const auto& [name, weight] : task.weights) {
    const double part = std::isfinite(weight) ? std::clamp(weight, 0.0, 1.0) : 0;
    out += "<tr><th scope=\"row\">" + swatch_of(task, name, colours) + escaped(name) + "</th><td>" +
           number(weight) +
           "</td><td class=\"word\"><span class=\"bar\" style=\"--v:" + short_number(part) +
           ";--k:" + colours.of(name) + "\"></span></td></tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

std::string mark_list(const std::vector<Mark>& marks) {
  if (marks.empty()) return "";
  std::string out = "<details><summary>Drift alarms<small>newest last</small></summary><ul>\n";
  for (const Mark& mark : marks)
    out += "<li>" + escaped(short_time(mark.at) + ": " + mark.text) + "</li>\n";
  return out + "</ul></details>\n";
}

}  // namespace accrete::daemon::report
