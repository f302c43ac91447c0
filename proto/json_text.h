// The pieces of JSON that are written by hand: strings and numbers.
#pragma once

#include <string>
#include <string_view>

namespace accrete::json_text {

/// Append `text` in quotes, with JSON's escapes; bytes beyond ASCII stay as they are (UTF-8).
void append_string(std::string& out, std::string_view text);

/// Append the shortest text that reads back as the same number; JSON has no NaN and no infinity,
/// so these are null.
void append_real(std::string& out, double value);

}  // namespace accrete::json_text
