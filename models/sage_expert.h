// Experts that hear the mean of a node's neighbours, one mean a relation.
//
// Dimensions, here and in sage_expert.cpp, beside those of dymoe_layer.h:
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
#include <string_view>
#include <vector>

#include "models/expert_call.h"
#include "models/layer_norm.h"
#include "models/parameter.h"

namespace accrete::models {

template <class Real>
class SageExperts {
 public:
  /// Rows that hear one neighbour by a relation: as with a foreign key, many may hear the same.
  struct Shared {
    std::vector<std::uint32_t> rows;   ///< which of the n rows, ascending
    std::vector<std::uint32_t> heard;  ///< of each: which of the nodes
    std::vector<std::uint32_t> nodes;  ///< each once, in the order in which they are first heard
    RowMatrix<Real> message;           ///< b_ut h_u of each (nodes, d)
  };
  struct Tape {
    struct Expert {
      std::vector<std::vector<std::uint32_t>> who;  ///< by relation: which of the n rows
      RowMatrix<Real> row;                          ///< h_v (n, d)
      std::vector<RowMatrix<Real>> message;         ///< by relation: (n_r, d)
      std::vector<Shared> shared;                   ///< by relation: all other rows
      typename NormSilu<Real>::Tape norm;
    };
    std::vector<Expert> experts;
    std::vector<Real> hearing;  ///< what each neighbour counted, in the order of the walk

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

  /// values[t] (n, d) of the rows of expert t, in their order. Returns how many hidden numbers
  /// sleep, of how many.
  SleepCount forward(const ExpertCall<Real>& call, Tape& tape,
                     std::vector<RowMatrix<Real>>& values) const;
  /// From gradients by the values; d_input (I, d) and, if anything is gated, d_heard (I, T) +=.
  void backward(const ExpertCall<Real>& call, const Tape& tape,
                const std::vector<RowMatrix<Real>>& d_values, RowMatrix<Real>& d_input,
                RowMatrix<Real>& d_heard);
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
  using Messages = std::vector<std::vector<RowMatrix<Real>>>;  ///< by expert and relation

  static void visit_expert(const std::string& prefix, Expert& expert,
                           const VisitParameter<Real>& visit);
  void find_messages(const ExpertCall<Real>& call, std::size_t t, Tape& tape) const;
  void gather_messages(const ExpertCall<Real>& call, Tape& tape) const;
  void backward_expert(const ExpertCall<Real>& call, const Tape& tape, std::size_t t,
                       const RowMatrix<Real>& d_value, RowMatrix<Real>& d_input,
                       RowMatrix<Real>& d_heard);
  void backward_shared(const ExpertCall<Real>& call, const Tape& tape, std::size_t t, std::size_t r,
                       RowMatrix<Real>& d_input, RowMatrix<Real>& d_heard);
  void scatter_messages(const ExpertCall<Real>& call, const Tape& tape, RowMatrix<Real>& d_input,
                        RowMatrix<Real>& d_heard);

  std::size_t width_;
  std::size_t relations_;
  std::vector<Expert> experts_;

  // Of the pass under way; their room is kept.
  Messages d_messages_;
  RowMatrix<Real> d_sum_;
  RowMatrix<Real> d_product_;
  RowMatrix<Real> d_message_;
};

extern template class SageExperts<float>;
extern template class SageExperts<double>;

}  // namespace accrete::models
