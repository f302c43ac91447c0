// Rows of a task as its learners take them.
#pragma once

#include <span>
#include <vector>

#include "daemon/task.h"

namespace accrete::daemon {

/// Views into the task's histories; good until one of them learns.
class Task::Inputs {
 public:
  /// `features`: rows × width. Without histories where what is known now is not what was known when
  /// the features were taken.
  Inputs(const Task& task, std::span<const std::uint32_t> rows, const std::vector<float>& features,
         std::size_t width, bool histories = true)
      : values_(features.begin(), features.end()) {
    inputs_.reserve(rows.size());
    for (std::size_t i = 0; i < rows.size(); ++i) {
      inputs_.push_back({std::span(values_).subspan(i * width, width),
                         histories ? &task.known_history(rows[i]) : nullptr});
    }
  }
  std::span<const models::Input> all() const { return inputs_; }

 private:
  std::vector<double> values_;
  std::vector<models::Input> inputs_;
};

}  // namespace accrete::daemon
