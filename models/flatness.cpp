// Random pushes of the weights, and every bit put back.
#include "models/flatness.h"

#include <cmath>
#include <cstdint>
#include <vector>

namespace accrete::models {
namespace {

/// Near to normal, as a direction needs it: the sum of a word's four quarters, less its mean. A
/// logarithm and a cosine for each number of a network took most of the guard's time.
double near_normal(Rng& rng) {
  const std::uint64_t word = rng.next();
  constexpr std::uint64_t kEven = 0x0000'FFFF'0000'FFFF;
  const std::uint64_t pairs = (word & kEven) + (word >> 16U & kEven);
  return static_cast<double>((pairs & 0xFFFF'FFFF) + (pairs >> 32U)) - 2.0 * 0xFFFF;
}

template <class Real>
void push(const RowMatrix<Real>& from, double radius, Rng& rng, RowMatrix<Real>& value) {
  std::vector<double> direction(static_cast<std::size_t>(from.cols()));
  for (Eigen::Index r = 0; r < from.rows(); ++r) {
    double row_squares = 0;
    double squares = 0;
    for (Eigen::Index c = 0; c < from.cols(); ++c) {
      double& along = direction[static_cast<std::size_t>(c)];
      along = near_normal(rng);
      squares += along * along;
      row_squares += static_cast<double>(from(r, c)) * static_cast<double>(from(r, c));
    }
    if (!(squares > 0)) continue;
    const double scale = radius * std::sqrt(row_squares / squares);
    for (Eigen::Index c = 0; c < from.cols(); ++c) {
      value(r, c) = static_cast<Real>(static_cast<double>(from(r, c)) +
                                      scale * direction[static_cast<std::size_t>(c)]);
    }
  }
}

}  // namespace

template <class Real>
double flatness_rise(const std::function<void(const VisitParameter<Real>&)>& visit_all,
                     const std::function<double()>& loss, const FlatnessOptions& options, Rng rng) {
  std::vector<RowMatrix<Real>> before;
  visit_all(
      [&](std::string_view, Parameter<Real>& parameter) { before.push_back(parameter.value); });
  const double here = loss();
  double rise = 0;
  for (std::size_t m = 0; m < options.directions; ++m) {
    std::size_t p = 0;
    visit_all([&](std::string_view, Parameter<Real>& parameter) {
      push(before[p++], options.radius, rng, parameter.value);
    });
    const double up = loss() - here;
    if (!(up <= rise)) rise = up;  // what is no number is as sharp as can be, and stays
    if (std::isnan(rise)) break;
  }
  std::size_t p = 0;
  visit_all([&](std::string_view, Parameter<Real>& parameter) { parameter.value = before[p++]; });
  return rise;
}

double flatness_rise(ExpertNetwork<float>& network, const GraphBatch& batch,
                     std::span<const Target> targets, std::size_t directions, double radius,
                     Rng rng) {
  return flatness_rise<float>([&](const VisitParameter<float>& visit) { network.visit(visit); },
                              [&] { return network.loss(batch, targets); }, {directions, radius},
                              rng);
}

template double flatness_rise(const std::function<void(const VisitParameter<double>&)>&,
                              const std::function<double()>&, const FlatnessOptions&, Rng);
template double flatness_rise(const std::function<void(const VisitParameter<float>&)>&,
                              const std::function<double()>&, const FlatnessOptions&, Rng);

}  // namespace accrete::models
