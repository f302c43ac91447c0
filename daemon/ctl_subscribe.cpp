// accretectl subscribe and digest: predictions in the order of their numbers; alarms and news of
// experts as they come.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>
#include <stream.pb.h>

#include "daemon/ctl_commands.h"
#include "daemon/ctl_endpoint.h"
#include "daemon/ctl_prediction.h"
#include "daemon/digest.h"
#include "daemon/terminal.h"
#include "proto/drift_alarm.h"
#include "proto/expert_news.h"
#include "proto/prediction.h"
#include "stream/client.h"

namespace accrete::daemon {
namespace {

constexpr std::chrono::milliseconds kIdle{200};
constexpr std::uint64_t kAcknowledgeEvery = 1000;

struct SubscribeFlags {
  EndpointFlags endpoint;
  std::string predictions;
  std::string replay;
  std::string task;
  std::string name;
  std::optional<std::uint64_t> from;
  std::uint64_t count = std::numeric_limits<std::uint64_t>::max();
  bool json = false;
  bool snapshot = false;
  bool drift = false;
  bool experts = false;

  void add_to(CLI::App& command) {
    endpoint.add_to(command);
    command.add_option("--predictions", predictions, "address instead of [endpoints] predictions");
    command.add_option("--replay", replay, "address instead of [endpoints] replay");
  }
};

Result<std::unique_ptr<stream::Subscriber>> open_subscriber(const SubscribeFlags& flags,
                                                            const Config& config) {
  const EndpointsConfig& endpoints = config.endpoints;
  stream::SubscriberOptions options;
  ACCRETE_TRY(options.predictions,
              endpoint_of(flags.endpoint, config,
                          flags.predictions.empty() ? endpoints.predictions : flags.predictions));
  ACCRETE_TRY(options.replay, endpoint_of(flags.endpoint, config,
                                          flags.replay.empty() ? endpoints.replay : flags.replay));
  if (!flags.task.empty()) options.topic = "pred/" + flags.task + "/";
  options.name = flags.name;
  options.from = flags.from;
  options.snapshot = flags.snapshot;
  return stream::Subscriber::open(options);
}

/// Print predictions until `count` of them were, acknowledging what has left our hands.
Status follow(stream::Subscriber& subscriber, const SubscribeFlags& flags) {
  std::uint64_t printed = 0;
  PredictionSeq acknowledged;
  PredictionSeq last;
  bool silent = flags.from.has_value();  // nothing has been said about what is asked for
  const auto acknowledge = [&]() -> Status {
    terminal::flush();
    if (flags.name.empty() || last == acknowledged) return Ok{};
    acknowledged = last;
    return subscriber.acknowledge(last);
  };
  while (printed < flags.count) {
    Result<std::optional<stream::Delivered>> next = subscriber.next(kIdle);
    if (!next && next.error().code == Errc::Gap) {
      terminal::note(next.error().detail + "; going on with its first prediction");
      ACCRETE_DO(subscriber.restart(1));
      continue;
    }
    if (!next) return std::move(next).error();
    if (!next.value()) {
      const std::uint64_t newest = subscriber.newest().value;
      if (silent && newest > 0 && *flags.from > newest + 1) {
        terminal::note("number " + terminal::grouped(*flags.from) +
                       " is not made yet, the newest is " + terminal::grouped(newest) +
                       "; waiting for it");
        silent = false;
      }
      ACCRETE_DO(acknowledge());
      continue;
    }
    const stream::Delivered& delivered = *next.value();
    ACCRETE_TRY(const std::string line, flags.json ? prediction_json(delivered.payload)
                                                   : prediction_line(delivered.payload));
    terminal::print(line + "\n");
    last = delivered.header.seq;
    if (++printed % kAcknowledgeEvery == 0) ACCRETE_DO(acknowledge());
  }
  return acknowledge();
}

/// Print alarms, or news of experts, until `count` of them were.
Status follow_told(const SubscribeFlags& flags, const Config& config) {
  stream::AlarmSubscriberOptions options;
  options.told = flags.experts ? stream::Told::Experts : stream::Told::Drift;
  ACCRETE_TRY(
      options.predictions,
      endpoint_of(flags.endpoint, config,
                  flags.predictions.empty() ? config.endpoints.predictions : flags.predictions));
  options.task = flags.task;
  ACCRETE_TRY(const auto subscriber, stream::AlarmSubscriber::open(options));
  // They may be weeks apart: silence should not look like a fault.
  terminal::note(flags.experts ? "listening for news of experts; past ones: accretectl status"
                               : "listening for alarms; past ones: accretectl status --alarms");
  const auto line_of = flags.experts ? (flags.json ? expert_news_json : expert_news_line)
                                     : (flags.json ? drift_alarm_json : alarm_line);
  std::uint64_t printed = 0;
  while (printed < flags.count) {
    ACCRETE_TRY(const auto next, subscriber->next(kIdle));
    if (!next) {
      terminal::flush();
      continue;
    }
    ACCRETE_TRY(const std::string line, line_of(next->payload));
    terminal::print(line + "\n");
    ++printed;
  }
  return Ok{};
}

/// Say it where the daemon has no such task: its name may be misspelt, or it is one of former days
/// whose predictions are still kept. Nothing is said where the daemon cannot be asked.
void look_for_task(const SubscribeFlags& flags, const Config& config) {
  if (flags.task.empty() || !flags.predictions.empty()) return;  // maybe of another daemon
  constexpr std::chrono::seconds patience{5};
  wire::ToControl question;
  question.set_request(1);
  question.mutable_status();
  const auto endpoint = endpoint_of(flags.endpoint, config, config.endpoints.control);
  if (!endpoint) return;
  const auto bytes = stream::ask_control(endpoint.value(), question.SerializeAsString(), patience);
  wire::FromControl answer;
  if (!bytes || !answer.ParseFromString(bytes.value())) return;
  const auto status = nlohmann::json::parse(answer.json(), nullptr, false);
  const auto tasks = status.find("tasks");
  if (tasks == status.end() || !tasks->is_array()) return;
  std::vector<std::string> names;
  for (const auto& task : *tasks)
    names.push_back(task.value("name", ""));
  if (std::find(names.begin(), names.end(), flags.task) != names.end()) return;
  const std::string near = nearest_name(flags.task, names);
  terminal::note("the daemon has no task \"" + flags.task + "\"" +
                 (near.empty() ? "" : "; did you mean \"" + near + "\"") +
                 "; what it predicted in former days is all that comes");
}

Exit run_subscribe(const SubscribeFlags& flags) {
  const Result<Config> config = config_of(flags.endpoint);
  if (!config) return terminal::fail_config(config.error());
  look_for_task(flags, config.value());
  if (flags.drift || flags.experts) {
    const Status done = follow_told(flags, config.value());
    terminal::flush();
    return done ? Exit::Good : terminal::fail(done.error());
  }
  const auto subscriber = open_subscriber(flags, config.value());
  if (!subscriber) return terminal::fail(subscriber.error());
  const Status done = follow(*subscriber.value(), flags);
  terminal::flush();
  return done ? Exit::Good : terminal::fail(done.error());
}

/// Digest of every prediction from 1 to the newest one of this moment.
Result<std::string> digest_of_replay(stream::Subscriber& subscriber) {
  const PredictionSeq newest = subscriber.newest();
  Digest digest;
  PredictionSeq last;
  while (last < newest) {
    ACCRETE_TRY(const std::optional<stream::Delivered> next, subscriber.next(kIdle));
    if (!next) continue;
    digest.add(next->payload);
    last = next->header.seq;
  }
  return digest.hex();
}

Exit run_digest(SubscribeFlags& flags) {
  const Result<Config> config = config_of(flags.endpoint);
  if (!config) return terminal::fail_config(config.error());
  flags.from = 1;
  const auto subscriber = open_subscriber(flags, config.value());
  if (!subscriber) return terminal::fail(subscriber.error());
  const Result<std::string> hex = digest_of_replay(*subscriber.value());
  if (!hex) return terminal::fail(hex.error());
  terminal::print(hex.value() + "\n");
  return Exit::Good;
}

}  // namespace

void add_subscribe(CLI::App& app, Exit& exit) {
  CLI::App* command = app.add_subcommand(
      "subscribe", "print predictions as they are published, without gap or repeat; or alarms");
  const auto flags = std::make_shared<SubscribeFlags>();
  command->add_option("task", flags->task, "only this task");
  CLI::Option* from = command->add_option("--from", flags->from, "begin with this sequence number");
  command->add_flag("--json", flags->json, "one JSON object a line");
  CLI::Option* name = command->add_option(
      "--name", flags->name, "a name for which the daemon keeps the place across runs");
  command->add_option("--count", flags->count, "stop after so many")->check(CLI::PositiveNumber);
  CLI::Option* snapshot =
      command->add_flag("--snapshot", flags->snapshot, "first the last prediction of every entity");
  CLI::Option* drift = command->add_flag(
      "--drift", flags->drift,
      "instead of predictions the alarms of drift, live; past ones: status --alarms");
  CLI::Option* experts = command->add_flag(
      "--experts", flags->experts,
      "instead of predictions births, merges and the like of experts, live; past ones: status");
  experts->excludes(drift);
  for (CLI::Option* told : {drift, experts})
    told->excludes(from)->excludes(name)->excludes(snapshot);
  flags->add_to(*command);
  command->footer(
      "Examples:\n  accretectl subscribe churn --snapshot\n"
      "  accretectl subscribe --from 1 --json --count 10\n"
      "  accretectl subscribe churn --drift\n"
      "  accretectl subscribe churn --experts");
  command->callback([flags, &exit] { exit = run_subscribe(*flags); });
}

void add_digest(CLI::App& app, Exit& exit) {
  CLI::App* command = app.add_subcommand(
      "digest",
      "SHA-256 over all predictions in the order of their numbers: equal logs, equal digests");
  const auto flags = std::make_shared<SubscribeFlags>();
  command->add_flag("--from-replay")
      ->description("read them from the replay endpoint (the default)");
  flags->add_to(*command);
  command->footer("Example:\n  accretectl digest --from-replay");
  command->callback([flags, &exit] { exit = run_digest(*flags); });
}

}  // namespace accrete::daemon
