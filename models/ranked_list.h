// Grading a list of items, best first, against the items that turned out to be right.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace accrete::models {

/// What one list was worth; every number in [0, 1] but the loss.
struct RankedGrade {
  double average_precision = 0;  ///< mean precision at each hit, of as many as could be hit
  double ndcg = 0;               ///< hits, later ones count 1 / log2(1 + rank), over the best sum
  double precision = 0;          ///< hits / places
  double recall = 0;             ///< hits / right items
  double considered = 0;         ///< right items among those considered / right items
  double loss = 0;  ///< mean −log of what was said of the right items; see grade_list
};

/// Positions of `scores`, best first, at most `places`; ties by position. NaN is below everything.
/// Cost: O(n log places).
std::vector<std::uint32_t> best_of(std::span<const double> scores, std::size_t places);

/// `probabilities`: of the items that were considered, summing to about 1; `right`: which of them
/// turned out to be right; `missed`: right items that were not considered. The list is the best
/// `places` of them. The loss of an item that was not considered is that of a choice by
/// lot among those that were, or as many as there are places.
/// Checks: as many of one as of the other; places > 0; something was right.
/// Source: Järvelin & Kekäläinen 2002 (NDCG); average precision is cut at the places, as in
/// RelBench's link prediction (Robinson et al. 2024, arXiv:2407.20060).
RankedGrade grade_list(std::span<const double> probabilities, const std::vector<bool>& right,
                       std::size_t missed, std::size_t places);

}  // namespace accrete::models
