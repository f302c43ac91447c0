// Steps of the graph network on the official training rows of rel-f1's driver-dnf, drawn and cut as
// the daemon does it: sampling, forward, backward, update. The peer, plain torch on the same seeds,
// is training_reference.py, which runs both in turns: the ratio is the claim.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bench/folded.h"
#include "bench/measure.h"
#include "daemon/clock.h"
#include "daemon/csv_reader.h"
#include "daemon/network_config.h"
#include "daemon/network_memory.h"
#include "daemon/network_plan.h"
#include "daemon/seed_parts.h"
#include "daemon/seed_summary.h"
#include "daemon/subgraph_sampler.h"
#include "models/expert_network.h"
#include "proto/hash.h"
#include "proto/rng.h"
#include "proto/time.h"

namespace accrete::bench {
namespace {

struct Options : Flags {
  std::string data = ACCRETE_SOURCE_DIR "/../shared/data/rel-f1";
  std::size_t width = 128;
  std::vector<std::size_t> fan_out{128, 64};
  std::size_t batch = 512;
  std::size_t steps = 6;
  std::size_t repeat = 1;
  std::size_t experts = 1;
  std::size_t nodes_max = 0;  ///< of a pass; 0: as many as the daemon allows
  bool scattered = false;
  bool newest = false;
};

constexpr std::size_t kBirthSeeds = 16;  // of an era, whose neighbourhoods are looked at

/// Where CPU seconds went, and what they were spent on.
struct Cost {
  double sampled = 0;
  double passed = 0;
  double moved = 0;
  std::uint64_t seeds = 0;
  std::uint64_t passes = 0;
  std::uint64_t nodes = 0;
  std::uint64_t expanded = 0;
  std::uint64_t edges = 0;
  double seconds() const { return sampled + passed + moved; }
};

/// The task's rows.
std::vector<daemon::NetworkExample> read_examples(const std::string& data, daemon::Fold& fold,
                                                  TableId drivers) {
  std::map<std::int64_t, std::uint32_t> rows;
  for (std::uint32_t row = 0; row < fold.graph().node_count(drivers); ++row) {
    const auto version = fold.graph().newest_version({drivers, row});
    if (!version) continue;
    rows[fold.rows().content({drivers, row}, *version)->cells[0].integer] = row;
  }
  auto reader = must(daemon::CsvReader::open(data + "/task_driver-dnf_train.csv"));
  std::vector<std::string_view> cells;
  must(reader.next(cells));  // names of columns
  std::vector<daemon::NetworkExample> out;
  while (must(reader.next(cells))) {
    std::int64_t id = 0;
    std::from_chars(cells[1].data(), cells[1].data() + cells[1].size(), id);
    const auto driver = rows.find(id);
    check(driver != rows.end(), "every example's driver is there");
    out.push_back({driver->second, cells[2] == "1" ? 1.0 : 0.0, must(parse_time(cells[0])), 0, 0});
  }
  check(!out.empty(), "there are examples");
  return out;
}

class Training {
 public:
  Training(Folded& folded, const Options& options)
      : options_(options),
        fold_(*folded.fold),
        entity_(*fold_.schema().find("drivers")),
        rows_(fold_.schema(), fold_.graph(), fold_.rows(), 1u << 30),
        plan_(daemon::plan_network(fold_.schema(), entity_, options.fan_out.size())),
        sampler_(fold_.schema(), plan_, fold_.graph(), rows_),
        summary_(plan_, true),
        examples_(read_examples(options.data, fold_, entity_)) {
    observe(fold_, rows_);
    sample_.fan_out = options.fan_out;
    sample_.choice = options.newest ? daemon::Choice::Newest : daemon::Choice::Uniform;
    sample_.nodes_max = options.nodes_max > 0 ? options.nodes_max
                                              : daemon::NetworkConfig{}.activation_bytes_max /
                                                    (sizeof(float) * options.width);
    std::ranges::stable_sort(examples_, {}, &daemon::NetworkExample::at);
    // Of one block for the memory: the same seeds are drawn whatever the number of experts.
    for (const daemon::NetworkExample& example : examples_)
      memory_.add(example);
    for (std::size_t era = 0; era < options.experts; ++era)
      starts_.push_back(examples_[era * examples_.size() / options.experts].at);
    find_blocks();
    restart();
  }

  /// A new network that has learnt nothing, but has an expert for each of as many eras.
  void restart() {
    models::NetworkOptions network;
    network.shape.layers = options_.fan_out.size();
    network.shape.layer.width = options_.width;
    network.shape.layer.relations = plan_.shapes();
    for (const TableId table : plan_.tables)
      network.shape.columns.push_back(rows_.width(table));
    network.shape.columns.push_back(daemon::LabelRow::kColumns);
    network.shape.told = summary_.columns(plan_, rows_);
    network.old_expert_rate = 0.1;
    network.routing.force_own_block = true;
    network_.emplace(TaskKind::Binary, network);
    nodes_a_seed_ = 0;
    for (std::uint32_t era = 1; era < starts_.size(); ++era)
      grow(era);
  }

  /// One step; returns the loss before it.
  double step(std::uint64_t number, Cost& cost) {
    Rng rng(1, number, Purpose::Test);
    drawn_.clear();
    if (options_.scattered) {
      for (std::size_t i = 0; i < options_.batch; ++i)
        drawn_.push_back(examples_[rng.below(examples_.size())]);
    } else {
      memory_.draw(options_.batch, rng, drawn_);
    }
    std::ranges::stable_sort(drawn_, {}, &daemon::NetworkExample::at);
    double loss = 0;
    const std::uint64_t nodes = cost.nodes;
    daemon::in_parts_of_instants(
        drawn_.size(), [&](std::size_t i) { return drawn_[i].at; },
        {sample_.nodes_max, nodes_a_seed_},
        [&](std::size_t begin, std::size_t count) {
          return pass(std::span(drawn_).subspan(begin, count), loss, cost);
        });
    nodes_a_seed_ = static_cast<double>(cost.nodes - nodes) / static_cast<double>(drawn_.size());
    const double start = daemon::cpu_seconds();
    check(std::isfinite(network_->step()), "gradients are finite");
    cost.moved += daemon::cpu_seconds() - start;
    cost.seeds += drawn_.size();
    return loss;
  }

  /// Bytes that stay between passes.
  std::size_t room() const { return network_->room() + sampler_.memory_bytes(); }

  /// Of all parameters' bits.
  std::uint64_t digest() {
    std::string bytes;
    network_->visit([&](std::string_view, models::Parameter<float>& parameter) {
      bytes.append(reinterpret_cast<const char*>(parameter.value.data()),
                   static_cast<std::size_t>(parameter.value.size()) * sizeof(float));
    });
    return hash64(bytes);
  }

 private:
  std::uint32_t block_at(TimeUs at) const {
    const auto next = std::ranges::upper_bound(starts_, at);
    return static_cast<std::uint32_t>(std::max<std::ptrdiff_t>(next - starts_.begin(), 1) - 1);
  }
  /// Seeds are of the era they are asked in, other rows of the one they came in, as in the daemon.
  void tell_blocks() {
    for (std::size_t v = 0; v < batch_.nodes(); ++v) {
      check(batch_.table[v] != plan_.labels(), "nobody tells outcomes here");
      batch_.block[v] = came_[batch_.table[v]][batch_.row[v]];
    }
    for (std::size_t v = 0; v < batch_.seeds(); ++v)
      batch_.block[v] = block_at(seeds_[v].at);
  }
  void find_blocks() {
    for (const TableId table : plan_.tables) {
      std::vector<std::uint32_t>& blocks = came_.emplace_back(fold_.graph().node_count(table));
      for (std::uint32_t row = 0; row < blocks.size(); ++row) {
        const auto version = fold_.graph().newest_version({table, row});
        if (version) blocks[row] = block_at(version->from);
      }
    }
  }
  /// An expert more, as for an era that begins.
  void grow(std::uint32_t era) {
    seeds_.clear();
    for (const daemon::NetworkExample& example : examples_) {
      if (block_at(example.at) == era && seeds_.size() < kBirthSeeds)
        seeds_.push_back({example.row, example.at});
    }
    check(sampler_.sample(seeds_, sample_, batch_), "a few seeds' neighbourhoods fit");
    summary_.write(
        plan_, seeds_, 0, memory_, [](double label) { return label; }, batch_);
    tell_blocks();
    network_->grow(batch_);
  }
  daemon::PartRead pass(std::span<const daemon::NetworkExample> examples, double& loss,
                        Cost& cost) {
    seeds_.clear();
    targets_.clear();
    for (const daemon::NetworkExample& example : examples) {
      seeds_.push_back({example.row, example.at});
      targets_.push_back({example.label, 1});
    }
    daemon::SampleOptions sample = sample_;
    if (examples.size() == 1) sample.nodes_max = std::numeric_limits<std::size_t>::max();
    const double start = daemon::cpu_seconds();
    const bool fits = sampler_.sample(seeds_, sample, batch_);
    if (fits) {
      summary_.write(
          plan_, seeds_, 0, memory_, [](double label) { return label; }, batch_);
      tell_blocks();
    }
    const double middle = daemon::cpu_seconds();
    cost.sampled += middle - start;
    if (!fits) return {std::min(sampler_.share_read(), daemon::kRefused)};
    const double share = static_cast<double>(examples.size()) / static_cast<double>(drawn_.size());
    loss += share * network_->accumulate(batch_, targets_, share);
    cost.passed += daemon::cpu_seconds() - middle;
    ++cost.passes;
    cost.nodes += batch_.nodes();
    cost.expanded += batch_.reach[batch_.reach.size() - 2];
    for (const auto& relation : batch_.relations)
      cost.edges += relation.source.size();
    return {1, batch_.nodes()};
  }

  const Options& options_;
  daemon::Fold& fold_;
  TableId entity_;
  daemon::NetworkRows rows_;
  daemon::NetworkPlan plan_;
  daemon::SubgraphSampler sampler_;
  daemon::SeedSummary summary_;
  daemon::SampleOptions sample_;
  std::optional<models::ExpertNetwork<float>> network_;
  models::GraphBatch batch_;
  daemon::NetworkMemory memory_{daemon::NetworkMemoryOptions{}};
  std::vector<daemon::NetworkExample> examples_;
  std::vector<TimeUs> starts_;                    ///< of the eras
  std::vector<std::vector<std::uint32_t>> came_;  ///< eras of rows, by table of the plan
  std::vector<daemon::NetworkExample> drawn_;
  std::vector<daemon::Seed> seeds_;
  std::vector<models::Target> targets_;
  double nodes_a_seed_ = 0;
};

void run(Options options) {
  if (!std::filesystem::exists(options.data)) {
    std::printf("skipped: no folder %s; see --data\n", options.data.c_str());
    return;
  }
  if (options.quick) {
    options.fan_out = {8, 4};
    options.width = 16;
    options.batch = 64;
    options.steps = 8;
    options.experts = 2;
  }
  daemon::Config config =
      must(daemon::load_config(ACCRETE_SOURCE_DIR "/tests/configs/rel-f1.toml"));
  config.tasks.clear();
  const auto source = open_tables(options.data, config);
  const Folder folder(options.folder);
  Folded folded(config, *source, folder.path("rel-f1"));
  Training training(folded, options);
  Cost first;  // rows are read, arrays find their sizes
  const double before = training.step(0, first);
  training.step(1, first);  // the head began at zero, so only now all else moves
  const std::uint64_t digest = training.digest();
  Cost cost;
  double best = std::numeric_limits<double>::infinity();
  double undisturbed = 0;  // of all steps, each at its cheapest
  for (std::size_t s = 2; s < options.steps + 2; ++s) {
    double cheapest = std::numeric_limits<double>::infinity();
    for (std::size_t again = 0; again < options.repeat; ++again) {
      const double start = cost.seconds();
      training.step(s, cost);
      cheapest = std::min(cheapest, cost.seconds() - start);
    }
    best = std::min(best, cheapest);
    undisturbed += cheapest;
  }
  Cost unused;
  const double after = training.step(0, unused);
  check(after < before, "the loss of the first step's seeds falls");
  training.restart();
  training.step(0, unused);
  training.step(1, unused);
  check(training.digest() == digest, "a new network learns the same bits in used rooms");
  std::printf("digest %016llx, loss %.4f -> %.4f\n", static_cast<unsigned long long>(digest),
              before, after);
  const auto seeds = static_cast<double>(cost.seeds);
  say("nodes", static_cast<double>(cost.nodes) / seeds, "a seed");
  say("nodes expanded", static_cast<double>(cost.expanded) / seeds, "a seed");
  say("edges", static_cast<double>(cost.edges) / seeds, "a seed");
  say("passes", static_cast<double>(cost.passes * options.batch) / seeds, "a step");
  say("sampling", cost.sampled / seeds * 1e6, "CPU us a seed");
  say("forward and backward", cost.passed / seeds * 1e6, "CPU us a seed");
  say("update", cost.moved / seeds * 1e6, "CPU us a seed");
  say("room kept by passes", static_cast<double>(training.room()) / 1e6, "MB");
  say("seeds per CPU second, all steps", seeds / cost.seconds(), "");
  const auto batch = static_cast<double>(options.batch);
  say("seeds per CPU second, each step at its cheapest",
      batch * static_cast<double>(options.steps) / undisturbed, "");
  compare("seeds trained per CPU second, best step", batch / best, 1300, true);
  say_load();
}

}  // namespace
}  // namespace accrete::bench

int main(int argc, char** argv) {
  CLI::App app("bench_training: seeds that the graph network trains per CPU second, rel-f1");
  accrete::bench::Options options;
  accrete::bench::add_flags(app, options);
  app.add_option("--data", options.data, "folder of the rel-f1 tables");
  app.add_option("--width", options.width, "of the network");
  app.add_option("--fan-out", options.fan_out, "by step")->delimiter(',');
  app.add_option("--batch", options.batch, "seeds of a step")->check(CLI::Range(1, 100'000));
  app.add_option("--steps", options.steps, "that are measured")->check(CLI::Range(1, 100'000));
  app.add_option("--repeat", options.repeat,
                 "each step so often: what others do to the machine, only the cheapest escapes")
      ->check(CLI::Range(1, 100));
  app.add_option("--experts", options.experts, "one for each of as many eras of the examples")
      ->check(CLI::Range(1, 64));
  app.add_option("--nodes-max", options.nodes_max,
                 "of a pass, beyond which a step is cut; 0: as in the daemon");
  app.add_flag(
      "--scattered", options.scattered,
      "a step's seeds are drawn one by one; else in runs of one instant, as in the daemon");
  app.add_flag("--newest", options.newest, "the newest children are read, not drawn ones");
  CLI11_PARSE(app, argc, argv);
  accrete::bench::run(options);
  return 0;
}
