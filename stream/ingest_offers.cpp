// Offers among the frames: one transaction each, at the next position of its source.
#include <unordered_set>
#include <utility>

#include "proto/limits.h"
#include "stream/ingest_sessions.h"

namespace accrete::stream {
namespace {

// Sources whose events are in memory at once; the others are read again when they are due.
constexpr std::size_t kMemoriesMax = 16;

}  // namespace

void IngestSessions::on_offer(Offer given) {
  ++counters_.offers;
  ++group_frames_;
  counters_.bytes += given.bytes.size();
  group_frame_bytes_ += given.bytes.size();
  PendingOffer& pending = offers_.emplace_back();  // a deque: its bytes stay where they are
  pending.offer = std::move(given);
  if (const Status taken = take_offer(pending); !taken) {
    ++counters_.offers_refused;
    answer(pending, taken);
    offers_.pop_back();
  }
}

void IngestSessions::answer(PendingOffer& pending, const Status& status) {
  const bool retried = !status && status.error().code != Errc::Malformed;
  if (retried && pending.offer.order) pending.offer.order->stopped = true;
  pending.offer.answer(status, pending.outcome);
}

Result<OfferMemory*> IngestSessions::memory_of(const std::string& source) {
  if (const auto found = memories_.find(source); found != memories_.end()) return &found->second;
  // Only between groups is all that is remembered also in the store.
  if (memories_.size() >= kMemoriesMax && group_.empty()) memories_.clear();
  if (memories_.size() >= 2 * kMemoriesMax) {
    return Error{Errc::Unavailable, "too many sources send at once; try again"};
  }
  ACCRETE_TRY(const std::vector<KeptMemory> kept, sink_.memories(source));
  ACCRETE_TRY(OfferMemory memory, OfferMemory::open(kept));
  return &memories_.emplace(source, std::move(memory)).first->second;
}

Status IngestSessions::take_offer(PendingOffer& pending) {
  Offer& offer = pending.offer;
  if (offer.order && offer.order->stopped)
    return Error{Errc::Gap, "a request before this one was not taken; send that one first"};
  if (offer.source.empty() || offer.source.size() > limits::name_bytes_max) {
    return Error{Errc::Malformed, "a source's name must have 1 to " +
                                      std::to_string(limits::name_bytes_max) + " bytes"};
  }
  if (offer.bytes.size() > options_.transaction_bytes_max) {
    return Error{Errc::Exhausted, "more than " + std::to_string(options_.transaction_bytes_max) +
                                      " bytes; raise [limits] transaction_max or send less"};
  }
  if (!sources_.contains(offer.source) && sources_.size() >= options_.sources_max) {
    return Error{Errc::Unavailable, "more than " + std::to_string(options_.sources_max) +
                                        " sources; close other producers"};
  }
  ACCRETE_TRY(OfferMemory * memory, memory_of(offer.source));
  Source& source = source_of(offer.source);
  group_.begin(source.name, source.position + 1);
  std::vector<std::uint64_t> fresh;
  if (Status collected = collect_offer(pending, *memory, fresh); !collected) {
    group_.abandon();
    return collected;
  }
  if (pending.outcome.rows == 0) {
    group_.abandon();
    return Ok{};
  }
  memory->add(++source.position, fresh, group_.current());
  group_.end();
  return Ok{};
}

Status IngestSessions::collect_offer(PendingOffer& pending, const OfferMemory& memory,
                                     std::vector<std::uint64_t>& fresh) {
  const Offer& offer = pending.offer;
  const std::string_view bytes = offer.bytes;
  std::unordered_set<std::uint64_t> seen;  // of this offer; never iterated
  std::size_t at = 0;
  std::size_t begin = 0;
  for (std::size_t number = 0; number < offer.events.size(); ++number) {
    const OfferedEvent& event = offer.events[number];
    const bool known = event.identity != 0 &&
                       (memory.knows(event.identity) || !seen.insert(event.identity).second);
    if (known) ++pending.outcome.duplicates;
    if (!known && event.identity != 0) fresh.push_back(event.identity);
    for (; at < event.records_end; ++at) {
      const std::string_view record = bytes.substr(begin, offer.ends[at] - begin);
      begin = offer.ends[at];
      const Result<CheckedRecord> checked = check_.check(record);  // layouts count even when known
      if (known) continue;
      if (!checked) {
        pending.outcome = {};
        pending.outcome.event = number + 1;
        return checked.error();
      }
      group_.add(record, checked.value());
      if (checked.value().kind != RecordKind::Layout) ++pending.outcome.rows;
    }
  }
  counters_.duplicates += pending.outcome.duplicates;
  return Ok{};
}

void IngestSessions::answer_offers(const Status& committed) {
  // What a failed commit was to keep is not known: it is read again.
  if (!committed) memories_.clear();
  for (PendingOffer& pending : offers_) {
    if (!committed) pending.outcome = {};
    answer(pending, committed);
  }
  offers_.clear();
}

}  // namespace accrete::stream
