// What the tools print.
#include "daemon/terminal.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <utility>

#include <unistd.h>

namespace accrete::daemon::terminal {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kRewriteEvery{100};
constexpr milliseconds kLineEvery{10'000};
/// Looking at the clock costs more than a small transaction.
constexpr std::uint64_t kCallsPerLook = 16;

/// Characters that a terminal shows, as far as one code point is one of them.
std::size_t width(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) >> 6) != 2; }));
}

bool number_like(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789.,+-eE%") == std::string_view::npos &&
         text.find_first_of("0123456789") != std::string_view::npos;
}

std::string fixed(double value, int digits) {
  std::array<char, 64> text{};
  const int size = std::snprintf(text.data(), text.size(), "%.*f", digits, value);
  return {text.data(), static_cast<std::size_t>(std::max(size, 0))};
}

std::string short_text(double value) {
  std::array<char, 32> text{};
  const int size = std::snprintf(text.data(), text.size(), "%.4g", value);
  return {text.data(), static_cast<std::size_t>(std::max(size, 0))};
}

std::string two_digits(std::uint64_t number) {
  return (number < 10 ? "0" : "") + std::to_string(number);
}

}  // namespace

void print(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
}

void note(std::string_view text) {
  complain("accretectl", text);
}

void complain(std::string_view program, std::string_view text) {
  flush();
  std::string line(program);
  line.append(": ").append(text).append("\n");
  std::fwrite(line.data(), 1, line.size(), stderr);
}

void flush() {
  std::fflush(stdout);
}

Exit fail(const Error& error) {
  note(error.detail);
  switch (error.code) {
    case Errc::Malformed:
    case Errc::Gap:
    case Errc::Duplicate:
      return Exit::BadData;
    case Errc::NotFound:
      return Exit::NoInput;
    case Errc::Unavailable:
    case Errc::Exhausted:
      return Exit::Unavailable;
    case Errc::Corruption:
      break;
  }
  return Exit::Io;
}

Exit fail_config(const Error& error) {
  note(error.detail);
  return Exit::Config;
}

std::string Table::text(std::string_view indent) const {
  std::vector<std::size_t> widths;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], width(row[i]));
  }
  std::vector<bool> right(widths.size(), rows_.size() > 1);
  for (std::size_t r = 1; r < rows_.size(); ++r) {
    for (std::size_t i = 0; i < rows_[r].size(); ++i) {
      if (!rows_[r][i].empty() && !number_like(rows_[r][i])) right[i] = false;
    }
  }
  std::string out;
  for (const auto& row : rows_) {
    std::string line(indent);
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string pad(widths[i] - width(row[i]), ' ');
      line += (i == 0 ? "" : "  ") + (right[i] ? pad + row[i] : row[i] + pad);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

std::string number(double value, int digits) {
  constexpr double kLong = 1e15;
  return std::abs(value) < kLong ? fixed(value, digits) : short_text(value);
}

std::string grouped(std::uint64_t number) {
  std::string text = std::to_string(number);
  for (std::size_t at = text.size(); at > 3; at -= 3)
    text.insert(at - 3, 1, ',');
  return text;
}

std::string bytes_text(std::uint64_t bytes) {
  constexpr std::array<std::string_view, 5> units = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto size = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; size >= 1024 && unit + 1 < units.size(); ++unit)
    size /= 1024;
  return fixed(size, unit == 0 ? 0 : 1) + " " + std::string(units[unit]);
}

std::string seconds_text(double seconds) {
  if (seconds < 60) return fixed(seconds, seconds < 10 ? 2 : 1) + " s";
  const auto whole = static_cast<std::uint64_t>(std::llround(seconds));
  if (whole < 3600) return std::to_string(whole / 60) + " min " + two_digits(whole % 60) + " s";
  return std::to_string(whole / 3600) + " h " + two_digits(whole / 60 % 60) + " min";
}

std::string duration_text(double seconds) {
  if (std::isnan(seconds)) return "–";
  return seconds >= 1 ? seconds_text(seconds) : fixed(seconds * 1e3, 1) + " ms";
}

ProgressLine::ProgressLine(std::string what)
    : what_(std::move(what)),
      rewrite_(isatty(STDERR_FILENO) == 1),
      start_(Clock::now()),
      next_(start_ + (rewrite_ ? kRewriteEvery : kLineEvery)) {}

double ProgressLine::seconds() const {
  return std::chrono::duration<double>(Clock::now() - start_).count();
}

void ProgressLine::show(const Progress& progress) {
  if (++calls_ % kCallsPerLook == 0) look(progress);
}

void ProgressLine::look(const Progress& progress) {
  const Clock::time_point now = Clock::now();
  if (now < next_) return;
  next_ = now + (rewrite_ ? kRewriteEvery : kLineEvery);
  const double elapsed = std::max(seconds(), 1e-9);
  std::string line =
      what_ + ": " + grouped(progress.rows) + " rows, " +
      grouped(static_cast<std::uint64_t>(static_cast<double>(progress.rows) / elapsed)) + " rows/s";
  if (progress.bytes_total > 0 && progress.bytes_done > 0) {
    const double done = std::min(
        1.0, static_cast<double>(progress.bytes_done) / static_cast<double>(progress.bytes_total));
    line +=
        ", " + fixed(100 * done, 0) + " %, " + seconds_text(elapsed * (1 - done) / done) + " left";
  }
  if (rewrite_) {
    line = "\r" + line + "\x1b[K";
  } else {
    line += "\n";
  }
  std::fwrite(line.data(), 1, line.size(), stderr);
  drawn_ = rewrite_;
}

void ProgressLine::clear() {
  if (!drawn_) return;
  constexpr std::string_view erase = "\r\x1b[K";
  std::fwrite(erase.data(), 1, erase.size(), stderr);
  drawn_ = false;
}

}  // namespace accrete::daemon::terminal
