// HTTP for people, monitors and senders of rows: pages made by a function, requests with a body
// taken by whoever wants them, served on a thread of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proto/result.h"

namespace accrete::daemon {

struct HttpAnswer {
  unsigned status = 200;
  std::string type = "text/plain; charset=utf-8";
  std::string body = {};
  std::vector<std::pair<std::string, std::string>> headers = {};
};

struct HttpRequest {
  std::string_view path;                                        ///< without the query
  std::vector<std::pair<std::string, std::string>> query = {};  ///< decoded, as it stands there

  /// Every value of this name, in order.
  std::vector<std::string_view> values(std::string_view name) const {
    std::vector<std::string_view> out;
    for (const auto& [each, value] : query) {
      if (each == name) out.push_back(value);
    }
    return out;
  }
};

/// The answer to GET. Called on the server's thread, one call at a time.
using HttpPages = std::function<HttpAnswer(const HttpRequest& request)>;

/// A request with a body. Names of headers in small letters.
struct HttpPost {
  using Fields = std::map<std::string, std::string, std::less<>>;
  std::string path;
  Fields query;
  Fields headers;
  std::string body;

  /// "" where there is none.
  std::string_view header(std::string_view name) const;
};

/// Gives the answer to a request; once, from any thread. A request whose sender is gone, or whose
/// server ends, has its answer dropped.
using HttpReply = std::function<void(HttpAnswer)>;

/// Who takes requests with a body. Called on the server's thread.
class HttpPosts {
 public:
  virtual ~HttpPosts() = default;
  /// Asked before the body is read (which `head` lacks): an answer refuses the request.
  virtual std::optional<HttpAnswer> refuse(const HttpPost& head) = 0;
  virtual void take(HttpPost post, HttpReply reply) = 0;
};

/// What is asked of us beyond these is refused: the other connections are served as before.
struct HttpOptions {
  unsigned connections_max = 64;
  unsigned address_connections_max = 56;      ///< of one peer's address: the rest is for others
  unsigned connection_bytes_max = 32u << 10;  ///< of one connection's request line and headers
  unsigned silence_seconds_max = 15;          ///< then a connection is closed
  unsigned request_seconds_max = 30;          ///< for a request to be whole, and a page to be read
  std::size_t body_bytes_max = 8u << 20;      ///< of one request: 413
  std::size_t bodies_bytes_max = 32u << 20;   ///< of all requests not yet answered: 503
};

/// GET and HEAD for pages, whose bodies are ignored; POST where there are `posts`; others are
/// refused before their body is read. On loopback only requests that name a loopback host are
/// answered, so that a page of elsewhere cannot have a browser ask for it.
class HttpServer {
 public:
  /// Bind and serve until destroyed. `posts` (null: none) outlives the server.
  /// Errors: Malformed as above; Unavailable: the address is taken.
  static Result<std::unique_ptr<HttpServer>> open(const std::string& address, HttpPages pages,
                                                  const HttpOptions& options = {},
                                                  HttpPosts* posts = nullptr);
  /// Requests that wait for their reply are answered with 503.
  ~HttpServer();

  /// With the port that was taken.
  std::string bound_address() const;

 private:
  struct Parts;
  explicit HttpServer(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace accrete::daemon
