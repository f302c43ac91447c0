// accretectl: the operator's tool.
#include <iostream>

#include <CLI/CLI.hpp>

#include "daemon/ctl_commands.h"
#include "daemon/terminal.h"

namespace {

using accrete::daemon::Exit;

int run(int count, char** arguments) {
  CLI::App app(
      "Accrete's tool: feed rows to accreted, read its predictions, ask it questions.\n"
      "Every command has --help with an example.",
      "accretectl");
  app.require_subcommand(1);
  app.set_version_flag("--version", "accretectl " ACCRETE_VERSION);
  Exit exit = Exit::Good;
  accrete::daemon::add_feed(app, exit);
  accrete::daemon::add_connect(app, exit);
  accrete::daemon::add_subscribe(app, exit);
  accrete::daemon::add_query(app, exit);
  accrete::daemon::add_top(app, exit);
  accrete::daemon::add_scores(app, exit);
  accrete::daemon::add_digest(app, exit);
  accrete::daemon::add_log(app, exit);
  accrete::daemon::add_local(app, exit);
  accrete::daemon::add_backtest(app, exit);
  accrete::daemon::add_report(app, exit);
  try {
    app.parse(count, arguments);
  } catch (const CLI::ParseError& error) {
    // CLI11 prints the help or the fault; its own exit codes are not those of sysexits.
    return app.exit(error) == 0 ? 0 : static_cast<int>(Exit::Usage);
  }
  accrete::daemon::terminal::flush();
  return static_cast<int>(exit);
}

}  // namespace

// What CLI11 throws is caught in run(); out of memory ends the process.
int main(int count, char** arguments) {  // NOLINT(bugprone-exception-escape)
  std::ios::sync_with_stdio(false);      // standard input in blocks: feed jsonl - is to be fast
  return run(count, arguments);
}
