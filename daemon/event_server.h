// The events socket: change events as JSON from any ZeroMQ peer (DEALER or REQ), durable before
// they are answered. It has a thread and a socket of its own: decoding holds up no producer of the
// ingest socket, and a peer that sends faster than events can be taken is kept waiting by ZeroMQ,
// which a socket shared with others could not do.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "daemon/gauges.h"
#include "proto/result.h"
#include "proto/schema.h"
#include "stream/endpoint.h"
#include "stream/mailbox.h"
#include "stream/offer.h"

namespace accrete::daemon {

class EventServer {
 public:
  struct World {
    void* zmq_context = nullptr;
    const Schema* schema = nullptr;
    stream::Mailbox<stream::Offer>* offers = nullptr;  ///< with a place for each that waits here
    Gauges* gauges = nullptr;
    std::function<void(const Error&)> failed;  ///< the thread has ended
  };

  /// Bind and serve until destroyed. All of `world` outlives the server.
  /// Errors: Malformed, Unavailable as stream::Socket::bind().
  static Result<std::unique_ptr<EventServer>> open(const stream::EndpointOptions& endpoint,
                                                   World world);
  /// Reads no more, and answers what is under way while the ingest thread still does (5 s at most).
  ~EventServer();

  /// With the port that was taken.
  std::string bound_address() const;

 private:
  struct Parts;
  explicit EventServer(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace accrete::daemon
