// How fast the store is, for store/README.md: not a test, but it checks its answers.
// Run: build/release/tests/store/store_speed [folder on the disk to be measured]
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "proto/rng.h"
#include "store/database.h"
#include "store/graph.h"
#include "store/log.h"
#include "store/prediction_log.h"
#include "store/state.h"

namespace accrete::store {
namespace {

template <class T>
T must(Result<T> result) {
  if (!result) std::fprintf(stderr, "%s\n", result.error().detail.c_str());
  ACCRETE_CHECK(result.has_value());
  return std::move(result).value();
}

/// Wall time, CPU time of the calling thread, CPU time of the process (with RocksDB's threads).
struct Spent {
  double wall_s = 0;
  double thread_s = 0;
  double process_s = 0;
  Spent& operator+=(const Spent& other) {
    wall_s += other.wall_s;
    thread_s += other.thread_s;
    process_s += other.process_s;
    return *this;
  }
};

double clock_s(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

Spent seconds(const std::function<void()>& work) {
  const Spent start{clock_s(CLOCK_MONOTONIC), clock_s(CLOCK_THREAD_CPUTIME_ID),
                    clock_s(CLOCK_PROCESS_CPUTIME_ID)};
  work();
  return {clock_s(CLOCK_MONOTONIC) - start.wall_s,
          clock_s(CLOCK_THREAD_CPUTIME_ID) - start.thread_s,
          clock_s(CLOCK_PROCESS_CPUTIME_ID) - start.process_s};
}

void say(const std::string& what, double items, const Spent& spent) {
  std::printf("%-62s %9.0f /s wall  %7.3f us thread  %7.3f us process\n", what.c_str(),
              items / spent.wall_s, spent.thread_s / items * 1e6, spent.process_s / items * 1e6);
  std::fflush(stdout);
}

std::unique_ptr<Database> fresh(const std::string& folder, bool sync) {
  std::filesystem::remove_all(folder);
  DatabaseOptions options;
  options.path = folder;
  options.sync = sync;
  return must(Database::open(options));
}

void log_speed(const std::string& folder) {
  for (const bool sync : {false, true}) {
    const auto database = fresh(folder, sync);
    Log log = must(Log::open(*database));
    const SourceId source = must(log.source("s"));
    constexpr std::uint64_t kRecords = 2'000'000;
    constexpr std::size_t kBatch = 512;
    std::string record(480, 'x');
    Rng rng(1, 0, Purpose::Test);
    for (char& c : record)
      c = static_cast<char>(' ' + rng.below(64));
    LogSlice slice;
    const Spent appended = seconds([&] {
      for (std::uint64_t i = 0; i < kRecords; i += kBatch) {
        slice.clear();
        slice.first = Ordinal{i + 1};
        for (std::size_t j = 0; j < kBatch; ++j)
          slice.append({source, i + 1, j + 1 == kBatch}, record);
        const Log::Advance advance{source, i + 1};
        must(log.append(slice, {&advance, 1}));
      }
    });
    say(sync ? "log append, 500 B, 512 a batch, synced" : "log append, 500 B, 512 a batch",
        static_cast<double>(kRecords), appended);
    std::uint64_t read = 0;
    const Spent scanned = seconds([&] {
      while (read < log.end().value) {
        read += must(log.read(Ordinal{read + 1}, 4096, 4u << 20)).size();
      }
    });
    ACCRETE_CHECK(read == log.end().value);
    say("log read in pages", static_cast<double>(read), scanned);
    std::string entry;
    const Spent got = seconds([&] {
      for (int i = 0; i < 200'000; ++i) {
        must(log.get(Ordinal{log.end().value - rng.below(100'000)}, entry));
      }
    });
    say("log get, random among the newest 100,000", 200'000, got);
  }
}

/// Rows with 3 foreign keys each, parents drawn from a tenth as many; the fold's pattern.
void graph_speed(const std::string& folder, std::uint32_t rows, std::size_t memory_bytes) {
  Schema schema;
  Table parents{"parents", {{"id", {}}}, {ColumnId{0}}, {}, TimeUnit::Seconds, {}};
  Table children{"children", {{"id", {}}}, {ColumnId{0}}, {}, TimeUnit::Seconds, {}};
  for (std::uint16_t i = 1; i <= 3; ++i) {
    children.columns.push_back({"parent" + std::to_string(i), {}});
    children.foreign_keys.push_back({{ColumnId{i}}, TableId{0}});
  }
  must(schema.add(std::move(parents)));
  must(schema.add(std::move(children)));
  must(schema.seal());
  const auto database = fresh(folder, false);
  const auto state = must(State::open(*database));
  Graph graph(*state, schema, memory_bytes);
  Rng rng(1, 0, Purpose::Test);
  std::string key;
  const auto key_of_row = [&](std::uint64_t number) -> std::string_view {
    key.clear();
    append_key(key, Value::of_integer(static_cast<std::int64_t>(number)));
    return key;
  };
  Spent folded;
  Spent committed;
  for (std::uint32_t row = 0; row < rows;) {
    const std::uint32_t end = std::min(rows, row + 200'000);
    folded += seconds([&] {
      for (; row < end; ++row) {
        const NodeId child = graph.intern(TableId{1}, key_of_row(row));
        const TimeUs time{row * 1000ll};
        graph.put_version(child, {time, Ordinal{row + 1}, false});
        for (std::uint16_t relation = 0; relation < 3; ++relation) {
          const NodeId parent = graph.intern(TableId{0}, key_of_row(rng.below(rows / 10)));
          graph.link(RelationId{relation}, parent, child, time);
        }
      }
    });
    committed += seconds([&] {
      graph.stage();
      must(graph.health());
      must(state->commit({}));
      graph.committed();
    });
  }
  const std::string size =
      std::to_string(rows) + " rows, " + std::to_string(memory_bytes >> 20) + " MB: ";
  say(size + "fold (4 interns, version, 3 links)", rows, folded);
  say(size + "stage and commit", rows, committed);
  const std::uint32_t parents_known = graph.node_count(TableId{0});
  std::vector<Edge> edges;
  std::uint64_t found = 0;
  const Spent newest = seconds([&] {
    for (int i = 0; i < 200'000; ++i) {
      edges.clear();
      const NodeId parent{TableId{0}, static_cast<std::uint32_t>(rng.below(parents_known))};
      graph.newest(RelationId{0}, parent, kTimeMax, 10, edges);
      found += edges.size();
    }
  });
  ACCRETE_CHECK(found > 0);
  say(size + "newest 10 of a random parent", 200'000, newest);
  std::printf("%-58s %9.1f MB (disk %.1f MB)\n", (size + "graph memory").c_str(),
              static_cast<double>(graph.memory_bytes()) / 1e6,
              static_cast<double>(database->disk_bytes()) / 1e6);
}

void prediction_speed(const std::string& folder) {
  const auto database = fresh(folder, false);
  const auto log = must(PredictionLog::open(*database));
  constexpr std::uint64_t kTotal = 2'000'000;
  std::vector<StoredPrediction> batch(8192);
  Spent appended;
  std::uint64_t seq = 0;
  Rng rng(2, 0, Purpose::Test);
  while (seq < kTotal) {
    for (StoredPrediction& p : batch) {
      p.header.seq = PredictionSeq{++seq};
      p.topic = "pred/churn/" + std::to_string(rng.below(200'000));
      p.payload.assign(90, static_cast<char>('a' + seq % 26));
    }
    appended += seconds([&] { must(log->append(batch)); });
  }
  say("prediction append, 8192 a batch", static_cast<double>(seq), appended);
  std::uint64_t read = 0;
  const Spent read_time = seconds([&] {
    PredictionSeq from{1};
    while (from <= log->end()) {
      const auto page = must(log->read(from, 8192, 64u << 20, ""));
      read += page.predictions.size();
      from = page.next;
    }
  });
  ACCRETE_CHECK(read == seq);
  say("prediction read, pages of 8192", static_cast<double>(read), read_time);
}

}  // namespace
}  // namespace accrete::store

int main(int argc, char** argv) {
  using namespace accrete::store;
  const std::string folder = (argc > 1 ? std::string(argv[1]) : "/tmp") + "/accrete-store-speed";
  const std::string part = argc > 2 ? argv[2] : "";
  if (part.empty() || part == "log") log_speed(folder);
  if (part.empty() || part == "predictions") prediction_speed(folder);
  if (part.empty() || part == "graph") {
    for (const std::uint32_t rows : {100'000u, 1'000'000u, 10'000'000u}) {
      graph_speed(folder, rows, std::size_t{4} << 30);
    }
    graph_speed(folder, 3'000'000, std::size_t{64} << 20);
  }
  std::filesystem::remove_all(folder);
  return 0;
}
