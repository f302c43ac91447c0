// A body of events as an offer: one event, a JSON array, or one after the other (JSON lines).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/event_reader.h"
#include "daemon/http_server.h"
#include "proto/result.h"
#include "proto/schema.h"
#include "stream/offer.h"

namespace accrete::daemon {

/// What a body held.
struct DecodedBody {
  stream::Offer offer;  ///< without its source and its answer; an event for each in the body
  std::uint64_t passed_over = 0;  ///< events that change no row
};

/// The events of `body`, as views of it. An event may span lines.
/// Errors: Malformed: something after an array, or a comma missing or too many in it.
Result<std::vector<std::string_view>> split_events(std::string_view body);

/// Read all events, each by the rules of `format`. A CloudEvents wrapper is taken off: around the
/// body (headers ce-…, binary mode) or around each event (structured mode). Two events are one
/// where their format says where they stand in their source (or CloudEvents gives them an id), and
/// that and their rows are the same; a header Idempotency-Key makes a whole body of events that
/// say no such thing known again.
/// Errors: Malformed with the number of the event, from 1.
/// Cost:   that of the reader; one reader is made a call.
Result<DecodedBody> decode_body(const HttpPost& post, EventFormat format, const Schema& schema);

}  // namespace accrete::daemon
