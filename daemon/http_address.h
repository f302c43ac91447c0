// Where HTTP is served: the address in the configuration.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "proto/result.h"

namespace accrete::daemon {

struct HttpAddress {
  std::string host;  ///< a numeric IPv4 or IPv6 address, without brackets; "localhost" is 127.0.0.1
  std::uint16_t port = 0;

  bool loopback() const;
  std::string text() const;
};

/// Whether a host's name or address is one of this machine's own.
bool is_loopback(std::string_view host);

/// Host and port of `[v6]:port` or `host:port`; the port is empty where there is none.
std::pair<std::string_view, std::string_view> split_host(std::string_view text);

/// `http://HOST:PORT`, HOST numeric or localhost; port 0: any free one. Errors: Malformed.
Result<HttpAddress> parse_http_address(std::string_view text);

}  // namespace accrete::daemon
