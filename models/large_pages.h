// Memory for large arrays that are read all over: in pages of 2 MiB where the system has them.
#pragma once

#include <cstddef>

namespace accrete::models {

inline constexpr std::size_t kLargePage = std::size_t{2} << 20;

/// What allocate_room() takes for so many bytes: whole large pages from one on.
constexpr std::size_t room_size(std::size_t bytes) {
  return bytes < kLargePage ? bytes : (bytes + kLargePage - 1) / kLargePage * kLargePage;
}

/// Memory that begins a cache line, unless it is less than a page of 4 KiB. Checks: bytes =
/// room_size(bytes) > 0. Threads: any.
void* allocate_room(std::size_t bytes);
void free_room(void* room, std::size_t bytes);

/// The same for containers.
template <class T>
struct RoomAllocator {
  using value_type = T;
  RoomAllocator() = default;
  template <class U>
  RoomAllocator(const RoomAllocator<U>&) {}  // NOLINT(google-explicit-constructor): as it must be

  T* allocate(std::size_t count) {
    return static_cast<T*>(allocate_room(room_size(count * sizeof(T))));
  }
  void deallocate(T* room, std::size_t count) { free_room(room, room_size(count * sizeof(T))); }
  friend bool operator==(RoomAllocator, RoomAllocator) { return true; }
};

}  // namespace accrete::models
