// A batch of seeds with what lies around them, as the graph network reads it: who reads it knows no
// rows, no graph store and no time but differences.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "models/sparse_rows.h"

namespace accrete::models {

/// Age of a node whose row has no time of its own.
inline constexpr std::int64_t kAgeless = -1;

/// Nodes are (row, time of the seed) pairs, each once, in the order of their distance: the seeds
/// first, then what one step reaches, and so on. So layer l of L needs the first reach[L - l] nodes
/// of its output, and neighbourhoods that seeds share are computed once.
///
/// Features are told once per row of a table, however many nodes show it.
struct GraphBatch {
  /// Neighbours of the nodes that have any: node v reads source[begin[v] … begin[v + 1]).
  /// begin has one entry more than there are nodes within reach[L - 1] (those that are expanded).
  struct Relation {
    std::vector<std::uint32_t> begin;
    std::vector<std::uint32_t> source;  ///< nodes; all of the relation's source table
  };

  std::vector<std::size_t> reach;    ///< L + 1 entries, ascending: nodes within 0, 1, …, L steps
  std::vector<std::uint16_t> table;  ///< of each node
  std::vector<std::uint32_t> row;    ///< of each node: a row of features[table]
  std::vector<std::int64_t> age_us;  ///< of each node: seed's time − its own, >= 0; or kAgeless
  std::vector<std::uint32_t> block;  ///< of each node: the data block that it first came in
  std::vector<Relation> relations;   ///< in the order of NetworkShape::relations
  std::vector<RowMatrix<float>> features;  ///< of each table; missing values are 0
  /// Of each table: the items that its rows hold, as many rows as features; no rows at all where
  /// the table has no columns of items. A vector of no tables is the same for all of them.
  std::vector<SparseRows> items;

  /// What the head reads of each seed directly: a matrix (seeds, its columns) of each source of
  /// NetworkShape::told. None: nothing.
  std::vector<RowMatrix<float>> told;

  std::size_t seeds() const { return reach.front(); }
  std::size_t nodes() const { return reach.back(); }
  /// Bytes of the room that it keeps.
  std::size_t room() const {
    std::size_t bytes = table.capacity() * sizeof(table[0]) + row.capacity() * sizeof(row[0]) +
                        age_us.capacity() * sizeof(age_us[0]) +
                        block.capacity() * sizeof(block[0]) + room_bytes(features) +
                        room_bytes(told);
    for (const Relation& relation : relations)
      bytes += (relation.begin.capacity() + relation.source.capacity()) * sizeof(std::uint32_t);
    for (const SparseRows& rows : items)
      bytes += rows.room();
    return bytes;
  }
};

/// A way of one step: nodes of table `target` read nodes of table `source`.
struct RelationShape {
  std::uint16_t target = 0;
  std::uint16_t source = 0;
};

}  // namespace accrete::models
