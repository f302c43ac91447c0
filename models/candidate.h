// The seam for learners: a candidate sees an input, says a number with its uncertainty, and later
// learns the outcome. Candidates know nothing of rows, graphs, files or sockets.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proto/prediction.h"
#include "proto/result.h"

namespace accrete::models {

/// What the entity's own matured labels say, as known at the time of the prediction.
/// `value` below: 0/1 (binary), the number (regression), the class index (multiclass).
struct LabelHistory {
  std::uint32_t count = 0;
  double last = 0;
  double sum = 0;
  double ewma = 0;                ///< running mean with weight ewma_alpha on the newest label
  std::vector<float> class_ewma;  ///< multiclass: the same per class (index may be beyond the end)

  static constexpr double ewma_alpha = 0.3;
  /// Account a label that has matured. Checks: a class index is in [0, classes_max).
  void learn(TaskKind kind, double label);
};

/// Classes of one task: a class costs every learner a column of weights, and a target with more
/// values than this is a ranking or a number.
inline constexpr std::size_t classes_max = 1u << 16;

/// Compact bytes of one history: 1 byte when empty, about 12 for 0/1 labels, 26 for numbers.
void append_history(std::string& out, const LabelHistory& history);
/// Take one history off the front of `bytes`. Errors: Corruption.
Status read_history(std::string_view& bytes, LabelHistory& history);

/// The kind of task that learners see: items of a ranked list are classes to them.
constexpr TaskKind learnt_as(TaskKind kind) {
  return kind == TaskKind::Ranking ? TaskKind::Multiclass : kind;
}

struct Input {
  std::span<const double> features;  ///< NaN = missing; width may grow over time, never shrinks
  const LabelHistory* history = nullptr;
};

/// Binary: value = probability of the positive class. Regression: value, and variance of a new
/// observation (0 = unknown). Multiclass: probabilities (size = classes known to the candidate).
struct Output {
  double value = 0;
  double variance = 0;
  std::vector<double> classes;
};

/// Of classes: that none is known yet.
inline bool says_nothing(TaskKind kind, const Output& output) {
  return kind == TaskKind::Multiclass && output.classes.empty();
}

/// One learner of one task. Deterministic: same calls, same bits.
class Candidate {
 public:
  Candidate() = default;
  Candidate(const Candidate&) = delete;
  Candidate& operator=(const Candidate&) = delete;
  virtual ~Candidate() = default;

  virtual std::string_view name() const = 0;
  /// Threads: const, may be called from several threads at once between two learns.
  virtual void predict(const Input& input, Output& output) const = 0;
  /// `weight` > 0. Multiclass labels are class indices; a new one grows the candidate.
  virtual void learn(const Input& input, double label, double weight) = 0;
  /// Called when a batch of labels is complete (a tick matured): the place for solves.
  virtual void settle() {}

  /// Byte-exact state; load(save()) continues with identical bits. Errors: Corruption.
  virtual void save(std::string& out) const = 0;
  virtual Status load(std::string_view bytes) = 0;
};

using Candidates = std::vector<std::unique_ptr<Candidate>>;

/// Several named candidates of one task that share their work and learn tick by tick. The rows of a
/// tick are predicted and learnt relative to each other, so a group sees whole ticks:
///
///   open_tick(population)   once, before the rows of a tick are predicted
///   predict(rows)           any rows, any number of times, until the next tick opens
///   learn(population, ...)  once, when the outcome of that tick is known
///
/// Deterministic: same calls, same bits; a row's outputs do not depend on its neighbours in the
/// call.
class CandidateGroup {
 public:
  CandidateGroup() = default;
  CandidateGroup(const CandidateGroup&) = delete;
  CandidateGroup& operator=(const CandidateGroup&) = delete;
  virtual ~CandidateGroup() = default;

  /// Candidates in the group, and the name of each; both never change.
  virtual std::size_t size() const = 0;
  virtual std::string_view name(std::size_t k) const = 0;
  /// Candidates of one family >= 0 are variants of one idea; -1: kept for comparison (see Mixer).
  virtual int family(std::size_t k) const = 0;

  /// What later predictions are relative to; what was learnt takes effect here.
  virtual void open_tick(std::span<const Input> population) = 0;
  /// outputs[i * stride + k]: candidate k on inputs[i]. Checks: stride >= size(), outputs suffice.
  /// Threads: const, may be called from several threads at once between two other calls.
  virtual void predict(std::span<const Input> inputs, std::size_t stride,
                       std::span<Output> outputs) const = 0;
  /// The same population as in open_tick(), its labels (NaN: not known, the row only counts for
  /// what is relative to the tick) and weights > 0.
  virtual void learn(std::span<const Input> population, std::span<const double> labels,
                     std::span<const double> weights) = 0;

  /// Large pieces of the state that seldom change: a commit writes the few whose version is new and
  /// drops those that are gone. Equal id and version: equal bytes.
  struct Part {
    std::uint64_t id = 0;
    std::uint64_t version = 0;
  };
  virtual std::vector<Part> parts() const { return {}; }
  /// Checks: `id` is one of parts().
  virtual void save_part(std::uint64_t id, std::string& out) const;

  /// Bytes of a part by its id. Errors are handed on by load().
  using ReadPart = std::function<Result<std::string>(std::uint64_t id)>;
  /// Byte-exact state but for the parts; load(save()) continues with identical bits.
  /// Errors: Corruption, also when a part is not of the version that was saved with it; then
  /// nothing has changed.
  virtual void save(std::string& out) const = 0;
  virtual Status load(std::string_view bytes, const ReadPart& read_part) = 0;
};

/// Candidates that need no tick as a group: rows are learnt one by one, then settled.
std::unique_ptr<CandidateGroup> make_group(Candidates candidates);

/// Several groups as one: their candidates in this order, families numbered apart.
std::unique_ptr<CandidateGroup> join_groups(std::vector<std::unique_ptr<CandidateGroup>> groups);

}  // namespace accrete::models
