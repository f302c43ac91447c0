// Laying out the frame.
#include "daemon/top_frame.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <string_view>
#include <utility>

#include "daemon/report_scale.h"
#include "daemon/report_tables.h"
#include "daemon/terminal.h"

namespace accrete::daemon::top {
namespace {

using report::Running;
using report::Task;
using terminal::grouped;

constexpr std::size_t kColumnsMin = 20;
constexpr std::size_t kLabel = 10;  // width of what a line is about
constexpr std::size_t kTrend = 16;

enum class Tone { Plain, Title, Warning };

struct Line {
  std::string text;
  Tone tone = Tone::Plain;
};

std::size_t width(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) >> 6) != 2; }));
}

/// Its first `columns` characters, the last of them an ellipsis where more was cut.
std::string cut(std::string text, std::size_t columns) {
  if (width(text) <= columns) return text;
  std::size_t seen = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if ((static_cast<unsigned char>(text[at]) >> 6) != 2 && seen++ + 1 == columns) {
      text.erase(at);
      break;
    }
  }
  return text + "…";
}

std::string padded(const std::string& text, std::size_t columns) {
  const std::size_t has = width(text);
  return text + std::string(columns > has ? columns - has : 0, ' ');
}

/// A name from outside must not command the terminal.
std::string shown(std::string text) {
  for (char& c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (code < 0x20 || code == 0x7f) c = '?';
  }
  // The controls of ISO 8859 are two bytes in UTF-8, 0xc2 0x80..0x9f.
  for (std::size_t i = 0; i + 1 < text.size(); ++i) {
    const auto second = static_cast<unsigned char>(text[i + 1]);
    if (text[i] == '\xc2' && second >= 0x80 && second < 0xa0) text.replace(i, 2, "?");
  }
  return text;
}

std::string rate(double value) {
  if (std::isnan(value)) return "… /s";
  const bool small = value > 0 && value < 10;
  std::array<char, 32> text{};
  const int size = std::snprintf(text.data(), text.size(), "%.1f", value);
  return (small ? std::string(text.data(), static_cast<std::size_t>(size))
                : grouped(static_cast<std::uint64_t>(std::llround(value)))) +
         " /s";
}

class Layout {
 public:
  explicit Layout(std::size_t columns) : columns_(std::max(columns, kColumnsMin)) {}

  void title(std::string text) { add({std::move(text), Tone::Title}); }
  void line(std::string text, Tone tone = Tone::Plain) { add({std::move(text), tone}); }

  /// `cells` side by side behind `label`, as many in a line as fit.
  void cells(const std::string& label, const std::vector<std::string>& cells,
             Tone tone = Tone::Plain) {
    constexpr std::string_view kGap = "   ";
    std::string now = padded(label, kLabel);
    bool first = true;
    for (const std::string& cell : cells) {
      if (!first && width(now) + kGap.size() + width(cell) > columns_) {
        add({std::exchange(now, std::string(kLabel, ' ')), tone});
        first = true;
      }
      now += (first ? "" : std::string(kGap)) + cell;
      first = false;
    }
    add({std::move(now), tone});
  }

  std::size_t columns() const { return columns_; }
  std::vector<Line> take() { return std::move(lines_); }

 private:
  void add(Line line) {
    line.text = cut(std::move(line.text), columns_);
    line.text.erase(line.text.find_last_not_of(' ') + 1);
    lines_.push_back(std::move(line));
  }

  std::size_t columns_;
  std::vector<Line> lines_;
};

void head(const State& state, Layout& out) {
  const Running& running = state.running;
  const bool behind = !(running.lag_seconds < kBehindSeconds);
  out.title("accreted: " + std::string(behind ? "behind" : "ready") + ", " +
            (running.now.empty() ? "no row with a time yet" : "rows up to " + running.now) +
            ", epoch " + grouped(running.epoch));
  if (!state.trouble.empty()) out.line(shown(state.trouble), Tone::Warning);
  std::vector<std::string> rows{
      rate(state.rates.rows_in) + " in", rate(state.rates.rows_folded) + " folded",
      grouped(running.rows_folded) + " folded in all", grouped(running.late_rows) + " late"};
  if (running.rows_ahead > 0) rows.push_back(grouped(running.rows_ahead) + " far ahead");
  out.cells("rows", rows);
  out.cells("lag",
            {terminal::duration_text(running.lag_seconds),
             grouped(running.lag_records) + " records", terminal::bytes_text(running.lag_bytes)},
            behind ? Tone::Warning : Tone::Plain);
  out.cells("commit", {terminal::duration_text(running.checkpoint_age) + " ago",
                       grouped(running.records_since_checkpoint) + " records since"});
  out.cells("queues", {grouped(running.groups_waiting) + " groups for the fold",
                       grouped(running.rows_waiting) + " rows for the watermark"});
  out.cells("sent", {rate(state.rates.predictions) + " predictions",
                     grouped(running.published) + " sent in all",
                     "newest number " + grouped(running.newest_prediction)});
  out.cells("memory", {terminal::bytes_text(running.resident_bytes) + " resident",
                       terminal::bytes_text(running.disk_bytes) + " on disk"});
  std::vector<std::string> stages;
  for (const report::Stage& stage : running.stages) {
    stages.push_back(shown(stage.name) + " p50 " + terminal::duration_text(stage.p50) + " p99 " +
                     terminal::duration_text(stage.p99));
  }
  out.cells("stages", stages);
  if (running.dead_letters > 0) {
    std::string newest;
    if (!running.letters.empty()) newest = ", newest: " + shown(running.letters.front().reason);
    out.cells("refused", {grouped(running.dead_letters) + " transactions" + newest}, Tone::Warning);
  }
}

void tables(const Running& running, Layout& out) {
  std::vector<std::string> cells;
  for (const report::TableChanges& table : running.tables) {
    if (table.all() == 0) continue;
    std::string cell = shown(table.table);
    constexpr std::array<const char*, 4> kSigns = {" +", " ~", " -", " truncated "};
    for (std::size_t op = 0; op < kSigns.size(); ++op) {
      if (table.changes[op] > 0) cell += kSigns[op] + grouped(table.changes[op]);
    }
    cells.push_back(std::move(cell));
  }
  if (!cells.empty()) out.cells("tables", cells);
}

void subscribers(const Running& running, Layout& out) {
  std::vector<std::string> cells;
  for (const report::Subscriber& subscriber : running.subscribers) {
    cells.push_back(shown(subscriber.name) + " " + grouped(subscriber.behind) + " behind");
  }
  if (!cells.empty()) out.cells("readers", cells);
}

/// The headline metric of a task: of the mixture, and of the best of its baselines.
struct Standing {
  std::string metric;
  double mixture = std::numeric_limits<double>::quiet_NaN();
  double baseline = std::numeric_limits<double>::quiet_NaN();
  std::string name;  // of that baseline
  bool worse = false;
};

Standing standing_of(const Task& task) {
  Standing out;
  out.metric = report::headline_metric(task.kind);
  const int sign = report::direction(out.metric);
  for (const report::Window& window : task.windows) {
    for (const report::Scores& row : window.rows) {
      const auto found = std::find_if(row.metrics.begin(), row.metrics.end(),
                                      [&](const auto& m) { return m.first == out.metric; });
      if (found == row.metrics.end() || std::isnan(found->second)) continue;
      const bool baseline =
          std::find(task.baselines.begin(), task.baselines.end(), row.name) != task.baselines.end();
      if (row.name == "mixture") out.mixture = found->second;
      if (baseline && !(sign * (found->second - out.baseline) <= 0)) {
        out.baseline = found->second;
        out.name = row.name;
      }
    }
  }
  out.worse = sign * (out.mixture - out.baseline) < 0;
  return out;
}

/// "▼ 2020-03-01 drift alarm …": the newest mark of a kind, or nothing.
void newest_mark(const std::vector<report::Mark>& marks, const char* sign, Layout& out) {
  if (marks.empty()) return;
  out.line("  " + std::string(sign) + " " + report::short_time(marks.back().at) + " " +
           shown(marks.back().text));
}

void routing(const report::Experts& experts, Layout& out) {
  for (std::size_t layer = 0; layer < experts.shares.size(); ++layer) {
    std::vector<std::string> cells;
    for (std::size_t e = 0; e < experts.names.size(); ++e) {
      const auto& shares = experts.shares[layer][e];
      const double share = shares.empty() ? std::nan("") : shares.back();
      if (std::isnan(share)) continue;
      cells.push_back(shown(experts.names[e]) + " " + std::to_string(std::llround(100 * share)) +
                      " %");
    }
    if (!cells.empty()) out.cells("  layer " + std::to_string(layer), cells);
  }
}

/// The table of tasks: the first columns are the last to be left out of a narrow terminal.
class TaskTable {
 public:
  explicit TaskTable(const std::vector<Task>& tasks) {
    rows_.push_back({"task", "metric", "Accrete", "baseline", "trend", "alarms", "experts",
                     "labels", "best baseline"});
    for (const Task& task : tasks) {
      const Standing standing = standing_of(task);
      worse_.push_back(standing.worse);
      const auto& curves = task.series.curves;
      const bool known = !curves.empty() && !curves.front().values.empty();
      const bool routed = !task.experts.names.empty();
      rows_.push_back(
          {shown(task.name), report::metric_title(standing.metric),
           report::short_number(standing.mixture), report::short_number(standing.baseline),
           known ? sparkline(curves.front().values.back(), kTrend) : "", grouped(task.alarm_count),
           routed ? grouped(block_experts(task.experts)) : "–", grouped(task.labels),
           shown(standing.name)});
    }
    for (const auto& row : rows_) {
      for (std::size_t i = 0; i < row.size(); ++i)
        widths_[i] = std::max(widths_[i], width(row[i]));
    }
  }

  /// Row 0 is the header.
  void add(std::size_t row, Layout& out) const {
    // A long name gives way to the numbers beside it.
    const std::size_t room = out.columns() > 30 ? out.columns() - 30 : kColumnsMin / 2;
    const std::size_t first = std::min(widths_[0], std::max(room, std::size_t{8}));
    std::string text = padded(cut(rows_[row][0], first), first);
    std::size_t used = first;
    for (std::size_t i = 1; i < kColumns; ++i) {
      used += 2 + widths_[i];
      if (used > out.columns()) break;
      text += "  " + padded(rows_[row][i], widths_[i]);
    }
    out.line(std::move(text), row == 0          ? Tone::Title
                              : worse_[row - 1] ? Tone::Warning
                                                : Tone::Plain);
  }

 private:
  static constexpr std::size_t kColumns = 9;

  /// What stands beside the experts comes last and is none.
  static std::uint64_t block_experts(const report::Experts& experts) {
    return experts.names.size() - 1;
  }

  std::vector<std::array<std::string, kColumns>> rows_;
  std::vector<bool> worse_;
  std::array<std::size_t, kColumns> widths_{};
};

std::string toned(const Line& line, bool colours) {
  if (!colours || line.tone == Tone::Plain) return line.text;
  return (line.tone == Tone::Title ? "\x1b[1m" : "\x1b[31m") + line.text + "\x1b[0m";
}

}  // namespace

Rates rates_of(const Running& before, const Running& now, double seconds) {
  const auto of = [&](std::uint64_t older, std::uint64_t newer) {
    return newer < older ? std::nan("") : static_cast<double>(newer - older) / seconds;
  };
  return {of(before.rows_in, now.rows_in), of(before.rows_folded, now.rows_folded),
          of(before.published, now.published)};
}

std::string sparkline(std::span<const double> values, std::size_t width) {
  constexpr std::array<const char*, 8> kBars = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  const std::size_t bars = std::min(values.size(), width);
  std::vector<double> means;
  for (std::size_t b = 0; b < bars; ++b) {
    double sum = 0;
    double count = 0;
    for (std::size_t i = b * values.size() / bars; i < (b + 1) * values.size() / bars; ++i) {
      if (!std::isfinite(values[i])) continue;
      sum += values[i];
      count += 1;
    }
    means.push_back(sum / count);  // NaN for an empty part
  }
  double low = std::numeric_limits<double>::infinity();
  double high = -low;
  for (const double mean : means) {
    if (std::isnan(mean)) continue;
    low = std::min(low, mean);
    high = std::max(high, mean);
  }
  std::string out;
  for (const double mean : means) {
    const double part = high > low ? (mean - low) / (high - low) : 0.5;
    out += std::isnan(mean) ? " " : kBars[static_cast<std::size_t>(std::lround(part * 7))];
  }
  return out;
}

std::vector<std::string> frame(const State& state, const Size& size, bool colours) {
  Layout out(size.columns);
  head(state, out);
  tables(state.running, out);
  subscribers(state.running, out);
  if (!state.tasks.empty()) {
    out.line("");
    const TaskTable table(state.tasks);
    table.add(0, out);
    for (std::size_t t = 0; t < state.tasks.size(); ++t) {
      table.add(t + 1, out);
      newest_mark(state.tasks[t].alarms, "▼", out);
      newest_mark(state.tasks[t].experts.events, "▲", out);
      routing(state.tasks[t].experts, out);
    }
  }
  std::vector<Line> lines = out.take();
  if (size.lines > 0 && lines.size() > size.lines) {
    const std::size_t kept = size.lines - 1;
    const std::string left = std::to_string(lines.size() - kept);
    lines.resize(kept);
    lines.push_back({cut("… " + left + " more lines in a taller terminal", out.columns())});
  }
  std::vector<std::string> text;
  text.reserve(lines.size());
  for (const Line& line : lines)
    text.push_back(toned(line, colours));
  return text;
}

}  // namespace accrete::daemon::top
