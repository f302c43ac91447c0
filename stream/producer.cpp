// A producer that never loses or repeats a row: keeps every transaction until it is durable,
// resends what is not after a reconnect, and lets the daemon's positions decide what is a
// duplicate.
#include <algorithm>
#include <array>
#include <chrono>
#include <deque>
#include <optional>
#include <random>
#include <set>
#include <utility>

#include <stream.pb.h>

#include "proto/limits.h"
#include "stream/batch_frame.h"
#include "stream/client.h"
#include "stream/socket.h"

namespace accrete::stream {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kBackOffMin{50};
constexpr milliseconds kBackOffMax{5'000};
constexpr milliseconds kByeLinger{200};
constexpr std::size_t kFrameOverhead = 4096;  // tags, lengths, names and a run of small parts
constexpr char kLayoutTag = 0x0A;             // wire.Record: field 1, length-delimited

/// A transaction that is not durable yet.
struct Kept {
  std::uint64_t position = 0;
  std::string bytes;
  std::vector<std::size_t> ends;

  std::size_t size() const { return ends.size(); }
  std::string_view record(std::size_t i) const {
    const std::size_t begin = i == 0 ? 0 : ends[i - 1];
    return std::string_view(bytes).substr(begin, ends[i] - begin);
  }
};

/// A name for the daemon's ROUTER that stays ours over reconnects and is nobody else's.
std::string make_identity(const std::string& name) {
  std::random_device device;
  std::string out = name.substr(0, 64) + "/";
  for (int i = 0; i < 4; ++i)
    out += std::to_string(device());
  return out;
}

std::string serialized(const wire::ToIngest& message) {
  return message.SerializeAsString();
}

}  // namespace

struct Producer::Parts {
  explicit Parts(const ProducerOptions& given)
      : options(given), identity(make_identity(given.name)) {}

  Status reconnect();
  Status say_hello();
  Status welcome(const wire::Welcome& message);
  Status in_trouble(const Error& cause);
  void back_off();

  Status pump(milliseconds timeout);
  Status on_reply(const wire::FromIngest& message);
  void on_ack(const wire::Ack& ack);
  Status on_fault(const wire::Fault& fault);
  Status await_progress();

  std::size_t take_batch(std::vector<PartView>& parts);
  std::size_t take_each(std::vector<PartView>& parts, std::size_t rows_left,
                        std::size_t bytes_left);
  std::size_t take_piece(std::vector<PartView>& parts, std::size_t rows_left,
                         std::size_t bytes_left);
  Status send_batch();
  Status send_all(bool partial);

  std::size_t in_flight_bytes() const { return in_flight_bytes_; }

  ProducerOptions options;
  std::string identity;
  Context context;
  std::optional<Socket> socket;
  std::vector<Frame> frames;

  std::uint64_t durable = 0;
  std::uint64_t last_position = 0;  // of the newest transaction taken from the caller
  std::uint64_t credit_bytes = 0;
  std::uint64_t next_batch = 1;
  struct InFlight {
    std::uint64_t number = 0;
    std::size_t bytes = 0;
  };
  std::deque<InFlight> in_flight;
  std::size_t in_flight_bytes_ = 0;

  std::deque<Kept> kept;        // a deque: parts of a batch view its elements
  std::size_t next_kept = 0;    // first transaction not wholly sent in this session
  std::size_t next_record = 0;  // its first record not sent
  std::size_t unsent_rows = 0;
  std::size_t unsent_bytes = 0;
  std::uint64_t sent_position = 0;  // newest transaction ever sent whole, to count resends

  std::deque<std::string> layouts;  // every layout, in order of first use
  std::set<std::string, std::less<>> layout_set;
  std::size_t layouts_due = 0;  // so many go before the next transaction of this session

  std::vector<std::string_view> records;  // of the batch being built
  std::string frame;

  bool broken = false;  // the session must begin anew
  std::string trouble;  // the latest reason
  std::optional<Instant> trouble_since;
  Instant heard = now();
  milliseconds pause{0};

  Counters counters;
  std::vector<std::string> faults;
};

/// Connect anew until WELCOME; afterwards everything kept is unsent again.
Status Producer::Parts::reconnect() {
  while (true) {
    broken = false;
    if (pause.count() > 0) back_off();
    socket.reset();
    ACCRETE_TRY(Socket fresh, Socket::create(context.get(), SocketKind::Dealer, options.endpoint));
    ACCRETE_DO(fresh.set_identity(identity));
    ACCRETE_DO(fresh.connect());
    socket.emplace(std::move(fresh));
    const Status greeted = say_hello();
    if (greeted) return Ok{};
    if (greeted.error().code == Errc::Malformed) return greeted;
    ACCRETE_DO(in_trouble(greeted.error()));
  }
}

/// Remember that something is wrong. Errors: Unavailable or Exhausted when it has been so too long.
Status Producer::Parts::in_trouble(const Error& cause) {
  trouble = cause.detail;
  if (!trouble_since) trouble_since = now();
  pause = std::min(std::max(kBackOffMin, 2 * pause), kBackOffMax);
  const auto since = std::chrono::duration_cast<milliseconds>(now() - *trouble_since);
  if (since < options.give_up_after) return Ok{};
  const Errc code = cause.code == Errc::Exhausted ? Errc::Exhausted : Errc::Unavailable;
  return Error{code, options.endpoint.address + ": gave up after " + std::to_string(since.count()) +
                         " ms: " + trouble};
}

void Producer::Parts::back_off() {
  // Nobody speaks on a socket that has not said HELLO: the wait is the pause.
  Waiting nothing{socket ? &*socket : nullptr};
  const Instant until = now() + pause;
  while (socket && now() < until) {
    const auto left = std::chrono::duration_cast<milliseconds>(until - now());
    if (const auto ready = wait({&nothing, 1}, left + milliseconds(1)); !ready || !ready.value())
      break;
    // Answers to what we sent before: of no use any more.
    if (const auto received = socket->receive(frames); !received) break;
  }
}

Status Producer::Parts::say_hello() {
  wire::ToIngest hello;
  hello.mutable_hello()->set_protocol(1);
  hello.mutable_hello()->set_producer(options.name);
  hello.mutable_hello()->add_sources(options.source);
  ACCRETE_DO(socket->send(serialized(hello)));
  const Instant until = now() + options.reply_timeout;
  while (true) {
    const auto left = std::chrono::duration_cast<milliseconds>(until - now());
    Waiting item{&*socket};
    ACCRETE_TRY(const bool ready, wait({&item, 1}, std::max(left, milliseconds(0))));
    if (ready) {
      ACCRETE_TRY(const bool received, socket->receive(frames));
      wire::FromIngest message;
      const std::string_view bytes = received ? frames[0].view() : std::string_view{};
      if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) continue;
      if (message.has_welcome()) return welcome(message.welcome());
      if (message.has_fault() && message.fault().code() == wire::Fault::MALFORMED)
        return Error{Errc::Malformed, message.fault().detail()};
      if (message.has_fault())
        return Error{
            message.fault().code() == wire::Fault::EXHAUSTED ? Errc::Exhausted : Errc::Unavailable,
            message.fault().detail()};
    }
    if (left.count() <= 0)
      return Error{Errc::Unavailable, "no WELCOME; is the daemon running, and is the key right?"};
  }
}

Status Producer::Parts::welcome(const wire::Welcome& message) {
  credit_bytes = message.credit_bytes();
  for (const wire::SourcePosition& source : message.sources()) {
    if (source.source() == options.source) durable = std::max(durable, source.position());
  }
  while (!kept.empty() && kept.front().position <= durable) {
    kept.pop_front();
    ++counters.acknowledged;
  }
  in_flight.clear();
  in_flight_bytes_ = 0;
  next_batch = 1;
  next_kept = next_record = 0;
  unsent_rows = unsent_bytes = 0;
  for (const Kept& transaction : kept) {
    unsent_rows += transaction.size();
    unsent_bytes += transaction.bytes.size();
  }
  layouts_due = layouts.size();
  heard = now();
  if (kept.empty()) {
    trouble_since.reset();
    pause = milliseconds(0);
  }
  return Ok{};
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
    ACCRETE_DO(on_reply(message));
  }
}

Status Producer::Parts::on_reply(const wire::FromIngest& message) {
  if (message.has_ack()) on_ack(message.ack());
  if (message.has_fault()) return on_fault(message.fault());
  return Ok{};
}

void Producer::Parts::on_ack(const wire::Ack& ack) {
  while (!in_flight.empty() && in_flight.front().number <= ack.batch()) {
    in_flight_bytes_ -= in_flight.front().bytes;
    in_flight.pop_front();
  }
  if (ack.source() != options.source || ack.position() <= durable) return;
  durable = ack.position();
  trouble_since.reset();
  pause = milliseconds(0);
  // Another producer of our source may be ahead: only what we sent ourselves leaves here, the rest
  // is dropped at the daemon.
  while (next_kept > 0 && kept.front().position <= durable) {
    kept.pop_front();
    --next_kept;
    ++counters.acknowledged;
  }
}

Status Producer::Parts::on_fault(const wire::Fault& fault) {
  if (fault.position() != 0) {
    ++counters.rejected;
    faults.push_back(fault.detail());
    return Ok{};
  }
  if (fault.code() == wire::Fault::MALFORMED) return Error{Errc::Malformed, fault.detail()};
  if (fault.code() == wire::Fault::DUPLICATE) return Ok{};
  // Answers to the batches after the one at fault repeat it.
  if (std::exchange(broken, true)) return Ok{};
  return in_trouble({fault.code() == wire::Fault::EXHAUSTED ? Errc::Exhausted : Errc::Unavailable,
                     fault.detail()});
}

/// Something is in flight: wait for an answer, begin a new session when none comes.
Status Producer::Parts::await_progress() {
  const auto silent = std::chrono::duration_cast<milliseconds>(now() - heard);
  ACCRETE_DO(pump(std::max(options.reply_timeout - silent, milliseconds(1))));
  if (!broken && now() - heard >= options.reply_timeout) {
    broken = true;
    ACCRETE_DO(
        in_trouble({Errc::Unavailable,
                    "no answer for " + std::to_string(options.reply_timeout.count()) + " ms"}));
  }
  if (!broken) return Ok{};
  ++counters.reconnects;
  return reconnect();
}

/// Single-record transactions with consecutive positions, as one EACH part.
std::size_t Producer::Parts::take_each(std::vector<PartView>& parts, std::size_t rows_left,
                                       std::size_t bytes_left) {
  const std::size_t begin = records.size();
  std::size_t bytes = 0;
  std::uint64_t position = 0;
  while (next_kept < kept.size() && records.size() - begin < rows_left) {
    const Kept& transaction = kept[next_kept];
    if (transaction.size() != 1 || next_record != 0 ||
        bytes + transaction.bytes.size() > bytes_left)
      break;
    if (position != 0 && transaction.position != position + 1) break;
    position = transaction.position;
    bytes += transaction.bytes.size();
    records.push_back(transaction.record(0));
    ++next_kept;
  }
  if (records.size() == begin) return 0;
  PartView part;
  part.kind = PartKind::Each;
  part.position = position;
  part.records = {records.data() + begin, records.size() - begin};
  parts.push_back(part);
  return bytes;
}

/// The next piece of the next transaction: COMMIT if it is the last, else PENDING.
std::size_t Producer::Parts::take_piece(std::vector<PartView>& parts, std::size_t rows_left,
                                        std::size_t bytes_left) {
  const std::size_t begin = records.size();
  const Kept& transaction = kept[next_kept];
  std::size_t bytes = 0;
  for (; layouts_due > 0; --layouts_due)
    records.emplace_back(layouts[layouts.size() - layouts_due]);
  for (std::size_t rows = 0; rows < rows_left && next_record < transaction.size(); ++rows) {
    const std::string_view record = transaction.record(next_record);
    // One record always goes, however large: the frame limit was checked when it was taken.
    if (bytes + record.size() > bytes_left && (bytes > 0 || !parts.empty())) break;
    bytes += record.size();
    records.push_back(record);
    ++next_record;
  }
  PartView part;
  part.transaction = transaction.position;
  part.records = {records.data() + begin, records.size() - begin};
  if (next_record == transaction.size()) {
    part.kind = PartKind::Commit;
    part.position = transaction.position;
    ++next_kept;
    next_record = 0;
  }
  parts.push_back(part);
  return bytes;
}

/// Fill `parts` with up to one batch of what is unsent; returns its rows.
std::size_t Producer::Parts::take_batch(std::vector<PartView>& parts) {
  records.clear();
  // Spans into `records` must hold: room for the rows, and for the layouts that may go before them.
  records.reserve(options.batch_rows + layouts.size());
  std::size_t rows = 0;
  std::size_t bytes = 0;
  while (next_kept < kept.size() && rows < options.batch_rows && bytes < options.batch_bytes) {
    const std::size_t before = records.size();
    const std::size_t layouts_before = layouts_due;
    const std::size_t parts_before = parts.size();
    const std::size_t rows_left = options.batch_rows - rows;
    const std::size_t bytes_left = options.batch_bytes - bytes;
    if (layouts_due == 0) bytes += take_each(parts, rows_left, bytes_left);
    if (parts.size() == parts_before) bytes += take_piece(parts, rows_left, bytes_left);
    const std::size_t taken = records.size() - before - (layouts_before - layouts_due);
    rows += taken;
    const PartView& last = parts.back();
    if (last.kind != PartKind::Pending) {
      if (last.position <= sent_position)
        counters.resent += last.kind == PartKind::Each ? taken : 1;
      sent_position = std::max(sent_position, last.position);
    } else if (taken == 0) {
      parts.pop_back();  // the next record does not fit any more
      break;
    }
  }
  unsent_rows -= rows;
  unsent_bytes -= bytes;
  return rows;
}

Status Producer::Parts::send_batch() {
  std::vector<PartView> parts;
  const std::size_t rows = take_batch(parts);
  frame.clear();
  encode_batch(options.source, next_batch, parts, frame);
  while (!in_flight.empty() && in_flight_bytes_ + frame.size() > credit_bytes) {
    const std::uint64_t before = counters.reconnects;
    ACCRETE_DO(await_progress());
    if (counters.reconnects != before) return Ok{};  // unsent again, under new numbers
  }
  while (true) {
    const Status sent = socket->send(frame);
    if (sent) break;
    if (sent.error().code != Errc::Exhausted) return sent;
    const std::uint64_t before = counters.reconnects;
    ACCRETE_DO(await_progress());
    if (counters.reconnects != before) return Ok{};
  }
  if (in_flight.empty()) heard = now();  // the clock of the answer starts now
  in_flight.push_back({next_batch++, frame.size()});
  in_flight_bytes_ += frame.size();
  counters.rows += rows;
  ++counters.batches;
  return Ok{};
}

/// Send full batches, and with `partial` the rest.
Status Producer::Parts::send_all(bool partial) {
  while (next_kept < kept.size()) {
    if (!partial && unsent_rows < options.batch_rows && unsent_bytes < options.batch_bytes) break;
    ACCRETE_DO(pump(milliseconds(0)));
    if (broken) {
      ++counters.reconnects;
      ACCRETE_DO(reconnect());
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
  if (!named(options.name) || !named(options.source))
    return Error{Errc::Malformed, "a producer needs a name and a source of 1 to " +
                                      std::to_string(limits::name_bytes_max) + " bytes"};
  if (options.batch_rows == 0 || options.batch_bytes == 0 ||
      options.batch_bytes + kFrameOverhead > options.endpoint.frame_bytes_max)
    return Error{Errc::Malformed,
                 "batch_rows and batch_bytes must be positive, and a batch must "
                 "fit in a frame"};
  auto parts = std::make_unique<Parts>(options);
  ACCRETE_DO(parts->reconnect());
  return std::unique_ptr<Producer>(new Producer(std::move(parts)));
}

std::uint64_t Producer::durable_position() const {
  return parts_->durable;
}

Status Producer::send(std::uint64_t position, std::span<const std::string_view> records) {
  Parts& p = *parts_;
  if (position <= p.last_position)
    return Error{Errc::Malformed, "position " + std::to_string(position) + " after position " +
                                      std::to_string(p.last_position) +
                                      "; the positions of a source must rise"};
  for (const std::string_view record : records) {
    if (record.size() + kFrameOverhead > p.options.endpoint.frame_bytes_max)
      return Error{Errc::Exhausted, "a record of " + std::to_string(record.size()) +
                                        " bytes does not fit in a frame"};
  }
  p.last_position = position;
  Kept transaction;
  transaction.position = position;
  for (const std::string_view record : records) {
    if (record.starts_with(kLayoutTag)) {
      if (p.layout_set.contains(record)) continue;  // said in this session, or due
      p.layout_set.emplace(record);
      p.layouts.emplace_back(record);
    }
    transaction.bytes.append(record);
    transaction.ends.push_back(transaction.bytes.size());
  }
  if (position <= p.durable) return Ok{};  // resumed from before: the daemon has it
  p.unsent_rows += transaction.size();
  p.unsent_bytes += transaction.bytes.size();
  p.kept.push_back(std::move(transaction));
  return p.send_all(false);
}

Status Producer::push() {
  return parts_->send_all(true);
}

Status Producer::flush() {
  Parts& p = *parts_;
  ACCRETE_DO(p.send_all(true));
  while (!p.kept.empty()) {
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
  [[maybe_unused]] const Status said = p.socket->send(serialized(bye));
  p.socket.reset();
  return Ok{};
}

const Producer::Counters& Producer::counters() const {
  return parts_->counters;
}
std::vector<std::string> Producer::take_faults() {
  return std::exchange(parts_->faults, {});
}

}  // namespace accrete::stream
