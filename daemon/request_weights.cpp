// Held-out rows and the weights they give.
#include "daemon/request_weights.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "models/opinion_pool.h"
#include "models/state_bytes.h"
#include "proto/rng.h"

namespace accrete::daemon {
namespace {

constexpr std::uint64_t kHeldOut = 32;     // one row in so many
constexpr std::size_t kExamplesMax = 512;  // .02 of standard error on an accuracy near .9: enough
constexpr std::size_t kExamplesMin = 8;    // fewer say too little to overrule the mixer
constexpr std::uint64_t kMaxHash = ~0ull / kHeldOut;

// Half octaves; the first is what is taken unless another gains.
constexpr std::array kExponents{1.0, 0.71, 1.41, 0.5, 2.0, 0.35, 2.83, 0.25, 4.0, 5.66, 8.0};
constexpr double kGainMin = 2;  // nats: a likelihood ratio that chance gives once in twenty

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

bool RequestWeights::forget(std::uint32_t row) {
  return std::erase_if(examples_, [&](const Example& example) { return example.row == row; }) > 0;
}

void RequestWeights::say(std::span<const models::Output> outputs, double label) {
  ACCRETE_CHECK(outputs.size() == candidates_);
  for (const models::Output& output : outputs) {
    for (const double exponent : kExponents) {
      const models::Output told = models::sharpened(kind_, output, exponent);
      said_.push_back(models::probability_of(kind_, told, label));
    }
  }
}

/// Of a candidate: the place in the grid of the exponent under which it explains the labels best.
std::size_t RequestWeights::exponent_of(std::size_t candidate) const {
  std::array<double, kExponents.size()> likelihood{};
  for (std::size_t i = candidate * kExponents.size(); i < said_.size();
       i += candidates_ * kExponents.size()) {
    for (std::size_t e = 0; e < kExponents.size(); ++e)
      likelihood[e] += std::log(said_[i + e]);
  }
  const auto best = std::ranges::max_element(likelihood);
  return *best < likelihood[0] + kGainMin ? 0 : static_cast<std::size_t>(best - likelihood.begin());
}

void RequestWeights::weigh() {
  const std::size_t row = candidates_ * kExponents.size();
  const std::size_t examples = said_.size() / row;
  if (examples >= kExamplesMin) {
    std::vector<double> said(examples * candidates_);
    exponents_.clear();
    for (std::size_t k = 0; k < candidates_; ++k) {
      const std::size_t e = exponent_of(k);
      exponents_.push_back(kExponents.at(e));
      for (std::size_t i = 0; i < examples; ++i)
        said[i * candidates_ + k] = said_[i * row + k * kExponents.size() + e];
    }
    weights_ = models::pool_weights(said, candidates_);
  }
  said_.clear();
}

void RequestWeights::combine(std::span<const models::Output> outputs, models::Output& mixed) const {
  std::vector<models::Output> told;
  for (std::size_t k = 0; k < outputs.size(); ++k)
    told.push_back(models::sharpened(kind_, outputs[k], exponents_[k]));
  models::pool_outputs(kind_, told, weights_, mixed);
}

void RequestWeights::save(std::string& out) const {
  models::StateWriter writer(out);
  writer.u64(examples_.size());
  for (const Example& example : examples_) {
    writer.u32(example.row);
    writer.f64(example.label);
  }
  writer.doubles(weights_);
  writer.doubles(exponents_);
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
  std::vector<double> exponents = reader.doubles();
  reader.require(exponents.size() == weights.size());
  ACCRETE_DO(reader.finish("request weights"));
  examples_ = std::move(examples);
  weights_ = std::move(weights);
  exponents_ = std::move(exponents);
  return Ok{};
}

}  // namespace accrete::daemon
