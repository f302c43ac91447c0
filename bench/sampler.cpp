// Neighbourhoods for the graph network: edges sampled per CPU second from a folded store, rows kept
// or read anew. Floor: edges read from the graph alone, without nodes, contents or numbering.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <span>
#include <vector>

#include "bench/folded.h"
#include "bench/measure.h"
#include "bench/orders.h"
#include "daemon/clock.h"
#include "daemon/network_plan.h"
#include "daemon/network_rows.h"
#include "daemon/subgraph_sampler.h"
#include "proto/rng.h"

namespace accrete::bench {
namespace {

struct Options : Flags {
  std::string data = ACCRETE_SOURCE_DIR "/../shared/data/rel-f1";
  std::string config = ACCRETE_SOURCE_DIR "/tests/configs/rel-f1.toml";
  std::uint64_t rows = 1'000'000;
  std::uint64_t edges = 20'000'000;
};

std::size_t edges_of(const models::GraphBatch& batch) {
  std::size_t edges = 0;
  for (const auto& relation : batch.relations)
    edges += relation.source.size();
  return edges;
}

/// Nothing of the future, and each seed reads as many children as the graph has for it.
void check_batch(daemon::Fold& fold, const daemon::NetworkPlan& plan,
                 std::span<const daemon::Seed> seeds, std::size_t fan_out,
                 const models::GraphBatch& batch) {
  for (const std::int64_t age : batch.age_us)
    check(age >= 0 || age == models::kAgeless, "no node is of the future");
  std::vector<store::Edge> edges;
  for (std::size_t r = 0; r < plan.relations.size(); ++r) {
    const daemon::NetworkRelation& relation = plan.relations[r];
    if (relation.way != daemon::Way::Down || relation.shape.target != plan.entity) continue;
    for (std::size_t s = 0; s < seeds.size(); ++s) {
      edges.clear();
      fold.graph().newest(relation.near, {plan.tables[plan.entity], seeds[s].row}, seeds[s].at,
                          fan_out, edges);
      const auto& begin = batch.relations[r].begin;
      check(begin[s + 1] - begin[s] == edges.size(), "a seed reads the children it has");
    }
  }
}

/// Nanoseconds of CPU an edge when the graph's lists are read and nothing else is done.
double floor_ns(daemon::Fold& fold, const daemon::NetworkPlan& plan, std::uint64_t wanted,
                std::size_t fan_out) {
  const TableId entity = plan.tables[plan.entity];
  const std::uint32_t count = fold.graph().node_count(entity);
  std::vector<store::Edge> edges;
  std::uint64_t read = 0;
  std::uint64_t sum = 0;
  Rng rng(1, 1, Purpose::Test);
  const double cpu = daemon::cpu_seconds();
  while (read < wanted) {
    const NodeId node{entity, static_cast<std::uint32_t>(rng.below(count))};
    for (const daemon::NetworkRelation& relation : plan.relations) {
      if (relation.way != daemon::Way::Down || relation.shape.target != plan.entity) continue;
      edges.clear();
      fold.graph().newest(relation.near, node, fold.now(), fan_out, edges);
      read += edges.size();
      for (const store::Edge& edge : edges)
        sum += edge.child;
    }
  }
  const double used = daemon::cpu_seconds() - cpu;
  check(sum > 0, "edges were read");
  return used / static_cast<double>(read) * 1e9;
}

/// `shared`: neighbourhoods meet in rows, so that an edge mostly leads to a node that is there.
void measure(const std::string& name, Folded& folded, TableId entity, bool shared,
             const Options& options) {
  daemon::Fold& fold = *folded.fold;
  daemon::NetworkRows rows(fold.schema(), fold.graph(), fold.rows(), 512u << 20);
  const double observing = daemon::cpu_seconds();
  observe(fold, rows);
  say(name + ": rows observed and frozen", daemon::cpu_seconds() - observing, "CPU s");
  const daemon::NetworkPlan plan = daemon::plan_network(fold.schema(), entity, 2);
  daemon::SubgraphSampler sampler(fold.schema(), plan, fold.graph(), rows);
  daemon::SampleOptions sample;
  sample.fan_out = {32, 16};
  models::GraphBatch batch;
  std::vector<daemon::Seed> seeds(256);
  Rng rng(1, 0, Purpose::Test);
  const auto draw = [&] {
    for (daemon::Seed& seed : seeds) {
      seed.row = static_cast<std::uint32_t>(rng.below(fold.graph().node_count(entity)));
      seed.at = fold.now();
    }
  };
  draw();
  sampler.sample(seeds, sample, batch);
  check_batch(fold, plan, seeds, sample.fan_out[0], batch);
  say(name + ": relations", static_cast<double>(plan.relations.size()), "");
  for (const auto choice : {daemon::Choice::Newest, daemon::Choice::Uniform}) {
    sample.choice = choice;
    for (int round = 0; round < 3; ++round) {  // the first fills the cache
      std::uint64_t edges = 0;
      std::uint64_t nodes = 0;
      const double cpu = daemon::cpu_seconds();
      while (edges < (round == 2 ? options.edges : options.edges / 4)) {
        draw();
        sampler.sample(seeds, sample, batch);
        edges += edges_of(batch);
        nodes += batch.nodes();
      }
      if (round < 2) continue;
      const double used = daemon::cpu_seconds() - cpu;
      const std::string what = name + (choice == daemon::Choice::Newest ? ", newest" : ", drawn");
      const double ns = used / static_cast<double>(edges) * 1e9;
      say(what + ": edges a node", static_cast<double>(edges) / static_cast<double>(nodes), "");
      say(what + ": sampled, in millions", static_cast<double>(edges) / used / 1e6, "edges/CPU s");
      if (shared) {
        compare(what + ": ns an edge", ns, 100, false);
      } else {
        say(what + ": an edge to a row of its own", ns, "ns");
      }
    }
  }
  say(name + ": floor, edges read from the graph alone",
      floor_ns(fold, plan, options.edges / 4, sample.fan_out[0]), "ns/edge");
}

void races(const Options& options, const Folder& folder) {
  if (!std::filesystem::exists(options.data)) {
    std::printf("rel-f1 skipped: no folder %s; give its tables with --data\n",
                options.data.c_str());
    return;
  }
  daemon::Config config = must(daemon::load_config(options.config));
  config.tasks.clear();
  const auto source = open_tables(options.data, config);
  Folded folded(config, *source, folder.path("rel-f1"));
  measure("rel-f1", folded, *config.schema.find("drivers"), true, options);
}

/// Customers and products are only named here, so every edge leads to an order of its own.
void shop(const Options& options, const Folder& folder) {
  const daemon::Config config = shop_config("unused", "");
  Shop shop;
  shop.row_bytes = 120;
  shop.customers = static_cast<std::uint32_t>(options.rows / 20);
  shop.products = static_cast<std::uint32_t>(options.rows / 200);
  OrderSource source(shop, options.rows, 64);
  Folded folded(config, source, folder.path("shop"));
  measure("shop", folded, *config.schema.find("customers"), false, options);
}

void run(Options options) {
  const Folder folder(options.folder);
  if (options.quick) {
    options.rows = 20'000;
    options.edges = 1'000'000;
  }
  if (!options.quick) races(options, folder);
  shop(options, folder);
  say_load();
}

}  // namespace
}  // namespace accrete::bench

int main(int argc, char** argv) {
  CLI::App app("bench_sampler: neighbourhoods for the graph network, edges per CPU second");
  accrete::bench::Options options;
  accrete::bench::add_flags(app, options);
  app.add_option("--data", options.data, "folder of the rel-f1 tables");
  app.add_option("--config", options.config, "their configuration");
  app.add_option("--rows", options.rows, "orders of the synthetic shop");
  app.add_option("--edges", options.edges, "edges to sample");
  CLI11_PARSE(app, argc, argv);
  accrete::bench::run(options);
  return 0;
}
