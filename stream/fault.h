// How the daemon's faults and its silence become errors at the other end.
#pragma once

#include <chrono>
#include <string>

#include <stream.pb.h>

#include "proto/result.h"

namespace accrete::stream {

/// The daemon's own words and code; Malformed for a code this library does not know.
inline Error error_of(const wire::Fault& fault) {
  const bool known =
      fault.code() >= wire::Fault::MALFORMED && fault.code() <= wire::Fault::CORRUPTION;
  return Error{known ? static_cast<Errc>(fault.code()) : Errc::Malformed, fault.detail()};
}

inline Error unanswered(const std::string& address, std::chrono::milliseconds waited) {
  return Error{Errc::Unavailable, "no answer from " + address + " in " +
                                      std::to_string(waited.count()) + " ms; is accreted running?"};
}

}  // namespace accrete::stream
