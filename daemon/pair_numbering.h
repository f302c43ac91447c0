// Numbers of pairs of words: an open-addressing table that is emptied in no time and keeps its
// room.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace accrete::daemon {

/// Nothing iterates over it, so its order reaches no output. Cost: a read of RAM a pair.
class PairNumbering {
 public:
  void clear() {
    ++round_;
    used_ = 0;
  }
  std::size_t size() const { return used_; }
  std::size_t memory_bytes() const { return slots_.capacity() * sizeof(Slot); }

  /// The place of a pair's number; null if it has none. Good until the next add().
  const std::uint32_t* find(std::uint64_t a, std::uint32_t b) const {
    if (slots_.empty()) return nullptr;
    const Slot& slot = slots_[place(a, b)];
    return slot.round == round_ ? &slot.number : nullptr;
  }
  /// Checks: the pair has none yet (the caller looked).
  void add(std::uint64_t a, std::uint32_t b, std::uint32_t number) {
    if (2 * (used_ + 1) > slots_.size()) grow();
    slots_[place(a, b)] = {a, b, number, round_};
    ++used_;
  }

 private:
  struct Slot {
    std::uint64_t a = 0;
    std::uint32_t b = 0;
    std::uint32_t number = 0;
    std::uint64_t round = 0;  // empty unless it is the table's
  };

  std::size_t start(std::uint64_t a, std::uint32_t b) const {
    std::uint64_t z = (a ^ (std::uint64_t{b} << 40)) * 0x9E37'79B9'7F4A'7C15ull;
    z = (z ^ (z >> 32)) * 0xBF58'476D'1CE4'E5B9ull;
    return static_cast<std::size_t>(z >> 29) & (slots_.size() - 1);
  }
  std::size_t place(std::uint64_t a, std::uint32_t b) const {
    std::size_t at = start(a, b);
    while (slots_[at].round == round_ && (slots_[at].a != a || slots_[at].b != b))
      at = (at + 1) & (slots_.size() - 1);
    return at;
  }
  void grow() {
    std::vector<Slot> old(slots_.empty() ? 1024 : 2 * slots_.size());
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.round == round_) slots_[place(slot.a, slot.b)] = slot;
    }
  }

  std::vector<Slot> slots_;  // a power of two
  std::size_t used_ = 0;
  std::uint64_t round_ = 1;
};

}  // namespace accrete::daemon
