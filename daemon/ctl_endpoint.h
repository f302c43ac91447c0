// Where a command finds the daemon: options that all commands share.
#pragma once

#include <chrono>
#include <string>

#include <CLI/CLI.hpp>

#include "daemon/config.h"
#include "proto/result.h"
#include "stream/endpoint.h"

namespace accrete::daemon {

struct EndpointFlags {
  std::string config;          ///< configuration file of the daemon; "" = its defaults
  std::string curve_key_file;  ///< this client's pair; "" = a fresh one
  std::string server_key;      ///< the daemon's public key

  void add_to(CLI::App& command);
};

/// The configuration that the flags name, or the default one.
Result<Config> config_of(const EndpointFlags& flags);

/// `address`, with the keys that the flags and the configuration give.
/// Errors: Malformed for a key file without the daemon's key; as read_key_file().
Result<stream::EndpointOptions> endpoint_of(const EndpointFlags& flags, const Config& config,
                                            const std::string& address);

}  // namespace accrete::daemon
