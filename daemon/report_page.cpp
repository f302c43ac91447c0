// Putting the page together.
#include "daemon/report_page.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <span>

#include <nlohmann/json.hpp>

#include "daemon/report_chart.h"
#include "daemon/report_console.h"
#include "daemon/report_experts.h"
#include "daemon/report_look.h"
#include "daemon/report_scale.h"
#include "daemon/report_tables.h"
#include "daemon/terminal.h"

namespace accrete::daemon::report {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kSlidesPerCurve = 24;  // a curve is smoothed over this part of its length

/// Four digits: the read-out, not a calculation.
Json rounded(double value) {
  if (!std::isfinite(value)) return nullptr;
  const std::string text = short_number(value);
  double out = value;
  std::from_chars(text.data(), text.data() + text.size(), out);
  return out;
}

Json lists_json(const std::vector<std::vector<double>>& lists) {
  Json all = Json::array();
  for (const auto& list : lists) {
    Json row = Json::array();
    for (const double value : list)
      row.push_back(rounded(value));
    all.push_back(std::move(row));
  }
  return all;
}

Json axis_json(std::span<const TimeUs> at) {
  Json axis;
  axis["at"] = Json::array();
  for (const TimeUs time : at)
    axis["at"].push_back(time.value);
  return axis;
}

bool cut_off(const ValueAxis& axis, const std::vector<std::span<const double>>& curves) {
  return std::any_of(curves.begin(), curves.end(), [&](std::span<const double> curve) {
    return std::any_of(curve.begin(), curve.end(),
                       [&](double value) { return value < axis.low || value > axis.high; });
  });
}

std::string figure_of(const std::string& title, const std::string& note, const std::string& svg) {
  return "<figure><figcaption>" + escaped(title) + "<small>" + escaped(note) +
         "</small></figcaption>" + svg + "</figure>\n";
}

/// One task's section, and what the script needs to know of its charts.
class TaskSection {
 public:
  TaskSection(const Task& task, std::size_t index, const Colours& colours, Json& data)
      : task_(task), colours_(colours), data_(data), id_("task-" + std::to_string(index)) {
    names_ = task.candidates;
    names_.emplace_back("mixture");
    for (const std::string& name : names_)
      colour_list_.push_back(colours.of(name));
    const auto& at = task.series.at;
    if (!at.empty()) {
      from_ = at.front();
      to_ = at.back();
    }
    // One axis for all charts of the task: what happened elsewhere in time is not lost.
    const auto cover = [&](TimeUs time) {
      const bool unset = from_ > to_;
      from_ = unset ? time : std::min(from_, time);
      to_ = unset ? time : std::max(to_, time);
    };
    for (const TimeUs time : task.experts.at)
      cover(time);
    for (const auto* marks : {&task.alarms, &task.experts.events}) {
      for (const Mark& mark : *marks)
        cover(mark.at);
    }
  }

  std::string text();

 private:
  std::string legend() const;
  std::string curves();
  std::string weights();
  std::string experts();
  Chart chart(const std::string& what, std::span<const TimeUs> at) const;
  bool shown(std::size_t candidate) const;

  const Task& task_;
  const Colours& colours_;
  Json& data_;
  std::string id_;
  std::vector<std::string> names_;  // the mixture last
  std::vector<std::string> colour_list_;
  TimeUs from_ = kTimeMax;
  TimeUs to_ = kTimeMin;
};

/// Which curves are drawn before anybody asks for more: the mixture, the baselines, and the
/// candidate with the largest weight.
bool TaskSection::shown(std::size_t candidate) const {
  if (candidate == task_.candidates.size()) return true;
  if (is_baseline(task_, names_[candidate])) return true;
  const auto heaviest =
      std::max_element(task_.weights.begin(), task_.weights.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
  return heaviest != task_.weights.end() && heaviest->first == names_[candidate];
}

std::string TaskSection::legend() const {
  std::string out =
      "<fieldset class=\"legend\"><legend>Curves of " + escaped(task_.name) + "</legend>";
  const auto entry = [&](const std::string& key, bool checked, const std::string& swatch,
                         const std::string& name) {
    out += "<label><input type=\"checkbox\" data-s=\"" + key + "\"" + (checked ? " checked" : "") +
           ">" + swatch + escaped(name) + "</label>";
  };
  // The mixture, which is what is published, comes first.
  for (std::size_t i = 0; i < names_.size(); ++i) {
    const std::size_t c = i == 0 ? names_.size() - 1 : i - 1;
    entry(std::to_string(c), shown(c), swatch_of(task_, names_[c], colours_), names_[c]);
  }
  if (!task_.alarms.empty()) {
    entry("alarm", true, "<span class=\"key glyph alarm\">▼◆</span>",
          "drift alarms (ADWIN ▼, Page-Hinkley ◆)");
  }
  if (!task_.experts.events.empty()) {
    entry("event", true, "<span class=\"key glyph birth\">▲</span>",
          "experts (birth ▲, merge, rollback ✕, freeze ■)");
  }
  return out + "</fieldset>\n";
}

Chart TaskSection::chart(const std::string& what, std::span<const TimeUs> at) const {
  Chart chart;
  chart.id = id_ + "-" + what;
  chart.at = at;
  chart.from = from_;
  chart.to = to_;
  chart.alarms = task_.alarms;
  chart.events = task_.experts.events;
  for (const Window& window : task_.windows) {
    const bool known = std::any_of(chart.shades.begin(), chart.shades.end(),
                                   [&](const Shade& s) { return s.name == window.name; });
    const bool bounded = window.from != kTimeMin || window.to != kTimeMax;
    if (bounded && !known) chart.shades.push_back({window.name, window.from, window.to});
  }
  return chart;
}

std::string TaskSection::curves() {
  const Series& series = task_.series;
  const std::size_t slide = std::max<std::size_t>(1, series.at.size() / kSlidesPerCurve);
  std::string out;
  for (const Curve& curve : series.curves) {
    std::vector<std::vector<double>> means;
    for (const auto& values : curve.values)
      means.push_back(sliding_mean(values, series.count, slide));
    Chart chart = this->chart(curve.metric, series.at);
    const std::string title = metric_title(curve.metric);
    chart.label = title + " of " + task_.name + " from " + short_time(from_) + " to " +
                  short_time(to_) + "; mixture at the end " + short_number(means.back().back());
    std::vector<std::span<const double>> visible;
    for (std::size_t c = 0; c < names_.size(); ++c) {
      chart.lines.push_back({"s" + std::to_string(c) + " " + line_class(task_, names_[c]),
                             colour_list_[c], means[c]});
      if (shown(c)) visible.emplace_back(means[c]);
    }
    const ValueAxis axis = axis_around(means.back(), visible);
    const int up = direction(curve.metric);
    std::string note = up > 0 ? "higher is better" : "lower is better";
    if (curve.metric == "mae") note += ", in the label's unit";
    if (curve.metric == "log_loss") note += ", in nats";
    note += slide > 1 ? "; sliding mean over " + std::to_string(slide) + " of " +
                            std::to_string(series.at.size()) + " intervals"
                      : "; " + std::to_string(series.at.size()) + " intervals";
    if (out.empty()) note += "; by the time the outcome was known (UTC)";
    if (cut_off(axis, visible)) note += "; curves beyond the axis are cut off";
    out += figure_of(title, note, curve_chart(chart, axis));
    data_["charts"][chart.id] = {{"axis", id_},
                                 {"up", up > 0},
                                 {"names", names_},
                                 {"colours", colour_list_},
                                 {"values", lists_json(means)}};
  }
  return out;
}

std::string TaskSection::weights() {
  const Series& series = task_.series;
  Chart chart = this->chart("weights", series.at);
  chart.label = "Weights of the candidates of " + task_.name + " over time, stacked";
  for (std::size_t c = 0; c < task_.candidates.size(); ++c)
    chart.lines.push_back({"", colour_list_[c], series.weights[c]});
  data_["charts"][chart.id] = {{"axis", id_},
                               {"up", true},
                               {"shares", true},
                               {"names", task_.candidates},
                               {"colours", colour_list_},
                               {"values", lists_json(series.weights)}};
  return figure_of("Weights in the mixture", "share of each candidate, baselines in grey",
                   share_chart(chart));
}

std::string TaskSection::experts() {
  const Experts& experts = task_.experts;
  std::string out;
  const std::vector<std::string> colours = expert_colours(experts);
  const std::string axis = id_ + "-routing";
  if (!experts.at.empty()) data_["axes"][axis] = axis_json(experts.at);
  // One point spans no area: a chart of it would look broken.
  const std::size_t layers = experts.at.size() > 1 ? experts.shares.size() : 0;
  for (std::size_t l = 0; l < layers; ++l) {
    const std::string layer = std::to_string(l);
    Chart chart = this->chart("routing-" + layer, experts.at);
    chart.label = "Share of layer " + layer + " of " + task_.name +
                  " that each expert handled over time, stacked";
    for (std::size_t e = 0; e < experts.names.size(); ++e)
      chart.lines.push_back({"", colours[e], experts.shares[l][e]});
    data_["charts"][chart.id] = {{"axis", axis},       {"up", true},
                                 {"shares", true},     {"names", experts.names},
                                 {"colours", colours}, {"values", lists_json(experts.shares[l])}};
    out += figure_of("Routing, layer " + layer, routing_note(l, experts.shares.size()),
                     share_chart(chart));
  }
  if (!out.empty()) out += expert_keys(experts);
  return out + layer_table(experts) + expert_matrix(experts);
}

std::string TaskSection::text() {
  std::string out = "<section id=\"" + id_ + "\" aria-labelledby=\"" + id_ + "-name\"><h2 id=\"" +
                    id_ + "-name\">" + escaped(task_.name) + "<span class=\"kind\">" +
                    escaped(task_.kind) + "</span></h2>\n<p class=\"soft\">" +
                    terminal::grouped(task_.labels) + " labels learnt, " +
                    terminal::grouped(task_.alarm_count) +
                    (task_.alarm_count == 1 ? " drift alarm" : " drift alarms") +
                    (task_.alarm_count > task_.alarms.size()
                         ? ", the newest " + terminal::grouped(task_.alarms.size()) + " shown"
                         : "") +
                    ". " + escaped(task_.regret) + "</p>\n";
  const bool has_series = !task_.series.at.empty();
  if (has_series) {
    data_["axes"][id_] = axis_json(task_.series.at);
    data_["axes"][id_]["count"] = task_.series.count;
    out += legend() + curves() + weights();
  } else {
    out += weight_table(task_, colours_);
  }
  out += experts();
  if (task_.windows.empty()) out += "<p>No outcome became known, so nothing is graded.</p>\n";
  for (std::size_t w = 0; w < task_.windows.size(); ++w)
    out += window_table(task_, task_.windows[w], colours_);
  if (!has_series) out += mark_list(task_.alarms);
  return out + "</section>\n";
}

std::string facts(const Report& report) {
  std::string out = "<dl>";
  for (const auto& [name, value] : report.facts) {
    out += "<div><dt>" + escaped(name) + "</dt><dd" + (value.size() > 40 ? " class=\"long\"" : "") +
           ">" + escaped(value) + "</dd></div>";
  }
  return out + "</dl>";
}

/// `more`: sections behind the overview. `last`: what stands at the end of the body.
std::string document(const Report& report, const std::string& more, const std::string& last) {
  const Colours colours(report);
  Json data;
  data["axes"] = Json::object();
  data["charts"] = Json::object();
  std::string sections;
  std::size_t toggles = 0;
  for (std::size_t t = 0; t < report.tasks.size(); ++t) {
    sections += TaskSection(report.tasks[t], t, colours, data).text();
    toggles = std::max(toggles, report.tasks[t].candidates.size() + 1);
  }
  // "</script>" in a name must not end the element.
  std::string json = data.dump();
  for (std::size_t at = json.find('<'); at != std::string::npos; at = json.find('<', at))
    json.replace(at, 1, "\\u003c");
  const std::string title = escaped(report.title + " · " + report.source);
  return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
         "<meta name=\"color-scheme\" content=\"light dark\">\n<title>" +
         title + "</title>\n<style>" + style_sheet(toggles) +
         "</style>\n</head>\n<body>\n<header class=\"top\"><h1>" + escaped(report.title) +
         "</h1><p class=\"soft\">" + escaped(report.source) + "</p>" + facts(report) +
         "</header>\n<main>\n" + overview(report) + more + sections +
         "</main>\n<script type=\"application/json\" id=\"data\">" + json + "</script>\n" + last +
         "</body>\n</html>\n";
}

std::string script_element(std::string_view script) {
  return "<script>" + std::string(script) + "</script>\n";
}

}  // namespace

std::string page(const Report& report) {
  return document(report, "",
                  "<footer>Written by accretectl report. Times are event times in UTC.</footer>\n" +
                      script_element(script()));
}

std::string console(const Report& report, const Running& running, bool explains) {
  return document(report, running_sections(running),
                  (explains ? explain_section(report) : "") +
                      "<footer>Curves begin with this process. Times are event times in UTC. Also: "
                      "<a href=\"/metrics\">/metrics</a> <a href=\"/statusz\">/statusz</a> "
                      "<a href=\"/readyz\">/readyz</a></footer>\n"
                      "<p id=\"stale\" role=\"alert\" hidden></p>\n" +
                      script_element(script()) + script_element(console_script()) +
                      (explains ? script_element(explain_script()) : ""));
}

}  // namespace accrete::daemon::report
