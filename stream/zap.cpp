// The ZAP handler thread and its allow-lists.
#include "stream/zap.h"

#include <array>
#include <utility>

#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

namespace accrete::stream {
namespace {

constexpr const char* kZapAddress = "inproc://zeromq.zap.01";
constexpr std::size_t kKeyBytes = 32;
constexpr std::size_t kKeyChars = 40;

/// Which contexts have a gate. Sockets of several threads ask for it, so it is shared and locked.
struct Registry {
  std::mutex mutex;
  std::map<void*, std::weak_ptr<ZapGate>> gates;
};
Registry& registry() {
  static Registry instance;
  return instance;
}

/// Frames of one ZAP request: version, request id, domain, address, identity, mechanism, key, …
using ZapRequest = std::vector<std::string>;

/// False when there is no request waiting.
bool receive_request(void* socket, ZapRequest& request) {
  request.clear();
  bool more = true;
  while (more) {
    zmq_msg_t message;
    zmq_msg_init(&message);
    if (zmq_msg_recv(&message, socket, ZMQ_DONTWAIT) < 0) {
      zmq_msg_close(&message);
      return false;
    }
    request.emplace_back(static_cast<const char*>(zmq_msg_data(&message)), zmq_msg_size(&message));
    more = zmq_msg_more(&message) != 0;
    zmq_msg_close(&message);
  }
  return true;
}

}  // namespace

ZapGate::ZapGate(void* zmq_context, void* reply_socket, int stop_fd)
    : context_(zmq_context), reply_(reply_socket), stop_fd_(stop_fd), thread_([this] { run(); }) {}

Result<std::shared_ptr<ZapGate>> ZapGate::of(void* zmq_context) {
  const std::lock_guard lock(registry().mutex);
  std::weak_ptr<ZapGate>& entry = registry().gates[zmq_context];
  if (std::shared_ptr<ZapGate> gate = entry.lock()) return gate;
  void* const socket = zmq_socket(zmq_context, ZMQ_REP);
  const int linger_ms = 0;
  if (socket == nullptr || zmq_setsockopt(socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms) != 0 ||
      zmq_bind(socket, kZapAddress) != 0) {
    const std::string cause = zmq_strerror(zmq_errno());
    if (socket != nullptr) zmq_close(socket);
    return Error{Errc::Unavailable, "cannot answer for the CURVE allow-list: " + cause};
  }
  const int stop_fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  ACCRETE_CHECK(stop_fd >= 0);
  std::shared_ptr<ZapGate> gate(new ZapGate(zmq_context, socket, stop_fd));
  entry = gate;
  return gate;
}

ZapGate::~ZapGate() {
  // Under the registry's lock: whoever asks for a gate meanwhile must find the address free again.
  const std::lock_guard lock(registry().mutex);
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(stop_fd_, &one, sizeof one);
  thread_.join();
  ::close(stop_fd_);
  const auto entry = registry().gates.find(context_);
  if (entry != registry().gates.end() && entry->second.expired()) registry().gates.erase(entry);
}

Result<ZapGate::Keys> ZapGate::decode(const std::vector<std::string>& public_keys) {
  Keys keys;
  for (const std::string& key : public_keys) {
    std::array<std::uint8_t, kKeyBytes> bytes{};
    if (key.size() != kKeyChars || zmq_z85_decode(bytes.data(), key.c_str()) == nullptr) {
      return Error{Errc::Malformed,
                   "allow-list: \"" + key + "\" is not a public key of 40 Z85 characters"};
    }
    keys.emplace(bytes.begin(), bytes.end());
  }
  return keys;
}

Result<std::string> ZapGate::admit(const std::vector<std::string>& public_keys) {
  ACCRETE_TRY(Keys keys, decode(public_keys));
  const std::lock_guard lock(mutex_);
  std::string domain = "accrete-" + std::to_string(next_domain_++);
  domains_.emplace(domain, std::move(keys));
  return domain;
}

void ZapGate::forget(const std::string& domain) {
  const std::lock_guard lock(mutex_);
  domains_.erase(domain);
}

Status ZapGate::replace(void* zmq_context, const std::vector<std::string>& public_keys) {
  ACCRETE_TRY(const Keys keys, decode(public_keys));
  std::shared_ptr<ZapGate> gate;
  {
    const std::lock_guard lock(registry().mutex);
    const auto entry = registry().gates.find(zmq_context);
    if (entry != registry().gates.end()) gate = entry->second.lock();
  }
  if (!gate) return Error{Errc::NotFound, "no socket has a CURVE allow-list to replace"};
  const std::lock_guard lock(gate->mutex_);
  for (auto& [domain, listed] : gate->domains_)
    listed = keys;
  return Ok{};
}

bool ZapGate::allowed(std::string_view domain, std::string_view key_bytes) const {
  if (domain.empty()) return true;
  const std::lock_guard lock(mutex_);
  const auto found = domains_.find(domain);
  return found != domains_.end() && found->second.contains(key_bytes);
}

void ZapGate::run() {
  std::array<zmq_pollitem_t, 2> items{};
  items[0] = {reply_, 0, ZMQ_POLLIN, 0};
  items[1] = {nullptr, stop_fd_, ZMQ_POLLIN, 0};
  // A closed context ends the thread as well: then nobody is left to ask.
  while (zmq_poll(items.data(), 2, -1) >= 0 || zmq_errno() == EINTR) {
    if ((items[1].revents & ZMQ_POLLIN) != 0) break;
    if ((items[0].revents & ZMQ_POLLIN) != 0) answer();
  }
  zmq_close(reply_);
}

void ZapGate::answer() {
  ZapRequest request;
  if (!receive_request(reply_, request)) return;
  constexpr std::size_t kDomain = 2;
  constexpr std::size_t kMechanism = 5;
  constexpr std::size_t kKey = 6;
  const bool well_formed = request.size() > kKey && request[0] == "1.0";
  const bool may =
      well_formed && request[kMechanism] == "CURVE" && allowed(request[kDomain], request[kKey]);
  const std::array<std::string, 6> reply = {"1.0",
                                            request.size() > 1 ? request[1] : "",
                                            may ? "200" : "400",
                                            may ? "OK" : "this key is not on the allow-list",
                                            "",
                                            ""};
  for (std::size_t i = 0; i < reply.size(); ++i)
    zmq_send(reply_, reply[i].data(), reply[i].size(), i + 1 < reply.size() ? ZMQ_SNDMORE : 0);
}

}  // namespace accrete::stream
