// A network's experts merged: what they are used for, one of two, and the way back to what was
// said.
#include <utility>

#include "models/expert_network_parts.h"
#include "models/matrix_product.h"

namespace accrete::models {

template <class Real>
ExpertNetwork<Real> ExpertNetwork<Real>::copy() const {
  NetworkOptions options = parts_->options;
  for (std::size_t t = 0; t < options.shape.columns.size(); ++t)
    options.shape.columns[t] = parts_->rows.columns(t);
  for (std::size_t s = 0; s < options.shape.told.size(); ++s)
    options.shape.told[s] = parts_->head.told(s);
  ExpertNetwork out(parts_->kind, std::move(options));
  out.parts_->add_experts(experts());
  if (parts_->kind == TaskKind::Multiclass) out.grow_classes(classes());
  for (std::size_t t = 0; t < parts_->rows.tables(); ++t) {
    if (parts_->rows.items(t) > 0) out.grow_items(t, parts_->rows.items(t));
  }
  const std::vector<Parameter<Real>*> from = parts_->parameters();
  const std::vector<Parameter<Real>*> to = out.parts_->parameters();
  ACCRETE_CHECK(from.size() == to.size());
  for (std::size_t i = 0; i < from.size(); ++i)
    *to[i] = *from[i];
  out.parts_->growths = parts_->growths;
  out.parts_->serials = parts_->serials;
  out.parts_->births = parts_->births;
  return out;
}

template <class Real>
ExpertUse ExpertNetwork<Real>::use(const GraphBatch& sample) const {
  typename Parts::Pass pass;
  std::vector<RoutingStats> stats;
  parts_->forward(sample, parts_->serving(), {}, false, pass, &stats);
  const std::size_t depth = parts_->layers.size();
  const auto T = static_cast<Eigen::Index>(experts());
  ExpertUse use;
  RowMatrix<Real> logits;
  for (std::size_t l = 0; l < depth; ++l) {
    const auto outputs = static_cast<Eigen::Index>(sample.reach[depth - l - 1]);
    parts_->layers[l].gate_logits(pass.hidden[l].topRows(outputs), logits);
    ExpertUse::Layer& layer = use.layers.emplace_back();
    const auto& load = stats[l].load;
    layer.usage.assign(load.begin(), load.begin() + T);
    layer.products.setZero(T, T);
    const RowMatrix<double> z = logits.leftCols(T).template cast<double>();
    add_outer(z, z, layer.products);
  }
  return use;
}

template <class Real>
void ExpertNetwork<Real>::merge(std::size_t first, const ExpertUse& use) {
  const std::size_t T = experts();
  ACCRETE_CHECK(first + 1 < T && use.layers.size() == parts_->layers.size());
  for (std::size_t l = 0; l < use.layers.size(); ++l) {
    const std::vector<double>& usage = use.layers[l].usage;
    ACCRETE_CHECK(usage.size() == T);
    parts_->layers[l].merge_experts(first, {usage[first], usage[first + 1]});
  }
  auto& serials = parts_->serials;
  serials.erase(serials.begin() + static_cast<std::ptrdiff_t>(first) + 1);
  serials[first] = parts_->births++;
  ++parts_->growths;
}

template <class Real>
void ExpertNetwork<Real>::learn_only(std::size_t expert) {
  ACCRETE_CHECK(expert < experts());
  parts_->visit_parts([&](std::size_t place, std::string_view name, Parameter<Real>& parameter) {
    const bool moves = place == Parts::rest_place ? !name.starts_with("rows.")
                                                  : parts_->expert_at(place) == expert;
    parameter.rate = moves ? 1 : 0;
  });
  if (parts_->options.freeze_shared) parts_->freeze_shared(std::nullopt);
}

template <class Real>
void ExpertNetwork<Real>::learn_all() {
  parts_->visit_parts([&](std::size_t place, std::string_view, Parameter<Real>& parameter) {
    const bool old = place != Parts::rest_place && parts_->expert_at(place) + 1 < experts();
    parameter.rate = old ? parts_->options.old_expert_rate : 1;
  });
  if (parts_->options.freeze_shared && experts() > 1) parts_->freeze_shared(experts() - 1);
}

template <class Real>
double ExpertNetwork<Real>::accumulate_towards(const GraphBatch& batch,
                                               const RowMatrix<Real>& wanted, double share) {
  typename Parts::Pass& pass = parts_->training;
  parts_->forward(batch, parts_->serving(), parts_->losses(share), true, pass);
  ACCRETE_CHECK(wanted.rows() == pass.scores.rows() && wanted.cols() == pass.scores.cols());
  RowMatrix<Real> off = pass.scores - wanted;
  double squares = 0;
  for (Eigen::Index i = 0; i < off.size(); ++i)
    squares += static_cast<double>(off.data()[i]) * static_cast<double>(off.data()[i]);
  const auto seeds = static_cast<double>(off.rows());
  off *= static_cast<Real>(share / seeds);
  parts_->backward(batch, off);
  return squares / (2 * seeds);
}

// The whole class is instantiated in expert_network.cpp; these are the members defined here.
#define ACCRETE_INSTANTIATE(Real)                                            \
  template ExpertNetwork<Real> ExpertNetwork<Real>::copy() const;            \
  template ExpertUse ExpertNetwork<Real>::use(const GraphBatch&) const;      \
  template void ExpertNetwork<Real>::merge(std::size_t, const ExpertUse&);   \
  template void ExpertNetwork<Real>::learn_only(std::size_t);                \
  template void ExpertNetwork<Real>::learn_all();                            \
  template double ExpertNetwork<Real>::accumulate_towards(const GraphBatch&, \
                                                          const RowMatrix<Real>&, double);
ACCRETE_INSTANTIATE(float)
ACCRETE_INSTANTIATE(double)
#undef ACCRETE_INSTANTIATE

}  // namespace accrete::models
