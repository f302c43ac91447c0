// The parts of the console that a report does not have: rows, stages, what was refused, and one
// prediction explained.
#pragma once

#include <string>
#include <string_view>

#include "daemon/report_file.h"
#include "daemon/report_running.h"

namespace accrete::daemon::report {

/// Sections of what runs: changes by table and operation, stages, subscribers; refused
/// transactions. Names and reasons come from outside: they are escaped.
std::string running_sections(const Running& running);

/// The form that asks /explain, for the tasks of the report; "" where there are none.
std::string explain_section(const Report& report);

/// The script of explain_section(), in the page once.
std::string_view explain_script();

}  // namespace accrete::daemon::report
