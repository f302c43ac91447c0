// accretectl backtest: the fold in process over files, graded.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "daemon/backtest.h"
#include "daemon/ctl_commands.h"
#include "daemon/terminal.h"
#include "proto/time.h"

namespace accrete::daemon {
namespace {

using Json = nlohmann::ordered_json;

struct BacktestFlags {
  std::string config;
  std::string rows;
  std::vector<std::string> requests;
  std::string freeze;
  std::vector<std::string> windows;
  std::string predictions;
  std::string labels;
  std::string report;
};

/// `left=right`. Errors: Malformed naming the option and its form.
Result<std::pair<std::string, std::string>> split_pair(const std::string& text,
                                                       const std::string& option,
                                                       const std::string& form) {
  const std::size_t at = text.find('=');
  if (at == std::string::npos || at == 0 || at + 1 == text.size()) {
    return Error{Errc::Malformed, option + " \"" + text + "\": expected " + form};
  }
  return std::pair{text.substr(0, at), text.substr(at + 1)};
}

Result<BacktestOptions> options_of(const BacktestFlags& flags) {
  BacktestOptions options;
  for (const std::string& text : flags.requests) {
    ACCRETE_TRY(auto pair, split_pair(text, "--requests", "TASK=FILE.csv"));
    options.requests.push_back({std::move(pair.first), std::move(pair.second)});
  }
  for (const std::string& text : flags.windows) {
    ACCRETE_TRY(const auto pair, split_pair(text, "--window", "NAME=FROM..TO"));
    const std::size_t dots = pair.second.find("..");
    if (dots == std::string::npos) {
      return Error{Errc::Malformed, "--window \"" + text + "\": expected NAME=FROM..TO"};
    }
    ReportWindow window;
    window.name = pair.first;
    const std::string from = pair.second.substr(0, dots);
    const std::string to = pair.second.substr(dots + 2);
    if (!from.empty()) {
      ACCRETE_TRY(window.from, parse_time(from));
    }
    if (!to.empty()) {
      ACCRETE_TRY(window.to, parse_time(to));
    }
    options.windows.push_back(std::move(window));
  }
  if (!flags.freeze.empty()) {
    ACCRETE_TRY(options.freeze, parse_time(flags.freeze));
  }
  options.predictions_path = flags.predictions;
  options.labels_path = flags.labels;
  return options;
}

std::string figure(const Json& value) {
  if (!value.is_number()) return "–";
  return terminal::number(value.get<double>(), 4);
}

/// Regret and alarms of a task, one line each.
void show_course(const Json& task) {
  const Json& regret = task["regret"];
  if (regret["rounds"] == 0) return;
  std::string alarms;
  for (const auto& [detector, entry] : task["drift"].items()) {
    alarms += (alarms.empty() ? "" : ", ") +
              terminal::grouped(entry["alarms"].get<std::uint64_t>()) + " by " + detector;
    if (entry.contains("as_of")) alarms += " (newest " + entry["as_of"].get<std::string>() + ")";
  }
  terminal::print("  loss beyond " + regret["candidate"].get<std::string>() +
                  " alone: " + figure(regret["regret"]) + ", at most " + figure(regret["bound"]) +
                  " (" + regret["unit"].get<std::string>() + " over " +
                  terminal::grouped(regret["rounds"].get<std::uint64_t>()) +
                  " rounds)\n  alarms of drift: " + alarms + "\n");
}

/// What a task's graph network came to, in a line.
void show_network(const Json& task) {
  const Json& experts = task["experts"];
  if (experts["count"] == 0) return;
  const Json& matrix = experts["matrix"];
  terminal::print("  graph network: " + terminal::grouped(experts["count"].get<std::uint64_t>()) +
                  " experts a layer, " + terminal::grouped(experts["steps"].get<std::uint64_t>()) +
                  " steps in " + figure(experts["training_cpu_seconds"]) +
                  " CPU s; forgotten of each block: " + figure(matrix["forgetting"]) + " " +
                  matrix["measure"].get<std::string>() + "\n");
}

std::vector<std::string> shown_metrics(const std::string& kind) {
  if (kind == "binary") return {"auroc", "average_precision", "log_loss"};
  if (kind == "regression") return {"mae", "rmse", "r2"};
  if (kind == "ranking") return {"map", "ndcg", "recall", "considered", "log_loss"};
  return {"accuracy", "macro_f1", "log_loss"};
}

/// The report as people read it: a table per task, baselines beside the mixture.
void show(const Json& report) {
  for (const Json& task : report["tasks"]) {
    for (const Json& window : task["windows"]) {
      const std::vector<std::string> names = shown_metrics(task["kind"]);
      terminal::print("\n" + task["name"].get<std::string>() + ", window " +
                      window["window"].get<std::string>() + ", " +
                      terminal::grouped(window["count"].get<std::uint64_t>()) + " graded (" +
                      window["trigger"].get<std::string>() + ")\n");
      std::vector<std::string> header{"candidate"};
      header.insert(header.end(), names.begin(), names.end());
      terminal::Table table(header);
      const auto add = [&](const std::string& name, const Json& metrics) {
        std::vector<std::string> row{name};
        for (const std::string& metric : names) {
          row.push_back(figure(metrics.contains(metric) ? metrics[metric] : Json()));
        }
        table.add(std::move(row));
      };
      for (const auto& [name, metrics] : window["candidates"].items())
        add(name, metrics);
      add("mixture", window["metrics"]);
      terminal::print(table.text("  "));
    }
    show_course(task);
    if (task.contains("experts")) show_network(task);
  }
  terminal::print("\n" + terminal::grouped(report["rows"].get<std::uint64_t>()) + " rows, " +
                  terminal::grouped(report["predictions"].get<std::uint64_t>()) +
                  " predictions in " + terminal::seconds_text(report["seconds"].get<double>()) +
                  "\ndigest " + report["digest"].get<std::string>() + "\n");
}

Status write_file(const std::string& path, const std::string& text) {
  std::FILE* file = std::fopen(path.c_str(), "w");
  if (file == nullptr) return Error{Errc::Unavailable, path + ": cannot be written"};
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  const bool closed = std::fclose(file) == 0;
  if (!written || !closed) return Error{Errc::Unavailable, path + ": writing failed"};
  return Ok{};
}

Result<Exit> backtest(const BacktestFlags& flags) {
  auto config = load_config(flags.config);
  if (!config) return terminal::fail_config(config.error());
  ACCRETE_TRY(const BacktestOptions options, options_of(flags));
  CsvOptions csv;
  csv.paths = {flags.rows};
  csv.as_of_order = true;
  std::vector<std::string> skipped;
  ACCRETE_TRY(auto rows, open_csv(csv, config.value().schema, &skipped));
  ACCRETE_TRY(auto merged, merge_requests(std::move(rows), options.requests, config.value()));
  terminal::ProgressLine line("backtest");
  ACCRETE_TRY(const BacktestResult result,
              run_backtest(config.value(), *merged, options,
                           [&](const Progress& progress, TimeUs) { line.show(progress); }));
  line.clear();
  for (const std::string& reason : result.rejections)
    terminal::note(reason + "; set aside");
  if (!flags.report.empty()) ACCRETE_DO(write_file(flags.report, result.report + "\n"));
  const Json report = Json::parse(result.report);
  if (report["rows_ahead"] > 0) {
    terminal::note(terminal::grouped(report["rows_ahead"].get<std::uint64_t>()) +
                   " rows are dated further ahead of all others than limits.ahead_max: left aside");
  }
  show(report);
  for (const Json& task : report["tasks"]) {
    for (const Json& note : task["notes"])
      terminal::note(note.get<std::string>());
  }
  return result.rejected > 0 ? Exit::BadData : Exit::Good;
}

}  // namespace

void add_backtest(CLI::App& app, Exit& exit) {
  CLI::App* command = app.add_subcommand(
      "backtest",
      "Run the daemon's fold in process over CSV tables in event-time order, and grade it.\n\n"
      "Example: accretectl backtest --config f1.toml --rows tables/ --window test=2010-01-01.. "
      "--report out.json");
  auto flags = std::make_shared<BacktestFlags>();
  command->add_option("--config", flags->config, "configuration file")->required();
  command->add_option("--rows", flags->rows, "folder of table.csv or table.csv.gz")->required();
  command->add_option("--requests", flags->requests,
                      "TASK=FILE.csv: predict these (date, key) pairs too; may be repeated");
  command->add_option("--freeze", flags->freeze,
                      "fold no row and no label after this time; later requests are answered");
  command->add_option("--window", flags->windows,
                      "NAME=FROM..TO: grade these as-of times together; may be repeated");
  command->add_option("--predictions", flags->predictions, "write every prediction, JSON lines");
  command->add_option("--labels", flags->labels, "write every matured label, CSV");
  command->add_option("--report", flags->report, "write the report, JSON");
  command->callback([flags, &exit] {
    const auto done = backtest(*flags);
    exit = done ? done.value() : terminal::fail(done.error());
  });
}

}  // namespace accrete::daemon
