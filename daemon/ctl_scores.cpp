// accretectl scores: how good the predictions are, beside the baselines, one line a task.
#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <stream.pb.h>

#include "daemon/ctl_commands.h"
#include "daemon/ctl_endpoint.h"
#include "daemon/report_file.h"
#include "daemon/terminal.h"
#include "stream/client.h"

namespace accrete::daemon {
namespace {

using Json = nlohmann::json;

struct ScoreFlags {
  EndpointFlags endpoint;
  std::uint64_t timeout_s = 60;
  bool candidates = false;
};

std::string number_text(const Json& value) {
  if (!value.is_number()) return "–";
  return terminal::number(value.get<double>(), 3);
}

std::string figure(const Json& metrics, const std::string& candidate, const std::string& metric) {
  const auto entry = metrics.find(candidate);
  return entry == metrics.end() || !entry->contains(metric) ? "–" : number_text((*entry)[metric]);
}

/// Task, metric, the mixture and the baselines: what is predicted against what is trivial; or
/// beside every candidate.
std::string table_of(const Json& status, bool every) {
  std::vector<std::string> candidates;
  const auto add = [&](const std::string& name) {
    if (std::find(candidates.begin(), candidates.end(), name) == candidates.end()) {
      candidates.push_back(name);
    }
  };
  for (const Json& task : status["tasks"]) {
    for (const Json& name : task["baselines"])
      add(name.get<std::string>());
  }
  for (const Json& task : status["tasks"]) {
    for (const auto& [name, metrics] : task["metrics"].items()) {
      if (every && name != "mixture") add(name);
    }
  }
  std::vector<std::string> header{"task", "metric", "Accrete"};
  header.insert(header.end(), candidates.begin(), candidates.end());
  header.emplace_back("labels");
  terminal::Table table(header);
  for (const Json& task : status["tasks"]) {
    const std::string metric = report::headline_metric(task["kind"].get<std::string>());
    std::vector<std::string> row{task["name"], metric, figure(task["metrics"], "mixture", metric)};
    for (const std::string& candidate : candidates) {
      row.push_back(figure(task["metrics"], candidate, metric));
    }
    row.push_back(terminal::grouped(task["labels"].get<std::uint64_t>()));
    table.add(std::move(row));
  }
  return table.text();
}

/// What mixing cost: the loss of the mixture beside that of the candidate that hindsight would take
/// alone, summed over the rounds in which labels came.
std::string regrets_of(const Json& status) {
  terminal::Table table(
      {"task", "unit", "rounds", "Accrete", "best alone", "which", "regret", "at most"});
  for (const Json& task : status["tasks"]) {
    const Json& regret = task["regret"];
    if (regret["rounds"] == 0) continue;
    std::vector<std::string> row{task["name"], regret["unit"],
                                 terminal::grouped(regret["rounds"].get<std::uint64_t>())};
    for (const char* name : {"mixture", "best", "candidate", "regret", "bound"}) {
      row.push_back(regret[name].is_string() ? regret[name].get<std::string>()
                                             : number_text(regret[name]));
    }
    table.add(std::move(row));
  }
  return table.text();
}

/// Of tasks that cannot know better yet: when they will.
std::string notes_of(const Json& status) {
  std::string notes;
  for (const Json& task : status["tasks"]) {
    for (const Json& note : task["notes"])
      notes += note.get<std::string>() + "\n";
    if (task["labels"] != 0 || !task["next_label"].is_string()) continue;
    if (task["pending"] == 0 && task["last_tick"].is_string()) continue;  // its note says it
    notes += task["name"].get<std::string>() +
             ": no outcome is known yet, so all its predictions are alike; the first is known once "
             "the stream reaches " +
             task["next_label"].get<std::string>() + "\n";
  }
  return notes;
}

Result<Exit> scores(const ScoreFlags& flags) {
  ACCRETE_TRY(const Config config, config_of(flags.endpoint));
  ACCRETE_TRY(const stream::EndpointOptions endpoint,
              endpoint_of(flags.endpoint, config, config.endpoints.control));
  wire::ToControl question;
  question.set_request(1);
  question.mutable_status();
  ACCRETE_TRY(const std::string bytes, stream::ask_control(endpoint, question.SerializeAsString(),
                                                           std::chrono::seconds(flags.timeout_s)));
  wire::FromControl answer;
  if (!answer.ParseFromString(bytes)) {
    return Error{Errc::Malformed, endpoint.address + " answered with something else"};
  }
  const Json status = Json::parse(answer.json(), nullptr, false);
  if (status.is_discarded()) return Error{Errc::Malformed, "the status is not JSON"};
  const std::string now = status["now"].is_string() ? status["now"].get<std::string>() : "–";
  terminal::print("as of " + now + ": " + terminal::grouped(status["rows"].get<std::uint64_t>()) +
                  " rows folded, " +
                  terminal::grouped(status["predictions"]["newest"].get<std::uint64_t>()) +
                  " predictions republished\n" + table_of(status, flags.candidates) +
                  (flags.candidates ? "\n" + regrets_of(status) : "") + notes_of(status));
  return Exit::Good;
}

}  // namespace

void add_scores(CLI::App& app, Exit& exit) {
  CLI::App* command =
      app.add_subcommand("scores",
                         "Prequential metric of every task (last 8,000 graded predictions, of "
                         "large populations a sample) beside its baselines.\n\n"
                         "Example: accretectl scores --config accreted.toml");
  auto flags = std::make_shared<ScoreFlags>();
  flags->endpoint.add_to(*command);
  command->add_flag("--candidates", flags->candidates,
                    "beside every candidate of the mixture, too; and what mixing cost: its regret");
  command->add_option("--timeout", flags->timeout_s, "seconds to wait for the answer")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->callback([flags, &exit] {
    const auto done = scores(*flags);
    exit = done ? done.value() : terminal::fail(done.error());
  });
}

}  // namespace accrete::daemon
