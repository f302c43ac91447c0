// accretectl: the operator's tool.
#include <algorithm>
#include <iostream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "daemon/ctl_commands.h"
#include "daemon/terminal.h"
#include "proto/schema.h"

namespace {

using accrete::daemon::Exit;

/// The word that stands where a command should, and what was perhaps meant; "" if there is none.
std::string unknown_command(const CLI::App& app) {
  const CLI::App* last = &app;
  std::string path;
  while (!last->get_subcommands().empty()) {
    last = last->get_subcommands().front();
    path += last->get_name() + " ";
  }
  std::vector<std::string> names;
  for (const CLI::App* command : last->get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(command->get_name());
  const std::vector<std::string> words = last->remaining();
  const auto word = std::find_if(words.begin(), words.end(),
                                 [](const std::string& text) { return !text.starts_with('-'); });
  if (names.empty() || word == words.end()) return "";
  const std::string near = accrete::nearest_name(*word, names);
  std::string out = "there is no command \"" + path + *word + "\"";
  if (!near.empty()) return out + "; did you mean \"" + path + near + "\"?";
  for (const std::string& name : names)
    out += (name == names.front() ? "; there is " : ", ") + name;
  return out;
}

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
  } catch (const CLI::RequiredError& error) {
    const std::string word = unknown_command(app);
    if (word.empty()) return app.exit(error), static_cast<int>(Exit::Usage);
    accrete::daemon::terminal::note(word);
    return static_cast<int>(Exit::Usage);
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
