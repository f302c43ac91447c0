// Plain candidates behind the seam of groups.
#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "models/candidate.h"
#include "models/state_bytes.h"

namespace accrete::models {
namespace {

template <class Member>
void save_all(const std::vector<std::unique_ptr<Member>>& members, std::string& out) {
  StateWriter writer(out);
  writer.u8(1);
  for (const auto& member : members) {
    std::string bytes;
    member->save(bytes);
    writer.u64(bytes.size());
    writer.raw(bytes.data(), bytes.size());
  }
}

/// The states that save_all() wrote, one a member.
Status split_states(std::string_view bytes, std::vector<std::string>& states) {
  StateReader reader(bytes);
  reader.require(reader.u8() == 1);
  for (std::string& state : states) {
    state.resize(reader.count(1));
    reader.raw(state.data(), state.size());
  }
  return reader.finish("candidates");
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

  /// A candidate that refuses leaves all as they were: the earlier ones are loaded back.
  Status load(std::string_view bytes, const ReadPart&) override {
    std::vector<std::string> states(candidates_.size());
    ACCRETE_DO(split_states(bytes, states));
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
  /// Ids of parts: those of the groups, interleaved.
  std::vector<Part> parts() const override {
    std::vector<Part> all;
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      for (const Part& part : groups_[g]->parts())
        all.push_back({part.id * groups_.size() + g, part.version});
    }
    return all;
  }
  void save_part(std::uint64_t id, std::string& out) const override {
    groups_[id % groups_.size()]->save_part(id / groups_.size(), out);
  }

  void save(std::string& out) const override { save_all(groups_, out); }
  /// A group that refuses leaves all as they were: the earlier ones are loaded back.
  Status load(std::string_view bytes, const ReadPart& read_part) override {
    std::vector<std::string> states(groups_.size());
    ACCRETE_DO(split_states(bytes, states));
    std::vector<Saved> before(groups_.size());
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      before[g] = saved(*groups_[g]);
      Status loaded = groups_[g]->load(
          states[g], [&](std::uint64_t id) { return read_part(id * groups_.size() + g); });
      if (loaded) continue;
      for (std::size_t undo = 0; undo < g; ++undo) {
        const auto read = [&](std::uint64_t id) -> Result<std::string> {
          return before[undo].parts.at(id);
        };
        ACCRETE_CHECK(bool(groups_[undo]->load(before[undo].state, read)));
      }
      return loaded;
    }
    return Ok{};
  }

 private:
  struct Saved {
    std::string state;
    std::map<std::uint64_t, std::string> parts;
  };
  static Saved saved(const CandidateGroup& group) {
    Saved all;
    group.save(all.state);
    for (const Part& part : group.parts())
      group.save_part(part.id, all.parts[part.id]);
    return all;
  }

  struct Member {
    std::size_t group = 0;
    std::size_t place = 0;
    int family = -1;
  };
  std::vector<std::unique_ptr<CandidateGroup>> groups_;
  std::vector<Member> members_;
};

}  // namespace

void CandidateGroup::save_part(std::uint64_t, std::string&) const {
  ACCRETE_CHECK(false && "a group without parts has none to save");
}

std::unique_ptr<CandidateGroup> join_groups(std::vector<std::unique_ptr<CandidateGroup>> groups) {
  return std::make_unique<JoinedGroup>(std::move(groups));
}

std::unique_ptr<CandidateGroup> make_group(Candidates candidates) {
  return std::make_unique<PlainGroup>(std::move(candidates));
}

}  // namespace accrete::models
