// Features of a row whose own column is predicted: the row without that column, and what the stream
// of rows and labels before it says.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "daemon/features.h"
#include "models/encoder.h"
#include "models/row_stream.h"

namespace accrete::daemon {

/// The predicted column is masked by construction: the encoder is told that it is to be ignored,
/// and its value is never among the keys of groups. Labels enter by mature() only.
class RowFeatures final : public FeatureSource {
 public:
  RowFeatures(const TaskPlan& plan, const Schema& schema, RowReader& rows);

  /// Features of a row that need not be in the graph yet, by the rows and labels so far.
  /// Checks: observe() has seen these cells.
  void compute_row(std::span<const Value> cells, TimeUs at, std::vector<double>& out);
  /// This row is now the newest of the stream.
  void enter(std::span<const Value> cells, TimeUs at);
  /// A label of a row with these cells became known.
  void learn(double label, std::span<const Value> cells);
  /// The features that are the row's own, of a vector from compute() as wide as it was then.
  void own_part(std::span<const double> features, std::vector<double>& out) const;

  void observe(std::span<const Value> cells) override;
  void mature(std::span<const std::uint32_t> rows, std::span<const double> labels,
              TimeUs at) override;
  std::size_t width() override { return width_; }
  void compute(NodeId entity, TimeUs at, std::vector<double>& out) override;
  std::vector<std::string> names() override;
  std::size_t memory_bytes() const override;
  void stage(store::State& state) override;
  Status load(store::State& state) override;

 private:
  /// Consecutive features from the encoder (own) or the stream. Runs are only ever appended.
  struct Run {
    bool own = false;
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
  };
  static std::vector<std::uint32_t> foreign_keys(const Table& table);
  void grow();
  void append(bool own, std::size_t begin, std::size_t end);
  const Table& masked();
  models::RowStream::Row stream_row(std::span<const Value> cells, TimeUs at);
  void hash_keys(std::span<const Value> cells);

  std::string task_;
  TableId entity_;
  ColumnId target_;
  const Schema& schema_;
  RowReader& rows_;
  Table masked_;
  models::RowEncoder encoder_;
  models::RowStream stream_;
  std::vector<Run> runs_;
  std::size_t width_ = 0;
  std::size_t own_width_ = 0;     // of the encoder's output that has runs
  std::size_t stream_width_ = 0;  // of the stream's

  std::vector<std::uint32_t> plain_;  // encoder positions that the stream follows
  std::vector<double> encoded_;       // of the row at hand
  std::vector<double> context_;
  std::vector<double> values_;
  std::vector<std::uint64_t> keys_;
};

}  // namespace accrete::daemon
