// A layer of experts: each row of a graph is handled by the k experts that a gate chooses for it.
//
// Dimensions, here and in dymoe_*.cpp:
//   I inputs (nodes)   O outputs, the first O of the inputs   d width   T experts   R relations
//
//   gate      z = H W_g  (O, T)          S_v = the k largest of z_v; g_v = softmax(z_v over S_v)
//   topology  s_ut = p_t · (W_P h_u)     b_ut = sigmoid(s_ut): how much expert t listens to node u
//   sage      m_rvt = mean over u in N_r(v) of b_ut h_u
//             f_t(v) = SiLU(LayerNorm(U_t h_v + sum_r W_tr m_rvt + c_t))        (sage_expert.h)
//   attention a softmax over u in all N_r(v) and v itself of q·k / sqrt(d/heads) + e_r + log b_ut,
//             output projection, then the expert's two-layer network with LayerNorm and SiLU
//                                                                          (attention_expert.h)
//   mix       h'_v = sum over t in S_v of g_vt f_t(v)
//
// Ties of z: the lower column. Nodes of blocks newer than the newest expert count as its own.
//
// Beside the block experts a gate may choose a zero expert (0), a copy expert (h_v) and a constant
// one (a learnt vector): nodes to which nothing happened need no work (MoE++, Jin et al. 2024).
// Source: Kong et al. 2025, arXiv:2508.09974 (DyMoE), equations 8 and 10 to 14; what the paper
// leaves open (the sage form, norms, growth) is ours.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "models/expert_merge.h"
#include "models/graph_batch.h"
#include "models/parameter.h"
#include "models/state_bytes.h"
#include "proto/rng.h"

namespace accrete::models {

enum class ExpertKind : std::uint8_t { Sage, Attention };

struct LayerShape {
  ExpertKind kind = ExpertKind::Sage;
  std::size_t width = 64;
  std::size_t heads = 4;  ///< of attention; divides width
  std::vector<RelationShape> relations;
  bool extras = true;  ///< zero, copy and constant experts
};

/// How rows find their experts, the same for all layers of a network.
struct Routing {
  std::size_t top = 2;
  /// While training a node's own block is among its experts, replacing the weakest.
  bool force_own_block = false;
  /// Nodes go to the expert of their own block alone (an oracle, for tests and ablations).
  bool own_block_only = false;
  /// An expert hears nothing from nodes of later blocks: they are absent from its means, their
  /// count and its softmax, so what comes later changes no bit of it. A node always hears itself.
  bool mask_later_blocks = false;
  /// All nodes are heard alike (an ablation).
  bool topology_gate = true;
  /// Block experts of a batch are chosen together (expert_selection.h): at most so many, but
  /// everybody's best in any case. 0: no bound.
  std::size_t experts_max = 0;
};

/// Weights of what the layer asks for besides its output. Both are of full logits, before any
/// choice or mask: of a masked one the gradient would be none where it is needed most.
struct GateLosses {
  double block = 0;        ///< mean over outputs of the cross entropy of softmax(z_v over block
                           ///< experts) and block(v)
  double graph_block = 0;  ///< mean over inputs and experts of the binary cross entropy of b_ut and
                           ///< [t >= block(u)]; none without a topology gate
};

/// What happened in a forward pass, for metrics.
struct RoutingStats {
  std::vector<double> load;  ///< of each expert, extras behind: sum of g_vt
  double entropy = 0;        ///< mean over nodes of the entropy of g_v
  double dead_ratio = 0;  ///< share of block experts' hidden numbers whose SiLU sleeps: input < -4
  std::uint64_t nodes = 0;
  std::uint64_t own_block = 0;  ///< nodes whose largest block logit is their block's
  double block_loss = 0;
  double graph_block_loss = 0;  ///< 0 if its weight is
};

template <class Real>
class DymoeLayer {
 public:
  /// What forward() leaves for backward(). Opaque; may be reused.
  struct Tape;
  struct TapeDeleter {
    void operator()(Tape* tape) const;
  };
  using TapePtr = std::unique_ptr<Tape, TapeDeleter>;
  static TapePtr make_tape();

  /// Without experts; add_expert() comes first.
  DymoeLayer(const LayerShape& shape, Rng rng);
  DymoeLayer(DymoeLayer&&) noexcept;
  DymoeLayer& operator=(DymoeLayer&&) noexcept;
  ~DymoeLayer();

  std::size_t experts() const;  ///< block experts

  /// A new last expert: a copy of expert `parent` with normal noise of deviation .01, or fresh
  /// (Xavier) if there is no such expert. Its gate row is `mean` (1, d) over its length (zero
  /// without one), its p a copy of the last expert's (the first one's is zero). It has no moments.
  void add_expert(std::size_t parent, const RowMatrix<Real>* mean, Rng rng);
  /// Experts `first` and first + 1 become one, which stands at `first`: means by usage of all that
  /// is theirs, gate row and p among it, an attention expert's hidden units in the order of the
  /// first's. It has no moments. Of two that say the same nothing is lost for a row that goes to
  /// one expert; a row that went to both has a place for another. Checks: first + 1 < experts().
  void merge_experts(std::size_t first, const UsagePair& usage);
  /// Learning-rate factor of expert t's own weights (not of gate, p and W_P). 0 freezes: backward()
  /// then adds no gradient to them.
  void set_rate(std::size_t expert, double rate);

  /// output (outputs, d) from input (I, d). Rows that go to the same expert are one product.
  /// `stats` null: nobody asks what routing did.
  /// `tape` null, or `keep` false: nothing is kept for backward(), and outputs are worked on some
  /// thousands at a time, so that beside input and output there are 2 I T numbers and what those
  /// thousands take. Checks: outputs <= nodes that have neighbours told, all of them within the
  /// input; an expert; scores that were begun are of all nodes. Threads: const.
  void forward(const GraphBatch& batch, std::size_t outputs, const RowMatrix<Real>& input,
               const Routing& routing, const GateLosses& losses, RowMatrix<Real>& output,
               RoutingStats* stats, Tape* tape, bool keep = true) const;
  /// Adds to all gradients; d_input (I, d) is set. `d_output` is the gradient of the loss by the
  /// output; those of the gate losses (their weights as in forward) are added here.
  void backward(const GraphBatch& batch, std::size_t outputs, const RowMatrix<Real>& input,
                const Tape& tape, const RowMatrix<Real>& d_output, RowMatrix<Real>& d_input);

  // Whoever makes the nodes' rows may score them for the topology gate, and ask what comes back to
  // them, some at a time while they are in a cache, rather than in walks over all of them.

  /// Told the nodes in parts, each once, before a forward pass with this tape, kept or not, which
  /// then scores none of its own.
  void begin_scores(std::size_t nodes, Tape& tape) const;
  void score(const RowMatrix<Real>& input, std::span<const std::uint32_t> nodes, Tape& tape) const;
  /// backward() in parts: all but what comes back to rows, then nodes in parts, each once, then
  /// what they send back to the gradients. Row i of d_rows (n, d) is set: the gradient by row
  /// nodes[i] of the input.
  void begin_backward(const GraphBatch& batch, std::size_t outputs, const RowMatrix<Real>& input,
                      const Tape& tape, const RowMatrix<Real>& d_output);
  void backward_part(const GraphBatch& batch, const RowMatrix<Real>& input,
                     std::span<const std::uint32_t> nodes, const Tape& tape,
                     RowMatrix<Real>& d_rows);
  void end_backward();

  /// Gate logits of rows (N, d) over all experts, block experts first.
  void gate_logits(const RowMatrix<Real>& rows, RowMatrix<Real>& logits) const;

  /// Adds to the gate's gradients those of the block loss times `scale` over rows (N, d) that are
  /// no nodes of a batch. Nothing else learns from them. Returns the loss. Checks: a block a row.
  double teach_gate(const RowMatrix<Real>& rows, std::span<const std::uint32_t> blocks,
                    double scale);

  void visit(std::string_view prefix, const VisitParameter<Real>& visit);
  /// Bytes of what is kept between passes with this tape, the tape's among them.
  std::size_t room(const Tape& tape) const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

extern template class DymoeLayer<float>;
extern template class DymoeLayer<double>;

}  // namespace accrete::models
