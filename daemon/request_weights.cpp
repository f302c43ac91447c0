// Held-out rows and the weights they give.
#include "daemon/request_weights.h"

#include <algorithm>

#include "models/opinion_pool.h"
#include "models/state_bytes.h"
#include "proto/rng.h"

namespace accrete::daemon {
namespace {

constexpr std::uint64_t kHeldOut = 32;     // one row in so many
constexpr std::size_t kExamplesMax = 512;  // .02 of standard error on an accuracy near .9: enough
constexpr std::size_t kExamplesMin = 8;    // fewer say too little to overrule the mixer
constexpr std::uint64_t kMaxHash = ~0ull / kHeldOut;

}  // namespace

RequestWeights::RequestWeights(TaskKind kind, std::size_t candidates, std::uint64_t seed)
    : kind_(kind), candidates_(candidates), seed_(seed) {}

std::uint64_t RequestWeights::hash(std::uint32_t row) const {
  return Rng(seed_, row, Purpose::Sample).next();
}

bool RequestWeights::holds_out(std::uint32_t row) const {
  return hash(row) < kMaxHash;
}

void RequestWeights::add(std::uint32_t row, double label) {
  ACCRETE_CHECK(holds_out(row));
  const Example example{hash(row), row, label};
  const auto place =
      std::lower_bound(examples_.begin(), examples_.end(), example,
                       [](const Example& a, const Example& b) { return a.order < b.order; });
  examples_.insert(place, example);
  if (examples_.size() > kExamplesMax) examples_.pop_back();
}

void RequestWeights::forget(std::uint32_t row) {
  std::erase_if(examples_, [&](const Example& example) { return example.row == row; });
}

void RequestWeights::say(std::span<const models::Output> outputs, double label) {
  ACCRETE_CHECK(outputs.size() == candidates_);
  for (const models::Output& output : outputs)
    said_.push_back(models::probability_of(kind_, output, label));
}

void RequestWeights::weigh() {
  if (said_.size() >= kExamplesMin * candidates_)
    weights_ = models::pool_weights(said_, candidates_);
  said_.clear();
}

void RequestWeights::combine(std::span<const models::Output> outputs, models::Output& mixed) const {
  models::pool_outputs(kind_, outputs, weights_, mixed);
}

void RequestWeights::save(std::string& out) const {
  models::StateWriter writer(out);
  writer.u64(examples_.size());
  for (const Example& example : examples_) {
    writer.u32(example.row);
    writer.f64(example.label);
  }
  writer.doubles(weights_);
}

Status RequestWeights::load(std::string_view bytes) {
  models::StateReader reader(bytes);
  std::vector<Example> examples;
  for (auto n = reader.count(12); n > 0 && !reader.failed(); --n) {
    const std::uint32_t row = reader.u32();
    examples.push_back({hash(row), row, reader.f64()});
  }
  std::vector<double> weights = reader.doubles();
  reader.require(weights.empty() || weights.size() == candidates_);
  ACCRETE_DO(reader.finish("request weights"));
  examples_ = std::move(examples);
  weights_ = std::move(weights);
  return Ok{};
}

}  // namespace accrete::daemon
