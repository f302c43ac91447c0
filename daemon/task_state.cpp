// What a task keeps across restarts: learners, label histories by page, pending predictions.
#include <algorithm>
#include <charconv>

#include "daemon/saved.h"
#include "daemon/task.h"
#include "proto/bytes.h"

namespace accrete::daemon {
namespace {

using store::Section;

constexpr std::uint32_t kHistoryPageRows = 256;

/// Big-endian, so that pages are scanned in row order.
std::string history_key(const std::string& task, std::uint32_t page) {
  std::string key = task + "/history/";
  for (int shift = 24; shift >= 0; shift -= 8) {
    key.push_back(static_cast<char>((page >> shift) & 0xFF));
  }
  return key;
}

std::uint32_t page_of(std::string_view key) {
  std::uint32_t page = 0;
  for (const char byte : key.substr(key.size() - 4)) {
    page = page << 8 | static_cast<std::uint8_t>(byte);
  }
  return page;
}

/// Where a large piece of the learners' state is kept.
std::string part_key(const std::string& task, std::uint64_t id) {
  std::string key = task + "/learners/part/";
  for (int shift = 56; shift >= 0; shift -= 8) {
    key.push_back(static_cast<char>((id >> shift) & 0xFF));
  }
  return key;
}

Error corrupt(const std::string& task, const char* what) {
  return Error{Errc::Corruption, "task \"" + task + "\": stored " + what + " does not decode"};
}

}  // namespace

/// Write the parts that are new or changed since they were stored, drop those that are gone.
void Task::stage_parts(store::State& state) {
  std::map<std::uint64_t, std::uint64_t> now;
  for (const auto& part : learners_->parts()) {
    now.emplace(part.id, part.version);
    const auto stored = stored_parts_.find(part.id);
    if (stored != stored_parts_.end() && stored->second == part.version) continue;
    std::string bytes;
    learners_->save_part(part.id, bytes);
    state.put(Section::Blobs, part_key(plan_.name, part.id), bytes);
  }
  for (const auto& [id, version] : stored_parts_) {
    if (!now.contains(id)) state.erase(Section::Blobs, part_key(plan_.name, id));
  }
  stored_parts_ = std::move(now);
}

void Task::save_learners(std::string& out) const {
  ByteWriter writer(out);
  writer.put(labels_);
  writer.put(taught_between_);
  writer.put(static_cast<std::uint64_t>(class_names_.size()));
  for (const std::string& name : class_names_)
    writer.put_text(name);
  put_saved(writer, *learners_);
  put_saved(writer, *mixer_);
  put_saved(writer, conformal_);
  if (on_heads_ != nullptr) put_saved(writer, *on_heads_);
  for (const auto& metrics : metrics_)
    put_saved(writer, metrics);
}

Status Task::load_learners(std::string_view bytes, store::State& state) {
  ByteReader reader(bytes);
  labels_ = reader.get<std::uint64_t>();
  taught_between_ = reader.get<std::uint64_t>();
  const auto classes = reader.get<std::uint64_t>();
  for (std::uint64_t k = 0; k < classes && reader.ok(); ++k) {
    class_names_.emplace_back(reader.get_text());
    class_index_.emplace(class_names_.back(), static_cast<std::uint32_t>(k));
  }
  const auto read_part = [&](std::uint64_t id) -> Result<std::string> {
    ACCRETE_TRY(auto part, state.get(Section::Blobs, part_key(plan_.name, id)));
    if (!part) return corrupt(plan_.name, "examples");
    return std::move(*part);
  };
  ACCRETE_DO(learners_->load(reader.get_text(), read_part));
  for (const auto& part : learners_->parts())
    stored_parts_.emplace(part.id, part.version);
  ACCRETE_DO(mixer_->load(reader.get_text()));
  ACCRETE_DO(conformal_.load(reader.get_text()));
  if (on_heads_ != nullptr) ACCRETE_DO(on_heads_->load(reader.get_text()));
  for (auto& metrics : metrics_)
    ACCRETE_DO(metrics.load(reader.get_text()));
  if (!reader.done()) return corrupt(plan_.name, "learners");
  return Ok{};
}

void Task::stage(store::State& state) {
  if (learners_dirty_) {
    std::string learners;
    save_learners(learners);
    state.put(Section::Blobs, plan_.name + "/learners", learners);
    stage_parts(state);
    learners_dirty_ = false;
  }
  drift_.stage(plan_.name, state);
  if (network_ != nullptr) network_->stage(state);
  std::string rest;
  ByteWriter writer(rest);
  features_->stage(state);
  save_queues(writer);
  writer.put(next_training_.value);
  writer.put(parts_);
  state.put(Section::Blobs, plan_.name + "/position", rest);

  std::set<std::uint32_t> pages;
  for (const std::uint32_t row : dirty_histories_)
    pages.insert(row / kHistoryPageRows);
  dirty_histories_.clear();
  for (const std::uint32_t page : pages) {
    std::string bytes;
    const std::size_t end =
        std::min<std::size_t>(histories_.size(), (page + std::size_t{1}) * kHistoryPageRows);
    for (std::size_t row = std::size_t{page} * kHistoryPageRows; row < end; ++row) {
      models::append_history(bytes, histories_[row]);
    }
    state.put(Section::Labels, history_key(plan_.name, page), bytes);
  }
  pending_.stage(state);
}

Status Task::load(store::State& state) {
  ACCRETE_TRY(const auto learners, state.get(Section::Blobs, plan_.name + "/learners"));
  if (learners) ACCRETE_DO(load_learners(*learners, state));
  learners_dirty_ = false;
  ACCRETE_DO(drift_.load(plan_.name, state));
  if (network_ != nullptr) ACCRETE_DO(network_->load(state));
  ACCRETE_DO(features_->load(state));
  std::string rest;
  ACCRETE_TRY(const bool has_rest, state.get(Section::Blobs, plan_.name + "/position", rest));
  if (has_rest) {
    ByteReader reader(rest);
    load_queues(reader);
    next_training_.value = reader.get<std::int64_t>();
    parts_ = reader.get<std::uint32_t>();
    if (parts_ == 0) return corrupt(plan_.name, "position");
    if (!reader.done()) return corrupt(plan_.name, "position");
  }
  Status decoded = Ok{};
  ACCRETE_DO(state.scan(Section::Labels, plan_.name + "/history/",
                        [&](std::string_view key, std::string_view value) {
                          histories_.resize(std::size_t{page_of(key)} * kHistoryPageRows);
                          while (!value.empty() && decoded) {
                            histories_.emplace_back();
                            decoded = models::read_history(value, histories_.back());
                          }
                          return bool(decoded);
                        }));
  ACCRETE_DO(std::move(decoded));
  return pending_.load(state);
}

}  // namespace accrete::daemon
