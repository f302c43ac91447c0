// Opening, the three threads, stopping.
#include "daemon/server.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/answers.h"
#include "daemon/backtest.h"
#include "daemon/clock.h"
#include "daemon/curve_files.h"
#include "daemon/daemon_pages.h"
#include "daemon/event_server.h"
#include "daemon/event_sessions.h"
#include "daemon/explain_desk.h"
#include "daemon/fold.h"
#include "daemon/fold_queue.h"
#include "daemon/http_address.h"
#include "daemon/http_server.h"
#include "daemon/ingest_posts.h"
#include "daemon/live_sink.h"
#include "daemon/log_sink.h"
#include "daemon/plan_columns.h"
#include "daemon/status_board.h"
#include "daemon/stream_gauges.h"
#include "store/database.h"
#include "store/log.h"
#include "store/prediction_log.h"
#include "store/state.h"
#include "stream/ingest_server.h"
#include "stream/publish_server.h"
#include "stream/socket.h"

namespace accrete::daemon {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kOutgoingBatches = 64;
constexpr std::size_t kQuestions = 64;
constexpr int kFoldNice = 5;
constexpr std::uint32_t kLettersShown = 20;
// A place for each message that the events thread and the HTTP thread may have under way.
constexpr std::size_t kOffers = EventSessions::kUnansweredMax + 64;
constexpr std::int64_t kPruneIntervalUs = 10'000'000;

/// Never 0, which stands for "not yet".
std::uint64_t steady_ms() {
  return static_cast<std::uint64_t>(steady_seconds() * 1e3) + 1;
}

FoldQueue::Bounds queue_bounds(const LimitsConfig& limits) {
  return {limits.queue_batches_max, limits.group_rows_max, stream::IngestOptions().group_bytes_max,
          limits.lag_records_max};
}

}  // namespace

struct Server::Parts {
  explicit Parts(const Config& configuration)
      : config(configuration),
        offers(kOffers),
        questions(kQuestions),
        outgoing(kOutgoingBatches),
        answers(kQuestions + 1) {}

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
  void tell_board(const Answers& answering);
  Status open_publish(const stream::CurveKeys& keys);
  Status open_ingest(const stream::CurveKeys& keys);
  Status open_events(const stream::CurveKeys& keys);
  void run_ingest();
  void run_fold();
  void run_publish();
  Status admit(const LogSlice& slice);
  Status drain();
  Status turn(Answers& answering);
  Status prune();
  Result<Reloaded> reload();
  void note_commit();
};

Status Server::Parts::open_store() {
  ACCRETE_TRY(database, store::Database::open(database_options(config, config.store.path)));
  ACCRETE_TRY(log, store::Log::open(*database));
  slices.emplace(*log, queue_bounds(config.limits));
  ACCRETE_TRY(state, store::State::open(*database));
  ACCRETE_TRY(predictions, store::PredictionLog::open(*database));
  const bool refold = !state->fresh() && state->cursor().fingerprint != fold_fingerprint(config);
  if (refold) {
    spdlog::warn(
        "the configuration changed what is folded: folding the whole log again as epoch {}",
        state->cursor().epoch + 1);
  }
  live_sink = std::make_unique<LiveSink>(outgoing, refold ? PredictionSeq{} : predictions->end());
  ACCRETE_TRY(
      fold, Fold::open(config, fold_options(config), *log, *state, predictions.get(), *live_sink));
  past = std::make_unique<StoredPast>(*predictions, fold->epoch());
  return Ok{};
}

/// Fold what the log holds beyond the last commit; the same records give the same predictions.
Status Server::Parts::catch_up(
    const std::function<void(std::uint64_t, std::uint64_t)>& recovering) {
  const Ordinal end = log->end();
  const bool behind = fold->admitted() < end;
  gauges.recover_until = end.value;
  while (fold->admitted() < end) {
    ACCRETE_TRY(const LogSlice slice,
                log->read(Ordinal{fold->admitted().value + 1}, 8192, 8u << 20));
    if (slice.size() == 0) {
      return Error{Errc::Corruption, "the log ends at record " +
                                         std::to_string(fold->admitted().value) + " of " +
                                         std::to_string(end.value)};
    }
    ACCRETE_DO(fold->admit(slice));
    gauges.recovered = fold->admitted().value;
    recovering(fold->admitted().value, end.value);
  }
  gauges.recovered = end.value;
  return behind ? fold->checkpoint() : Status(Ok{});
}

/// Health and readiness are answered from here on, also while the log is caught up.
Status Server::Parts::open_http() {
  if (config.endpoints.http.empty()) return Ok{};
  ACCRETE_TRY(const HttpAddress address, parse_http_address(config.endpoints.http));
  shows_rows = address.loopback();
  pages = std::make_unique<DaemonPages>(
      DaemonPages::World{&gauges, &board, shows_rows ? &desk : nullptr,
                         [this] {
                           const std::lock_guard lock(failure_mutex);
                           return first_failure ? first_failure->detail : std::string();
                         },
                         [this] { return slices->groups(); }, [this] { return log->end().value; },
                         [this] { return gauges.fold_turns + fold->steps(); }});
  IngestPosts::World world;
  world.schema = &config.schema;
  world.offers = &offers;
  world.gauges = &gauges;
  world.open = [this] { return ingest_open.load(); };
  world.loopback = shows_rows;
  if (!config.endpoints.http_token_file.empty()) {
    ACCRETE_TRY(world.token, read_token(config.endpoints.http_token_file));
  }
  posts = std::make_unique<IngestPosts>(std::move(world));
  const auto page = [this](const auto& asked) { return pages->answer(asked, steady_seconds()); };
  ACCRETE_TRY(http, HttpServer::open(config.endpoints.http, page, {}, posts.get()));
  spdlog::info("pages on {}", http->bound_address());
  return Ok{};
}

/// The fold writes its status down for whoever may not wait for it.
void Server::Parts::tell_board(const Answers& answering) {
  const double now = steady_seconds();
  if (config.endpoints.http.empty() || !board.due(now)) return;
  wire::StatusRequest request;
  request.set_alarms(true);
  request.set_course(true);
  if (shows_rows) request.set_letters(kLettersShown);  // a reason names values of rows
  auto json = answering.status(request);
  // Nobody's rows depend on it: who asks sees the status grow old, and the log says why.
  if (json) {
    board.write(std::move(json).value(), now);
  } else {
    spdlog::warn("no status for HTTP: {}", json.error().detail);
  }
}

Status Server::Parts::open_publish(const stream::CurveKeys& keys) {
  stream::PublishOptions options;
  options.predictions = endpoint_at(config.endpoints.predictions, keys);
  options.replay = endpoint_at(config.endpoints.replay, keys);
  options.control = endpoint_at(config.endpoints.control, keys);
  const auto ask = [this](stream::ControlQuestion question) {
    return questions.try_send(question);
  };
  ACCRETE_TRY(publish,
              stream::PublishServer::open(context.get(), options, outgoing, answers, *past, ask));
  return Ok{};
}

Status Server::Parts::open_ingest(const stream::CurveKeys& keys) {
  log_sink = std::make_unique<LogSink>(
      *database, *log, config.limits.log_bytes_max,
      [this](LogSlice slice) -> Status {
        gauges.durable_bytes += slice.bytes.size();
        if (slices->give(std::move(slice))) return Ok{};
        return Error{Errc::Unavailable, "stopping"};
      },
      &gauges.commit_seconds);
  stream::IngestOptions options;
  options.endpoint = endpoint_at(config.endpoints.ingest, keys);
  options.credit_bytes = config.limits.credit_bytes;
  // One frame, and what fits into the queues of a producer that does not count its credit.
  options.endpoint.untaken_bytes_max =
      options.endpoint.frame_bytes_max + (32u << 20) + 2 * options.credit_bytes;
  options.transaction_bytes_max = config.limits.transaction_bytes_max;
  options.group_rows_max = config.limits.group_rows_max;
  options.producers_max = config.limits.producers_max;
  options.offers = &offers;
  Schema schema = config.schema;
  Layouts layouts;
  for (const Layout& layout : fold->layouts())
    ACCRETE_DO(layouts.declare(layout, schema));
  ACCRETE_TRY(ingest, stream::IngestServer::open(context.get(), options, schema, std::move(layouts),
                                                 *log_sink));
  return Ok{};
}

Status Server::Parts::open_events(const stream::CurveKeys& keys) {
  if (config.endpoints.events.empty()) return Ok{};
  EventServer::World world;
  world.zmq_context = context.get();
  world.schema = &config.schema;
  world.offers = &offers;
  world.gauges = &gauges;
  world.failed = [this](const Error& error) { fail("events", error); };
  ACCRETE_TRY(events,
              EventServer::open(endpoint_at(config.endpoints.events, keys), std::move(world)));
  spdlog::info("change events on {}", events->bound_address());
  return Ok{};
}

void Server::Parts::run_ingest() {
  std::uint64_t letters = log->dead_letter_count();
  while (!stop_ingest) {
    Status polled = ingest->poll(200ms);
    if (!polled) {
      if (!stop_ingest) fail("ingest", polled.error());
      break;
    }
    note(gauges, ingest->counters());
    if (log->dead_letter_count() > letters + 1000) {
      letters = log->dead_letter_count();
      if (Status pruned = log->prune_dead_letters(config.limits.dead_letters_max); !pruned) {
        fail("ingest", pruned.error());
        break;
      }
    }
  }
  ingest_open = false;
  offers.close();
  while (const auto offer = offers.try_receive())
    offer->answer(Error{Errc::Unavailable, "the daemon takes no rows any more"}, {});
  ingest.reset();
  slices->close();
}

/// The fold takes a group that the ingest thread sent.
Status Server::Parts::admit(const LogSlice& slice) {
  const double begin = steady_seconds();
  ACCRETE_DO(fold->admit(slice));
  slices->admitted(fold->admitted());
  gauges.fold_seconds.add(steady_seconds() - begin);
  gauges.folded_bytes += slice.bytes.size();
  return Ok{};
}

Status Server::Parts::drain() {
  const Ordinal end = log->end();
  while (fold->admitted() < end) {
    ACCRETE_TRY(const auto slice, slices->wait());
    if (!slice) return Error{Errc::Unavailable, "stopping"};
    ACCRETE_DO(admit(*slice));
  }
  return fold->checkpoint();
}

Status Server::Parts::prune() {
  const std::int64_t now = wall_clock_us();
  if (now - pruned_at_us < kPruneIntervalUs) return Ok{};
  pruned_at_us = now;
  const LimitsConfig& limits = config.limits;
  const TimeUs oldest = limits.predictions_age_max_us > 0 && fold->now() != kTimeMin
                            ? TimeUs{fold->now().value - limits.predictions_age_max_us}
                            : kTimeMin;
  ACCRETE_TRY(const auto pruned, predictions->prune(limits.predictions_bytes_max, oldest,
                                                    now - limits.subscriber_deadline_us));
  for (const std::string& name : pruned.dropped_subscribers) {
    spdlog::warn("subscriber \"{}\" was silent longer than limits.subscriber_deadline: dropped",
                 name);
  }
  return Ok{};
}

Result<Reloaded> Server::Parts::reload() {
  const std::lock_guard lock(reload_mutex);
  Result<Reloaded> reloaded = daemon::reload(config, context);
  log_reload(reloaded);
  return reloaded;
}

/// One turn of the fold thread: what mail there is, or half a second of quiet.
Status Server::Parts::turn(Answers& answering) {
  pollfd waiting[2] = {{slices->fd(), POLLIN, 0}, {questions.fd(), POLLIN, 0}};
  ::poll(waiting, 2, slices->in_log() ? 0 : 500);
  ++gauges.fold_turns;
  ACCRETE_TRY(const auto slice, slices->take());
  if (slice) ACCRETE_DO(admit(*slice));
  for (const std::string& line : columns.news(*fold))
    spdlog::warn("{}", line);
  gauges.folded = fold->folded().value;
  if (slices->idle()) gauges.caught_up_ms = steady_ms();
  note_commit();
  while (auto question = questions.try_receive()) {
    const double begin = steady_seconds();
    answers.send({question->peer, answering.answer(question->bytes)});
    gauges.question_seconds.add(steady_seconds() - begin);
  }
  while (const auto question = desk.next())
    desk.answer(*question, answering.answer(*question));
  if (checkpoint_wanted.exchange(false)) ACCRETE_DO(fold->checkpoint());
  note_commit();
  tell_board(answering);
  return prune();
}

void Server::Parts::run_fold() {
  // Acknowledgements do not wait for a core while tasks learn on all of them. The threads of the
  // matrix products are started from here and inherit it. Refused only where a sandbox forbids it.
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kFoldNice);
  Answers answering({fold.get(), database.get(), &*log, predictions.get(), &gauges, live_sink.get(),
                     [this] { return slices->groups(); }, [this] { return drain(); },
                     [this]() -> Result<std::string> {
                       ACCRETE_TRY(const Reloaded reloaded, reload());
                       return reloaded_json(reloaded);
                     }});
  while (!slices->closed()) {
    if (Status done = turn(answering); !done) {
      fail("fold", done.error());
      break;
    }
  }
  if (!failed()) {
    if (Status done = fold->checkpoint(); !done) fail("fold", done.error());
  }
  slices->close();
  outgoing.close();
  answers.close();
}

void Server::Parts::note_commit() {
  const std::uint64_t commits = fold->counters().checkpoints;
  if (std::exchange(commits_seen, commits) != commits || gauges.committed_ms == 0)
    gauges.committed_ms = steady_ms();
}

void Server::Parts::run_publish() {
  while (true) {
    const auto more = publish->poll(500ms);
    if (!more) fail("publish", more.error());
    if (!more || !more.value()) break;
    note(gauges, publish->counters());
  }
  publish.reset();
  outgoing.close();
}

Server::Server(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Server::~Server() {
  if (parts_ && parts_->fold_thread.joinable()) static_cast<void>(bool(stop()));
}

Result<std::unique_ptr<Server>> Server::start(
    const Config& config,
    const std::function<void(std::uint64_t done, std::uint64_t total)>& recovering) {
  auto parts = std::make_unique<Parts>(config);
  ACCRETE_TRY(const stream::CurveKeys keys, read_curve_files(config.endpoints));
  ACCRETE_DO(check_addresses(config.endpoints, keys));
  ACCRETE_DO(parts->open_store());
  ACCRETE_DO(parts->open_http());
  ACCRETE_DO(parts->open_publish(keys));
  Parts* const raw = parts.get();
  // Publishing runs while the log is caught up: subscribers may read the past meanwhile.
  parts->publish_thread = std::thread([raw] { raw->run_publish(); });
  std::unique_ptr<Server> server(new Server(std::move(parts)));
  Status ready = raw->catch_up(recovering);
  if (ready) ready = raw->open_ingest(keys);
  if (ready) ready = raw->open_events(keys);
  if (!ready) {
    raw->outgoing.close();
    raw->publish_thread.join();
    return std::move(ready).error();
  }
  raw->fold_thread = std::thread([raw] { raw->run_fold(); });
  raw->ingest_open = true;
  raw->ingest_thread = std::thread([raw] { raw->run_ingest(); });
  return server;
}

std::optional<Error> Server::failure() const {
  const std::lock_guard lock(parts_->failure_mutex);
  return parts_->first_failure;
}

std::uint64_t Server::fold_turns() const {
  return parts_->gauges.fold_turns + parts_->fold->steps();
}

std::string Server::summary() const {
  return std::to_string(parts_->log->end().value) + " records durable, " +
         std::to_string(parts_->predictions->end().value) + " predictions, " +
         std::to_string(parts_->slices->groups()) + " groups waiting";
}

Result<Reloaded> Server::reload() {
  return parts_->reload();
}

void Server::request_checkpoint() {
  parts_->checkpoint_wanted = true;
}

Status Server::stop() {
  parts_->http.reset();
  parts_->events.reset();
  parts_->stop_ingest = true;
  if (parts_->ingest_thread.joinable()) parts_->ingest_thread.join();
  if (parts_->fold_thread.joinable()) parts_->fold_thread.join();
  if (parts_->publish_thread.joinable()) parts_->publish_thread.join();
  if (const auto error = failure()) return *error;
  return Ok{};
}

std::string Server::ingest_address() const {
  return parts_->ingest->bound_address();
}
std::string Server::predictions_address() const {
  return parts_->publish->predictions_address();
}
std::string Server::replay_address() const {
  return parts_->publish->replay_address();
}
std::string Server::control_address() const {
  return parts_->publish->control_address();
}

}  // namespace accrete::daemon
