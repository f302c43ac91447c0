// Damped Newton for the losses that have no closed form, over a whole memory and row by row.
//
// Dimensions, here and in convex_fit.cpp:
//   K columns of Z (0 is the intercept)   N rows (columns of Z)
//
//   F(w) = sum a loss(z'w, t) + w' prior w / 2      a > 0 the weight of a row
//
//   logistic: log(1 + e^f) - t f                    t in {0, 1}
//   absolute: sqrt((f - t)^2 + d^2) - d             d = absolute_smoothing: the median, made smooth
//
// Both are convex. A Newton step minimises the quadratic that touches F at w; for the logistic loss
// it may overshoot by orders of magnitude where a class is rare (its curvature p (1 - p) is nearly
// zero there), so a step is halved until F falls. For the absolute loss the quadratic lies above F
// (iteratively reweighted least squares), which cannot overshoot.
//
// Source: Hunter and Lange 2000, "Quantile regression via an MM algorithm", for the second loss.
#pragma once

#include <cstdint>

#include <Eigen/Core>

#include "models/quadratic_memory.h"

namespace accrete::models {

enum class Loss : std::uint8_t { Logistic, Absolute };

/// Targets of the absolute loss are scaled so that deviations are about 1: a tenth of one.
inline constexpr double absolute_smoothing = 0.1;

/// Value, first derivative in the score f, and the second (of the touching quadratic).
struct LossPoint {
  double value = 0;
  double slope = 0;
  double curvature = 0;
};
LossPoint loss_at(Loss loss, double score, double target);

/// Rows (K, N) with their targets and weights.
struct FitRows {
  const Eigen::MatrixXd& rows;
  const Eigen::VectorXd& targets;
  const Eigen::VectorXd& weights;  ///< 0 = left out
};

struct FitLimits {
  int steps = 10;
  double move = 0.05;  ///< root mean square change of the scores that ends it; the error left
                       ///< by a Newton step is of the order of its square
};

/// Minimise F from the weights of `memory`, whose prior it uses; afterwards its A is the curvature
/// of the data at the last point where it was taken, B = A w - slope there, and W the minimiser of
/// that quadratic if the last step was whole. Returns the number of steps taken.
/// Cost: K^2 N + 4 K N + K^3 / 3 a step. Checks: memory has one output.
int fit(Loss loss, const FitRows& data, const FitLimits& limits, QuadraticMemory& memory);

/// Account new rows (K, N): at most two damped Newton steps on memory + rows, then the rows join
/// the memory as the quadratic that touches their loss. Rows that barely move the weights cost one
/// step, which is the extended Kalman filter. Cost: K^2 N + K^3 / 3 a step. Checks: weights > 0.
void learn_block(Loss loss, const Eigen::MatrixXd& rows, const Eigen::VectorXd& targets,
                 const Eigen::VectorXd& weights, QuadraticMemory& memory);

}  // namespace accrete::models
