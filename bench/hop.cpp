// One hop over loopback tcp, with and without an append file behind it.
#include "bench/hop.h"

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>

#include <fcntl.h>
#include <unistd.h>

#include "bench/measure.h"
#include "daemon/clock.h"
#include "stream/socket.h"

namespace accrete::bench {
namespace {

using namespace std::chrono_literals;

stream::EndpointOptions loopback(const std::string& address) {
  stream::EndpointOptions options;
  options.address = address;
  options.high_water_mark = 1 << 20;  // the credit bounds what is in flight
  return options;
}

/// Receives, writes, syncs, acknowledges by the number of messages so far.
class Receiver {
 public:
  Receiver(stream::Socket socket, const HopOptions& options, std::size_t messages)
      : socket_(std::move(socket)), options_(options), messages_(messages) {
    if (options.append_path.empty()) return;
    file_ = ::open(options.append_path.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    check(file_ >= 0, options.append_path + " cannot be opened");
  }
  Receiver(const Receiver&) = delete;
  Receiver& operator=(const Receiver&) = delete;
  ~Receiver() {
    if (file_ >= 0) ::close(file_);
  }

  void run() {
    while (received_ < messages_) {
      stream::Waiting item{&socket_};
      if (!must(stream::wait({&item, 1}, 10s))) continue;
      const std::size_t before = received_;
      while (received_ - before < options_.group_messages && must(socket_.receive(frames_)))
        take();
      if (received_ != before) commit();
    }
  }

 private:
  void take() {
    peer_ = frames_[0].view();
    group_ += frames_[1].view();
    ++received_;
  }
  void commit() {
    if (file_ >= 0) {
      const auto written = ::write(file_, group_.data(), group_.size());
      check(written == static_cast<ssize_t>(group_.size()) && ::fdatasync(file_) == 0,
            "the append file cannot be written");
    }
    group_.clear();
    const std::uint64_t count = received_;
    const std::array<std::string_view, 2> reply = {
        peer_, {reinterpret_cast<const char*>(&count), sizeof count}};
    must(socket_.send(reply));
  }

  stream::Socket socket_;
  HopOptions options_;
  std::size_t messages_;
  std::size_t received_ = 0;
  int file_ = -1;
  std::string group_;
  std::string peer_;
  std::vector<stream::Frame> frames_;
};

}  // namespace

double hop_seconds(const std::vector<std::string_view>& messages, const HopOptions& options) {
  stream::Context context;
  auto bound = must(stream::Socket::bind(context.get(), stream::SocketKind::Router,
                                         loopback("tcp://127.0.0.1:*")));
  const std::string address = bound.bound_address();
  // Sockets may move between threads while nobody uses them: the join is the fence.
  std::thread receiver([socket = std::move(bound), &options, &messages]() mutable {
    Receiver(std::move(socket), options, messages.size()).run();
  });
  auto sender =
      must(stream::Socket::connect(context.get(), stream::SocketKind::Dealer, loopback(address)));
  const double started = daemon::steady_seconds();
  std::vector<std::size_t> sent_bytes{0};
  std::size_t acknowledged = 0;
  std::vector<stream::Frame> frames;
  const auto take_acknowledgements = [&] {
    while (must(sender.receive(frames))) {
      std::uint64_t count = 0;
      frames[0].view().copy(reinterpret_cast<char*>(&count), sizeof count);
      acknowledged = count;
    }
  };
  for (const std::string_view message : messages) {
    while (sent_bytes.back() - sent_bytes[acknowledged] + message.size() > options.credit_bytes) {
      stream::Waiting item{&sender};
      static_cast<void>(must(stream::wait({&item, 1}, 10s)));
      take_acknowledgements();
    }
    must(sender.send(message));
    sent_bytes.push_back(sent_bytes.back() + message.size());
    take_acknowledgements();
  }
  while (acknowledged < messages.size()) {
    stream::Waiting item{&sender};
    static_cast<void>(must(stream::wait({&item, 1}, 10s)));
    take_acknowledgements();
  }
  const double seconds = daemon::steady_seconds() - started;
  receiver.join();
  return seconds;
}

struct Echo::Parts {
  stream::Context context;
  std::atomic<bool> stop{false};
  std::thread thread;
  std::unique_ptr<stream::Socket> socket;
  std::vector<stream::Frame> frames;
};

Echo::Echo() : parts_(std::make_unique<Parts>()) {
  auto bound = must(stream::Socket::bind(parts_->context.get(), stream::SocketKind::Router,
                                         loopback("tcp://127.0.0.1:*")));
  parts_->socket = std::make_unique<stream::Socket>(must(stream::Socket::connect(
      parts_->context.get(), stream::SocketKind::Dealer, loopback(bound.bound_address()))));
  parts_->thread = std::thread([socket = std::move(bound), &stop = parts_->stop]() mutable {
    std::vector<stream::Frame> frames;
    while (!stop) {
      stream::Waiting item{&socket};
      if (!must(stream::wait({&item, 1}, 50ms))) continue;
      while (must(socket.receive(frames))) {
        const std::array<std::string_view, 2> reply = {frames[0].view(), frames[1].view()};
        must(socket.send(reply));
      }
    }
  });
}

Echo::~Echo() {
  parts_->stop = true;
  parts_->thread.join();
}

double Echo::round_trip(std::string_view message) {
  const double started = daemon::steady_seconds();
  must(parts_->socket->send(message));
  while (!must(parts_->socket->receive(parts_->frames))) {
    stream::Waiting item{parts_->socket.get()};
    static_cast<void>(must(stream::wait({&item, 1}, 10s)));
  }
  return daemon::steady_seconds() - started;
}

}  // namespace accrete::bench
