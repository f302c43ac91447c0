// Identities as bytes, and which of them are old.
#include "stream/offer_memory.h"

#include <cstring>
#include <utility>

namespace accrete::stream {

void OfferMemory::take(Page page) {
  known_.insert(page.identities.begin(), page.identities.end());
  pages_.push_back(std::move(page));
}

Result<OfferMemory> OfferMemory::open(std::span<const KeptMemory> kept) {
  OfferMemory memory;
  for (const KeptMemory& one : kept) {
    if (one.bytes.size() % sizeof(std::uint64_t) != 0) {
      return Error{Errc::Corruption, "what is remembered of position " +
                                         std::to_string(one.position) + " does not decode"};
    }
    Page page;
    page.position = one.position;
    page.identities.resize(one.bytes.size() / sizeof(std::uint64_t));
    std::memcpy(page.identities.data(), one.bytes.data(), one.bytes.size());
    memory.take(std::move(page));
  }
  return memory;
}

void OfferMemory::add(std::uint64_t position, std::span<const std::uint64_t> identities,
                      Transaction& transaction) {
  if (identities.empty()) return;
  take({position, {identities.begin(), identities.end()}});
  transaction.memory.assign(reinterpret_cast<const char*>(identities.data()),
                            identities.size_bytes());
  if (known_.size() > kEventsMax && pages_.size() > 1)
    transaction.forget_begin = pages_.front().position;
  while (known_.size() > kEventsMax && pages_.size() > 1) {
    for (const std::uint64_t identity : pages_.front().identities)
      known_.erase(identity);
    transaction.forget_end = pages_.front().position + 1;
    pages_.pop_front();
  }
}

}  // namespace accrete::stream
