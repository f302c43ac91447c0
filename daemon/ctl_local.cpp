// accretectl keys and config: commands that need no daemon.
#include <memory>
#include <string>

#include "daemon/config.h"
#include "daemon/ctl_commands.h"
#include "daemon/terminal.h"
#include "stream/endpoint.h"

namespace accrete::daemon {
namespace {

Exit run_keys() {
  const Result<stream::CurveKeys> keys = stream::make_keys();
  if (!keys) return terminal::fail(keys.error());
  terminal::print("public = " + keys.value().public_key + "\nsecret = " + keys.value().secret_key +
                  "\n");
  return Exit::Good;
}

Exit run_config(const std::string& path) {
  const Result<Config> config = load_config(path);
  if (!config) return terminal::fail_config(config.error());
  terminal::print(print_config(config.value()));
  return Exit::Good;
}

}  // namespace

void add_local(CLI::App& app, Exit& exit) {
  CLI::App* keys = app.add_subcommand("keys", "a fresh CURVE key pair for a key file");
  keys->footer("Example:\n  (umask 077; accretectl keys > client.key)");
  keys->callback([&exit] { exit = run_keys(); });

  CLI::App* config = app.add_subcommand("config", "check a configuration and print all of it");
  const auto config_path = std::make_shared<std::string>();
  config->add_option("file", *config_path, "configuration file")->required();
  config->footer("Example:\n  accretectl config accreted.toml");
  config->callback([config_path, &exit] { exit = run_config(*config_path); });
}

}  // namespace accrete::daemon
