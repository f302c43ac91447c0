// Which events of a source are durable: who offers them again, because an answer was lost, is told
// so and repeats nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "stream/ingest_server.h"

namespace accrete::stream {

/// Identities of the newest events of one source, by the position of their transaction. Bounded:
/// the oldest go first. Threads: one at a time.
class OfferMemory {
 public:
  static constexpr std::size_t kEventsMax = 65'536;

  /// From what was kept. Errors: Corruption.
  static Result<OfferMemory> open(std::span<const KeptMemory> kept);

  bool knows(std::uint64_t identity) const { return known_.contains(identity); }

  /// Take in the events of the transaction at `position`, and write into it what to keep and what
  /// to forget.
  void add(std::uint64_t position, std::span<const std::uint64_t> identities,
           Transaction& transaction);

 private:
  struct Page {
    std::uint64_t position = 0;
    std::vector<std::uint64_t> identities;
  };
  void take(Page page);

  std::deque<Page> pages_;
  std::unordered_set<std::uint64_t> known_;  // never iterated
};

}  // namespace accrete::stream
