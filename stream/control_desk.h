// Questions on their way to whoever can answer them: checked, counted, bounded. Knows no socket.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "stream/publish_server.h"

namespace accrete::stream {

class ControlDesk {
 public:
  /// `ask` takes a question or returns false; a question taken must be answered, however late.
  ControlDesk(std::function<bool(ControlQuestion)> ask, std::size_t open_max);

  /// One ToControl frame of `peer`: passed on (nullopt), or refused with the serialized
  /// wire.FromControl that says why. Any bytes are safe.
  std::optional<std::string> handle(std::string_view peer, std::string_view frame);

  /// An answer for `peer` is about to be sent; one question fewer is open.
  void answered(const std::string& peer);

  std::size_t open() const { return open_; }
  std::uint64_t questions() const { return questions_; }
  std::uint64_t faults() const { return faults_; }

 private:
  std::function<bool(ControlQuestion)> ask_;
  std::size_t open_max_;
  std::size_t open_ = 0;
  std::map<std::string, std::size_t, std::less<>> open_of_;
  std::uint64_t questions_ = 0;
  std::uint64_t faults_ = 0;
};

}  // namespace accrete::stream
