// Two experts become one: twins lose nothing, others become their mean, the state follows, and what
// the two said can be learnt by the one.
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "models/expert_network.h"
#include "tests/models/graph_world.h"

namespace accrete::models {
namespace {

constexpr std::size_t kWidth = 8;
constexpr ExpertKind kKinds[] = {ExpertKind::Sage, ExpertKind::Attention};

template <class Real>
using Values = std::map<std::string, RowMatrix<Real>>;

template <class Real>
Values<Real> values_of(ExpertNetwork<Real>& network) {
  Values<Real> out;
  network.visit([&](std::string_view name, Parameter<Real>& parameter) {
    out[std::string(name)] = parameter.value;
  });
  return out;
}

struct Case {
  GraphWorld world = make_graph_world(31, {24, 80, 4, 4});
  GraphBatch batch;
  Case() {
    std::vector<Seed> seeds;
    for (std::uint32_t i = 0; i < 24; ++i)
      seeds.push_back({i});
    batch = make_batch(world, seeds);
  }

  NetworkOptions options(ExpertKind kind) const {
    NetworkOptions options = network_options(world, kWidth, kind);
    options.old_expert_rate = 0.1;
    return options;
  }
  /// Every parameter away from where it began.
  template <class Real>
  ExpertNetwork<Real> network(const NetworkOptions& options, std::size_t experts) const {
    ExpertNetwork<Real> out(TaskKind::Binary, options);
    while (out.experts() < experts)
      out.grow(batch);
    shake(out, 32, 0.5);
    return out;
  }
  /// Blocks when experts `first` and first + 1 are one.
  GraphBatch merged(std::uint32_t first) const {
    GraphBatch out = batch;
    for (std::uint32_t& block : out.block)
      block -= block > first ? 1 : 0;
    return out;
  }
};

/// Parameters that belong to expert t of a layer: its weights, gate row and p.
std::string own_name(std::size_t layer, std::size_t t, std::string_view what) {
  const std::string number = std::to_string(t);
  std::string out = "layer" + std::to_string(layer);
  if (what == "gate") return out + ".gate.block" + number;
  if (what == "listener") return out + ".topology.listener" + number;
  return out + ".expert" + number + std::string(what);
}

/// What own_name() takes for all parameters of an expert.
std::vector<std::string> own_parameters(const Values<double>& values) {
  std::vector<std::string> out{"gate", "listener"};
  constexpr std::string_view kFirst = "layer0.expert0";
  for (const auto& [name, value] : values) {
    if (name.starts_with(kFirst)) out.push_back(name.substr(kFirst.size()));
  }
  return out;
}

/// As the layer's formulas have it: units are columns of W_1, c_1, gain and shift, rows of W_2.
RowMatrix<double> with_units_in(const std::vector<Eigen::Index>& order, std::string_view what,
                                const RowMatrix<double>& value) {
  RowMatrix<double> out = value;
  const bool columns = what == ".first" || what == ".first_bias" || what.starts_with(".norm.");
  for (std::size_t i = 0; i < order.size(); ++i) {
    const auto to = static_cast<Eigen::Index>(i);
    if (columns) out.col(to) = value.col(order[i]);
    if (what == ".second") out.row(to) = value.row(order[i]);
  }
  return out;
}

/// Expert t + 1 becomes a copy of t; an attention expert's with its hidden units in another order.
void make_twins(ExpertNetwork<double>& network, ExpertKind kind, std::size_t t) {
  const Values<double> values = values_of(network);
  Rng rng(33, 0, Purpose::Test);
  std::vector<Eigen::Index> order(2 * kWidth);
  std::iota(order.begin(), order.end(), Eigen::Index{0});
  for (std::size_t i = order.size(); i-- > 1;)
    std::swap(order[i], order[rng.below(i + 1)]);
  Values<double> wanted;
  for (std::size_t l = 0; l < 2; ++l) {
    for (const std::string& what : own_parameters(values)) {
      const RowMatrix<double>& value = values.at(own_name(l, t, what));
      wanted[own_name(l, t + 1, what)] =
          kind == ExpertKind::Attention ? with_units_in(order, what, value) : value;
    }
  }
  network.visit([&](std::string_view name, Parameter<double>& parameter) {
    const auto found = wanted.find(std::string(name));
    if (found != wanted.end()) parameter.value = found->second;
  });
}

TEST(MergeExperts, TwinsLoseNothingInWhateverOrderTheirUnitsAre) {
  const Case given;
  for (const ExpertKind kind : kKinds) {
    // A row goes to one expert of four; or to both twins, and there is nobody else.
    for (const bool alone : {false, true}) {
      NetworkOptions options = given.options(kind);
      options.routing.top = alone ? 2 : 1;
      options.shape.layer.extras = !alone;
      const std::size_t first = alone ? 0 : 1;
      auto network = given.network<double>(options, alone ? 2 : 4);
      make_twins(network, kind, first);
      const ExpertUse use = network.use(given.batch);
      EXPECT_NEAR(use.likeness(first, first + 1), 1, 1e-12);
      double used = 0;
      for (const auto& layer : use.layers)
        used += layer.usage[first] + layer.usage[first + 1];
      EXPECT_GT(used, 1);
      RowMatrix<double> before;
      network.predict(given.batch, before);
      network.merge(first, use);
      EXPECT_EQ(network.experts(), alone ? 1u : 3u);
      RowMatrix<double> after;
      network.predict(given.merged(static_cast<std::uint32_t>(first)), after);
      EXPECT_LE((after - before).cwiseAbs().maxCoeff(), 1e-6);
      EXPECT_GT((before.array() - before.mean()).abs().maxCoeff(), 0.1) << "it says something";
    }
  }
}

TEST(MergeExperts, BecomeTheMeanByUsageAndOthersKeepTheirBits) {
  const Case given;
  for (const ExpertKind kind : kKinds) {
    auto network = given.network<double>(given.options(kind), 5);
    const Values<double> before = values_of(network);
    const ExpertUse use = network.use(given.batch);
    network.merge(1, use);
    const Values<double> after = values_of(network);
    for (std::size_t l = 0; l < 2; ++l) {
      const auto& usage = use.layers[l].usage;
      const double share = usage[2] / (usage[1] + usage[2]);
      ASSERT_GT(share, 0.01);
      ASSERT_LT(share, 0.99);
      for (const std::string& what : own_parameters(before)) {
        EXPECT_EQ(after.at(own_name(l, 0, what)), before.at(own_name(l, 0, what)));
        EXPECT_EQ(after.at(own_name(l, 2, what)), before.at(own_name(l, 3, what)));
        EXPECT_EQ(after.at(own_name(l, 3, what)), before.at(own_name(l, 4, what)));
        const bool in_units =
            kind == ExpertKind::Attention &&
            (what.starts_with(".first") || what.starts_with(".norm.") || what == ".second");
        if (in_units) continue;
        const RowMatrix<double> mean =
            (1 - share) * before.at(own_name(l, 1, what)) + share * before.at(own_name(l, 2, what));
        EXPECT_LE((after.at(own_name(l, 1, what)) - mean).cwiseAbs().maxCoeff(), 1e-12) << what;
      }
    }
    for (const auto& [name, value] : before) {
      if (name.starts_with("rows.") || name.starts_with("head.") || name.ends_with(".projection") ||
          name.ends_with(".constant")) {
        EXPECT_EQ(after.at(name), value) << name;
      }
    }
  }
}

TEST(ExpertUse, LikenessIsTheMeanCosineOfLogits) {
  Rng rng(34, 0, Purpose::Test);
  ExpertUse sum;
  std::vector<std::vector<std::vector<double>>> logits(2, std::vector<std::vector<double>>(3));
  for (int sample = 0; sample < 2; ++sample) {
    const double weight = sample == 0 ? 1 : 2.25;
    ExpertUse use;
    for (std::size_t l = 0; l < 2; ++l) {
      ExpertUse::Layer& layer = use.layers.emplace_back();
      layer.products.setZero(3, 3);
      layer.usage = {1, 0, 2};
      for (int row = 0; row < 10; ++row) {
        Eigen::RowVectorXd z(3);
        for (std::size_t t = 0; t < 3; ++t) {
          z[static_cast<Eigen::Index>(t)] = l == 1 && t == 2 ? 0 : rng.uniform() - 0.3;
          logits[l][t].push_back(std::sqrt(weight) * z[static_cast<Eigen::Index>(t)]);
        }
        layer.products += z.transpose() * z;
      }
    }
    sum.add(use, weight);
  }
  EXPECT_EQ(sum.layers[1].usage, (std::vector<double>{3.25, 0, 6.5}));
  for (std::size_t a = 0; a < 3; ++a) {
    for (std::size_t b = 0; b < 3; ++b) {
      double expected = 0;
      for (std::size_t l = 0; l < 2; ++l) {
        const auto product = [&](std::size_t i, std::size_t j) {
          return std::inner_product(logits[l][i].begin(), logits[l][i].end(), logits[l][j].begin(),
                                    0.0);
        };
        const double lengths = std::sqrt(product(a, a) * product(b, b));
        if (lengths > 0) expected += product(a, b) / lengths / 2;
      }
      EXPECT_NEAR(sum.likeness(a, b), expected, 1e-12) << a << " " << b;
    }
  }
}

TEST(ExpertUse, IsOfTheNetworksOwnLogitsAndRoutes) {
  const Case given;
  auto network = given.network<double>(given.options(ExpertKind::Sage), 4);
  RowMatrix<double> of_first;
  network.visit([&](std::string_view name, Parameter<double>& parameter) {
    // Expert 1's rows are those of 0, three times as long; 2's point the other way; 3 has none.
    if (name.ends_with(".gate.block0")) of_first = parameter.value;
    if (name.ends_with(".gate.block1")) parameter.value = 3 * of_first;
    if (name.ends_with(".gate.block2")) parameter.value = -of_first;
    if (name.ends_with(".gate.block3")) parameter.value.setZero();
  });
  const ExpertUse use = network.use(given.batch);
  EXPECT_NEAR(use.likeness(0, 1), 1, 1e-12);
  EXPECT_NEAR(use.likeness(1, 2), -1, 1e-12);
  EXPECT_EQ(use.likeness(2, 3), 0);
  RowMatrix<double> scores;
  std::vector<RoutingStats> stats;
  network.predict(given.batch, scores, nullptr, &stats);
  for (std::size_t l = 0; l < 2; ++l) {
    const auto& load = stats[l].load;
    EXPECT_EQ(use.layers[l].usage, std::vector<double>(load.begin(), load.begin() + 4));
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

Status load(ExpertNetwork<float>& network, const Saved& from) {
  return network.load(from.frame, [&](std::uint64_t id) -> Result<std::string> {
    const auto found = from.parts.find(id);
    if (found == from.parts.end()) return Error{Errc::NotFound, "no such part"};
    return found->second;
  });
}

/// Four experts that have learnt.
struct Past : Case {
  std::vector<Target> targets = random_targets(TaskKind::Binary, 24, 0, 35);
  ExpertNetwork<float> network{TaskKind::Binary, options(ExpertKind::Attention)};
  ExpertNetwork<float> fresh{TaskKind::Binary, options(ExpertKind::Attention)};

  Past() {
    for (int expert = 0; expert < 4; ++expert) {
      if (expert > 0) network.grow(batch);
      train(network, 3);
    }
  }
  void train(ExpertNetwork<float>& learner, int steps) {
    for (int step = 0; step < steps; ++step) {
      learner.accumulate(batch, targets);
      learner.step();
    }
  }
};

TEST(MergedState, ContinuesBitForBit) {
  Past past;
  past.network.merge(1, past.network.use(past.batch));
  past.network.learn_all();
  ASSERT_TRUE(load(past.fresh, saved(past.network)));
  EXPECT_TRUE(saved(past.fresh) == saved(past.network));
  ExpertNetwork<float> copy = past.network.copy();
  EXPECT_TRUE(saved(copy) == saved(past.network));
  for (ExpertNetwork<float>* network : {&past.network, &past.fresh, &copy}) {
    past.train(*network, 3);
    network->grow(past.batch);
    past.train(*network, 3);
    network->merge(0, network->use(past.batch));
    network->learn_all();
    past.train(*network, 3);
  }
  EXPECT_EQ(past.network.experts(), 3u);
  EXPECT_TRUE(saved(past.fresh) == saved(past.network));
  EXPECT_TRUE(saved(copy) == saved(past.network));
  RowMatrix<float> a;
  RowMatrix<float> b;
  past.network.predict(past.batch, a);
  past.fresh.predict(past.batch, b);
  EXPECT_TRUE(a == b);
}

TEST(MergedState, ACopyIsAnotherNetwork) {
  Past past;
  const Saved before = saved(past.network);
  ExpertNetwork<float> copy = past.network.copy();
  past.train(copy, 2);
  copy.merge(0, copy.use(past.batch));
  EXPECT_TRUE(saved(past.network) == before);
  past.train(past.network, 2);
  EXPECT_FALSE(saved(past.network) == before);
}

TEST(MergedState, EqualIdAndVersionAreEqualBytes) {
  // Whatever happens, what a commit would not write for its version being known is what is there.
  Past past;
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::string> known;
  std::size_t kept = 0;
  const auto commit = [&] {
    Saved stored;
    past.network.save(stored.frame);
    for (const auto& part : past.network.parts()) {
      std::string bytes;
      past.network.save_part(part.id, bytes);
      const auto [place, is_new] = known.try_emplace({part.id, part.version}, bytes);
      EXPECT_EQ(place->second, bytes) << part.id << " of version " << part.version;
      if (!is_new) ++kept;
      stored.parts[part.id] = place->second;
    }
    ASSERT_TRUE(load(past.fresh, stored));
    EXPECT_TRUE(saved(past.fresh) == saved(past.network));
  };
  commit();
  for (std::size_t round = 0; round < 6; ++round) {
    past.network.merge(round % 2, past.network.use(past.batch));
    commit();
    past.network.learn_all();
    past.network.grow(past.batch);
    commit();
    past.train(past.network, static_cast<int>(round % 3));
    commit();
  }
  EXPECT_GT(kept, 50u);
}

TEST(MergedState, OnlyTheMergedHaveNewIds) {
  Past past;
  const auto before = past.network.parts();  // the rest, then two layers of each expert
  past.network.merge(1, past.network.use(past.batch));
  const auto after = past.network.parts();
  ASSERT_EQ(before.size(), 9u);
  ASSERT_EQ(after.size(), 7u);
  EXPECT_EQ(after[0].id, before[0].id);
  EXPECT_GT(after[0].version, before[0].version);
  for (const std::size_t place : {1u, 2u, 5u, 6u}) {
    const std::size_t old = place < 3 ? place : place + 2;
    EXPECT_EQ(after[place].id, before[old].id);
    EXPECT_EQ(after[place].version, before[old].version);
  }
  for (const std::size_t place : {3u, 4u}) {
    for (const auto& part : before)
      EXPECT_NE(after[place].id, part.id);
  }
}

TEST(Distillation, GradientIsThatOfDifferences) {
  const Case given;
  NetworkOptions options = given.options(ExpertKind::Sage);
  options.losses = {0.3, 0.2};
  auto network = given.network<double>(options, 2);
  RowMatrix<double> wanted = RowMatrix<double>::Constant(24, 1, 0.7);
  const auto objective = [&] {
    // The gate losses are told by accumulate(), which routes alike without force_own_block.
    std::vector<RoutingStats> layers;
    network.accumulate(given.batch, random_targets(TaskKind::Binary, 24, 0, 1), 1, &layers);
    RowMatrix<double> scores;
    network.predict(given.batch, scores);
    double total = (scores - wanted).squaredNorm() / (2 * 24);
    for (const RoutingStats& stats : layers)
      total += 0.3 * stats.block_loss + 0.2 * stats.graph_block_loss;
    return total;
  };
  network.accumulate_towards(given.batch, wanted);
  std::vector<RowMatrix<double>> told;
  network.visit(
      [&](std::string_view, Parameter<double>& parameter) { told.push_back(parameter.grad()); });
  std::size_t place = 0;
  std::size_t moved = 0;
  network.visit([&](std::string_view name, Parameter<double>& parameter) {
    const RowMatrix<double>& gradient = told[place++];
    for (Eigen::Index i = 0; i < parameter.value.size(); i += 1 + parameter.value.size() / 7) {
      constexpr double kStep = 1e-5;
      double& at = parameter.value.data()[i];
      const double kept = at;
      at = kept + kStep;
      const double above = objective();
      at = kept - kStep;
      const double below = objective();
      at = kept;
      EXPECT_NEAR(gradient.data()[i], (above - below) / (2 * kStep), 1e-6) << name;
      if (std::abs(gradient.data()[i]) > 1e-4) ++moved;
    }
  });
  EXPECT_GT(moved, told.size());
}

TEST(Distillation, BringsBackWhatTheTwoSaidAndMovesNoOtherExpert) {
  const Case given;
  for (const ExpertKind kind : kKinds) {
    ExpertNetwork<double> teacher = given.network<double>(given.options(kind), 4);
    RowMatrix<double> wanted;
    teacher.predict(given.batch, wanted);
    ExpertNetwork<double> pupil = teacher.copy();
    pupil.merge(1, teacher.use(given.batch));
    pupil.learn_only(1);
    const GraphBatch batch = given.merged(1);
    const Values<double> before = values_of(pupil);
    const double first = pupil.accumulate_towards(batch, wanted);
    pupil.step();
    double last = first;
    for (int step = 0; step < 120; ++step) {
      last = pupil.accumulate_towards(batch, wanted);
      pupil.step();
    }
    EXPECT_GT(first, 1e-3);
    EXPECT_LT(last, first / 2);
    std::size_t moved = 0;
    for (const auto& [name, value] : values_of(pupil)) {
      const bool still = name.starts_with("rows.") || name.find(".expert0.") != name.npos ||
                         name.find(".expert2.") != name.npos;
      if (still) {
        EXPECT_EQ(value, before.at(name)) << name;
      } else if (value != before.at(name)) {
        ++moved;
      }
    }
    EXPECT_GT(moved, 20u) << "of both layers: the expert, gates, p, W_P and the head";
    // Then all learn as after a birth: the newest and what is shared, and the old ones slowly.
    pupil.learn_all();
    pupil.visit([&](std::string_view name, Parameter<double>& parameter) {
      const bool old = name.find(".expert0.") != name.npos || name.find(".expert1.") != name.npos;
      EXPECT_EQ(parameter.rate, old ? 0.1 : 1) << name;
    });
  }
}

TEST(Distillation, OfWhatAllShareMovesGatesAndHeadAloneWhereTheRestIsFrozen) {
  const Case given;
  for (const ExpertKind kind : kKinds) {
    NetworkOptions options = given.options(kind);
    options.freeze_shared = true;
    ExpertNetwork<double> pupil = given.network<double>(options, 4);
    RowMatrix<double> wanted;
    pupil.predict(given.batch, wanted);
    pupil.merge(1, pupil.use(given.batch));
    pupil.learn_only(1);
    const Values<double> before = values_of(pupil);
    for (int step = 0; step < 5; ++step) {
      pupil.accumulate_towards(given.merged(1), wanted);
      pupil.step();
    }
    std::size_t moved = 0;
    for (const auto& [name, value] : values_of(pupil)) {
      if (value == before.at(name)) continue;
      ++moved;
      EXPECT_TRUE(name.find(".expert1.") != name.npos || name.find(".gate.") != name.npos ||
                  name.starts_with("head."))
          << name;
    }
    EXPECT_GT(moved, 6u);
    // The newest listens again, and nobody else.
    pupil.learn_all();
    std::size_t listeners = 0;
    pupil.visit([&](std::string_view name, Parameter<double>& parameter) {
      if (name.find(".topology.") == name.npos) return;
      ++listeners;
      EXPECT_EQ(parameter.rate, name.ends_with(".listener2") ? 1 : 0) << name;
    });
    EXPECT_GT(listeners, 3u);
  }
}

}  // namespace
}  // namespace accrete::models
