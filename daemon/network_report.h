// What status and a backtest's report say of a task's graph network in the same words.
#pragma once

#include <nlohmann/json.hpp>

#include "daemon/any_task.h"
#include "daemon/graph_network.h"
#include "daemon/network_metrics.h"

namespace accrete::daemon {

/// How it stands: {"events": …, "count", "steps", "layers": [{"layer", "nodes", "entropy",
/// "own_block", "dead", "block_loss"}], "labels": {"known", "homophily",
/// "homophily_error", "autocorrelation", "prior"}, "shares": {"layer 0": {"block 0": share, …,
/// "extras"}}}. `labels`, of tasks over windows: label_signals.h, homophily of the path where it is
/// highest, autocorrelation at lag 1. `count`: experts of a layer; the figures are of late, per
/// node (network_metrics.h); experts are named by the blocks they were born for. Checks: the task
/// has a network. With replay by mixtures a layer also tells "by_mixtures": of its nodes of older
/// blocks, the share whose likeliest mixture is their block's; the last layer reads seeds alone, so
/// only requests for rows tell it there.
nlohmann::ordered_json network_json(const AnyTask& task);

/// The same with its course: "routing": {"experts": [name], "points": [{"at", "answers", "layers":
/// [[share by name]]}]}, "matrix": as matrix_json(). `now`: scores of this moment; null: none.
nlohmann::ordered_json network_course_json(const AnyTask& task, const BlockScores* now);

/// What an answer came from: {"adds", "read": [{"table", "rows", "newest_days", "oldest_days"}],
/// "layers": [{"nodes", "experts": {"block 0": share, …, "extras"}}]}. `adds`, on heads: a logit,
/// or in the label's unit. A table of null: outcomes of the row itself. Ages are as of the time
/// asked about. The last layer's node is the row itself, so its shares are the row's experts.
nlohmann::ordered_json evidence_json(const NetworkEvidence& evidence, const Schema& schema);

/// {"measure", "examples", "blocks": [number], "rows": [{"at", "experts", "values", "losses"}],
/// "forgetting"}: by block, null where a row has none. `measure` is the kind's headline; a row is
/// the network just before an expert was born, or now. Of the blocks in it the newest
/// NetworkMetrics::kBlocksMax; forgetting: mean over blocks of how much worse the last row is than
/// the best before it (Chaudhry et al. 2018, arXiv:1801.10112), null where there is none.
nlohmann::ordered_json matrix_json(TaskKind kind, std::span<const BlockScores> rows);

}  // namespace accrete::daemon
