// What a task on a column of the row keeps across restarts.
#include "daemon/row_task.h"
#include "daemon/saved.h"
#include "proto/bytes.h"

namespace accrete::daemon {
namespace {

using store::Section;

}  // namespace

void RowTask::stage(store::State& state) {
  if (learners_dirty_) {
    std::string bytes;
    ByteWriter writer(bytes);
    writer.put(labels_);
    writer.put(static_cast<std::uint64_t>(class_names_.size()));
    for (const std::string& name : class_names_)
      writer.put_text(name);
    std::string history;
    models::append_history(history, history_);
    writer.put_text(history);
    put_saved(writer, *learners_);
    put_saved(writer, *own_learners_);
    put_saved(writer, *mixer_);
    if (request_weights_) put_saved(writer, *request_weights_);
    if (on_heads_) put_saved(writer, *on_heads_);
    for (const auto& metrics : metrics_)
      put_saved(writer, metrics);
    state.put(Section::Blobs, plan_.name + "/learners", bytes);
    learners_dirty_ = false;
  }
  drift_.stage(plan_.name, state);
  if (propagation_) propagation_->stage(state);
  if (network_) network_->stage(state);
  if (shown_) shown_->stage(state);
  features_.stage(state);
  std::string position;
  ByteWriter writer(position);
  writer.put(settled_);
  writer.put(static_cast<std::uint8_t>(unsettled_));
  writer.put(shed_);
  writer.put(unusable_);
  writer.put(static_cast<std::uint64_t>(republished_.size()));
  for (const auto& [row, time] : republished_) {
    writer.put(row);
    writer.put(time.value);
  }
  writer.put(static_cast<std::uint64_t>(held_back_.size()));
  for (const auto& [time, row] : held_back_) {
    writer.put(row);
    writer.put(time.value);
  }
  state.put(Section::Blobs, plan_.name + "/position", position);
  waiting_.stage(state);
}

Status RowTask::load_learners(std::string_view bytes) {
  ByteReader reader(bytes);
  labels_ = reader.get<std::uint64_t>();
  const auto classes = reader.get<std::uint64_t>();
  for (std::uint64_t k = 0; k < classes && reader.ok(); ++k) {
    class_names_.emplace_back(reader.get_text());
    class_index_.emplace(class_names_.back(), static_cast<std::uint32_t>(k));
  }
  std::string_view history = reader.get_text();
  ACCRETE_DO(models::read_history(history, history_));
  // Learners of rows keep no examples, so their states have no parts.
  const auto no_parts = [](std::uint64_t) -> Result<std::string> {
    return Error{Errc::Corruption, "a part of learners that have none"};
  };
  ACCRETE_DO(learners_->load(reader.get_text(), no_parts));
  ACCRETE_DO(own_learners_->load(reader.get_text(), no_parts));
  ACCRETE_DO(mixer_->load(reader.get_text()));
  if (request_weights_) ACCRETE_DO(request_weights_->load(reader.get_text()));
  if (on_heads_) ACCRETE_DO(on_heads_->load(reader.get_text()));
  for (auto& metrics : metrics_)
    ACCRETE_DO(metrics.load(reader.get_text()));
  if (!reader.done() || !history.empty()) return corrupt("learners");
  return Ok{};
}

Status RowTask::load_position(std::string_view bytes) {
  ByteReader reader(bytes);
  settled_ = reader.get<std::uint64_t>();
  unsettled_ = reader.get<std::uint8_t>() != 0;
  shed_ = reader.get<std::uint64_t>();
  unusable_ = reader.get<std::uint64_t>();
  for (auto n = reader.get<std::uint64_t>(); n > 0 && reader.ok(); --n) {
    const auto row = reader.get<std::uint32_t>();
    republished_[row].value = reader.get<std::int64_t>();
  }
  for (auto n = reader.get<std::uint64_t>(); n > 0 && reader.ok(); --n) {
    const auto row = reader.get<std::uint32_t>();
    held_back_.insert({TimeUs{reader.get<std::int64_t>()}, row});
  }
  if (!reader.done()) return corrupt("position");
  return Ok{};
}

Error RowTask::corrupt(const char* what) const {
  return Error{Errc::Corruption,
               "task \"" + plan_.name + "\": stored " + what + " does not decode"};
}

Status RowTask::load(store::State& state) {
  std::string bytes;
  ACCRETE_TRY(const bool learners, state.get(Section::Blobs, plan_.name + "/learners", bytes));
  if (learners) ACCRETE_DO(load_learners(bytes));
  learners_dirty_ = false;
  ACCRETE_DO(drift_.load(plan_.name, state));
  if (propagation_) ACCRETE_DO(propagation_->load(state));
  if (network_) ACCRETE_DO(network_->load(state));
  if (shown_) ACCRETE_DO(shown_->load(state));
  ACCRETE_DO(features_.load(state));
  ACCRETE_TRY(const bool position, state.get(Section::Blobs, plan_.name + "/position", bytes));
  if (position) ACCRETE_DO(load_position(bytes));
  return waiting_.load(state);
}

}  // namespace accrete::daemon
