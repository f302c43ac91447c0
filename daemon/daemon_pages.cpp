// Which path gives what.
#include "daemon/daemon_pages.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "daemon/report_file.h"
#include "daemon/report_page.h"
#include "daemon/report_scale.h"

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
          "behind: " + std::to_string(world_.waiting()) +
              " groups wait for the fold, the oldest for up to " + seconds_text(lag(now)) + "\n"};
}

/// Rates are of at least kRateSeconds, however many browsers ask.
HttpAnswer DaemonPages::console(const StatusBoard::Note& note, double now) {
  constexpr double kRateSeconds = 2;
  const Gauges& gauges = *world_.gauges;
  if (now - last_.at >= kRateSeconds)
    before_ = std::exchange(last_, {now, gauges.ingest_rows, gauges.published});
  const double span = last_.at - before_.at;
  const auto rate = [&](std::uint64_t newer, std::uint64_t older) {
    return before_.at == 0 ? std::string("…")
                           : report::short_number(static_cast<double>(newer - older) / span);
  };
  auto read = report::read_status(note.json, "");
  if (!read) return {500, {}, read.error().detail + "\n"};
  report::Report& report = read.value();
  report.title = "accreted";
  const std::vector<std::pair<std::string, std::string>> facts = {
      {"state", ready(now) ? "ready" : "behind"},
      {"rows in, per second", rate(last_.rows, before_.rows)},
      {"predictions out, per second", rate(last_.predictions, before_.predictions)},
      {"lag", report::short_number(lag(now)) + " s"},
      {"groups waiting", std::to_string(world_.waiting())},
      {"status", seconds_text(now - note.at) + " old"}};
  report.facts.insert(report.facts.begin(), facts.begin(), facts.end());
  return {200, "text/html; charset=utf-8", report::console(report)};
}

HttpAnswer DaemonPages::answer(std::string_view path, double now) {
  ++requests_;
  if (path == "/healthz") return health(now);
  if (path == "/readyz") return readiness(now);
  const bool metrics = path == "/metrics";
  if (!metrics && path != "/statusz" && path != "/")
    return {404, {}, "no such page; there are / /healthz /readyz /metrics /statusz\n"};
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
