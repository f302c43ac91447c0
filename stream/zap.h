// Who may connect: the ZAP handler (RFC 27) of a context, one thread that answers libzmq's question
// "may this CURVE key in?" from the allow-lists of the sockets alive.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "proto/result.h"

namespace accrete::stream {

class ZapGate {
 public:
  /// The gate of a context: made on first use, shared by its sockets, gone with the last of them.
  /// Errors: Unavailable when someone else answers ZAP in this context already.
  static Result<std::shared_ptr<ZapGate>> of(void* zmq_context);
  ~ZapGate();
  ZapGate(const ZapGate&) = delete;
  ZapGate& operator=(const ZapGate&) = delete;

  /// Register an allow-list of Z85 public keys; returns the ZAP domain to give the socket.
  /// Errors: Malformed for a key that is not Z85.
  Result<std::string> admit(const std::vector<std::string>& public_keys);
  void forget(const std::string& domain);

  /// Another allow-list for every socket of the context that has one. Whoever is connected stays
  /// so: libzmq asks when a connection is made. Threads: any.
  /// Errors: Malformed for a key that is not Z85, NotFound where no socket has a list; then nothing
  ///         has changed.
  static Status replace(void* zmq_context, const std::vector<std::string>& public_keys);

  /// May a client with this 32-byte key into `domain`? The empty domain (a socket without an
  /// allow-list) is open to every key that got through the handshake.
  bool allowed(std::string_view domain, std::string_view key_bytes) const;

 private:
  ZapGate(void* zmq_context, void* reply_socket, int stop_fd);
  void run();
  void answer();

  using Keys = std::set<std::string, std::less<>>;  // 32 bytes each

  static Result<Keys> decode(const std::vector<std::string>& public_keys);

  void* context_;
  void* reply_;
  int stop_fd_;
  mutable std::mutex mutex_;
  std::map<std::string, Keys, std::less<>> domains_;
  std::uint64_t next_domain_ = 1;
  std::thread thread_;
};

}  // namespace accrete::stream
