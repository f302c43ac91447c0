// How the page of a report looks and answers the pointer: its style sheet and its script.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace accrete::daemon::report {

inline constexpr std::size_t kColours = 12;  ///< var(--c0) … of the style sheet

/// The style sheet. `toggles`: how many series the legend of a task can hide, s0, s1, …
std::string style_sheet(std::size_t toggles);

/// The read-out under the pointer and the arrow keys. Without it the page is whole but still.
std::string_view script();

/// Renews the page; comes after script().
std::string_view console_script();

}  // namespace accrete::daemon::report
