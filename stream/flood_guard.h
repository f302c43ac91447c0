// Ends connections that send without end. ZeroMQ bounds a frame and counts whole messages, so a
// message of parts that never ends is bounded by neither, and it may not be given to us before it
// is whole. What it has cost shows in the kernel all the same: bytes that came in over a connection
// and are in no message that was taken.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>

#include <sys/socket.h>

#include "proto/result.h"

namespace accrete::stream {

/// The connections of one bound socket (TCP; others are not watched). A thread that looks forty
/// times a second while there is a connection.
class FloodGuard {
 public:
  /// For a socket that is not yet bound. `bytes_max`: what a peer may have sent beyond what was
  /// taken; more, and its connection is ended. Errors: Unavailable.
  static Result<std::unique_ptr<FloodGuard>> open(void* zmq_context, void* socket,
                                                  std::size_t bytes_max);
  ~FloodGuard();
  FloodGuard(const FloodGuard&) = delete;
  FloodGuard& operator=(const FloodGuard&) = delete;

  /// A message of `frames` and `bytes` was taken that came over the connection of this descriptor
  /// (ZMQ_SRCFD; below 0: unknown). Threads: any.
  void took(int descriptor, std::size_t frames, std::size_t bytes);

 private:
  struct Connection {
    sockaddr_storage peer{};
    std::int64_t forgiven = 0;  ///< of what came in, beside what was taken
  };

  FloodGuard(void* events, int stop_fd, std::size_t bytes_max);
  void run();
  void hear();
  void look(std::int64_t forgive);

  void* events_;  // of the socket: connections come and go
  int stop_fd_;
  std::int64_t bytes_max_;
  std::map<int, Connection> connections_;  // by descriptor; the thread's
  std::mutex mutex_;
  std::unordered_map<int, std::int64_t> taken_;  // bytes, by descriptor; never iterated
  std::thread thread_;
};

}  // namespace accrete::stream
