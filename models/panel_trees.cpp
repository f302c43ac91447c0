// Boosted trees as a head of a panel.
#include <algorithm>
#include <cmath>
#include <utility>

#include "models/boosted_trees.h"
#include "models/panel_heads.h"

namespace accrete::models {
namespace {

using Eigen::Index;
using Eigen::VectorXd;

class TreeHead final : public PanelHead {
 public:
  TreeHead(TaskKind kind, const HeadSpec& spec, std::string name)
      : binary_(kind == TaskKind::Binary), spec_(spec), name_(std::move(name)) {}

  const std::string& name() const override { return name_; }

  void refit(const MemoryRows& memory, const PanelDesign&, const PanelDesign&) override {
    scale_ = memory.skewed;
    VectorXd targets(memory.labels.size());
    for (Index i = 0; i < targets.size(); ++i) {
      targets[i] = binary_ ? (memory.labels[i] > 0.5 ? 1 : 0) : scale_.target(memory.labels[i]);
    }
    const VectorXd weights = aged_weights(memory, spec_.half_life);
    trees_.fit(binary_ ? Loss::Logistic : Loss::Absolute, {memory.rows, targets, weights},
               TreeOptions{}, memory.position);
  }

  void fade(double count) override { errors_.fade(fade_factor(count, spec_.half_life)); }

  void learn(const TickRows& tick) override {
    if (binary_) return;
    Output before;
    for (Index i = 0; i < tick.rows.cols(); ++i) {
      predict(tick.rows.col(i), tick.centre, tick.spread, before);
      errors_.add(before.value - tick.labels[i], tick.weights[i]);
    }
  }

  void refresh() override {}

  void predict(const VectorXd& z, double, double, Output& output) const override {
    const double score = trees_.score(z);
    if (binary_) {
      output.value = std::clamp(1 / (1 + std::exp(-score)), probability_min, 1 - probability_min);
      return;
    }
    output.value = scale_.label(score);
    output.variance = errors_.mean();
  }

  void save(StateWriter& writer) const override {
    trees_.save(writer);
    scale_.save(writer);
    writer.f64(errors_.squares);
    writer.f64(errors_.weight);
  }

  void load(StateReader& reader, Index columns) override {
    trees_.load(reader, columns);
    scale_.load(reader);
    errors_.squares = reader.f64();
    errors_.weight = reader.f64();
  }

 private:
  bool binary_;
  HeadSpec spec_;
  std::string name_;
  BoostedTrees trees_;
  LabelScale scale_;
  HeadErrors errors_;
};

}  // namespace

std::unique_ptr<PanelHead> make_tree_head(TaskKind kind, const HeadSpec& spec, std::string name) {
  return std::make_unique<TreeHead>(kind, spec, std::move(name));
}

}  // namespace accrete::models
