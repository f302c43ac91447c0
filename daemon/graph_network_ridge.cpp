// Candidate "network-ridge": what the network at rest says of rows, and a ridge over that.
#include <algorithm>
#include <cmath>
#include <utility>

#include "daemon/graph_network.h"
#include "daemon/propagation.h"
#include "proto/bytes.h"

namespace accrete::daemon {
namespace {

using store::Section;

constexpr double kScoreMin = 1e-3;  // of a class: scores are about probabilities

/// Shares of classes from their scores.
void tell_classes(TaskKind kind, std::span<const double> scores, models::Output& out) {
  out = models::Output{};
  double total = 0;
  for (const double score : scores) {
    out.classes.push_back(std::max(score, kScoreMin));
    total += out.classes.back();
  }
  for (double& share : out.classes)
    share /= total;
  if (kind != TaskKind::Binary) return;
  out.value = out.classes.size() > 1 ? out.classes[1] : 0.5;
  out.classes.clear();
}

}  // namespace

std::vector<std::string> GraphNetwork::names() const {
  std::vector<std::string> out{std::string(kName)};
  if (ridge_ != nullptr) out.emplace_back(NetworkRidge::kName);
  return out;
}

/// What is known without the ridge, in its targets' terms.
double GraphNetwork::ridge_start(double start) const {
  if (!on_heads_) return 0;
  return kind_ == TaskKind::Regression ? in_units(start) : start;
}

/// Of rows of which a column is asked: each once, by what was last learnt of it, and none that is
/// gone. They are read as they look while they wait: most are asked about then.
void GraphNetwork::keep_present(TimeUs now, std::vector<NetworkExample>& examples) const {
  std::ranges::stable_sort(examples, [](const NetworkExample& a, const NetworkExample& b) {
    return std::pair(a.row, a.at) < std::pair(b.row, b.at);
  });
  std::size_t kept = 0;
  for (std::size_t i = 0; i < examples.size(); ++i) {
    const std::uint32_t row = examples[i].row;
    const bool newest = i + 1 == examples.size() || examples[i + 1].row != row;
    if (!newest || !is_there(row, now)) continue;
    examples[kept] = examples[i];
    show_waiting(examples[kept++], now);
  }
  examples.resize(kept);
}

void GraphNetwork::settle_ridge(TimeUs now) {
  if (ridge_ == nullptr || network_ == nullptr || memory_.size() == 0) return;
  const NetworkRidge::Moment moment{classes_, world_.block(), events_past_ + events_.size()};
  std::vector<NetworkExample> examples;
  if (ridge_->is_due(moment)) {
    ridge_->rest(answering().copy_values(), moment);
    ridge_dirty_ = true;
    memory_.sample_all(NetworkRidge::kRowsMax, examples);
  } else {
    examples = ridge_->fresh();
  }
  std::erase_if(examples, [&](const NetworkExample& example) {
    return kind_ == TaskKind::Multiclass && example.label >= NetworkRidge::kClassesMax;
  });
  if (asks_rows_) keep_present(now, examples);
  if (examples.empty()) return;
  ridge_dirty_ = true;
  std::ranges::stable_sort(examples, {}, &NetworkExample::at);
  learn_ridge(examples);
}

/// Sums over these examples as the network at rest sees them, and the fit.
void GraphNetwork::learn_ridge(Examples examples) {
  const std::size_t most =
      propagation_ == nullptr ? NetworkRidge::kRowsMax : propagation_->ridge_rows_max();
  for (std::size_t begin = 0; begin < examples.size(); begin += most)
    add_to_ridge(examples.subspan(begin, std::min(most, examples.size() - begin)));
  if (propagation_ == nullptr) {
    ridge_->fit(nullptr);
    return;
  }
  const models::BalancedClasses<float> before = propagation_->ridge_sums();
  const Eigen::MatrixXf head = ridge_->fit(&before);
  if (head.size() > 0) propagation_->join(head);
}

void GraphNetwork::add_to_ridge(Examples examples) {
  models::RowMatrix<float> vectors(static_cast<Eigen::Index>(examples.size()),
                                   static_cast<Eigen::Index>(world_.config().width));
  Eigen::Index done = 0;
  in_pieces(examples, [&](Examples piece) {
    const models::RowMatrix<float> some = rest_vectors();
    ACCRETE_CHECK(some.rows() == static_cast<Eigen::Index>(piece.size()));
    vectors.middleRows(done, some.rows()) = some;
    done += some.rows();
  });
  std::vector<RowAt> rows;
  std::vector<double> targets;
  for (const NetworkExample& example : examples) {
    rows.push_back({example.row, example.at});
    const double label = kind_ == TaskKind::Regression ? in_units(example.label) : example.label;
    targets.push_back(ridge_->classes() ? label : label - ridge_start(example.start));
  }
  Eigen::MatrixXf base;
  if (propagation_ != nullptr) propagation_->project(rows, base);
  ridge_->learn(base, vectors, targets);
}

/// Of the seeds of batch_, by the network at rest.
models::RowMatrix<float> GraphNetwork::rest_vectors() {
  grow_inputs(ridge_->at_rest());
  models::RowMatrix<float> scores;
  models::RowMatrix<float> vectors;
  ridge_->at_rest().predict(batch_, scores, &vectors, nullptr);
  return vectors;
}

/// Answers to the seeds of batch_, which are these examples'.
void GraphNetwork::answer_ridge(Examples examples, std::size_t stride,
                                std::span<models::Output> out) {
  if (!ridge_->fitted()) {
    for (std::size_t i = 0; i < examples.size(); ++i)
      out[i * stride] = unknown(examples[i].start);
    return;
  }
  const models::RowMatrix<float> vectors = rest_vectors();
  const auto width = static_cast<std::size_t>(vectors.cols());
  std::vector<double> scores;
  for (std::size_t i = 0; i < examples.size(); ++i) {
    ridge_->score(std::span(vectors.data() + i * width, width), scores);
    models::Output& answer = out[i * stride];
    answer = models::Output{};
    if (propagation_ != nullptr) {
      answer.classes = scores;  // add_base() says the rest
    } else if (ridge_->classes()) {
      tell_classes(kind_, scores, answer);
    } else {
      const double sum = scores[0] + ridge_start(examples[i].start);
      answer.value = kind_ == TaskKind::Binary ? std::clamp(sum, kScoreMin, 1 - kScoreMin)
                                               : centre_ + unit_ * sum;
    }
  }
}

void GraphNetwork::add_base(std::span<const float> base, models::Output& out) const {
  if (ridge_ == nullptr || propagation_ == nullptr || !ridge_->fitted()) return;
  std::vector<double> scores = std::move(out.classes);
  scores.resize(std::max(scores.size(), base.size()), 0.0);
  for (std::size_t c = 0; c < base.size(); ++c)
    scores[c] += static_cast<double>(base[c]);
  tell_classes(kind_, scores, out);
}

void GraphNetwork::stage_ridge(store::State& state) {
  if (ridge_ == nullptr || !ridge_dirty_) return;
  const std::string rest = ridge_->take_rest_bytes();
  if (!rest.empty()) state.put(Section::Blobs, key("ridge/rest"), rest);
  std::string bytes;
  ridge_->save(bytes);
  state.put(Section::Blobs, key("ridge"), bytes);
  ridge_dirty_ = false;
}

Status GraphNetwork::load_ridge(store::State& state) {
  if (ridge_ == nullptr) return Ok{};
  std::string bytes;
  ACCRETE_TRY(const bool there, state.get(Section::Blobs, key("ridge"), bytes));
  if (!there) return Ok{};
  std::string rest;
  ACCRETE_TRY(const bool rests, state.get(Section::Blobs, key("ridge/rest"), rest));
  if (!rests) rest.clear();
  return ridge_->load(bytes, rest, models::ExpertNetwork<float>(kind_, options()));
}

}  // namespace accrete::daemon
