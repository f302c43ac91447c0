// accretectl status, predict, explain, dead-letters, checkpoint, drain and reload: questions on the
// control socket.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <poll.h>
#include <stream.pb.h>

#include "daemon/clock.h"
#include "daemon/ctl_commands.h"
#include "daemon/ctl_endpoint.h"
#include "daemon/ctl_prediction.h"
#include "daemon/report_running.h"
#include "daemon/terminal.h"
#include "proto/prediction.h"
#include "proto/time.h"
#include "proto/value.h"
#include "stream/client.h"

namespace accrete::daemon {
namespace {

// Work of so much of --timeout, at the rate seen so far, is waited for by the daemon's own answer.
constexpr double kAnswersShare = 0.25;
constexpr int kDrainLookMs = 200;
constexpr int kBusyTimeouts = 6;  // so long a fold which was heard may say nothing

struct QueryFlags {
  EndpointFlags endpoint;
  std::string control;
  std::uint64_t timeout_s = 10;
  bool json = false;
  std::string task;
  std::vector<std::string> key;
  std::string at;
  std::uint32_t top = 0;
  std::uint64_t from = 1;
  std::uint32_t max = 20;
  bool alarms = false;

  void add_to(CLI::App& command) {
    endpoint.add_to(command);
    command.add_option("--control", control, "address instead of [endpoints] control");
    command.add_option("--timeout", timeout_s, "seconds to wait for the answer")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    command.add_flag("--json", json, "the answer as JSON");
  }
};

Result<wire::FromControl> ask(const QueryFlags& flags, const Config& config,
                              wire::ToControl question) {
  ACCRETE_TRY(const stream::EndpointOptions endpoint,
              endpoint_of(flags.endpoint, config,
                          flags.control.empty() ? config.endpoints.control : flags.control));
  question.set_request(1);
  ACCRETE_TRY(const std::string bytes, stream::ask_control(endpoint, question.SerializeAsString(),
                                                           std::chrono::seconds(flags.timeout_s)));
  wire::FromControl answer;
  if (!answer.ParseFromString(bytes)) {
    return Error{Errc::Malformed,
                 endpoint.address + " answered with something else than an answer"};
  }
  return answer;
}

Status print_json(const QueryFlags& flags, const std::string& json) {
  if (flags.json) {
    terminal::print(json + "\n");
    return Ok{};
  }
  ACCRETE_TRY(const std::string text, terminal::tree_of_json(json));
  terminal::print(text);
  return Ok{};
}

Status print_predictions(const QueryFlags& flags, const wire::Predictions& predictions) {
  if (flags.json) {
    for (const wire::Prediction& prediction : predictions.predictions()) {
      ACCRETE_TRY(const std::string line, prediction_json(prediction.SerializeAsString()));
      terminal::print(line + "\n");
    }
    return Ok{};
  }
  terminal::Table table({"entity", "as of", "prediction", "90 % interval", "model"});
  for (const wire::Prediction& prediction : predictions.predictions()) {
    table.add({entity_text(prediction), format_time(TimeUs(prediction.as_of_us())),
               outcome_text(prediction), interval_text(prediction),
               std::to_string(prediction.model())});
  }
  terminal::print(table.text());
  return Ok{};
}

Status print_letters(const QueryFlags& flags, const wire::DeadLetters& letters) {
  terminal::Table table({"number", "source", "position", "bytes", "reason"});
  for (const wire::DeadLetter& letter : letters.letters()) {
    table.add({std::to_string(letter.number()), letter.source(), std::to_string(letter.position()),
               std::to_string(letter.record().size()), letter.reason()});
  }
  terminal::print(letters.letters().empty() ? "no dead letters\n" : table.text());
  if (!letters.letters().empty()) {
    terminal::note(
        "their positions count as durable: once the cause is cured, only a feed under "
        "another --source sends them again");
  }
  if (static_cast<std::uint32_t>(letters.letters_size()) == flags.max) {
    terminal::print("more: accretectl dead-letters --from " + std::to_string(letters.next()) +
                    "\n");
  }
  return Ok{};
}

Status print_answer(const QueryFlags& flags, const wire::FromControl& answer) {
  if (answer.has_predictions()) return print_predictions(flags, answer.predictions());
  if (answer.has_dead_letters()) return print_letters(flags, answer.dead_letters());
  return print_json(flags, answer.json());
}

/// `get(flags, config)` has the answer.
template <class Get>
Exit run(const QueryFlags& flags, Get&& get) {
  const Result<Config> config = config_of(flags.endpoint);
  if (!config) return terminal::fail_config(config.error());
  const Result<wire::FromControl> answer = get(flags, config.value());
  if (!answer) return terminal::fail(answer.error());
  const Status printed = print_answer(flags, answer.value());
  return printed ? Exit::Good : terminal::fail(printed.error());
}

Exit run(const QueryFlags& flags, wire::ToControl question) {
  return run(flags, [&question](const QueryFlags& asked, const Config& config) {
    return ask(asked, config, std::move(question));
  });
}

void put_key(const QueryFlags& flags, google::protobuf::RepeatedPtrField<wire::Cell>* out) {
  // As text: keys compare by their canonical form, so 7 and "7" are one key.
  for (const std::string& part : flags.key)
    out->Add()->set_text(part);
}

std::optional<Exit> put_time(const QueryFlags& flags, std::optional<TimeUs>& out) {
  if (flags.at.empty()) return std::nullopt;
  const Result<TimeUs> time = parse_time(flags.at);
  if (!time) {
    terminal::note("--at: " + time.error().detail);
    return Exit::Usage;
  }
  out = time.value();
  return std::nullopt;
}

Exit run_predict(const QueryFlags& flags) {
  wire::ToControl question;
  wire::PredictQuery& query = *question.mutable_predict();
  query.set_task(flags.task);
  query.set_top(flags.top);
  put_key(flags, query.mutable_key());
  std::optional<TimeUs> at;
  if (const auto wrong = put_time(flags, at)) return *wrong;
  if (at) query.set_as_of_us(at->value);
  return run(flags, std::move(question));
}

Exit run_explain(const QueryFlags& flags) {
  wire::ToControl question;
  wire::ExplainQuery& query = *question.mutable_explain();
  query.set_task(flags.task);
  put_key(flags, query.mutable_key());
  std::optional<TimeUs> at;
  if (const auto wrong = put_time(flags, at)) return *wrong;
  if (at) query.set_as_of_us(at->value);
  return run(flags, std::move(question));
}

/// Most of the work is waited for from here, so that it can be shown: for as long as the fold gets
/// on, and --timeout after it last did. A fold that is busy with one instant answers nobody: once
/// it was heard, that is waited for, too.
Result<wire::FromControl> drain(const QueryFlags& flags, const Config& config) {
  terminal::ProgressLine progress("drain");
  const auto timeout = static_cast<double>(flags.timeout_s);
  std::uint64_t most = 0;
  std::uint64_t least = std::numeric_limits<std::uint64_t>::max();
  std::optional<std::uint64_t> folded_before;
  std::uint64_t folded = 0;
  const double begun = steady_seconds();
  double got_on = begun;
  double heard = begun;
  int unanswered = 0;
  while (steady_seconds() - got_on < timeout) {
    wire::ToControl question;
    question.mutable_status();
    const Result<wire::FromControl> answer = ask(flags, config, std::move(question));
    const bool is_busy = !answer && answer.error().code == Errc::Unavailable && folded_before &&
                         steady_seconds() - heard < kBusyTimeouts * timeout;
    if (is_busy) {
      got_on = steady_seconds();
      ::poll(nullptr, 0, kDrainLookMs);
      continue;
    }
    if (!answer) return answer.error();
    heard = steady_seconds();
    ACCRETE_TRY(const auto running,
                report::read_running(answer.value().json(), config.endpoints.control));
    const std::uint64_t left = running.lag_records + running.rows_being_folded;
    if (!folded_before) folded_before = running.rows_folded;
    if (left < least || running.rows_folded > folded) got_on = steady_seconds();
    least = std::min(least, left);
    folded = running.rows_folded;
    most = std::max(most, left);
    // Rows may come as fast as they are folded: then what is left does not fall.
    const std::uint64_t done = std::max(most - left, folded - std::min(folded, *folded_before));
    const double rate = static_cast<double>(done) / std::max(steady_seconds() - begun, 1e-3);
    if (static_cast<double>(left) <= rate * timeout * kAnswersShare) {
      wire::ToControl last;
      last.mutable_drain();
      Result<wire::FromControl> drained = ask(flags, config, std::move(last));
      const bool goes_on = !drained && drained.error().code == Errc::Unavailable;
      if (!goes_on || ++unanswered == kBusyTimeouts) {
        progress.clear();
        return drained;
      }
      got_on = steady_seconds();
    }
    progress.look({most - left, most - left, most});
    ::poll(nullptr, 0, kDrainLookMs);
  }
  progress.clear();
  wire::ToControl question;
  question.mutable_drain();
  return ask(flags, config, std::move(question));
}

void add_drain(CLI::App& app, Exit& exit) {
  CLI::App* command = app.add_subcommand(
      "drain",
      "fold everything that is durable, checkpoint, then answer; waits while the fold gets on");
  const auto flags = std::make_shared<QueryFlags>();
  flags->add_to(*command);
  command->footer("Example:\n  accretectl drain --config accreted.toml");
  command->callback([flags, &exit] { exit = run(*flags, drain); });
}

void add_plain(CLI::App& app, Exit& exit, const std::string& name, const std::string& what,
               void (*fill)(wire::ToControl&)) {
  CLI::App* command = app.add_subcommand(name, what);
  const auto flags = std::make_shared<QueryFlags>();
  flags->add_to(*command);
  command->footer("Example:\n  accretectl " + name + " --config accreted.toml");
  command->callback([flags, fill, &exit] {
    wire::ToControl question;
    fill(question);
    exit = run(*flags, std::move(question));
  });
}

void add_predict(CLI::App& app, Exit& exit) {
  CLI::App* command =
      app.add_subcommand("predict", "ask for predictions now; nothing is logged or learnt");
  const auto flags = std::make_shared<QueryFlags>();
  command->add_option("task", flags->task, "name of the task")->required();
  command->add_option("key", flags->key, "key of the entity, part by part; none = everybody");
  command->add_option("--at", flags->at, "as of this time instead of now");
  command->add_option("--top", flags->top, "only the highest so many");
  flags->add_to(*command);
  command->footer(
      "Examples:\n  accretectl predict churn 4711\n  accretectl predict churn --top 10");
  command->callback([flags, &exit] { exit = run_predict(*flags); });
}

void add_explain(CLI::App& app, Exit& exit) {
  CLI::App* command =
      app.add_subcommand("explain", "what a prediction rests on: rows, features and weights");
  const auto flags = std::make_shared<QueryFlags>();
  command->add_option("task", flags->task, "name of the task")->required();
  command->add_option("key", flags->key, "key of the entity, part by part")->required();
  command->add_option("--at", flags->at, "as of this time instead of now");
  flags->add_to(*command);
  command->footer("Example:\n  accretectl explain churn 4711");
  command->callback([flags, &exit] { exit = run_explain(*flags); });
}

void add_dead_letters(CLI::App& app, Exit& exit) {
  CLI::App* command =
      app.add_subcommand("dead-letters", "transactions that the daemon set aside, and why");
  const auto flags = std::make_shared<QueryFlags>();
  command->add_option("--from", flags->from, "first number")->capture_default_str();
  command->add_option("--max", flags->max, "at most so many")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  flags->add_to(*command);
  command->footer("Example:\n  accretectl dead-letters --max 5");
  command->callback([flags, &exit] {
    wire::ToControl question;
    question.mutable_dead_letters()->set_from(flags->from);
    question.mutable_dead_letters()->set_max(flags->max);
    exit = run(*flags, std::move(question));
  });
}

void add_status(CLI::App& app, Exit& exit) {
  CLI::App* command = app.add_subcommand("status", "what the daemon does and how well it predicts");
  const auto flags = std::make_shared<QueryFlags>();
  flags->add_to(*command);
  command->add_flag("--alarms", flags->alarms,
                    "with every kept alarm of drift, not only the newest");
  command->footer("Example:\n  accretectl status --config accreted.toml");
  command->callback([flags, &exit] {
    wire::ToControl question;
    question.mutable_status()->set_alarms(flags->alarms);
    exit = run(*flags, std::move(question));
  });
}

}  // namespace

void add_query(CLI::App& app, Exit& exit) {
  add_status(app, exit);
  add_predict(app, exit);
  add_explain(app, exit);
  add_dead_letters(app, exit);
  add_plain(app, exit, "checkpoint", "commit what was derived so far",
            [](wire::ToControl& question) { question.mutable_checkpoint(); });
  add_drain(app, exit);
  add_plain(app, exit, "reload",
            "read the configuration again: log level and allow-list; says what needs a restart",
            [](wire::ToControl& question) { question.mutable_reload(); });
}

}  // namespace accrete::daemon
