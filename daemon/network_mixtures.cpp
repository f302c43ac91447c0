// One mixture a block and layer, one a class; and their state.
#include "daemon/network_mixtures.h"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "daemon/saved.h"
#include "proto/bytes.h"

namespace accrete::daemon {
namespace {

using store::Section;

constexpr std::uint64_t kHeadSeed = 0x4845'4144;
constexpr std::size_t kAllColumns = std::numeric_limits<std::size_t>::max();

/// `axes`: columns of vectors, which vary together.
models::MixtureOptions mixture_options(std::size_t axes) {
  models::MixtureOptions options;
  options.axes = axes;
  return options;
}

std::size_t each_of(std::size_t count, std::size_t mixtures) {
  return std::max<std::size_t>(count / std::max<std::size_t>(mixtures, 1), 1);
}

}  // namespace

NetworkMixtures::NetworkMixtures(std::size_t layers, std::uint64_t seed) : seed_(seed) {
  ACCRETE_CHECK(layers > 0);
  for (std::size_t l = 0; l < layers; ++l)
    gates_.emplace_back(mixture_options(kAllColumns), seed + l);
}

void NetworkMixtures::add(std::uint32_t block, std::span<const models::RowMatrix<float>> gates,
                          const HeadRows& head) {
  ACCRETE_CHECK(gates.size() == gates_.size());
  ACCRETE_CHECK(head.classes.size() == static_cast<std::size_t>(head.vectors.rows()));
  for (std::size_t l = 0; l < gates.size(); ++l) {
    gates_[l].add(block, gates[l]);
    if (gates_[l].size() > kBlocksMax) gates_[l].drop_lowest();
  }
  std::map<std::uint32_t, std::vector<std::size_t>> by_class;
  for (std::size_t i = 0; i < head.classes.size(); ++i)
    by_class[head.classes[i]].push_back(i);
  for (const auto& [label, rows] : by_class)
    add_class(label, head, rows);
  dirty_ = true;
}

/// Of these rows of `head`.
void NetworkMixtures::add_class(std::uint32_t label, const HeadRows& head,
                                std::span<const std::size_t> rows) {
  OfClass own;
  own.label = label;
  std::vector<const models::RowMatrix<float>*> parts{&head.vectors};
  for (const models::RowMatrix<float>& source : head.told)
    parts.push_back(&source);
  Eigen::Index width = 0;
  for (const models::RowMatrix<float>* part : parts) {
    own.columns.push_back(static_cast<std::uint32_t>(part->cols()));
    width += part->cols();
  }
  models::RowMatrix<float> joined(static_cast<Eigen::Index>(rows.size()), width);
  Eigen::Index first = 0;
  for (const models::RowMatrix<float>* part : parts) {
    for (std::size_t i = 0; i < rows.size(); ++i) {
      joined.row(static_cast<Eigen::Index>(i)).segment(first, part->cols()) =
          part->row(static_cast<Eigen::Index>(rows[i]));
    }
    first += part->cols();
  }
  own.mixture = models::GaussianMixture::fit(joined, mixture_options(own.columns.front()),
                                             Rng(seed_ ^ kHeadSeed, next_++, Purpose::Training));
  head_.push_back(std::move(own));
  if (head_.size() > kClassesMax) head_.erase(head_.begin());
}

NetworkMixtures::Drawn NetworkMixtures::draw(std::size_t count, Rng rng) const {
  ACCRETE_CHECK(blocks() > 0);
  Drawn drawn;
  for (const models::BlockMixtures& layer : gates_)
    drawn.gates.push_back(layer.pseudo_rows(each_of(count, layer.size()), rng));
  if (!head_.empty()) draw_head(each_of(count, head_.size()), rng, drawn.head);
  return drawn;
}

/// `count` of each class.
void NetworkMixtures::draw_head(std::size_t count, Rng& rng, HeadRows& out) const {
  std::vector<std::uint32_t> columns = head_.front().columns;
  for (const OfClass& own : head_) {
    for (std::size_t p = 0; p < columns.size(); ++p)
      columns[p] = std::max(columns[p], own.columns[p]);
  }
  const auto rows = static_cast<Eigen::Index>(count * head_.size());
  out.vectors.resize(rows, static_cast<Eigen::Index>(columns.front()));
  for (const std::uint32_t width : std::span(columns).subspan(1))
    out.told.emplace_back().setZero(rows, static_cast<Eigen::Index>(width));
  const auto each = static_cast<Eigen::Index>(count);
  for (std::size_t k = 0; k < head_.size(); ++k) {
    const OfClass& own = head_[k];
    const models::RowMatrix<float> joined = own.mixture.sample(count, rng);
    Eigen::Index first = 0;
    for (std::size_t p = 0; p < own.columns.size(); ++p) {
      models::RowMatrix<float>& part = p == 0 ? out.vectors : out.told[p - 1];
      const auto width = static_cast<Eigen::Index>(own.columns[p]);
      part.block(static_cast<Eigen::Index>(k) * each, 0, each, width) =
          joined.middleCols(first, width);
      first += width;
    }
    out.classes.insert(out.classes.end(), count, own.label);
  }
}

std::uint32_t NetworkMixtures::standing_for(std::uint32_t block) const {
  const std::vector<std::uint32_t> known = gates_.front().blocks();
  const auto after = std::ranges::upper_bound(known, block);
  ACCRETE_CHECK(after != known.begin());
  return *std::prev(after);
}

std::vector<std::uint32_t> NetworkMixtures::likeliest(std::size_t layer,
                                                      const models::RowMatrix<float>& rows) const {
  return gates_[layer].likeliest(rows);
}

std::size_t NetworkMixtures::memory_bytes() const {
  std::size_t bytes = 0;
  for (const OfClass& own : head_)
    bytes += own.mixture.memory_bytes();
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
  writer.put(static_cast<std::uint64_t>(head_.size()));
  for (const OfClass& own : head_) {
    writer.put(own.label);
    writer.put_all(std::span(own.columns));
    put_saved(writer, own.mixture);
  }
  writer.put(next_);
  state.put(Section::Blobs, key, bytes);
}

Status NetworkMixtures::load_bytes(std::string_view bytes) {
  ByteReader reader(bytes);
  for (models::BlockMixtures& layer : gates_)
    ACCRETE_DO(layer.load(reader.get_text()));
  const auto classes = reader.get<std::uint64_t>();
  bool sound = classes <= kClassesMax;
  for (std::uint64_t k = 0; k < classes && sound && reader.ok(); ++k) {
    OfClass& own = head_.emplace_back();
    own.label = reader.get<std::uint32_t>();
    own.columns = reader.get_all<std::uint32_t>();
    ACCRETE_DO(own.mixture.load(reader.get_text()));
    std::size_t width = 0;
    for (const std::uint32_t columns : own.columns)
      width += columns;
    const std::vector<std::uint32_t>& first = head_.front().columns;
    sound = width == own.mixture.width() && own.columns.size() == first.size() &&
            own.columns.front() == first.front();
  }
  next_ = reader.get<std::uint32_t>();
  const auto as_first = [&](const models::BlockMixtures& layer) {
    return layer.size() == gates_.front().size();
  };
  if (sound && reader.done() && std::ranges::all_of(gates_, as_first)) return Ok{};
  return Error{Errc::Corruption, "stored mixtures of a network do not decode"};
}

Status NetworkMixtures::load(const std::string& key, const store::State& state) {
  std::string bytes;
  ACCRETE_TRY(const bool stored, state.get(Section::Blobs, key, bytes));
  if (!stored) return Ok{};
  return load_bytes(bytes);
}

}  // namespace accrete::daemon
