// Stable content hashes (XXH3): the same bytes give the same number on every machine and run.
#pragma once

#include <cstdint>
#include <string_view>

namespace accrete {

std::uint64_t hash64(std::string_view bytes);

struct Hash128 {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  friend bool operator==(const Hash128&, const Hash128&) = default;
};
Hash128 hash128(std::string_view bytes);

}  // namespace accrete
