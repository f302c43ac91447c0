// A prediction as one line for people.
#include "daemon/ctl_prediction.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>
#include <vector>

#include <stream.pb.h>

#include "proto/drift_alarm.h"
#include "proto/expert_news.h"
#include "proto/time.h"
#include "proto/value.h"

namespace accrete::daemon {
namespace {

constexpr std::size_t kClassesShown = 3;

std::string short_number(double value) {
  std::array<char, 32> text{};
  const int size = std::snprintf(text.data(), text.size(), "%.4g", value);
  return {text.data(), static_cast<std::size_t>(std::max(size, 0))};
}

Value value_of(const wire::Cell& cell) {
  switch (cell.value_case()) {
    case wire::Cell::kFlag:
      return Value::flag(cell.flag());
    case wire::Cell::kInteger:
      return Value::of_integer(cell.integer());
    case wire::Cell::kReal:
      return Value::of_real(cell.real());
    case wire::Cell::kText:
      return Value::of_text(cell.text());
    case wire::Cell::kTimeUs:
      return Value::of_time(TimeUs(cell.time_us()));
    case wire::Cell::kUnchanged:
    case wire::Cell::VALUE_NOT_SET:
      break;
  }
  return Value::null();
}

}  // namespace

std::string entity_text(const wire::Prediction& prediction) {
  std::string out;
  for (const wire::Cell& cell : prediction.entity()) {
    if (!out.empty()) out += '|';
    out += value_text(value_of(cell));
  }
  return out;
}

std::string outcome_text(const wire::Prediction& prediction) {
  const bool several = prediction.kind() == wire::Prediction::MULTICLASS ||
                       prediction.kind() == wire::Prediction::RANKING;
  if (!several) return short_number(prediction.score());
  std::vector<std::pair<double, std::string>> classes;
  for (const wire::ClassScore& score : prediction.classes()) {
    classes.emplace_back(score.probability(), score.label());
  }
  std::stable_sort(classes.begin(), classes.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  classes.resize(std::min(classes.size(), kClassesShown));
  std::string out;
  for (const auto& [probability, label] : classes) {
    out += (out.empty() ? "" : ", ") + label + " " + short_number(probability);
  }
  return out;
}

std::string interval_text(const wire::Prediction& prediction) {
  if (!prediction.has_low() || !prediction.has_high()) return "";
  return "[" + short_number(prediction.low()) + ", " + short_number(prediction.high()) + "]";
}

Result<std::string> prediction_line(std::string_view payload) {
  wire::Prediction prediction;
  if (!prediction.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
    return Error{Errc::Malformed, "a payload that is no prediction; is this an older accretectl?"};
  }
  std::string line = std::to_string(prediction.seq()) + "  " +
                     format_time(TimeUs(prediction.as_of_us())) + "  " + prediction.task() + "  " +
                     entity_text(prediction) + "  " + outcome_text(prediction);
  const std::string interval = interval_text(prediction);
  if (!interval.empty()) line += "  " + interval;
  return line;
}

Result<std::string> alarm_line(std::string_view payload) {
  ACCRETE_TRY(const DriftAlarm alarm, decode_drift_alarm(payload));
  return format_time(alarm.as_of) + "  " + alarm.task + "  " +
         std::string(detector_name(alarm.detector)) + " " + std::to_string(alarm.count) +
         "  loss " + short_number(alarm.before) + " -> " + short_number(alarm.after) +
         ", over the last " + std::to_string(alarm.window) + " graded instants";
}

Result<std::string> expert_news_line(std::string_view payload) {
  ACCRETE_TRY(const ExpertNews news, decode_expert_news(payload));
  std::string what;
  for (const std::uint32_t parent : news.parents)
    what += (what.empty() ? ", copied by layer from expert " : ", ") + std::to_string(parent);
  if (news.kind == ExpertNewsKind::Freeze) {
    what = ", expert " + std::to_string(news.first) + ": it learns no more";
  } else if (news.parents.empty()) {
    what = ", experts " + std::to_string(news.first) + " and " + std::to_string(news.first + 1) +
           ", loss " + short_number(news.loss_before) + " -> " + short_number(news.loss_after) +
           " on block " + std::to_string(news.worst_block);
  }
  if (news.sharper) {
    what += ", sharper: rise " + short_number(news.rise_before) + " -> " +
            short_number(news.rise_after);
  }
  return format_time(news.as_of) + "  " + news.task + "  " + std::to_string(news.count) + ": " +
         std::string(news_name(news.kind)) + " for block " + std::to_string(news.block) + what;
}

}  // namespace accrete::daemon
