// The key files that [curve] names, for the daemon's own sockets.
#pragma once

#include <string>

#include "daemon/config.h"
#include "proto/result.h"
#include "stream/endpoint.h"

namespace accrete::daemon {

/// The daemon's own pair and the clients it lets in; empty keys where CURVE is not configured.
/// Errors: as read_key_file() and read_client_keys() say.
Result<stream::CurveKeys> read_curve_files(const EndpointsConfig& config);

/// Whether every address is one that may be bound with these keys.
/// Errors: as stream::check_endpoint() says.
Status check_addresses(const EndpointsConfig& config, const stream::CurveKeys& keys);

/// Where a socket of the daemon listens.
stream::EndpointOptions endpoint_at(const std::string& address, const stream::CurveKeys& keys);

}  // namespace accrete::daemon
