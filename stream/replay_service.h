// The past on request: one ToReplay frame in, its answers out. Knows no socket.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "stream/publish_server.h"

namespace accrete::stream {

class ReplayService {
 public:
  static constexpr std::size_t message_rows_max = 512;  ///< predictions of one Rows message
  static constexpr std::size_t message_bytes_max = 4u << 20;
  static constexpr std::size_t answer_bytes_max = 32u << 20;     ///< of one REPLAY answer
  static constexpr std::size_t snapshot_bytes_max = 256u << 20;  ///< of one SNAPSHOT answer

  ReplayService(ReplaySource& source, std::size_t rows_max);
  ~ReplayService();

  /// Append the answers to `frame`: serialized wire.FromReplay, in order. There is always at least
  /// one; the last is End, Gone, SubscriberPosition or Fault. Any bytes are safe.
  void handle(std::string_view frame, std::vector<std::string>& answers);

  struct Counters {
    std::uint64_t replayed = 0, snapshots = 0, faults = 0;
  };
  const Counters& counters() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace accrete::stream
