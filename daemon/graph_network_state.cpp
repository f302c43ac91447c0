// What a graph network keeps across restarts: the network by its parts, its memory, its place.
#include <optional>
#include <utility>

#include "daemon/graph_network.h"
#include "daemon/saved.h"
#include "proto/bytes.h"

namespace accrete::daemon {

using store::Section;

namespace {

// Where the parts of each network are kept.
constexpr std::string_view kLearner = "part/";
constexpr std::string_view kMean = "mean/";

void put_event(ByteWriter& writer, const ExpertEvent& event) {
  writer.put(static_cast<std::uint8_t>(event.kind));
  writer.put(event.at.value);
  writer.put(event.block);
  writer.put_all(std::span(event.parents));
  writer.put(event.first);
  writer.put(event.worst_block);
  writer.put(event.loss_before);
  writer.put(event.loss_after);
  writer.put(event.rise_before);
  writer.put(event.rise_after);
  writer.put(static_cast<std::uint8_t>(event.sharper));
}

/// Nothing: no kind of event that there is.
std::optional<ExpertEvent> get_event(ByteReader& reader) {
  ExpertEvent event;
  const auto kind = reader.get<std::uint8_t>();
  if (kind > static_cast<std::uint8_t>(ExpertEvent::Kind::Freeze)) return std::nullopt;
  event.kind = static_cast<ExpertEvent::Kind>(kind);
  event.at.value = reader.get<std::int64_t>();
  event.block = reader.get<std::uint32_t>();
  event.parents = reader.get_all<std::uint32_t>();
  event.first = reader.get<std::uint32_t>();
  event.worst_block = reader.get<std::uint32_t>();
  event.loss_before = reader.get<double>();
  event.loss_after = reader.get<double>();
  event.rise_before = reader.get<double>();
  event.rise_after = reader.get<double>();
  event.sharper = reader.get<std::uint8_t>() != 0;
  return event;
}

}  // namespace

std::string GraphNetwork::part_key(std::string_view network, std::uint64_t id) const {
  std::string out = key(network);
  for (int shift = 56; shift >= 0; shift -= 8)
    out.push_back(static_cast<char>((id >> shift) & 0xFF));
  return out;
}

/// Only experts that changed are written; those of the mean have the same versions.
void GraphNetwork::stage_network(store::State& state) {
  std::map<std::uint64_t, std::uint64_t> now;
  for (const auto& part : network_->parts()) {
    now.emplace(part.id, part.version);
    const auto stored = stored_parts_.find(part.id);
    if (stored != stored_parts_.end() && stored->second == part.version) continue;
    std::string bytes;
    network_->save_part(part.id, bytes);
    state.put(Section::Blobs, part_key(kLearner, part.id), bytes);
    if (averaged_ == nullptr) continue;
    bytes.clear();
    averaged_->save_part(part.id, bytes);
    state.put(Section::Blobs, part_key(kMean, part.id), bytes);
  }
  for (const auto& [id, version] : stored_parts_) {
    if (now.contains(id)) continue;
    state.erase(Section::Blobs, part_key(kLearner, id));
    if (averaged_ != nullptr) state.erase(Section::Blobs, part_key(kMean, id));
  }
  stored_parts_ = std::move(now);
}

void GraphNetwork::stage(store::State& state) {
  ACCRETE_CHECK(told_ == events_.size());
  metrics_.stage(key("metrics"), state);
  stage_ridge(state);
  if (!dirty_) return;
  std::string bytes;
  ByteWriter writer(bytes);
  writer.put(owed_);
  writer.put(steps_);
  writer.put(nodes_a_seed_);
  writer.put(classes_);
  writer.put(labels_);
  writer.put(mean_);
  writer.put(squares_);
  writer.put(centre_);
  writer.put(unit_);
  writer.put(unit_due_);
  writer.put_all(std::span(std::as_const(first_blocks_)));
  writer.put_all(std::span(std::as_const(refused_)));
  writer.put(without_room_);
  writer.put(events_past_);
  writer.put(static_cast<std::uint64_t>(events_.size()));
  for (const ExpertEvent& event : events_)
    put_event(writer, event);
  put_saved(writer, signals_);
  writer.put(prior_);
  writer.put(static_cast<std::uint8_t>(network_ != nullptr));
  if (network_ != nullptr) {
    put_saved(writer, *network_);
    if (averaged_ != nullptr) put_saved(writer, *averaged_);
    stage_network(state);
  }
  state.put(Section::Blobs, key("position"), bytes);
  memory_.stage(key(""), state);
  mixtures_.stage(key("mixtures"), state);
  dirty_ = false;
}

Result<std::unique_ptr<models::ExpertNetwork<float>>> GraphNetwork::load_network(
    std::string_view name, std::string_view bytes, store::State& state) const {
  auto network = std::make_unique<models::ExpertNetwork<float>>(kind_, options());
  const auto read_part = [&](std::uint64_t id) -> Result<std::string> {
    ACCRETE_TRY(auto part, state.get(Section::Blobs, part_key(name, id)));
    if (!part) {
      return Error{Errc::Corruption, "task \"" + name_ + "\": an expert of the network is missing"};
    }
    return std::move(*part);
  };
  ACCRETE_DO(network->load(bytes, read_part));
  return network;
}

Status GraphNetwork::load(store::State& state) {
  ACCRETE_DO(metrics_.load(key("metrics"), state));
  ACCRETE_DO(load_ridge(state));
  std::string position;
  ACCRETE_TRY(const bool stored, state.get(Section::Blobs, key("position"), position));
  if (!stored) return Ok{};
  ByteReader reader(position);
  owed_ = reader.get<std::uint64_t>();
  steps_ = reader.get<std::uint64_t>();
  nodes_a_seed_ = reader.get<double>();
  classes_ = reader.get<std::uint64_t>();
  labels_ = reader.get<std::uint64_t>();
  mean_ = reader.get<double>();
  squares_ = reader.get<double>();
  centre_ = reader.get<double>();
  unit_ = reader.get<double>();
  unit_due_ = reader.get<std::uint64_t>();
  first_blocks_ = reader.get_all<std::uint32_t>();
  refused_ = reader.get_all<std::uint32_t>();
  without_room_ = reader.get<std::uint32_t>();
  events_past_ = reader.get<std::uint64_t>();
  const auto events = reader.get<std::uint64_t>();
  for (std::uint64_t i = 0; i < events && reader.ok(); ++i) {
    std::optional<ExpertEvent> event = get_event(reader);
    if (!event) {
      return Error{Errc::Corruption, "task \"" + name_ + "\": stored network does not decode"};
    }
    events_.push_back(std::move(*event));
  }
  told_ = events_.size();
  ACCRETE_DO(signals_.load(reader.get_text()));
  prior_ = reader.get<double>();
  if (reader.get<std::uint8_t>() != 0) {
    ACCRETE_TRY(network_, load_network(kLearner, reader.get_text(), state));
    if (world_.config().mean_steps > 0) {
      ACCRETE_TRY(averaged_, load_network(kMean, reader.get_text(), state));
    }
    for (const auto& part : network_->parts())
      stored_parts_.emplace(part.id, part.version);
  }
  if (!reader.done() || first_blocks_.size() != experts()) {
    return Error{Errc::Corruption, "task \"" + name_ + "\": stored network does not decode"};
  }
  ACCRETE_DO(mixtures_.load(key("mixtures"), state));
  return memory_.load(key(""), state);
}

}  // namespace accrete::daemon
