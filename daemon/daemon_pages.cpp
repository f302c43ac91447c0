// Which path gives what.
#include "daemon/daemon_pages.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include <stream.pb.h>

#include "daemon/report_file.h"
#include "daemon/report_page.h"
#include "daemon/report_running.h"
#include "daemon/report_scale.h"
#include "daemon/terminal.h"

namespace accrete::daemon {
namespace {

constexpr unsigned kUnavailable = 503;

std::string seconds_text(double seconds) {
  return std::to_string(static_cast<std::int64_t>(std::ceil(seconds))) + " s";
}

}  // namespace

double DaemonPages::lag(double now) const {
  const std::uint64_t at = world_.gauges->caught_up_ms;
  if (at == 0) return std::numeric_limits<double>::quiet_NaN();
  return std::max(0.0, now - static_cast<double>(at) * 1e-3);
}

bool DaemonPages::ready(double now) const {
  return world_.failure().empty() && lag(now) < kReadyLagSeconds;  // false for NaN
}

/// The watchdog of whoever has no systemd.
HttpAnswer DaemonPages::health(double now) {
  if (const std::string failure = world_.failure(); !failure.empty())
    return {kUnavailable, {}, failure + "\n"};
  const std::uint64_t turns = world_.turns();
  if (turned_at_ < 0 || turns != turns_) {
    turns_ = turns;
    turned_at_ = now;
  }
  if (now - turned_at_ > kStuckSeconds) {
    return {kUnavailable,
            {},
            "the fold has taken no turn for " + seconds_text(now - turned_at_) +
                "; see its log, and restart it\n"};
  }
  return {200, {}, "ok\n"};
}

HttpAnswer DaemonPages::readiness(double now) const {
  if (ready(now)) return {200, {}, "ready\n"};
  if (const std::string failure = world_.failure(); !failure.empty())
    return {kUnavailable, {}, failure + "\n"};
  const Gauges& gauges = *world_.gauges;
  if (std::isnan(lag(now))) {
    return {kUnavailable,
            {},
            "folding the log: " + std::to_string(gauges.recovered) + " of " +
                std::to_string(gauges.recover_until) + " records\n"};
  }
  return {kUnavailable,
          {},
          "behind: " + std::to_string(world_.durable() - gauges.folded) +
              " records wait for the fold, the oldest for up to " + seconds_text(lag(now)) + "\n"};
}

/// Rates are of at least kRateSeconds, however many browsers ask.
HttpAnswer DaemonPages::console(const StatusBoard::Note& note, double now) {
  constexpr double kRateSeconds = 2;
  const Gauges& gauges = *world_.gauges;
  const std::uint64_t folded_bytes = gauges.folded_bytes;  // before what is durable: never more
  if (now - last_.at >= kRateSeconds)
    before_ = std::exchange(last_, {now, gauges.ingest_rows, gauges.published});
  const double span = last_.at - before_.at;
  const auto rate = [&](std::uint64_t newer, std::uint64_t older) {
    return before_.at == 0 ? std::string("…")
                           : report::short_number(static_cast<double>(newer - older) / span);
  };
  auto read = report::read_status(note.json, "");
  if (!read) return {500, {}, read.error().detail + "\n"};
  const auto running = report::read_running(note.json, "");
  if (!running) return {500, {}, running.error().detail + "\n"};
  report::Report& report = read.value();
  report.title = "accreted";
  const std::vector<std::pair<std::string, std::string>> facts = {
      {"state", ready(now) ? "ready" : "behind"},
      {"rows in, per second", rate(last_.rows, before_.rows)},
      {"predictions out, per second", rate(last_.predictions, before_.predictions)},
      {"newest prediction", terminal::grouped(running.value().newest_prediction)},
      {"lag", terminal::duration_text(lag(now)) + ", " +
                  terminal::bytes_text(gauges.durable_bytes - folded_bytes)},
      {"groups waiting", std::to_string(world_.waiting())},
      {"last commit", terminal::duration_text(running.value().checkpoint_age) + " ago"},
      {"status", seconds_text(now - note.at) + " old"}};
  report.facts.insert(report.facts.begin(), facts.begin(), facts.end());
  return {200, "text/html; charset=utf-8",
          report::console(report, running.value(), world_.desk != nullptr)};
}

/// The fold is asked, and not waited for: the other pages are answered meanwhile.
HttpAnswer DaemonPages::explain(const HttpRequest& request, double now) const {
  if (world_.desk == nullptr) {
    return {403,
            {},
            "explanations show rows, and this server is open to other machines: ask with "
            "accretectl explain, or have [endpoints] http on loopback\n"};
  }
  const auto tasks = request.values("task");
  const auto keys = request.values("key");
  if (tasks.size() != 1 || keys.empty())
    return {400, {}, "ask /explain?task=NAME&key=KEY, with a key= for each part of the key\n"};
  wire::ToControl question;
  question.mutable_explain()->set_task(std::string(tasks.front()));
  for (const std::string_view part : keys)
    question.mutable_explain()->add_key()->set_text(std::string(part));
  const auto bytes = world_.desk->ask(question.SerializeAsString(), now);
  if (!bytes) {
    const bool waits = bytes.error().code == Errc::Unavailable;
    return {waits ? 202u : kUnavailable, {}, bytes.error().detail + "\n"};
  }
  wire::FromControl answer;
  if (!answer.ParseFromString(bytes.value())) return {500, {}, "the answer does not parse\n"};
  if (!answer.has_fault()) return {200, "application/json", answer.json()};
  const auto code = static_cast<Errc>(answer.fault().code());
  const unsigned status = code == Errc::NotFound    ? 404
                          : code == Errc::Malformed ? 400
                                                    : kUnavailable;
  return {status, {}, answer.fault().detail() + "\n"};
}

HttpAnswer DaemonPages::answer(const HttpRequest& request, double now) {
  const std::string_view path = request.path;
  ++requests_;
  if (path == "/healthz") return health(now);
  if (path == "/readyz") return readiness(now);
  if (path == "/explain") return explain(request, now);
  if (path == "/ingest") {
    return {405, {}, "POST events here: /ingest?format=FORMAT\n", {{"Allow", "POST"}}};
  }
  const bool metrics = path == "/metrics";
  if (!metrics && path != "/statusz" && path != "/") {
    return {404,
            {},
            "no such page; there are / /healthz /readyz /metrics /statusz /explain, and POST "
            "/ingest\n"};
  }
  const auto note = world_.board->read(now);
  if (!metrics) {
    if (!note) return {kUnavailable, {}, "no status yet: the log is still being folded\n"};
    if (path == "/") return console(*note, now);
    return {200, "application/json", note->json};
  }
  Readings readings;
  readings.ready = ready(now);
  readings.lag_seconds = lag(now);
  readings.status_age = note ? now - note->at : std::numeric_limits<double>::quiet_NaN();
  readings.waiting = world_.waiting();
  readings.durable = world_.durable();
  readings.requests = requests_;
  if (note) readings.status = note->json;
  auto text = metrics_page(*world_.gauges, readings);
  if (!text) return {500, {}, text.error().detail + "\n"};
  return {200, "text/plain; version=0.0.4; charset=utf-8", std::move(text).value()};
}

}  // namespace accrete::daemon
