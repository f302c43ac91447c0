// Plain candidates behind the seam of groups.
#include <algorithm>
#include <cmath>
#include <utility>

#include "models/candidate.h"
#include "models/state_bytes.h"

namespace accrete::models {
namespace {

template <class Part>
void save_all(const std::vector<std::unique_ptr<Part>>& parts, std::string& out) {
  StateWriter writer(out);
  writer.u8(1);
  for (const auto& part : parts) {
    std::string bytes;
    part->save(bytes);
    writer.u64(bytes.size());
    writer.raw(bytes.data(), bytes.size());
  }
}

/// A part that refuses leaves all as they were: the earlier ones are loaded back.
template <class Part>
Status load_all(std::vector<std::unique_ptr<Part>>& parts, std::string_view bytes) {
  StateReader reader(bytes);
  reader.require(reader.u8() == 1);
  std::vector<std::string> states(parts.size());
  for (std::string& state : states) {
    state.resize(reader.count(1));
    reader.raw(state.data(), state.size());
  }
  ACCRETE_DO(reader.finish("candidates"));
  std::vector<std::string> before(parts.size());
  for (std::size_t k = 0; k < parts.size(); ++k) {
    parts[k]->save(before[k]);
    Status loaded = parts[k]->load(states[k]);
    if (loaded) continue;
    for (std::size_t undo = 0; undo < k; ++undo) {
      ACCRETE_CHECK(bool(parts[undo]->load(before[undo])));
    }
    return loaded;
  }
  return Ok{};
}

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

  void save(std::string& out) const override { save_all(candidates_, out); }
  Status load(std::string_view bytes) override { return load_all(candidates_, bytes); }

 private:
  Candidates candidates_;
};

class JoinedGroup final : public CandidateGroup {
 public:
  explicit JoinedGroup(std::vector<std::unique_ptr<CandidateGroup>> groups)
      : groups_(std::move(groups)) {
    int families = 0;
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      int most = -1;
      for (std::size_t k = 0; k < groups_[g]->size(); ++k) {
        const int family = groups_[g]->family(k);
        members_.push_back({g, k, family < 0 ? -1 : families + family});
        most = std::max(most, family);
      }
      families += most + 1;
    }
  }

  std::size_t size() const override { return members_.size(); }
  std::string_view name(std::size_t k) const override {
    return groups_[members_[k].group]->name(members_[k].place);
  }
  int family(std::size_t k) const override { return members_[k].family; }
  void open_tick(std::span<const Input> population) override {
    for (auto& group : groups_)
      group->open_tick(population);
  }
  void predict(std::span<const Input> inputs, std::size_t stride,
               std::span<Output> outputs) const override {
    if (inputs.empty()) return;
    for (const auto& group : groups_) {
      group->predict(inputs, stride, outputs);
      outputs = outputs.subspan(group->size());
    }
  }
  void learn(std::span<const Input> population, std::span<const double> labels,
             std::span<const double> weights) override {
    for (auto& group : groups_)
      group->learn(population, labels, weights);
  }
  void save(std::string& out) const override { save_all(groups_, out); }
  Status load(std::string_view bytes) override { return load_all(groups_, bytes); }

 private:
  struct Member {
    std::size_t group = 0;
    std::size_t place = 0;
    int family = -1;
  };
  std::vector<std::unique_ptr<CandidateGroup>> groups_;
  std::vector<Member> members_;
};

}  // namespace

std::unique_ptr<CandidateGroup> join_groups(std::vector<std::unique_ptr<CandidateGroup>> groups) {
  return std::make_unique<JoinedGroup>(std::move(groups));
}

std::unique_ptr<CandidateGroup> make_group(Candidates candidates) {
  return std::make_unique<PlainGroup>(std::move(candidates));
}

}  // namespace accrete::models
