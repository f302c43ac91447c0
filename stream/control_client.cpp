// One question to the control socket and its answer.
#include <algorithm>
#include <array>
#include <vector>

#include <stream.pb.h>

#include "stream/client.h"
#include "stream/fault.h"
#include "stream/socket.h"

namespace accrete::stream {

Result<std::string> ask_control(const EndpointOptions& endpoint, std::string_view question,
                                std::chrono::milliseconds timeout) {
  using std::chrono::milliseconds;
  wire::ToControl asked;
  if (!asked.ParseFromArray(question.data(), static_cast<int>(question.size()))) {
    return Error{Errc::Malformed, "the question is not a serialized ToControl message"};
  }
  const Instant deadline = now() + timeout;
  const Context context;
  ACCRETE_TRY(Socket dealer, Socket::connect(context.get(), SocketKind::Dealer, endpoint));
  ACCRETE_DO(dealer.send(question));
  std::vector<Frame> frames;
  wire::FromControl answer;
  std::array<Waiting, 1> items{};
  items[0].socket = &dealer;
  for (;;) {
    ACCRETE_TRY(const bool received, dealer.receive(frames));
    if (received) {
      const std::string_view bytes = frames.back().view();
      if (!answer.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
        return Error{Errc::Malformed, endpoint.address + " does not answer as a control socket"};
      }
      if (answer.request() != asked.request()) continue;
      if (answer.has_fault()) return error_of(answer.fault());
      return std::string(bytes);
    }
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - now());
    if (left <= milliseconds(0)) return unanswered(endpoint.address, timeout);
    ACCRETE_TRY([[maybe_unused]] const bool ready, stream::wait(items, left));
  }
}

}  // namespace accrete::stream
