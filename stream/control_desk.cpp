// Checking and bounding of control questions.
#include "stream/control_desk.h"

#include <utility>

#include <stream.pb.h>

namespace accrete::stream {

ControlDesk::ControlDesk(std::function<bool(ControlQuestion)> ask, std::size_t open_max)
    : ask_(std::move(ask)), open_max_(open_max) {}

std::optional<std::string> ControlDesk::handle(std::string_view peer, std::string_view frame) {
  wire::ToControl question;
  wire::FromControl refusal;
  const bool parsed = question.ParseFromArray(frame.data(), static_cast<int>(frame.size()));
  const auto refuse = [&](wire::Fault::Code code, std::string detail) {
    ++faults_;
    refusal.set_request(parsed ? question.request() : 0);
    refusal.mutable_fault()->set_code(code);
    refusal.mutable_fault()->set_detail(std::move(detail));
    return refusal.SerializeAsString();
  };
  if (!parsed) {
    return refuse(wire::Fault::MALFORMED, "a frame of " + std::to_string(frame.size()) +
                                              " bytes is not a ToControl message "
                                              "(proto/stream.proto)");
  }
  if (question.body_case() == wire::ToControl::BODY_NOT_SET) {
    return refuse(wire::Fault::MALFORMED,
                  "ToControl without a body; send one of status, predict, explain, dead_letters, "
                  "checkpoint, drain and reload");
  }
  if (open_ >= open_max_) {
    return refuse(wire::Fault::EXHAUSTED, std::to_string(open_) +
                                              " questions wait for an answer already "
                                              "(control_open_max); ask again later");
  }
  if (!ask_({std::string(peer), std::string(frame)})) {
    return refuse(wire::Fault::EXHAUSTED,
                  "the daemon is too busy to take a question; ask again "
                  "later");
  }
  ++questions_;
  ++open_;
  ++open_of_[std::string(peer)];
  return std::nullopt;
}

void ControlDesk::answered(const std::string& peer) {
  const auto found = open_of_.find(peer);
  if (found == open_of_.end()) return;
  --open_;
  if (--found->second == 0) open_of_.erase(found);
}

}  // namespace accrete::stream
