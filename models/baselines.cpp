// Global mean, last label, running mean: one class, three ways to read an entity's history.
#include "models/baselines.h"

#include <algorithm>
#include <numeric>

#include "models/state_bytes.h"

namespace accrete::models {
namespace {

constexpr std::uint8_t state_version = 1;

enum class Reading : std::uint8_t { Global = 0, Last = 1, Running = 2 };

class Baseline final : public Candidate {
 public:
  Baseline(TaskKind kind, Reading reading) : kind_(kind), reading_(reading) {}

  std::string_view name() const override {
    switch (reading_) {
      case Reading::Global:
        return kind_ == TaskKind::Multiclass ? "majority" : "global-mean";
      case Reading::Last:
        return "last-label";
      case Reading::Running:
        return "running-mean";
    }
    return {};
  }

  void predict(const Input& input, Output& output) const override {
    output.classes.clear();
    output.value = 0;
    output.variance = kind_ == TaskKind::Regression && weight_ > 0 ? squares_ / weight_ : 0;
    const LabelHistory* history = input.history;
    const bool own = reading_ != Reading::Global && history != nullptr && history->count > 0;
    if (kind_ != TaskKind::Multiclass) {
      const double unknown = kind_ == TaskKind::Binary ? 0.5 : 0.0;
      const double global = weight_ > 0 ? mean_ : unknown;
      output.value = !own ? global : reading_ == Reading::Last ? history->last : history->ewma;
      return;
    }
    if (!own) {
      output.classes = class_weights_;
    } else if (reading_ == Reading::Last) {
      const auto last = static_cast<std::size_t>(history->last);
      output.classes.assign(std::max(class_weights_.size(), last + 1), 0.0);
      output.classes[last] = 1;
    } else {
      output.classes.assign(history->class_ewma.begin(), history->class_ewma.end());
      if (output.classes.size() < class_weights_.size()) {
        output.classes.resize(class_weights_.size(), 0.0);
      }
    }
    const double total = std::accumulate(output.classes.begin(), output.classes.end(), 0.0);
    for (double& share : output.classes) {
      share = total > 0 ? share / total : 0;
    }
  }

  void learn(const Input& input, double label, double weight) override {
    ACCRETE_CHECK(weight > 0);
    if (kind_ == TaskKind::Multiclass) {
      ACCRETE_CHECK(label >= 0 && label < static_cast<double>(classes_max));
      const auto index = static_cast<std::size_t>(label);
      if (index >= class_weights_.size()) class_weights_.resize(index + 1, 0.0);
      class_weights_[index] += weight;
    }
    // Prequential: what this very baseline would have said before it knew the label. Without the
    // history that it reads nobody knows; the mean error then stays what it is.
    if (kind_ == TaskKind::Regression &&
        (reading_ == Reading::Global || input.history != nullptr)) {
      Output before;
      predict(input, before);
      squares_ += weight * (label - before.value) * (label - before.value);
    } else if (weight_ > 0) {
      squares_ += weight * squares_ / weight_;
    }
    weight_ += weight;
    mean_ += weight / weight_ * (label - mean_);
  }

  void save(std::string& out) const override {
    StateWriter writer(out);
    writer.u8(state_version);
    writer.u8(static_cast<std::uint8_t>(kind_));
    writer.u8(static_cast<std::uint8_t>(reading_));
    writer.f64(weight_);
    writer.f64(mean_);
    writer.f64(squares_);
    writer.doubles(class_weights_);
  }

  Status load(std::string_view bytes) override {
    StateReader reader(bytes);
    reader.require(reader.u8() == state_version);
    reader.require(reader.u8() == static_cast<std::uint8_t>(kind_));
    reader.require(reader.u8() == static_cast<std::uint8_t>(reading_));
    const double weight = reader.f64();
    const double mean = reader.f64();
    const double squares = reader.f64();
    std::vector<double> class_weights = reader.doubles();
    reader.require(class_weights.size() <= classes_max);
    ACCRETE_DO(reader.finish(name()));
    weight_ = weight;
    mean_ = mean;
    squares_ = squares;
    class_weights_ = std::move(class_weights);
    return Ok{};
  }

 private:
  TaskKind kind_;
  Reading reading_;
  double weight_ = 0;
  double mean_ = 0;
  double squares_ = 0;  // of the errors of its own predictions, regression only
  std::vector<double> class_weights_;
};

}  // namespace

std::unique_ptr<Candidate> make_global_mean(TaskKind kind) {
  return std::make_unique<Baseline>(kind, Reading::Global);
}

std::unique_ptr<Candidate> make_last_label(TaskKind kind) {
  return std::make_unique<Baseline>(kind, Reading::Last);
}

std::unique_ptr<Candidate> make_running_mean(TaskKind kind) {
  return std::make_unique<Baseline>(kind, Reading::Running);
}

}  // namespace accrete::models
