// The floor under ingest and replay: the same bytes through one ZeroMQ hop and, for ingest, into an
// append file that is synced once a group. Nothing is decoded, ordered, indexed or remembered.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace accrete::bench {

struct HopOptions {
  std::size_t group_messages = 1;       ///< written and synced together, then acknowledged
  std::size_t credit_bytes = 8u << 20;  ///< unacknowledged bytes in flight
  std::string append_path;              ///< "" = nothing is written
};

/// Send `messages` DEALER -> ROUTER over loopback tcp and wait for the last acknowledgement.
/// Returns seconds. The receiver drains what is there up to the group, as the daemon does.
double hop_seconds(const std::vector<std::string_view>& messages, const HopOptions& options);

/// A peer that sends back what it gets, over loopback tcp.
class Echo {
 public:
  Echo();
  ~Echo();
  /// One message there and back; seconds.
  double round_trip(std::string_view message);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace accrete::bench
