// The graph expert network: rows to vectors, layers of experts over the sampled neighbourhood, a
// head. Forward, backward and one step of Adam by hand.
//
//   x_v = W_table features_v + b_table + T_table phi(age_v)       phi: sines and cosines of the age
//   h⁰ = SiLU(LayerNorm(x)), then L layers (dymoe_layer.h), each with a residual; o = head(h^L),
//   to which what is told of a seed directly is added (network_head.h)
//
// Source: Robinson et al. 2024 (RDL), arXiv:2407.20060, for encoders, times and sampling.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/candidate.h"
#include "models/dymoe_layer.h"
#include "models/expert_merge.h"
#include "models/gaussian_mixture.h"
#include "models/graph_batch.h"
#include "models/network_head.h"
#include "proto/prediction.h"
#include "proto/result.h"

namespace accrete::models {

struct NetworkShape {
  std::size_t layers = 2;
  LayerShape layer;
  std::vector<std::size_t> columns;  ///< of each table's features; 0: the table says nothing itself
  std::vector<std::size_t> told;     ///< of each source of what the head reads directly
};

struct NetworkOptions {
  NetworkShape shape;
  Routing routing;
  GateLosses losses{0.1, 0.1};
  double rate = 5e-3;          ///< of Adam
  double old_expert_rate = 0;  ///< of experts that are not the newest: 0 freeze, .1 slow, 1 all
  /// Once there is a second expert, what all experts share before the gates is at rest too: rows'
  /// projection but for items that came since the last growth, W_P, the old experts' p, the
  /// constant. So what a gate reads of an old row stays where it was, as far as old experts do and
  /// the row still goes to them.
  bool freeze_shared = false;
  std::uint64_t seed = 1;
};

/// Of the steps t of a parameter, about the last (t / 8) count in its mean.
inline constexpr double mean_decay = 7;

template <class Real>
class ExpertNetwork {
 public:
  /// One expert a layer. `kind`: the loss is log loss, smoothed absolute error or cross entropy.
  /// Checks: at least one layer.
  ExpertNetwork(TaskKind kind, NetworkOptions options);
  ExpertNetwork(ExpertNetwork&&) noexcept;
  ExpertNetwork& operator=(ExpertNetwork&&) noexcept;
  ~ExpertNetwork();

  std::size_t experts() const;
  std::size_t classes() const;  ///< outputs of the head: 1 unless the task is multiclass
  /// New classes and feature columns begin at zero, new items as small numbers of their own. Never
  /// shrink. Checks: grow_classes() is for multiclass tasks; for grow_items() the width is a
  /// multiple of kLanes.
  void grow_classes(std::size_t classes);
  void grow_columns(std::size_t table, std::size_t columns);
  void grow_items(std::size_t table, std::size_t items);
  void grow_told(std::size_t source, std::size_t columns);

  /// A new expert in every layer, a copy of the one used most by `sample` (nodes of the new block)
  /// in a free choice; older experts get old_expert_rate. Its gate row is the mean of the layer's
  /// input over those of the sample's nodes that are of the new block; of all its nodes where none
  /// is. Returns the parent by layer.
  std::vector<std::size_t> grow(const GraphBatch& sample);

  /// The same network, gradients that await a step among the rest. Cost: its memory.
  ExpertNetwork copy() const;

  // Answers may be given with a mean of the weights that training went through: a network of its
  // own beside the one that learns, grown in the same way.

  /// The same network to begin a mean with: without moments, gradients and steps.
  ExpertNetwork copy_values() const;
  /// This, the mean, takes in what `learner` changed since the last call; once after each step of
  /// it. A parameter becomes the mean of its values after each of its t steps since the mean began,
  /// later ones weighing more: in proportion to t^mean_decay, and never less than as if t were
  /// `steps_max`. Parts have the learner's versions then. Checks: the same experts and sizes.
  /// Source: Shamir and Zhang 2013, arXiv:1212.1824, polynomial-decay averaging.
  void follow(const ExpertNetwork& learner, std::uint64_t steps_max);
  /// Its numbers become those of `mean`; moments stay. What is at rest keeps its bits and versions.
  /// Checks: the same experts and sizes.
  void take_values(const ExpertNetwork& mean);
  /// What a sample says of the experts, as they serve it. Threads: const.
  ExpertUse use(const GraphBatch& sample) const;
  /// Experts `first` and first + 1 become one in every layer (DymoeLayer::merge_experts), by their
  /// usages. It stands at `first`; those behind move up by one, and who calls numbers blocks
  /// accordingly. Checks: first + 1 < experts(); `use` is of this network.
  void merge(std::size_t first, const ExpertUse& use);
  /// Steps move that expert and what all share behind the rows' projection: gates, constants, the
  /// head; under freeze_shared gates and head alone.
  void learn_only(std::size_t expert);
  /// Steps move what growth lets them: all, but experts before the newest by old_expert_rate.
  void learn_all();
  /// Distillation: the mean over the seeds of half the squared distance between the scores as they
  /// are served and `wanted` (seeds, outputs). Its gradient, and those of the gate losses, are
  /// added to the parameters'. Source: Ba and Caruana 2014, arXiv:1312.6184, for logits as targets.
  double accumulate_towards(const GraphBatch& batch, const RowMatrix<Real>& wanted,
                            double share = 1);

  /// Scores of the seeds (seeds, outputs): logits, or the number. A seed's bits do not depend on
  /// the other seeds. Threads: const.
  void predict(const GraphBatch& batch, RowMatrix<Real>& scores) const;
  /// The same with last-layer vectors (seeds, d), those the head is linear in, what routing did, by
  /// layer, and `inputs`: what each layer's gate read (outputs of the layer, d), last what the head
  /// read (seeds, d); the room of what is in it is used again. With `experts_max` above 0 the
  /// batch's experts are chosen together (Routing::experts_max), so that a seed's bits depend on
  /// the others.
  void predict(const GraphBatch& batch, RowMatrix<Real>& scores, RowMatrix<Real>* embedding,
               std::vector<RoutingStats>* stats, std::size_t experts_max = 0,
               std::vector<RowMatrix<Real>>* inputs = nullptr) const;
  /// Mean of the task's loss over the seeds as they are predicted. Checks: a target a seed.
  double loss(const GraphBatch& batch, std::span<const Target> targets) const;

  /// Mean of the task's loss over the batch's seeds, before the step, and its gradients and those
  /// of the gate losses (added to the parameters'). Checks: a target a seed. `share`: of the step's
  /// seeds, where they come in several batches; the gradients are that part of the batch's own.
  /// `stats`: what routing did, by layer; null: nothing is counted.
  double accumulate(const GraphBatch& batch, std::span<const Target> targets, double share = 1,
                    std::vector<RoutingStats>* stats = nullptr);
  /// Adds the gradients of rows that stand for nodes of the past, times `share`: to each layer's
  /// gate those of its block loss on gates[layer] (blocks number experts), to the head those of
  /// the task's loss on `head` (blocks are classes) and what is `told` of its rows beside them, by
  /// source (none: nothing; columns that it lacks: zeros). Rows are as predict() tells `inputs`.
  /// Nothing else learns from them. Checks: a PseudoRows a layer; a multiclass task, if `head` has
  /// rows.
  void accumulate_pseudo(std::span<const PseudoRows> gates, const PseudoRows& head,
                         std::span<const RowMatrix<float>> told, double share);
  /// One step of Adam with the gradients, which become zero; see adam.h for the bound on their
  /// length (1). `rate` is a factor on options.rate. Returns their length before the bound.
  double step(double rate = 1);

  void visit(const VisitParameter<Real>& visit);

  /// Parts of the state, as those of a CandidateGroup: one for each layer and expert, and one with
  /// all else. A frozen expert's version stands still, so that a commit writes what was learnt
  /// since the last. An expert keeps its ids when others before it are merged; one merged of two
  /// has ids that nobody had. Versions tell apart the states of one history: who puts an older
  /// state in the place of a newer one by load() writes all parts anew.
  using Part = CandidateGroup::Part;
  using ReadPart = CandidateGroup::ReadPart;
  std::vector<Part> parts() const;
  /// Checks: `id` is one of parts().
  void save_part(std::uint64_t id, std::string& out) const;
  /// Byte-exact state with moments, but for the parts; load(save()) continues bit for bit. Not
  /// part of it: gradients that await a step, and the options but for their shape.
  void save(std::string& out) const;
  /// Into a network of the same task and shape; experts, columns and classes may differ.
  /// Errors: Corruption, also when a part is not of the version that was saved with it; those of
  /// read_part. Nothing has changed then.
  Status load(std::string_view bytes, const ReadPart& read_part);
  std::size_t memory_bytes() const;
  /// Bytes beside those: room of training passes, which is kept for the next.
  std::size_t room() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

extern template class ExpertNetwork<float>;
extern template class ExpertNetwork<double>;

}  // namespace accrete::models
