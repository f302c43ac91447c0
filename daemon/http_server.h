// HTTP for people and monitors: pages made by a function, served on a thread of their own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proto/result.h"

namespace accrete::daemon {

struct HttpAnswer {
  unsigned status = 200;
  std::string type = "text/plain; charset=utf-8";
  std::string body;
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

/// What is asked of us beyond these is refused: the other connections are served as before.
struct HttpOptions {
  unsigned connections_max = 64;
  unsigned connection_bytes_max = 32u << 10;  ///< of one connection's request line and headers
  unsigned silence_seconds_max = 15;          ///< then a connection is closed
};

/// GET and HEAD only, others are refused before their body is read; a body of these is ignored. On
/// loopback only requests that name a loopback host are answered, so that a page of elsewhere
/// cannot have a browser ask for it.
class HttpServer {
 public:
  /// Bind and serve until destroyed. Errors: Malformed as above; Unavailable: the address is taken.
  static Result<std::unique_ptr<HttpServer>> open(const std::string& address, HttpPages pages,
                                                  const HttpOptions& options = {});
  ~HttpServer();

  /// With the port that was taken.
  std::string bound_address() const;

 private:
  struct Parts;
  explicit HttpServer(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace accrete::daemon
