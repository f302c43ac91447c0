// Round numbers and round times.
#include "daemon/report_scale.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>

#include "proto/result.h"
#include "proto/time.h"

namespace accrete::daemon::report {
namespace {

constexpr double kTicksWanted = 5;
constexpr double kMost = 1e300;  // differences of axis values stay finite
constexpr double kApart = 1e-9;  // relative; closer values have no labels that differ

std::string formatted(const char* format, double value) {
  std::array<char, 64> text{};
  static_cast<void>(std::snprintf(text.data(), text.size(), format, value));
  return text.data();
}

/// 1, 2 or 5 times a power of ten, at or above `step`.
double round_step(double step) {
  const double power = std::pow(10.0, std::floor(std::log10(step)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (step <= factor * power * (1 + 1e-9)) return factor * power;
  }
  return 10 * power;
}

std::string tick_label(double value, double step) {
  if (std::abs(value) < step * 1e-6) return "0";
  const double size = std::abs(value);
  if (size >= 1e6 || step < 1e-6) return formatted("%.4g", value);
  const int decimals = std::max(0, static_cast<int>(-std::floor(std::log10(step) + 1e-9)));
  std::array<char, 64> text{};
  static_cast<void>(std::snprintf(text.data(), text.size(), "%.*f", decimals, value));
  return text.data();
}

/// `step` units of time; months (and years, as 12 of them) have no fixed length.
struct Step {
  std::int64_t us = 0;
  std::int64_t months = 0;
};

constexpr std::array<Step, 28> kSteps{
    {{kSecondUs},     {5 * kSecondUs},  {15 * kSecondUs}, {30 * kSecondUs}, {kMinuteUs},
     {5 * kMinuteUs}, {15 * kMinuteUs}, {30 * kMinuteUs}, {kHourUs},        {3 * kHourUs},
     {6 * kHourUs},   {12 * kHourUs},   {kDayUs},         {2 * kDayUs},     {7 * kDayUs},
     {14 * kDayUs},   {0, 1},           {0, 2},           {0, 3},           {0, 6},
     {0, 12},         {0, 24},          {0, 60},          {0, 120},         {0, 240},
     {0, 600},        {0, 1200},        {0, 12000}}};

std::chrono::year_month_day day_of(TimeUs time) {
  const auto days = std::chrono::floor<std::chrono::days>(std::chrono::microseconds(time.value));
  return std::chrono::sys_days(days);
}

TimeUs first_of_month(std::int64_t month) {  // counted from year 0
  const auto year = static_cast<int>(month / 12);
  const auto in_year = static_cast<unsigned>(month % 12 + 1);
  const std::chrono::sys_days day = std::chrono::year(year) / std::chrono::month(in_year) / 1;
  return TimeUs{std::chrono::microseconds(day.time_since_epoch()).count()};
}

std::vector<TimeUs> steps_between(TimeUs from, TimeUs to, const Step& step, std::size_t most) {
  std::vector<TimeUs> out;
  if (step.months == 0) {
    std::int64_t at = from.value / step.us * step.us;
    if (at < from.value) at += step.us;
    for (; at <= to.value && out.size() <= most; at += step.us)
      out.push_back(TimeUs{at});
    return out;
  }
  const auto first = day_of(from);
  std::int64_t month = std::int64_t{int{first.year()}} * 12 + unsigned{first.month()} - 1;
  month = month / step.months * step.months;
  for (; out.size() <= most; month += step.months) {
    const TimeUs at = first_of_month(month);
    if (at > to) break;
    if (at >= from) out.push_back(at);
  }
  return out;
}

std::string time_label(TimeUs time, const Step& step) {
  const std::string text = format_time(time);  // 2010-01-01T12:30:05Z
  if (step.months >= 12) return text.substr(0, 4);
  if (step.months > 0) return text.substr(0, 7);
  if (step.us >= kDayUs) return text.substr(0, 10);
  return text.substr(5, 5) + " " + text.substr(11, step.us >= kMinuteUs ? 5 : 8);
}

}  // namespace

ValueAxis value_axis(double low, double high) {
  ACCRETE_CHECK(std::isfinite(low) && std::isfinite(high));
  low = std::clamp(low, -kMost, kMost);
  high = std::clamp(high, -kMost, kMost);
  const double size = std::max(std::abs(low), std::abs(high));
  if (!(high - low >
        std::max(size * kApart, 1 / kMost))) {  // as good as one value: some room around it
    const double room = size < 1 / kMost ? 1 : size * 0.1;
    low -= room;
    high += room;
  }
  const double step = round_step((high - low) / kTicksWanted);
  ValueAxis axis;
  const double first = std::floor(low / step + 1e-9);
  const double last = std::ceil(high / step - 1e-9);
  axis.low = first * step;
  axis.high = last * step;
  for (int i = 0; i <= static_cast<int>(last - first); ++i) {
    const double at = (first + i) * step;
    axis.ticks.push_back({at, tick_label(at, step)});
  }
  return axis;
}

std::vector<Tick> time_ticks(TimeUs from, TimeUs to, std::size_t ticks_max) {
  ACCRETE_CHECK(from <= to && ticks_max > 0);
  for (const Step& step : kSteps) {
    const std::vector<TimeUs> found = steps_between(from, to, step, ticks_max);
    if (found.size() > ticks_max) continue;
    std::vector<Tick> ticks;
    ticks.reserve(found.size());
    for (const TimeUs at : found)
      ticks.push_back({static_cast<double>(at.value), time_label(at, step)});
    return ticks;
  }
  return {};
}

std::string short_time(TimeUs time) {
  std::string text = format_time(time);
  if (text.substr(10) == "T00:00:00Z") return text.substr(0, 10);
  text[10] = ' ';
  if (text.back() == 'Z') text.pop_back();
  return text;
}

std::string short_number(double value) {
  if (std::isnan(value)) return "–";
  const double size = std::abs(value);
  return formatted(size == 0 || (size >= 5e-5 && size < 100) ? "%.4f" : "%.4g", value);
}

}  // namespace accrete::daemon::report
