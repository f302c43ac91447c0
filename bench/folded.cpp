// A backtest without tasks, and what it left opened again.
#include "bench/folded.h"

#include <vector>

#include "bench/measure.h"
#include "daemon/backtest.h"

namespace accrete::bench {

Folded::Folded(const daemon::Config& config, daemon::RowSource& source, const std::string& path) {
  daemon::BacktestOptions backtest;
  backtest.scratch = path;
  const auto result = must(daemon::run_backtest(config, source, backtest, nullptr));
  check(result.rows > 0 && result.rejected == 0, "the rows are folded");
  database = must(store::Database::open(daemon::database_options(config, path)));
  log.emplace(must(store::Log::open(*database)));
  state = must(store::State::open(*database));
  fold =
      must(daemon::Fold::open(config, daemon::fold_options(config), *log, *state, nullptr, sink));
  while (fold->admitted() < log->end()) {  // what the log holds beyond the last commit
    const auto slice = must(log->read(Ordinal{fold->admitted().value + 1}, 4096, 4u << 20));
    must(fold->admit(slice));
  }
}

std::unique_ptr<daemon::RowSource> open_tables(const std::string& folder,
                                               const daemon::Config& config) {
  daemon::CsvOptions csv;
  csv.paths = {folder};
  csv.as_of_order = true;
  std::vector<std::string> skipped;
  return must(daemon::open_csv(csv, config.schema, &skipped));
}

void observe(daemon::Fold& fold, daemon::NetworkRows& rows) {
  for (std::size_t t = 0; t < fold.schema().tables().size(); ++t) {
    const TableId id{static_cast<std::uint16_t>(t)};
    for (std::uint32_t row = 0; row < fold.graph().node_count(id); ++row) {
      const auto version = fold.graph().newest_version({id, row});
      if (!version || version->deleted) continue;
      const auto* content = fold.rows().content({id, row}, *version);
      check(content != nullptr, "every row can be read");
      rows.observe(id, content->cells, version->from);
    }
  }
  rows.freeze();
}

}  // namespace accrete::bench
