// Bayesian logistic regression in one pass, for streams of one row and one label.
#pragma once

#include <memory>
#include <string>

#include "models/candidate.h"

namespace accrete::models {

struct OnlineLogisticOptions {
  double half_life = 0;  ///< rows until a row counts half; 0: never
  double lambda = 0.05;  ///< prior precision of a standardised weight is lambda × columns
  double clip = 4;       ///< standardised features are clipped to ±clip
  std::size_t features_max = 512;  ///< later features are unseen: "only the row" is its first ones
  double start = 0;  ///< intercept before the first row: the logit of what is expected
  std::string name = "online";
};

class OnlineLogistic : public Candidate {
 public:
  /// Become what it would be had every label been the other one.
  virtual void mirror() = 0;
};

/// Binary. Keeps a Gaussian N(w, P) over the weights. A row moves the mean to the mode of that
/// Gaussian times its exact likelihood, which is a search along one line, and tightens P by the
/// curvature there: the extended Kalman filter with an implicit step, which cannot overshoot where
/// a class is rare. Every 100 rows the precision fades to the prior, H <- f H + (1 - f) lambda K I.
/// The probability is corrected for the variance of the score (MacKay's probit correction).
///
/// Features standardise by moments that are frozen whenever the rows grew by 10 % or the features
/// by an eighth, and enough rows came to pay for it (feature_scale.h); until then new features are
/// unseen. What was learnt follows into the new scale, under the prior of that scale (a missing
/// value is 0 in both). Rows take effect at once. Cost, K columns: 2 K^2 a learn, K^2 a predict,
/// K^3 every 100 rows. Checks: label in {0, 1}.
std::unique_ptr<OnlineLogistic> make_online_logistic(const OnlineLogisticOptions& options);

}  // namespace accrete::models
