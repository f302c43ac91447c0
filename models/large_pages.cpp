// Aligned memory, and a word to the kernel.
//
// Large pages are not asked of aligned_alloc(): what glibc (2.36) has taken back of it fits no
// later request of that size and alignment, so arrays that come and go would leave a heap of many
// times their sum.
#include "models/large_pages.h"

#include <cstdint>
#include <new>

// A sanitizer must see arrays come and go: there they are the heap's.
#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__)
#define ACCRETE_MAPS
#endif

#if defined(ACCRETE_MAPS)
#include <sys/mman.h>
#endif

#include "proto/result.h"

namespace accrete::models {
namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kSmall = 4096;  // below, the C library keeps what it gave, unless aligned

#if defined(ACCRETE_MAPS)
/// One large page more than is needed, of which the ends are given back.
void* allocate_pages(std::size_t bytes) {
  const std::size_t asked = bytes + kLargePage;
  void* const given =
      mmap(nullptr, asked, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ACCRETE_CHECK(given != MAP_FAILED);  // out of memory
  auto* const begin = static_cast<std::byte*>(given);
  const std::size_t over = reinterpret_cast<std::uintptr_t>(begin) % kLargePage;
  const std::size_t before = over == 0 ? 0 : kLargePage - over;
  std::byte* const room = begin + before;
  if (before > 0) munmap(begin, before);
  if (before < kLargePage) munmap(room + bytes, kLargePage - before);
  madvise(room, bytes, MADV_HUGEPAGE);  // only advice: where it is not taken, pages are small
  return room;
}

void free_pages(void* room, std::size_t bytes) {
  munmap(room, bytes);
}
#else
void* allocate_pages(std::size_t bytes) {
  return ::operator new (bytes, std::align_val_t{kLargePage});
}

void free_pages(void* room, std::size_t) {
  ::operator delete (room, std::align_val_t{kLargePage});
}
#endif

}  // namespace

void* allocate_room(std::size_t bytes) {
  ACCRETE_CHECK(bytes > 0 && bytes == room_size(bytes));
  if (bytes < kSmall) return ::operator new(bytes);
  if (bytes < kLargePage) return ::operator new (bytes, std::align_val_t{kLine});
  return allocate_pages(bytes);
}

void free_room(void* room, std::size_t bytes) {
  if (bytes < kSmall) return ::operator delete(room);
  if (bytes < kLargePage) return ::operator delete (room, std::align_val_t{kLine});
  free_pages(room, bytes);
}

}  // namespace accrete::models
