// HTTP for people and monitors: pages made by a function, served on a thread of their own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "proto/result.h"

namespace accrete::daemon {

struct HttpAnswer {
  unsigned status = 200;
  std::string type = "text/plain; charset=utf-8";
  std::string body;
};

/// The answer to GET `path` (without a query). Called on the server's thread, one call at a time.
using HttpPages = std::function<HttpAnswer(std::string_view path)>;

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
