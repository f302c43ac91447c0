// The fold's thread: what the log holds, what comes, and questions about it.
#include <utility>

#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/answers.h"
#include "daemon/clock.h"
#include "daemon/server_parts.h"
#include "proto/time.h"

namespace accrete::daemon {
namespace {

constexpr int kFoldNice = 5;
constexpr double kLookSeconds = 0.02;  // between looks for questions in the midst of a fold
constexpr std::uint32_t kLettersShown = 20;
constexpr std::int64_t kPruneIntervalUs = 10'000'000;

/// Never 0, which stands for "not yet".
std::uint64_t steady_ms() {
  return static_cast<std::uint64_t>(steady_seconds() * 1e3) + 1;
}

}  // namespace

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

/// The fold writes its status down for whoever may not wait for it.
void Server::Parts::tell_board() {
  const double now = steady_seconds();
  if (config.endpoints.http.empty() || !board.due(now)) return;
  wire::StatusRequest request;
  request.set_alarms(true);
  request.set_course(true);
  if (shows_rows) request.set_letters(kLettersShown);  // a reason names values of rows
  auto json = answering->status(request);
  // Nobody's rows depend on it: who asks sees the status grow old, and the log says why.
  if (json) {
    board.write(std::move(json).value(), now);
  } else {
    spdlog::warn("no status for HTTP: {}", json.error().detail);
  }
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

/// Questions of the control socket; those whose answers take folding only if `may_fold`.
void Server::Parts::answer_control(bool may_fold) {
  while (later.size() < kQuestions) {
    auto question = questions.try_receive();
    if (!question) return;
    if (!may_fold && Answers::folds(question->bytes)) {
      later.push_back(std::move(*question));
      continue;
    }
    const double begin = steady_seconds();
    answers.send({question->peer, answering->answer(question->bytes)});
    gauges.question_seconds.add(steady_seconds() - begin);
  }
}

void Server::Parts::answer_desk() {
  while (const auto question = desk.next())
    desk.answer(*question, answering->answer(*question));
}

/// A history is folded in one go, which may take an hour: who asks how far it is, or what is known
/// so far, is answered meanwhile.
void Server::Parts::between_instants() {
  if (answering == nullptr) return;  // the fold is being opened, and goes on where it was cut off
  const double now = steady_seconds();
  if (now < looked_at + kLookSeconds) return;
  looked_at = now;
  gauges.folded = fold->folded().value;
  answer_control(false);
  answer_desk();
  tell_board();
}

/// One turn of the fold thread: what mail there is, or half a second of quiet.
Status Server::Parts::turn() {
  pollfd waiting[2] = {{slices->fd(), POLLIN, 0}, {questions.fd(), POLLIN, 0}};
  ::poll(waiting, 2, slices->in_log() ? 0 : 500);
  ++gauges.fold_turns;
  ACCRETE_TRY(const auto slice, slices->take());
  if (slice) ACCRETE_DO(admit(*slice));
  for (const std::string& line : columns.news(*fold))
    spdlog::warn("{}", line);
  warn_of_rows_ahead();
  gauges.folded = fold->folded().value;
  if (slices->idle()) gauges.caught_up_ms = steady_ms();
  note_commit();
  while (!later.empty()) {
    answers.send({later.front().peer, answering->answer(later.front().bytes)});
    later.pop_front();
  }
  answer_control(true);
  answer_desk();
  if (checkpoint_wanted.exchange(false)) ACCRETE_DO(fold->checkpoint());
  note_commit();
  tell_board();
  return prune();
}

void Server::Parts::warn_of_rows_ahead() {
  const bool ahead = fold->timeline().ahead() > 0;
  if (std::exchange(told_ahead, ahead) == ahead || !ahead) return;
  spdlog::warn(
      "a row dated {} lies further ahead of all others than limits.ahead_max: such rows wait aside "
      "until others come near (rows_ahead in the status); is a column of times in another unit, or "
      "a date that stands for \"never\"?",
      format_time(fold->timeline().earliest_ahead()));
}

void Server::Parts::run_fold() {
  // Acknowledgements do not wait for a core while tasks learn on all of them. The threads of the
  // matrix products are started from here and inherit it. Refused only where a sandbox forbids it.
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kFoldNice);
  while (!slices->closed()) {
    if (Status done = turn(); !done) {
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

}  // namespace accrete::daemon
