// Where the numbers of a RowMatrix lie: room that a matrix keeps when it gets smaller.
//
// What a pass of the graph network computes has other sizes each time. Given back and asked for
// anew, arrays of that size come from the kernel, which clears them first. Large ones are asked for
// in large pages: rows are read all over them, and a processor knows the places of some thousand
// pages, which are 8 MB of small ones.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>

#include <Eigen/Core>

#include "models/large_pages.h"

namespace accrete::models {

/// RowMajor, and the mark by which Eigen chooses the storage below.
inline constexpr int kRowOptions = Eigen::RowMajor | Eigen::DontAlign;

/// Numbers that begin a cache line unless they are few, so that no vector of them lies across two.
template <class Real>
class RoomOf {
 public:
  RoomOf() = default;
  RoomOf(const RoomOf&) = delete;
  RoomOf& operator=(const RoomOf&) = delete;
  RoomOf(RoomOf&& other) noexcept { swap(other); }
  RoomOf& operator=(RoomOf&& other) noexcept {
    swap(other);
    return *this;
  }
  ~RoomOf() { release(); }

  /// Room for `size` numbers, whatever they are; none for 0. What grows again gets an eighth more.
  void make(Eigen::Index size) {
    if (size == 0) release();
    if (size <= capacity_) return;
    const Eigen::Index wanted = capacity_ == 0 ? size : std::max(size, capacity_ + capacity_ / 8);
    release();
    bytes_ = room_size(static_cast<std::size_t>(wanted) * sizeof(Real));
    data_ = static_cast<Real*>(allocate_room(bytes_));
    capacity_ = static_cast<Eigen::Index>(bytes_ / sizeof(Real));
  }
  void swap(RoomOf& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(capacity_, other.capacity_);
    std::swap(bytes_, other.bytes_);
  }
  Real* data() const { return data_; }
  Eigen::Index capacity() const { return capacity_; }

 private:
  void release() {
    if (data_ != nullptr) free_room(data_, bytes_);
    data_ = nullptr;
    capacity_ = 0;
    bytes_ = 0;
  }

  Real* data_ = nullptr;
  Eigen::Index capacity_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace accrete::models

namespace Eigen {

/// As Eigen's own for matrices whose two sizes are told at run time, but that resize() to less
/// keeps the room; to nothing gives it back.
template <class Real>
class DenseStorage<Real, Dynamic, Dynamic, Dynamic, accrete::models::kRowOptions> {
 public:
  DenseStorage() = default;
  explicit DenseStorage(internal::constructor_without_unaligned_array_assert) {}
  DenseStorage(Index size, Index rows, Index cols) { resize(size, rows, cols); }
  DenseStorage(const DenseStorage& other) { *this = other; }
  DenseStorage& operator=(const DenseStorage& other) {
    if (this == &other) return *this;
    resize(other.rows_ * other.cols_, other.rows_, other.cols_);
    std::copy_n(other.data(), rows_ * cols_, data());
    return *this;
  }
  DenseStorage(DenseStorage&& other) noexcept { swap(other); }
  DenseStorage& operator=(DenseStorage&& other) noexcept {
    swap(other);
    return *this;
  }
  ~DenseStorage() = default;

  void swap(DenseStorage& other) noexcept {
    room_.swap(other.room_);
    std::swap(rows_, other.rows_);
    std::swap(cols_, other.cols_);
  }
  Index rows() const noexcept { return rows_; }
  Index cols() const noexcept { return cols_; }
  void resize(Index size, Index rows, Index cols) {
    room_.make(size);
    rows_ = rows;
    cols_ = cols;
  }
  /// Numbers that there were stay, in their order.
  // NOLINTNEXTLINE(readability-identifier-naming): Eigen calls it
  void conservativeResize(Index size, Index rows, Index cols) {
    if (size > room_.capacity()) {
      accrete::models::RoomOf<Real> larger;
      larger.make(size);
      std::copy_n(room_.data(), std::min(size, rows_ * cols_), larger.data());
      room_.swap(larger);
    }
    rows_ = rows;
    cols_ = cols;
  }
  Index capacity() const { return room_.capacity(); }
  const Real* data() const { return room_.data(); }
  Real* data() { return room_.data(); }

 private:
  accrete::models::RoomOf<Real> room_;
  Index rows_ = 0;
  Index cols_ = 0;
};

}  // namespace Eigen
