// Instants are drawn, not examples: what lies around an instant's examples is sampled once.
#include "daemon/lagged_view.h"

#include <algorithm>

namespace accrete::daemon {

LaggedView choose_lagged(std::vector<NetworkExample>& examples, TimeUs oldest, Rng rng) {
  LaggedView view{examples.size(), 0};
  if (examples.empty()) return view;
  ACCRETE_CHECK(std::ranges::is_sorted(examples, {}, &NetworkExample::at));
  const double span = static_cast<double>(examples.back().at.value) -
                      static_cast<double>(std::min(oldest, examples.front().at).value);
  const double part = rng.uniform();
  view.lag_us = static_cast<std::int64_t>(part * part * LaggedView::kMost * span);
  bool lagged = false;
  TimeUs instant = examples.front().at;
  std::vector<NetworkExample> later;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < examples.size(); ++i) {
    const NetworkExample example = examples[i];
    if (i == 0 || example.at != instant) lagged = rng.below(LaggedView::kOneOf) == 0;
    instant = example.at;
    if (lagged) {
      later.push_back(example);
    } else {
      examples[kept++] = example;
    }
  }
  std::ranges::copy(later, examples.begin() + static_cast<std::ptrdiff_t>(kept));
  view.first = kept;
  return view;
}

}  // namespace accrete::daemon
