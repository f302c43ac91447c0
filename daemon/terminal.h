// What the tools print: the only place that writes to standard output and standard error.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/row_source.h"
#include "proto/result.h"

namespace accrete::daemon::terminal {

/// Exit codes of sysexits.h that the tools use.
enum class Exit : int {
  Good = 0,
  Usage = 64,
  BadData = 65,
  NoInput = 66,
  Unavailable = 69,
  Io = 74,
  Config = 78,
};

/// Standard output, as it is.
void print(std::string_view text);
/// Standard error: `accretectl: text`.
void note(std::string_view text);
/// Standard error: `program: text`, for the other program.
void complain(std::string_view program, std::string_view text);
void flush();
/// note() the error and give the exit code that its kind calls for.
Exit fail(const Error& error);
/// The same for an error in a configuration file.
Exit fail_config(const Error& error);

/// Columns of text, padded to their widest cell; numbers to the right.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : rows_{std::move(header)} {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  std::string text(std::string_view indent = "") const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

/// With so many digits behind the point; from 1e15 on four digits and an exponent.
std::string number(double value, int digits);
/// 1234567 as "1,234,567"; bytes as "1.2 MiB"; seconds as "1 h 05 min", "12.3 s".
std::string grouped(std::uint64_t number);
std::string bytes_text(std::uint64_t bytes);
std::string seconds_text(double seconds);
/// The same with milliseconds below a second: "25.6 ms"; "–" for NaN.
std::string duration_text(double seconds);

/// A JSON document as an indented tree, its lists of flat objects as tables.
/// Errors: Malformed if it is no JSON.
Result<std::string> tree_of_json(std::string_view json);

/// One line that says how far a long work is: rewritten in place on a terminal, otherwise a new
/// line now and then. It goes to standard error, so that standard output stays data.
class ProgressLine {
 public:
  explicit ProgressLine(std::string what);
  /// Cheap; draws when it is time to.
  void show(const Progress& progress);
  /// The same for who comes seldom: asks the clock each time.
  void look(const Progress& progress);
  /// Make room for other output, and after the last show().
  void clear();
  double seconds() const;

 private:
  using Clock = std::chrono::steady_clock;
  std::string what_;
  bool rewrite_;  // a terminal
  bool drawn_ = false;
  Clock::time_point start_;
  Clock::time_point next_;
  std::uint64_t calls_ = 0;
};

}  // namespace accrete::daemon::terminal
