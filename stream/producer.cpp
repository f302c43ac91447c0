// A producer that never loses or repeats a row: keeps every transaction until it is durable,
// resends what is not after a reconnect, and lets the daemon's positions decide what is a
// duplicate.
#include <algorithm>
#include <chrono>
#include <deque>
#include <optional>
#include <random>
#include <utility>

#include <stream.pb.h>

#include "proto/limits.h"
#include "stream/batch_frame.h"
#include "stream/client.h"
#include "stream/producer_queue.h"
#include "stream/socket.h"

namespace accrete::stream {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kBackOffMin{50};
constexpr milliseconds kBackOffMax{5'000};
constexpr milliseconds kByeLinger{200};
constexpr std::size_t kFrameOverhead = 4096;  // tags, lengths and names around the records

/// A name for the daemon's ROUTER that stays ours over reconnects and is nobody else's.
std::string make_identity(const std::string& name) {
  std::random_device device;
  std::string out = name.substr(0, 64);
  for (int i = 0; i < 4; ++i)
    out += (i == 0 ? "/" : "-") + std::to_string(device());
  return out;
}

milliseconds elapsed(Instant since) {
  return std::chrono::duration_cast<milliseconds>(now() - since);
}

/// Faults that a new session may cure are Unavailable or Exhausted here.
Errc retry_code(const wire::Fault& fault) {
  return fault.code() == wire::Fault::EXHAUSTED ? Errc::Exhausted : Errc::Unavailable;
}

}  // namespace

struct Producer::Parts {
  explicit Parts(const ProducerOptions& given)
      : options(given), identity(make_identity(given.name)) {}

  Status reconnect();
  Status renew() {
    ++counters.reconnects;
    return reconnect();
  }
  Status say_hello();
  void welcome(const wire::Welcome& message);
  Status in_trouble(Errc code, const std::string& cause);
  void back_off();
  void tell_away(const std::string& cause);

  Status pump(milliseconds timeout);
  void on_ack(const wire::Ack& ack);
  Status on_fault(const wire::Fault& fault);
  Status await_progress(milliseconds patience = milliseconds::max());

  Status send_batch();
  Status send_all(bool partial);

  ProducerOptions options;
  std::string identity;
  Context context;
  std::optional<Socket> socket;
  std::vector<Frame> frames;
  std::string frame;

  std::uint64_t durable = 0;
  std::uint64_t last_position = 0;  // of the newest transaction taken from the caller
  ProducerQueue queue;

  struct InFlight {
    std::uint64_t number = 0;
    std::size_t bytes = 0;
  };
  std::deque<InFlight> in_flight;  // batches sent and not acknowledged
  std::size_t in_flight_bytes = 0;
  std::uint64_t credit_bytes = 0;
  std::uint64_t next_batch = 1;

  bool broken = true;  // the session must begin anew
  bool closed = false;
  bool away_told = false;
  std::optional<Instant> trouble_since;
  milliseconds pause{0};  // before the next attempt
  Instant heard = now();

  Counters counters;
  std::vector<std::string> faults;
};

/// Connect anew until WELCOME; afterwards everything kept is unsent again.
Status Producer::Parts::reconnect() {
  while (true) {
    broken = true;  // until WELCOME: whoever comes back after an error begins here
    back_off();
    socket.reset();
    ACCRETE_TRY(Socket fresh, Socket::create(context.get(), SocketKind::Dealer, options.endpoint));
    ACCRETE_DO(fresh.set_identity(identity));
    ACCRETE_DO(fresh.connect());
    socket.emplace(std::move(fresh));
    Status greeted = say_hello();
    broken = !greeted;
    if (greeted || greeted.error().code == Errc::Malformed) return greeted;
    ACCRETE_DO(in_trouble(greeted.error().code, greeted.error().detail));
  }
}

/// Remember that something is wrong. Errors: Unavailable or Exhausted when it has been so too long.
Status Producer::Parts::in_trouble(Errc code, const std::string& cause) {
  if (!trouble_since) trouble_since = now();
  pause = std::min(std::max(kBackOffMin, 2 * pause), kBackOffMax);
  const milliseconds since = elapsed(*trouble_since);
  if (since < options.give_up_after) return Ok{};
  return Error{code, options.endpoint.address + ": gave up after " + std::to_string(since.count()) +
                         " ms: " + cause};
}

/// Let `pause` go by, reading away what the daemon still says to the session that is over.
void Producer::Parts::back_off() {
  const Instant until = now() + pause;
  while (socket && now() < until) {
    Waiting item{&*socket};
    const auto left = std::chrono::duration_cast<milliseconds>(until - now()) + milliseconds(1);
    if (const auto ready = wait({&item, 1}, left); !ready) return;
    if (const auto received = socket->receive(frames); !received) return;
  }
}

Status Producer::Parts::say_hello() {
  wire::ToIngest hello;
  hello.mutable_hello()->set_protocol(1);
  hello.mutable_hello()->set_producer(options.name);
  hello.mutable_hello()->add_sources(options.source);
  ACCRETE_DO(socket->send(hello.SerializeAsString()));
  const Instant asked = now();
  const milliseconds patience = std::min(options.reply_timeout, options.give_up_after);
  const std::string silence = "no WELCOME; is the daemon running, and are the keys right?";
  while (true) {
    const milliseconds left = std::max(patience - elapsed(asked), milliseconds(0));
    const milliseconds untold = options.tell_after - elapsed(trouble_since.value_or(asked));
    if (untold.count() <= 0) tell_away(silence);
    Waiting item{&*socket};
    const bool tells = options.on_away && !away_told;
    ACCRETE_TRY(const bool ready, wait({&item, 1}, tells ? std::min(left, untold) : left));
    if (!ready && left.count() == 0) return Error{Errc::Unavailable, silence};
    ACCRETE_TRY(const bool received, socket->receive(frames));
    if (!received) continue;
    wire::FromIngest message;
    const std::string_view bytes = frames[0].view();
    if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) continue;
    if (message.has_welcome()) {
      welcome(message.welcome());
      return Ok{};
    }
    if (!message.has_fault()) continue;  // an answer to a session before this one
    const bool refused = message.fault().code() == wire::Fault::MALFORMED;
    return Error{refused ? Errc::Malformed : retry_code(message.fault()), message.fault().detail()};
  }
}

/// Once, until it is welcome again.
void Producer::Parts::tell_away(const std::string& cause) {
  if (!options.on_away || std::exchange(away_told, true)) return;
  options.on_away(options.endpoint.address + ": " + cause);
}

void Producer::Parts::welcome(const wire::Welcome& message) {
  if (std::exchange(away_told, false)) options.on_away("");
  credit_bytes = message.credit_bytes();
  for (const wire::SourcePosition& source : message.sources()) {
    if (source.source() == options.source) durable = std::max(durable, source.position());
  }
  counters.acknowledged += queue.forget_unsent(durable);
  in_flight.clear();
  in_flight_bytes = 0;
  next_batch = 1;
  heard = now();
  if (!queue.empty()) return;
  trouble_since.reset();
  pause = milliseconds(0);
}

/// Handle the replies that are there, waiting up to `timeout` for the first.
Status Producer::Parts::pump(milliseconds timeout) {
  if (timeout.count() > 0) {
    Waiting item{&*socket};
    ACCRETE_TRY([[maybe_unused]] const bool ready, wait({&item, 1}, timeout));
  }
  while (true) {
    ACCRETE_TRY(const bool received, socket->receive(frames));
    if (!received) return Ok{};
    heard = now();
    wire::FromIngest message;
    const std::string_view bytes = frames[0].view();
    if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) continue;
    if (message.has_ack()) on_ack(message.ack());
    if (message.has_fault()) {
      ACCRETE_DO(on_fault(message.fault()));
    }
  }
}

void Producer::Parts::on_ack(const wire::Ack& ack) {
  for (; !in_flight.empty() && in_flight.front().number <= ack.batch(); in_flight.pop_front())
    in_flight_bytes -= in_flight.front().bytes;
  if (ack.source() != options.source || ack.position() <= durable) return;
  durable = ack.position();
  counters.acknowledged += queue.forget(durable);
  trouble_since.reset();
  pause = milliseconds(0);
}

Status Producer::Parts::on_fault(const wire::Fault& fault) {
  if (fault.position() != 0) {
    ++counters.rejected;
    faults.push_back(fault.detail());
    return Ok{};
  }
  if (fault.code() == wire::Fault::MALFORMED) return Error{Errc::Malformed, fault.detail()};
  if (fault.code() == wire::Fault::DUPLICATE) return Ok{};
  // The batches after the one at fault are answered with the same words.
  if (std::exchange(broken, true)) return Ok{};
  return in_trouble(retry_code(fault), fault.detail());
}

/// Something is in flight: wait up to `patience` for an answer; begin a new session when none has
/// come for too long.
Status Producer::Parts::await_progress(milliseconds patience) {
  if (!broken) {
    const milliseconds left = std::max(options.reply_timeout - elapsed(heard), milliseconds(1));
    ACCRETE_DO(pump(std::min(left, patience)));
  }
  if (!broken && elapsed(heard) >= options.reply_timeout) {
    broken = true;
    ACCRETE_DO(
        in_trouble(Errc::Unavailable,
                   "no answer for " + std::to_string(options.reply_timeout.count()) + " ms"));
  }
  return broken ? renew() : Ok{};
}

Status Producer::Parts::send_batch() {
  const std::span<const PartView> parts = queue.take(options.batch_rows, options.batch_bytes);
  std::size_t rows = 0;
  for (const PartView& part : parts)
    rows += part.records.size();
  frame.clear();
  encode_batch(options.source, next_batch, parts, frame);
  const std::uint64_t session = counters.reconnects;
  while (!in_flight.empty() && in_flight_bytes + frame.size() > credit_bytes) {
    ACCRETE_DO(await_progress());
    if (counters.reconnects != session) return Ok{};  // unsent again, under new numbers
  }
  if (in_flight.empty()) heard = now();  // from here on an answer is due
  while (true) {
    Status sent = socket->send(frame);
    if (sent) break;
    if (sent.error().code != Errc::Exhausted) return sent;
    ACCRETE_DO(await_progress());
    if (counters.reconnects != session) return Ok{};
  }
  in_flight.push_back({next_batch++, frame.size()});
  in_flight_bytes += frame.size();
  counters.resent = queue.resent();
  counters.rows += rows;
  ++counters.batches;
  return Ok{};
}

/// Send full batches, and with `partial` the rest.
Status Producer::Parts::send_all(bool partial) {
  if (closed) return Error{Errc::Unavailable, "the producer is closed"};
  while (!queue.all_sent() && (partial || queue.unsent_rows() >= options.batch_rows ||
                               queue.unsent_bytes() >= options.batch_bytes)) {
    if (!broken) {
      ACCRETE_DO(pump(milliseconds(0)));
    }
    if (broken) {
      ACCRETE_DO(renew());
      continue;
    }
    ACCRETE_DO(send_batch());
  }
  return Ok{};
}

Producer::Producer(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Producer::~Producer() = default;

Result<std::unique_ptr<Producer>> Producer::open(const ProducerOptions& options) {
  const auto named = [](const std::string& name) {
    return !name.empty() && name.size() <= limits::name_bytes_max;
  };
  if (!named(options.name) || !named(options.source)) {
    return Error{Errc::Malformed, "a producer needs a name and a source of 1 to " +
                                      std::to_string(limits::name_bytes_max) + " bytes"};
  }
  if (options.batch_rows == 0 || options.batch_bytes == 0 ||
      options.batch_bytes + kFrameOverhead > options.endpoint.frame_bytes_max) {
    return Error{Errc::Malformed,
                 "batch_rows and batch_bytes must be positive, and a batch must fit in a frame"};
  }
  auto parts = std::make_unique<Parts>(options);
  ACCRETE_DO(parts->reconnect());
  return std::unique_ptr<Producer>(new Producer(std::move(parts)));
}

std::uint64_t Producer::durable_position() const {
  return parts_->durable;
}

Status Producer::send(std::uint64_t position, std::span<const std::string_view> records) {
  Parts& p = *parts_;
  if (p.closed) return Error{Errc::Unavailable, "the producer is closed"};
  if (position <= p.last_position) {
    return Error{Errc::Malformed, "position " + std::to_string(position) + " after position " +
                                      std::to_string(p.last_position) +
                                      "; the positions of a source must rise"};
  }
  for (const std::string_view record : records) {
    if (record.size() + kFrameOverhead > p.options.endpoint.frame_bytes_max) {
      return Error{Errc::Exhausted,
                   "a record of " + std::to_string(record.size()) + " bytes does not fit a frame"};
    }
  }
  p.last_position = position;
  if (position <= p.durable) {  // resumed from before: the daemon has it
    p.queue.add_layouts(records);
    return Ok{};
  }
  p.queue.add(position, records);
  return p.send_all(false);
}

Status Producer::push() {
  return parts_->send_all(true);
}

Status Producer::advance() {
  Parts& p = *parts_;
  if (p.closed) return Error{Errc::Unavailable, "the producer is closed"};
  if (p.broken || !p.in_flight.empty()) ACCRETE_DO(p.await_progress(milliseconds(0)));
  return p.in_flight.empty() ? p.send_all(true) : Ok{};
}

bool Producer::idle() const {
  return parts_->queue.empty();
}

Status Producer::flush() {
  Parts& p = *parts_;
  ACCRETE_DO(p.send_all(true));
  while (!p.queue.empty()) {
    ACCRETE_DO(p.await_progress());
    ACCRETE_DO(p.send_all(true));
  }
  return Ok{};
}

Status Producer::close() {
  Parts& p = *parts_;
  ACCRETE_DO(flush());
  wire::ToIngest bye;
  bye.mutable_bye();
  ACCRETE_DO(p.socket->set_linger(kByeLinger));
  // Courtesy only: everything is durable, and an unsaid BYE costs the daemon a session.
  [[maybe_unused]] const Status said = p.socket->send(bye.SerializeAsString());
  p.socket.reset();
  p.closed = true;
  return Ok{};
}

const Producer::Counters& Producer::counters() const {
  return parts_->counters;
}
std::vector<std::string> Producer::take_faults() {
  return std::exchange(parts_->faults, {});
}

}  // namespace accrete::stream
