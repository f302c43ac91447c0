// The one source of random numbers: a counter-based generator keyed by (seed, position, purpose),
// so that a draw depends on where in the stream it happens and on nothing else.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

namespace accrete {

/// What a random number is for; part of the key, so two uses never share a sequence.
enum class Purpose : std::uint32_t {
  Sample = 1,
  Projection = 2,
  Training = 3,
  Test = 4,
  Measure = 5
};

/// SplitMix64 over a mixed key. Source: Steele, Lea, Flood 2014, "Fast splittable pseudorandom
/// number generators", the finaliser of section 4. Not for secrets.
class Rng {
 public:
  Rng(std::uint64_t seed, std::uint64_t position, Purpose purpose)
      : state_(mix(seed ^ mix(position ^ mix(static_cast<std::uint64_t>(purpose))))) {}

  std::uint64_t next() { return mix(state_ += 0x9E37'79B9'7F4A'7C15ull); }

  /// Uniform in [0, bound) without modulo bias worth speaking of (bound << 2^64). Checks: bound >
  /// 0.
  std::uint64_t below(std::uint64_t bound) {
    return static_cast<std::uint64_t>((static_cast<Wide>(next()) * bound) >> 64);
  }

  /// Uniform in [0, 1).
  double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

  /// Standard normal. Source: Box and Muller 1958; 1 − u is never zero.
  double normal() {
    const double length = std::sqrt(-2 * std::log(1 - uniform()));
    return length * std::cos(2 * std::numbers::pi * uniform());
  }

 private:
  __extension__ using Wide = unsigned __int128;
  static constexpr std::uint64_t mix(std::uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58'476D'1CE4'E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D0'49BB'1331'11EBull;
    return z ^ (z >> 31);
  }
  std::uint64_t state_;
};

}  // namespace accrete
