// When a copy is due, its sums, its state.
#include "daemon/network_ridge.h"

#include <algorithm>
#include <map>
#include <utility>

#include "daemon/saved.h"
#include "proto/bytes.h"

namespace accrete::daemon {
namespace {

// λ of the vectors' columns: of a number times the columns, as in the other ridges; of classes a
// share of their mean diagonal. Chosen on validation (bench/RESULTS-NETWORK.md).
constexpr double kNumberLambda = 100;
constexpr double kClassLambda = 0.05;

constexpr std::uint64_t kGrowth = 4;  // a new copy once labels grew by one in so many

models::JoinedRidgeOptions ridge_options(TaskKind kind, std::size_t base, std::size_t width) {
  models::JoinedRidgeOptions options;
  options.classes = kind == TaskKind::Multiclass || base > 0;
  options.base = base;
  options.joined = width;
  options.lambda = options.classes ? kClassLambda : kNumberLambda;
  return options;
}

/// A network with its parts in one piece.
std::string bytes_of(const models::ExpertNetwork<float>& network) {
  std::string out;
  ByteWriter writer(out);
  put_saved(writer, network);
  for (const auto& part : network.parts()) {
    std::string bytes;
    network.save_part(part.id, bytes);
    writer.put(part.id);
    writer.put_text(bytes);
  }
  return out;
}

Error corrupt() {
  return Error{Errc::Corruption, "stored network-ridge does not decode"};
}

Status read_network(std::string_view bytes, models::ExpertNetwork<float>& network) {
  ByteReader reader(bytes);
  const std::string_view frame = reader.get_text();
  std::map<std::uint64_t, std::string_view> parts;
  while (reader.ok() && !reader.done()) {
    const auto id = reader.get<std::uint64_t>();
    parts[id] = reader.get_text();
  }
  if (!reader.done()) return corrupt();
  return network.load(frame, [&](std::uint64_t id) -> Result<std::string> {
    const auto found = parts.find(id);
    if (found == parts.end()) return corrupt();
    return std::string(found->second);
  });
}

}  // namespace

NetworkRidge::NetworkRidge(TaskKind kind, std::size_t base, std::size_t width)
    : options_(ridge_options(kind, base, width)), sums_(options_) {}

void NetworkRidge::add(const NetworkExample& example) {
  ++labels_;
  if (rest_ == nullptr || options_.base > 0) return;  // all is read from memory by the next copy
  if (options_.classes && example.label >= kClassesMax) return;
  fresh_.push_back(example);
}

bool NetworkRidge::is_due(const Moment& now) const {
  if (rest_ == nullptr) return true;
  const bool new_class = now.classes > at_rest_.classes && at_rest_.classes < kClassesMax;
  if (new_class) return true;
  const std::uint64_t more = labels_ - labels_at_rest_;
  if (more < kLabelsMin) return false;
  return more * kGrowth >= labels_at_rest_ || now.block != at_rest_.block ||
         now.events != at_rest_.events;
}

void NetworkRidge::rest(models::ExpertNetwork<float> network, const Moment& now) {
  rest_ = std::make_unique<models::ExpertNetwork<float>>(std::move(network));
  // As it is now: questions may give it columns before it is written, which must leave no trace.
  rest_bytes_ = bytes_of(*rest_);
  sums_ = models::JoinedRidge<float>(options_);
  weights_.resize(0, 0);  // they were of the copy before
  at_rest_ = now;
  labels_at_rest_ = labels_;
}

void NetworkRidge::learn(const Eigen::MatrixXf& base, const models::RowMatrix<float>& vectors,
                         std::span<const double> targets) {
  sums_.learn(base, vectors, targets);
  fresh_.clear();
}

Eigen::MatrixXf NetworkRidge::fit(const models::BalancedClasses<float>* before) {
  const Eigen::MatrixXf all = sums_.solve(before);
  if (all.size() == 0) return {};
  const auto base = static_cast<Eigen::Index>(options_.base);
  weights_ = all.bottomRows(all.rows() - base);
  if (base > 0) sums_ = models::JoinedRidge<float>(options_);
  return all.topRows(base);
}

void NetworkRidge::score(std::span<const float> vector, std::vector<double>& out) const {
  const auto width = static_cast<Eigen::Index>(vector.size());
  ACCRETE_CHECK(fitted() && width + 1 == weights_.rows());
  out.clear();
  for (Eigen::Index c = 0; c < weights_.cols(); ++c) {
    double sum = static_cast<double>(weights_(width, c));
    for (Eigen::Index j = 0; j < width; ++j) {
      sum += static_cast<double>(weights_(j, c)) *
             static_cast<double>(vector[static_cast<std::size_t>(j)]);
    }
    out.push_back(sum);
  }
}

std::size_t NetworkRidge::memory_bytes() const {
  return (rest_ == nullptr ? 0 : rest_->memory_bytes() + rest_->room()) + rest_bytes_.capacity() +
         sums_.memory_bytes() + static_cast<std::size_t>(weights_.size()) * sizeof(float) +
         fresh_.capacity() * sizeof(NetworkExample);
}

void NetworkRidge::save(std::string& out) const {
  models::StateWriter writer(out);
  sums_.save(writer);
  writer.u64(static_cast<std::uint64_t>(weights_.rows()));
  writer.u64(static_cast<std::uint64_t>(weights_.cols()));
  writer.raw(weights_.data(), static_cast<std::size_t>(weights_.size()) * sizeof(float));
  for (const std::uint64_t number :
       {labels_, labels_at_rest_, at_rest_.classes, at_rest_.block, at_rest_.events})
    writer.u64(number);
  writer.u64(fresh_.size());
  for (const NetworkExample& example : fresh_) {
    writer.u32(example.row);
    writer.f64(example.label);
    writer.u64(static_cast<std::uint64_t>(example.at.value));
    writer.u32(example.block);
    writer.f64(example.start);
  }
}

Status NetworkRidge::load(std::string_view bytes, std::string_view rest,
                          models::ExpertNetwork<float> network) {
  models::StateReader reader(bytes);
  sums_.load(reader, kClassesMax);
  const std::uint64_t rows = reader.u64();
  const std::uint64_t cols = reader.u64();
  reader.require((rows == 0 && cols == 0) ||
                 (rows == options_.joined + 1 && cols > 0 && cols <= kClassesMax));
  if (!reader.failed())
    weights_.resize(static_cast<Eigen::Index>(rows), static_cast<Eigen::Index>(cols));
  reader.raw(weights_.data(), static_cast<std::size_t>(weights_.size()) * sizeof(float));
  for (std::uint64_t* const number :
       {&labels_, &labels_at_rest_, &at_rest_.classes, &at_rest_.block, &at_rest_.events})
    *number = reader.u64();
  constexpr std::size_t kExampleBytes = 2 * sizeof(std::uint32_t) + 3 * sizeof(double);
  fresh_.resize(reader.count(kExampleBytes));
  for (NetworkExample& example : fresh_) {
    example.row = reader.u32();
    example.label = reader.f64();
    example.at.value = static_cast<std::int64_t>(reader.u64());
    example.block = reader.u32();
    example.start = reader.f64();
  }
  reader.require(!fitted() || !rest.empty());
  ACCRETE_DO(reader.finish(kName));
  if (rest.empty()) return Ok{};
  ACCRETE_DO(read_network(rest, network));
  rest_ = std::make_unique<models::ExpertNetwork<float>>(std::move(network));
  return Ok{};
}

}  // namespace accrete::daemon
