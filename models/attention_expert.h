// Experts that attend to a node's neighbours by all relations together, and to the node itself.
//
// Dimensions, here and in attention_expert.cpp, beside those of dymoe_layer.h:
//   n rows that an expert handles   m nodes they hear, each once   E edges: what each row hears,
//   itself last   H heads of d/H numbers
//
//   q = h_v W_q   k_u = h_u W_k   w_u = h_u W_v                      (d, d) each
//   a_e = softmax over the row's edges of q·k_u / √(d/H) + bias_r + log b_ut      for each head
//   y = h_v + (sum of a_e w_u) W_o
//   f_t(v) = SiLU(LayerNorm(y W_1 + c_1)) W_2 + c_2                  d → 2d → d
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
      std::vector<std::uint32_t> nodes;  ///< (m) in the order in which they are first heard
      std::vector<std::uint32_t> begin;  ///< (n + 1) edges of a row
      std::vector<std::uint32_t> heard;  ///< (E) index into nodes
      std::vector<std::uint32_t> slot;   ///< (E) relation, or R for the row itself
      std::vector<Real> attention;       ///< (E, H)
      RowMatrix<Real> query;             ///< (n, d)
      RowMatrix<Real> key;               ///< (m, d)
      RowMatrix<Real> value;             ///< (m, d)
      RowMatrix<Real> mixed;             ///< (n, d) before W_o
      RowMatrix<Real> joined;            ///< y (n, d)
      RowMatrix<Real> hidden;            ///< (n, 2d) after SiLU
      typename NormSilu<Real>::Tape norm;
    };
    std::vector<Expert> experts;
    std::vector<std::uint32_t> index;  ///< of each input, while an expert's nodes are collected
  };

  explicit AttentionExperts(const LayerShape& shape);

  std::size_t size() const { return experts_.size(); }
  /// As of SageExperts.
  void add(std::size_t parent, Rng& rng);
  /// `first` and the next become one, hidden units of the next in the order of the first's. Cost:
  /// that of align_hidden() for 2d units.
  void merge(std::size_t first, const UsagePair& usage);
  void set_rate(std::size_t expert, double rate);
  SleepCount forward(const ExpertCall<Real>& call, Tape& tape,
                     std::vector<RowMatrix<Real>>& values) const;
  void backward(const ExpertCall<Real>& call, const Tape& tape,
                const std::vector<RowMatrix<Real>>& d_values, RowMatrix<Real>& d_input,
                RowMatrix<Real>& d_heard);
  void visit(std::string_view prefix, const VisitParameter<Real>& visit);
  /// Bytes of what is kept between passes, all of it the tape's.
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
    RowMatrix<Real> query;
    RowMatrix<Real> key;
    RowMatrix<Real> value;
    RowMatrix<Real> mixed;
  };

  static void visit_expert(const std::string& prefix, Expert& expert,
                           const VisitParameter<Real>& visit);
  void collect(const ExpertCall<Real>& call, std::size_t t, Tape& tape,
               typename Tape::Expert& own) const;
  void attend(const ExpertCall<Real>& call, std::size_t t, typename Tape::Expert& own) const;
  void attend_backward(const ExpertCall<Real>& call, std::size_t t,
                       const typename Tape::Expert& own, Back& back, RowMatrix<Real>& d_heard);
  void head_backward(const typename Tape::Expert& own, std::size_t i, std::size_t head, Back& back,
                     std::vector<Real>& d_score) const;
  void backward_expert(const ExpertCall<Real>& call, std::size_t t,
                       const typename Tape::Expert& own, const RowMatrix<Real>& d_value,
                       RowMatrix<Real>& d_input, RowMatrix<Real>& d_heard);

  std::size_t width_;
  std::size_t heads_;
  std::size_t relations_;
  std::vector<Expert> experts_;
};

extern template class AttentionExperts<float>;
extern template class AttentionExperts<double>;

}  // namespace accrete::models
