// Questions on the control socket.
#include "bench/control.h"

#include <chrono>

#include <stream.pb.h>

#include "bench/measure.h"
#include "stream/client.h"

namespace accrete::bench {
namespace {

nlohmann::json ask(const daemon::Server& server, const wire::ToControl& question) {
  stream::EndpointOptions endpoint;
  endpoint.address = server.control_address();
  const std::string bytes =
      must(stream::ask_control(endpoint, question.SerializeAsString(), std::chrono::minutes(5)));
  wire::FromControl answer;
  check(answer.ParseFromString(bytes) && answer.has_json(), "the control socket answers in JSON");
  return nlohmann::json::parse(answer.json());
}

}  // namespace

void drain(const daemon::Server& server) {
  wire::ToControl question;
  question.mutable_drain();
  static_cast<void>(ask(server, question));
}

nlohmann::json status_of(const daemon::Server& server) {
  wire::ToControl question;
  question.mutable_status();
  return ask(server, question);
}

}  // namespace accrete::bench
