// Following each path once an entity, and pairing those that meet.
#include "daemon/label_pairs.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "proto/hash.h"

namespace accrete::daemon {
namespace {

constexpr double kNobody = std::numeric_limits<double>::quiet_NaN();

/// Names a pair: an earlier label of the same pair would be another one.
std::uint64_t key_of(std::uint32_t first, std::uint32_t second, std::uint32_t end, TimeUs at) {
  const auto [low, high] = std::minmax(first, second);
  const std::array<std::uint64_t, 3> parts = {std::uint64_t{low} << 32 | high, end,
                                              static_cast<std::uint64_t>(at.value)};
  return hash64({reinterpret_cast<const char*>(parts.data()), sizeof parts});
}

}  // namespace

LabelPairs::LabelPairs(const Schema& schema, const NetworkPlan& plan, store::Graph& graph,
                       NetworkRows& rows)
    : graph_(graph), rows_(rows), entity_(plan.tables[plan.entity]) {
  const auto& keys = schema.relations();
  for (const NetworkRelation& relation : plan.relations) {
    if (relation.shape.target != plan.entity || paths_.size() == models::LabelSignals::paths_max)
      continue;
    if (relation.way == Way::Up) {
      const Relation& key = keys[relation.near.value];
      paths_.push_back({false, {}, {}, key.foreign_key, key.parent == entity_});
    } else if (relation.way == Way::Through) {
      const Relation& key = keys[relation.far.value];
      paths_.push_back({true, relation.near, key.child, key.foreign_key, key.parent == entity_});
    }
  }
}

/// The row that a path leads to from an entity; kNoRow: none.
std::uint32_t LabelPairs::end_of(const Path& path, std::uint32_t row, TimeUs at) {
  NodeId reader{entity_, row};
  if (path.through) {
    edges_.clear();
    graph_.newest(path.down, reader, at, 1, edges_);
    if (edges_.empty()) return NetworkRows::kNoRow;
    reader = {path.child, edges_.front().child};
  }
  const auto version = graph_.version(reader, at);
  return version ? rows_.view(reader, *version).parents[path.foreign_key] : NetworkRows::kNoRow;
}

void LabelPairs::add(std::span<const std::uint32_t> rows, std::span<const double> labels, TimeUs at,
                     TimeUs named, models::LabelSignals& signals) {
  for (std::size_t p = 0; p < paths_.size(); ++p) {
    ends_.clear();
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (!std::isfinite(labels[i])) continue;
      const std::uint32_t end = end_of(paths_[p], rows[i], at);
      if (end == NetworkRows::kNoRow) continue;
      ends_.push_back({end, key_of(rows[i], rows[i], end, at), static_cast<std::uint32_t>(i)});
    }
    if (paths_[p].to_entity && label_of_) {
      pair_with_ends(p, rows, labels, at, named, signals);
    } else {
      pair_those_that_meet(p, rows, labels, named, signals);
    }
  }
}

/// Each with the entity that its path leads to. Beside the two stands one of the others.
void LabelPairs::pair_with_ends(std::size_t path, std::span<const std::uint32_t> rows,
                                std::span<const double> labels, TimeUs at, TimeUs named,
                                models::LabelSignals& signals) {
  for (std::size_t e = 0; e < ends_.size(); ++e) {
    const std::uint32_t row = rows[ends_[e].position];
    const std::uint32_t end = ends_[e].row;
    const double label = end == row ? kNobody : label_of_(end, at);
    if (!std::isfinite(label)) continue;
    const std::uint64_t key = key_of(row, end, end, named);
    double other = kNobody;
    if (ends_.size() > 1) {
      const std::size_t drawn = key % (ends_.size() - 1);
      other = labels[ends_[drawn < e ? drawn : drawn + 1].position];
    }
    signals.add_pair(path, key, labels[ends_[e].position], label, other);
  }
}

/// Those whose paths lead to the same row.
void LabelPairs::pair_those_that_meet(std::size_t path, std::span<const std::uint32_t> rows,
                                      std::span<const double> labels, TimeUs named,
                                      models::LabelSignals& signals) {
  std::ranges::sort(ends_);
  for (std::size_t begin = 0; begin < ends_.size();) {
    std::size_t end = begin + 1;
    while (end < ends_.size() && ends_[end].row == ends_[begin].row)
      ++end;
    for (std::size_t k = begin + 1; k < end; ++k) {
      const std::uint32_t i = ends_[k - 1].position;
      const std::uint32_t j = ends_[k].position;
      const std::uint64_t key = key_of(rows[i], rows[j], ends_[k].row, named);
      // Anybody but these two, also of the same row: where most are at one row, the few at others
      // would stand for all, again and again.
      double other = kNobody;
      if (ends_.size() > 2) {
        const std::size_t drawn = key % (ends_.size() - 2);
        other = labels[ends_[drawn < k - 1 ? drawn : drawn + 2].position];
      }
      signals.add_pair(path, key, labels[i], labels[j], other);
    }
    begin = end;
  }
}

}  // namespace accrete::daemon
