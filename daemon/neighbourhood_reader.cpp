// Edges between entities, rows at the ends of paths, and how they become matrices.
#include "daemon/neighbourhood_reader.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

namespace accrete::daemon {
namespace {

constexpr std::size_t kCacheSlots = 1u << 16;  // powers of two: a row's place is a mask away
constexpr std::size_t kEndsSlots = 1u << 18;
constexpr std::size_t kPathRowsMax = 16;  // the newest; a mean of more says little more and costs

std::size_t cache_place(std::uint32_t block, std::uint32_t row) {
  // Odd multiplier: rows of one block keep apart, blocks are shifted against each other.
  return (row + block * 0x9E37'79B1u) & (kCacheSlots - 1);
}

}  // namespace

NeighbourhoodReader::NeighbourhoodReader(const PropagationPlan& plan, const TaskWorld& world,
                                         models::SparseEncoder& encoder,
                                         std::size_t cache_bytes_max)
    : plan_(plan),
      world_(world),
      encoder_(encoder),
      cache_bytes_max_(cache_bytes_max),
      skip_(world.schema->tables().size()) {}

bool NeighbourhoodReader::reads(TableId table) const {
  if (table == plan_.entity) return true;
  for (const BridgeHop& bridge : plan_.bridges) {
    if (bridge.table == table) return true;
  }
  return std::any_of(plan_.paths.begin(), plan_.paths.end(),
                     [&](const RowPath& path) { return path.end == table; });
}

/// Columns that say nothing of a row: keys, its time, and of the entity the predicted one.
const std::vector<bool>& NeighbourhoodReader::skipped(TableId id) {
  const Table& table = world_.schema->table(id);
  std::vector<bool>& skip = skip_[id.value];
  if (skip.size() == table.columns.size()) return skip;
  skip.assign(table.columns.size(), false);
  for (const ColumnId column : table.key)
    skip[column.value] = true;
  for (const ForeignKey& key : table.foreign_keys) {
    for (const ColumnId column : key.columns)
      skip[column.value] = true;
  }
  if (table.time) skip[table.time->value] = true;
  if (id == plan_.entity) skip[plan_.masked.value] = true;
  return skip;
}

bool NeighbourhoodReader::shows_anything(TableId table) {
  const std::vector<bool>& skip = skipped(table);
  return std::count(skip.begin(), skip.end(), false) > 0;
}

void NeighbourhoodReader::encode(std::uint32_t block, NodeId node, models::RawRow& out) {
  out.clear();
  const auto version = world_.graph->version(node, at_);
  if (!version || version->deleted) return;
  if (cache_.empty()) cache_.resize(kCacheSlots);
  Cached& cached = cache_[cache_place(block, node.row)];
  if (cached.ordinal == version->ordinal && cached.block == block && cached.row == node.row) {
    out = cached.raw;
    return;
  }
  const RowContent* row = world_.rows->content(node, *version);
  if (row == nullptr) return;
  encoder_.encode(block, world_.schema->table(node.table), row->cells, skipped(node.table), grow_,
                  out);
  if (!out.complete) return;  // after the next fit there is more to say
  if (cache_bytes_ > cache_bytes_max_) {
    for (Cached& other : cache_)
      other = Cached{};
    cache_bytes_ = 0;
  }
  cache_bytes_ -= cached.raw.bytes();
  cached = {block, node.row, version->ordinal, out};
  cache_bytes_ += cached.raw.bytes();
}

std::uint32_t NeighbourhoodReader::local(std::uint32_t row) {
  const auto [place, fresh] =
      local_of_row_.try_emplace({row, at_}, static_cast<std::uint32_t>(locals_.size()));
  if (!fresh) return place->second;
  Local& made = locals_.emplace_back();
  made.row = row;
  const NodeId node{plan_.entity, row};
  const auto version = world_.graph->version(node, at_);
  made.valid = version && !version->deleted;
  if (made.valid) encode(0, node, made.raw);
  bytes_ += sizeof(Local) + 64 + 2 * made.raw.bytes();
  return place->second;
}

std::optional<std::uint32_t> NeighbourhoodReader::parent_row(RelationId id,
                                                             std::span<const Value> cells) {
  const Relation& relation = world_.schema->relations()[id.value];
  const ForeignKey& foreign =
      world_.schema->table(relation.child).foreign_keys[relation.foreign_key];
  key_.clear();
  for (const ColumnId column : foreign.columns) {
    if (column.value >= cells.size() || cells[column.value].is_null()) return std::nullopt;
    append_key(key_, cells[column.value]);
  }
  const auto node = world_.graph->find(relation.parent, key_);
  return node ? std::optional(node->row) : std::nullopt;
}

std::optional<std::uint32_t> NeighbourhoodReader::parent_of(RelationId relation, NodeId child) {
  const RowContent* row = world_.rows->row(child, at_);
  return row == nullptr ? std::nullopt : parent_row(relation, row->cells);
}

std::optional<std::uint32_t> NeighbourhoodReader::other_end(const BridgeHop& bridge,
                                                            std::uint32_t number, std::uint32_t row,
                                                            bool second) {
  const NodeId node{bridge.table, row};
  const auto version = world_.graph->version(node, at_);
  if (!version || version->deleted) return std::nullopt;
  if (ends_.empty()) ends_.resize(kEndsSlots);
  Ends& known = ends_[(row + number * 0x9E37'79B1u) & (kEndsSlots - 1)];
  if (known.ordinal != version->ordinal || known.row != row || known.bridge != number) {
    const RowContent* content = world_.rows->content(node, *version);
    if (content == nullptr) return std::nullopt;
    known.ordinal = version->ordinal;
    known.bridge = number;
    known.row = row;
    known.ends[0] = parent_row(bridge.first, content->cells);
    known.ends[1] = parent_row(bridge.second, content->cells);
  }
  return known.ends[second ? 1 : 0];
}

void NeighbourhoodReader::neighbour(std::uint32_t row, float weight) {
  const std::uint32_t index = local(row);
  if (locals_[index].valid) lists_.push_back({index, weight});
}

/// The newest edges of a row into edges_, and what each of them stands for. How many it has.
double NeighbourhoodReader::list_edges(RelationId near, NodeId node) {
  edges_.clear();
  world_.graph->newest(near, node, at_, limits_.newest_max, edges_);
  edge_weight_ = 1;
  if (edges_.size() < limits_.newest_max) return static_cast<double>(edges_.size());
  const auto all = static_cast<double>(world_.graph->count(near, node, kTimeMin, at_, at_));
  edge_weight_ = static_cast<float>(all / static_cast<double>(edges_.size()));
  return all;
}

void NeighbourhoodReader::find_degree(std::uint32_t index) {
  if (locals_[index].degree >= 0) return;
  const NodeId node{plan_.entity, locals_[index].row};
  std::uint64_t edges = 0;
  for (const BridgeHop& bridge : plan_.bridges) {
    edges += world_.graph->count(bridge.first, node, kTimeMin, at_, at_);
    edges += world_.graph->count(bridge.second, node, kTimeMin, at_, at_);
  }
  for (const RelationId key : plan_.self_keys) {
    edges += world_.graph->count(key, node, kTimeMin, at_, at_);
    if (parent_of(key, node)) ++edges;
  }
  locals_[index].degree = static_cast<double>(edges);
}

/// Find a row's neighbours, once.
void NeighbourhoodReader::list(std::uint32_t index) {
  if (locals_[index].listed || !locals_[index].valid) return;
  const NodeId node{plan_.entity, locals_[index].row};
  const auto begin = static_cast<std::uint32_t>(lists_.size());
  double degree = 0;  // as find_degree() counts it
  for (std::uint32_t b = 0; b < plan_.bridges.size(); ++b) {
    const BridgeHop& bridge = plan_.bridges[b];
    for (const bool from_first : {true, false}) {
      degree += list_edges(from_first ? bridge.first : bridge.second, node);
      for (const store::Edge& edge : edges_) {
        const auto other = other_end(bridge, b, edge.child, from_first);
        if (other) neighbour(*other, edge_weight_);
      }
    }
  }
  for (const RelationId key : plan_.self_keys) {
    degree += list_edges(key, node);
    for (const store::Edge& edge : edges_)
      neighbour(edge.child, edge_weight_);
    if (const auto parent = parent_of(key, node)) {
      degree += 1;
      neighbour(*parent, 1);
    }
  }
  Local& row = locals_[index];  // reading others may have moved it
  row.degree = degree;
  row.listed = true;
  row.begin = begin;
  row.end = static_cast<std::uint32_t>(lists_.size());
  bytes_ += 2 * sizeof(Neighbour) * (row.end - row.begin);
}

void NeighbourhoodReader::step(NodeId from, PathStep along, std::vector<NodeId>& out) {
  const Relation& relation = world_.schema->relations()[along.relation.value];
  if (along.up) {
    if (const auto parent = parent_of(along.relation, from))
      out.push_back({relation.parent, *parent});
    return;
  }
  edges_.clear();
  world_.graph->newest(along.relation, from, at_, std::min(kPathRowsMax, limits_.newest_max),
                       edges_);
  for (const store::Edge& edge : edges_)
    out.push_back({relation.child, edge.child});
}

/// For each path the mean of the rows at its end, in columns of its own.
void NeighbourhoodReader::add_paths(std::uint32_t row, models::RawRow& out) {
  const NodeId self{plan_.entity, row};
  std::vector<NodeId> near;
  std::vector<NodeId> far;
  models::RawRow raw;
  for (std::size_t p = 0; p < plan_.paths.size(); ++p) {
    const RowPath& path = plan_.paths[p];
    if (!shows_anything(path.end)) continue;
    near.clear();
    step(self, path.steps[0], near);
    if (path.steps.size() > 1) {
      far.clear();
      for (const NodeId node : near) {
        if (far.size() < kPathRowsMax) step(node, path.steps[1], far);
      }
      near.swap(far);
    }
    std::erase(near, self);
    if (near.size() > kPathRowsMax) near.resize(kPathRowsMax);
    const float share = 1 / static_cast<float>(std::max<std::size_t>(near.size(), 1));
    for (const NodeId node : near) {
      encode(static_cast<std::uint32_t>(p + 1), node, raw);
      out.add(raw, share);
    }
  }
  out.merge();
}

/// Locals in the order of members: centres, their neighbours, the rest; and S of the first two.
void NeighbourhoodReader::assemble(std::span<const std::uint32_t> centres,
                                   models::Neighbourhood& out) {
  out = models::Neighbourhood();
  std::vector<models::SparseEntry> entries;
  for (std::size_t i = 0; i < centres.size(); ++i) {
    entries.clear();
    encoder_.finish(locals_[centres[i]].raw, entries);
    encoder_.finish(extras_[i], entries);
    out.direct.add_row(entries);
  }
  if (!plan_.graph()) return;
  constexpr std::uint32_t kNone = 0xFFFF'FFFF;
  std::vector<std::uint32_t> place(locals_.size(), kNone);
  std::vector<std::uint32_t> order;
  const auto put = [&](std::uint32_t index) {
    if (place[index] != kNone) return;
    place[index] = static_cast<std::uint32_t>(order.size());
    order.push_back(index);
  };
  for (const std::uint32_t centre : centres)
    put(centre);
  for (const bool rest : {false, true}) {
    for (std::size_t i = 0, n = order.size(); i < n; ++i) {
      const Local& row = locals_[order[i]];
      for (std::uint32_t j = row.begin; j < row.end; ++j)
        put(lists_[j].index);
    }
    if (rest) break;
    inner_ = order.size();
  }
  for (const std::uint32_t index : order) {
    entries.clear();
    encoder_.finish(locals_[index].raw, entries);
    out.members.add_row(entries);
  }
  for (std::size_t i = 0; i < inner_; ++i) {
    const Local& row = locals_[order[i]];
    const double degree = std::max(row.degree, 0.0);
    out.inner.add(static_cast<std::uint32_t>(i), models::normalised_edge(1, degree, degree));
    for (std::uint32_t j = row.begin; j < row.end; ++j) {
      const Neighbour& next = lists_[j];
      out.inner.add(place[next.index],
                    models::normalised_edge(next.edges, degree, locals_[next.index].degree));
    }
    out.inner.end_row();
  }
}

std::size_t NeighbourhoodReader::read(std::span<const RowAt> centres, const ReadLimits& limits,
                                      bool grow, models::Neighbourhood& out) {
  limits_ = limits;
  grow_ = grow;
  bytes_ = 0;
  local_of_row_.clear();
  locals_.clear();
  lists_.clear();
  extras_.clear();
  std::size_t taken = 0;
  std::vector<std::uint32_t> order;
  for (const RowAt& centre : centres) {
    at_ = centre.at;
    const std::uint32_t index = local(centre.row);
    order.push_back(index);
    models::RawRow& extra = extras_.emplace_back();
    if (locals_[index].valid && !plan_.paths.empty()) add_paths(centre.row, extra);
    bytes_ += 2 * extra.bytes() + locals_[index].raw.bytes();
    if (plan_.graph()) {
      list(index);
      for (std::uint32_t i = locals_[index].begin; i < locals_[index].end; ++i) {
        const std::uint32_t near = lists_[i].index;
        list(near);
        for (std::uint32_t j = locals_[near].begin; j < locals_[near].end; ++j)
          find_degree(lists_[j].index);
      }
    }
    ++taken;
    if (bytes_ > limits_.bytes_max) break;
  }
  if (grow) {
    for (const Local& row : locals_)
      encoder_.measure(row.raw);
    for (const models::RawRow& extra : extras_)
      encoder_.measure(extra);
    encoder_.rescale();
  }
  assemble(order, out);
  return taken;
}

}  // namespace accrete::daemon
