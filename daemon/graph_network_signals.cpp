// What a graph network's labels say of its worth before it is graded: who is alike whom.
#include <cmath>
#include <map>
#include <vector>

#include "daemon/graph_network.h"

namespace accrete::daemon {
namespace {

constexpr std::uint64_t kRowSteps = 8;  // that a prior holds for, where rows are compared in steps

}  // namespace

/// Of an instant. Of a list one item, by chance, stands for all: items of one list are no pair.
/// Rows come one by one, and most edges behind them, so they are compared in steps.
void GraphNetwork::compare_labels(std::span<const std::uint32_t> rows,
                                  std::span<const double> labels, TimeUs at) {
  if (asks_rows_) {
    for (const double label : labels)
      if (!std::isnan(label)) signals_.add_label(label, {});
    return;
  }
  if (!ranks_) {
    pairs_.add(rows, labels, at, at, signals_);
    return;
  }
  if (!list_rows_.empty() && lists_at_ != at) compare_lists();
  lists_at_ = at;
  for (std::size_t begin = 0; begin < rows.size();) {
    std::size_t end = begin + 1;
    while (end < rows.size() && rows[end] == rows[begin])
      ++end;
    Rng rng(seed_ ^ rows[begin], static_cast<std::uint64_t>(at.value), Purpose::Measure);
    list_rows_.push_back(rows[begin]);
    list_items_.push_back(labels[begin + rng.below(end - begin)]);
    begin = end;
  }
}

void GraphNetwork::compare_lists() {
  if (list_rows_.empty()) return;
  pairs_.add(list_rows_, list_items_, lists_at_, lists_at_, signals_);
  compare_with_earlier(list_rows_, list_items_, lists_at_);
  list_rows_.clear();
  list_items_.clear();
  dirty_ = true;
}

/// Of drawn rows that are still there, each pair once and for all: a row has one outcome.
void GraphNetwork::compare_drawn(TimeUs now) {
  std::map<std::uint32_t, double> drawn;
  for (const NetworkExample& example : drawn_)
    if (is_there(example.row, now)) drawn.emplace(example.row, example.label);
  std::vector<std::uint32_t> rows;
  std::vector<double> labels;
  for (const auto& [row, label] : drawn) {
    rows.push_back(row);
    labels.push_back(label);
  }
  pairs_.add(rows, labels, now, kTimeMin, signals_);
  if (steps_ % kRowSteps == kRowSteps - 1) prior_ = signals_.prior();
}

/// With those of the same entities before, behind which they are kept.
void GraphNetwork::compare_with_earlier(std::span<const std::uint32_t> rows,
                                        std::span<const double> labels, TimeUs known) {
  std::vector<double> earlier;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    outcomes_.clear();
    memory_.newest(rows[i], known, models::LabelSignals::lags, outcomes_);
    earlier.clear();
    for (const KnownLabel& outcome : outcomes_)
      earlier.push_back(outcome.label);
    signals_.add_label(labels[i], earlier);
    memory_.know(rows[i], labels[i], known);
  }
  prior_ = signals_.prior();
}

void GraphNetwork::know(std::span<const std::uint32_t> rows, std::span<const double> labels,
                        TimeUs known) {
  compare_with_earlier(rows, labels, known);
  dirty_ = true;
}

}  // namespace accrete::daemon
