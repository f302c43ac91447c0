// The prediction log: every published prediction under its sequence number, the last one of every
// topic, and the positions of named subscribers. Written before it is published.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proto/ids.h"
#include "proto/prediction.h"
#include "proto/result.h"
#include "store/database.h"

namespace accrete::store {

struct StoredPrediction {
  PredictionHeader header;
  std::string topic;
  std::string payload;
};

struct Subscriber {
  std::string name;
  std::uint64_t epoch = 0;
  PredictionSeq seq;         ///< everything up to here was acknowledged
  std::int64_t seen_us = 0;  ///< wall clock of the last ACK, for the deadline only
};

/// One writer (the fold) for append and prune; any thread may read and acknowledge.
class PredictionLog {
 public:
  static Result<std::unique_ptr<PredictionLog>> open(Database& database);
  ~PredictionLog();

  /// Append predictions with consecutive numbers, also as the newest of their topics. Numbers that
  /// are stored already (a fold repeating itself after a crash) must carry the same bytes; they
  /// are compared, not rewritten (pruned ones are taken on trust). Not synced.
  /// Errors: Corruption if a repeated number differs (the promise I5 is broken: says which), or if
  ///         a number is missing before it.
  /// Cost:   about 2 us a prediction; `latest` gets one write a topic and call.
  Status append(std::span<const StoredPrediction> predictions);

  PredictionSeq end() const;     ///< newest stored number; 0 = none
  PredictionSeq oldest() const;  ///< oldest retained number; end()+1 when empty
  std::uint64_t bytes() const;   ///< retained bytes of headers, topics and payloads

  /// From `from` on (clipped to what is there), up to both bounds, filtered by topic prefix;
  /// `next` is the number to continue with: a page may be empty before the end when the filter
  /// passed over a lot, so ask on until next > end(). Errors: NotFound when `from` < oldest().
  struct Page {
    std::vector<StoredPrediction> predictions;
    PredictionSeq next;
  };
  Result<Page> read(PredictionSeq from, std::size_t max, std::size_t bytes_max,
                    std::string_view topic_prefix) const;

  /// The newest prediction of every topic with this prefix, in topic order, all as of one moment.
  /// Returns the newest number of that moment: replay continues at it + 1.
  Result<PredictionSeq> snapshot(std::string_view topic_prefix,
                                 const std::function<bool(const StoredPrediction&)>& visit) const;

  /// Keep at most `bytes_max` (0 = no bound) and, per record, what is younger than `oldest_as_of`;
  /// never prune past the smallest acknowledged position of a subscriber that is not expired
  /// (subscribers of another epoch than the newest prediction's hold nothing back).
  /// Subscribers last seen before `deadline_us` are dropped and returned by name.
  struct Pruned {
    std::uint64_t predictions = 0;
    std::vector<std::string> dropped_subscribers;
  };
  Result<Pruned> prune(std::uint64_t bytes_max, TimeUs oldest_as_of, std::int64_t deadline_us);

  /// Forget what memory knows and look again; call after State::reset(), which drops predictions.
  Status reset();

  Status acknowledge(const Subscriber& subscriber);
  Result<std::optional<Subscriber>> subscriber(std::string_view name) const;
  Result<std::vector<Subscriber>> subscribers() const;

 private:
  struct Parts;
  explicit PredictionLog(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace accrete::store
