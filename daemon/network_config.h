// The sections [network] and [blocks]: the graph expert network and when its experts are born.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/toml_reader.h"
#include "models/block_clock.h"
#include "proto/ids.h"

namespace accrete::daemon {

/// [network]: a candidate of every task. Off unless the file says which experts: it costs a
/// multiple of the other learners. Changing anything here folds the log anew.
struct NetworkConfig {
  enum class Experts : std::uint8_t { Off, Sage, Attention };
  enum class OldExperts : std::uint8_t { Freeze, Slow, All };
  /// What of blocks with an older expert is learnt again beside what comes: kept examples, rows
  /// drawn from mixtures that stand for them, both, or nothing (to see what it is worth).
  enum class Replay : std::uint8_t { Rows, Both, Mixtures, None };

  Experts experts = Experts::Off;
  OldExperts old_experts = OldExperts::Slow;  ///< how they learn once a newer one is born
  std::size_t width = 32;
  /// Children read of a row, by step away from the entity; one entry a layer.
  std::vector<std::uint64_t> fan_out = {16, 8};
  bool uniform = false;  ///< which: drawn uniformly (by the seed), or the newest
  /// Of windows, binary and regression: the network says what to add to what the other candidates
  /// say together, nothing at first; not a score of its own. Of classes and of columns of rows: one
  /// more candidate adds its score to the convex head's (GraphNetwork::kOnHeads).
  bool on_heads = true;
  std::size_t top = 2;  ///< experts of a row
  /// Block experts that rows answered together use in a layer, but everybody's best in any case:
  /// fewer are larger products. 0: no bound, and an answer does not depend on who else is answered.
  std::size_t batch_experts = 0;
  /// What tells experts their blocks: the gate's loss and that of the topology gate, and the gate
  /// itself. Off only to see what they are worth.
  bool block_loss = true;
  bool graph_block_loss = true;
  bool topology_gate = true;
  std::size_t experts_max = 16;  ///< of a layer; then two are merged, or the newest goes on
  std::size_t batch = 256;       ///< seeds of a training step
  std::size_t passes = 8;        ///< visits of an example, on average
  /// Of a task's experts, with what learning keeps beside each weight; not in the file. Where one
  /// more would take more, two are merged for it, as above experts_max.
  std::size_t weights_bytes_max = 512u << 20;
  std::size_t activation_bytes_max = 16u << 20;  ///< of one array of a pass; not in the file
  std::size_t memory = 65'536;                   ///< examples kept, the same number of each block
  /// Answers are given with a mean of the weights, the more weighty the later, as after so many
  /// steps at most (models::ExpertNetwork::follow). 0: with those of the last step.
  std::size_t mean_steps = 400;
  /// From this time of the stream on no step is taken, no expert is born and no scale is taken
  /// anew: the network answers as it is. To compare with, or to keep what was approved. None: it
  /// never ends.
  std::optional<TimeUs> learn_until;
  /// Examples kept of each class (numbers: in all) of a block that is over; 0: as many as fit.
  std::size_t memory_per_class = 0;
  Replay replay = Replay::Rows;  ///< others need old experts that are frozen

  /// One more candidate, "network-ridge" (network_ridge.h); needs kept rows.
  bool ridge = false;

  bool learns_at(TimeUs now) const { return !learn_until || now < *learn_until; }
  bool keeps_rows() const { return replay == Replay::Rows || replay == Replay::Both; }
  bool draws_rows() const { return replay == Replay::Mixtures || replay == Replay::Both; }

  /// Share by which a merge may raise the loss of any block's examples: one that does more is worse
  /// than to have no new expert. None: nothing is merged. Not in the file.
  std::optional<double> merge_rise_max = 0.05;
  /// Share by which a network that takes another's place (two experts merged, one more born) may be
  /// sharper: the largest rise of its loss under small pushes of its weights (models/flatness.h)
  /// against the other's, on the same examples. None: it is not asked. Not in the file.
  std::optional<double> flatness_rise = 0.5;
};

/// [blocks]: when a data block closes. None is smaller than 1,000 rows (or `every_rows`, if that is
/// less); by drift none is larger than 100,000.
struct BlocksConfig {
  models::BlockRule by = models::BlockRule::Drift;
  std::uint64_t every_rows = 100'000;        ///< by = "rows"
  std::int64_t every_us = 86'400'000'000ll;  ///< by = "time"
  std::uint32_t every_classes = 2;           ///< by = "classes": new ones of a block
};

/// Both sections of the file whose top is `root`; what is wrong becomes a complaint.
void read_network(TomlSection& root, NetworkConfig& network, BlocksConfig& blocks,
                  Complaints& complaints);

/// The same as TOML.
void print_network(std::string& out, const NetworkConfig& network, const BlocksConfig& blocks);

/// What of it decides the fold's output; empty where the network is off.
std::string network_fingerprint(const NetworkConfig& network, const BlocksConfig& blocks);

}  // namespace accrete::daemon
