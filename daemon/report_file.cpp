// From JSON to what the page shows.
#include "daemon/report_file.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <optional>

#include "daemon/report_experts.h"
#include "daemon/report_json.h"
#include "daemon/terminal.h"
#include "proto/time.h"

namespace accrete::daemon::report {
namespace {

struct MetricName {
  std::string_view name;
  std::string_view title;
  int direction;
};

constexpr std::array<MetricName, 18> kMetrics{{{"auroc", "AUROC", 1},
                                               {"average_precision", "average precision", 1},
                                               {"log_loss", "log loss", -1},
                                               {"brier", "Brier score", -1},
                                               {"accuracy", "accuracy", 1},
                                               {"ece", "calibration error", -1},
                                               {"macro_f1", "macro F1", 1},
                                               {"map", "mean average precision", 1},
                                               {"ndcg", "NDCG", 1},
                                               {"precision", "precision", 1},
                                               {"recall", "recall", 1},
                                               {"considered", "right items considered", 0},
                                               {"mae", "MAE", -1},
                                               {"rmse", "RMSE", -1},
                                               {"r2", "R²", 1},
                                               {"nll", "neg. log density", -1},
                                               {"coverage", "coverage of intervals", 0},
                                               {"width", "width of intervals", 0}}};

constexpr std::string_view kFading = "fading_";  // a status tells fading means too

const MetricName* find_metric(std::string_view name) {
  const auto* const found = std::find_if(kMetrics.begin(), kMetrics.end(),
                                         [&](const MetricName& m) { return m.name == name; });
  return found == kMetrics.end() ? nullptr : found;
}

std::string figure(double value) {
  if (std::isnan(value)) return "–";
  std::array<char, 32> text{};
  static_cast<void>(std::snprintf(text.data(), text.size(), "%.4g", value));
  return text.data();
}

Result<Scores> read_scores(const std::string& name, const Place& place) {
  Scores scores;
  scores.name = name;
  ACCRETE_TRY(const auto members, place.members());
  for (const auto& [metric, value] : members) {
    ACCRETE_TRY(const double number, value.number());
    scores.metrics.emplace_back(metric, number);
  }
  return scores;
}

Result<Window> read_window(const Place& place) {
  Window window;
  ACCRETE_TRY(const Place name, place.member("window"));
  ACCRETE_TRY(window.name, name.text());
  for (auto [key, time] : {std::pair{"from", &window.from}, {"to", &window.to}}) {
    if (!place.has(key)) continue;
    ACCRETE_TRY(const Place member, place.member(key));
    ACCRETE_TRY(*time, member.time());
  }
  ACCRETE_TRY(const Place trigger, place.member("trigger"));
  ACCRETE_TRY(window.trigger, trigger.text());
  ACCRETE_TRY(const Place count, place.member("count"));
  ACCRETE_TRY(window.count, count.whole());
  ACCRETE_TRY(const Place mixture, place.member("metrics"));
  ACCRETE_TRY(Scores scores, read_scores("mixture", mixture));
  window.rows.push_back(std::move(scores));
  ACCRETE_TRY(const Place candidates, place.member("candidates"));
  ACCRETE_TRY(const auto members, candidates.members());
  for (const auto& [candidate, metrics] : members) {
    ACCRETE_TRY(scores, read_scores(candidate, metrics));
    window.rows.push_back(std::move(scores));
  }
  return window;
}

/// The values by name of one point at the end of each name's list; a name that is missing is
/// unknown there.
Status read_values(const Place& place, const std::vector<std::string>& names,
                   std::vector<std::vector<double>>& lists) {
  for (std::size_t c = 0; c < names.size(); ++c) {
    double value = std::nan("");
    if (place.has(names[c].c_str())) {
      ACCRETE_TRY(const Place member, place.member(names[c]));
      ACCRETE_TRY(value, member.number());
    }
    lists[c].push_back(value);
  }
  return Ok{};
}

Result<TimeUs> read_at(const Place& place, const std::vector<TimeUs>& before) {
  ACCRETE_TRY(const Place member, place.member("at"));
  ACCRETE_TRY(const TimeUs at, member.time());
  if (!before.empty() && at < before.back()) {
    return member.expected("a time not before that of the point before it");
  }
  return at;
}

Status read_series(const Place& place, Task& task) {
  ACCRETE_TRY(const auto points, place.items());
  if (points.empty()) return Ok{};
  ACCRETE_TRY(const Place first, points.front().member("weights"));
  ACCRETE_TRY(const auto candidates, first.members());
  for (const auto& [name, weight] : candidates)
    task.candidates.push_back(name);
  std::vector<std::string> names = task.candidates;
  names.emplace_back("mixture");
  Series& series = task.series;
  series.weights.resize(task.candidates.size());
  const std::string headline = headline_metric(task.kind);
  series.curves.push_back({headline, std::vector<std::vector<double>>(names.size())});
  const bool has_loss = points.front().has("log_loss");
  if (has_loss) {
    series.curves.push_back({"log_loss", std::vector<std::vector<double>>(names.size())});
  }
  for (const Place& point : points) {
    ACCRETE_TRY(const TimeUs at, read_at(point, series.at));
    series.at.push_back(at);
    ACCRETE_TRY(const Place count, point.member("count"));
    ACCRETE_TRY(const std::uint64_t graded, count.whole());
    series.count.push_back(graded);
    ACCRETE_TRY(const Place metric, point.member("metric"));
    ACCRETE_DO(read_values(metric, names, series.curves[0].values));
    if (has_loss) {
      ACCRETE_TRY(const Place loss, point.member("log_loss"));
      ACCRETE_DO(read_values(loss, names, series.curves[1].values));
    }
    ACCRETE_TRY(const Place weights, point.member("weights"));
    ACCRETE_DO(read_values(weights, task.candidates, series.weights));
  }
  for (std::size_t c = 0; c < task.candidates.size(); ++c)
    task.weights.emplace_back(task.candidates[c], series.weights[c].back());
  return Ok{};
}

Result<std::vector<Mark>> read_alarms(const Place& place) {
  std::vector<Mark> marks;
  ACCRETE_TRY(const auto items, place.items());
  for (const Place& item : items) {
    Mark mark;
    ACCRETE_TRY(const Place at, item.member("as_of"));
    ACCRETE_TRY(mark.at, at.time());
    ACCRETE_TRY(const Place detector, item.member("detector"));
    ACCRETE_TRY(mark.kind, detector.text());
    ACCRETE_TRY(const Place before, item.member("before"));
    ACCRETE_TRY(const double low, before.number());
    ACCRETE_TRY(const Place after, item.member("after"));
    ACCRETE_TRY(const double high, after.number());
    mark.text =
        "drift alarm of " + mark.kind + ": mean loss from " + figure(low) + " to " + figure(high);
    marks.push_back(std::move(mark));
  }
  return marks;
}

Result<std::string> read_regret(const Place& place) {
  ACCRETE_TRY(const Place rounds, place.member("rounds"));
  ACCRETE_TRY(const std::uint64_t count, rounds.whole());
  if (count == 0) return std::string();
  ACCRETE_TRY(const Place candidate, place.member("candidate"));
  ACCRETE_TRY(const std::string name, candidate.text());
  ACCRETE_TRY(const Place regret, place.member("regret"));
  ACCRETE_TRY(const double value, regret.number());
  ACCRETE_TRY(const Place bound, place.member("bound"));
  ACCRETE_TRY(const double most, bound.number());
  ACCRETE_TRY(const Place unit, place.member("unit"));
  ACCRETE_TRY(const std::string unit_text, unit.text());
  return "In hindsight the best single candidate is " + name +
         (value < 0 ? "; the mixture beat it by " + figure(-value)
                    : "; mixing cost " + figure(value) + " beyond it") +
         " (" + unit_text + ", summed over " + terminal::grouped(count) + " rounds" +
         (std::isnan(most) ? "" : "; at most " + figure(most) + " is possible") + ").";
}

Result<std::string> member_text(const Place& place, const char* name) {
  ACCRETE_TRY(const Place member, place.member(name));
  return member.text();
}

/// What a report and a status say of a task in the same words.
Status read_shared(const Place& place, Task& task) {
  ACCRETE_TRY(task.name, member_text(place, "name"));
  ACCRETE_TRY(const Place kind, place.member("kind"));
  ACCRETE_TRY(task.kind, kind.text());
  if (headline_metric(task.kind).empty()) {
    return kind.expected("\"binary\", \"regression\", \"multiclass\" or \"ranking\"");
  }
  ACCRETE_TRY(const Place labels, place.member("labels"));
  ACCRETE_TRY(task.labels, labels.whole());
  ACCRETE_TRY(const Place regret, place.member("regret"));
  ACCRETE_TRY(task.regret, read_regret(regret));
  ACCRETE_TRY(const Place alarms, place.member("alarms"));
  ACCRETE_TRY(task.alarms, read_alarms(alarms));
  ACCRETE_TRY(const Place drift, place.member("drift"));
  ACCRETE_TRY(const auto detectors, drift.members());
  for (const auto& [name, detector] : detectors) {
    ACCRETE_TRY(const Place alarmed, detector.member("alarms"));
    ACCRETE_TRY(const std::uint64_t count, alarmed.whole());
    task.alarm_count += count;
  }
  return Ok{};
}

Result<Task> read_task(const Place& place, const std::string& path) {
  Task task;
  ACCRETE_DO(read_shared(place, task));
  ACCRETE_TRY(const Place windows, place.member("windows"));
  ACCRETE_TRY(const auto items, windows.items());
  for (const Place& item : items) {
    ACCRETE_TRY(Window window, read_window(item));
    task.windows.push_back(std::move(window));
  }
  if (!items.empty()) {
    ACCRETE_TRY(const Place baselines, items.front().member("baselines"));
    ACCRETE_TRY(const auto members, baselines.members());
    for (const auto& [name, metrics] : members)
      task.baselines.push_back(name);
  }
  if (!place.has("series")) {
    return Error{Errc::Malformed, path + ": task \"" + task.name +
                                      "\" has no series: the report is of an older accretectl; "
                                      "run `accretectl backtest … --report " +
                                      path + "` again"};
  }
  ACCRETE_TRY(const Place series, place.member("series"));
  ACCRETE_DO(read_series(series, task));
  if (place.has("experts")) {
    ACCRETE_TRY(const Place experts, place.member("experts"));
    ACCRETE_TRY(task.experts, read_experts(experts));
  }
  return task;
}

Result<Task> read_live_task(const Place& place) {
  Task task;
  ACCRETE_DO(read_shared(place, task));
  ACCRETE_TRY(const Place baselines, place.member("baselines"));
  ACCRETE_TRY(task.baselines, baselines.texts());
  ACCRETE_TRY(const Place weights, place.member("weights"));
  ACCRETE_TRY(const auto candidates, weights.members());
  for (const auto& [name, weight] : candidates) {
    ACCRETE_TRY(const double value, weight.number());
    task.candidates.push_back(name);
    task.weights.emplace_back(name, value);
  }
  Window window;
  window.name = "newest graded predictions";
  window.count = task.labels;
  ACCRETE_TRY(const Place metrics, place.member("metrics"));
  ACCRETE_TRY(const auto all, metrics.members());
  for (const auto& [name, values] : all) {
    ACCRETE_TRY(Scores scores, read_scores(name, values));
    const bool mixture = name == "mixture";
    window.rows.insert(mixture ? window.rows.begin() : window.rows.end(), std::move(scores));
  }
  task.windows.push_back(std::move(window));
  if (place.has("series")) {
    Task drawn;
    drawn.kind = task.kind;
    ACCRETE_TRY(const Place series, place.member("series"));
    ACCRETE_DO(read_series(series, drawn));
    if (!drawn.series.at.empty() && drawn.candidates != task.candidates)
      return series.expected("the candidates that have weights");
    task.series = std::move(drawn.series);
  }
  if (place.has("experts")) {
    ACCRETE_TRY(const Place experts, place.member("experts"));
    ACCRETE_TRY(task.experts, read_experts(experts));
  }
  return task;
}

Status add_fact(const Place& place, const char* name, const char* title,
                std::string (*text)(double), Report& report) {
  if (!place.has(name)) return Ok{};
  ACCRETE_TRY(const Place member, place.member(name));
  ACCRETE_TRY(const double value, member.number());
  report.facts.emplace_back(title, text(value));
  return Ok{};
}

std::string whole_text(double value) {
  constexpr double kMost = 9e15;  // a double holds every whole number up to here
  return value >= 0 && value < kMost ? terminal::grouped(static_cast<std::uint64_t>(value))
                                     : figure(value);
}

std::string memory_text(double value) {
  return value >= 0 && value < 1e18 ? terminal::bytes_text(static_cast<std::uint64_t>(value))
                                    : figure(value);
}

}  // namespace

Result<Report> read_report(std::string_view text, const std::string& path) {
  ACCRETE_TRY(const Place::Json json, parse_json(text, path));
  const Place root(json, path);
  if (!root.has("tasks") || !root.has("digest")) {
    return root.expected("a backtest's report, with \"tasks\" and \"digest\"");
  }
  Report report;
  report.title = "Backtest report";
  report.source = path;
  ACCRETE_DO(add_fact(root, "rows", "rows folded", whole_text, report));
  ACCRETE_DO(add_fact(root, "predictions", "predictions", whole_text, report));
  ACCRETE_DO(add_fact(root, "labels", "labels", whole_text, report));
  ACCRETE_DO(add_fact(root, "seconds", "took", terminal::seconds_text, report));
  ACCRETE_DO(add_fact(root, "rows_per_second", "rows a second", whole_text, report));
  ACCRETE_DO(add_fact(root, "peak_memory_bytes", "peak memory", memory_text, report));
  ACCRETE_DO(add_fact(root, "late_rows", "late rows", whole_text, report));
  ACCRETE_DO(add_fact(root, "rejected_transactions", "transactions rejected", whole_text, report));
  ACCRETE_TRY(std::string digest, member_text(root, "digest"));
  report.facts.emplace_back("digest", std::move(digest));
  ACCRETE_TRY(const Place tasks, root.member("tasks"));
  ACCRETE_TRY(const auto items, tasks.items());
  for (const Place& item : items) {
    ACCRETE_TRY(Task task, read_task(item, path));
    report.tasks.push_back(std::move(task));
  }
  return report;
}

Result<Report> read_status(std::string_view text, const std::string& address) {
  ACCRETE_TRY(const Place::Json json, parse_json(text, address));
  const Place root(json, address);
  Report report;
  report.title = "Status of accreted";
  report.source = address;
  ACCRETE_TRY(const Place now, root.member("now"));
  report.facts.emplace_back("as of", now.is_null() ? "no row with a time yet" : "");
  if (!now.is_null()) {
    ACCRETE_TRY(report.facts.back().second, now.text());
  }
  ACCRETE_DO(add_fact(root, "rows", "rows folded", whole_text, report));
  ACCRETE_DO(add_fact(root, "late_rows", "late rows", whole_text, report));
  ACCRETE_DO(add_fact(root, "dead_letters", "dead letters", whole_text, report));
  ACCRETE_DO(add_fact(root, "disk_bytes", "on disk", memory_text, report));
  ACCRETE_TRY(const Place tasks, root.member("tasks"));
  ACCRETE_TRY(const auto items, tasks.items());
  for (const Place& item : items) {
    ACCRETE_TRY(Task task, read_live_task(item));
    report.tasks.push_back(std::move(task));
  }
  return report;
}

int direction(std::string_view metric) {
  if (metric.starts_with(kFading)) metric.remove_prefix(kFading.size());
  const MetricName* found = find_metric(metric);
  return found == nullptr ? 0 : found->direction;
}

std::string metric_title(std::string_view metric) {
  if (metric.starts_with(kFading)) return metric_title(metric.substr(kFading.size())) + ", fading";
  const MetricName* found = find_metric(metric);
  return std::string(found == nullptr ? metric : found->title);
}

std::string headline_metric(std::string_view kind) {
  return kind == "binary"       ? "auroc"
         : kind == "regression" ? "mae"
         : kind == "multiclass" ? "accuracy"
         : kind == "ranking"    ? "map"
                                : "";
}

}  // namespace accrete::daemon::report
