// What the propagation learners keep across restarts.
#include "daemon/propagation.h"
#include "proto/bytes.h"

namespace accrete::daemon {
namespace {

using store::Section;

constexpr std::size_t kClassesMax = 256;
constexpr std::size_t kColumnsMax = 1u << 16;

}  // namespace

/// Encoder and weights, and the ridge's sums: they change at fits only.
void Propagation::stage_fit(store::State& state) {
  std::string bytes;
  models::StateWriter fit(bytes);
  encoder_.save(fit);
  models::save_hop_weights(fit, softmax_);
  models::save_hop_weights(fit, ridge_weights_);
  state.put(Section::Blobs, key("fit"), bytes);
  bytes.clear();
  models::StateWriter sums(bytes);
  ridge_.save(sums);
  state.put(Section::Blobs, key("sums"), bytes);
  fitted_dirty_ = false;
}

void Propagation::stage(store::State& state) {
  if (fitted_dirty_) stage_fit(state);
  if (joined_dirty_) {
    std::string joined;
    models::StateWriter head(joined);
    models::save_hop_weights(head, joined_);
    state.put(Section::Blobs, key("joined"), joined);
    joined_dirty_ = false;
  }
  for (std::size_t p = 0; p < pages_.size(); ++p) {
    if (!pages_[p].dirty || pages_[p].labels.empty()) continue;
    const std::vector<std::uint8_t>& labels = pages_[p].labels;
    state.put(Section::Blobs, key("labels/") + std::to_string(p),
              {reinterpret_cast<const char*>(labels.data()), labels.size()});
    pages_[p].dirty = false;
  }
  std::string bytes;
  ByteWriter writer(bytes);
  writer.put(labelled_at_fit_);
  writer.put(classes_at_fit_);
  writer.put(static_cast<std::uint64_t>(pages_.size()));
  writer.put_all(std::span<const std::uint32_t>(fresh_));
  writer.put_all(std::span<const std::uint64_t>(class_rows_));
  state.put(Section::Blobs, key("position"), bytes);
}

Error Propagation::corrupt(const char* what) const {
  return Error{Errc::Corruption, "task \"" + name_ + "\": stored " + what +
                                     " of its propagation learners do not decode"};
}

Status Propagation::load_fit(std::string_view bytes) {
  models::StateReader reader(bytes);
  encoder_.load(reader);
  models::load_hop_weights(reader, kColumnsMax, kClassesMax, softmax_);
  models::load_hop_weights(reader, kColumnsMax, kClassesMax, ridge_weights_);
  return reader.finish("propagation");
}

Status Propagation::load_ridge(std::string_view bytes) {
  models::StateReader reader(bytes);
  ridge_.load(reader, kClassesMax);
  return reader.finish("propagation-ridge");
}

Status Propagation::load_labels(store::State& state) {
  std::string bytes;
  for (std::size_t p = 0; p < pages_.size(); ++p) {
    ACCRETE_TRY(const bool there,
                state.get(Section::Blobs, key("labels/") + std::to_string(p), bytes));
    if (!there) continue;
    pages_[p].labels.assign(bytes.begin(), bytes.end());
    pages_[p].dirty = false;
    if (pages_[p].labels.size() != kPageRows) return corrupt("labels");
    for (const std::uint8_t label : pages_[p].labels) {
      if (label == kNoLabel) continue;
      if (label >= class_rows_.size()) return corrupt("labels");
      ++labelled_;
    }
  }
  for (const std::uint32_t row : fresh_) {
    const std::size_t page = row / kPageRows;
    const bool known = page < pages_.size() && !pages_[page].labels.empty() &&
                       pages_[page].labels[row % kPageRows] != kNoLabel;
    if (!known) return corrupt("labels");
  }
  return Ok{};
}

Status Propagation::load(store::State& state) {
  std::string bytes;
  ACCRETE_TRY(const bool position, state.get(Section::Blobs, key("position"), bytes));
  if (!position) return Ok{};
  ByteReader reader(bytes);
  labelled_at_fit_ = reader.get<std::uint64_t>();
  classes_at_fit_ = reader.get<std::uint64_t>();
  const auto pages = reader.get<std::uint64_t>();
  fresh_ = reader.get_all<std::uint32_t>();
  class_rows_ = reader.get_all<std::uint64_t>();
  if (!reader.done() || pages > 0xFFFF || class_rows_.size() > kClassesMax)
    return corrupt("counts");
  pages_.resize(pages);
  ACCRETE_DO(load_labels(state));
  ACCRETE_TRY(const bool fit, state.get(Section::Blobs, key("fit"), bytes));
  if (fit) ACCRETE_DO(load_fit(bytes));
  ACCRETE_TRY(const bool sums, state.get(Section::Blobs, key("sums"), bytes));
  if (sums) ACCRETE_DO(load_ridge(bytes));
  ACCRETE_TRY(const bool joined, state.get(Section::Blobs, key("joined"), bytes));
  if (!joined) return Ok{};
  models::StateReader head(bytes);
  models::load_hop_weights(head, kColumnsMax, kClassesMax, joined_);
  return head.finish("a head joined to propagation");
}

}  // namespace accrete::daemon
