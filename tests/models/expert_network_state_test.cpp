// What outlives a step of the graph network: growth by experts, and the state on disk.
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "models/expert_network.h"
#include "models/state_bytes.h"
#include "proto/hash.h"
#include "tests/models/graph_world.h"

namespace accrete::models {
namespace {

template <class Real>
using Values = std::map<std::string, RowMatrix<Real>>;

template <class Real>
Values<Real> values_of(ExpertNetwork<Real>& network) {
  Values<Real> out;
  network.visit([&](std::string_view name, Parameter<Real>& parameter) {
    out[std::string(name)] = parameter.value;
    out[std::string(name) + " first"] = parameter.first;
    out[std::string(name) + " second"] = parameter.second;
  });
  return out;
}

bool of_expert(std::string_view name, std::size_t expert) {
  return name.find(".expert" + std::to_string(expert) + ".") != std::string_view::npos;
}

struct Case {
  GraphWorld world = make_graph_world(11, {24, 80, 4, 2});
  GraphBatch batch = make_batch(world, all_entities(world));
  std::vector<Target> targets = random_targets(TaskKind::Binary, 24, 0, 11);
};

/// Scores before and after a third expert is added to two, under oracle routing and the hard mask.
std::pair<RowMatrix<float>, RowMatrix<float>> scores_around_growth(ExpertKind kind,
                                                                   const GraphWorld& world,
                                                                   const GraphBatch& batch) {
  NetworkOptions options = network_options(world, 8, kind);
  options.routing.own_block_only = true;
  options.routing.mask_later_blocks = true;
  ExpertNetwork<float> network(TaskKind::Binary, options);
  network.grow(batch);
  train(network, batch, random_targets(TaskKind::Binary, batch.seeds(), 0, 11), 5);
  std::pair<RowMatrix<float>, RowMatrix<float>> scores;
  network.predict(batch, scores.first);
  network.grow(batch);
  EXPECT_EQ(network.experts(), 3u);
  network.predict(batch, scores.second);
  return scores;
}

TEST(Growth, TakesNothingFromOldBlocksUnderOracleRoutingAndTheHardMask) {
  for (const ExpertKind kind : {ExpertKind::Sage, ExpertKind::Attention}) {
    // Where nothing of the new block is there yet, not a bit changes.
    const GraphWorld old = make_graph_world(11, {24, 80, 4, 2});
    const auto same = scores_around_growth(kind, old, make_batch(old, all_entities(old)));
    EXPECT_TRUE(same.first == same.second);
    // Where it is all around, nodes of the first block do not notice; those of the new one do.
    const GraphWorld world = make_graph_world(11, {24, 80, 4, 3});
    const GraphBatch batch = make_batch(world, all_entities(world));
    const auto [before, after] = scores_around_growth(kind, world, batch);
    std::size_t old_seeds = 0;
    std::size_t changed = 0;
    for (std::size_t v = 0; v < batch.seeds(); ++v) {
      const auto i = static_cast<Eigen::Index>(v);
      if (batch.block[v] == 0) {
        ++old_seeds;
        EXPECT_EQ(before(i, 0), after(i, 0)) << v;
      }
      if (batch.block[v] == 2 && before(i, 0) != after(i, 0)) ++changed;
    }
    EXPECT_GT(old_seeds, 3u);
    EXPECT_GT(changed, 3u);
  }
}

TEST(Growth, FrozenExpertsKeepTheirBitsAndTheNewOneLearns) {
  const Case given;
  ExpertNetwork<float> network(TaskKind::Binary, network_options(given.world, 8));
  train(network, given.batch, given.targets, 5);
  network.grow(given.batch);
  auto before = values_of(network);
  train(network, given.batch, given.targets, 50);
  auto after = values_of(network);
  std::size_t old = 0;
  std::size_t moved = 0;
  for (const auto& [name, value] : before) {
    if (of_expert(name, 0)) {
      ++old;
      EXPECT_TRUE(value == after[name]) << name;
    } else if (name.find(' ') == std::string::npos) {
      if (value != after[name]) ++moved;
    }
  }
  EXPECT_GT(old, 10u);
  EXPECT_GT(moved, 20u);
}

TEST(Growth, OldExpertsFollowTheChosenRate) {
  const Case given;
  std::map<double, double> length;
  for (const double rate : {0.0, 0.1, 1.0}) {
    NetworkOptions options = network_options(given.world, 8);
    options.old_expert_rate = rate;
    options.routing.top = 5;  // everybody is heard, so both experts have gradients
    ExpertNetwork<double> network(TaskKind::Binary, options);
    train(network, given.batch, given.targets, 5);
    network.grow(given.batch);
    auto before = values_of(network);
    // No bound on the gradient's length here: it would also count the frozen experts' shares.
    network.accumulate(given.batch, given.targets);
    network.visit([](std::string_view, Parameter<double>& parameter) {
      if (parameter.gradient.size() > 0) parameter.gradient *= 1e-3;
    });
    network.step();
    const auto after = values_of(network);
    for (const auto& [name, value] : after) {
      if (of_expert(name, 0) && name.find(' ') == std::string::npos)
        length[rate] += (value - before[name]).squaredNorm();
    }
    length[rate] = std::sqrt(length[rate]);
  }
  EXPECT_EQ(length[0.0], 0);
  EXPECT_GT(length[1.0], 0);
  EXPECT_NEAR(length[0.1] / length[1.0], 0.1, 1e-9);
}

TEST(Growth, ParentIsTheExpertThatTheSampleUsesMost) {
  const Case given;
  NetworkOptions options = network_options(given.world, 8);
  options.old_expert_rate = 1;
  ExpertNetwork<double> network(TaskKind::Binary, options);
  for (int block = 0; block < 3; ++block) {
    network.grow(given.batch);
    shake(network, 12 + static_cast<std::uint64_t>(block));
  }
  RowMatrix<double> scores;
  std::vector<RoutingStats> stats;
  network.predict(given.batch, scores, nullptr, &stats);
  auto before = values_of(network);
  const std::vector<std::size_t> parents = network.grow(given.batch);
  auto after = values_of(network);
  for (std::size_t l = 0; l < 2; ++l) {
    for (std::size_t t = 0; t < 4; ++t)
      EXPECT_LE(stats[l].load[t], stats[l].load[parents[l]]);
    // The new expert lies by its parent, not by the others.
    std::vector<double> away(4, 0.0);
    const std::string layer = "layer" + std::to_string(l) + ".expert";
    for (const auto& [name, value] : after) {
      if (!name.starts_with(layer + "4.") || name.find(' ') != std::string::npos) continue;
      for (std::size_t t = 0; t < 4; ++t) {
        const std::string other = layer + std::to_string(t) + name.substr(layer.size() + 1);
        away[t] += (value - before[other]).squaredNorm();
      }
    }
    for (std::size_t t = 0; t < 4; ++t) {
      if (t != parents[l]) {
        EXPECT_LT(4 * away[parents[l]], away[t]);
      }
    }
  }
}

/// A commit: the frame and every part.
struct Saved {
  std::string frame;
  std::map<std::uint64_t, std::string> parts;
  friend bool operator==(const Saved&, const Saved&) = default;
};

template <class Real>
Saved saved(const ExpertNetwork<Real>& network) {
  Saved out;
  network.save(out.frame);
  for (const auto& part : network.parts())
    network.save_part(part.id, out.parts[part.id]);
  return out;
}

template <class Real>
Status load(ExpertNetwork<Real>& network, const Saved& from) {
  return network.load(from.frame, [&](std::uint64_t id) -> Result<std::string> {
    const auto found = from.parts.find(id);
    if (found == from.parts.end()) return Error{Errc::NotFound, "no such part"};
    return found->second;
  });
}

NetworkOptions told_options(const GraphWorld& world) {
  NetworkOptions options = network_options(world, 6);
  options.shape.told = {2, 0};
  return options;
}

/// A network with a past: two experts, five classes, columns that came later, also of what the head
/// is told, moments.
struct Past {
  GraphWorld world = make_graph_world(13, {16, 50, 4, 2});
  NetworkOptions options = told_options(world);
  GraphBatch batch = make_batch(world, all_entities(world));
  std::vector<Target> targets = random_targets(TaskKind::Multiclass, 16, 5, 13);
  ExpertNetwork<float> network{TaskKind::Multiclass, options};
  ExpertNetwork<float> fresh{TaskKind::Multiclass, options};

  Past() {
    network.grow_classes(3);
    batch.told = random_told(16, {2, 0});
    std::vector<Target> early = targets;
    for (Target& target : early)
      target.value = std::min(target.value, 2.0);
    train(network, batch, early, 4);
    network.grow(batch);
    network.grow_classes(5);
    network.grow_columns(0, 4);
    batch.features[0].conservativeResize(Eigen::NoChange, 4);
    batch.features[0].rightCols(1).setConstant(.5F);
    network.grow_told(0, 3);
    network.grow_told(1, 1);
    batch.told = random_told(16, {3, 1});
    train(network, batch, targets, 4);
  }
};

TEST(NetworkState, ContinuesBitForBit) {
  Past past;
  const Saved bytes = saved(past.network);
  ASSERT_TRUE(load(past.fresh, bytes));
  EXPECT_TRUE(saved(past.fresh) == bytes);
  EXPECT_EQ(past.fresh.memory_bytes(), past.network.memory_bytes());
  for (ExpertNetwork<float>* network : {&past.network, &past.fresh}) {
    train(*network, past.batch, past.targets, 5);
    network->grow(past.batch);
    train(*network, past.batch, past.targets, 5);
  }
  EXPECT_TRUE(saved(past.fresh) == saved(past.network));
  RowMatrix<float> a;
  RowMatrix<float> b;
  past.network.predict(past.batch, a);
  past.fresh.predict(past.batch, b);
  EXPECT_TRUE(a == b);
}

TEST(NetworkState, OnlyWhatWasLearntHasANewVersion) {
  Past past;  // old experts are frozen
  const auto before = past.network.parts();
  const Saved old = saved(past.network);
  ASSERT_EQ(before.size(), 1u + 2 * 2);
  train(past.network, past.batch, past.targets, 3);
  const auto after = past.network.parts();
  const Saved now = saved(past.network);
  std::size_t same = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    EXPECT_EQ(before[i].id, after[i].id);
    const bool equal = before[i].version == after[i].version;
    EXPECT_EQ(equal, old.parts.at(before[i].id) == now.parts.at(after[i].id));
    if (equal) ++same;
  }
  EXPECT_EQ(same, 2u);  // the first expert of both layers
  // A commit that wrote only what is new reads back.
  Saved commit{now.frame, old.parts};
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (before[i].version != after[i].version)
      commit.parts[after[i].id] = now.parts.at(after[i].id);
  }
  ASSERT_TRUE(load(past.fresh, commit));
  EXPECT_TRUE(saved(past.fresh) == now);
}

TEST(NetworkState, GrowthAndNewClassesAreNewVersionsOfTheRest) {
  Past past;
  auto before = past.network.parts();
  past.network.grow(past.batch);
  auto after = past.network.parts();
  ASSERT_EQ(after.size(), before.size() + 2);
  EXPECT_NE(after[0].version, before[0].version);
  for (std::size_t i = 1; i < before.size(); ++i) {
    EXPECT_EQ(after[i].id, before[i].id);
    EXPECT_EQ(after[i].version, before[i].version);
  }
  past.network.grow_classes(6);
  EXPECT_NE(past.network.parts()[0].version, after[0].version);
}

constexpr std::uint64_t kFrame = 1000;  // no part's id

TEST(NetworkState, DamagedBytesAreRefusedAndChangeNothing) {
  Past past;
  const Saved bytes = saved(past.network);
  const Saved untouched = saved(past.fresh);
  const auto refused = [&](const Saved& damaged) {
    const Status status = load(past.fresh, damaged);
    return !status && status.error().code == Errc::Corruption;
  };
  std::vector<std::uint64_t> pieces{kFrame};
  for (const auto& [id, part] : bytes.parts)
    pieces.push_back(id);
  for (const std::uint64_t piece : pieces) {
    const std::string whole = piece == kFrame ? bytes.frame : bytes.parts.at(piece);
    Saved damaged = bytes;
    std::string& told = piece == kFrame ? damaged.frame : damaged.parts.at(piece);
    for (std::size_t at = 0; at < whole.size(); at += 1 + whole.size() / 61) {
      told = whole;
      told[at] = static_cast<char>(told[at] ^ (1 << (at % 8)));
      EXPECT_TRUE(refused(damaged)) << piece << " flipped at " << at;
      told = whole.substr(0, at);
      EXPECT_TRUE(refused(damaged)) << piece << " cut at " << at;
    }
    told = whole + 'x';
    EXPECT_TRUE(refused(damaged)) << piece;
  }
  Saved swapped = bytes;  // of the same shape, the same number of steps, whole
  std::swap(swapped.parts[1], swapped.parts[2]);
  EXPECT_TRUE(refused(swapped));
  Saved missing = bytes;
  missing.parts.erase(3);
  const Status status = load(past.fresh, missing);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Errc::NotFound);
  EXPECT_TRUE(saved(past.fresh) == untouched);
}

TEST(NetworkState, AnOlderPartIsRefused) {
  Past past;
  const Saved old = saved(past.network);
  train(past.network, past.batch, past.targets, 1);
  Saved mixed = saved(past.network);
  mixed.parts[0] = old.parts.at(0);
  const Saved untouched = saved(past.fresh);
  const Status status = load(past.fresh, mixed);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Errc::Corruption);
  EXPECT_TRUE(saved(past.fresh) == untouched);
}

/// The same bytes without their last `less` and with the hash that belongs to them.
std::string resealed(std::string_view bytes, std::size_t less = 0) {
  std::string out(bytes.substr(0, bytes.size() - sizeof(std::uint64_t) - less));
  const std::uint64_t hash = hash64(out);
  StateWriter(out).u64(hash);
  return out;
}

TEST(NetworkState, BytesMadeToLookWholeNeverCrash) {
  Past past;
  const Saved bytes = saved(past.network);
  std::size_t refused = 0;
  std::size_t tried = 0;
  for (std::size_t at = 0; at + 8 < bytes.frame.size(); ++at, ++tried) {
    Saved forged = bytes;
    forged.frame[at] = static_cast<char>(forged.frame[at] ^ (1 << (at % 8)));
    forged.frame = resealed(forged.frame);
    if (!load(past.fresh, forged)) ++refused;
  }
  EXPECT_GT(refused * 4, tried);  // most of the rest are learning rates
  for (std::size_t at = 0; at < 200; ++at) {
    Saved forged = bytes;
    std::string& part = forged.parts[at % 5];
    part[at] = static_cast<char>(part[at] ^ 0x10);
    part = resealed(part, at % 3 * 7);
    if (!load(past.fresh, forged)) continue;
    RowMatrix<float> scores;
    past.fresh.predict(past.batch, scores);
  }
}

TEST(NetworkState, OfAnotherShapeOrTaskIsRefused) {
  Past past;
  const Saved bytes = saved(past.network);
  NetworkOptions wider = past.options;
  wider.shape.layer.width = 8;
  ExpertNetwork<float> other_width(TaskKind::Multiclass, wider);
  EXPECT_FALSE(load(other_width, bytes));
  ExpertNetwork<float> other_task(TaskKind::Binary, past.options);
  EXPECT_FALSE(load(other_task, bytes));
  ExpertNetwork<double> other_numbers(TaskKind::Multiclass, past.options);
  EXPECT_FALSE(load(other_numbers, bytes));
}

}  // namespace
}  // namespace accrete::models
