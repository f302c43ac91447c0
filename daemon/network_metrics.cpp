// Adding up, and what of it is kept.
#include "daemon/network_metrics.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "proto/bytes.h"

namespace accrete::daemon {
namespace {

using store::Section;

constexpr std::size_t kLayersMax = 16;  // a stored state of more is none

/// Sums by column; later ones may have columns that the earlier did not.
void add_to(std::vector<double>& sums, const std::vector<double>& more) {
  if (sums.size() < more.size()) sums.resize(more.size(), 0.0);
  for (std::size_t i = 0; i < more.size(); ++i)
    sums[i] += more[i];
}

void join_oldest(LayerLoad& load) {
  if (load.experts.size() < 2) return;
  load.experts[1] += load.experts[0];
  load.experts.erase(load.experts.begin());
}

void put(ByteWriter& writer, const LayerLoad& load) {
  writer.put_all(std::span(load.experts));
  writer.put(load.extras);
}

LayerLoad get_load(ByteReader& reader) {
  LayerLoad load;
  load.experts = reader.get_all<double>();
  load.extras = reader.get<double>();
  return load;
}

void put(ByteWriter& writer, const RoutingPoint& point) {
  writer.put(point.at.value);
  writer.put(point.answers);
  writer.put(point.blocks);
  writer.put(static_cast<std::uint64_t>(point.layers.size()));
  for (const LayerLoad& load : point.layers)
    put(writer, load);
}

RoutingPoint get_point(ByteReader& reader) {
  RoutingPoint point;
  point.at.value = reader.get<std::int64_t>();
  point.answers = reader.get<std::uint64_t>();
  point.blocks = reader.get<std::uint64_t>();
  const auto layers = reader.get<std::uint64_t>();
  for (std::uint64_t l = 0; l < layers && reader.ok(); ++l)
    point.layers.push_back(get_load(reader));
  return point;
}

}  // namespace

double LayerLoad::total() const {
  return std::accumulate(experts.begin(), experts.end(), extras);
}

void RoutingPoint::take(const RoutingPoint& next) {
  at = next.at;
  answers += next.answers;
  blocks += next.blocks;
  if (layers.size() < next.layers.size()) layers.resize(next.layers.size());
  for (std::size_t l = 0; l < next.layers.size(); ++l) {
    add_to(layers[l].experts, next.layers[l].experts);
    layers[l].extras += next.layers[l].extras;
  }
}

/// The two oldest are one from here on, under the younger name.
void NetworkMetrics::join_oldest() {
  experts_.erase(experts_.begin());
  for (LayerRouting& layer : layers_)
    daemon::join_oldest(layer.load);
  for (LayerLoad& load : open_.layers)
    daemon::join_oldest(load);
  for (RoutingPoint& point : points_.points()) {
    for (LayerLoad& load : point.layers)
      daemon::join_oldest(load);
  }
}

void NetworkMetrics::name(std::span<const std::uint32_t> experts) {
  for (const std::uint32_t expert : experts) {
    if (!experts_.empty() && expert <= experts_.back()) continue;
    if (experts_.size() == kExpertsMax) join_oldest();
    experts_.push_back(expert);
  }
}

/// Whoever lost his name to join_oldest() is in the first column.
std::size_t NetworkMetrics::column(std::uint32_t expert) const {
  const auto found = std::ranges::lower_bound(experts_, expert);
  return static_cast<std::size_t>(found - experts_.begin());
}

void NetworkMetrics::add_load(const models::RoutingStats& stats,
                              std::span<const std::uint32_t> experts, LayerLoad& load) const {
  if (load.experts.size() < experts_.size()) load.experts.resize(experts_.size(), 0.0);
  for (std::size_t e = 0; e < experts.size(); ++e)
    load.experts[column(experts[e])] += stats.load[e];
  for (std::size_t e = experts.size(); e < stats.load.size(); ++e)
    load.extras += stats.load[e];
}

void NetworkMetrics::add(TimeUs at, std::size_t answers, std::span<const std::uint32_t> experts,
                         std::span<const models::RoutingStats> layers) {
  name(experts);
  if (at != open_.at && open_.answers >= kAnswersMin) {
    open_.blocks = 1;
    const TimeUs newest = open_.at;
    points_.add(std::exchange(open_, {}));
    open_.at = newest;
  }
  open_.at = std::max(open_.at, at);
  open_.answers += answers;
  open_.layers.resize(layers.size());
  layers_.resize(layers.size());
  const double kept = kFadingAnswers / (kFadingAnswers + static_cast<double>(answers));
  for (std::size_t l = 0; l < layers.size(); ++l) {
    const models::RoutingStats& stats = layers[l];
    ACCRETE_CHECK(stats.load.size() >= experts.size());
    const auto nodes = static_cast<double>(stats.nodes);
    LayerRouting& layer = layers_[l];
    for (double& load : layer.load.experts)
      load *= kept;
    layer.load.extras *= kept;
    add_load(stats, experts, layer.load);
    add_load(stats, experts, open_.layers[l]);
    layer.nodes = kept * layer.nodes + nodes;
    layer.entropy = kept * layer.entropy + nodes * stats.entropy;
    layer.dead = kept * layer.dead + nodes * stats.dead_ratio;
    layer.own_block = kept * layer.own_block + static_cast<double>(stats.own_block);
    layer.block_loss = kept * layer.block_loss + nodes * stats.block_loss;
  }
  dirty_ = true;
}

void NetworkMetrics::add_by_mixtures(std::size_t layer, std::size_t rows, std::size_t own) {
  if (layers_.size() <= layer) layers_.resize(layer + 1);
  LayerRouting& told = layers_[layer];
  const double kept = kFadingAnswers / (kFadingAnswers + static_cast<double>(rows));
  told.mixture_rows = kept * told.mixture_rows + static_cast<double>(rows);
  told.by_mixtures = kept * told.by_mixtures + static_cast<double>(own);
  dirty_ = true;
}

void NetworkMetrics::add(BlockScores row) {
  if (rows_.size() == kRowsMax) rows_.erase(rows_.begin());
  rows_.push_back(std::move(row));
  dirty_ = true;
}

std::vector<RoutingPoint> NetworkMetrics::points() const {
  if (open_.answers == 0) return points_.points();
  RoutingPoint open = open_;
  open.blocks = 1;
  return points_.with(std::move(open), open_.answers < kAnswersMin);
}

std::size_t NetworkMetrics::memory_bytes() const {
  std::size_t bytes = rows_.capacity() * sizeof(BlockScores);
  for (const BlockScores& row : rows_)
    bytes += row.scores.capacity() * sizeof(BlockScore);
  const std::size_t load = sizeof(LayerLoad) + experts_.size() * sizeof(double);
  return bytes + points_.points().size() * (sizeof(RoutingPoint) + layers_.size() * load);
}

void NetworkMetrics::save(std::string& out) const {
  ByteWriter writer(out);
  writer.put_all(std::span(experts_));
  writer.put(static_cast<std::uint64_t>(layers_.size()));
  for (const LayerRouting& layer : layers_) {
    put(writer, layer.load);
    for (const double sum : {layer.nodes, layer.entropy, layer.dead, layer.own_block,
                             layer.block_loss, layer.mixture_rows, layer.by_mixtures})
      writer.put(sum);
  }
  writer.put(points_.stride());
  writer.put(static_cast<std::uint64_t>(points_.points().size()));
  for (const RoutingPoint& point : points_.points())
    put(writer, point);
  put(writer, open_);
  writer.put(static_cast<std::uint64_t>(rows_.size()));
  for (const BlockScores& row : rows_) {
    writer.put(row.at.value);
    writer.put(row.experts);
    writer.put(static_cast<std::uint64_t>(row.scores.size()));
    for (const BlockScore& score : row.scores) {
      writer.put(score.block);
      writer.put(score.measure);
      writer.put(score.loss);
    }
  }
}

bool NetworkMetrics::load_bytes(std::string_view bytes) {
  ByteReader reader(bytes);
  experts_ = reader.get_all<std::uint32_t>();
  const auto layers = reader.get<std::uint64_t>();
  if (layers > kLayersMax) return false;
  layers_.resize(layers);
  for (LayerRouting& layer : layers_) {
    layer.load = get_load(reader);
    for (double* sum : {&layer.nodes, &layer.entropy, &layer.dead, &layer.own_block,
                        &layer.block_loss, &layer.mixture_rows, &layer.by_mixtures})
      *sum = reader.get<double>();
  }
  const auto stride = reader.get<std::uint64_t>();
  std::vector<RoutingPoint> points;
  const auto count = reader.get<std::uint64_t>();
  if (!reader.ok() || stride == 0 || count > MergedPoints<RoutingPoint>::kPointsMax) return false;
  for (std::uint64_t i = 0; i < count; ++i)
    points.push_back(get_point(reader));
  points_.restore(std::move(points), stride);
  open_ = get_point(reader);
  const auto rows = reader.get<std::uint64_t>();
  if (rows > kRowsMax) return false;
  for (std::uint64_t r = 0; r < rows; ++r) {
    BlockScores& row = rows_.emplace_back();
    row.at.value = reader.get<std::int64_t>();
    row.experts = reader.get<std::uint32_t>();
    const auto scores = reader.get<std::uint64_t>();
    if (scores > kBlocksMax) return false;
    for (std::uint64_t s = 0; s < scores; ++s) {
      BlockScore& score = row.scores.emplace_back();
      score.block = reader.get<std::uint32_t>();
      score.measure = reader.get<double>();
      score.loss = reader.get<double>();
    }
  }
  return reader.done() && std::ranges::is_sorted(experts_);
}

void NetworkMetrics::stage(const std::string& key, store::State& state) {
  if (!std::exchange(dirty_, false)) return;
  std::string bytes;
  save(bytes);
  state.put(Section::Blobs, key, bytes);
}

Status NetworkMetrics::load(const std::string& key, const store::State& state) {
  std::string bytes;
  ACCRETE_TRY(const bool stored, state.get(Section::Blobs, key, bytes));
  if (!stored || load_bytes(bytes)) return Ok{};
  return Error{Errc::Corruption, "stored metrics of a network do not decode"};
}

}  // namespace accrete::daemon
