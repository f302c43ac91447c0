// The daemon's side of ingest: frames in, whole validated transactions out, acknowledgements back.
// Owns its ROUTER socket and knows nothing of where transactions are kept: that is the sink's part.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proto/codec.h"
#include "proto/result.h"
#include "proto/schema.h"
#include "stream/endpoint.h"
#include "stream/mailbox.h"
#include "stream/offer.h"

namespace accrete::stream {

/// A complete source transaction: serialized records in order, each decoded and checked.
struct Transaction {
  std::string_view source;
  std::uint64_t position = 0;
  std::vector<std::string_view> records;  ///< views into frames that live until commit() returns
  std::string memory;  ///< kept at this position, for CommitSink::memories(); "" = nothing
  std::uint64_t forget_begin = 0;  ///< positions whose memories go, up to before `forget_end`
  std::uint64_t forget_end = 0;
};

/// What was kept of a transaction.
struct KeptMemory {
  std::uint64_t position = 0;
  std::string bytes;
};

/// A record that could not be accepted; its whole transaction is set aside with it.
struct Rejected {
  std::string_view source;
  std::uint64_t position = 0;
  std::string reason;
  std::string_view record;
};

/// Where transactions go. Called on the ingest thread.
class CommitSink {
 public:
  virtual ~CommitSink() = default;
  /// Last durable commit position (0: none).
  virtual std::uint64_t position(std::string_view source) = 0;
  /// Memories of its transactions, by position. Errors: Unavailable, Corruption.
  virtual Result<std::vector<KeptMemory>> memories(std::string_view source) = 0;
  /// Make transactions (and rejected ones, as dead letters) durable in one go, in this order, and
  /// move the sources' positions. On return everything is durable. Blocks for back-pressure.
  /// Errors: Unavailable, Exhausted: nothing was taken; the producers are told and must resend.
  virtual Status commit(std::span<const Transaction> transactions,
                        std::span<const Rejected> rejected) = 0;
};

struct IngestOptions {
  EndpointOptions endpoint;
  std::size_t credit_bytes = 8u << 20;             ///< per producer, unacknowledged
  std::size_t transaction_bytes_max = 256u << 20;  ///< one open transaction
  std::size_t open_bytes_max = 512u << 20;         ///< all open transactions together
  std::size_t group_rows_max = 512;                ///< rows of one group commit
  std::size_t group_bytes_max = 1u << 20;
  std::size_t producers_max = 1024;
  std::size_t sources_max = 4096;
  Mailbox<Offer>* offers = nullptr;  ///< requests of other threads of this process
};

struct IngestCounters {
  std::uint64_t frames = 0, rows = 0, bytes = 0, transactions = 0, duplicates = 0, rejected = 0,
                faults = 0, commits = 0, sessions = 0, offers = 0, offers_refused = 0;
};

class IngestServer {
 public:
  /// Binds. `schema` is copied: layouts are bound against the copy. Known layouts (of a log that
  /// exists already) come through `layouts`.
  static Result<std::unique_ptr<IngestServer>> open(void* zmq_context, const IngestOptions& options,
                                                    const Schema& schema, Layouts layouts,
                                                    CommitSink& sink);
  ~IngestServer();

  /// Wait up to `timeout` for a frame or an offer, then drain what is there up to one group,
  /// decode, check, commit through the sink, and answer. Bad input is answered to its sender and
  /// changes nothing else. Errors: only what ends the thread (context closed, sink failed for
  /// good).
  Status poll(std::chrono::milliseconds timeout);

  const IngestCounters& counters() const;
  std::string bound_address() const;  ///< with the real port for `tcp://127.0.0.1:*`

 private:
  struct Parts;
  explicit IngestServer(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace accrete::stream
