// Saved state of a ranked list.
#include <string>
#include <utility>

#include "daemon/rank_task.h"
#include "daemon/saved.h"
#include "proto/bytes.h"

namespace accrete::daemon {

using store::Section;

void RankTask::stage(store::State& state) {
  if (learners_dirty_) {
    std::string learners;
    ByteWriter writer(learners);
    writer.put(labels_);
    writer.put_all(std::span(std::as_const(classes_)));
    writer.put_all(std::span(std::as_const(class_links_)));
    put_saved(writer, shortlist_);
    put_saved(writer, choice_);
    put_saved(writer, *mixer_);
    for (const auto& metrics : metrics_)
      put_saved(writer, metrics);
    state.put(Section::Blobs, plan_.name + "/learners", learners);
    learners_dirty_ = false;
  }
  drift_.stage(plan_.name, state);
  if (network_ != nullptr) network_->stage(state);
  std::string position;
  ByteWriter writer(position);
  save_queues(writer);
  state.put(Section::Blobs, plan_.name + "/position", position);
  pending_.stage(state);
}

Status RankTask::load_learners(std::string_view bytes) {
  ByteReader reader(bytes);
  labels_ = reader.get<std::uint64_t>();
  classes_ = reader.get_all<std::uint32_t>();
  class_links_ = reader.get_all<std::uint64_t>();
  ACCRETE_DO(shortlist_.load(reader.get_text()));
  ACCRETE_DO(choice_.load(reader.get_text()));
  ACCRETE_DO(mixer_->load(reader.get_text()));
  for (auto& metrics : metrics_)
    ACCRETE_DO(metrics.load(reader.get_text()));
  if (!reader.done() || classes_.size() > kNetworkItems || class_links_.size() != classes_.size()) {
    return Error{Errc::Corruption, "task \"" + plan_.name + "\": stored learners do not decode"};
  }
  for (std::size_t k = 0; k < classes_.size(); ++k) {
    const std::uint32_t item = classes_[k];
    if (item >= class_of_.size()) class_of_.resize(item + std::size_t{1}, 0);
    class_of_[item] = static_cast<std::uint32_t>(k + 1);
  }
  return Ok{};
}

Status RankTask::load(store::State& state) {
  std::string bytes;
  ACCRETE_TRY(const bool learners, state.get(Section::Blobs, plan_.name + "/learners", bytes));
  if (learners) ACCRETE_DO(load_learners(bytes));
  learners_dirty_ = false;
  ACCRETE_DO(drift_.load(plan_.name, state));
  if (network_ != nullptr) ACCRETE_DO(network_->load(state));
  ACCRETE_TRY(const bool position, state.get(Section::Blobs, plan_.name + "/position", bytes));
  if (position) {
    ByteReader reader(bytes);
    load_queues(reader);
    if (!reader.done()) {
      return Error{Errc::Corruption,
                   "task \"" + plan_.name + "\": stored position does not decode"};
    }
  }
  return pending_.load(state);
}

}  // namespace accrete::daemon
