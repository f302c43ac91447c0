// Serving with libmicrohttpd: one thread, every connection bounded in memory and time.
#include "daemon/http_server.h"

#include <optional>
#include <system_error>
#include <utility>

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <spdlog/spdlog.h>

#include "daemon/http_address.h"

namespace accrete::daemon {
namespace {

struct SocketAddress {
  sockaddr_storage storage{};
  bool six = false;

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

std::optional<SocketAddress> socket_address(const HttpAddress& address) {
  SocketAddress out;
  auto* four = reinterpret_cast<sockaddr_in*>(&out.storage);
  auto* six = reinterpret_cast<sockaddr_in6*>(&out.storage);
  if (inet_pton(AF_INET, address.host.c_str(), &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = htons(address.port);
    return out;
  }
  if (inet_pton(AF_INET6, address.host.c_str(), &six->sin6_addr) == 1) {
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(address.port);
    out.six = true;
    return out;
  }
  return std::nullopt;
}

MHD_Result queue(MHD_Connection* connection, const HttpAnswer& answer) {
  MHD_Response* response = MHD_create_response_from_buffer(
      answer.body.size(), const_cast<char*>(answer.body.data()), MHD_RESPMEM_MUST_COPY);
  if (response == nullptr) return MHD_NO;
  // The pages hold their own style and script, and ask nobody but this server.
  constexpr const char* kPolicy =
      "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
      "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
      "frame-ancestors 'none'";
  MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer.type.c_str());
  MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
  MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
  MHD_add_response_header(response, "Content-Security-Policy", kPolicy);
  if (answer.status == MHD_HTTP_METHOD_NOT_ALLOWED)
    MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
  const MHD_Result queued = MHD_queue_response(connection, answer.status, response);
  MHD_destroy_response(response);
  return queued;
}

MHD_Result take_argument(void* query, MHD_ValueKind /*kind*/, const char* name, const char* value) {
  static_cast<decltype(HttpRequest::query)*>(query)->emplace_back(name,
                                                                  value == nullptr ? "" : value);
  return MHD_YES;
}

void log_line(void* /*closure*/, const char* format, va_list arguments) {
  char line[512];
  std::vsnprintf(line, sizeof line, format, arguments);
  std::string_view text(line);
  while (text.ends_with('\n'))
    text.remove_suffix(1);
  spdlog::debug("http: {}", text);
}

}  // namespace

struct HttpServer::Parts {
  HttpAddress address;
  HttpPages pages;
  MHD_Daemon* daemon = nullptr;
  std::uint16_t port = 0;

  HttpAnswer answer(MHD_Connection* connection, std::string_view path);
  // NOLINTNEXTLINE(readability-function-size): the signature is libmicrohttpd's
  static MHD_Result serve(void* closure, MHD_Connection* connection, const char* url,
                          const char* method, const char* version, const char* body,
                          std::size_t* body_size, void** state);
};

HttpAnswer HttpServer::Parts::answer(MHD_Connection* connection, std::string_view path) {
  const char* host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST);
  if (address.loopback() && host != nullptr && !is_loopback(split_host(host).first)) {
    return {MHD_HTTP_FORBIDDEN, {}, "ask for localhost: this server is for its own machine\n"};
  }
  HttpRequest request{path};
  MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, &take_argument, &request.query);
  return pages(request);
}

/// Called once for the headers, then for every piece of a body, then to answer.
// NOLINTNEXTLINE(readability-function-size): as above
MHD_Result HttpServer::Parts::serve(void* closure, MHD_Connection* connection, const char* url,
                                    const char* method, const char* /*version*/,
                                    const char* /*body*/, std::size_t* body_size, void** state) {
  auto* parts = static_cast<Parts*>(closure);
  if (*state == nullptr) {
    *state = parts;
    const std::string_view asked = method;
    if (asked == MHD_HTTP_METHOD_GET || asked == MHD_HTTP_METHOD_HEAD) return MHD_YES;
    return queue(connection,
                 {MHD_HTTP_METHOD_NOT_ALLOWED, HttpAnswer{}.type, "GET and HEAD only\n"});
  }
  if (*body_size != 0) {
    *body_size = 0;
    return MHD_YES;
  }
  HttpAnswer answer = parts->answer(connection, url);
  if (answer.type.empty()) answer.type = HttpAnswer{}.type;
  return queue(connection, answer);
}

HttpServer::HttpServer(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

HttpServer::~HttpServer() {
  if (parts_->daemon != nullptr) MHD_stop_daemon(parts_->daemon);
}

Result<std::unique_ptr<HttpServer>> HttpServer::open(const std::string& address, HttpPages pages,
                                                     const HttpOptions& options) {
  auto parts = std::make_unique<Parts>();
  ACCRETE_TRY(parts->address, parse_http_address(address));
  parts->pages = std::move(pages);
  const SocketAddress bound = *socket_address(parts->address);
  const unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL | MHD_USE_ERROR_LOG |
                         (bound.six ? static_cast<unsigned>(MHD_USE_IPv6) : 0u);
  parts->daemon = MHD_start_daemon(
      flags, parts->address.port, nullptr, nullptr, &Parts::serve, parts.get(),
      MHD_OPTION_EXTERNAL_LOGGER, &log_line, nullptr, MHD_OPTION_SOCK_ADDR, bound.get(),
      MHD_OPTION_CONNECTION_LIMIT, options.connections_max, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
      std::size_t{options.connection_bytes_max}, MHD_OPTION_CONNECTION_TIMEOUT,
      options.silence_seconds_max, MHD_OPTION_END);
  if (parts->daemon == nullptr) {
    const std::string cause = std::error_code(errno, std::system_category()).message();
    return Error{Errc::Unavailable,
                 "cannot listen on " + address + ": " + cause + "; is another daemon there?"};
  }
  parts->port = MHD_get_daemon_info(parts->daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(parts)));
}

std::string HttpServer::bound_address() const {
  HttpAddress bound = parts_->address;
  bound.port = parts_->port;
  return bound.text();
}

}  // namespace accrete::daemon
