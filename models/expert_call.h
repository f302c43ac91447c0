// What the experts of a layer are told about a batch, whatever their kind.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "models/dymoe_gate.h"
#include "models/graph_batch.h"
#include "proto/result.h"

namespace accrete::models {

template <class Real>
struct ExpertCall {
  const GraphBatch& batch;
  std::span<const RelationShape> relations;
  const RowMatrix<Real>& input;  ///< (I, d)
  const Routes<Real>& routes;
  std::size_t experts;           ///< T
  const RowMatrix<Real>* heard;  ///< (I, T) b or log b; null: everybody is heard alike
  bool mask_later_blocks;

  /// Neighbours of v by relation r. Checks: v is of the relation's target table if it has any.
  std::span<const std::uint32_t> neighbours(std::size_t r, std::size_t v) const {
    const GraphBatch::Relation& relation = batch.relations[r];
    const std::span all(relation.source);
    const auto mine = all.subspan(relation.begin[v], relation.begin[v + 1] - relation.begin[v]);
    ACCRETE_CHECK(mine.empty() || batch.table[v] == relations[r].target);
    return mine;
  }
  /// Whether expert t hears node u at all.
  bool hears(std::size_t t, std::size_t u) const {
    return !mask_later_blocks || t >= expert_of(batch.block[u], experts);
  }
};

}  // namespace accrete::models
