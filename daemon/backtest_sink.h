// What a backtest does with what the fold derives: files, digest, graded windows.
#pragma once

#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "daemon/backtest.h"
#include "daemon/digest.h"
#include "daemon/fold_sink.h"
#include "daemon/graded_series.h"
#include "models/metrics.h"

namespace accrete::daemon {

class BacktestSink final : public FoldSink {
 public:
  /// Errors: Unavailable if a file cannot be made.
  static Result<std::unique_ptr<BacktestSink>> open(const BacktestOptions& options);

  void predictions(std::span<const store::StoredPrediction> predictions) override;
  void label(const MaturedLabel& label) override;
  void graded(const GradedPrediction& graded) override;
  void alarm(const DriftAlarm&, std::uint64_t) override {}  // the tasks keep them

  /// Flush the files. Errors: Unavailable (disk full, say).
  Status close();

  std::string digest() const { return digest_.hex(); }
  std::uint64_t count() const { return count_; }
  std::uint64_t labels() const { return labels_; }

  /// Graded predictions of one task, window and trigger; the mixture last.
  struct Cell {
    std::string task;
    std::size_t window = 0;
    Trigger trigger = Trigger::Tick;
    std::vector<models::Graded> graded;
  };
  const std::vector<std::unique_ptr<Cell>>& cells() const { return cells_; }
  const std::vector<ReportWindow>& windows() const { return windows_; }
  /// The course of a task's graded predictions; nullptr while there are none.
  const GradedSeries* series(const std::string& task) const;

 private:
  struct CloseFile {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  using File = std::unique_ptr<std::FILE, CloseFile>;

  BacktestSink() = default;
  Cell& cell(const GradedPrediction& graded, std::size_t window);
  void write(const File& file, const std::string& line);

  File predictions_file_;
  File labels_file_;
  Digest digest_;
  std::uint64_t count_ = 0;
  std::uint64_t labels_ = 0;
  bool write_failed_ = false;
  std::vector<ReportWindow> windows_;
  std::vector<std::unique_ptr<Cell>> cells_;
  std::map<std::string, GradedSeries, std::less<>> series_;  // by task
};

/// A field of CSV, quoted where it must be.
std::string csv_field(const std::string& text);

}  // namespace accrete::daemon
