// What the threads of a daemon share, each part alone owned by one (ARCHITECTURE.md, "Threads").
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "daemon/daemon_pages.h"
#include "daemon/event_server.h"
#include "daemon/event_sessions.h"
#include "daemon/explain_desk.h"
#include "daemon/fold.h"
#include "daemon/fold_queue.h"
#include "daemon/http_server.h"
#include "daemon/ingest_posts.h"
#include "daemon/live_sink.h"
#include "daemon/log_sink.h"
#include "daemon/plan_columns.h"
#include "daemon/server.h"
#include "daemon/status_board.h"
#include "daemon/stream_gauges.h"
#include "store/database.h"
#include "store/log.h"
#include "store/prediction_log.h"
#include "store/state.h"
#include "stream/ingest_server.h"
#include "stream/publish_server.h"

namespace accrete::daemon {

class Answers;

inline constexpr std::size_t kQuestions = 64;

struct Server::Parts {
  static constexpr std::size_t kOutgoingBatches = 64;
  // A place for each message that the events thread and the HTTP thread may have under way.
  static constexpr std::size_t kOffers = EventSessions::kUnansweredMax + 64;

  explicit Parts(const Config& configuration);
  ~Parts();

  const Config& config;
  Gauges gauges;
  stream::Mailbox<stream::Offer> offers;               // http, events -> ingest
  stream::Mailbox<stream::ControlQuestion> questions;  // publish -> fold
  stream::Mailbox<stream::OutgoingBatch> outgoing;     // fold -> publish
  stream::Mailbox<stream::ControlAnswer> answers;      // fold -> publish

  std::unique_ptr<store::Database> database;
  std::optional<store::Log> log;
  std::optional<FoldQueue> slices;  // ingest -> fold
  std::unique_ptr<store::State> state;
  std::unique_ptr<store::PredictionLog> predictions;
  std::unique_ptr<LiveSink> live_sink;
  std::unique_ptr<Fold> fold;
  std::unique_ptr<StoredPast> past;
  std::unique_ptr<LogSink> log_sink;
  stream::Context context;
  std::unique_ptr<stream::IngestServer> ingest;
  std::unique_ptr<stream::PublishServer> publish;

  std::atomic<bool> ingest_open{false};
  std::atomic<bool> stop_ingest{false};
  std::atomic<bool> checkpoint_wanted{false};
  std::thread ingest_thread;
  std::thread fold_thread;
  std::thread publish_thread;
  bool told_ahead = false;                    // that rows wait far ahead
  double looked_at = 0;                       // for questions, steady_seconds()
  std::deque<stream::ControlQuestion> later;  // those that fold: not between instants
  std::unique_ptr<Answers> answering;         // the fold's
  ColumnWatch columns;
  std::int64_t pruned_at_us = 0;
  std::uint64_t commits_seen = 0;

  std::mutex reload_mutex;
  mutable std::mutex failure_mutex;
  std::optional<Error> first_failure;

  StatusBoard board;        // fold -> http
  ExplainDesk desk;         // http -> fold -> http
  bool shows_rows = false;  // http is for this machine only
  std::unique_ptr<DaemonPages> pages;
  std::unique_ptr<IngestPosts> posts;
  std::unique_ptr<HttpServer> http;     // null where it is not configured; reads all of the above
  std::unique_ptr<EventServer> events;  // null where it is not configured

  void fail(const char* thread, const Error& error) {
    spdlog::error("{}: {}", thread, error.detail);
    const std::lock_guard lock(failure_mutex);
    if (!first_failure) first_failure = error;
  }

  bool failed() const {
    const std::lock_guard lock(failure_mutex);
    return first_failure.has_value();
  }

  Status open_store();
  Status catch_up(const std::function<void(std::uint64_t, std::uint64_t)>& recovering);
  Status open_http();
  void tell_board();
  Status open_publish(const stream::CurveKeys& keys);
  Status open_ingest(const stream::CurveKeys& keys);
  Status open_events(const stream::CurveKeys& keys);
  void run_ingest();
  void run_fold();
  void run_publish();
  Status admit(const LogSlice& slice);
  Status drain();
  void answer_control(bool may_fold);
  void answer_desk();
  void between_instants();
  Status turn();
  Status prune();
  Result<Reloaded> reload();
  void note_commit();
  void warn_of_rows_ahead();
};

}  // namespace accrete::daemon
