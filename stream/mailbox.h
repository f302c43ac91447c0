// A bounded queue into a thread that sleeps in a poll: a channel with a file descriptor that is
// readable while there is mail. The only way threads in this daemon talk.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

#include <sys/eventfd.h>
#include <unistd.h>

#include "proto/result.h"

namespace accrete::stream {

template <class T>
class Mailbox {
 public:
  /// `capacity` > 0, in messages. A full mailbox blocks its sender: that is the back-pressure.
  explicit Mailbox(std::size_t capacity)
      : capacity_(capacity), fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    ACCRETE_CHECK(fd_ >= 0);
  }
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;
  ~Mailbox() { ::close(fd_); }

  /// Give `message` away. Blocks while full. False once closed: the message is dropped.
  bool send(T message) {
    return send(std::move(message), [](T&, T&) { return false; });
  }

  /// The same, but `join(newest waiting, message)` is asked first: true if it has put the message
  /// into the newest one that waits. Then small messages do not take a place each. Called under the
  /// lock, so it must be short.
  template <class Join>
  bool send(T message, Join&& join) {
    std::unique_lock lock(mutex_);
    if (!closed_ && !queue_.empty() && join(queue_.back(), message)) return true;
    room_.wait(lock, [&] { return closed_ || queue_.size() < capacity_; });
    if (closed_) return false;
    queue_.push_back(std::move(message));
    signal();
    return true;
  }

  /// The same without waiting: false when full or closed, and `message` is untouched.
  bool try_send(T& message) {
    return try_send(message, [](T&, T&) { return false; });
  }
  template <class Join>
  bool try_send(T& message, Join&& join) {
    const std::lock_guard lock(mutex_);
    if (!closed_ && !queue_.empty() && join(queue_.back(), message)) return true;
    if (closed_ || queue_.size() >= capacity_) return false;
    queue_.push_back(std::move(message));
    signal();
    return true;
  }

  /// Take the oldest message. Blocks while empty. nullopt once closed and drained.
  std::optional<T> receive() {
    std::unique_lock lock(mutex_);
    mail_.wait(lock, [&] { return closed_ || !queue_.empty(); });
    return take();
  }

  /// Take the oldest message if there is one; clears the descriptor when it was the last.
  std::optional<T> try_receive() {
    const std::lock_guard lock(mutex_);
    return take();
  }

  /// Either side may close; messages already sent are still received.
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    room_.notify_all();
    mail_.notify_all();
    signal();
  }

  bool closed() const {
    const std::lock_guard lock(mutex_);
    return closed_ && queue_.empty();
  }
  std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return queue_.size();
  }
  std::size_t capacity() const { return capacity_; }
  int fd() const { return fd_; }  ///< readable while there is mail, and once closed

 private:
  void signal() {
    mail_.notify_one();
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(fd_, &one, sizeof one);
  }
  std::optional<T> take() {
    if (queue_.empty()) return std::nullopt;
    std::optional<T> message(std::move(queue_.front()));
    queue_.pop_front();
    if (queue_.empty() && !closed_) {
      std::uint64_t count = 0;
      [[maybe_unused]] const auto bytes = ::read(fd_, &count, sizeof count);
    }
    room_.notify_one();
    return message;
  }

  const std::size_t capacity_;
  const int fd_;
  mutable std::mutex mutex_;
  std::condition_variable room_;
  std::condition_variable mail_;
  std::deque<T> queue_;
  bool closed_ = false;
};

}  // namespace accrete::stream
