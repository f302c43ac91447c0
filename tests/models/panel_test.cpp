// Panels: what they learn, what they are relative to, what they refuse to depend on.
#include "models/panel.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <string>

#include <gtest/gtest.h>

#include "models/column_choice.h"
#include "proto/rng.h"
#include "state_check.h"

namespace accrete::models {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

struct Tick {
  std::vector<std::vector<double>> rows;
  std::vector<double> labels;
  std::vector<double> weights;

  std::vector<Input> inputs() const {
    std::vector<Input> all(rows.size());
    for (std::size_t i = 0; i < rows.size(); ++i)
      all[i].features = rows[i];
    return all;
  }
};

/// A group with its parts in one text, as state_check.h wants it.
class Whole {
 public:
  explicit Whole(CandidateGroup& group) : group_(group) {}
  void save(std::string& out) const {
    std::string main;
    group_.save(main);
    StateWriter writer(out);
    writer.u8(1);
    writer.text(main);
    const auto parts = group_.parts();
    writer.u64(parts.size());
    for (const auto& part : parts) {
      std::string bytes;
      group_.save_part(part.id, bytes);
      writer.u64(part.id);
      writer.text(bytes);
    }
  }
  Status load(std::string_view bytes) {
    StateReader reader(bytes);
    reader.require(reader.u8() == 1);
    const std::string main = reader.text();
    std::map<std::uint64_t, std::string> parts;
    const std::uint64_t count = reader.count(12);
    for (std::uint64_t i = 0; i < count && !reader.failed(); ++i) {
      const std::uint64_t id = reader.u64();
      parts[id] = reader.text();
    }
    ACCRETE_DO(reader.finish("group"));
    return group_.load(main, [&](std::uint64_t id) -> Result<std::string> { return parts[id]; });
  }

 private:
  CandidateGroup& group_;
};

double normal(Rng& rng) {
  double sum = -6;
  for (int k = 0; k < 12; ++k)
    sum += rng.uniform();
  return sum;
}

/// Column 0 drives the label, 1 copies it, 2 matters relative to the tick only, 3 is noise with
/// gaps, 4 says something by being missing, 5 is constant in a tick, the rest noise.
Tick make_tick(TaskKind kind, std::uint64_t seed, std::uint64_t t, std::size_t entities,
               std::size_t width) {
  Rng rng(seed, t, Purpose::Test);
  Tick tick;
  const double season = 10 * normal(rng);
  for (std::size_t e = 0; e < entities; ++e) {
    std::vector<double> row(width);
    for (double& x : row)
      x = normal(rng);
    const double own = normal(rng);
    row[1] = 3 * row[0] + 1e-3 * normal(rng);
    row[2] = season + own;
    if (rng.below(3) == 0) row[3] = nan;
    const bool gap = rng.below(4) == 0;
    if (gap) row[4] = nan;
    row[5] = season;
    const double signal = 1.5 * row[0] - 2 * own + (gap ? 2 : 0);
    tick.rows.push_back(row);
    tick.labels.push_back(kind == TaskKind::Binary ? (signal + normal(rng) > 0 ? 1 : 0)
                                                   : 10 + 3 * signal + normal(rng));
    tick.weights.push_back(e % 3 == 0 ? 0.5 : 1);
  }
  return tick;
}

/// Mean loss of each candidate over the ticks from `warm` on.
std::map<std::string, double> run(CandidateGroup& group, TaskKind kind, std::uint64_t seed,
                                  std::uint64_t ticks, std::uint64_t warm, std::size_t entities) {
  std::map<std::string, double> losses;
  double count = 0;
  for (std::uint64_t t = 0; t < ticks; ++t) {
    const Tick tick = make_tick(kind, seed, t, entities, 30);
    const std::vector<Input> inputs = tick.inputs();
    std::vector<Output> outputs(inputs.size() * group.size());
    group.open_tick(inputs);
    group.predict(inputs, group.size(), outputs);
    for (std::size_t i = 0; i < inputs.size() && t >= warm; ++i) {
      count += 1;
      for (std::size_t k = 0; k < group.size(); ++k) {
        const Output& out = outputs[i * group.size() + k];
        const double p = tick.labels[i] > 0.5 ? out.value : 1 - out.value;
        losses[std::string(group.name(k))] +=
            kind == TaskKind::Binary ? -std::log(p) : std::abs(out.value - tick.labels[i]);
      }
    }
    group.learn(inputs, tick.labels, tick.weights);
  }
  for (auto& [name, loss] : losses)
    loss /= count;
  return losses;
}

TEST(Panel, EveryHeadFindsTheSignal) {
  const auto binary = make_panel(TaskKind::Binary);
  const auto losses = run(*binary, TaskKind::Binary, 51, 400, 300, 20);
  ASSERT_EQ(losses.size(), 5u);
  for (const auto& [name, loss] : losses) {
    // An oracle of the signal loses about 0.26 here, the share of positives 0.69.
    EXPECT_LT(loss, name.starts_with("logistic") ? 0.32 : 0.45) << name;
  }
  const auto regression = make_panel(TaskKind::Regression);
  const auto errors = run(*regression, TaskKind::Regression, 52, 400, 300, 20);
  ASSERT_EQ(errors.size(), 5u);
  for (const auto& [name, loss] : errors) {
    // Trees draw a slope as stairs.
    EXPECT_LT(loss, name.starts_with("trees") ? 2.2 : 1.6)
        << name << ": noise alone costs 0.8, the labels' own deviation 6";
  }
}

TEST(Panel, OutputsDoNotDependOnTheCallTheyAreAskedIn) {
  for (const TaskKind kind : {TaskKind::Binary, TaskKind::Regression}) {
    const auto group = make_panel(kind);
    run(*group, kind, 53, 30, 0, 12);
    const Tick tick = make_tick(kind, 53, 99, 37, 30);
    const std::vector<Input> inputs = tick.inputs();
    group->open_tick(inputs);
    std::vector<Output> together(inputs.size() * group->size());
    group->predict(inputs, group->size(), together);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      std::vector<Output> alone(group->size() + 2);
      group->predict({&inputs[i], 1}, group->size() + 2, alone);
      for (std::size_t k = 0; k < group->size(); ++k) {
        EXPECT_EQ(alone[k].value, together[i * group->size() + k].value);
        EXPECT_EQ(alone[k].variance, together[i * group->size() + k].variance);
      }
    }
  }
}

TEST(Panel, RowsWithoutLabelsCountForTheTickOnly) {
  const auto group = make_panel(TaskKind::Regression);
  const auto other = make_panel(TaskKind::Regression);
  for (std::uint64_t t = 0; t < 60; ++t) {
    Tick tick = make_tick(TaskKind::Regression, 54, t, 20, 8);
    for (std::size_t e = 0; e < 20; e += 2)
      tick.labels[e] = nan;
    group->open_tick(tick.inputs());
    group->learn(tick.inputs(), tick.labels, tick.weights);
    // What the unlabelled rows hold matters: the tick is relative to another mean.
    for (std::size_t e = 0; e < 20; e += 2)
      tick.rows[e][2] += 5;
    other->open_tick(tick.inputs());
    other->learn(tick.inputs(), tick.labels, tick.weights);
  }
  const Tick probe = make_tick(TaskKind::Regression, 54, 77, 20, 8);
  const std::vector<Input> first{{probe.rows[0], nullptr}};
  std::vector<Output> a(group->size());
  std::vector<Output> b(group->size());
  group->open_tick(probe.inputs());
  other->open_tick(probe.inputs());
  group->predict(first, group->size(), a);
  other->predict(first, group->size(), b);
  // Both fitted the same signal; the mean moved by 2.5 in training and not in this tick.
  EXPECT_GT(std::abs(a[0].value - b[0].value), 5);
}

TEST(Panel, ContinuesBitForBitFromItsState) {
  PanelOptions options;
  options.memory.full_rows = 256;
  options.memory.rows_max = 1500;
  options.design.shortlist_max = 20;
  options.design.kept_max = 12;
  for (const TaskKind kind : {TaskKind::Binary, TaskKind::Regression}) {
    const auto original = make_panel(kind, options);
    auto copy = make_panel(kind, options);
    for (std::uint64_t t = 0; t < 130; ++t) {
      const Tick tick = make_tick(kind, 55, t, 1 + t % 40, t < 60 ? 30 : 33);
      for (CandidateGroup* group : {original.get(), copy.get()}) {
        if (t % 3 != 1) group->open_tick(tick.inputs());
        group->learn(tick.inputs(), tick.labels, tick.weights);
      }
      if (t % 29 == 0) {
        const std::string bytes = saved(Whole(*copy));
        copy = make_panel(kind, options);
        Whole whole(*copy);
        expect_exact_state(bytes, whole);
      }
      std::vector<Output> a(tick.rows.size() * original->size());
      std::vector<Output> b = a;
      original->predict(tick.inputs(), original->size(), a);
      copy->predict(tick.inputs(), original->size(), b);
      for (std::size_t i = 0; i < a.size(); ++i) {
        ASSERT_EQ(a[i].value, b[i].value) << "tick " << t;
        ASSERT_EQ(a[i].variance, b[i].variance);
        ASSERT_TRUE(std::isfinite(a[i].value) && std::isfinite(a[i].variance));
      }
    }
    ASSERT_EQ(saved(Whole(*original)), saved(Whole(*copy)));
  }
}

/// Commits as a store sees them: only parts whose version is new are written, the rest is old
/// bytes.
TEST(Panel, PartsOfOneVersionNeverChange) {
  PanelOptions options;
  options.memory.full_rows = 256;
  options.memory.rows_max = 1500;
  options.design.shortlist_max = 20;
  const auto group = make_panel(TaskKind::Binary, options);
  std::map<std::uint64_t, std::uint64_t> versions;
  std::map<std::uint64_t, std::string> store;
  std::size_t written = 0;
  std::size_t whole = 0;
  for (std::uint64_t t = 0; t < 150; ++t) {
    const Tick tick = make_tick(TaskKind::Binary, 56, t, 20, 30);
    group->learn(tick.inputs(), tick.labels, tick.weights);
    std::map<std::uint64_t, std::string> now;
    for (const auto& part : group->parts()) {
      if (versions.count(part.id) == 0 || versions[part.id] != part.version) {
        store[part.id].clear();
        group->save_part(part.id, store[part.id]);
        written += store[part.id].size();
      }
      versions[part.id] = part.version;
      now[part.id] = store[part.id];
      whole += now[part.id].size();
    }
    store = now;
  }
  EXPECT_LT(written, whole / 2);
  EXPECT_LE(store.size(), 8u) << "old parts are gone";
  const auto copy = make_panel(TaskKind::Binary, options);
  std::string bytes;
  group->save(bytes);
  const auto read = [&](std::uint64_t id) -> Result<std::string> { return store[id]; };
  ASSERT_TRUE(copy->load(bytes, read));
  EXPECT_EQ(saved(Whole(*copy)), saved(Whole(*group)));

  // A part of another time, or none, is refused.
  const std::uint64_t last = group->parts().back().id;
  const Tick tick = make_tick(TaskKind::Binary, 56, 150, 5, 30);
  group->learn(tick.inputs(), tick.labels, tick.weights);
  std::string later;
  group->save(later);
  EXPECT_FALSE(copy->load(later, read));
  store.erase(last);
  EXPECT_FALSE(copy->load(bytes, read));
  EXPECT_EQ(saved(*copy), bytes) << "and nothing has changed";
}

TEST(Panel, HostileNumbersGiveUsableAnswers) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const TaskKind kind : {TaskKind::Binary, TaskKind::Regression}) {
    const auto group = make_panel(kind);
    std::vector<Output> outputs(group->size());
    group->predict(std::vector<Input>(1), group->size(), outputs);
    EXPECT_EQ(outputs[0].value, kind == TaskKind::Binary ? 0.5 : 0);
    const std::vector<std::vector<double>> rows{
        {},           {infinity, nan}, {1e300, -1e300, 1}, {1e-300, nan, 1, 0},
        {5, 5, 5, 5}, {1e30, 2, 3, 4}};
    std::vector<Input> inputs(rows.size());
    for (std::size_t i = 0; i < rows.size(); ++i)
      inputs[i].features = rows[i];
    const std::vector<double> weights(rows.size(), 1.0);
    for (int t = 0; t < 60; ++t) {
      std::vector<double> labels(rows.size(), t % 2);
      if (kind == TaskKind::Regression && t == 40) labels[3] = 1e12;
      group->open_tick(inputs);
      outputs.resize(inputs.size() * group->size());
      group->predict(inputs, group->size(), outputs);
      for (const Output& output : outputs) {
        EXPECT_TRUE(std::isfinite(output.value) && std::isfinite(output.variance));
        EXPECT_LE(std::abs(output.value), t > 40 ? 2e12 : 2) << "no farther out than labels are";
        const bool probable = output.value > 0 && output.value < 1;
        EXPECT_TRUE(kind != TaskKind::Binary || probable);
      }
      group->learn(inputs, labels, weights);
    }
  }
}

TEST(Panel, PlainCandidatesFormAGroup) {
  class Counting final : public Candidate {
   public:
    std::string_view name() const override { return "counting"; }
    void predict(const Input&, Output& output) const override { output.value = settled_; }
    void learn(const Input&, double label, double weight) override { seen_ += label * weight; }
    void settle() override { settled_ = seen_; }
    void save(std::string& out) const override { out.append(std::to_string(settled_)); }
    Status load(std::string_view) override { return Ok{}; }

   private:
    double seen_ = 0;
    double settled_ = 0;
  };
  Candidates candidates;
  candidates.push_back(std::make_unique<Counting>());
  const auto group = make_group(std::move(candidates));
  EXPECT_EQ(group->name(0), "counting");
  const std::vector<Input> inputs(3);
  group->learn(inputs, std::vector<double>{1, nan, 2}, std::vector<double>{1, 1, 0.5});
  std::vector<Output> outputs(6);
  group->predict(inputs, 2, outputs);
  EXPECT_EQ(outputs[4].value, 2);
  EXPECT_EQ(outputs[5].value, 0) << "beyond the group: not its own";
}

}  // namespace
}  // namespace accrete::models
