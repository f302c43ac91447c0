// Where a command finds the daemon.
#include "daemon/ctl_endpoint.h"

#include <string_view>

namespace accrete::daemon {
namespace {

/// A daemon that listens on every interface is reached on the loopback one.
std::string reachable(const std::string& address) {
  for (const std::string_view every : {"tcp://*:", "tcp://0.0.0.0:"}) {
    if (address.starts_with(every)) return "tcp://127.0.0.1:" + address.substr(every.size());
  }
  return address;
}

}  // namespace

void EndpointFlags::add_to(CLI::App& command) {
  command.add_option("--config", config, "the daemon's configuration; without it its defaults");
  command.add_option("--curve-key-file", curve_key_file,
                     "this client's CURVE pair (accretectl keys); without it a fresh one");
  command.add_option("--server-key", server_key, "the daemon's public CURVE key, 40 characters");
}

Result<Config> config_of(const EndpointFlags& flags) {
  if (flags.config.empty()) return Config();
  return load_config(flags.config);
}

Result<stream::EndpointOptions> endpoint_of(const EndpointFlags& flags, const Config& config,
                                            const std::string& address) {
  stream::EndpointOptions options;
  options.address = reachable(address);
  std::string server_key = flags.server_key;
  if (server_key.empty() && !config.endpoints.curve_key_file.empty()) {
    ACCRETE_TRY(const stream::CurveKeys daemon,
                stream::read_key_file(config.endpoints.curve_key_file));
    server_key = daemon.public_key;
  }
  if (server_key.empty()) {
    if (flags.curve_key_file.empty()) return options;
    return Error{Errc::Malformed,
                 "--curve-key-file needs the daemon's public key; add --server-key, or --config "
                 "with [curve] key_file"};
  }
  if (flags.curve_key_file.empty()) {
    ACCRETE_TRY(options.curve, stream::make_keys());
  } else {
    ACCRETE_TRY(options.curve, stream::read_key_file(flags.curve_key_file));
  }
  options.curve.server_key = server_key;
  return options;
}

}  // namespace accrete::daemon
