// The socket of who listens to alarms or to news of experts only: no numbers, no past.
#include <array>
#include <utility>

#include "proto/drift_alarm.h"
#include "proto/expert_news.h"
#include "stream/chain.h"
#include "stream/client.h"
#include "stream/fault.h"
#include "stream/socket.h"

namespace accrete::stream {

using std::chrono::milliseconds;

struct AlarmSubscriber::Parts {
  AlarmSubscriberOptions options;
  std::string topic;  // whole where one task is named: a subscription is only its beginning
  Context context;
  std::optional<Socket> socket;
  std::vector<Frame> frames;

  /// One message of a topic that `wanted` takes, in `frames`; false when `timeout` passes.
  template <class Wanted>
  Result<bool> receive(milliseconds timeout, const Wanted& wanted) {
    const Instant deadline = now() + timeout;
    std::array<Waiting, 1> items{};
    items[0].socket = &*socket;
    while (true) {
      ACCRETE_TRY(const bool received, socket->receive(frames));
      if (received && !frames.empty() && wanted(frames.front().view())) return true;
      if (received) continue;
      const Instant at = now();
      if (at >= deadline) return false;
      const auto left = std::chrono::duration_cast<milliseconds>(deadline - at) + milliseconds(1);
      ACCRETE_TRY([[maybe_unused]] const bool ready, stream::wait(items, left));
    }
  }
};

Result<std::unique_ptr<AlarmSubscriber>> AlarmSubscriber::open(
    const AlarmSubscriberOptions& options) {
  auto parts = std::make_unique<Parts>();
  parts->options = options;
  parts->topic =
      options.told == Told::Drift ? drift_topic(options.task) : expert_news_topic(options.task);
  ACCRETE_TRY(Socket socket,
              Socket::create(parts->context.get(), SocketKind::Sub, options.predictions));
  for (const std::string_view topic : {std::string_view(parts->topic), kWelcomeTopic})
    ACCRETE_DO(socket.subscribe(topic));
  ACCRETE_DO(socket.connect());
  parts->socket.emplace(std::move(socket));
  ACCRETE_TRY(const bool welcome,
              parts->receive(options.welcome_timeout,
                             [](std::string_view topic) { return topic == kWelcomeTopic; }));
  if (!welcome) return unanswered(options.predictions.address, options.welcome_timeout);
  return std::unique_ptr<AlarmSubscriber>(new AlarmSubscriber(std::move(parts)));
}

AlarmSubscriber::AlarmSubscriber(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
AlarmSubscriber::~AlarmSubscriber() = default;

Result<std::optional<Delivered>> AlarmSubscriber::next(milliseconds timeout) {
  Parts& parts = *parts_;
  ACCRETE_TRY(const bool received, parts.receive(timeout, [&](std::string_view topic) {
    return topic != kWelcomeTopic && (parts.options.task.empty() || topic == parts.topic);
  }));
  if (!received) return std::optional<Delivered>();
  if (parts.frames.size() < 3) {
    return Error{Errc::Malformed, parts.options.predictions.address + " does not send alarms"};
  }
  ACCRETE_TRY(const PredictionHeader header, PredictionHeader::decode(parts.frames[1].view()));
  return std::optional<Delivered>(
      Delivered{std::string(parts.frames[0].view()), header, std::string(parts.frames[2].view())});
}

}  // namespace accrete::stream
