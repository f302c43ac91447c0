// Levels that follow the misses, bounds that follow the levels.
#include "models/conformal.h"

#include <algorithm>
#include <cmath>

#include "models/state_bytes.h"

namespace accrete::models {
namespace {

constexpr std::uint8_t state_version = 1;
constexpr std::size_t errors_min = 20;

/// Upper quantile of the standard normal distribution by bisection of erfc.
double normal_quantile(double tail) {
  double low = 0;
  double high = 10;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (std::erfc(middle / std::sqrt(2.0)) / 2 > tail ? low : high) = middle;
  }
  return (low + high) / 2;
}

double scale_of(const Output& output) {
  return output.variance > 0 ? std::sqrt(output.variance) : 1;
}

}  // namespace

AdaptiveConformal::AdaptiveConformal(const ConformalOptions& options) : options_(options) {
  ACCRETE_CHECK(options.coverage > 0 && options.coverage < 1);
  ACCRETE_CHECK(options.window >= errors_min && options.rate >= 0);
  const double tail = (1 - options.coverage) / 2;
  const double bound = normal_quantile(tail);
  upper_ = {tail, bound};
  lower_ = {tail, bound};
}

Interval AdaptiveConformal::interval(const Output& output) const {
  if (errors_.size() < errors_min && !(output.variance > 0)) return {};
  const double scale = scale_of(output);
  const double low = output.value - lower_.bound * scale;
  const double high = output.value + upper_.bound * scale;
  // Errors of one sign only can put both bounds on one side of each other.
  return {std::min(low, high), std::max(low, high)};
}

void AdaptiveConformal::grade(const Output& output, const Interval& published, double label) {
  if (!std::isfinite(label) || !std::isfinite(output.value)) return;
  const double error = (label - output.value) / scale_of(output);
  const double tail = (1 - options_.coverage) / 2;
  if (!std::isnan(published.low) && !std::isnan(published.high)) {
    upper_.level += options_.rate * (tail - (label > published.high ? 1 : 0));
    lower_.level += options_.rate * (tail - (label < published.low ? 1 : 0));
    // More than half missed on purpose would let the two bounds cross.
    upper_.level = std::min(upper_.level, 0.5);
    lower_.level = std::min(lower_.level, 0.5);
  }
  if (errors_.size() < options_.window) {
    errors_.push_back(error);
  } else {
    errors_[graded_ % options_.window] = error;
  }
  ++graded_;
  dirty_ = true;
}

double AdaptiveConformal::bound_of(const Side& side, const std::vector<double>& ascending) const {
  const auto n = static_cast<double>(ascending.size());
  const double rank = std::ceil((n + 1) * (1 - std::max(side.level, 0.0)));
  if (side.level >= 0 && rank <= n) return ascending[static_cast<std::size_t>(rank) - 1];
  const double top = std::max(ascending.back(), 0.0);
  const double tail = (1 - options_.coverage) / 2;
  return top * (1 + std::max(-side.level, 0.0) / tail);
}

void AdaptiveConformal::settle() {
  if (!dirty_ || errors_.size() < errors_min) return;
  std::vector<double> ascending = errors_;
  std::sort(ascending.begin(), ascending.end());
  upper_.bound = bound_of(upper_, ascending);
  std::reverse(ascending.begin(), ascending.end());
  for (double& error : ascending) {
    error = -error;
  }
  lower_.bound = bound_of(lower_, ascending);
  dirty_ = false;
}

void AdaptiveConformal::save(std::string& out) const {
  StateWriter writer(out);
  writer.u8(state_version);
  for (const Side& side : {upper_, lower_}) {
    writer.f64(side.level);
    writer.f64(side.bound);
  }
  writer.doubles(errors_);
  writer.u64(graded_);
  writer.u8(dirty_ ? 1 : 0);
}

Status AdaptiveConformal::load(std::string_view bytes) {
  StateReader reader(bytes);
  reader.require(reader.u8() == state_version);
  Side upper;
  Side lower;
  for (Side* side : {&upper, &lower}) {
    side->level = reader.f64();
    side->bound = reader.f64();
    reader.require(side->level <= 0.5);
  }
  std::vector<double> errors = reader.doubles();
  const std::uint64_t graded = reader.u64();
  const bool dirty = reader.u8() != 0;
  reader.require(errors.size() == std::min<std::uint64_t>(graded, options_.window));
  ACCRETE_DO(reader.finish("intervals"));
  upper_ = upper;
  lower_ = lower;
  errors_ = std::move(errors);
  graded_ = graded;
  dirty_ = dirty;
  return Ok{};
}

}  // namespace accrete::models
