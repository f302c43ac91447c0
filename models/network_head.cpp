// The three losses, and the linear map to scores.
#include "models/network_head.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "models/matrix_product.h"
#include "models/parameter_state.h"
#include "models/row_gather.h"
#include "proto/result.h"

namespace accrete::models {
namespace {

constexpr double kSmooth = 0.1;  // where the absolute error turns round

/// Loss of one row; `gradient` (K) becomes its gradient.
double binary_loss(double score, double label, double& gradient) {
  ACCRETE_CHECK(label == 0 || label == 1);
  const double away = label == 1 ? -score : score;  // large: wrong
  const double wrong = 1 / (1 + std::exp(-away));
  gradient = label == 1 ? -wrong : wrong;
  return std::max(away, 0.0) + std::log1p(std::exp(-std::abs(away)));
}

double absolute_loss(double score, double label, double& gradient) {
  const double error = score - label;
  const double length = std::hypot(error, kSmooth);
  gradient = error / length;
  return length - kSmooth;
}

double class_loss(std::span<double> scores, double label) {
  const auto own = static_cast<std::size_t>(label);
  ACCRETE_CHECK(label >= 0 && own < scores.size());
  const double top = *std::max_element(scores.begin(), scores.end());
  const double told = scores[own] - top;
  double total = 0;
  for (double& score : scores) {
    score = std::exp(score - top);
    total += score;
  }
  for (double& score : scores)
    score /= total;
  scores[own] -= 1;
  return std::log(total) - told;
}

}  // namespace

template <class Real>
NetworkHead<Real>::NetworkHead(TaskKind kind, std::size_t width, std::span<const std::size_t> told)
    : kind_(kind), norm_(width), told_(told.size()) {
  const Eigen::Index outputs = kind == TaskKind::Multiclass ? 0 : 1;
  weights_.value.setZero(static_cast<Eigen::Index>(width), outputs);
  bias_.value.setZero(1, outputs);
  for (std::size_t s = 0; s < told.size(); ++s)
    told_[s].value.setZero(static_cast<Eigen::Index>(told[s]), outputs);
}

template <class Real>
void NetworkHead<Real>::grow(std::size_t classes) {
  ACCRETE_CHECK(kind_ == TaskKind::Multiclass);
  grow_parameter(weights_, static_cast<std::size_t>(weights_.value.rows()), classes);
  grow_parameter(bias_, 1, classes);
  for (std::size_t s = 0; s < told_.size(); ++s)
    grow_parameter(told_[s], told(s), classes);
}

template <class Real>
void NetworkHead<Real>::grow_told(std::size_t source, std::size_t columns) {
  ACCRETE_CHECK(source < told_.size());
  grow_parameter(told_[source], columns, outputs());
}

template <class Real>
void NetworkHead<Real>::forward(const RowMatrix<Real>& hidden, RowMatrix<Real>& embedding,
                                RowMatrix<Real>& scores, Tape* tape) const {
  Tape own;
  norm_.forward(hidden, (tape != nullptr ? *tape : own).norm, embedding);
  if (outputs() == 0) {
    scores.resize(hidden.rows(), 0);
    return;
  }
  multiply(embedding, weights_.value, scores);
  scores.rowwise() += bias_.value.row(0);
}

template <class Real>
void NetworkHead<Real>::backward(const Tape& tape, const RowMatrix<Real>& embedding,
                                 const RowMatrix<Real>& d_scores, RowMatrix<Real>& d_hidden) {
  add_column_sums(d_scores, bias_.grad());
  add_outer(embedding, d_scores, weights_.grad());
  multiply_transposed(d_scores, weights_.value, d_hidden);
  norm_.backward(tape.norm, d_hidden, d_hidden);
}

template <class Real>
bool NetworkHead<Real>::tells(std::span<const RowMatrix<float>> told, std::size_t source) const {
  ACCRETE_CHECK(told.size() == told_.size());
  const Parameter<Real>& weights = told_[source];
  ACCRETE_CHECK(told[source].cols() == weights.value.rows());
  return weights.value.size() > 0;
}

template <class Real>
void NetworkHead<Real>::add_told(std::span<const RowMatrix<float>> told,
                                 RowMatrix<Real>& scores) const {
  RowMatrix<Real> added;
  for (std::size_t s = 0; s < told.size(); ++s) {
    if (!tells(told, s)) continue;
    multiply<Real>(as_real<Real>(told[s]), told_[s].value, added);
    scores += added;
  }
}

template <class Real>
void NetworkHead<Real>::backward_told(std::span<const RowMatrix<float>> told,
                                      const RowMatrix<Real>& d_scores) {
  for (std::size_t s = 0; s < told.size(); ++s) {
    if (tells(told, s)) add_outer<Real>(as_real<Real>(told[s]), d_scores, told_[s].grad());
  }
}

template <class Real>
void NetworkHead<Real>::visit(const VisitParameter<Real>& visit) {
  norm_.visit("head.norm", visit);
  visit("head.weights", weights_);
  visit("head.bias", bias_);
  for (std::size_t s = 0; s < told_.size(); ++s)
    visit("head.told" + std::to_string(s), told_[s]);
}

template <class Real>
double task_loss(TaskKind kind, const RowMatrix<Real>& scores, std::span<const Target> targets,
                 RowMatrix<Real>* d_scores) {
  ACCRETE_CHECK(static_cast<std::size_t>(scores.rows()) == targets.size());
  double weight = 0;
  for (const Target& target : targets) {
    ACCRETE_CHECK(target.weight >= 0 && std::isfinite(target.value));
    ACCRETE_CHECK(std::isfinite(target.start));
    weight += target.weight;
  }
  if (d_scores != nullptr) d_scores->setZero(scores.rows(), scores.cols());
  if (!(weight > 0)) return 0;
  double loss = 0;
  std::vector<double> row(static_cast<std::size_t>(scores.cols()));
  for (Eigen::Index i = 0; i < scores.rows(); ++i) {
    const Target& target = targets[static_cast<std::size_t>(i)];
    for (std::size_t k = 0; k < row.size(); ++k)
      row[k] = static_cast<double>(scores(i, static_cast<Eigen::Index>(k)));
    const double share = target.weight / weight;
    switch (kind) {
      case TaskKind::Binary:
        loss += share * binary_loss(row[0] + target.start, target.value, row[0]);
        break;
      case TaskKind::Regression:
        loss += share * absolute_loss(row[0] + target.start, target.value, row[0]);
        break;
      case TaskKind::Multiclass:
      case TaskKind::Ranking:
        ACCRETE_CHECK(target.start == 0);
        loss += share * class_loss(row, target.value);
        break;
    }
    if (d_scores == nullptr) continue;
    for (std::size_t k = 0; k < row.size(); ++k)
      (*d_scores)(i, static_cast<Eigen::Index>(k)) = static_cast<Real>(share * row[k]);
  }
  return loss;
}

template class NetworkHead<float>;
template class NetworkHead<double>;
template double task_loss(TaskKind, const RowMatrix<float>&, std::span<const Target>,
                          RowMatrix<float>*);
template double task_loss(TaskKind, const RowMatrix<double>&, std::span<const Target>,
                          RowMatrix<double>*);

}  // namespace accrete::models
