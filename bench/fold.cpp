// The fold in process, without tasks: real rows from files, and growing synthetic streams whose
// cost per row must stay flat. Floor: the same rows into the change log alone.
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>

#include "bench/measure.h"
#include "bench/orders.h"
#include "daemon/backtest.h"
#include "daemon/clock.h"
#include "store/log.h"

namespace accrete::bench {
namespace {

struct Options : Flags {
  std::string data = ACCRETE_SOURCE_DIR "/../shared/data/git-duckdb";
  std::uint64_t rows_max = 10'000'000;
};

constexpr std::uint64_t kGitRows = 1153 + 38334 + 72611 + 364097;
constexpr const char* kGitTables = R"(
[[table]]
name = "authors"
key = "author_id"
time = "first_seen"
[[table]]
name = "files"
key = "file_id"
time = "first_seen"
columns = { path = "text", top = "category", dir = "category", extension = "category" }
[[table]]
name = "commits"
key = "commit_id"
time = "time"
foreign_keys = { author_id = "authors" }
[[table]]
name = "changes"
key = "change_id"
time = "time"
foreign_keys = { commit_id = "commits", file_id = "files" }
)";

struct Measured {
  double seconds = 0;
  double cpu_seconds = 0;
};

/// Read the source and append its records to an unsynced log in groups of 4096.
Measured into_log(daemon::RowSource& source, const daemon::Config& config,
                  const std::string& path) {
  const double started = daemon::steady_seconds();
  const double cpu = daemon::cpu_seconds();
  store::DatabaseOptions options = daemon::database_options(config, path);
  options.sync = false;
  const auto database = must(store::Database::open(options));
  store::Log log = must(store::Log::open(*database));
  const SourceId id = must(log.source(source.name()));
  daemon::SourceTransaction transaction;
  LogSlice slice;
  slice.first = Ordinal{1};
  const auto append = [&] {
    const store::Log::Advance advance{id, transaction.position};
    must(log.append(slice, {&advance, 1}));
    slice.first.value += slice.size();
    slice.clear();
  };
  while (must(source.next(transaction))) {
    std::uint32_t begin = 0;
    for (const std::uint32_t end : transaction.ends) {
      const std::string_view bytes = transaction.bytes;
      slice.append({id, transaction.position, end == transaction.ends.back()},
                   bytes.substr(begin, end - begin));
      begin = end;
    }
    if (slice.size() >= 4096) append();
  }
  if (slice.size() > 0) append();
  return {daemon::steady_seconds() - started, daemon::cpu_seconds() - cpu};
}

Measured fold(const daemon::Config& config, daemon::RowSource& source, std::uint64_t rows,
              const std::string& folder) {
  daemon::BacktestOptions options;
  options.scratch = folder;
  const double cpu = daemon::cpu_seconds();
  const auto result = must(daemon::run_backtest(config, source, options, nullptr));
  const double used = daemon::cpu_seconds() - cpu;
  check(result.rows == rows,
        "folded " + std::to_string(result.rows) + " rows of " + std::to_string(rows));
  check(result.rejected == 0, "no row refused");
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  return {result.seconds, used};
}

void real_rows(const Options& options, const Folder& folder) {
  if (!std::filesystem::exists(options.data)) {
    std::printf("skipped: no folder %s; give the git-duckdb tables with --data\n",
                options.data.c_str());
    return;
  }
  const daemon::Config config =
      must(daemon::parse_config(std::string("[store]\npath = \"unused\"\n") + kGitTables, "git"));
  const auto open = [&] {
    daemon::CsvOptions csv;
    csv.paths = {options.data};
    csv.as_of_order = true;
    std::vector<std::string> skipped;
    return must(daemon::open_csv(csv, config.schema, &skipped));
  };
  const double rows = static_cast<double>(kGitRows);
  const Measured floor = into_log(*open(), config, folder.path("git-log"));
  const Measured measured = fold(config, *open(), kGitRows, folder.path("git"));
  say("git-duckdb: floor, files into the log alone", rows / floor.seconds, "rows/s");
  say("git-duckdb: folded", rows / measured.seconds, "rows/s");
  say("git-duckdb: CPU of the floor", floor.cpu_seconds / rows * 1e6, "us/row");
  say("git-duckdb: CPU", measured.cpu_seconds / rows * 1e6, "us/row");
  say("git-duckdb: ratio to the floor", floor.seconds / measured.seconds, "");
  compare("git-duckdb: rows/s, in thousands", rows / measured.seconds / 1e3, 150, true);
}

/// Forget the largest resident set so far (Linux; without the right to, the peak only grows).
void reset_peak() {
  std::ofstream("/proc/self/clear_refs") << 5;
}

std::uint64_t peak_since_reset_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    std::uint64_t kilobytes = 0;
    if (word == "VmHWM:" && status >> kilobytes) return kilobytes * 1024;
  }
  return daemon::peak_memory_bytes();
}

void growth(const Options& options, const Folder& folder) {
  double first = 0;
  double worst = 0;
  const daemon::Config config = shop_config("unused", "");
  for (std::uint64_t rows = options.quick ? 10'000 : 100'000; rows <= options.rows_max;
       rows *= 10) {
    Shop shop;
    shop.row_bytes = 120;
    shop.customers = static_cast<std::uint32_t>(rows / 20);  // entities grow with the rows
    shop.products = static_cast<std::uint32_t>(rows / 200);
    const std::string name = std::to_string(rows);
    OrderSource for_log(shop, rows, 64);
    OrderSource for_fold(shop, rows, 64);
    const Measured floor = into_log(for_log, config, folder.path("log" + name));
    reset_peak();
    const Measured measured = fold(config, for_fold, rows, folder.path("fold" + name));
    const double count = static_cast<double>(rows);
    const double cost = measured.cpu_seconds / count * 1e6;
    say(name + " rows: floor, the log alone", count / floor.seconds, "rows/s");
    say(name + " rows: folded", count / measured.seconds, "rows/s");
    say(name + " rows: CPU of the floor", floor.cpu_seconds / count * 1e6, "us/row");
    say(name + " rows: CPU", cost, "us/row");
    say(name + " rows: ratio to the floor", floor.seconds / measured.seconds, "");
    compare(name + " rows: peak memory / limits.memory_max",
            static_cast<double>(peak_since_reset_bytes()) /
                static_cast<double>(config.limits.memory_bytes_max),
            1.1, false);
    if (first == 0) first = cost;
    worst = std::max(worst, cost);
  }
  compare("growth: dearest CPU per row / the shortest stream's", worst / first, 1.5, false);
}

void run(Options options) {
  const Folder folder(options.folder);
  if (options.quick) options.rows_max = 20'000;
  if (!options.quick) real_rows(options, folder);
  growth(options, folder);
  say_load();
}

}  // namespace
}  // namespace accrete::bench

int main(int argc, char** argv) {
  CLI::App app("bench_fold: rows folded in process without tasks, and how the cost grows");
  accrete::bench::Options options;
  accrete::bench::add_flags(app, options);
  app.add_option("--data", options.data, "folder of the git-duckdb tables");
  app.add_option("--rows-max", options.rows_max, "longest synthetic stream")
      ->check(CLI::Range(std::uint64_t{100'000}, std::uint64_t{1'000'000'000}));
  CLI11_PARSE(app, argc, argv);
  accrete::bench::run(options);
  return 0;
}
