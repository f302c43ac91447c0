// What an ExpertNetwork is made of; for expert_network*.cpp alone.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/expert_network.h"
#include "models/network_head.h"
#include "models/row_projection.h"

namespace accrete::models {

template <class Real>
struct ExpertNetwork<Real>::Parts {
  /// All that one forward pass computes; what only backward needs is there when training.
  struct Pass {
    std::vector<RowMatrix<Real>> hidden;  ///< h⁰ … h^L
    RowMatrix<Real> embedding;
    RowMatrix<Real> scores;
    typename RowProjection<Real>::Tape rows;
    std::vector<typename DymoeLayer<Real>::TapePtr> layers;
    typename NetworkHead<Real>::Tape head;
  };

  TaskKind kind;
  NetworkOptions options;
  RowProjection<Real> rows;
  std::vector<DymoeLayer<Real>> layers;
  NetworkHead<Real> head;
  std::uint64_t growths = 0;  ///< how often the shape changed: part of the rest's version
  Pass training;              ///< kept for its room, and so is what goes back:
  RowMatrix<Real> d_output;
  RowMatrix<Real> d_input;

  /// Who stands at each place: an expert has its serial for life, one merged of two has a new one.
  std::vector<std::uint64_t> serials;
  std::uint64_t births = 0;  ///< the next serial

  Parts(TaskKind task, NetworkOptions chosen);
  void add_experts(std::size_t experts);
  std::size_t experts() const { return layers.front().experts(); }
  Routing serving() const {
    Routing routing = options.routing;
    routing.force_own_block = false;  // a help for what is not yet trained
    return routing;
  }
  Rng rng(std::size_t layer, std::uint64_t serial) const;
  void freeze_items();  ///< those there are
  /// Rates of what NetworkOptions::freeze_shared says; that expert alone may learn whom it hears.
  void freeze_shared(std::optional<std::size_t> listener);

  GateLosses losses(double share) const {
    return {options.losses.block * share, options.losses.graph_block * share};
  }
  /// `stats`: of each layer; null: nothing is counted.
  void forward(const GraphBatch& batch, const Routing& routing, const GateLosses& losses, bool keep,
               Pass& pass, std::vector<RoutingStats>* stats = nullptr) const;
  /// Gradients of what the training pass computed, from those by its scores.
  void backward(const GraphBatch& batch, const RowMatrix<Real>& d_scores);
  void visit(const VisitParameter<Real>& visit);
  std::vector<Parameter<Real>*> parameters();  ///< in the order of visit()

  /// Visits with the place, among parts(), of the part that a parameter belongs to.
  using VisitPart =
      std::function<void(std::size_t place, std::string_view name, Parameter<Real>& parameter)>;
  void visit_parts(const VisitPart& visit);
  static constexpr std::size_t rest_place = 0;
  std::size_t part_place(std::size_t layer, std::size_t expert) const {
    return 1 + expert * layers.size() + layer;
  }
  std::size_t part_count() const { return 1 + layers.size() * experts(); }
  /// Checks: place < part_count().
  std::size_t expert_at(std::size_t place) const { return (place - 1) / layers.size(); }
  /// The rest is 0. Another expert at the same place has another id.
  std::uint64_t part_id(std::size_t place) const {
    if (place == rest_place) return 0;
    return 1 + serials[expert_at(place)] * layers.size() + (place - 1) % layers.size();
  }
};

}  // namespace accrete::models
