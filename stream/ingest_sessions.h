// The ingest protocol without a socket: frames of peers in, replies out, whole checked transactions
// into the sink. Everything the protocol promises is decided here, so it is tested and fuzzed here.
//
// A peer's session goes HELLO -> WELCOME -> batches 1, 2, 3, …; anything that breaks the order ends
// it with a Fault, and the next HELLO begins anew from what is durable. Acknowledgements carry two
// things: `batch`, up to which batches were received (their credit is free again), and `position`,
// up to which the source is durable (its transactions may be forgotten by the producer).
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <stream.pb.h>

#include "proto/result.h"
#include "stream/batch_frame.h"
#include "stream/ingest_group.h"
#include "stream/ingest_server.h"
#include "stream/offer_memory.h"
#include "stream/record_check.h"
#include "stream/socket.h"

namespace accrete::stream {

struct IngestReply {
  std::string peer;   ///< routing id
  std::string frame;  ///< serialized wire.FromIngest
};

class IngestSessions {
 public:
  /// `sink` must outlive the object. Layouts and schema as in IngestServer::open().
  IngestSessions(const IngestOptions& options, const Schema& schema, Layouts layouts,
                 CommitSink& sink);

  /// Handle one frame of a peer. Its bytes must live until the next commit() has returned. `when`
  /// only decides which peers are idle.
  void on_frame(std::string_view peer, std::string_view frame, Instant when);
  /// A whole request from within the process; answered at once if it is refused, else by the next
  /// commit().
  void on_offer(Offer offer);
  /// A message that is not one frame.
  void on_garbage(std::string_view peer, std::size_t frames);

  /// Has enough come for one group commit?
  bool group_full() const;

  /// Commit what has come since the last call and queue acknowledgements (or, when the sink could
  /// not take it, Faults: those producers must say HELLO again and resend).
  /// Errors: the sink's, unless Unavailable or Exhausted: these are the producers' to retry.
  Status commit();

  /// Replies queued since the last call.
  std::vector<IngestReply> take_replies();
  const IngestCounters& counters() const { return counters_; }

 private:
  struct Source {
    std::string name;
    std::uint64_t position = 0;  ///< last taken, durable or in this group
    std::uint64_t durable = 0;
    std::uint64_t duplicates = 0;
    std::size_t sessions = 0;  ///< that named it
  };
  struct Piece {
    std::size_t end = 0;  ///< in OpenTransaction::bytes
    CheckedRecord checked;
  };
  /// A transaction of which only pieces have come.
  struct OpenTransaction {
    std::string bytes;
    std::vector<Piece> pieces;
    std::size_t records = 0;  ///< seen, also those no longer kept
    std::size_t charge = 0;   ///< our share of open_bytes_max
    std::optional<Error> bad;
    std::string bad_record;
  };
  struct PeerSource {
    Source* source = nullptr;
    std::map<std::uint64_t, OpenTransaction> open;
    bool due = false;  ///< an acknowledgement, at the next commit
  };
  struct Session {
    std::string peer;
    std::string producer;
    std::uint64_t last_batch = 0;
    Instant heard;
    std::vector<PeerSource> sources;
    std::optional<wire::Fault> stopped;  ///< the answer to every batch until the next HELLO
    bool due = false;
  };
  struct PendingOffer {
    Offer offer;
    OfferOutcome outcome;
  };
  using Sessions = std::map<std::string, Session, std::less<>>;

  void on_hello(std::string_view peer, const wire::Hello& hello, Instant when);
  Status check_hello(std::string_view peer, const wire::Hello& hello, Instant when);
  Source& source_of(const std::string& name);
  void on_batch(std::string_view peer, std::string_view frame, Instant when);
  Status check_batch(const BatchView& batch) const;
  void on_part(Session& session, PeerSource& source, const PartView& part);
  void extend(PeerSource& source, const PartView& part);
  void complete(Session& session, PeerSource& source, const PartView& part);
  Status collect(OpenTransaction* open, std::span<const std::string_view> records,
                 std::string_view& at_fault);
  void each(Session& session, PeerSource& source, const PartView& part);
  void drop_duplicate(PeerSource& source, std::span<const std::string_view> records);
  void set_aside(Session& session, Source& source, std::uint64_t position, const Error& error,
                 std::string_view record);

  Result<OfferMemory*> memory_of(const std::string& source);
  Status take_offer(PendingOffer& pending);
  Status collect_offer(PendingOffer& pending, const OfferMemory& memory,
                       std::vector<std::uint64_t>& fresh);
  void answer_offers(const Status& committed);
  static void answer(PendingOffer& pending, const Status& status);

  void begin_open(OpenTransaction& open);
  void mark_bad(OpenTransaction& open, Error error, std::string_view record);
  void erase_open(PeerSource& source, std::uint64_t transaction);
  void drop_open(Session& session);
  void reclaim(const Session& but, Instant when);
  void forget(Sessions::iterator session);
  void stop(Session& session, Errc code, std::string detail, std::string_view source,
            std::uint64_t batch);
  void touch(Session& session, PeerSource& source);
  void acknowledge(Session& session);
  void fail_group(const Error& error);

  void reply(std::string_view peer, const wire::FromIngest& message);
  void fault(std::string_view peer, const wire::Fault& fault);

  IngestOptions options_;
  CommitSink& sink_;
  RecordCheck check_;
  IngestGroup group_;
  Sessions sessions_;
  std::map<std::string, Source, std::less<>> sources_;
  std::vector<Session*> due_;  // sessions to acknowledge at the next commit
  std::vector<IngestReply> replies_;
  std::deque<PendingOffer> offers_;  // to answer at the next commit
  std::map<std::string, OfferMemory> memories_;
  IngestCounters counters_;
  BatchView batch_;
  std::size_t open_bytes_ = 0;
  std::size_t group_frames_ = 0;
  std::size_t group_frame_bytes_ = 0;
  std::uint64_t next_session_ = 1;
};

}  // namespace accrete::stream
