// A whole request of rows from within the process (HTTP, the events socket): taken as one
// transaction or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "proto/result.h"

namespace accrete::stream {

/// One event of an offer: its records, and who it is.
struct OfferedEvent {
  std::size_t records_end = 0;  ///< in Offer::ends; it begins where the one before ends
  std::uint64_t identity = 0;   ///< two events of one identity are one event; 0 = it has none
};

struct OfferOutcome {
  std::uint64_t rows = 0;        ///< made durable by this offer
  std::uint64_t duplicates = 0;  ///< events that were durable before
  std::size_t event = 0;         ///< at fault, from 1; 0 = none
};

/// Shared by offers that must be taken in their order: where one is not for want of room or of a
/// disk, none behind it is. Threads: the ingest thread's once an offer that has it was sent.
struct OfferOrder {
  bool stopped = false;
};

struct Offer {
  std::string source;
  std::string bytes;                ///< serialized records
  std::vector<std::uint32_t> ends;  ///< end offset of each
  std::vector<OfferedEvent> events;
  std::shared_ptr<OfferOrder> order;  ///< null: the offer stands for itself
  /// Called once, on the ingest thread: all is durable; or why nothing was taken.
  /// Errors: Malformed (a record, with `event`), Exhausted, Unavailable (retry), Gap (one
  ///         before it in its order was not taken).
  std::function<void(const Status&, const OfferOutcome&)> answer;
};

}  // namespace accrete::stream
