// Decayed means of what a batch already holds, and of labels.
#include "daemon/seed_summary.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "models/row_gather.h"

namespace accrete::daemon {
namespace {

constexpr double kRowDecay = 0.8;
constexpr std::array<double, 3> kLabelDecays{0.5, 0.75, 0.9};
constexpr double kDayUs = 86'400e6;

/// The newest first, whatever order they are listed in; equal ages stay as they are.
void newest_first(const models::GraphBatch& batch, std::span<const std::uint32_t> listed,
                  std::vector<std::uint32_t>& out) {
  out.assign(listed.begin(), listed.end());
  const auto age = [&](std::uint32_t node) { return batch.age_us[node]; };
  if (!std::ranges::is_sorted(out, {}, age)) std::ranges::stable_sort(out, {}, age);
  out.resize(std::min(out.size(), SeedSummary::kRows));
}

/// Adds the mean of the rows that nodes show, drawn to zero by one more.
void add_mean(const models::GraphBatch& batch, const models::RowMatrix<float>& rows,
              std::span<const std::uint32_t> nodes, float* to) {
  double total = 1;
  double weight = 1;
  for (std::size_t j = 0; j < nodes.size(); ++j, weight *= kRowDecay)
    total += weight;
  weight = 1;
  for (const std::uint32_t node : nodes) {
    models::add_scaled(static_cast<float>(weight / total), models::row_of(rows, batch.row[node]),
                       static_cast<std::size_t>(rows.cols()), to);
    weight *= kRowDecay;
  }
}

/// `labels` newest first, in units; `days` since the newest.
std::array<float, SeedSummary::kLabelColumns> sum_up(std::span<const double> labels, double typical,
                                                     double days) {
  std::array<float, SeedSummary::kLabelColumns> out{};
  std::size_t place = 0;
  out[place++] = static_cast<float>(typical);
  for (const double decay : kLabelDecays) {
    double sum = typical;
    double total = 1;
    double weight = 1;
    for (const double label : labels) {
      sum += weight * label;
      total += weight;
      weight *= decay;
    }
    out[place++] = static_cast<float>(sum / total);
  }
  out[place++] = static_cast<float>(std::log1p(static_cast<double>(labels.size())) / 2);
  out[place++] = static_cast<float>(std::log1p(days) / 4);
  return out;
}

}  // namespace

SeedSummary::SeedSummary(const NetworkPlan& plan, bool labels) : labels_(labels) {
  for (std::size_t r = 0; r < plan.relations.size(); ++r) {
    const NetworkRelation& relation = plan.relations[r];
    if (relation.way == Way::Down && relation.shape.target == plan.entity) relations_.push_back(r);
  }
}

std::vector<std::size_t> SeedSummary::columns(const NetworkPlan& plan,
                                              const NetworkRows& rows) const {
  std::vector<std::size_t> out{labels_ ? kLabelColumns : 0};
  for (const std::size_t r : relations_)
    out.push_back(rows.width(plan.tables[plan.relations[r].shape.source]));
  return out;
}

void SeedSummary::write(const NetworkPlan& plan, std::span<const Seed> seeds, std::int64_t lag_us,
                        const NetworkMemory& memory, const std::function<double(double)>& in_units,
                        models::GraphBatch& batch) const {
  const auto count = static_cast<Eigen::Index>(seeds.size());
  batch.told.resize(1 + relations_.size());
  batch.told[0].setZero(count, labels_ ? kLabelColumns : 0);
  std::vector<KnownLabel> known;
  std::vector<double> labels;
  for (std::size_t i = 0; labels_ && i < seeds.size(); ++i) {
    known.clear();
    labels.clear();
    memory.newest(seeds[i].row, seeds[i].at, kLabels, known);
    for (const KnownLabel& label : known)
      labels.push_back(in_units(label.label));
    const auto typical = memory.typical(seeds[i].at);
    const double since = known.empty() ? 0
                                       : static_cast<double>(seeds[i].at.value) -
                                             static_cast<double>(known.front().known.value) +
                                             static_cast<double>(lag_us);
    const auto told = sum_up(labels, typical ? in_units(*typical) : 0, since / kDayUs);
    std::ranges::copy(told, models::row_of(batch.told[0], i));
  }
  std::vector<std::uint32_t> nodes;
  for (std::size_t p = 0; p < relations_.size(); ++p) {
    const std::size_t r = relations_[p];
    const models::GraphBatch::Relation& lists = batch.relations[r];
    const models::RowMatrix<float>& rows = batch.features[plan.relations[r].shape.source];
    models::RowMatrix<float>& told = batch.told[1 + p];
    told.setZero(count, rows.cols());
    for (std::size_t i = 0; i < seeds.size(); ++i) {
      const std::span<const std::uint32_t> all(lists.source);
      newest_first(batch, all.subspan(lists.begin[i], lists.begin[i + 1] - lists.begin[i]), nodes);
      add_mean(batch, rows, nodes, models::row_of(told, i));
    }
  }
}

}  // namespace accrete::daemon
