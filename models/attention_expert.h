// Experts that attend to a node's neighbours by all relations together, and to the node itself.
//
// Dimensions, here and in attention_expert.cpp, beside those of dymoe_layer.h:
//   n rows that an expert handles   E edges: what each row hears, itself last   H heads of d/H
//   numbers
//
//   q = h_v W_q   k_u = h_u W_k   w_u = h_u W_v                      (d, d) each
//   a_e = softmax over the row's edges of q·k_u / √(d/H) + bias_r + log b_ut      for each head
//   y = h_v + (sum of a_e w_u) W_o
//   f_t(v) = SiLU(LayerNorm(y W_1 + c_1)) W_2 + c_2                  d → 2d → d
//
// No k and no w is computed: see attention_row.h. So the cost is that of rows and of edges, however
// many experts hear a node.
//
// bias_r has a slot for each relation and one for the node itself, which is always heard, so that
// nobody's softmax is empty.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "models/expert_call.h"
#include "models/layer_norm.h"
#include "models/parameter.h"

namespace accrete::models {

template <class Real>
class AttentionExperts {
 public:
  struct Tape {
    struct Expert {
      std::vector<std::size_t> begin;  ///< (n + 1) edges of a row
      std::vector<Real> attention;     ///< of each row (H, its edges)
      RowMatrix<Real> query;           ///< (n, d) q / √(d/H)
      RowMatrix<Real> asks;            ///< (n, H d) of the nodes themselves: W_k q
      RowMatrix<Real> mean;            ///< (n, H d) of what is heard, by attention
      RowMatrix<Real> mixed;           ///< (n, d) before W_o
      RowMatrix<Real> joined;          ///< y (n, d)
      RowMatrix<Real> hidden;          ///< (n, 2d) after SiLU
      RowMatrix<Real> value;           ///< f (n, d)
      typename NormSilu<Real>::Tape norm;
    };
    std::vector<Expert> experts;
    RowMatrix<Real> work;  ///< kept for its room
  };

  explicit AttentionExperts(const LayerShape& shape);

  std::size_t size() const { return experts_.size(); }
  /// As of SageExperts.
  void add(std::size_t parent, Rng& rng);
  /// `first` and the next become one, hidden units of the next in the order of the first's. Cost:
  /// that of align_hidden() for 2d units.
  void merge(std::size_t first, const UsagePair& usage);
  void set_rate(std::size_t expert, double rate);
  SleepCount forward(const ExpertCall<Real>& call, Tape& tape, RowMatrix<Real>& output) const;
  void backward(const ExpertCall<Real>& call, const Tape& tape, const RowMatrix<Real>& d_output,
                const ExpertGradients<Real>& gradients);
  void visit(std::string_view prefix, const VisitParameter<Real>& visit);
  /// Bytes of what is kept between passes, the tape's among them.
  std::size_t room(const Tape& tape) const;

 private:
  struct Expert {
    Parameter<Real> query;
    Parameter<Real> key;
    Parameter<Real> value;
    Parameter<Real> bias;    ///< (R + 1, H)
    Parameter<Real> output;  ///< W_o (d, d)
    Parameter<Real> first;   ///< W_1 (d, 2d)
    Parameter<Real> first_bias;
    NormSilu<Real> norm;
    Parameter<Real> second;  ///< W_2 (2d, d)
    Parameter<Real> second_bias;
  };
  /// Gradients of one expert on the way back.
  struct Back {
    RowMatrix<Real> row;   ///< (n, d) by h_v, without what edges send
    RowMatrix<Real> asks;  ///< (n, H d) by the means, then by what was asked
  };

  static void visit_expert(const std::string& prefix, Expert& expert,
                           const VisitParameter<Real>& visit);
  void attend(const ExpertCall<Real>& call, Tape& tape) const;
  void attend_backward(const ExpertCall<Real>& call, const Tape& tape, RowMatrix<Real>& d_input,
                       RowMatrix<Real>& d_heard);
  /// From an expert's value to the means that it heard, and from what it asked to its rows.
  void backward_value(const typename Tape::Expert& own, const RowMatrix<Real>& d_value,
                      std::size_t t);
  void backward_query(const ExpertCall<Real>& call, const typename Tape::Expert& own, std::size_t t,
                      RowMatrix<Real>& d_input);

  std::size_t width_;
  std::size_t heads_;
  std::size_t relations_;
  std::vector<Expert> experts_;

  // Of the pass under way; their room is kept.
  std::vector<Back> backs_;  ///< by expert
  RowMatrix<Real> work_;
  RowMatrix<Real> d_first_;
  RowMatrix<Real> d_query_;
  RowMatrix<Real> head_;
  RowMatrix<Real> d_value_;
};

extern template class AttentionExperts<float>;
extern template class AttentionExperts<double>;

}  // namespace accrete::models
