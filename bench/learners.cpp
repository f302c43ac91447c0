// The learners' own speed on one core: features of entities as a tick or a what-if asks for them,
// and examples learnt by the ridge and the one-pass logistic head. Floors: the same numbers copied;
// the products that no such head can do without.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <vector>

#include <Eigen/Core>

#include "bench/measure.h"
#include "daemon/backtest.h"
#include "daemon/clock.h"
#include "models/online_logistic.h"
#include "models/panel.h"
#include "proto/rng.h"

namespace accrete::bench {
namespace {

struct Options : Flags {
  std::string data = ACCRETE_SOURCE_DIR "/../shared/data/git-duckdb";
  std::string config = ACCRETE_SOURCE_DIR "/tests/configs/git-duckdb.toml";
  std::size_t requests = 200'000;
  std::size_t examples = 200'000;
};

/// Nobody listens: the fold is only there for its features.
class NoSink final : public daemon::FoldSink {
 public:
  void predictions(std::span<const store::StoredPrediction>) override {}
  void label(const daemon::MaturedLabel&) override {}
  void graded(const daemon::GradedPrediction&) override {}
  void alarm(const DriftAlarm&, std::uint64_t) override {}
};

/// CPU seconds of copying `width` floats and widening them, `times` times.
double copy_seconds(std::size_t width, std::size_t times) {
  const std::vector<float> from(width, 1.5F);
  std::vector<double> to(width);
  double sum = 0;
  const double cpu = daemon::cpu_seconds();
  for (std::size_t i = 0; i < times; ++i) {
    std::copy(from.begin(), from.end(), to.begin());
    sum += to[i % width];
  }
  const double used = daemon::cpu_seconds() - cpu;
  check(sum == 1.5 * static_cast<double>(times), "copied numbers");
  return used;
}

/// The tables folded once into a store; then features of every file, again and again.
void feature_requests(const Options& options, const Folder& folder) {
  if (!std::filesystem::exists(options.data)) {
    std::printf("features skipped: no folder %s; give the git-duckdb tables with --data\n",
                options.data.c_str());
    return;
  }
  const daemon::Config config = must(daemon::load_config(options.config));
  daemon::CsvOptions csv;
  csv.paths = {options.data};
  csv.as_of_order = true;
  std::vector<std::string> skipped;
  daemon::BacktestOptions backtest;
  backtest.scratch = folder.path("git");
  must(daemon::run_backtest(config, *must(daemon::open_csv(csv, config.schema, &skipped)), backtest,
                            nullptr));
  const auto database =
      must(store::Database::open(daemon::database_options(config, backtest.scratch)));
  store::Log log = must(store::Log::open(*database));
  const auto state = must(store::State::open(*database));
  NoSink sink;
  const auto fold =
      must(daemon::Fold::open(config, daemon::fold_options(config), log, *state, nullptr, sink));
  daemon::AnyTask* task = fold->find_task("file-touched");
  const std::uint32_t files = fold->graph().node_count(task->plan().entity);
  const auto names = task->features().names();
  const auto changes = static_cast<std::size_t>(
      std::find(names.begin(), names.end(), "log count of changes.file_id, ever") - names.begin());
  check(changes < names.size(), "the features count the changes of a file");

  std::vector<double> values;
  double counted = 0;
  std::size_t done = 0;
  const double cpu = daemon::cpu_seconds();
  for (; done < std::max<std::size_t>(options.requests, files); ++done) {
    const NodeId file{task->plan().entity, static_cast<std::uint32_t>(done % files)};
    task->features().compute(file, fold->now(), values);
    if (done < files) counted += std::expm1(values[changes]);
  }
  const double used = daemon::cpu_seconds() - cpu;
  const double expected =
      static_cast<double>(fold->graph().node_count(*config.schema.find("changes")));
  check(std::abs(counted - expected) < 1e-3 * expected, "the files' features count all changes");
  const double rate = static_cast<double>(done) / used;
  say("features: numbers of a request", static_cast<double>(values.size()), "");
  say("features: floor, the numbers copied",
      static_cast<double>(done) / copy_seconds(values.size(), done), "requests/CPU s");
  say("features: computed", rate, "requests/CPU s");
  compare("features: requests per CPU second, in thousands", rate / 1e3, 50, true);
}

constexpr std::size_t kRidgeFeatures = 128;
constexpr std::size_t kTickRows = 256;

/// Rows of independent numbers; the label is a sum of the first three and noise.
struct Examples {
  std::vector<double> features;
  std::vector<double> labels;
  std::vector<models::Input> inputs;

  Examples(std::size_t rows, std::size_t width, std::uint64_t seed) {
    Rng rng(seed, 0, Purpose::Test);
    for (std::size_t i = 0; i < rows * width; ++i)
      features.push_back(2 * rng.uniform() - 1);
    for (std::size_t i = 0; i < rows; ++i) {
      const double* x = features.data() + i * width;
      labels.push_back(3 * x[0] - 2 * x[1] + x[2] + 0.2 * (rng.uniform() - 0.5));
      inputs.push_back({{x, width}, nullptr});
    }
  }
};

void ridge(const Options& options) {
  models::PanelOptions panel;
  panel.ridge = {{8000, 10}};
  panel.median.clear();
  panel.trees.clear();
  panel.design.relative_max = 0;
  const auto group = models::make_panel(TaskKind::Regression, panel);
  const Examples tick(kTickRows, kRidgeFeatures, 1);
  const std::vector<double> weights(kTickRows, 1.0);
  std::size_t learnt = 0;
  const double cpu = daemon::cpu_seconds();
  for (; learnt < options.examples; learnt += kTickRows) {
    group->open_tick(tick.inputs);
    group->learn(tick.inputs, tick.labels, weights);
  }
  const double used = daemon::cpu_seconds() - cpu;
  group->open_tick(tick.inputs);
  std::vector<models::Output> outputs(kTickRows);
  group->predict(tick.inputs, 1, outputs);
  double error = 0;
  for (std::size_t i = 0; i < kTickRows; ++i)
    error += std::abs(outputs[i].value - tick.labels[i]) / kTickRows;
  // The labels themselves deviate by 1.7; a prior of 10 a column holds the weights back a little.
  check(error < 0.4, "the ridge head finds the signal, error " + std::to_string(error));

  constexpr Eigen::Index kSize = kRidgeFeatures + 1;
  const Eigen::MatrixXd block = Eigen::MatrixXd::Random(kSize, kTickRows);
  Eigen::MatrixXd sums = Eigen::MatrixXd::Zero(kSize, kSize);
  const double floor_cpu = daemon::cpu_seconds();
  for (std::size_t i = 0; i < learnt; i += kTickRows)
    sums.selfadjointView<Eigen::Lower>().rankUpdate(block, 1.0);
  const double floor_used = daemon::cpu_seconds() - floor_cpu;
  check(sums(0, 0) > 0, "products");
  const double rate = static_cast<double>(learnt) / used;
  say("ridge at 128 features: floor, the products alone", static_cast<double>(learnt) / floor_used,
      "examples/CPU s");
  say("ridge at 128 features: learnt and solved", rate, "examples/CPU s");
  compare("ridge: examples per CPU second, in thousands", rate / 1e3, 50, true);
}

void logistic(const Options& options) {
  constexpr std::size_t kFeatures = 30;
  constexpr Eigen::Index kSize = kFeatures + 1;
  models::OnlineLogisticOptions online;
  online.half_life = 4000;
  const auto head = models::make_online_logistic(online);
  const Examples rows(4096, kFeatures, 2);
  const std::size_t examples = options.examples * 5;
  const double cpu = daemon::cpu_seconds();
  for (std::size_t i = 0; i < examples; ++i) {
    const std::size_t at = i % rows.inputs.size();
    head->learn(rows.inputs[at], rows.labels[at] > 0 ? 1 : 0, 1);
  }
  const double used = daemon::cpu_seconds() - cpu;
  std::size_t right = 0;
  models::Output output;
  for (std::size_t i = 0; i < rows.inputs.size(); ++i) {
    head->predict(rows.inputs[i], output);
    right += (output.value > 0.5) == (rows.labels[i] > 0) ? 1u : 0u;
  }
  check(right * 100 > rows.inputs.size() * 93, "the logistic head tells the classes apart");

  Eigen::MatrixXd covariance = Eigen::MatrixXd::Identity(kSize, kSize);
  const Eigen::VectorXd z = Eigen::VectorXd::Random(kSize);
  Eigen::VectorXd gain(kSize);
  const double floor_cpu = daemon::cpu_seconds();
  for (std::size_t i = 0; i < examples; ++i) {
    gain.noalias() = covariance.selfadjointView<Eigen::Lower>() * z;
    covariance.selfadjointView<Eigen::Lower>().rankUpdate(gain, -1e-9);
  }
  const double floor_used = daemon::cpu_seconds() - floor_cpu;
  check(std::isfinite(covariance(0, 0)), "products");
  const double rate = static_cast<double>(examples) / used;
  say("online logistic at 30 features: floor, the products alone",
      static_cast<double>(examples) / floor_used, "examples/CPU s");
  say("online logistic at 30 features: learnt", rate, "examples/CPU s");
  compare("online logistic: examples per CPU second, in thousands", rate / 1e3, 330, true);
}

void run(Options options) {
  const Folder folder(options.folder);
  if (options.quick) options.examples = 20'000;
  if (!options.quick) feature_requests(options, folder);
  ridge(options);
  logistic(options);
  say_load();
}

}  // namespace
}  // namespace accrete::bench

int main(int argc, char** argv) {
  CLI::App app("bench_learners: features and examples per CPU second, beside their floors");
  accrete::bench::Options options;
  accrete::bench::add_flags(app, options);
  app.add_option("--data", options.data, "folder of the git-duckdb tables");
  app.add_option("--config", options.config, "their configuration");
  app.add_option("--requests", options.requests, "features are asked for so often");
  CLI11_PARSE(app, argc, argv);
  accrete::bench::run(options);
  return 0;
}
