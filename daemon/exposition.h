// Metrics as text for Prometheus.
// Source: Prometheus text-based exposition format, version 0.0.4.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "daemon/gauges.h"

namespace accrete::daemon {

/// Families one after another; the samples of a family follow its declaration.
class Exposition {
 public:
  using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

  /// `type` is counter, gauge or histogram.
  Exposition& family(std::string_view name, std::string_view type, std::string_view help);
  /// A sample of the newest family; nothing for NaN, which stands for "not known".
  Exposition& sample(double value, Labels labels = {});
  /// The samples of a histogram in seconds.
  Exposition& histogram(const Histogram& histogram, Labels labels = {});

  std::string take() { return std::move(out_); }

 private:
  void line(std::string_view suffix, double value, Labels labels, std::string_view bound);

  std::string name_;
  std::string out_;
};

}  // namespace accrete::daemon
