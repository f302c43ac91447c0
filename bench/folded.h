// Rows folded into a store that is then open for reading: where benches of the graph network start.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "daemon/config.h"
#include "daemon/fold.h"
#include "daemon/fold_sink.h"
#include "daemon/network_rows.h"
#include "daemon/row_source.h"
#include "store/database.h"
#include "store/log.h"
#include "store/state.h"

namespace accrete::bench {

class NoSink final : public daemon::FoldSink {
 public:
  void predictions(std::span<const store::StoredPrediction>) override {}
  void label(const daemon::MaturedLabel&) override {}
  void graded(const daemon::GradedPrediction&) override {}
  void alarm(const DriftAlarm&, std::uint64_t) override {}
};

struct Folded {
  /// All rows of the source, into a store at `path`. `config` must outlive it.
  Folded(const daemon::Config& config, daemon::RowSource& source, const std::string& path);

  NoSink sink;
  std::unique_ptr<store::Database> database;
  std::optional<store::Log> log;
  std::unique_ptr<store::State> state;
  std::unique_ptr<daemon::Fold> fold;
};

/// The tables of a folder, in the order of their times.
std::unique_ptr<daemon::RowSource> open_tables(const std::string& folder,
                                               const daemon::Config& config);

/// `rows` gets to know every row as it is now, and freezes.
void observe(daemon::Fold& fold, daemon::NetworkRows& rows);

}  // namespace accrete::bench
