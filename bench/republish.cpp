// Answers of the graph network for every entity of a table at one time: all at once, where what
// neighbourhoods share is sampled and computed once, against one neighbourhood each. The same bits.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bench/folded.h"
#include "bench/measure.h"
#include "bench/orders.h"
#include "daemon/clock.h"
#include "daemon/graph_network.h"
#include "daemon/network_plan.h"
#include "daemon/seed_parts.h"
#include "daemon/subgraph_sampler.h"
#include "models/expert_network.h"
#include "proto/rng.h"

namespace accrete::bench {
namespace {

struct Options : Flags {
  std::string git = ACCRETE_SOURCE_DIR "/../shared/data/git-duckdb";
  std::string races = ACCRETE_SOURCE_DIR "/../shared/data/rel-f1";
  std::uint64_t rows = 1'000'000;
  std::size_t width = 32;
  std::size_t experts = 4;
  std::size_t alone = 2000;
  bool attention = false;
};

constexpr std::size_t kLayers = 2;
constexpr int kRounds = 5;

/// Where CPU seconds went.
struct Cost {
  double sampled = 0;
  double computed = 0;
  std::uint64_t nodes = 0;
  std::uint64_t parts = 0;
  double seconds() const { return sampled + computed; }
};

class Republish {
 public:
  Republish(Folded& folded, TableId entity, const Options& options)
      : fold_(*folded.fold),
        rows_(fold_.schema(), fold_.graph(), fold_.rows(), 1u << 30),
        plan_(daemon::plan_network(fold_.schema(), entity, kLayers)),
        sampler_(fold_.schema(), plan_, fold_.graph(), rows_),
        nodes_max_(daemon::GraphNetwork::kAnswerNodes *
                   daemon::NetworkConfig{}.activation_bytes_max / (sizeof(float) * options.width)) {
    observe(fold_, rows_);
    for (std::uint32_t row = 0; row < fold_.graph().node_count(entity); ++row)
      seeds_.push_back({row, fold_.now()});
    check(!seeds_.empty(), "there are entities");
    make_network(options);
  }

  std::size_t entities() const { return seeds_.size(); }

  /// Scores of seeds [first, first + count) in parts of at most `most`.
  Cost answer(std::size_t first, std::size_t count, std::size_t most, std::size_t fan_out,
              models::RowMatrix<float>& scores) {
    daemon::SampleOptions sample;
    sample.fan_out.assign(kLayers, fan_out);
    scores.resize(static_cast<Eigen::Index>(count), 1);
    Cost cost;
    models::RowMatrix<float> told;
    daemon::in_parts(count, [&](std::size_t begin, std::size_t size) {
      if (size > most) return false;
      sample.nodes_max = size > 1 ? nodes_max_ : std::numeric_limits<std::size_t>::max();
      const double start = daemon::cpu_seconds();
      const bool fits =
          sampler_.sample(std::span(seeds_).subspan(first + begin, size), sample, batch_);
      const double middle = daemon::cpu_seconds();
      cost.sampled += middle - start;
      if (!fits) return false;
      network_->predict(batch_, told, nullptr, nullptr, 0, &inputs_);
      cost.computed += daemon::cpu_seconds() - middle;
      scores.middleRows(static_cast<Eigen::Index>(begin), static_cast<Eigen::Index>(size)) = told;
      cost.nodes += batch_.nodes();
      ++cost.parts;
      return true;
    });
    return cost;
  }

 private:
  /// Experts that all say something else; they share the seeds.
  void make_network(const Options& options) {
    models::NetworkOptions network;
    network.shape.layers = kLayers;
    network.shape.layer.width = options.width;
    network.shape.layer.relations = plan_.shapes();
    if (options.attention) network.shape.layer.kind = models::ExpertKind::Attention;
    for (const TableId table : plan_.tables)
      network.shape.columns.push_back(rows_.width(table));
    network.shape.columns.push_back(daemon::LabelRow::kColumns);
    network_.emplace(TaskKind::Regression, network);
    daemon::SampleOptions sample;
    sample.fan_out.assign(kLayers, 4);
    sampler_.sample(std::span(seeds_).first(std::min<std::size_t>(seeds_.size(), 64)), sample,
                    batch_);
    Rng rng(1, 0, Purpose::Test);
    for (std::size_t t = 0; t < options.experts; ++t) {
      if (t > 0) network_->grow(batch_);
      network_->visit([&](std::string_view, models::Parameter<float>& parameter) {
        for (Eigen::Index i = 0; i < parameter.value.size(); ++i)
          parameter.value.data()[i] += static_cast<float>(0.4 * rng.uniform() - 0.2);
      });
    }
  }

  daemon::Fold& fold_;
  daemon::NetworkRows rows_;
  daemon::NetworkPlan plan_;
  daemon::SubgraphSampler sampler_;
  std::size_t nodes_max_;
  std::vector<daemon::Seed> seeds_;
  std::optional<models::ExpertNetwork<float>> network_;
  models::GraphBatch batch_;
  std::vector<models::RowMatrix<float>> inputs_;  // kept for their room, as the daemon does
};

/// The cheapest of a few rounds.
template <class Run>
Cost cheapest(Run run) {
  Cost best = run();
  for (int round = 1; round < kRounds; ++round) {
    const Cost cost = run();
    if (cost.seconds() < best.seconds()) best = cost;
  }
  return best;
}

void tell(const std::string& name, const std::string& how, const Cost& cost, double entities) {
  say(name + how + ": sampling", cost.sampled / entities * 1e6, "CPU us/entity");
  say(name + how + ": layers", cost.computed / entities * 1e6, "CPU us/entity");
  say(name + how + ": nodes", static_cast<double>(cost.nodes) / entities, "an entity");
}

void measure(const std::string& dataset, Folded& folded, TableId entity, const Options& options) {
  Republish all(folded, entity, options);
  const std::size_t count = all.entities();
  const double entities = static_cast<double>(count);
  say(dataset + ": entities", entities, "");
  for (const std::size_t fan_out : {std::size_t{10}, std::size_t{20}}) {
    const std::string name = dataset + ", fan-out " + std::to_string(fan_out);
    models::RowMatrix<float> together;
    models::RowMatrix<float> some;
    all.answer(0, count, count, fan_out, together);  // rows are read and kept
    const Cost once = cheapest([&] { return all.answer(0, count, count, fan_out, together); });
    const Cost cut = cheapest([&] { return all.answer(0, count, 256, fan_out, some); });
    check(some == together, "the same bits in parts of 256");
    // One each, of seeds at regular distances: all of them would take minutes.
    const std::size_t step = std::max<std::size_t>(count / options.alone, 1);
    std::uint64_t asked = 0;
    const Cost alone = cheapest([&] {
      Cost sum;
      asked = 0;
      for (std::size_t i = 0; i < count; i += step, ++asked) {
        const Cost cost = all.answer(i, 1, 1, fan_out, some);
        check(some(0, 0) == together(static_cast<Eigen::Index>(i), 0), "the same bits alone");
        sum.sampled += cost.sampled;
        sum.computed += cost.computed;
        sum.nodes += cost.nodes;
      }
      return sum;
    });
    const float least = together.minCoeff();
    check(together.maxCoeff() > least, "entities differ in what is said of them");
    say(name + ": parts", static_cast<double>(once.parts), "");
    tell(name, ", at once", once, entities);
    tell(name, ", 256 at once", cut, entities);
    tell(name, ", one each", alone, static_cast<double>(asked));
    const double each = alone.seconds() / static_cast<double>(asked) * entities;
    say(name + ": 256 at once / at once", cut.seconds() / once.seconds(), "");
    compare(name + ": one each / at once", each / once.seconds(), 7.7, true);
  }
}

void files(const std::string& data, const char* config_file, const char* entity,
           const Options& options, const Folder& folder) {
  if (!std::filesystem::exists(data)) {
    std::printf("skipped: no folder %s; see --help\n", data.c_str());
    return;
  }
  daemon::Config config =
      must(daemon::load_config(std::string(ACCRETE_SOURCE_DIR "/tests/configs/") + config_file));
  config.tasks.clear();
  const auto source = open_tables(data, config);
  Folded folded(config, *source, folder.path(entity));
  measure(std::string(config_file) + ", " + entity, folded, *config.schema.find(entity), options);
}

/// Customers with orders of their own: nothing is shared, but the answers must agree all the same.
void shop(const Options& options, const Folder& folder) {
  const daemon::Config config = shop_config("unused", "");
  Shop shop;
  shop.row_bytes = 120;
  shop.customers = static_cast<std::uint32_t>(options.rows / 20);
  shop.products = static_cast<std::uint32_t>(options.rows / 200);
  OrderSource source(shop, options.rows, 64);
  Folded folded(config, source, folder.path("shop"));
  measure("shop", folded, *config.schema.find("customers"), options);
}

void run(Options options) {
  const Folder folder(options.folder);
  if (options.quick) {
    options.rows = 8000;
    options.alone = 50;
    shop(options, folder);
  } else {
    files(options.git, "git-duckdb.toml", "files", options, folder);
    files(options.git, "git-duckdb.toml", "authors", options, folder);
    files(options.races, "rel-f1.toml", "drivers", options, folder);
  }
  say_load();
}

}  // namespace
}  // namespace accrete::bench

int main(int argc, char** argv) {
  CLI::App app("bench_republish: the graph network's answers for all entities of a time at once");
  accrete::bench::Options options;
  accrete::bench::add_flags(app, options);
  app.add_option("--git", options.git, "folder of the git-duckdb tables");
  app.add_option("--races", options.races, "folder of the rel-f1 tables");
  app.add_option("--width", options.width, "of the network");
  app.add_option("--experts", options.experts, "of a layer")->check(CLI::Range(1, 64));
  app.add_option("--alone", options.alone, "entities that are asked for one by one, about")
      ->check(CLI::Range(1, 1'000'000));
  app.add_flag("--attention", options.attention, "experts that attend");
  CLI11_PARSE(app, argc, argv);
  accrete::bench::run(options);
  return 0;
}
