// The daemon's pages: health, readiness, metrics, status.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "daemon/explain_desk.h"
#include "daemon/gauges.h"
#include "daemon/http_server.h"
#include "daemon/metrics_page.h"
#include "daemon/status_board.h"

namespace accrete::daemon {

/// | path | answer |
/// |---|---|
/// | / | the console: rates, lag, and the page of `accretectl report`, which renews itself |
/// | /healthz | 200, or 503 with the reason: a thread ended, or the fold is stuck |
/// | /readyz | 200 when caught up, else 503 with how far the fold is |
/// | /metrics | Prometheus text |
/// | /statusz | the status as JSON; 503 before the first |
/// | /explain | one prediction explained, as JSON; 202 until the fold has answered: ask again |
///
/// Threads: called by the HTTP server's; what it reads is written by others.
class DaemonPages {
 public:
  struct World {
    const Gauges* gauges = nullptr;
    StatusBoard* board = nullptr;
    ExplainDesk* desk = nullptr;           ///< null: rows are shown to nobody here
    std::function<std::string()> failure;  ///< what ended a thread; "": nothing has
    std::function<std::size_t()> waiting;  ///< groups the fold has not taken
    std::function<std::uint64_t()> durable;
    std::function<std::uint64_t()> turns;  ///< rises while the fold is alive, also within a group
  };

  /// A daemon that lags less is caught up: a group of rows is folded in less.
  static constexpr double kReadyLagSeconds = 5;
  /// A fold that takes no turn for so long is stuck; the longest training slice is far shorter.
  static constexpr double kStuckSeconds = 120;

  explicit DaemonPages(World world) : world_(std::move(world)) {}

  /// `now`: steady_seconds().
  HttpAnswer answer(const HttpRequest& request, double now);

 private:
  HttpAnswer explain(const HttpRequest& request, double now) const;
  HttpAnswer health(double now);
  HttpAnswer readiness(double now) const;
  HttpAnswer console(const StatusBoard::Note& note, double now);
  double lag(double now) const;
  bool ready(double now) const;

  World world_;
  std::uint64_t requests_ = 0;
  /// Counters at a time, for rates between two of them.
  struct Sample {
    double at = 0;
    std::uint64_t rows = 0;
    std::uint64_t predictions = 0;
  };
  Sample before_, last_;
  std::uint64_t turns_ = 0;
  double turned_at_ = -1;  // when the number of turns was seen to have changed; -1: never looked
};

}  // namespace accrete::daemon
