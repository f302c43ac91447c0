// Sums over rows of classes as they would be if every class had the same weight.
//
//   G = Σ z zᵀ    V = Σ z yᵀ, y one-hot    n_c rows and mean μ_c = V_c / n_c of a class c
//
// Σ_c 1/n_c Σ_c z zᵀ is Σ_c μ_c μ_cᵀ + Σ_c W_c / n_c with the scatter W_c within each class. Taking
// these as alike, with n rows and C classes that have some,
//
//   H = Σ_c μ_c μ_cᵀ + C/n (G − Σ_c n_c μ_c μ_cᵀ)      M = [μ_1 … μ_C]
//
// is known from the sums at any time. Weighting rows when they come instead would give the first
// rows of a class the weight of all later ones.
#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

#include <Eigen/Core>

namespace accrete::models {

template <class Real>
struct BalancedClasses {
  using Matrix = Eigen::Matrix<Real, Eigen::Dynamic, Eigen::Dynamic>;

  Matrix system;  ///< H, lower triangle
  Matrix means;   ///< M; a class without rows: zero
};

/// From G (lower triangle), V and the n_c. Cost: K² C. Checks: none; without rows all is zero.
template <class Real>
BalancedClasses<Real> balance_classes(const typename BalancedClasses<Real>::Matrix& gram,
                                      const typename BalancedClasses<Real>::Matrix& moments,
                                      const std::vector<double>& counts) {
  BalancedClasses<Real> out{gram, moments};
  typename BalancedClasses<Real>::Matrix scatter = moments;  // columns √n_c μ_c
  double rows = 0;
  double known = 0;
  for (std::size_t c = 0; c < counts.size(); ++c) {
    rows += counts[c];
    if (counts[c] == 0) continue;  // its column is zero
    known += 1;
    const auto column = static_cast<Eigen::Index>(c);
    out.means.col(column) /= static_cast<Real>(counts[c]);
    scatter.col(column) /= static_cast<Real>(std::sqrt(counts[c]));
  }
  if (rows == 0) return out;
  auto system = out.system.template selfadjointView<Eigen::Lower>();
  system.rankUpdate(scatter, Real(-1));
  out.system *= static_cast<Real>(known / rows);
  system.rankUpdate(out.means);
  return out;
}

}  // namespace accrete::models
