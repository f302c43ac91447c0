// What a choice of experts costs: a layer of 16 experts, two a row, against a layer of one expert
// on the same graph. Peer: that one expert in the same run; and as many experts as a row has, which
// all get every row: that is the arithmetic without any choice. The goal is that of two a row.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "bench/measure.h"
#include "daemon/clock.h"
#include "models/dymoe_layer.h"
#include "proto/rng.h"

namespace accrete::bench {
namespace {

using models::DymoeLayer;
using models::ExpertKind;
using models::GraphBatch;
using Matrix = models::RowMatrix<float>;

struct Options : Flags {
  std::size_t rows = 4096;
  std::size_t inputs = 32'768;
  // What the daemon samples by default at the first step, and what the target of training's speed
  // (fan-out 128/64) does at the second, whose rows are the most.
  std::vector<std::size_t> neighbours = {16, 64};
  std::size_t top = 2;
  int rounds = 15;
  std::string kind;
};

constexpr std::size_t kExperts = 16;
constexpr std::size_t kRelations = 3;

/// Rows of table 0 that hear so many nodes of table 1 by each relation.
GraphBatch make_graph(const Options& options, std::size_t neighbours) {
  Rng rng(1, 0, Purpose::Test);
  GraphBatch batch;
  batch.reach = {options.rows, options.inputs};
  for (std::size_t v = 0; v < options.inputs; ++v) {
    batch.table.push_back(v < options.rows ? 0 : 1);
    batch.block.push_back(static_cast<std::uint32_t>(rng.below(kExperts)));
  }
  for (std::size_t r = 0; r < kRelations; ++r) {
    GraphBatch::Relation relation;
    relation.begin.push_back(0);
    for (std::size_t v = 0; v < options.rows; ++v) {
      for (std::size_t i = 0; i < neighbours; ++i) {
        relation.source.push_back(
            static_cast<std::uint32_t>(options.rows + rng.below(options.inputs - options.rows)));
      }
      relation.begin.push_back(static_cast<std::uint32_t>(relation.source.size()));
    }
    batch.relations.push_back(std::move(relation));
  }
  return batch;
}

Matrix random_matrix(std::size_t rows, std::size_t columns, std::uint64_t seed) {
  Rng rng(seed, 1, Purpose::Test);
  Matrix out(static_cast<Eigen::Index>(rows), static_cast<Eigen::Index>(columns));
  for (Eigen::Index i = 0; i < out.size(); ++i)
    out.data()[i] = static_cast<float>(2 * rng.uniform() - 1);
  return out;
}

/// Fresh experts; gates are moved so that rows choose differently.
DymoeLayer<float> make_layer(ExpertKind kind, std::size_t width, std::size_t experts) {
  models::LayerShape shape;
  shape.kind = kind;
  shape.width = width;
  shape.relations.assign(kRelations, {0, 1});
  shape.extras = false;  // they would take rows from the experts
  DymoeLayer<float> layer(shape, Rng(1, 2, Purpose::Test));
  for (std::size_t t = 0; t < experts; ++t)
    layer.add_expert(experts, nullptr, Rng(1, 3 + t, Purpose::Test));
  Rng rng(1, 99, Purpose::Test);
  layer.visit("", [&](std::string_view, models::Parameter<float>& parameter) {
    for (Eigen::Index i = 0; i < parameter.value.size(); ++i)
      parameter.value.data()[i] += static_cast<float>(0.2 * rng.uniform() - 0.1);
  });
  return layer;
}

/// The mix is what each expert alone says of all rows, by the softmax of the largest logits.
void check_mix(const DymoeLayer<float>& layer, const GraphBatch& batch, const Matrix& input,
               const Options& options, const Matrix& output) {
  Matrix logits;
  layer.gate_logits(input.topRows(output.rows()), logits);
  std::vector<Matrix> said(kExperts);
  models::Routing alone;
  alone.own_block_only = true;
  GraphBatch of_one = batch;
  for (std::size_t t = 0; t < kExperts; ++t) {
    std::fill(of_one.block.begin(), of_one.block.end(), static_cast<std::uint32_t>(t));
    layer.forward(of_one, options.rows, input, alone, {}, said[t], nullptr, nullptr);
  }
  float worst = 0;
  for (Eigen::Index v = 0; v < output.rows(); ++v) {
    std::vector<Eigen::Index> order;
    for (Eigen::Index t = 0; t < logits.cols(); ++t)
      order.push_back(t);
    std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(options.top),
                      order.end(), [&](auto a, auto b) { return logits(v, a) > logits(v, b); });
    Eigen::RowVectorXf mix = Eigen::RowVectorXf::Zero(output.cols());
    float sum = 0;
    for (std::size_t k = 0; k < options.top; ++k) {
      const float share = std::exp(logits(v, order[k]) - logits(v, order[0]));
      mix += share * said[static_cast<std::size_t>(order[k])].row(v);
      sum += share;
    }
    mix /= sum;
    worst = std::max(worst, (mix - output.row(v)).cwiseAbs().maxCoeff());
  }
  check(worst < 1e-4F, "the layer is the dense mix of the chosen experts");
}

/// CPU seconds of passes over one layer.
class Pass {
 public:
  Pass(ExpertKind kind, std::size_t width, std::size_t experts, std::size_t top)
      : layer_(make_layer(kind, width, experts)), tape_(DymoeLayer<float>::make_tape()) {
    routing_.top = top;
  }

  double forward(const GraphBatch& batch, std::size_t rows, const Matrix& input) {
    const double start = daemon::cpu_seconds();
    layer_.forward(batch, rows, input, routing_, {}, output_, nullptr, tape_.get());
    return daemon::cpu_seconds() - start;
  }
  double backward(const GraphBatch& batch, std::size_t rows, const Matrix& input,
                  const Matrix& d_output) {
    const double start = daemon::cpu_seconds();
    layer_.backward(batch, rows, input, *tape_, d_output, d_input_);
    return daemon::cpu_seconds() - start;
  }
  const DymoeLayer<float>& layer() const { return layer_; }
  const Matrix& output() const { return output_; }
  /// The largest expert's share of the rows, and that of each if all had as much: their ratio.
  double largest_load(const GraphBatch& batch, std::size_t rows, const Matrix& input) {
    models::RoutingStats stats;
    layer_.forward(batch, rows, input, routing_, {}, output_, &stats, nullptr);
    return std::ranges::max(stats.load) * static_cast<double>(stats.load.size()) /
           static_cast<double>(rows);
  }

 private:
  DymoeLayer<float> layer_;
  DymoeLayer<float>::TapePtr tape_;
  models::Routing routing_;
  Matrix output_;
  Matrix d_input_;
};

double median(const std::vector<double>& samples) {
  return percentile(samples, 0.5);
}

void measure(ExpertKind kind, std::size_t width, std::size_t neighbours, const Options& options) {
  const std::string name = std::string(kind == ExpertKind::Sage ? "sage" : "attention") + ", " +
                           std::to_string(width) + " wide, " + std::to_string(neighbours) +
                           " heard";
  const GraphBatch batch = make_graph(options, neighbours);
  const Matrix input = random_matrix(options.inputs, width, 1);
  const Matrix d_output = random_matrix(options.rows, width, 2);
  Pass many(kind, width, kExperts, options.top);
  Pass one(kind, width, 1, 1);
  Pass all(kind, width, options.top, options.top);  // all rows go to all: nothing is chosen
  Pass* const passes[] = {&one, &many, &all};
  std::vector<double> forward[3];
  std::vector<double> both[3];
  for (int round = 0; round < options.rounds; ++round) {
    for (std::size_t which = 0; which < 3; ++which) {
      Pass& pass = *passes[which];
      const double there = pass.forward(batch, options.rows, input);
      const double back = pass.backward(batch, options.rows, input, d_output);
      forward[which].push_back(there);
      both[which].push_back(there + back);
    }
  }
  check_mix(many.layer(), batch, input, options, many.output());
  say(name + ": largest load / mean load", many.largest_load(batch, options.rows, input), "");
  say(name + ": one expert, forward", median(forward[0]) * 1e3, "CPU ms");
  say(name + ": one expert, forward and backward", median(both[0]) * 1e3, "CPU ms");
  say(name + ": 16 experts, forward", median(forward[1]) * 1e3, "CPU ms");
  say(name + ": 16 experts, forward and backward", median(both[1]) * 1e3, "CPU ms");
  const std::string unchosen = name + ": " + std::to_string(options.top) + " for every row / one, ";
  say(unchosen + "forward", median(forward[2]) / median(forward[0]), "");
  say(unchosen + "and backward", median(both[2]) / median(both[0]), "");
  compare(name + ": 16 experts / one, forward", median(forward[1]) / median(forward[0]), 1.5,
          false);
  compare(name + ": 16 experts / one, and backward", median(both[1]) / median(both[0]), 1.5, false);
}

void run(Options options) {
  if (options.quick) {
    options.rows = 256;
    options.inputs = 2048;
    options.rounds = 2;
  }
  for (const ExpertKind kind : {ExpertKind::Sage, ExpertKind::Attention}) {
    if (!options.kind.empty() && (kind == ExpertKind::Sage) != (options.kind == "sage")) continue;
    for (const std::size_t neighbours : options.neighbours) {
      for (const std::size_t width : {std::size_t{64}, std::size_t{128}})
        measure(kind, width, neighbours, options);
    }
  }
  say_load();
}

}  // namespace
}  // namespace accrete::bench

int main(int argc, char** argv) {
  CLI::App app("bench_experts: a layer of 16 experts, two a row or --top, against one expert");
  accrete::bench::Options options;
  accrete::bench::add_flags(app, options);
  app.add_option("--rows", options.rows, "outputs of the layer");
  app.add_option("--inputs", options.inputs, "its nodes, outputs among them");
  app.add_option("--neighbours", options.neighbours,
                 "of a row by each of three relations, one number after another")
      ->check(CLI::PositiveNumber);
  app.add_option("--top", options.top, "experts of a row")->check(CLI::Range(1, 16));
  app.add_option("--kind", options.kind, "of the experts alone")
      ->check(CLI::IsMember({"sage", "attention"}));
  app.add_option("--rounds", options.rounds, "the median counts");
  CLI11_PARSE(app, argc, argv);
  accrete::bench::run(options);
  return 0;
}
