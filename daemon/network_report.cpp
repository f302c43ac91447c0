// A graph network's figures as JSON.
#include "daemon/network_report.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "daemon/graded_series.h"
#include "daemon/graph_network.h"
#include "daemon/task_report.h"
#include "proto/time.h"

namespace accrete::daemon {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kExtras = "extras";  // beside the experts' names

std::string name_of(std::uint32_t expert) {
  return "block " + std::to_string(expert);
}

/// Of each column, the extras last.
std::vector<double> shares_of(const LayerLoad& load, std::size_t experts) {
  std::vector<double> shares = load.experts;
  shares.resize(experts, 0.0);
  shares.push_back(load.extras);
  const double total = load.total();
  for (double& share : shares)
    share = total > 0 ? share / total : 0;
  return shares;
}

const NetworkMetrics& metrics_of(const AnyTask& task) {
  ACCRETE_CHECK(task.network() != nullptr);
  return task.network()->metrics();
}

Json layers_json(const NetworkMetrics& metrics) {
  Json layers = Json::array();
  for (const LayerRouting& layer : metrics.layers()) {
    const auto per_node = [&](double sum) {
      return layer.nodes > 0 ? rounded(sum / layer.nodes) : Json();
    };
    layers.push_back({{"layer", layers.size()},
                      {"nodes", rounded(layer.nodes)},
                      {"entropy", per_node(layer.entropy)},
                      {"own_block", per_node(layer.own_block)},
                      {"dead", per_node(layer.dead)},
                      {"block_loss", per_node(layer.block_loss)}});
    if (layer.mixture_rows > 0)
      layers.back()["by_mixtures"] = rounded(layer.by_mixtures / layer.mixture_rows);
  }
  return layers;
}

Json signals_json(const GraphNetwork& network) {
  const models::LabelSignals& signals = network.signals();
  models::Homophily best;
  for (std::size_t path = 0; path < signals.paths(); ++path) {
    const models::Homophily of_path = signals.homophily(path);
    if (path == 0 || of_path.adjusted > best.adjusted) best = of_path;
  }
  return {{"known", signals.labels()},
          {"homophily", rounded(best.adjusted)},
          {"homophily_error", rounded(best.error)},
          {"autocorrelation", rounded(signals.autocorrelation(1))},
          {"prior", rounded(network.prior())}};
}

Json shares_json(const NetworkMetrics& metrics) {
  Json all = Json::object();
  for (const LayerRouting& layer : metrics.layers()) {
    const std::vector<double> shares = shares_of(layer.load, metrics.experts().size());
    Json by_name = Json::object();
    for (std::size_t e = 0; e < metrics.experts().size(); ++e)
      by_name[name_of(metrics.experts()[e])] = rounded(shares[e]);
    by_name[kExtras] = rounded(shares.back());
    all["layer " + std::to_string(all.size())] = std::move(by_name);
  }
  return all;
}

Json routing_json(const NetworkMetrics& metrics) {
  Json routing;
  routing["experts"] = Json::array();
  for (const std::uint32_t expert : metrics.experts())
    routing["experts"].push_back(name_of(expert));
  routing["experts"].push_back(kExtras);
  routing["points"] = Json::array();
  for (const RoutingPoint& point : metrics.points()) {
    Json layers = Json::array();
    for (const LayerLoad& load : point.layers) {
      Json shares = Json::array();
      for (const double share : shares_of(load, metrics.experts().size()))
        shares.push_back(rounded(share));
      layers.push_back(std::move(shares));
    }
    routing["points"].push_back(
        {{"at", format_time(point.at)}, {"answers", point.answers}, {"layers", std::move(layers)}});
  }
  return routing;
}

/// What a row says of a block; NaN: nothing.
BlockScore score_of(const BlockScores& row, std::uint32_t block) {
  const auto found = std::ranges::lower_bound(row.scores, block, {}, &BlockScore::block);
  if (found != row.scores.end() && found->block == block) return *found;
  constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();
  return {block, kNothing, kNothing};
}

/// NaN where no block was scored before the last row and in it.
double forgetting_of(TaskKind kind, std::span<const BlockScores> rows) {
  const double sign = kind == TaskKind::Regression ? -1 : 1;  // more is better
  double sum = 0;
  double blocks = 0;
  for (const BlockScore& last : rows.back().scores) {
    double best = std::numeric_limits<double>::quiet_NaN();
    for (const BlockScores& row : rows.first(rows.size() - 1)) {
      const double measure = sign * score_of(row, last.block).measure;
      if (!std::isnan(measure) && !(measure <= best)) best = measure;
    }
    const double lost = best - sign * last.measure;
    if (std::isnan(lost)) continue;
    sum += lost;
    blocks += 1;
  }
  return sum / blocks;
}

}  // namespace

Json matrix_json(TaskKind kind, std::span<const BlockScores> rows) {
  std::set<std::uint32_t> blocks;
  for (const BlockScores& row : rows) {
    for (const BlockScore& score : row.scores)
      blocks.insert(score.block);
  }
  while (blocks.size() > NetworkMetrics::kBlocksMax)
    blocks.erase(blocks.begin());
  Json json;
  json["measure"] = headline(kind);
  json["examples"] = GraphNetwork::kScoredExamples;
  json["blocks"] = blocks;
  json["rows"] = Json::array();
  for (const BlockScores& row : rows) {
    Json values = Json::array();
    Json losses = Json::array();
    for (const std::uint32_t block : blocks) {
      const BlockScore score = score_of(row, block);
      values.push_back(rounded(score.measure));
      losses.push_back(rounded(score.loss));
    }
    json["rows"].push_back({{"at", format_time(row.at)},
                            {"experts", row.experts},
                            {"values", std::move(values)},
                            {"losses", std::move(losses)}});
  }
  json["forgetting"] = rows.empty() ? Json() : rounded(forgetting_of(kind, rows));
  return json;
}

Json network_json(const AnyTask& task) {
  const NetworkMetrics& metrics = metrics_of(task);
  Json json = experts_json(task);
  json["count"] = task.network()->experts();
  json["steps"] = task.network()->steps();
  json["training_cpu_seconds"] = rounded(task.network()->training_cpu_seconds());
  if (task.network()->mixtures() > 0) json["mixtures"] = task.network()->mixtures();
  json["labels"] = signals_json(*task.network());
  json["layers"] = layers_json(metrics);
  json["shares"] = shares_json(metrics);
  return json;
}

Json network_course_json(const AnyTask& task, const BlockScores* now) {
  const NetworkMetrics& metrics = metrics_of(task);
  Json json = network_json(task);
  json["routing"] = routing_json(metrics);
  std::vector<BlockScores> rows(metrics.rows().begin(), metrics.rows().end());
  if (now != nullptr) rows.push_back(*now);
  json["matrix"] = matrix_json(task.network()->kind(), rows);
  return json;
}

Json evidence_json(const NetworkEvidence& evidence, const Schema& schema) {
  constexpr double kDayUs = 86'400e6;
  const auto days = [](std::int64_t age_us) {
    return age_us == models::kAgeless ? Json() : rounded(static_cast<double>(age_us) / kDayUs);
  };
  Json json;
  json["adds"] = rounded(evidence.adds);
  json["read"] = Json::array();
  for (const NetworkEvidence::Read& read : evidence.read) {
    json["read"].push_back({{"table", read.table ? Json(schema.table(*read.table).name) : Json()},
                            {"rows", read.rows},
                            {"newest_days", days(read.newest_us)},
                            {"oldest_days", days(read.oldest_us)}});
  }
  json["layers"] = Json::array();
  for (const models::RoutingStats& layer : evidence.layers) {
    double total = 0;
    for (const double load : layer.load)
      total += load;
    Json experts = Json::object();
    double extras = 0;
    for (std::size_t e = 0; e < layer.load.size(); ++e) {
      const double share = total > 0 ? layer.load[e] / total : 0;
      if (e >= evidence.experts.size()) {
        extras += share;
      } else if (share > 0) {
        experts[name_of(evidence.experts[e])] = rounded(share);
      }
    }
    experts[kExtras] = rounded(extras);
    json["layers"].push_back({{"nodes", layer.nodes}, {"experts", std::move(experts)}});
  }
  return json;
}

}  // namespace accrete::daemon
