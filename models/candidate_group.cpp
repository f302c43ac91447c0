// Plain candidates behind the seam of groups.
#include <cmath>
#include <utility>

#include "models/candidate.h"
#include "models/state_bytes.h"

namespace accrete::models {
namespace {

class PlainGroup final : public CandidateGroup {
 public:
  explicit PlainGroup(Candidates candidates) : candidates_(std::move(candidates)) {}

  std::size_t size() const override { return candidates_.size(); }
  std::string_view name(std::size_t k) const override { return candidates_[k]->name(); }
  int family(std::size_t) const override { return -1; }
  void open_tick(std::span<const Input>) override {}

  void predict(std::span<const Input> inputs, std::size_t stride,
               std::span<Output> outputs) const override {
    ACCRETE_CHECK(stride >= size() && outputs.size() + stride >= inputs.size() * stride + size());
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      for (std::size_t k = 0; k < size(); ++k) {
        candidates_[k]->predict(inputs[i], outputs[i * stride + k]);
      }
    }
  }

  void learn(std::span<const Input> population, std::span<const double> labels,
             std::span<const double> weights) override {
    ACCRETE_CHECK(labels.size() == population.size() && weights.size() == population.size());
    for (std::size_t i = 0; i < population.size(); ++i) {
      if (std::isnan(labels[i])) continue;
      for (auto& candidate : candidates_) {
        candidate->learn(population[i], labels[i], weights[i]);
      }
    }
    for (auto& candidate : candidates_) {
      candidate->settle();
    }
  }

  void save(std::string& out) const override {
    StateWriter writer(out);
    writer.u8(1);
    for (const auto& candidate : candidates_) {
      std::string bytes;
      candidate->save(bytes);
      writer.u64(bytes.size());
      writer.raw(bytes.data(), bytes.size());
    }
  }

  /// A candidate that refuses leaves all as they were: the earlier ones are loaded back.
  Status load(std::string_view bytes) override {
    StateReader reader(bytes);
    reader.require(reader.u8() == 1);
    std::vector<std::string> states(candidates_.size());
    for (std::string& state : states) {
      state.resize(reader.count(1));
      reader.raw(state.data(), state.size());
    }
    ACCRETE_DO(reader.finish("candidates"));
    std::vector<std::string> before(candidates_.size());
    for (std::size_t k = 0; k < candidates_.size(); ++k) {
      candidates_[k]->save(before[k]);
      Status loaded = candidates_[k]->load(states[k]);
      if (loaded) continue;
      for (std::size_t undo = 0; undo < k; ++undo) {
        ACCRETE_CHECK(bool(candidates_[undo]->load(before[undo])));
      }
      return loaded;
    }
    return Ok{};
  }

 private:
  Candidates candidates_;
};

}  // namespace

std::unique_ptr<CandidateGroup> make_group(Candidates candidates) {
  return std::make_unique<PlainGroup>(std::move(candidates));
}

}  // namespace accrete::models
