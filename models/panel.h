// A panel: exact heads over one shared design, for tasks that ask many entities at every tick.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "models/candidate.h"
#include "models/example_memory.h"
#include "models/panel_design.h"
#include "models/panel_heads.h"

namespace accrete::models {

struct PanelOptions {
  DesignOptions design;
  MemoryLimits memory;
  std::vector<HeadSpec> ridge = {{8000, 10}, {32'000, 10}};
  std::vector<HeadSpec> logistic = {{8000, 0.5}, {32'000, 0.5}};  ///< binary only
  std::vector<HeadSpec> median = {
      {32'000, 3}};  ///< regression only: of the label, of its deviation
  std::vector<HeadSpec> trees = {{32'000, 0}};
  double refit_growth = 0.25;   ///< a new design when the examples grew by this share,
  std::size_t refit_rows = 64;  ///< and by this number
  double tick_fade = 0.9;       ///< of label moments, for an example weight of 1
};

/// Binary: "ridge-8k", "ridge-32k", "logistic-8k", "logistic-32k", "trees-32k". Regression:
/// "ridge-8k", "ridge-32k", "median-32k", "median-tick-32k", "trees-32k". Two heads of one
/// half-life carry their lambda, too.
///
/// Raw rows may be some thousand columns wide; they are read as floats, anything not finite is
/// missing. The design is chosen anew at positions fixed by the stream (see PanelOptions); then the
/// heads are fitted to the memory of examples, and between two designs each example joins them as
/// it is learnt: ridge stays equal to the batch solution over the examples of the memory at the
/// last choice and all since; logistic and median join by the quadratic of their last Newton step.
///
/// Cost, K columns of the design, W raw ones, N examples of the memory: learn 2 W + (heads) K^2 an
/// example; open_tick K^3 / 3 a head; predict W + K^2 a head with variance; a new design about
/// 4 K^2 N a Newton step and head. Memory: 4 N W bytes, bounded by MemoryLimits.
/// Checks: kind is binary or regression.
std::unique_ptr<CandidateGroup> make_panel(TaskKind kind, const PanelOptions& options = {});

}  // namespace accrete::models
