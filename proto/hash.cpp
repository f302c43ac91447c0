// XXH3 behind two functions, so that no other file sees the library.
#include "proto/hash.h"

#include <xxhash.h>

namespace accrete {

std::uint64_t hash64(std::string_view bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

Hash128 hash128(std::string_view bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {hash.high64, hash.low64};
}

}  // namespace accrete
