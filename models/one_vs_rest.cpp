// One regression per class; two classes share one.
#include "models/one_vs_rest.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "models/state_bytes.h"

namespace accrete::models {
namespace {

constexpr std::uint8_t state_version = 1;

class OneVsRest final : public Candidate {
 public:
  explicit OneVsRest(OnlineLogisticOptions options) : options_(std::move(options)) {}

  std::string_view name() const override { return options_.name; }

  void predict(const Input& input, Output& output) const override {
    output.value = 0;
    output.variance = 0;
    output.classes.clear();
    if (classes_ > one_vs_rest_classes_max) return;
    output.classes.assign(classes_, 1.0);
    if (classes_ < 2) return;
    Output of_class;
    double total = 0;
    for (std::size_t k = 1; k < classes_; ++k) {
      machines_[k]->predict(input, of_class);
      output.classes[k] = of_class.value;
      total += of_class.value;
    }
    if (classes_ == 2) {
      output.classes[0] = 1 - output.classes[1];
      return;
    }
    machines_[0]->predict(input, of_class);
    output.classes[0] = of_class.value;
    total += of_class.value;
    for (double& probability : output.classes)
      probability /= total;
  }

  void learn(const Input& input, double label, double weight) override {
    ACCRETE_CHECK(weight > 0 && label >= 0 && label < static_cast<double>(classes_max));
    const auto index = static_cast<std::size_t>(label);
    if (index >= classes_) grow(index + 1);
    ++rows_;
    if (classes_ > one_vs_rest_classes_max) return;
    for (std::size_t k = classes_ > 2 ? 0 : 1; k < classes_; ++k)
      machines_[k]->learn(input, k == index ? 1 : 0, weight);
  }

  void save(std::string& out) const override {
    StateWriter writer(out);
    writer.u8(state_version);
    writer.u64(classes_);
    writer.u64(rows_);
    for (std::size_t k = 0; k < classes_ && classes_ <= one_vs_rest_classes_max; ++k) {
      std::string bytes;
      if (machines_[k]) machines_[k]->save(bytes);
      writer.u64(bytes.size());
      writer.raw(bytes.data(), bytes.size());
    }
  }

  Status load(std::string_view bytes) override {
    StateReader reader(bytes);
    reader.require(reader.u8() == state_version);
    OneVsRest fresh(options_);
    fresh.classes_ = reader.u64();
    fresh.rows_ = reader.u64();
    reader.require(fresh.classes_ <= classes_max);
    const bool speaks = fresh.classes_ <= one_vs_rest_classes_max;
    if (!reader.failed() && speaks) fresh.machines_.resize(fresh.classes_);
    for (std::size_t k = 0; k < fresh.machines_.size(); ++k) {
      std::string state(reader.count(1), '\0');
      reader.raw(state.data(), state.size());
      if (k == 0 && fresh.classes_ <= 2) {
        reader.require(state.empty());
        continue;
      }
      fresh.machines_[k] = make_online_logistic(options_);
      if (!reader.failed()) ACCRETE_DO(fresh.machines_[k]->load(state));
    }
    ACCRETE_DO(reader.finish(name()));
    classes_ = fresh.classes_;
    rows_ = fresh.rows_;
    machines_ = std::move(fresh.machines_);
    return Ok{};
  }

 private:
  void grow(std::size_t classes) {
    if (classes > one_vs_rest_classes_max) {
      machines_.clear();
      classes_ = classes;
      return;
    }
    machines_.resize(classes);
    for (std::size_t k = std::max<std::size_t>(1, classes_); k < classes; ++k) {
      OnlineLogisticOptions options = options_;
      options.start = -std::log(static_cast<double>(rows_ + 1));
      machines_[k] = make_online_logistic(options);
    }
    if (classes > 2 && !machines_[0]) {
      machines_[0] = make_online_logistic(options_);
      std::string state;
      machines_[1]->save(state);
      ACCRETE_CHECK(bool(machines_[0]->load(state)));
      machines_[0]->mirror();
    }
    classes_ = classes;
  }

  OnlineLogisticOptions options_;
  std::size_t classes_ = 0;
  std::uint64_t rows_ = 0;
  std::vector<std::unique_ptr<OnlineLogistic>> machines_;  // by class; the first from three on
};

}  // namespace

std::unique_ptr<Candidate> make_one_vs_rest(const OnlineLogisticOptions& options) {
  return std::make_unique<OneVsRest>(options);
}

}  // namespace accrete::models
