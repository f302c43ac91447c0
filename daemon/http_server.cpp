// Serving with libmicrohttpd: one thread, every connection bounded in memory and time.
#include "daemon/http_server.h"

#include <charconv>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <system_error>
#include <thread>
#include <utility>

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <spdlog/spdlog.h>

#include "daemon/clock.h"
#include "daemon/http_address.h"

namespace accrete::daemon {
namespace {

constexpr const char* kForeign = "ask for localhost: this server is for its own machine\n";

// A body of up to so many times the bound is read, for who still sends does not hear an answer; a
// larger one has its connection closed.
constexpr std::size_t kDiscarded = 2;

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
  for (const auto& [name, value] : answer.headers)
    MHD_add_response_header(response, name.c_str(), value.c_str());
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

/// One request with a body. Its parts belong to the server's thread, but for those named below.
struct Exchange {
  explicit Exchange(MHD_Connection* from) : connection(from) {}

  MHD_Connection* const connection;
  HttpPost post;
  std::size_t charged = 0;    // our share of bodies_bytes_max
  std::size_t discarded = 0;  // of a body that is too large
  std::optional<HttpAnswer> refusal;
  bool given = false;  // to who takes it

  std::mutex mutex;                  // guards what follows
  std::optional<HttpAnswer> answer;  // given by any thread
  bool suspended = false;
  bool over = false;  // the connection is not ours any more

  /// The first answer counts.
  void reply(HttpAnswer given_answer) {
    const std::lock_guard lock(mutex);
    if (over || answer) return;
    answer = std::move(given_answer);
    if (std::exchange(suspended, false)) MHD_resume_connection(connection);
  }
};

/// What libmicrohttpd keeps for us of a request.
struct Asked {
  std::shared_ptr<Exchange> exchange;  // null: a page
};

MHD_Result collect(void* closure, MHD_ValueKind kind, const char* name, const char* value) {
  auto& fields = *static_cast<HttpPost::Fields*>(closure);
  std::string key = name;
  if (kind == MHD_HEADER_KIND) {
    for (char& letter : key)
      letter = letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
  }
  fields.insert_or_assign(std::move(key), value == nullptr ? "" : value);
  return MHD_YES;
}

HttpAnswer text_answer(unsigned status, std::string body) {
  return {status, HttpAnswer{}.type, std::move(body)};
}

HttpAnswer busy(std::string body) {
  HttpAnswer answer = text_answer(MHD_HTTP_SERVICE_UNAVAILABLE, std::move(body));
  answer.headers.emplace_back(MHD_HTTP_HEADER_RETRY_AFTER, "1");
  return answer;
}

}  // namespace

std::string_view HttpPost::header(std::string_view name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? std::string_view() : std::string_view(found->second);
}

struct HttpServer::Parts {
  HttpAddress address;
  HttpPages pages;
  HttpPosts* posts = nullptr;
  HttpOptions options;
  MHD_Daemon* daemon = nullptr;
  std::uint16_t port = 0;
  std::size_t bodies = 0;  // bytes; the server's thread alone

  std::mutex mutex;                             // guards what follows
  std::set<std::shared_ptr<Exchange>> waiting;  // for their reply; only walked at the end
  bool ending = false;

  /// A connection, and since when its present request is on the way.
  struct Line {
    int fd = -1;
    std::optional<double> since;  // nothing: it is whole, and the answer is ours to give
  };
  std::mutex line_mutex;  // guards what follows
  std::map<MHD_Connection*, Line> lines;
  std::condition_variable stopping;
  bool stopped = false;
  std::thread reaper;

  void reap();
  void note_line(MHD_Connection* connection, std::optional<double> since);
  static void connected(void* closure, MHD_Connection* connection, void** context,
                        MHD_ConnectionNotificationCode what);

  bool is_foreign(MHD_Connection* connection) const;
  MHD_Result begin(MHD_Connection* connection, const char* url, std::string_view method,
                   void** state);
  std::optional<HttpAnswer> check_head(const HttpPost& head) const;
  void read_body(Exchange& exchange, std::string_view piece);
  MHD_Result finish(MHD_Connection* connection, const std::shared_ptr<Exchange>& exchange);
  void end();

  // NOLINTNEXTLINE(readability-function-size): the signature is libmicrohttpd's
  static MHD_Result serve(void* closure, MHD_Connection* connection, const char* url,
                          const char* method, const char* version, const char* body,
                          std::size_t* body_size, void** state);
  static void completed(void* closure, MHD_Connection* connection, void** state,
                        MHD_RequestTerminationCode how);
};

/// A peer that always says a little is never silent, and could hold its place for good. Time counts
/// from the end of the request before; silence between them is bounded by itself.
void HttpServer::Parts::reap() {
  std::unique_lock lock(line_mutex);
  while (!stopping.wait_for(lock, std::chrono::seconds(1), [this] { return stopped; })) {
    const double oldest = steady_seconds() - options.request_seconds_max;
    for (const auto& [connection, line] : lines) {
      if (line.since && *line.since < oldest) ::shutdown(line.fd, SHUT_RDWR);
    }
  }
}

void HttpServer::Parts::note_line(MHD_Connection* connection, std::optional<double> since) {
  const std::lock_guard lock(line_mutex);
  if (const auto found = lines.find(connection); found != lines.end()) found->second.since = since;
}

/// Its end is told before its descriptor is closed.
void HttpServer::Parts::connected(void* closure, MHD_Connection* connection, void** /*context*/,
                                  MHD_ConnectionNotificationCode what) {
  auto* parts = static_cast<Parts*>(closure);
  const std::lock_guard lock(parts->line_mutex);
  if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
    parts->lines.erase(connection);
    return;
  }
  const auto* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
  if (info != nullptr) parts->lines[connection] = {info->connect_fd, steady_seconds()};
}

bool HttpServer::Parts::is_foreign(MHD_Connection* connection) const {
  const char* host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST);
  return address.loopback() && host != nullptr && !is_loopback(split_host(host).first);
}

std::optional<HttpAnswer> HttpServer::Parts::check_head(const HttpPost& head) const {
  if (std::optional<HttpAnswer> refusal = posts->refuse(head)) return refusal;
  const std::string_view length = head.header("content-length");
  std::uint64_t bytes = 0;
  const auto read = std::from_chars(length.data(), length.data() + length.size(), bytes);
  if (!length.empty() && (read.ec != std::errc() || bytes > kDiscarded * options.body_bytes_max)) {
    return text_answer(MHD_HTTP_CONTENT_TOO_LARGE, "a body of more than " +
                                                       std::to_string(options.body_bytes_max) +
                                                       " bytes; send several requests\n");
  }
  if (bytes + bodies > options.bodies_bytes_max) {
    return busy("the requests not yet answered are too large together; try again\n");
  }
  return std::nullopt;
}

MHD_Result HttpServer::Parts::begin(MHD_Connection* connection, const char* url,
                                    std::string_view method, void** state) {
  const bool reads = method == MHD_HTTP_METHOD_GET || method == MHD_HTTP_METHOD_HEAD;
  if (!reads && (method != MHD_HTTP_METHOD_POST || posts == nullptr)) {
    HttpAnswer refusal =
        text_answer(MHD_HTTP_METHOD_NOT_ALLOWED,
                    posts == nullptr ? "GET and HEAD only\n" : "GET and HEAD, or POST /ingest\n");
    refusal.headers.emplace_back(MHD_HTTP_HEADER_ALLOW,
                                 posts == nullptr ? "GET, HEAD" : "GET, HEAD, POST");
    return queue(connection, refusal);
  }
  auto asked = std::make_unique<Asked>();
  if (!reads) {
    asked->exchange = std::make_shared<Exchange>(connection);
    HttpPost& post = asked->exchange->post;
    post.path = url;
    MHD_get_connection_values(connection, MHD_HEADER_KIND, &collect, &post.headers);
    MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, &collect, &post.query);
    std::optional<HttpAnswer> refusal;
    if (is_foreign(connection)) {
      refusal = text_answer(MHD_HTTP_FORBIDDEN, kForeign);
    } else {
      refusal = check_head(post);
    }
    if (refusal) return queue(connection, *refusal);
  }
  *state = asked.release();
  return MHD_YES;
}

/// What is too much is not kept, and refused at the end: an answer has to wait for that.
void HttpServer::Parts::read_body(Exchange& exchange, std::string_view piece) {
  if (!exchange.refusal) {
    if (exchange.post.body.size() + piece.size() > options.body_bytes_max) {
      exchange.refusal =
          text_answer(MHD_HTTP_CONTENT_TOO_LARGE, "a body of more than " +
                                                      std::to_string(options.body_bytes_max) +
                                                      " bytes; send several requests\n");
    } else if (bodies + piece.size() > options.bodies_bytes_max) {
      exchange.refusal = busy("the requests not yet answered are too large together; try again\n");
    }
  }
  if (exchange.refusal) {
    bodies -= std::exchange(exchange.charged, 0);
    exchange.post.body = std::string();  // `= {}` would keep the room
    exchange.discarded += piece.size();
    return;
  }
  exchange.post.body.append(piece);
  exchange.charged += piece.size();
  bodies += piece.size();
}

MHD_Result HttpServer::Parts::finish(MHD_Connection* connection,
                                     const std::shared_ptr<Exchange>& exchange) {
  if (exchange->refusal) return queue(connection, *exchange->refusal);
  if (!std::exchange(exchange->given, true)) {
    {
      const std::lock_guard lock(mutex);
      if (ending) return queue(connection, busy("the daemon stops\n"));
      waiting.insert(exchange);
    }
    note_line(connection, std::nullopt);
    posts->take(std::move(exchange->post),
                [exchange](HttpAnswer answer) { exchange->reply(std::move(answer)); });
    const std::lock_guard lock(exchange->mutex);
    if (!exchange->answer) {
      exchange->suspended = true;
      MHD_suspend_connection(connection);
      return MHD_YES;
    }
  }
  const std::lock_guard lock(exchange->mutex);
  return exchange->answer ? queue(connection, *exchange->answer) : MHD_NO;
}

/// Called once for the headers, then for every piece of a body, then to answer.
// NOLINTNEXTLINE(readability-function-size): as above
MHD_Result HttpServer::Parts::serve(void* closure, MHD_Connection* connection, const char* url,
                                    const char* method, const char* /*version*/, const char* body,
                                    std::size_t* body_size, void** state) {
  auto* parts = static_cast<Parts*>(closure);
  if (*state == nullptr) return parts->begin(connection, url, method, state);
  const auto& exchange = static_cast<Asked*>(*state)->exchange;
  if (*body_size != 0) {
    const std::string_view piece(body, std::exchange(*body_size, 0));
    if (exchange == nullptr) return MHD_YES;
    parts->read_body(*exchange, piece);
    return exchange->discarded > kDiscarded * parts->options.body_bytes_max ? MHD_NO : MHD_YES;
  }
  if (exchange != nullptr) return parts->finish(connection, exchange);
  if (parts->is_foreign(connection))
    return queue(connection, text_answer(MHD_HTTP_FORBIDDEN, kForeign));
  HttpRequest request{url};
  MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, &take_argument, &request.query);
  HttpAnswer answer = parts->pages(request);
  if (answer.type.empty()) answer.type = HttpAnswer{}.type;
  return queue(connection, answer);
}

void HttpServer::Parts::completed(void* closure, MHD_Connection* connection, void** state,
                                  MHD_RequestTerminationCode /*how*/) {
  auto* parts = static_cast<Parts*>(closure);
  parts->note_line(connection, steady_seconds());
  const std::unique_ptr<Asked> asked(static_cast<Asked*>(std::exchange(*state, nullptr)));
  if (asked == nullptr || asked->exchange == nullptr) return;
  Exchange& exchange = *asked->exchange;
  parts->bodies -= exchange.charged;
  {
    const std::lock_guard lock(exchange.mutex);
    exchange.over = true;
  }
  const std::lock_guard lock(parts->mutex);
  parts->waiting.erase(asked->exchange);
}

void HttpServer::Parts::end() {
  std::set<std::shared_ptr<Exchange>> open;
  {
    const std::lock_guard lock(mutex);
    ending = true;
    open = waiting;
  }
  for (const auto& exchange : open)
    exchange->reply(busy("the daemon stops\n"));
  if (reaper.joinable()) {
    {
      const std::lock_guard lock(line_mutex);
      stopped = true;
    }
    stopping.notify_all();
    reaper.join();
  }
  if (daemon != nullptr) MHD_stop_daemon(daemon);
}

HttpServer::HttpServer(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

HttpServer::~HttpServer() {
  parts_->end();
}

Result<std::unique_ptr<HttpServer>> HttpServer::open(const std::string& address, HttpPages pages,
                                                     const HttpOptions& options, HttpPosts* posts) {
  auto parts = std::make_unique<Parts>();
  ACCRETE_TRY(parts->address, parse_http_address(address));
  parts->pages = std::move(pages);
  parts->posts = posts;
  parts->options = options;
  const SocketAddress bound = *socket_address(parts->address);
  const unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL | MHD_USE_ERROR_LOG |
                         MHD_ALLOW_SUSPEND_RESUME |
                         (bound.six ? static_cast<unsigned>(MHD_USE_IPv6) : 0u);
  parts->daemon = MHD_start_daemon(
      flags, parts->address.port, nullptr, nullptr, &Parts::serve, parts.get(),
      MHD_OPTION_EXTERNAL_LOGGER, &log_line, nullptr, MHD_OPTION_SOCK_ADDR, bound.get(),
      MHD_OPTION_NOTIFY_CONNECTION, &Parts::connected, parts.get(), MHD_OPTION_NOTIFY_COMPLETED,
      &Parts::completed, parts.get(), MHD_OPTION_CONNECTION_LIMIT, options.connections_max,
      MHD_OPTION_PER_IP_CONNECTION_LIMIT, options.address_connections_max,
      MHD_OPTION_CONNECTION_MEMORY_LIMIT, std::size_t{options.connection_bytes_max},
      MHD_OPTION_CONNECTION_TIMEOUT, options.silence_seconds_max, MHD_OPTION_END);
  if (parts->daemon == nullptr) {
    const std::string cause = std::error_code(errno, std::system_category()).message();
    return Error{Errc::Unavailable,
                 "cannot listen on " + address + ": " + cause + "; is another daemon there?"};
  }
  parts->port = MHD_get_daemon_info(parts->daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
  parts->reaper = std::thread([raw = parts.get()] { raw->reap(); });
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(parts)));
}

std::string HttpServer::bound_address() const {
  HttpAddress bound = parts_->address;
  bound.port = parts_->port;
  return bound.text();
}

}  // namespace accrete::daemon
