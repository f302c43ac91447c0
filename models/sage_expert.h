// Experts that hear the mean of a node's neighbours, one mean a relation.
//
// Dimensions, here and in sage_expert*.cpp, beside those of dymoe_layer.h:
//   n rows that an expert handles   n_r those of them that hear several neighbours by relation r
//
//   m_rvt = 1/|N_r(v)| sum over u in N_r(v) of b_ut h_u     a mean over all that the expert may
//                                                           hear, not divided by the sum of b
//   f_t(v) = SiLU(LayerNorm(h_v U_t + sum over r of m_rvt W_tr + c_t))
//
// A node without neighbours by r has no term of r. All experts of a row gather in one walk over its
// neighbours, and where they hear the same there is one gather for all. Of rows that hear only u
// the term is b_ut h_u W_tr: one product for all of them. Which rows these are says each row's
// neighbourhood alone, so a batch around it changes no bit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "models/expert_call.h"
#include "models/layer_norm.h"
#include "models/neighbour_sum.h"
#include "models/parameter.h"

namespace accrete::models {

template <class Real>
class SageExperts {
 public:
  /// Rows that hear one neighbour by a relation: as with a foreign key, many may hear the same.
  struct Shared {
    std::vector<std::uint32_t> rows;   ///< which of the n rows; ascending
    std::vector<std::uint32_t> heard;  ///< by those rows: which of the nodes
    std::vector<std::uint32_t> nodes;  ///< each once, in the order in which they are first heard
    RowMatrix<Real> message;           ///< b_ut h_u of each (nodes, d)
  };
  /// An expert that a node is given to, and which of its messages by a relation is this node's.
  struct Listener {
    std::uint32_t expert = 0;
    std::uint32_t row = 0;
  };
  /// A node's neighbours by a relation: where they are among its sources, and how many of the
  /// node's experts hear several of them.
  struct Hearing {
    std::uint32_t relation = 0;
    std::uint32_t begin = 0;
    std::uint32_t count = 0;
    std::uint32_t listeners = 0;
  };
  struct Tape {
    struct Expert {
      std::vector<std::vector<std::uint32_t>> who;  ///< by relation: which of the n rows
      std::vector<std::size_t> first;  ///< by relation: the first of their n_r rows of messages
      std::vector<Shared> shared;      ///< by relation: all other rows
    };
    std::vector<Expert> experts;
    // One matrix for all experts: it lies in large pages where many small ones would not.
    RowMatrix<Real> messages;            ///< expert by expert, of each relation by relation
    typename NormSilu<Real>::Tape norm;  ///< as the routes' pairs
    std::vector<Hearing> hearings;  ///< by node, ascending: so an expert's rows are in their order
    std::vector<Listener> listeners;  ///< of one hearing after another
    std::vector<Real> heard;          ///< what each neighbour counted, in the same order

    // Kept for their room.
    RowMatrix<Real> sum;
    RowMatrix<Real> product;
    std::vector<std::uint32_t> place;  ///< by input row; none between uses
  };

  explicit SageExperts(const LayerShape& shape);

  std::size_t size() const { return experts_.size(); }
  /// A child of `parent`, or fresh if there is no such expert.
  void add(std::size_t parent, Rng& rng);
  /// `first` and the next become one. Its numbers have no order to choose: they are what it says.
  void merge(std::size_t first, const UsagePair& usage);
  void set_rate(std::size_t expert, double rate);

  /// What the experts say, by their weights, is added to the outputs' rows of `output`, one expert
  /// after another. Returns how many hidden numbers sleep, of how many.
  SleepCount forward(const ExpertCall<Real>& call, Tape& tape, RowMatrix<Real>& output) const;
  /// From the gradient by the outputs (O, d); what messages of several neighbours send back is left
  /// to backward_part(). Checks: rows of outputs are begun.
  void backward(const ExpertCall<Real>& call, const Tape& tape, const RowMatrix<Real>& d_output,
                const ExpertGradients<Real>& gradients);
  /// All that comes back to some nodes: row i of d_rows (n, d) is that of nodes[i]. A walk by who
  /// is heard reads what came back to messages, which a cache holds, where one by who hears would
  /// add to rows that none does. `gradients`: as backward() was told.
  void backward_part(const RowMatrix<Real>& input, std::span<const std::uint32_t> nodes,
                     const ExpertGradients<Real>& gradients, RowMatrix<Real>& d_rows);
  /// `prefix` ends before the expert's index.
  void visit(std::string_view prefix, const VisitParameter<Real>& visit);
  /// Bytes of what is kept between passes, the tape's among them.
  std::size_t room(const Tape& tape) const;

 private:
  struct Expert {
    Parameter<Real> own;                     ///< U (d, d)
    std::vector<Parameter<Real>> relations;  ///< W_r (d, d)
    Parameter<Real> bias;                    ///< c (1, d)
    NormSilu<Real> norm;
  };
  /// Whom a message of several neighbours is for, and 1 / how many of them there are.
  struct Told {
    std::uint32_t expert;
    Real share;
  };
  struct Made {
    std::uint32_t message;
    Told told;
    std::span<const std::uint32_t> neighbours;
    const Real* weights;  ///< of the neighbours, each `step` behind the other
    std::size_t step;
  };
  /// Which row of the messages of all a listener's is.
  static std::size_t row_of_message(const Tape& tape, const Listener& listener,
                                    std::size_t relation) {
    return tape.experts[listener.expert].first[relation] + listener.row;
  }
  static void visit_expert(const std::string& prefix, Expert& expert,
                           const VisitParameter<Real>& visit);
  void find_messages(const ExpertCall<Real>& call, Tape& tape) const;
  void share_messages(const ExpertCall<Real>& call, std::size_t t, std::size_t r, Tape& tape) const;
  void gather_messages(const ExpertCall<Real>& call, Tape& tape) const;
  void backward_expert(const ExpertCall<Real>& call, const Tape& tape, std::size_t t,
                       const RowMatrix<Real>& d_output, const ExpertGradients<Real>& gradients);
  void backward_shared(const ExpertCall<Real>& call, const Tape& tape, std::size_t t, std::size_t r,
                       const ExpertGradients<Real>& gradients);
  void sum_alike(const ExpertCall<Real>& call, const Tape& tape);
  template <class Each>
  void each_message(const ExpertCall<Real>& call, const Tape& tape, Each each) const;
  void find_parts(const ExpertCall<Real>& call, const Tape& tape);

  std::size_t width_;
  std::size_t relations_;
  std::vector<Expert> experts_;

  // Of the pass under way; their room is kept.
  RowMatrix<Real> d_messages_;        ///< as the tape's
  std::vector<Told> told_;            ///< by message
  std::vector<std::uint32_t> begin_;  ///< by node: the first of its parts
  std::vector<SumPart<Real>> parts_;  ///< messages that nodes are part of, node by node
  std::vector<Real> d_weights_;
  RowMatrix<Real> head_;
  RowMatrix<Real> d_sum_;
  RowMatrix<Real> d_product_;
  RowMatrix<Real> d_message_;
};

extern template class SageExperts<float>;
extern template class SageExperts<double>;

}  // namespace accrete::models
