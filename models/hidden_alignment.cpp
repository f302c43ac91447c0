// Shortest augmenting paths, and the similarity that they maximise.
#include "models/hidden_alignment.h"

#include <cmath>
#include <limits>

#include "models/matrix_product.h"
#include "proto/result.h"

namespace accrete::models {
namespace {

using Index = Eigen::Index;

template <class Real>
std::size_t units(const RowMatrix<Real>& matrix, HiddenAxis axis) {
  return static_cast<std::size_t>(axis == HiddenAxis::Rows ? matrix.rows() : matrix.cols());
}

/// An assignment that grows by one row at a time, optimal for the rows it holds: prices of rows and
/// columns under which no pair costs less than nothing and every assigned pair costs exactly that.
class Assignment {
 public:
  explicit Assignment(const Eigen::MatrixXd& cost)
      : cost_(cost),
        n_(static_cast<std::size_t>(cost.rows())),
        row_price_(n_, 0.0),
        column_price_(n_, 0.0),
        row_of_(n_, kNone) {}

  /// Dijkstra from `row` over columns until a free one, which is nearest in reduced cost.
  void add(std::size_t row) {
    std::vector<double> distance(n_, std::numeric_limits<double>::infinity());
    std::vector<std::size_t> from(n_, kNone);  // column before this one on the path
    std::vector<bool> done(n_, false);
    std::vector<std::size_t> reached;
    std::size_t column = kNone;
    double travelled = 0;
    for (std::size_t current = row; current != kNone; current = row_of_[column]) {
      std::size_t nearest = kNone;
      for (std::size_t c = 0; c < n_; ++c) {
        if (done[c]) continue;
        const double through = travelled + reduced(current, c);
        if (through < distance[c]) {
          distance[c] = through;
          from[c] = column;
        }
        if (nearest == kNone || distance[c] < distance[nearest]) nearest = c;
      }
      column = nearest;
      travelled = distance[column];
      done[column] = true;
      reached.push_back(column);
    }
    row_price_[row] += travelled;
    for (const std::size_t c : reached) {
      if (row_of_[c] != kNone) row_price_[row_of_[c]] += travelled - distance[c];
      column_price_[c] -= travelled - distance[c];
    }
    while (from[column] != kNone) {
      row_of_[column] = row_of_[from[column]];
      column = from[column];
    }
    row_of_[column] = row;
  }

  std::vector<std::size_t> columns() const {
    std::vector<std::size_t> out(n_, kNone);
    for (std::size_t c = 0; c < n_; ++c)
      out[row_of_[c]] = c;
    return out;
  }

 private:
  static constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();

  double reduced(std::size_t r, std::size_t c) const {
    return cost_(static_cast<Index>(r), static_cast<Index>(c)) - row_price_[r] - column_price_[c];
  }

  const Eigen::MatrixXd& cost_;
  std::size_t n_;
  std::vector<double> row_price_;
  std::vector<double> column_price_;
  std::vector<std::size_t> row_of_;  // of each column
};

}  // namespace

std::vector<std::size_t> assign_least_cost(const Eigen::MatrixXd& cost) {
  ACCRETE_CHECK(cost.rows() == cost.cols() && cost.allFinite());
  Assignment assignment(cost);
  for (std::size_t row = 0; row < static_cast<std::size_t>(cost.rows()); ++row)
    assignment.add(row);
  return assignment.columns();
}

template <class Real>
std::vector<std::size_t> align_hidden(std::span<const HiddenPair<Real>> pairs) {
  ACCRETE_CHECK(!pairs.empty());
  const std::size_t n = units(pairs.front().first, pairs.front().axis);
  RowMatrix<double> similarity =
      RowMatrix<double>::Zero(static_cast<Index>(n), static_cast<Index>(n));
  for (const HiddenPair<Real>& pair : pairs) {
    ACCRETE_CHECK(units(pair.first, pair.axis) == n && units(pair.second, pair.axis) == n);
    const RowMatrix<double> first = pair.first.template cast<double>();
    const RowMatrix<double> second = pair.second.template cast<double>();
    if (pair.axis == HiddenAxis::Rows) {
      multiply_transposed(first, second, similarity, true);
    } else {
      add_outer(first, second, similarity);
    }
  }
  return assign_least_cost(-similarity);
}

template <class Real>
RowMatrix<Real> permute_hidden(const RowMatrix<Real>& matrix, HiddenAxis axis,
                               std::span<const std::size_t> order) {
  ACCRETE_CHECK(order.size() == units(matrix, axis));
  std::vector<bool> named(order.size(), false);
  RowMatrix<Real> out(matrix.rows(), matrix.cols());
  for (std::size_t i = 0; i < order.size(); ++i) {
    ACCRETE_CHECK(order[i] < order.size() && !named[order[i]]);
    named[order[i]] = true;
    const auto to = static_cast<Index>(i);
    const auto from = static_cast<Index>(order[i]);
    if (axis == HiddenAxis::Rows) {
      out.row(to) = matrix.row(from);
    } else {
      out.col(to) = matrix.col(from);
    }
  }
  return out;
}

template <class Real>
RowMatrix<Real> usage_mean(const RowMatrix<Real>& first, const RowMatrix<Real>& second,
                           double usage_first, double usage_second) {
  ACCRETE_CHECK(first.rows() == second.rows() && first.cols() == second.cols());
  ACCRETE_CHECK(usage_first >= 0 && usage_second >= 0);
  const double total = usage_first + usage_second;
  ACCRETE_CHECK(std::isfinite(total));
  const auto share = static_cast<Real>(total > 0 ? usage_second / total : 0.5);
  RowMatrix<Real> out(first.rows(), first.cols());
  for (Index i = 0; i < out.size(); ++i)
    out.data()[i] = std::lerp(first.data()[i], second.data()[i], share);  // exact at 0, 1 and a = b
  return out;
}

template <class Real>
std::vector<RowMatrix<Real>> merge_hidden(std::span<const HiddenPair<Real>> pairs,
                                          double usage_first, double usage_second) {
  const std::vector<std::size_t> order = align_hidden(pairs);
  std::vector<RowMatrix<Real>> merged;
  merged.reserve(pairs.size());
  for (const HiddenPair<Real>& pair : pairs) {
    merged.push_back(usage_mean(pair.first, permute_hidden(pair.second, pair.axis, order),
                                usage_first, usage_second));
  }
  return merged;
}

template std::vector<std::size_t> align_hidden(std::span<const HiddenPair<float>>);
template std::vector<std::size_t> align_hidden(std::span<const HiddenPair<double>>);
template RowMatrix<float> permute_hidden(const RowMatrix<float>&, HiddenAxis,
                                         std::span<const std::size_t>);
template RowMatrix<double> permute_hidden(const RowMatrix<double>&, HiddenAxis,
                                          std::span<const std::size_t>);
template RowMatrix<float> usage_mean(const RowMatrix<float>&, const RowMatrix<float>&, double,
                                     double);
template RowMatrix<double> usage_mean(const RowMatrix<double>&, const RowMatrix<double>&, double,
                                      double);
template std::vector<RowMatrix<float>> merge_hidden(std::span<const HiddenPair<float>>, double,
                                                    double);
template std::vector<RowMatrix<double>> merge_hidden(std::span<const HiddenPair<double>>, double,
                                                     double);

}  // namespace accrete::models
