// The replication stream on a thread of its own.
#include "daemon/postgres/follower.h"

#include <algorithm>
#include <array>
#include <utility>

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "daemon/clock.h"

namespace accrete::daemon::postgres {
namespace {

constexpr double kStatusIntervalS = 10;  // wal_sender_timeout is 60 s by default
// The server speaks at least every half of its wal_sender_timeout; with that off, TCP must tell.
constexpr double kSilenceMaxS = 300;
constexpr int kPollMs = 1000;
constexpr int kGatherMs = 1;                 // that much later is a change of a busy server read
constexpr std::size_t kItemsPerTurn = 1000;  // then the daemon's progress is looked at again

}  // namespace

bool TransactionQueue::has_room() const {
  const std::lock_guard lock(mutex_);
  return bytes_ < bytes_max_;
}

void TransactionQueue::put(SourceTransaction transaction) {
  const std::lock_guard lock(mutex_);
  bytes_ += transaction.bytes.size();
  transactions_.push_back(std::move(transaction));
  // Woken for every transaction, the one who takes would cost more than all else here.
  if (enough()) filled_.notify_one();
}

bool TransactionQueue::enough() const {
  return transactions_.size() >= wanted_ || bytes_ >= bytes_max_;
}

std::deque<SourceTransaction> TransactionQueue::take(std::chrono::milliseconds timeout,
                                                     std::size_t wanted) {
  std::unique_lock lock(mutex_);
  wanted_ = wanted;
  filled_.wait_for(lock, timeout, [&] { return enough(); });
  bytes_ = 0;
  return std::exchange(transactions_, {});
}

void TransactionQueue::clear() {
  const std::lock_guard lock(mutex_);
  transactions_.clear();
  bytes_ = 0;
}

Follower::Follower(Connection connection, Translator& translator, TransactionQueue& queue,
                   Start start)
    : connection_(std::move(connection)),
      translator_(translator),
      queue_(queue),
      last_queued_(start.sent),
      told_at_(steady_seconds()),
      heard_at_(steady_seconds()),
      wake_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      durable_(start.durable) {
  ACCRETE_CHECK(wake_ >= 0);
  confirmation_.queued(start.sent);
  thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

Follower::~Follower() {
  thread_.request_stop();
  durable(0);  // wakes it
  thread_.join();
  ::close(wake_);
}

void Follower::durable(Lsn position) {
  Lsn seen = durable_.load();
  while (seen < position && !durable_.compare_exchange_weak(seen, position)) {
  }
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_, &one, sizeof one);
}

std::optional<Error> Follower::error() const {
  const std::lock_guard lock(mutex_);
  return error_;
}

std::vector<std::string> Follower::take_notes() {
  const std::lock_guard lock(mutex_);
  return std::exchange(notes_, {});
}

void Follower::run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    Status turned = turn();
    if (turned) continue;
    const std::lock_guard lock(mutex_);
    error_ = std::move(turned).error();
    return;
  }
  // The last thing said is what is durable now: the next start need not pass over it.
  told_at_ = 0;
  [[maybe_unused]] const Status told = tell();
}

Status Follower::turn() {
  ACCRETE_TRY(const std::size_t items, read_some());
  ACCRETE_DO(tell());
  if (auto notes = translator_.take_notes(); !notes.empty()) {
    const std::lock_guard lock(mutex_);
    for (std::string& note : notes)
      notes_.push_back(std::move(note));
  }
  if (steady_seconds() - heard_at_ > kSilenceMaxS) {
    return Error{Errc::Unavailable, "PostgreSQL: the server has been silent for five minutes"};
  }
  if (items < kItemsPerTurn) wait(items > 0);
  return Ok{};
}

/// Up to kItemsPerTurn of what has come; how many.
Result<std::size_t> Follower::read_some() {
  std::size_t items = 0;
  for (; items < kItemsPerTurn && queue_.has_room(); ++items) {
    ACCRETE_TRY(const auto data, connection_.receive());
    if (!data) break;
    ACCRETE_DO(on_item(*data));
  }
  if (items > 0) heard_at_ = steady_seconds();
  return items;
}

Status Follower::on_item(std::string_view bytes) {
  ACCRETE_TRY(const StreamItem item, decode_stream_item(bytes));
  if (const auto* keepalive = std::get_if<Keepalive>(&item)) {
    received_ = std::max(received_, keepalive->end);
    if (!translator_.inside()) confirmation_.passed(keepalive->end);
    reply_now_ = reply_now_ || keepalive->reply_now;
    return Ok{};
  }
  const WalData& data = std::get<WalData>(item);
  received_ = std::max(received_, data.end);
  ACCRETE_TRY(const Translator::Outcome outcome, translator_.take(data.message));
  if (outcome == Translator::Outcome::Open) return Ok{};
  const Lsn end = translator_.end_lsn();
  if (outcome == Translator::Outcome::Whole && end > last_queued_) {
    last_queued_ = end;
    confirmation_.queued(end);
    queue_.put(translator_.transaction());
  } else {
    confirmation_.passed(end);
  }
  return Ok{};
}

/// Say what is durable when it has changed, the server asks, or it is time to.
Status Follower::tell() {
  confirmation_.durable(durable_.load());
  const Lsn confirmed = confirmation_.confirmed();
  const double now = steady_seconds();
  if (confirmed <= told_ && !reply_now_ && now - told_at_ < kStatusIntervalS) return Ok{};
  told_ = confirmed;
  told_at_ = now;
  reply_now_ = false;
  return connection_.send(
      encode_status(std::max(received_, confirmed), confirmed, TimeUs(wall_clock_us())));
}

/// Until the server sends (and there is room for it) or the daemon has made progress. A server that
/// is `busy` writes each message by itself: woken for each, we should cost more than it does.
void Follower::wait(bool busy) {
  std::array<pollfd, 2> items = {{{wake_, POLLIN, 0}, {connection_.socket(), POLLIN, 0}}};
  ::poll(items.data(), queue_.has_room() && !busy ? 2 : 1, busy ? kGatherMs : kPollMs);
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t read = ::read(wake_, &count, sizeof count);
}

}  // namespace accrete::daemon::postgres
