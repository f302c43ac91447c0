// Rows over tcp to durable acknowledgement and on into the folded graph, against two floors: the
// same bytes over one hop into an append file that is synced for every message, and one that is
// synced once for as many messages as the daemon may commit together.
#include <algorithm>
#include <cstdio>

#include "bench/control.h"
#include "bench/hop.h"
#include "bench/measure.h"
#include "bench/orders.h"
#include "daemon/backtest.h"
#include "daemon/clock.h"
#include "daemon/server.h"
#include "store/database.h"
#include "store/graph.h"
#include "store/state.h"
#include "stream/client.h"

namespace accrete::bench {
namespace {

struct Options : Flags {
  std::uint64_t lag_max = daemon::LimitsConfig().lag_records_max;
  std::uint64_t rows = 500'000;
  std::size_t batch_rows = 64;
  std::size_t transaction_rows = 64;
  int repeat = 3;
};

/// All records ahead of time: making them is not what is measured.
struct Records {
  std::string layout;
  std::string bytes;
  std::vector<std::size_t> ends;

  std::string_view row(std::size_t i) const {
    const std::size_t begin = i == 0 ? 0 : ends[i - 1];
    return std::string_view(bytes).substr(begin, ends[i] - begin);
  }
};

Records make_records(const Shop& shop, std::uint64_t rows) {
  OrderWriter writer(shop);
  Records records;
  writer.orders_layout(records.layout);
  records.bytes.reserve(rows * (shop.row_bytes + 16));
  for (std::uint64_t i = 0; i < rows; ++i) {
    writer.order(i, records.bytes);
    records.ends.push_back(records.bytes.size());
  }
  return records;
}

/// Edges of some stores, counted in the graph, against what was sent.
void check_graph(const daemon::Config& config, const Shop& shop, const Options& options) {
  const auto database =
      must(store::Database::open(daemon::database_options(config, config.store.path)));
  const auto state = must(store::State::open(*database));
  store::Graph graph(*state, config.schema, 64u << 20);
  constexpr std::uint32_t kParents = 20;
  std::vector<std::uint64_t> expected(kParents);
  for (std::uint64_t i = 0; i < options.rows; ++i) {
    const OrderRefs refs = refs_of(shop, i);
    if (refs.store < kParents) ++expected[refs.store];
  }
  const auto stores = config.schema.find("stores");
  const auto& relations = config.schema.relations();
  const auto relation = std::find_if(relations.begin(), relations.end(), [&](const Relation& r) {
    return r.parent == *stores && config.schema.table(r.child).name == "orders";
  });
  const RelationId id{static_cast<std::uint16_t>(relation - relations.begin())};
  for (std::uint32_t parent = 0; parent < kParents; ++parent) {
    std::string key;
    append_key(key, Value::of_integer(parent));
    const auto node = graph.find(*stores, key);
    const std::uint64_t found = node ? graph.count(id, *node, kTimeMin, kTimeMax, kTimeMax) : 0;
    check(found == expected[parent], "orders of store " + std::to_string(parent) + ": " +
                                         std::to_string(found) + ", sent " +
                                         std::to_string(expected[parent]));
  }
}

struct Run {
  double durable_s = 0;  ///< until the last acknowledgement
  double folded_s = 0;   ///< until everything is folded and committed as well
  double cpu_s = 0;      ///< of producer and daemon together
};

Run ingest(const Records& records, const Shop& shop, const Options& options,
           const std::string& store) {
  daemon::Config config = shop_config(store, "");
  config.limits.lag_records_max = options.lag_max;
  Run run;
  {
    const auto server = must(daemon::Server::start(config, nullptr));
    stream::ProducerOptions producing;
    producing.endpoint.address = server->ingest_address();
    producing.source = "bench";
    producing.batch_rows = options.batch_rows;
    const auto producer = must(stream::Producer::open(producing));
    std::vector<std::string_view> transaction{records.layout};
    const double cpu = daemon::cpu_seconds();
    const double started = daemon::steady_seconds();
    std::uint64_t position = 0;
    for (std::uint64_t i = 0; i < options.rows;) {
      for (std::size_t k = 0; k < options.transaction_rows && i < options.rows; ++k, ++i)
        transaction.push_back(records.row(i));
      must(producer->send(++position, transaction));
      transaction.clear();
    }
    must(producer->flush());
    run.durable_s = daemon::steady_seconds() - started;
    drain(*server);
    run.folded_s = daemon::steady_seconds() - started;
    run.cpu_s = daemon::cpu_seconds() - cpu;
    const nlohmann::json status = status_of(*server);
    check(status["rows"] == options.rows, "status says " + status["rows"].dump() + " rows");
    check(status["late_rows"] == 0 && status["ingest"]["rejected"] == 0, "no row late or refused");
    must(producer->close());
    must(server->stop());
  }
  check_graph(config, shop, options);
  return run;
}

void run(Options options) {
  if (options.quick) {
    options.rows = 20'000;
    options.repeat = 1;
  }
  const Shop shop;
  const Records records = make_records(shop, options.rows);
  const double rows = static_cast<double>(options.rows);
  say("rows", rows, "");
  say("record, encoded", static_cast<double>(records.bytes.size()) / rows, "bytes");
  std::vector<std::string_view> messages;
  for (std::uint64_t i = 0; i < options.rows; i += options.batch_rows) {
    const std::size_t last = std::min<std::size_t>(i + options.batch_rows, options.rows) - 1;
    const std::size_t begin = i == 0 ? 0 : records.ends[i - 1];
    messages.push_back(std::string_view(records.bytes).substr(begin, records.ends[last] - begin));
  }
  const Folder folder(options.folder);
  const std::size_t group =
      std::max<std::size_t>(daemon::LimitsConfig{}.group_rows_max / options.batch_rows, 1);
  double best_rate = 0;
  double best_ratio = 0;
  double best_group_ratio = 0;
  for (int round = 0; round < options.repeat; ++round) {
    const std::string name = std::to_string(round);
    const auto floor_rate = [&](std::size_t messages_a_sync) {
      const std::string file = folder.path(std::to_string(messages_a_sync) + "-append" + name);
      return rows / hop_seconds(messages, {messages_a_sync, 8u << 20, file});
    };
    const double message_floor = floor_rate(1);
    const double cpu = daemon::cpu_seconds();
    const double group_floor = floor_rate(group);
    const double floor_cpu_s = daemon::cpu_seconds() - cpu;
    const Run result = ingest(records, shop, options, folder.path("store" + name));
    const double rate = rows / result.folded_s;
    say("floor: one tcp hop into a file synced a message", message_floor, "rows/s");
    say("floor: one tcp hop into a file synced a group", group_floor, "rows/s");
    say("floor: CPU, both ends, synced a group", floor_cpu_s / rows * 1e6, "us/row");
    say("durable", rows / result.durable_s, "rows/s");
    say("durable, folded and committed", rate, "rows/s");
    say("CPU, producer and daemon", result.cpu_s / rows * 1e6, "us/row");
    best_rate = std::max(best_rate, rate);
    best_ratio = std::max(best_ratio, rate / message_floor);
    best_group_ratio = std::max(best_group_ratio, rate / group_floor);
  }
  compare("rows/s, best round, in thousands", best_rate / 1e3, 250, true);
  compare("rate / floor synced a message, best round", best_ratio, 0.35, true);
  say("rate / floor synced a group, best round", best_group_ratio, "");
  say_load();
}

}  // namespace
}  // namespace accrete::bench

int main(int argc, char** argv) {
  CLI::App app("bench_ingest: rows over tcp to durable acknowledgement and the folded graph");
  accrete::bench::Options options;
  accrete::bench::add_flags(app, options);
  app.add_option("--rows", options.rows)->check(CLI::PositiveNumber);
  app.add_option("--batch-rows", options.batch_rows, "rows a message")->check(CLI::PositiveNumber);
  app.add_option("--transaction-rows", options.transaction_rows, "rows a source transaction")
      ->check(CLI::PositiveNumber);
  app.add_option("--lag-max", options.lag_max, "rows the fold may be behind; 0: what memory holds");
  app.add_option("--repeat", options.repeat, "rounds; floor and daemon take turns")
      ->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  accrete::bench::run(options);
  return 0;
}
