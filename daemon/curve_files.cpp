// Reading the pair and the list.
#include "daemon/curve_files.h"

#include <utility>

namespace accrete::daemon {
namespace {

// Questions and subscriptions are small. ZeroMQ keeps 64 bytes for a part of none.
constexpr std::size_t kUntakenBytesMax = 4u << 20;

}  // namespace

Result<stream::CurveKeys> read_curve_files(const EndpointsConfig& config) {
  if (config.curve_key_file.empty()) return stream::CurveKeys{};
  ACCRETE_TRY(stream::CurveKeys keys, stream::read_key_file(config.curve_key_file));
  if (config.curve_clients_file.empty()) return keys;
  ACCRETE_TRY(keys.allowed, stream::read_client_keys(config.curve_clients_file));
  return keys;
}

Status check_addresses(const EndpointsConfig& config, const stream::CurveKeys& keys) {
  for (const std::string& address :
       {config.ingest, config.events, config.predictions, config.replay, config.control}) {
    if (address.empty()) continue;  // only `events` may be
    ACCRETE_DO(stream::check_endpoint(endpoint_at(address, keys)));
  }
  return Ok{};
}

stream::EndpointOptions endpoint_at(const std::string& address, const stream::CurveKeys& keys) {
  stream::EndpointOptions options;
  options.address = address;
  options.curve = keys;
  options.untaken_bytes_max = kUntakenBytesMax;
  return options;
}

}  // namespace accrete::daemon
