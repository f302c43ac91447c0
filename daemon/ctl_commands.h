// The commands of accretectl: each function adds one group to the command line.
#pragma once

#include <CLI/CLI.hpp>

#include "daemon/terminal.h"

namespace accrete::daemon {

/// A command that was chosen runs while the command line is parsed and leaves its exit code here.
using terminal::Exit;

void add_feed(CLI::App& app, Exit& exit);
void add_connect(CLI::App& app, Exit& exit);  ///< in ctl_connect.cpp
void add_subscribe(CLI::App& app, Exit& exit);
void add_digest(CLI::App& app, Exit& exit);
void add_query(CLI::App& app,
               Exit& exit);  ///< status, predict, explain, dead-letters, checkpoint, drain, reload
void add_top(CLI::App& app, Exit& exit);       ///< in ctl_top.cpp
void add_scores(CLI::App& app, Exit& exit);    ///< in ctl_scores.cpp
void add_log(CLI::App& app, Exit& exit);       ///< log verify, log print
void add_local(CLI::App& app, Exit& exit);     ///< keys, config
void add_backtest(CLI::App& app, Exit& exit);  ///< in ctl_backtest.cpp
void add_report(CLI::App& app, Exit& exit);    ///< in ctl_report.cpp

}  // namespace accrete::daemon
