// The newest outcomes, and what is fitted to them.
#include "daemon/newest_on_heads.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "models/state_bytes.h"

namespace accrete::daemon {
namespace {

constexpr std::uint8_t kStateVersion = 2;

/// Classes that are fitted to, and no more room than theirs.
models::Output cut(const models::Output& output) {
  models::Output out;
  const std::size_t classes = std::min(output.classes.size(), models::LogitResidual::kClassesMax);
  out.classes.assign(output.classes.begin(),
                     output.classes.begin() + static_cast<std::ptrdiff_t>(classes));
  return out;
}

}  // namespace

void NewestOnHeads::grade(const models::Output& head, const models::Output& network, double label) {
  Example example{cut(head), cut(network), label};
  ++fresh_;
  if (examples_.size() < kExamplesMax) {
    examples_.push_back(std::move(example));
    return;
  }
  examples_[oldest_] = std::move(example);
  oldest_ = (oldest_ + 1) % kExamplesMax;
}

void NewestOnHeads::settle(const Eigen::MatrixXd& shares) {
  residual_.begin(shares);
  for (const Example& example : examples_)
    residual_.say(example.head, example.network, example.label);
  residual_.fit();
  fresh_ = 0;
}

std::size_t NewestOnHeads::memory_bytes() const {
  std::size_t bytes = examples_.capacity() * sizeof(Example) + residual_.memory_bytes();
  for (const Example& example : examples_) {
    bytes +=
        (example.head.classes.capacity() + example.network.classes.capacity()) * sizeof(double);
  }
  return bytes;
}

void NewestOnHeads::save(std::string& out) const {
  models::StateWriter writer(out);
  writer.u8(kStateVersion);
  writer.u64(oldest_);
  writer.u64(fresh_);
  writer.u64(examples_.size());
  for (const Example& example : examples_) {
    writer.doubles(example.head.classes);
    writer.doubles(example.network.classes);
    writer.f64(example.label);
  }
  std::string residual;
  residual_.save(residual);
  writer.text(residual);
}

Status NewestOnHeads::load(std::string_view bytes) {
  models::StateReader reader(bytes);
  NewestOnHeads read;
  reader.require(reader.u8() == kStateVersion);
  read.oldest_ = static_cast<std::size_t>(reader.u64());
  read.fresh_ = static_cast<std::size_t>(reader.u64());
  for (auto n = reader.count(3 * sizeof(double)); n > 0 && !reader.failed(); --n) {
    Example& example = read.examples_.emplace_back();
    example.head.classes = reader.doubles();
    example.network.classes = reader.doubles();
    example.label = reader.f64();
    reader.require(std::isfinite(example.label));
  }
  const std::string residual = reader.text();
  reader.require(read.examples_.size() <= kExamplesMax && read.oldest_ < kExamplesMax);
  ACCRETE_DO(reader.finish("the network on heads"));
  ACCRETE_DO(read.residual_.load(residual));
  *this = std::move(read);
  return Ok{};
}

}  // namespace accrete::daemon
