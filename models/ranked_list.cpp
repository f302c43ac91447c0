// Sorting and counting.
#include "models/ranked_list.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "proto/result.h"

namespace accrete::models {
namespace {

constexpr double probability_min = 1e-6;

double gain(std::size_t rank) {
  return 1 / std::log2(static_cast<double>(rank) + 2);  // ranks from 0
}

}  // namespace

std::vector<std::uint32_t> best_of(std::span<const double> scores, std::size_t places) {
  std::vector<std::uint32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0u);
  const std::size_t taken = std::min(places, order.size());
  const auto before = [&](std::uint32_t a, std::uint32_t b) {
    const bool a_known = !std::isnan(scores[a]);
    const bool b_known = !std::isnan(scores[b]);
    if (a_known != b_known) return a_known;
    if (a_known && scores[a] != scores[b]) return scores[a] > scores[b];
    return a < b;
  };
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(taken), order.end(),
                    before);
  order.resize(taken);
  return order;
}

RankedGrade grade_list(std::span<const double> probabilities, const std::vector<bool>& right,
                       std::size_t missed, std::size_t places) {
  ACCRETE_CHECK(probabilities.size() == right.size() && places > 0);
  RankedGrade grade;
  double found = 0;
  for (std::size_t i = 0; i < right.size(); ++i) {
    if (!right[i]) continue;
    found += 1;
    grade.loss -= std::log(std::clamp(probabilities[i], probability_min, 1.0));
  }
  const double all = found + static_cast<double>(missed);
  ACCRETE_CHECK(all > 0);
  const double by_lot = std::log(static_cast<double>(std::max(right.size(), places)) + 1);
  grade.loss = (grade.loss + static_cast<double>(missed) * by_lot) / all;
  double hits = 0;
  double best = 0;
  const std::vector<std::uint32_t> order = best_of(probabilities, places);
  for (std::size_t rank = 0; rank < places; ++rank) {
    if (static_cast<double>(rank) < all) best += gain(rank);
    if (rank >= order.size() || !right[order[rank]]) continue;
    hits += 1;
    grade.average_precision += hits / static_cast<double>(rank + 1);
    grade.ndcg += gain(rank);
  }
  const auto room = static_cast<double>(places);
  grade.average_precision /= std::min(all, room);
  grade.ndcg /= best;
  grade.precision = hits / room;
  grade.recall = hits / all;
  grade.considered = found / all;
  return grade;
}

}  // namespace accrete::models
