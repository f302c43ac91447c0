// Breadth first from the seeds: nodes are numbered as they are met, lists are written node by node.
#include "daemon/subgraph_sampler.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <utility>

#include "proto/rng.h"

namespace accrete::daemon {
namespace {

// From so many children of seeds on, nodes are numbered in an array over all rows. Of fewer, the
// hash table stays in the first caches.
constexpr std::size_t kManyChildren = 1024;

constexpr std::uint32_t kNoMoment = 0xFFFF'FFFF;

constexpr Eigen::Index kFeatureRowsMin = 16;

// Children whose rows are on their way to the processor while an earlier one is looked at.
constexpr std::size_t kAhead = 16;

/// Table and hop of a node in one word.
std::uint32_t kind_of(std::uint16_t table, std::uint32_t hop) {
  return table | hop << 16;
}

/// Time between two moments, as far as it can be told.
std::int64_t age_of(TimeUs time, TimeUs at) {
  if (time == kTimeMin) return models::kAgeless;
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  if (time.value < 0 && at.value > kMost + time.value) return kMost;
  return at.value - time.value;
}

/// A version as one number.
std::uint64_t shown_key(Ordinal ordinal, TimeUs from) {
  constexpr std::uint64_t kSpread = 0x9E37'79B9'7F4A'7C15ull;
  return ordinal.value ^ static_cast<std::uint64_t>(from.value) * kSpread;
}

}  // namespace

SubgraphSampler::SubgraphSampler(const Schema& schema, NetworkPlan plan, store::Graph& graph,
                                 NetworkRows& rows)
    : schema_(schema), plan_(std::move(plan)), graph_(graph), rows_(rows) {
  make_steps();
}

/// Room for a new batch, and what holds for all of it.
void SubgraphSampler::begin(std::span<const Seed> seeds) {
  hop_ = 0;
  ahead_.there = false;
  group_ = kNoMoment;
  nodes_.clear();
  shown_.clear();
  places_.clear();
  parents_.clear();
  moments_.clear();
  for (const Seed& seed : seeds)
    moments_.push_back(seed.at);
  const bool in_order = std::is_sorted(moments_.begin(), moments_.end());
  std::sort(moments_.begin(), moments_.end());
  moments_.erase(std::unique(moments_.begin(), moments_.end()), moments_.end());
  // An array holds the newest node of a row. That is the one that is looked for if there is one:
  // where nodes of a distance come in the order of their times, there is no newer one than that.
  const bool newest_is_it = moments_.size() == 1 || (by_hop_ && in_order);
  by_row_ = newest_is_it && seeds.size() * options_->fan_out.front() >= kManyChildren;
  moment_keys_.clear();
  for (const TimeUs at : moments_) {
    Rng rng(options_->seed, static_cast<std::uint64_t>(at.value), Purpose::Sample);
    moment_keys_.push_back(rng.next());
  }
  const std::size_t tables = plan_.table_count();
  if (by_row_ && base_ > std::numeric_limits<std::uint32_t>::max() / 2) {
    numbers_.clear();
    base_ = 1;
  }
  numbers_.resize(tables);
  out_->features.resize(tables);
  for (std::size_t t = 0; t < tables; ++t) {
    const std::size_t width =
        t < plan_.tables.size() ? rows_.width(plan_.tables[t]) : LabelRow::kColumns;
    const auto columns = static_cast<Eigen::Index>(width);
    if (out_->features[t].cols() != columns) out_->features[t].resize(0, columns);
  }
  feature_rows_.assign(tables, 0);
  out_->reach.clear();
  out_->table.clear();
  out_->row.clear();
  out_->age_us.clear();
  out_->block.clear();
  out_->items.assign(tables, {});
  out_->relations.resize(plan_.relations.size());
  for (models::GraphBatch::Relation& relation : out_->relations) {
    relation.begin.clear();
    relation.source.clear();
  }
  hide(options_->masked);
}

std::uint32_t SubgraphSampler::moment_of(TimeUs at) const {
  const auto place = std::lower_bound(moments_.begin(), moments_.end(), at);
  return static_cast<std::uint32_t>(place - moments_.begin());
}

bool SubgraphSampler::lists_items(std::uint16_t table) const {
  if (table == plan_.labels()) return options_->label_classes;
  return rows_.has_items(plan_.tables[table]);
}

/// The row of a table's features that shows this; features and items are taken if it is new.
std::uint32_t SubgraphSampler::show(std::uint16_t table, std::uint64_t what,
                                    std::span<const float> features,
                                    std::span<const models::SparseEntry> items) {
  if (const std::uint32_t* row = shown_.find(what, table)) return *row;
  const std::uint32_t row = show_new(table, features, items);
  shown_.add(what, table, row);
  return row;
}

std::uint32_t SubgraphSampler::show_new(std::uint16_t table, std::span<const float> features,
                                        std::span<const models::SparseEntry> items) {
  models::RowMatrix<float>& shown = out_->features[table];
  const std::uint32_t row = feature_rows_[table]++;
  if (row >= shown.rows()) {
    shown.conservativeResize(std::max<Eigen::Index>(kFeatureRowsMin, 2 * Eigen::Index{row}),
                             Eigen::NoChange);
  }
  std::copy(features.begin(), features.end(), shown.data() + row * features.size());
  if (lists_items(table)) out_->items[table].add_row(items);
  return row;
}

/// kNoNode when there is none yet.
std::uint32_t SubgraphSampler::find_node(std::uint16_t table, std::uint32_t row,
                                         std::uint32_t moment) const {
  const bool last = reads_last();
  if (by_row_) {
    const std::uint32_t newest = newest_of(table, row);
    if (newest == kNoNode || newest >= group_) return newest;
    const Place& place = places_[newest];
    const bool same = place.moment == moment && (!by_hop_ || last || place.hop == hop_);
    return same ? newest : kNoNode;
  }
  const std::uint64_t pair = std::uint64_t{row} << 32 | moment;
  const std::uint32_t nearest = by_hop_ && !last ? hop_ : 0;
  for (std::uint32_t hop = by_hop_ ? hop_ : 0;; --hop) {
    if (const std::uint32_t* const number = nodes_.find(pair, kind_of(table, hop))) return *number;
    if (hop == nearest) return kNoNode;
  }
}

void SubgraphSampler::number_node(std::uint16_t table, std::uint32_t row, std::uint32_t moment,
                                  std::uint32_t number) {
  if (!by_row_) {
    nodes_.add(std::uint64_t{row} << 32 | moment, kind_of(table, by_hop_ ? hop_ : 0), number);
    return;
  }
  std::vector<std::uint32_t>& numbers = numbers_[table];
  if (row >= numbers.size()) numbers.resize(std::size_t{row} + row / 2 + 1, 0);
  ACCRETE_CHECK(number < std::numeric_limits<std::uint32_t>::max() - base_);
  numbers[row] = base_ + number;
}

/// Of each step before the last its first node.
void SubgraphSampler::start_early() {
  early_.assign(1, 0);
  for (std::size_t hop = 1; hop < hop_; ++hop)
    early_.push_back(static_cast<std::uint32_t>(out_->reach[hop - 1]));
}

/// Nodes of earlier steps at the moment that reads now become their rows' newest again: later times
/// took their places, and in the last step a node of any step will do.
void SubgraphSampler::renew_early() {
  for (std::size_t hop = 0; hop < early_.size(); ++hop) {
    std::uint32_t& next = early_[hop];
    for (; next < out_->reach[hop] && places_[next].moment <= reading_; ++next) {
      const Place& place = places_[next];
      const std::uint16_t table = out_->table[next];
      if (place.moment < reading_ || (hop == 0 && place.ordinal == Ordinal{})) continue;
      // Of seeds that are the same the first is the neighbour that others find.
      const std::uint32_t newest = newest_of(table, place.row);
      const bool repeated = newest != kNoNode && places_[newest].moment == reading_;
      if (hop > 0 || !repeated) number_node(table, place.row, reading_, next);
    }
  }
}

/// show() of a version that is not that of the row's newest node, `other`.
std::uint32_t SubgraphSampler::show_other(std::uint16_t table, const store::Version& version,
                                          const NetworkRows::View& view, std::uint32_t other) {
  if (by_row_) {
    if (other == kNoNode) return show_new(table, view.features, view.items);
    // Rows that show themselves twice are few: only they are looked up by what they show.
    const Place& place = places_[other];
    const std::uint64_t shown = shown_key(place.ordinal, place.from);
    if (shown_.find(shown, table) == nullptr) shown_.add(shown, table, out_->row[other]);
  }
  return show(table, shown_key(version.ordinal, version.from), view.features, view.items);
}

std::uint32_t SubgraphSampler::add_node(std::uint16_t table, std::uint32_t row,
                                        std::uint32_t moment,
                                        const std::optional<store::Version>& version) {
  ACCRETE_CHECK(places_.size() < std::numeric_limits<std::uint32_t>::max());
  const auto number = static_cast<std::uint32_t>(places_.size());
  const NodeId node{plan_.tables[table], row};
  Place& place = places_.emplace_back();
  place.row = row;
  place.moment = moment;
  place.parents = static_cast<std::uint32_t>(parents_.size());
  place.hop = hop_;
  const std::uint32_t other = newest_of(table, row);
  if (version && other != kNoNode && places_[other].ordinal == version->ordinal &&
      places_[other].from == version->from) {
    place.parents = places_[other].parents;
    place.ordinal = version->ordinal;
    place.from = version->from;
    place.time = places_[other].time;
    out_->block.push_back(out_->block[other]);
    out_->row.push_back(out_->row[other]);
    out_->age_us.push_back(age_of(place.time, moments_[moment]));
  } else if (version) {
    const NetworkRows::View view = rows_.view(node, *version);
    parents_.insert(parents_.end(), view.parents.begin(), view.parents.end());
    place.ordinal = version->ordinal;
    place.from = version->from;
    place.time = view.time;
    out_->block.push_back(rows_.block(node));
    out_->row.push_back(show_other(table, *version, view, other));
    out_->age_us.push_back(age_of(view.time, moments_[moment]));
  } else {
    const std::vector<float> nothing(rows_.width(node.table), 0.0F);
    parents_.resize(parents_.size() + schema_.table(node.table).foreign_keys.size(),
                    NetworkRows::kNoRow);
    out_->block.push_back(rows_.block(node));
    out_->row.push_back(show(table, 0, nothing, {}));
    out_->age_us.push_back(models::kAgeless);
  }
  out_->table.push_back(table);
  return number;
}

void SubgraphSampler::add_seed(const Seed& seed) {
  const std::uint32_t moment = moment_of(seed.at);
  const auto version = graph_.version({plan_.tables[plan_.entity], seed.row}, seed.at);
  const std::uint32_t number = add_node(plan_.entity, seed.row, moment, version);
  // As somebody's neighbour it must be a row of the time.
  if (version && find_node(plan_.entity, seed.row, moment) == kNoNode)
    number_node(plan_.entity, seed.row, moment, number);
}

/// The node of a row at a moment; kNoNode when there is no such row then.
std::uint32_t SubgraphSampler::node(std::uint16_t table, std::uint32_t row, std::uint32_t moment) {
  if (const std::uint32_t newest = newest_of(table, row); newest != kNoNode && newest >= group_)
    return newest;
  const std::uint32_t known = find_node(table, row, moment);
  if (known != kNoNode) return known;
  const auto version = graph_.version({plan_.tables[table], row}, moments_[moment]);
  if (!version) return kNoNode;
  const std::uint32_t number = add_node(table, row, moment, version);
  number_node(table, row, moment, number);
  return number;
}

/// The list that is being written, with the beginnings of all nodes up to this one.
std::vector<std::uint32_t>& SubgraphSampler::sources_of(std::size_t relation, std::uint32_t node) {
  models::GraphBatch::Relation& lists = out_->relations[relation];
  const auto end = static_cast<std::uint32_t>(lists.source.size());
  if (lists.begin.size() == node) {  // as for most nodes
    lists.begin.push_back(end);
  } else {
    lists.begin.resize(std::size_t{node} + 1, end);
  }
  return lists.source;
}

void SubgraphSampler::read_up(std::uint32_t reader, const UpStep& step) {
  if (closed_[step.key.value]) return;
  const Place& place = places_[reader];
  const std::uint32_t parent = parents_[place.parents + step.foreign_key];
  if (parent == NetworkRows::kNoRow) return;
  const std::uint32_t found = node(step.source, parent, place.moment);
  if (found != kNoNode) sources_of(step.relation, reader).push_back(found);
}

/// Sends for what these children show, as far as no node shows it yet.
void SubgraphSampler::prefetch(std::uint16_t table, std::span<const store::Edge> edges) const {
  for (const store::Edge& edge : edges) {
    if (newest_of(table, edge.child) != kNoNode) continue;
    const NodeId child{plan_.tables[table], edge.child};
    graph_.prefetch_version(child);
    rows_.prefetch(child);
  }
}

/// Lists of those who read soon are sent for: first where they are, then their newest edges.
void SubgraphSampler::prefetch_lists(std::size_t reader) const {
  using Stage = store::Graph::ListStage;
  constexpr std::pair<std::size_t, Stage> kStages[] = {{3, Stage::List}, {2, Stage::Newest}};
  for (const auto& [ahead, stage] : kStages) {
    if (reader + ahead >= readers_) continue;
    for (const DownStep& step : steps_[out_->table[reader + ahead]].down)
      graph_.prefetch_list(step.key, places_[reader + ahead].row, stage);
  }
}

/// The edges that a node reads by a step replace `out`.
void SubgraphSampler::list_children(std::uint32_t reader, const DownStep& step,
                                    std::vector<store::Edge>& out) {
  out.clear();
  if (closed_[step.key.value]) return;
  const Place& place = places_[reader];
  const NodeId parent{plan_.tables[out_->table[reader]], place.row};
  const TimeUs at = moments_[place.moment];
  const std::size_t fan_out = options_->fan_out[hop_ - 1];
  if (options_->choice == Choice::Newest) {
    graph_.newest(step.key, parent, at, fan_out, out);
  } else {
    const Rng rng(moment_keys_[place.moment], std::uint64_t{place.row} << 16 | step.key.value,
                  Purpose::Sample);
    graph_.sample(step.key, parent, at, fan_out, rng, out);
  }
}

/// The edges of a list come into edges_, and of many lists those of the next one are looked up.
void SubgraphSampler::take_children(std::uint32_t reader, std::size_t down) {
  if (ahead_.there && ahead_.reader == reader && ahead_.down == down) {
    edges_.swap(ahead_.edges);
  } else {
    list_children(reader, steps_[out_->table[reader]].down[down], edges_);
  }
  ahead_.there = false;
  if (by_row_) look_ahead(reader, down + 1);
}

/// The first list from here on. Only edges are read, so nothing is numbered before its turn.
void SubgraphSampler::look_ahead(std::uint32_t reader, std::size_t down) {
  for (; reader < readers_ && down >= steps_[out_->table[reader]].down.size(); ++reader)
    down = 0;
  if (reader >= readers_) return;
  const DownStep& step = steps_[out_->table[reader]].down[down];
  ahead_.reader = reader;
  ahead_.down = down;
  ahead_.there = true;
  list_children(reader, step, ahead_.edges);
  const std::span edges(std::as_const(ahead_.edges));
  prefetch(step.source, edges.first(std::min(kAhead, edges.size())));
}

void SubgraphSampler::read_down(std::uint32_t reader, const DownStep& step) {
  const std::uint32_t moment = places_[reader].moment;
  if (edges_.empty()) return;
  std::vector<std::uint32_t>& children = sources_of(step.relation, reader);
  const std::size_t first = children.size();
  for (std::size_t i = 0; i < edges_.size(); ++i) {
    if (i + kAhead < edges_.size()) prefetch(step.source, {&edges_[i + kAhead], 1});
    const std::uint32_t child = node(step.source, edges_[i].child, moment);
    if (child != kNoNode) children.push_back(child);
  }
  for (const UpStep& second : step.through) {
    if (closed_[second.key.value]) continue;
    std::vector<std::uint32_t>& ends = sources_of(second.relation, reader);
    for (std::size_t i = first; i < children.size(); ++i) {
      const std::uint32_t end = parents_[places_[children[i]].parents + second.foreign_key];
      if (end == NetworkRows::kNoRow) continue;
      const std::uint32_t found = node(second.source, end, moment);
      if (found != kNoNode) ends.push_back(found);
    }
  }
}

void SubgraphSampler::read_labels(std::uint32_t reader) {
  if (options_->labels == nullptr) return;
  const Place place = places_[reader];
  const TimeUs at = moments_[place.moment];
  outcomes_.clear();
  options_->labels->newest(place.row, at, options_->labels_max, outcomes_);
  std::vector<std::uint32_t>& list = sources_of(plan_.relations.size() - 1, reader);
  for (const LabelRow& outcome : outcomes_) {
    ACCRETE_CHECK(outcome.known <= at);
    const std::array<float, LabelRow::kColumns> features{outcome.value, 1};
    const models::SparseEntry item{outcome.label_class, 1};
    const std::uint32_t shown =
        options_->label_classes ? outcome.label_class : std::bit_cast<std::uint32_t>(outcome.value);
    list.push_back(static_cast<std::uint32_t>(places_.size()));
    places_.push_back({place.row, place.moment, 0, hop_, {}, {}, outcome.known});
    out_->table.push_back(plan_.labels());
    out_->row.push_back(show(plan_.labels(), shown, features, {&item, 1}));
    out_->age_us.push_back(age_of(outcome.known, at));
    out_->block.push_back(rows_.block_at(outcome.known));
  }
}

void SubgraphSampler::expand(std::uint32_t reader) {
  if (places_[reader].moment != reading_) {
    reading_ = places_[reader].moment;
    // At one time and without distances every node that is found by its row is the right one.
    const bool all_alike = moments_.size() == 1 && !by_hop_;
    group_ = all_alike ? 0 : static_cast<std::uint32_t>(places_.size());
    if (by_row_ && moments_.size() > 1 && reads_last()) renew_early();
  }
  const Steps& steps = steps_[out_->table[reader]];
  for (const UpStep& step : steps.up)
    read_up(reader, step);
  for (std::size_t down = 0; down < steps.down.size(); ++down) {
    take_children(reader, down);
    read_down(reader, steps.down[down]);
  }
  if (steps.labels) read_labels(reader);
}

void SubgraphSampler::finish() {
  const std::size_t expanded = out_->reach[out_->reach.size() - 2];
  for (models::GraphBatch::Relation& lists : out_->relations)
    lists.begin.resize(expanded + 1, static_cast<std::uint32_t>(lists.source.size()));
  for (std::size_t t = 0; t < plan_.table_count(); ++t) {
    models::RowMatrix<float>& features = out_->features[t];
    features.conservativeResize(static_cast<Eigen::Index>(feature_rows_[t]), Eigen::NoChange);
    if (t >= hidden_.size()) continue;
    for (const std::uint32_t column : hidden_[t])
      features.col(static_cast<Eigen::Index>(column)).setZero();
  }
}

bool SubgraphSampler::sample(std::span<const Seed> seeds, const SampleOptions& options,
                             models::GraphBatch& out) {
  const std::vector<std::size_t>& fan_out = options.fan_out;
  ACCRETE_CHECK(!fan_out.empty() && fan_out.size() <= plan_.hops && fan_out.size() < 0xFFFF);
  options_ = &options;
  out_ = &out;
  if (by_row_) base_ += static_cast<std::uint32_t>(places_.size());  // of the last call
  by_hop_ = std::any_of(fan_out.begin(), fan_out.end(),
                        [&](std::size_t size) { return size != fan_out.front(); });
  begin(seeds);
  for (const Seed& seed : seeds)
    add_seed(seed);
  out.reach.push_back(places_.size());
  std::size_t next = 0;
  for (std::size_t hop = 0; hop < fan_out.size(); ++hop) {
    hop_ = static_cast<std::uint32_t>(hop) + 1;
    reading_ = kNoMoment;
    const std::size_t begin = next;
    if (reads_last()) start_early();
    readers_ = static_cast<std::uint32_t>(out.reach.back());
    for (; next < readers_; ++next) {
      if (places_.size() > options.nodes_max) {
        share_read_ = static_cast<double>(next - begin) / static_cast<double>(readers_ - begin);
        return false;
      }
      if (by_row_) prefetch_lists(next);
      expand(static_cast<std::uint32_t>(next));
    }
    out.reach.push_back(places_.size());
  }
  share_read_ = 1;
  if (places_.size() > options.nodes_max) return false;
  finish();
  return true;
}

std::size_t SubgraphSampler::memory_bytes() const {
  std::size_t bytes = nodes_.memory_bytes() + shown_.memory_bytes() +
                      places_.capacity() * sizeof(Place) + 4 * parents_.capacity() +
                      (edges_.capacity() + ahead_.edges.capacity()) * sizeof(store::Edge);
  for (const std::vector<std::uint32_t>& numbers : numbers_)
    bytes += 4 * numbers.capacity();
  return bytes;
}

}  // namespace accrete::daemon
