// What the experts of a layer are told about a batch, whatever their kind.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "models/dymoe_gate.h"
#include "models/graph_batch.h"
#include "models/row_gather.h"
#include "proto/result.h"

namespace accrete::models {

template <class Real>
struct ExpertCall {
  const GraphBatch& batch;
  std::span<const RelationShape> relations;
  const RowMatrix<Real>& input;  ///< (I, d)
  std::size_t first;             ///< node of the first output; outputs are numbered from there
  const RowMatrix<Real>& head;   ///< (O, d) their rows of the input
  const Routes<Real>& routes;    ///< of the outputs
  std::size_t experts;           ///< T
  const RowMatrix<Real>* heard;  ///< (I, T) b or log b; null: everybody is heard alike
  bool mask_later_blocks;

  /// Neighbours of output i by relation r. Checks: it is of the relation's target table if it has
  /// any.
  std::span<const std::uint32_t> neighbours(std::size_t r, std::size_t i) const {
    const std::size_t v = first + i;
    const GraphBatch::Relation& relation = batch.relations[r];
    const std::span all(relation.source);
    const auto mine = all.subspan(relation.begin[v], relation.begin[v + 1] - relation.begin[v]);
    ACCRETE_CHECK(mine.empty() || batch.table[v] == relations[r].target);
    return mine;
  }
  /// Relations by the table that reads them, in their order.
  std::vector<std::vector<std::size_t>> relations_by_table() const {
    std::vector<std::vector<std::size_t>> read;
    for (std::size_t r = 0; r < relations.size(); ++r) {
      if (relations[r].target >= read.size()) read.resize(relations[r].target + std::size_t{1});
      read[relations[r].target].push_back(r);
    }
    return read;
  }
  /// Of them those that output i reads.
  std::span<const std::size_t> read_by(const std::vector<std::vector<std::size_t>>& read,
                                       std::size_t i) const {
    const std::uint16_t table = batch.table[first + i];
    if (table >= read.size()) return {};
    return read[table];
  }
  /// Whether expert t hears node u at all.
  bool hears(std::size_t t, std::size_t u) const {
    return !mask_later_blocks || t >= expert_of(batch.block[u], experts);
  }
};

/// Gradients that experts give, whatever their kind.
template <class Real>
struct ExpertGradients {
  std::span<Real> share;     ///< by the weights of the routes' pairs; theirs are set
  RowMatrix<Real>& d_input;  ///< (I, d) +=, but for what sage experts' messages send back
  RowMatrix<Real>& d_heard;  ///< (I, T) by b or log b, if anything is gated; +=
  std::uint8_t*
      begun;  ///< by row of d_input: 0 where nothing is in it yet, whatever the room holds

  /// Row u of d_input, to be added to.
  Real* begun_row(std::size_t u) const {
    Real* const row = row_of(d_input, u);
    if (std::exchange(begun[u], std::uint8_t{1}) == 0) std::fill_n(row, d_input.cols(), Real(0));
    return row;
  }
  std::span<Real> share_of(const Routes<Real>& routes, std::size_t t) const {
    return share.subspan(routes.begin[t], routes.begin[t + 1] - routes.begin[t]);
  }
};

}  // namespace accrete::models
