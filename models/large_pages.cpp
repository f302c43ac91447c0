// Aligned memory, and a word to the kernel.
#include "models/large_pages.h"

#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "proto/result.h"

namespace accrete::models {
namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kSmall = 4096;  // below, the C library keeps what it gave, unless aligned

std::align_val_t alignment(std::size_t bytes) {
  return std::align_val_t{bytes < kLargePage ? kLine : kLargePage};
}

}  // namespace

void* allocate_room(std::size_t bytes) {
  ACCRETE_CHECK(bytes > 0 && bytes == room_size(bytes));
  if (bytes < kSmall) return ::operator new(bytes);
  void* const room = ::operator new(bytes, alignment(bytes));
#if defined(__linux__)
  // Only advice: where it is not taken, pages are small.
  if (bytes >= kLargePage) madvise(room, bytes, MADV_HUGEPAGE);
#endif
  return room;
}

void free_room(void* room, std::size_t bytes) {
  if (bytes < kSmall) return ::operator delete(room);
  ::operator delete(room, alignment(bytes));
}

}  // namespace accrete::models
