// accretectl log verify, keys and config: commands that need no daemon.
#include <memory>
#include <string>

#include "daemon/config.h"
#include "daemon/ctl_commands.h"
#include "daemon/terminal.h"
#include "store/database.h"
#include "store/log.h"
#include "stream/endpoint.h"

namespace accrete::daemon {
namespace {

Result<store::Log::Verified> verify(const std::string& path) {
  store::DatabaseOptions options;
  options.path = path;
  options.read_only = true;
  ACCRETE_TRY(const std::unique_ptr<store::Database> database, store::Database::open(options));
  ACCRETE_TRY(const store::Log log, store::Log::open(*database));
  return log.verify();
}

Exit run_verify(const std::string& path) {
  const Result<store::Log::Verified> verified = verify(path);
  if (!verified) return terminal::fail(verified.error());
  const store::Log::Verified& log = verified.value();
  terminal::print("whole: " + terminal::grouped(log.records) + " records in " +
                  terminal::grouped(log.transactions) + " transactions, " +
                  terminal::bytes_text(log.bytes) + "\n");
  return Exit::Good;
}

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
  CLI::App* log = app.add_subcommand("log", "the change log of a store");
  log->require_subcommand(1);
  log->footer("Example:\n  accretectl log verify /var/lib/accreted");
  CLI::App* verify_command =
      log->add_subcommand("verify", "read the whole log of a store and check that it is sound");
  const auto store_path = std::make_shared<std::string>();
  verify_command->add_option("store", *store_path, "folder of the store")->required();
  verify_command->footer("Example:\n  accretectl log verify /var/lib/accreted");
  verify_command->callback([store_path, &exit] { exit = run_verify(*store_path); });

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
