// Opening, the three threads, stopping.
#include "daemon/server.h"

#include <chrono>
#include <utility>

#include <spdlog/spdlog.h>

#include "daemon/answers.h"
#include "daemon/backtest.h"
#include "daemon/clock.h"
#include "daemon/curve_files.h"
#include "daemon/http_address.h"
#include "daemon/server_parts.h"
#include "stream/socket.h"

namespace accrete::daemon {
namespace {

using namespace std::chrono_literals;

FoldQueue::Bounds queue_bounds(const LimitsConfig& limits) {
  return {limits.queue_batches_max, limits.group_rows_max, stream::IngestOptions().group_bytes_max,
          limits.lag_records_max};
}

}  // namespace

Server::Parts::Parts(const Config& configuration)
    : config(configuration),
      offers(kOffers),
      questions(kQuestions),
      outgoing(kOutgoingBatches),
      answers(kQuestions + 1) {}

Server::Parts::~Parts() = default;

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
  FoldOptions options = fold_options(config);
  options.between_instants = [this] { between_instants(); };
  ACCRETE_TRY(fold, Fold::open(config, options, *log, *state, predictions.get(), *live_sink));
  past = std::make_unique<StoredPast>(*predictions, fold->epoch());
  answering = std::make_unique<Answers>(
      Answers::World{fold.get(), database.get(), &*log, predictions.get(), &gauges, live_sink.get(),
                     [this] { return slices->groups(); }, [this] { return drain(); },
                     [this]() -> Result<std::string> {
                       ACCRETE_TRY(const Reloaded reloaded, reload());
                       return reloaded_json(reloaded);
                     }});
  return Ok{};
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
