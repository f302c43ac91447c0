// Endpoint checks and CURVE key files.
#include "stream/endpoint.h"

#include <array>
#include <charconv>
#include <fstream>
#include <optional>
#include <string_view>

#include <arpa/inet.h>
#include <sys/stat.h>
#include <zmq.h>

namespace accrete::stream {
namespace {

constexpr std::size_t kKeyChars = 40;
constexpr std::size_t kKeyBytes = 32;
constexpr std::size_t kSocketPathMax = 107;  // sun_path without its NUL
constexpr std::size_t kKeyFileBytesMax = 4096;

Error malformed(std::string detail) {
  return {Errc::Malformed, std::move(detail)};
}

bool is_z85_key(const std::string& key) {
  std::array<std::uint8_t, kKeyBytes> bytes{};
  return key.size() == kKeyChars && zmq_z85_decode(bytes.data(), key.c_str()) != nullptr;
}

struct HostPort {
  std::string_view host;
  std::string_view port;
};

/// `host:port`, `[v6]:port`; nullopt for anything else.
std::optional<HostPort> split_host_port(std::string_view text) {
  HostPort out;
  std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  out.port = text.substr(colon + 1);
  out.host = text.substr(0, colon);
  if (out.host.starts_with('[')) {
    if (!out.host.ends_with(']')) return std::nullopt;
    out.host = out.host.substr(1, out.host.size() - 2);
  } else if (out.host.find(':') != std::string_view::npos && out.host != "::") {
    return std::nullopt;  // an IPv6 address without brackets
  }
  if (out.host.empty()) return std::nullopt;
  for (const char c : out.host) {
    const bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '.' || c == '-' || c == '_' || c == ':' || c == '%' || c == '*';
    if (!ok) return std::nullopt;
  }
  return out;
}

bool is_port(std::string_view text) {
  if (text == "*") return true;
  unsigned port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc{} && end == text.data() + text.size() && port <= 65535;
}

bool is_loopback(std::string_view host) {
  if (host == "localhost") return true;
  const std::string text(host);
  in_addr v4{};
  if (inet_pton(AF_INET, text.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  in6_addr v6{};
  return inet_pton(AF_INET6, text.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6) != 0;
}

Status check_keys(const EndpointOptions& options) {
  const CurveKeys& keys = options.curve;
  if (keys.public_key.empty()) {
    if (!keys.secret_key.empty() || !keys.server_key.empty() || !keys.allowed.empty()) {
      return malformed(options.address +
                       ": CURVE keys without a public key; make a pair with `accretectl keys`");
    }
    return Ok{};
  }
  const std::string what = " must be 40 Z85 characters; make a pair with `accretectl keys`";
  if (!is_z85_key(keys.public_key)) return malformed(options.address + ": the public key" + what);
  if (!is_z85_key(keys.secret_key)) return malformed(options.address + ": the secret key" + what);
  if (!keys.server_key.empty() && !is_z85_key(keys.server_key))
    return malformed(options.address + ": the server key" + what);
  for (const std::string& key : keys.allowed) {
    if (!is_z85_key(key)) {
      return malformed(options.address + ": allowed client key \"" + std::string(key).append("\"") +
                       what);
    }
  }
  return Ok{};
}

Status check_tcp(const EndpointOptions& options, std::string_view rest) {
  const std::optional<HostPort> parsed = split_host_port(rest);
  if (!parsed || !is_port(parsed->port))
    return malformed("\"" + options.address + "\": expected tcp://host:port (or tcp://[v6]:port)");
  if (options.curve.public_key.empty() && !is_loopback(parsed->host)) {
    return malformed("\"" + options.address +
                     "\" can be reached from outside and has no CURVE; give [curve] keys, or bind "
                     "127.0.0.1");
  }
  return Ok{};
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(kBlank);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

/// One `name = value` line of a key file into `keys`; values may be quoted.
Status read_key_line(const std::string& where, std::string_view line, CurveKeys& keys) {
  const std::size_t equals = line.find('=');
  if (equals == std::string_view::npos)
    return malformed(where + ": expected `public = …`, `secret = …` or `server = …`");
  const std::string_view name = trimmed(line.substr(0, equals));
  std::string_view value = trimmed(line.substr(equals + 1));
  if (value.size() >= 2 && value.front() == '"' && value.back() == '"')
    value = value.substr(1, value.size() - 2);
  std::string* const slot = name == "public"   ? &keys.public_key
                            : name == "secret" ? &keys.secret_key
                            : name == "server" ? &keys.server_key
                                               : nullptr;
  if (slot == nullptr) {
    return malformed(where + ": unknown entry \"" + std::string(name) +
                     "\"; a key file has public, secret and server");
  }
  *slot = value;
  if (!is_z85_key(*slot))
    return malformed(where + ": the " + std::string(name) + " key must be 40 Z85 characters");
  return Ok{};
}

}  // namespace

Status check_endpoint(const EndpointOptions& options) {
  const std::string_view address = options.address;
  if (options.frame_bytes_max == 0 || options.high_water_mark <= 0)
    return malformed(options.address + ": frame_bytes_max and high_water_mark must be positive");
  ACCRETE_DO(check_keys(options));
  if (address.starts_with("tcp://")) return check_tcp(options, address.substr(6));
  if (address.starts_with("ipc://")) {
    const std::string_view path = address.substr(6);
    if (path.empty() || path.size() > kSocketPathMax) {
      return malformed("\"" + options.address + "\": expected ipc:// and a path of 1 to " +
                       std::to_string(kSocketPathMax) + " bytes");
    }
    return Ok{};
  }
  if (address.starts_with("inproc://") && address.size() > 9) return Ok{};
  return malformed("\"" + options.address +
                   "\" is not an address; expected tcp://127.0.0.1:7701 or "
                   "ipc:///run/accreted/ingest.sock");
}

Result<CurveKeys> read_key_file(const std::string& path) {
  struct stat info {};
  std::ifstream file(path, std::ios::binary);
  if (!file || ::stat(path.c_str(), &info) != 0)
    return Error{Errc::NotFound, "cannot read the key file " + path};
  if (!S_ISREG(info.st_mode) || static_cast<std::size_t>(info.st_size) > kKeyFileBytesMax)
    return malformed(path + " is not a key file");
  CurveKeys keys;
  std::string line;
  for (std::size_t number = 1; std::getline(file, line); ++number) {
    const std::string_view text = trimmed(line);
    if (text.empty() || text.starts_with('#')) continue;
    ACCRETE_DO(read_key_line(path + ":" + std::to_string(number), text, keys));
  }
  if (!keys.secret_key.empty() && (info.st_mode & (S_IRWXG | S_IRWXO)) != 0)
    return malformed(path + " holds a secret key and others may read it; chmod 600 " + path);
  if (keys.public_key.empty()) return malformed(path + ": no `public = …` line");
  return keys;
}

Result<std::vector<std::string>> read_client_keys(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Error{Errc::NotFound, "cannot read the list of clients' keys " + path};
  std::vector<std::string> keys;
  std::string line;
  for (std::size_t number = 1; std::getline(file, line); ++number) {
    const std::string_view text = trimmed(line);
    if (text.empty() || text.starts_with('#')) continue;
    const std::string word(text.substr(0, text.find_first_of(" \t")));
    const std::string where = path + ":" + std::to_string(number);
    if (!is_z85_key(word)) {
      return malformed(where + ": \"" + std::string(word).append("\"") +
                       " is not a client's key: 40 Z85 characters, `public` of `accretectl keys`");
    }
    const std::string_view rest = trimmed(text.substr(word.size()));
    if (!rest.empty() && !rest.starts_with('#'))
      return malformed(where + ": one key a line; a comment begins with #");
    keys.push_back(word);
  }
  if (keys.empty()) {
    return malformed(path + ": no client key in it; one public key a line, or leave " +
                     "curve.clients_file out to let in every client");
  }
  return keys;
}

Result<CurveKeys> make_keys() {
  std::array<char, kKeyChars + 1> public_key{};
  std::array<char, kKeyChars + 1> secret_key{};
  if (zmq_curve_keypair(public_key.data(), secret_key.data()) != 0)
    return Error{Errc::Unavailable, "this libzmq was built without CURVE"};
  CurveKeys keys;
  keys.public_key = public_key.data();
  keys.secret_key = secret_key.data();
  return keys;
}

}  // namespace accrete::stream
