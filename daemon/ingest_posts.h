// POST /ingest: change events over HTTP, durable before they are answered.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/gauges.h"
#include "daemon/http_server.h"
#include "proto/result.h"
#include "proto/schema.h"
#include "stream/mailbox.h"
#include "stream/offer.h"

namespace accrete::daemon {

/// The token of a file: one line of 16 to 4096 visible ASCII characters.
/// Errors: NotFound; Malformed: no token, or a file that others may read.
Result<std::string> read_token(const std::string& path);

/// | answer | when |
/// |---|---|
/// | 200 | every row of the body is durable, now or before |
/// | 400 | an event or a record is wrong: which, and why; nothing of the body was taken |
/// | 401, 403 | no token or a wrong one; a browser asks; a public address without a token |
/// | 404, 405, 415 | another path, method or type of body |
/// | 413 | a body that is too large |
/// | 503 | the log lags, is full, or the daemon starts or stops: send it again |
///
/// Threads: called by the HTTP server's; answers come from the ingest thread.
class IngestPosts final : public HttpPosts {
 public:
  struct World {
    const Schema* schema = nullptr;
    stream::Mailbox<stream::Offer>* offers = nullptr;
    Gauges* gauges = nullptr;
    std::function<bool()> open;  ///< whether the ingest thread runs
    std::string token;           ///< "": none is asked for
    bool loopback = true;        ///< only this machine can ask
  };

  explicit IngestPosts(World world) : world_(std::move(world)) {}

  std::optional<HttpAnswer> refuse(const HttpPost& head) override;
  void take(HttpPost post, HttpReply reply) override;

 private:
  std::optional<HttpAnswer> check(const HttpPost& head) const;
  std::optional<HttpAnswer> check_sender(const HttpPost& head) const;

  World world_;
};

}  // namespace accrete::daemon
