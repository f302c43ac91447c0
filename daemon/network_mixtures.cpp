// One mixture a block and layer, one a class; and their state.
#include "daemon/network_mixtures.h"

#include <algorithm>
#include <map>
#include <utility>

#include "daemon/saved.h"
#include "proto/bytes.h"

namespace accrete::daemon {
namespace {

using store::Section;

constexpr std::uint64_t kHeadSeed = 0x4845'4144;

std::size_t each_of(std::size_t count, std::size_t mixtures) {
  return std::max<std::size_t>(count / std::max<std::size_t>(mixtures, 1), 1);
}

}  // namespace

NetworkMixtures::NetworkMixtures(std::size_t layers, std::uint64_t seed)
    : head_({}, seed ^ kHeadSeed) {
  ACCRETE_CHECK(layers > 0);
  for (std::size_t l = 0; l < layers; ++l)
    gates_.emplace_back(models::MixtureOptions{}, seed + l);
}

void NetworkMixtures::add(std::uint32_t block, std::span<const models::RowMatrix<float>> gates,
                          const models::RowMatrix<float>& head,
                          std::span<const std::uint32_t> classes) {
  ACCRETE_CHECK(gates.size() == gates_.size());
  ACCRETE_CHECK(classes.size() == static_cast<std::size_t>(head.rows()));
  for (std::size_t l = 0; l < gates.size(); ++l) {
    gates_[l].add(block, gates[l]);
    if (gates_[l].size() > kBlocksMax) gates_[l].drop_lowest();
  }
  std::map<std::uint32_t, std::vector<Eigen::Index>> by_class;
  for (std::size_t i = 0; i < classes.size(); ++i)
    by_class[classes[i]].push_back(static_cast<Eigen::Index>(i));
  for (const auto& [label, places] : by_class) {
    models::RowMatrix<float> rows(static_cast<Eigen::Index>(places.size()), head.cols());
    for (std::size_t i = 0; i < places.size(); ++i)
      rows.row(static_cast<Eigen::Index>(i)) = head.row(places[i]);
    head_.add(next_++, rows);
    classes_.push_back(label);
    if (head_.size() <= kClassesMax) continue;
    head_.drop_lowest();
    classes_.erase(classes_.begin());
  }
  dirty_ = true;
}

NetworkMixtures::Drawn NetworkMixtures::draw(std::size_t count, Rng rng) const {
  ACCRETE_CHECK(blocks() > 0);
  Drawn drawn;
  for (const models::BlockMixtures& layer : gates_)
    drawn.gates.push_back(layer.pseudo_rows(each_of(count, layer.size()), rng));
  if (classes_.empty()) return drawn;
  const std::size_t each = each_of(count, classes_.size());
  drawn.head = head_.pseudo_rows(each, rng);
  for (std::size_t i = 0; i < drawn.head.blocks.size(); ++i)
    drawn.head.blocks[i] = classes_[i / each];
  return drawn;
}

std::vector<std::uint32_t> NetworkMixtures::likeliest(std::size_t layer,
                                                      const models::RowMatrix<float>& rows) const {
  return gates_[layer].likeliest(rows);
}

std::size_t NetworkMixtures::memory_bytes() const {
  std::size_t bytes = head_.memory_bytes();
  for (const models::BlockMixtures& layer : gates_)
    bytes += layer.memory_bytes();
  return bytes;
}

void NetworkMixtures::stage(const std::string& key, store::State& state) {
  if (!std::exchange(dirty_, false)) return;
  std::string bytes;
  ByteWriter writer(bytes);
  for (const models::BlockMixtures& layer : gates_)
    put_saved(writer, layer);
  put_saved(writer, head_);
  writer.put_all(std::span(std::as_const(classes_)));
  writer.put(next_);
  state.put(Section::Blobs, key, bytes);
}

Status NetworkMixtures::load_bytes(std::string_view bytes) {
  ByteReader reader(bytes);
  for (models::BlockMixtures& layer : gates_)
    ACCRETE_DO(layer.load(reader.get_text()));
  ACCRETE_DO(head_.load(reader.get_text()));
  classes_ = reader.get_all<std::uint32_t>();
  next_ = reader.get<std::uint32_t>();
  const auto as_first = [&](const models::BlockMixtures& layer) {
    return layer.size() == gates_.front().size();
  };
  if (reader.done() && classes_.size() == head_.size() && std::ranges::all_of(gates_, as_first))
    return Ok{};
  return Error{Errc::Corruption, "stored mixtures of a network do not decode"};
}

Status NetworkMixtures::load(const std::string& key, const store::State& state) {
  std::string bytes;
  ACCRETE_TRY(const bool stored, state.get(Section::Blobs, key, bytes));
  if (!stored) return Ok{};
  return load_bytes(bytes);
}

}  // namespace accrete::daemon
