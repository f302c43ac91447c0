// A body of events as an offer: one event, a JSON array, or one after the other (JSON lines).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/event_reader.h"
#include "proto/result.h"
#include "proto/schema.h"
#include "stream/offer.h"

namespace accrete::daemon {

using EventHeaders = std::map<std::string, std::string, std::less<>>;

/// What a body held.
struct DecodedBody {
  stream::Offer offer;  ///< without its source and its answer; an event for each in the body
  std::uint64_t passed_over = 0;    ///< events that change no row
  std::vector<std::string> doubts;  ///< as EventReader::never_named()
};

/// The events of `body`, as views of it. An event may span lines.
/// Errors: Malformed: something after an array, or a comma missing or too many in it.
Result<std::vector<std::string_view>> split_events(std::string_view body);

/// Read all events, each by the rules of `format`; a structured CloudEvents wrapper around an event
/// is taken off. Two events are one where their format says where they stand in their source (or
/// CloudEvents gives them an id), and that and their rows are the same; a `key` ("": none) makes
/// the events of a body that say no such thing known again by the key and their number.
/// Errors: Malformed with the number of the event, from 1.
/// Cost:   that of the reader; one reader is made a call. Threads: any.
Result<DecodedBody> decode_events(std::string_view body, std::string_view key, EventFormat format,
                                  const Schema& schema);

/// One event in binary mode of CloudEvents: what its wrapper says stands in headers `ce-…`, by
/// names in small letters; others are not looked at. Errors: as above.
Result<DecodedBody> decode_cloud_event(const EventHeaders& headers, std::string_view body,
                                       std::string_view key, EventFormat format,
                                       const Schema& schema);

}  // namespace accrete::daemon
