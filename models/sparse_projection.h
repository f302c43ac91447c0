// Sets and vectors written as text, and their projection to a fixed number of numbers.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

namespace accrete::models {

inline constexpr std::size_t projection_width = 64;

struct WeightedItem {
  std::string_view item;
  double weight = 1;
};

/// The items of `item[:weight] item …`; commas, one pair of brackets or braces and quotes are
/// taken as well (`{a,b}`, `["a", "b"]`). What follows the last colon is a weight only if it is a
/// number. Views into `text`. Cost: linear.
void read_set(std::string_view text, std::vector<WeightedItem>& items);

/// The numbers of `0.1 2 3e-4` or of a JSON array. False: something else is in it.
bool read_vector(std::string_view text, std::vector<double>& numbers);

/// Add up items at four of the places each, chosen with their signs by a hash of the item, and
/// divide by the length |weights|: inner products of sets stay what they are in expectation
/// (Achlioptas 2003, the sparse form; Weinberger et al. 2009, arXiv:0902.2206).
/// Checks: out.size() == projection_width.
void project_set(std::span<const WeightedItem> items, std::span<double> out);
/// Up to projection_width numbers are kept as they are, the rest 0; more are projected by their
/// position, not divided. Checks: as above.
void project_vector(std::span<const double> numbers, std::span<double> out);

}  // namespace accrete::models
