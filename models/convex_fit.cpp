// Newton steps with step halving, in blocks that stay in the cache.
#include "models/convex_fit.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace accrete::models {
namespace {

using Eigen::Index;
using Eigen::Lower;
using Eigen::MatrixXd;
using Eigen::VectorXd;

constexpr Index block_rows = 128;
constexpr int halvings_max = 30;

// New rows whose scores move less than this see the same curvature before and after.
constexpr double small_move = 0.25;

struct Points {
  VectorXd curvatures;
  MatrixXd targets;  // c f - g: what B sums
  double value = 0;
};

Points points_at(Loss loss, const VectorXd& scores, const VectorXd& targets,
                 const VectorXd& weights) {
  const Index N = scores.size();
  Points points{VectorXd(N), MatrixXd(N, 1), 0};
  for (Index i = 0; i < N; ++i) {
    const LossPoint at = loss_at(loss, scores[i], targets[i]);
    points.value += weights[i] * at.value;
    points.curvatures[i] = weights[i] * at.curvature;
    points.targets(i, 0) = weights[i] * (at.curvature * scores[i] - at.slope);
  }
  return points;
}

double value_at(Loss loss, const VectorXd& scores, const VectorXd& targets,
                const VectorXd& weights) {
  double value = 0;
  for (Index i = 0; i < scores.size(); ++i) {
    value += weights[i] * loss_at(loss, scores[i], targets[i]).value;
  }
  return value;
}

double prior_value(const QuadraticMemory& memory, const VectorXd& w) {
  return 0.5 * (memory.prior().array() * w.array().square()).sum();
}

VectorXd scores_of(const FitRows& data, const VectorXd& w) {
  return data.rows.transpose() * w;
}

BlockSums sums_of(const FitRows& data, const Points& points) {
  const Index K = data.rows.rows();
  BlockSums total{MatrixXd::Zero(K, K), MatrixXd()};
  MatrixXd scaled;
  for (Index begin = 0; begin < data.rows.cols(); begin += block_rows) {
    const Index size = std::min(block_rows, data.rows.cols() - begin);
    const VectorXd roots = points.curvatures.segment(begin, size).cwiseSqrt();
    scaled = data.rows.middleCols(begin, size) * roots.asDiagonal();
    total.curvature.selfadjointView<Lower>().rankUpdate(scaled);
  }
  total.moments = data.rows * points.targets;
  return total;
}

/// Largest halved step that lowers `value(step)` below `before`; 0 if none does.
template <class Value>
double halve(double before, Value value) {
  double step = 1;
  for (int i = 0; i < halvings_max; ++i, step /= 2) {
    const double now = value(step);
    if (std::isfinite(now) && now <= before) return step;
  }
  return 0;
}

}  // namespace

LossPoint loss_at(Loss loss, double score, double target) {
  if (loss == Loss::Logistic) {
    const double tail = std::exp(-std::abs(score));
    const double p = score >= 0 ? 1 / (1 + tail) : tail / (1 + tail);
    return {std::max(score, 0.0) + std::log1p(tail) - target * score, p - target,
            tail / ((1 + tail) * (1 + tail))};
  }
  const double error = score - target;
  const double root = std::sqrt(error * error + absolute_smoothing * absolute_smoothing);
  return {root - absolute_smoothing, error / root, 1 / root};
}

int fit(Loss loss, const FitRows& data, const FitLimits& limits, QuadraticMemory& memory) {
  ACCRETE_CHECK(memory.outputs() == 1 && data.rows.rows() == memory.columns());
  VectorXd w = memory.weights().col(0);
  VectorXd scores = scores_of(data, w);
  const double total = std::max(data.weights.sum(), 1e-300);
  int steps = 0;
  while (steps < limits.steps) {
    ++steps;
    const Points points = points_at(loss, scores, data.targets, data.weights);
    const BlockSums sums = sums_of(data, points);
    memory.fade(0);
    memory.add(sums);
    memory.solve();
    const VectorXd direction = memory.weights().col(0) - w;
    const VectorXd change = scores_of(data, direction);
    // Rounding of sums this long: a step that changes less is neither better nor worse.
    const double before = points.value + prior_value(memory, w) + 1e-12 * std::abs(points.value);
    const double step = halve(before, [&](double t) {
      return value_at(loss, scores + t * change, data.targets, data.weights) +
             prior_value(memory, w + t * direction);
    });
    w += step * direction;
    scores += step * change;
    memory.set_weights(w);
    const double move =
        step * std::sqrt((data.weights.array() * change.array().square()).sum() / total);
    if (step == 1 && move <= limits.move) break;
    if (step == 0) break;
  }
  return steps;
}

void learn_block(Loss loss, const MatrixXd& rows, const VectorXd& targets, const VectorXd& weights,
                 QuadraticMemory& memory) {
  ACCRETE_CHECK(memory.outputs() == 1 && rows.rows() == memory.columns());
  VectorXd w = memory.weights().col(0);
  VectorXd scores = rows.transpose() * w;
  for (int round = 0; round < 2; ++round) {
    const Points points = points_at(loss, scores, targets, weights);
    const BlockSums sums = block_sums(rows, points.curvatures, points.targets);
    QuadraticMemory::Trial trial = memory.attempt(sums);
    const VectorXd direction = trial.weights.col(0) - w;
    const VectorXd change = rows.transpose() * direction;
    // The memory's part of F along the step: slope t + bend t^2 / 2.
    VectorXd image = memory.curvature().selfadjointView<Lower>() * direction;
    image.array() += memory.prior().array() * direction.array();
    const double bend = direction.dot(image);
    const double slope = w.dot(image) - memory.moments().col(0).dot(direction);
    const double before = points.value + 1e-12 * std::abs(points.value);
    const double step = halve(before, [&](double t) {
      return value_at(loss, scores + t * change, targets, weights) + t * slope + t * t * bend / 2;
    });
    if (step == 1 && change.cwiseAbs().maxCoeff() < small_move) {
      memory.accept(sums, std::move(trial));
      return;
    }
    w += step * direction;
    scores += step * change;
  }
  const Points points = points_at(loss, scores, targets, weights);
  const BlockSums sums = block_sums(rows, points.curvatures, points.targets);
  memory.add(sums);
  memory.solve();
  memory.set_weights(w);
}

}  // namespace accrete::models
