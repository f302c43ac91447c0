// What every socket needs to know: where, how secured, how big.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "proto/limits.h"
#include "proto/result.h"

namespace accrete::stream {

/// CURVE keys in Z85 text (40 characters each). Empty public key = no CURVE.
struct CurveKeys {
  std::string public_key;
  std::string secret_key;
  std::string server_key;  ///< clients: the server they trust
  std::vector<std::string>
      allowed;  ///< servers: client public keys; empty = any client with the server key
};

struct EndpointOptions {
  std::string address;  ///< tcp://127.0.0.1:7701, ipc:///run/accreted/ingest.sock
  CurveKeys curve;
  std::size_t frame_bytes_max = limits::frame_bytes_max;
  /// Servers on TCP: what a peer may have sent in messages that are not whole or not yet taken; a
  /// peer beyond it is cut off. 0 = it is not looked at.
  std::size_t untaken_bytes_max = 0;
  int high_water_mark = 1000;  ///< messages per peer, each way
  int received_max = 0;        ///< the same, of those that come in; 0 = as many
  int probe_ms = 5000;         ///< a peer that is gone is dropped after three probes without answer
};

/// Refuse what must not be: a tcp address that is not loopback needs CURVE.
/// Errors: Malformed with what to do ("give [curve] keys, or bind 127.0.0.1").
Status check_endpoint(const EndpointOptions& options);

/// Read a key file (mode 0600 demanded for secret keys): lines `public = …`, `secret = …`.
Result<CurveKeys> read_key_file(const std::string& path);
/// Read an allow-list: one client's public key a line, then a comment if any. A line that begins
/// with `#` is a comment; further on, '#' may stand in a key.
/// Errors: NotFound; Malformed with the line, also where there is no key at all.
Result<std::vector<std::string>> read_client_keys(const std::string& path);
/// A fresh key pair.
Result<CurveKeys> make_keys();

}  // namespace accrete::stream
