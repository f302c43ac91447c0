// The ingest protocol: sessions, acknowledgements and faults. Transactions:
// ingest_transactions.cpp.
#include "stream/ingest_sessions.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <utility>

#include "proto/limits.h"

namespace accrete::stream {
namespace {

constexpr std::uint32_t kProtocol = 1;
constexpr const char* kDaemon = "accreted 0.1.0";
// A producer with nothing to say may be silent for long; only when room is needed is one forgotten,
// and it recovers by itself: its next batch is answered with a GAP.
constexpr std::chrono::minutes kIdle{5};

/// `what`, and how a producer gets out of it.
std::string say_hello(std::string_view what) {
  std::string out(what);
  out += "; say HELLO again and resume after the WELCOME's position";
  return out;
}

wire::Fault::Code wire_code(Errc code) {
  switch (code) {
    case Errc::Malformed:
      return wire::Fault::MALFORMED;
    case Errc::Gap:
      return wire::Fault::GAP;
    case Errc::Duplicate:
      return wire::Fault::DUPLICATE;
    case Errc::NotFound:
      return wire::Fault::NOT_FOUND;
    case Errc::Unavailable:
      return wire::Fault::UNAVAILABLE;
    case Errc::Exhausted:
      return wire::Fault::EXHAUSTED;
    case Errc::Corruption:
      return wire::Fault::CORRUPTION;
  }
  return wire::Fault::MALFORMED;
}

wire::Fault make_fault(Errc code, std::string detail) {
  wire::Fault fault;
  fault.set_code(wire_code(code));
  fault.set_detail(std::move(detail));
  return fault;
}

Error malformed(std::string detail) {
  return {Errc::Malformed, std::move(detail)};
}

}  // namespace

IngestSessions::IngestSessions(const IngestOptions& options, const Schema& schema, Layouts layouts,
                               CommitSink& sink)
    : options_(options), sink_(sink), check_(schema, std::move(layouts)) {}

void IngestSessions::on_frame(std::string_view peer, std::string_view frame, Instant when) {
  ++counters_.frames;
  ++group_frames_;
  counters_.bytes += frame.size();
  group_frame_bytes_ += frame.size();
  if (frame.size() > options_.endpoint.frame_bytes_max) {
    fault(peer, make_fault(Errc::Exhausted,
                           "a frame of " + std::to_string(frame.size()) + " bytes; at most " +
                               std::to_string(options_.endpoint.frame_bytes_max) +
                               " are taken, cut the transaction into PENDING parts"));
    return;
  }
  if (BatchView::recognises(frame)) {
    on_batch(peer, frame, when);
    return;
  }
  wire::ToIngest message;
  const bool parsed = message.ParseFromArray(frame.data(), static_cast<int>(frame.size()));
  if (!parsed || message.body_case() == wire::ToIngest::BODY_NOT_SET) {
    fault(peer, make_fault(Errc::Malformed, "not a ToIngest message; see proto/stream.proto"));
    return;
  }
  switch (message.body_case()) {
    case wire::ToIngest::kHello:
      on_hello(peer, message.hello(), when);
      break;
    case wire::ToIngest::kBatch:
      // A legal but unusual encoding: bring it into the usual one.
      on_batch(peer, group_.keep(message.SerializeAsString()), when);
      break;
    case wire::ToIngest::kBye:
      if (const auto found = sessions_.find(peer); found != sessions_.end()) forget(found);
      break;
    default: {
      if (const auto found = sessions_.find(peer); found != sessions_.end())
        found->second.heard = when;
      wire::FromIngest pong;
      pong.mutable_pong();
      reply(peer, pong);
    }
  }
}

void IngestSessions::on_garbage(std::string_view peer, std::size_t frames) {
  ++counters_.frames;
  ++group_frames_;
  fault(peer, make_fault(Errc::Malformed, "a message of " + std::to_string(frames) +
                                              " frames; send one ToIngest message a frame"));
}

bool IngestSessions::group_full() const {
  return group_.rows() >= options_.group_rows_max ||
         group_frame_bytes_ >= options_.group_bytes_max || group_frames_ >= options_.group_rows_max;
}

Status IngestSessions::check_hello(std::string_view peer, const wire::Hello& hello, Instant when) {
  if (hello.protocol() != kProtocol) {
    return malformed("protocol " + std::to_string(hello.protocol()) + " is not spoken here; use " +
                     std::to_string(kProtocol));
  }
  const auto good_name = [](const std::string& name) {
    return !name.empty() && name.size() <= limits::name_bytes_max;
  };
  const std::string length = " must have 1 to " + std::to_string(limits::name_bytes_max) + " bytes";
  if (!good_name(hello.producer())) return malformed("the producer's name" + length);
  if (hello.sources().empty()) return malformed("HELLO names no source");
  std::set<std::string_view> names;
  std::size_t fresh = 0;
  for (const std::string& name : hello.sources()) {
    if (!good_name(name)) return malformed("a source's name" + length);
    if (!names.insert(name).second) return malformed("HELLO names source \"" + name + "\" twice");
    if (!sources_.contains(name)) ++fresh;
  }
  // Names of a group that is being collected are still referred to.
  if (sources_.size() + fresh > options_.sources_max && group_.empty()) {
    std::erase_if(sources_, [&](const auto& entry) {
      return entry.second.sessions == 0 && !names.contains(entry.first);
    });
  }
  fresh = static_cast<std::size_t>(std::count_if(
      names.begin(), names.end(), [&](std::string_view name) { return !sources_.contains(name); }));
  if (sources_.size() + fresh > options_.sources_max) {
    return Error{Errc::Exhausted, "more than " + std::to_string(options_.sources_max) +
                                      " sources; raise sources_max or close other producers"};
  }
  if (sessions_.contains(peer) || sessions_.size() < options_.producers_max) return Ok{};
  const auto idle = std::min_element(
      sessions_.begin(), sessions_.end(),
      [](const auto& a, const auto& b) { return a.second.heard < b.second.heard; });
  if (idle == sessions_.end() || when - idle->second.heard < kIdle) {
    return Error{Errc::Exhausted, "more than " + std::to_string(options_.producers_max) +
                                      " producers; raise [limits] producers_max or close others"};
  }
  forget(idle);
  return Ok{};
}

IngestSessions::Source& IngestSessions::source_of(const std::string& name) {
  const auto [entry, fresh] = sources_.try_emplace(name);
  Source& source = entry->second;
  if (fresh) source.name = name;
  // Asked every time: the source may also be fed from elsewhere.
  source.durable = std::max(source.durable, sink_.position(name));
  source.position = std::max(source.position, source.durable);
  return source;
}

void IngestSessions::on_hello(std::string_view peer, const wire::Hello& hello, Instant when) {
  if (const Status status = check_hello(peer, hello, when); !status) {
    fault(peer, make_fault(status.error().code, status.error().detail));
    return;
  }
  if (const auto old = sessions_.find(peer); old != sessions_.end()) forget(old);
  Session& session = sessions_[std::string(peer)];
  session.peer = peer;
  session.producer = hello.producer();
  session.heard = when;
  counters_.sessions = sessions_.size();
  wire::FromIngest message;
  wire::Welcome& welcome = *message.mutable_welcome();
  welcome.set_protocol(kProtocol);
  welcome.set_credit_bytes(options_.credit_bytes);
  welcome.set_daemon(kDaemon);
  welcome.set_session(next_session_++);
  for (const std::string& name : hello.sources()) {
    Source& source = source_of(name);
    ++source.sessions;
    session.sources.emplace_back().source = &source;
    wire::SourcePosition& position = *welcome.add_sources();
    position.set_source(name);
    position.set_position(source.durable);
  }
  reply(peer, message);
}

void IngestSessions::on_batch(std::string_view peer, std::string_view frame, Instant when) {
  const auto found = sessions_.find(peer);
  if (found == sessions_.end()) {
    fault(peer, make_fault(Errc::Gap, say_hello("a batch before HELLO")));
    return;
  }
  Session& session = found->second;
  session.heard = when;
  Status status = batch_.decode(frame);
  if (session.stopped) {
    session.stopped->set_batch(status ? batch_.number : 0);
    fault(peer, *session.stopped);
    return;
  }
  if (status && batch_.number != session.last_batch + 1) {
    stop(session, Errc::Gap,
         say_hello("expected batch " + std::to_string(session.last_batch + 1) + ", got " +
                   std::to_string(batch_.number)),
         batch_.source, batch_.number);
    return;
  }
  if (status) status = check_batch(batch_);
  const auto source =
      std::find_if(session.sources.begin(), session.sources.end(),
                   [&](const PeerSource& s) { return s.source->name == batch_.source; });
  if (status && source == session.sources.end())
    status = malformed("the batch's source was not named in HELLO");
  if (!status) {
    wire::Fault broken = make_fault(status.error().code, status.error().detail);
    broken.set_batch(batch_.number);
    fault(peer, broken);
    return;
  }
  session.last_batch = batch_.number;
  touch(session, *source);
  for (const PartView& part : batch_.parts) {
    on_part(session, *source, part);
    if (open_bytes_ > options_.open_bytes_max) reclaim(session, when);
    if (open_bytes_ > options_.open_bytes_max) {
      stop(session, Errc::Exhausted,
           say_hello("the open transactions of all producers exceed " +
                     std::to_string(options_.open_bytes_max) +
                     " bytes; wait, or commit smaller transactions, or raise open_bytes_max"),
           source->source->name, batch_.number);
      return;
    }
  }
}

Status IngestSessions::check_batch(const BatchView& batch) const {
  const std::string where = "batch " + std::to_string(batch.number) + ": ";
  for (const PartView& part : batch.parts) {
    if (part.kind == PartKind::Each &&
        (part.records.empty() || part.position < part.records.size())) {
      return malformed(where +
                       "an EACH part needs records and a position that is not below their "
                       "number");
    }
    if (part.kind == PartKind::Commit && part.position == 0)
      return malformed(where + "a COMMIT part without a position; positions begin at 1");
  }
  return Ok{};
}

void IngestSessions::touch(Session& session, PeerSource& source) {
  source.due = true;
  if (!std::exchange(session.due, true)) due_.push_back(&session);
}

Status IngestSessions::commit() {
  group_frames_ = 0;
  group_frame_bytes_ = 0;
  Status status = Ok{};
  if (group_.empty()) {
    group_.clear();
  } else {
    const std::size_t rows = group_.rows();
    const std::size_t transactions = group_.transactions();
    const std::size_t rejected = group_.rejected();
    status = group_.commit(sink_);
    if (status) {
      ++counters_.commits;
      counters_.rows += rows;
      counters_.transactions += transactions;
      counters_.rejected += rejected;
      for (auto& [name, source] : sources_)
        source.durable = source.position;
    }
  }
  if (!status) {
    fail_group(status.error());
  } else {
    for (Session* const session : due_)
      acknowledge(*session);
  }
  due_.clear();
  answer_offers(status);
  const bool retry =
      status || status.error().code == Errc::Unavailable || status.error().code == Errc::Exhausted;
  return retry ? Status(Ok{}) : status;
}

void IngestSessions::acknowledge(Session& session) {
  session.due = false;
  for (PeerSource& source : session.sources) {
    if (!std::exchange(source.due, false)) continue;
    wire::FromIngest message;
    wire::Ack& ack = *message.mutable_ack();
    ack.set_source(source.source->name);
    ack.set_position(source.source->durable);
    ack.set_batch(session.last_batch);
    ack.set_duplicates(source.source->duplicates);
    reply(session.peer, message);
  }
}

void IngestSessions::fail_group(const Error& error) {
  for (auto& [name, source] : sources_)
    source.position = source.durable;
  for (Session* const session : due_) {
    session->due = false;
    for (PeerSource& source : session->sources)
      source.due = false;
    if (session->stopped) continue;
    stop(*session, error.code, say_hello(error.detail + "; nothing was taken"), {},
         session->last_batch);
  }
}

void IngestSessions::stop(Session& session, Errc code, std::string detail, std::string_view source,
                          std::uint64_t batch) {
  drop_open(session);
  session.stopped = make_fault(code, std::move(detail));
  const auto named = std::any_of(session.sources.begin(), session.sources.end(),
                                 [&](const PeerSource& s) { return s.source->name == source; });
  if (named) session.stopped->set_source(std::string(source));
  session.stopped->set_batch(batch);
  fault(session.peer, *session.stopped);
}

void IngestSessions::forget(Sessions::iterator session) {
  drop_open(session->second);
  for (const PeerSource& source : session->second.sources)
    --source.source->sessions;
  std::erase(due_, &session->second);
  sessions_.erase(session);
  counters_.sessions = sessions_.size();
}

void IngestSessions::reclaim(const Session& but, Instant when) {
  for (auto& [peer, session] : sessions_) {
    if (&session == &but || session.stopped || when - session.heard < kIdle) continue;
    const bool holds = std::any_of(session.sources.begin(), session.sources.end(),
                                   [](const PeerSource& s) { return !s.open.empty(); });
    if (!holds) continue;
    stop(session, Errc::Gap, say_hello("open transactions were dropped after a long silence"), {},
         session.last_batch);
  }
}

std::vector<IngestReply> IngestSessions::take_replies() {
  return std::exchange(replies_, {});
}

void IngestSessions::reply(std::string_view peer, const wire::FromIngest& message) {
  replies_.push_back({std::string(peer), message.SerializeAsString()});
}

void IngestSessions::fault(std::string_view peer, const wire::Fault& fault) {
  ++counters_.faults;
  wire::FromIngest message;
  *message.mutable_fault() = fault;
  reply(peer, message);
}

}  // namespace accrete::stream
