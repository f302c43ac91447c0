// How far a feed has come, as the one number that the daemon keeps with its rows: how many
// transactions, and a fingerprint of all they were read from. So a feed that is run again can tell
// whether its input still begins with what the daemon holds.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <string_view>

#include "proto/hash.h"

namespace accrete::daemon {

/// The fingerprint of `next` after `before`.
inline std::uint64_t joined_hash(std::uint64_t before, std::uint64_t next) {
  const auto bytes = std::bit_cast<std::array<char, 16>>(std::array{before, next});
  return hash64({bytes.data(), bytes.size()});
}

class FeedPlace {
 public:
  static constexpr std::uint64_t kCountMax = (std::uint64_t{1} << 31) - 1;

  /// The place that `position` names. Positions of versions before were the count alone.
  static std::uint64_t count_of(std::uint64_t position) {
    return knows_input(position) ? position >> 32 : position;
  }
  static bool knows_input(std::uint64_t position) { return position >> 32 != 0; }

  /// One transaction on; `input` is SourceTransaction::input. At most kCountMax of them.
  void step(std::uint64_t input) {
    ++count_;
    hash_ = joined_hash(hash_, input);
  }
  std::uint64_t count() const { return count_; }
  /// The count in the upper half, so that it rises, and the fingerprint in the lower.
  std::uint64_t position() const { return count_ << 32 | (hash_ & 0xFFFFFFFF); }

 private:
  std::uint64_t count_ = 0;
  std::uint64_t hash_ = 0;
};

}  // namespace accrete::daemon
