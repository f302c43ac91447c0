// Ridge by sums; logistic and median by Newton steps on a fading quadratic.
#include "models/panel_heads.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "models/convex_fit.h"
#include "models/matrix_bytes.h"

namespace accrete::models {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

constexpr double intercept_prior = 1e-3;

double prior_of(const HeadSpec& spec, Index columns) {
  return spec.lambda * static_cast<double>(columns);
}

class RidgeHead final : public PanelHead {
 public:
  RidgeHead(TaskKind kind, const HeadSpec& spec, std::string name)
      : kind_(kind), spec_(spec), name_(std::move(name)) {}

  const std::string& name() const override { return name_; }

  void refit(const MemoryRows& memory, const PanelDesign&, const PanelDesign& now) override {
    scale_ = memory.linear;
    memory_.reset(now.columns(), 1, prior_of(spec_, now.columns()), intercept_prior);
    const VectorXd weights = aged_weights(memory, spec_.half_life);
    // In blocks: the scaled copy of the rows that a sum needs stays small.
    constexpr Index block = 128;
    for (Index begin = 0; begin < memory.rows.cols(); begin += block) {
      const Index size = std::min(block, memory.rows.cols() - begin);
      MatrixXd targets(size, 1);
      for (Index i = 0; i < size; ++i) {
        targets(i, 0) = weights[begin + i] * scale_.target(memory.labels[begin + i]);
      }
      const BlockSums sums =
          block_sums(memory.rows.middleCols(begin, size), weights.segment(begin, size), targets);
      memory_.add(sums);
    }
    memory_.solve();
    dirty_ = false;
  }

  void fade(double count) override {
    const double factor = fade_factor(count, spec_.half_life);
    memory_.fade(factor);
    errors_.fade(factor);
  }

  void learn(const TickRows& tick) override {
    if (kind_ == TaskKind::Regression) {
      for (Index i = 0; i < tick.rows.cols(); ++i) {
        const VectorXd z = tick.rows.col(i);
        const double error = scale_.target(tick.labels[i]) - memory_.weights().col(0).dot(z);
        errors_.add(error * scale_.spread / std::sqrt(1 + memory_.leverage(z)), tick.weights[i]);
      }
    }
    memory_.add(tick.squares);
    dirty_ = true;
  }

  void refresh() override {
    if (dirty_) memory_.solve();
    dirty_ = false;
  }

  void predict(const VectorXd& z, double, double, Output& output) const override {
    output.value = scale_.label(memory_.weights().col(0).dot(z));
    if (kind_ == TaskKind::Binary) {
      output.value = std::clamp(output.value, probability_min, 1 - probability_min);
    } else if (errors_.weight > 0) {
      output.variance = errors_.mean() * (1 + memory_.leverage(z));
    }
  }

  void save(StateWriter& writer) const override {
    memory_.save(writer);
    scale_.save(writer);
    writer.f64(errors_.squares);
    writer.f64(errors_.weight);
    writer.u8(dirty_ ? 1 : 0);
  }

  void load(StateReader& reader, Index columns) override {
    memory_.load(reader, columns, 1);
    scale_.load(reader);
    errors_.squares = reader.f64();
    errors_.weight = reader.f64();
    dirty_ = reader.u8() != 0;
    reader.require(reader.failed() || memory_.columns() == columns);
  }

 private:
  TaskKind kind_;
  HeadSpec spec_;
  std::string name_;
  QuadraticMemory memory_;
  LabelScale scale_;
  HeadErrors errors_;
  bool dirty_ = false;
};

enum class Says : std::uint8_t { Probability, Label, TickDeviation };

/// Logistic and median: rows wait for the next solve and join the memory there.
class NewtonHead final : public PanelHead {
 public:
  NewtonHead(Says says, const HeadSpec& spec, std::string name)
      : says_(says),
        loss_(says == Says::Probability ? Loss::Logistic : Loss::Absolute),
        spec_(spec),
        name_(std::move(name)) {}

  const std::string& name() const override { return name_; }

  void refit(const MemoryRows& memory, const PanelDesign& old, const PanelDesign& now) override {
    const VectorXd start =
        memory_.outputs() > 0 ? now.carry(old, memory_.weights().col(0)) : VectorXd();
    memory_.reset(now.columns(), 1, prior_of(spec_, now.columns()), intercept_prior);
    const bool same_scale = adopt(memory);
    if (start.size() == now.columns() && same_scale) memory_.set_weights(start);
    VectorXd targets(memory.labels.size());
    for (Index i = 0; i < targets.size(); ++i) {
      targets[i] = target(memory.labels[i], memory.centres[i], memory.spreads[i]);
    }
    const VectorXd weights = aged_weights(memory, spec_.half_life);
    fit(loss_, {memory.rows, targets, weights}, FitLimits{}, memory_);
    waiting_.clear();
  }

  void fade(double count) override {
    const double factor = fade_factor(count, spec_.half_life);
    memory_.fade(factor);
    errors_.fade(factor);
    for (Waiting& row : waiting_) {
      row.weight *= factor;
    }
  }

  void learn(const TickRows& tick) override {
    Output before;
    for (Index i = 0; i < tick.rows.cols(); ++i) {
      waiting_.push_back(
          {tick.rows.col(i), target(tick.labels[i], tick.centre, tick.spread), tick.weights[i]});
      if (loss_ == Loss::Absolute) {
        predict(waiting_.back().z, tick.centre, tick.spread, before);
        errors_.add(before.value - tick.labels[i], tick.weights[i]);
      }
    }
    if (waiting_.size() >= waiting_max) refresh();
  }

  void refresh() override {
    if (waiting_.empty()) return;
    const auto N = static_cast<Index>(waiting_.size());
    MatrixXd rows(memory_.columns(), N);
    VectorXd targets(N);
    VectorXd weights(N);
    for (Index i = 0; i < N; ++i) {
      const Waiting& row = waiting_[static_cast<std::size_t>(i)];
      rows.col(i) = row.z;
      targets[i] = row.target;
      weights[i] = row.weight;
    }
    learn_block(loss_, rows, targets, weights, memory_);
    waiting_.clear();
  }

  void predict(const VectorXd& z, double centre, double spread, Output& output) const override {
    const double score = memory_.weights().col(0).dot(z);
    if (says_ == Says::Probability) {
      const double wider = 1 + std::numbers::pi / 8 * memory_.leverage(z);
      const double p = 1 / (1 + std::exp(-score / std::sqrt(wider)));
      output.value = std::clamp(p, probability_min, 1 - probability_min);
      return;
    }
    const double value = scale_.label(score);
    output.value = says_ == Says::Label ? value : centre + spread * value;
    output.variance = errors_.mean();
  }

  void save(StateWriter& writer) const override {
    memory_.save(writer);
    scale_.save(writer);
    writer.f64(errors_.squares);
    writer.f64(errors_.weight);
    writer.u64(waiting_.size());
    for (const Waiting& row : waiting_) {
      save_vector(writer, row.z);
      writer.f64(row.target);
      writer.f64(row.weight);
    }
  }

  void load(StateReader& reader, Index columns) override {
    memory_.load(reader, columns, 1);
    scale_.load(reader);
    errors_.squares = reader.f64();
    errors_.weight = reader.f64();
    const std::uint64_t count = reader.count(3 * sizeof(double));
    waiting_.clear();
    for (std::uint64_t i = 0; i < count && !reader.failed(); ++i) {
      Waiting row;
      row.z = load_vector(reader);
      row.target = reader.f64();
      row.weight = reader.f64();
      reader.require(row.z.size() == columns && row.weight >= 0);
      waiting_.push_back(std::move(row));
    }
    reader.require(reader.failed() || memory_.columns() == columns);
  }

 private:
  static constexpr std::size_t waiting_max = 256;
  struct Waiting {
    VectorXd z;
    double target = 0;
    double weight = 0;
  };

  /// Take the label scale of a new fit; true if carried weights still mean the same.
  bool adopt(const MemoryRows& memory) {
    if (says_ == Says::Probability) return true;
    const LabelScale before = scale_;
    scale_ = says_ == Says::Label ? memory.skewed : memory.relative;
    return before.logarithmic == scale_.logarithmic;
  }

  double target(double label, double centre, double spread) const {
    if (says_ == Says::Probability) return label > 0.5 ? 1 : 0;
    return scale_.target(says_ == Says::Label ? label : (label - centre) / spread);
  }

  Says says_;
  Loss loss_;
  HeadSpec spec_;
  std::string name_;
  QuadraticMemory memory_;
  LabelScale scale_;
  HeadErrors errors_;
  std::vector<Waiting> waiting_;
};

}  // namespace

VectorXd aged_weights(const MemoryRows& memory, double half_life) {
  VectorXd weights(memory.weights.size());
  for (Index i = 0; i < weights.size(); ++i) {
    weights[i] = memory.weights[i] * fade_factor(memory.ages[i], half_life);
  }
  return weights;
}

std::unique_ptr<PanelHead> make_ridge_head(TaskKind kind, const HeadSpec& spec, std::string name) {
  return std::make_unique<RidgeHead>(kind, spec, std::move(name));
}

std::unique_ptr<PanelHead> make_logistic_head(const HeadSpec& spec, std::string name) {
  return std::make_unique<NewtonHead>(Says::Probability, spec, std::move(name));
}

std::unique_ptr<PanelHead> make_median_head(MedianOf what, const HeadSpec& spec, std::string name) {
  const Says says = what == MedianOf::Label ? Says::Label : Says::TickDeviation;
  return std::make_unique<NewtonHead>(says, spec, std::move(name));
}

}  // namespace accrete::models
