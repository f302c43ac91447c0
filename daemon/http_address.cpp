// Reading http://HOST:PORT.
#include "daemon/http_address.h"

#include <array>
#include <charconv>

#include <arpa/inet.h>

namespace accrete::daemon {
namespace {

constexpr std::string_view kScheme = "http://";

}  // namespace

bool is_loopback(std::string_view host) {
  // "127.example.org" is anybody's name: only a whole address counts.
  std::array<unsigned char, sizeof(in_addr)> four{};
  const bool numeric = inet_pton(AF_INET, std::string(host).c_str(), four.data()) == 1;
  return host == "localhost" || host == "::1" || (numeric && four[0] == 127);
}

std::pair<std::string_view, std::string_view> split_host(std::string_view text) {
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return {};
    std::string_view rest = text.substr(end + 1);
    if (rest.starts_with(':')) rest.remove_prefix(1);
    return {text.substr(1, end - 1), rest};
  }
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return {text, {}};
  return {text.substr(0, colon), text.substr(colon + 1)};
}

std::string HttpAddress::text() const {
  const bool six = host.find(':') != std::string::npos;
  return std::string(kScheme) + (six ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

bool HttpAddress::loopback() const {
  return is_loopback(host);
}

Result<HttpAddress> parse_http_address(std::string_view text) {
  const auto bad = [&] {
    return Error{Errc::Malformed, "\"" + std::string(text) +
                                      "\" is no address: expected http://HOST:PORT with a numeric "
                                      "HOST or localhost, such as http://127.0.0.1:7705"};
  };
  if (!text.starts_with(kScheme)) return bad();
  const auto [host, port] = split_host(text.substr(kScheme.size()));
  HttpAddress out;
  out.host = host == "localhost" ? "127.0.0.1" : std::string(host);
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), out.port);
  if (port.empty() || error != std::errc{} || end != port.data() + port.size()) return bad();
  std::array<unsigned char, sizeof(in6_addr)> bytes{};
  const bool numeric = inet_pton(AF_INET, out.host.c_str(), bytes.data()) == 1 ||
                       inet_pton(AF_INET6, out.host.c_str(), bytes.data()) == 1;
  if (!numeric) return bad();
  return out;
}

}  // namespace accrete::daemon
