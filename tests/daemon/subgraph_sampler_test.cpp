// The sampler against its definition, written out: which rows, in which order, as of which time.
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/daemon/sampled_stream.h"

namespace accrete::daemon {
namespace {

/// Everything in a batch, as bytes.
std::string bytes_of(const models::GraphBatch& batch) {
  std::string out;
  const auto put = [&](const auto& numbers) {
    using Number = std::remove_cvref_t<decltype(numbers[0])>;
    out.append(reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(Number));
    out += '|';
  };
  put(batch.reach);
  put(batch.table);
  put(batch.row);
  put(batch.age_us);
  put(batch.block);
  for (const auto& relation : batch.relations) {
    put(relation.begin);
    put(relation.source);
  }
  for (const auto& features : batch.features)
    put(std::span<const float>(features.data(), static_cast<std::size_t>(features.size())));
  return out;
}

/// Every node of a batch is a node of one of the naive neighbourhoods, and the other way round.
void expect_each_once(const NaiveSampler& naive, const models::GraphBatch& batch,
                      const SampleOptions& options, std::size_t repeats) {
  const bool by_hop = std::ranges::any_of(
      options.fan_out, [&](std::size_t size) { return size != options.fan_out.front(); });
  for (std::size_t hop = 0; hop < batch.reach.size(); ++hop) {
    std::size_t count = repeats;
    for (const auto& [who, distance] : naive.met)
      count += !by_hop && distance <= hop ? 1 : 0;
    for (const auto& [at, who] : naive.met_by_hop) {
      const bool again = at + 1 == batch.reach.size() && naive.met.at(who) < at;
      count += by_hop && at <= hop && !again ? 1 : 0;
    }
    EXPECT_EQ(batch.reach[hop], count) << "within " << hop << " steps";
  }
  std::size_t shown = 0;
  for (const auto& features : batch.features)
    shown += static_cast<std::size_t>(features.rows());
  EXPECT_EQ(shown, naive.shown.size()) << "each version of a row shows itself once";
}

TEST(SubgraphSampler, IsItsDefinition) {
  std::size_t nodes = 0;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const RandomStream stream(seed, 150, true);
    DailyLabels labels;
    Sampled sampled(stream, seed, 3);
    sampled.feed_all(stream);
    SampleOptions options = some_options(seed, &labels);
    const Table& entity = sampled.world.fold().schema().table(sampled.entity);
    if (seed % 4 == 3) options.masked = {{sampled.entity, *entity.find("x")}};
    Rng rng(seed, 1, Purpose::Test);
    const std::vector<Seed> seeds = sampled.seeds(rng, 12, stream.now());
    models::GraphBatch batch;
    sampled.sampler.sample(seeds, options, batch);
    ASSERT_EQ(batch.seeds(), seeds.size());
    ASSERT_EQ(batch.reach.size(), options.fan_out.size() + 1);
    NaiveSampler naive(sampled.world, sampled.sampler.plan(), sampled.rows, options);
    for (std::size_t i = 0; i < seeds.size(); ++i) {
      Writing expected;
      naive.write(sampled.sampler.plan().entity, seeds[i].row, seeds[i].at, 0, expected);
      ASSERT_EQ(written(sampled, batch, i), expected.text) << "seed " << i;
      models::GraphBatch alone;
      sampled.sampler.sample({&seeds[i], 1}, options, alone);
      EXPECT_EQ(written(sampled, alone, 0), expected.text) << "alone";
    }
    nodes += batch.nodes();
  }
  EXPECT_GT(nodes, 5'000U) << "the streams must be worth sampling";
}

TEST(SubgraphSampler, HoldsEachRowOfATimeOnceAndEachContentOnce) {
  for (std::uint64_t seed = 0; seed < 18; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const RandomStream stream(seed, 150, true);
    Sampled sampled(stream, seed, 3);
    sampled.feed_all(stream);
    const SampleOptions options = some_options(seed, nullptr);
    Rng rng(seed, 2, Purpose::Test);
    const std::vector<Seed> seeds = sampled.seeds(rng, 12, stream.now());
    std::set<std::pair<std::uint32_t, std::int64_t>> distinct;
    for (const Seed& one : seeds)
      distinct.emplace(one.row, one.at.value);
    const std::size_t repeats = seeds.size() - distinct.size();
    models::GraphBatch batch;
    sampled.sampler.sample(seeds, options, batch);
    NaiveSampler naive(sampled.world, sampled.sampler.plan(), sampled.rows, options);
    Writing unused;
    for (const Seed& one : seeds)
      naive.write(sampled.sampler.plan().entity, one.row, one.at, 0, unused);
    expect_each_once(naive, batch, options, repeats);
    EXPECT_TRUE(std::is_sorted(batch.reach.begin(), batch.reach.end()));
  }
}

/// Reads out of a table's features what its rows say they were written for: the inverse of the
/// standardisation, found from the rows themselves.
class Stamps {
 public:
  Stamps(Sampled& sampled, TableId table) {
    store::Graph& graph = sampled.world.fold().graph();
    const auto column = *sampled.world.fold().schema().table(table).find("stamp");
    std::vector<std::uint32_t> columns;
    sampled.rows.columns_of({table, column}, columns);
    if (columns.empty()) return;
    column_ = columns[0];
    double low = 4;
    double high = -4;
    for (std::uint32_t row = 0; row < graph.node_count(table); ++row) {
      const auto version = graph.version({table, row}, kTimeMax);
      if (!version) continue;
      const auto shows =
          static_cast<double>(sampled.rows.view({table, row}, *version).features[column_]);
      const RowContent* content = sampled.world.fold().rows().content({table, row}, *version);
      const Value& stamp = content->at(column);
      if (stamp.is_null() || std::abs(shows) >= 4) continue;
      if (shows < low) low_stamp_ = stamp.as_number();
      if (shows > high) high_stamp_ = stamp.as_number();
      low = std::min(low, shows);
      high = std::max(high, shows);
    }
    low_ = low;
    slope_ = high > low ? (high_stamp_ - low_stamp_) / (high - low) : 0;
  }
  bool any() const { return slope_ > 0; }
  double of(const models::RowMatrix<float>& features, Eigen::Index row) const {
    const double shows = features(row, static_cast<Eigen::Index>(column_));
    return low_stamp_ + slope_ * (shows - low_);
  }
  bool missing(const models::RowMatrix<float>& features, Eigen::Index row) const {
    return features(row, static_cast<Eigen::Index>(column_)) == 0;
  }
  double tolerance() const { return 1e-5 * (high_stamp_ - low_stamp_); }

 private:
  std::uint32_t column_ = 0;
  double low_ = 0;
  double low_stamp_ = 0;
  double high_stamp_ = 0;
  double slope_ = 0;
};

TEST(SubgraphSampler, ShowsNothingOfTheFutureInAMillionEdges) {
  std::size_t edges = 0;
  std::size_t stamps_read = 0;
  for (std::uint64_t seed = 100; edges < 1'000'000; ++seed) {
    const RandomStream stream(seed, 2000, true);
    Sampled sampled(stream, seed, 2);
    sampled.feed_all(stream);
    std::vector<Stamps> stamps;
    for (const TableId table : sampled.sampler.plan().tables)
      stamps.emplace_back(sampled, table);
    SampleOptions options;
    options.fan_out = {16, 16};
    models::GraphBatch batch;
    Rng rng(seed, 3, Purpose::Test);
    for (std::size_t round = 0; round < 40; ++round) {
      options.choice = round % 2 == 0 ? Choice::Newest : Choice::Uniform;
      options.seed = round;
      const double now = stream.now() * rng.uniform();
      std::vector<Seed> seeds = sampled.seeds(rng, 64, now);
      for (Seed& one : seeds)
        one.at = day(now);
      std::erase_if(seeds, [&](const Seed& one) {
        return !sampled.world.fold().graph().version({sampled.entity, one.row}, one.at);
      });
      sampled.sampler.sample(seeds, options, batch);
      for (std::size_t v = 0; v < batch.nodes(); ++v)
        ASSERT_TRUE(batch.age_us[v] >= 0 || batch.age_us[v] == models::kAgeless);
      for (std::size_t t = 0; t < stamps.size(); ++t) {
        const auto& features = batch.features[t];
        for (Eigen::Index row = 0; stamps[t].any() && row < features.rows(); ++row) {
          if (stamps[t].missing(features, row)) continue;
          ASSERT_LE(stamps[t].of(features, row), now + stamps[t].tolerance());
          ++stamps_read;
        }
      }
      for (const auto& relation : batch.relations)
        edges += relation.source.size();
    }
  }
  EXPECT_GT(stamps_read, 100'000U);
}

TEST(SubgraphSampler, IsTheSameWithoutTheRowsOfTheFuture) {
  for (std::uint64_t seed = 0; seed < 14; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const RandomStream stream(seed, 400, false);
    const std::size_t cut = stream.stream.size() / 2;
    std::vector<Transaction> past(stream.stream.begin(),
                                  stream.stream.begin() + static_cast<std::ptrdiff_t>(cut));
    TimeUs at = day(0);
    for (std::size_t i = 0; i < cut; ++i)
      at = std::max(at, stream.times[i]);
    encode_mark({MarkKind::Clock, at}, past.emplace_back().records.emplace_back());
    past.back().position = cut + 1;
    std::vector<Transaction> future;
    for (std::size_t i = cut; i < stream.stream.size(); ++i) {
      if (i + 1 < stream.stream.size() && stream.times[i] <= at) continue;
      future.push_back(stream.stream[i]);
      future.back().position = i + 2;
    }
    std::string batches[2];
    for (const bool with_future : {false, true}) {
      Sampled sampled(stream, seed, 2);
      sampled.feed(std::span(past).first(cut / 2));
      sampled.rows.begin_block(std::nullopt, at);
      sampled.feed(std::span(past).subspan(cut / 2));
      observe_all(sampled.world, sampled.rows);
      sampled.rows.freeze();
      const std::uint32_t there = sampled.world.fold().graph().node_count(sampled.entity);
      if (with_future) {
        sampled.rows.begin_block(std::nullopt, TimeUs{at.value + 1});
        sampled.feed(future);
        observe_all(sampled.world, sampled.rows);
      }
      std::vector<Seed> seeds;
      for (std::uint32_t row = 0; row < there; row += 3)
        seeds.push_back({row, row % 2 == 0 ? at : TimeUs{at.value - 2 * kDayUs}});
      SampleOptions options = some_options(seed, nullptr);
      options.fan_out.resize(2);
      models::GraphBatch batch;
      sampled.sampler.sample(seeds, options, batch);
      batches[with_future ? 1 : 0] = bytes_of(batch);
    }
    EXPECT_GT(future.size(), 50U);
    EXPECT_EQ(batches[0], batches[1]);
  }
}

TEST(SubgraphSampler, ShowsNothingOfAMaskedColumn) {
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::string masked[2];
    std::string open[2];
    for (const bool changed : {false, true}) {
      const RandomStream stream(seed, 200, true, changed ? 0.7 : 0);
      Sampled sampled(stream, seed, 2);
      sampled.feed_all(stream);
      SampleOptions options = some_options(seed, nullptr);
      options.fan_out.resize(2);
      Rng rng(seed, 4, Purpose::Test);
      const std::vector<Seed> seeds = sampled.seeds(rng, 10, stream.now());
      models::GraphBatch batch;
      sampled.sampler.sample(seeds, options, batch);
      open[changed ? 1 : 0] = bytes_of(batch);
      const Schema& schema = sampled.world.fold().schema();
      for (std::size_t t = 0; t < schema.tables().size(); ++t) {
        const TableId table{static_cast<std::uint16_t>(t)};
        for (const char* column : {"x", "kind"})
          options.masked.push_back({table, *schema.table(table).find(column)});
      }
      sampled.sampler.sample(seeds, options, batch);
      masked[changed ? 1 : 0] = bytes_of(batch);
    }
    EXPECT_EQ(masked[0], masked[1]) << "other values of masked columns";
    EXPECT_NE(open[0], open[1]) << "the values must differ for this to say anything";
  }
}

TEST(SubgraphSampler, ManySeedsOfOneMomentAreTheDefinitionToo) {
  std::size_t nodes = 0;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const RandomStream stream(seed, 300, true);
    Sampled sampled(stream, seed, 3);
    sampled.feed_all(stream);
    DailyLabels labels;
    SampleOptions options = some_options(seed, &labels);
    options.fan_out = {3, 3};
    Rng rng(seed, 6, Purpose::Test);
    models::GraphBatch batch;
    for (const double now : {stream.now() / 2, stream.now(), stream.now() / 3}) {
      std::vector<Seed> seeds = sampled.seeds(rng, 200, now);  // some more than once
      for (Seed& one : seeds)
        one.at = day(now);
      sampled.sampler.sample(seeds, options, batch);
      NaiveSampler naive(sampled.world, sampled.sampler.plan(), sampled.rows, options);
      for (std::size_t i = 0; i < seeds.size(); ++i) {
        Writing expected;
        naive.write(sampled.sampler.plan().entity, seeds[i].row, seeds[i].at, 0, expected);
        ASSERT_EQ(written(sampled, batch, i), expected.text) << "seed " << i;
      }
      std::size_t shown = 0;
      for (std::size_t table = 0; table < sampled.sampler.plan().tables.size(); ++table)
        shown += static_cast<std::size_t>(batch.features[table].rows());
      EXPECT_EQ(shown, naive.shown.size()) << "each version of a row shows itself once";
      nodes += batch.nodes();
    }
  }
  EXPECT_GT(nodes, 3'000U);
}

/// Seeds of few times with many children, in the order of their times, and not in that order.
TEST(SubgraphSampler, ManyChildrenOfSomeMomentsAreTheDefinitionToo) {
  std::size_t nodes = 0;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const RandomStream stream(seed, 300, true);
    Sampled sampled(stream, seed, 3);
    sampled.feed_all(stream);
    DailyLabels labels;
    SampleOptions options = some_options(seed, &labels);
    options.fan_out = {8, 4};
    if (seed % 3 == 1) options.fan_out = {4, 8, 4};
    if (seed % 3 == 2) options.fan_out = {8, 8};
    Rng rng(seed, 7, Purpose::Test);
    std::vector<Seed> seeds = sampled.seeds(rng, 300, stream.now());
    for (Seed& one : seeds)
      one.at = day(stream.now() * static_cast<double>(1 + rng.below(3)) / 3);
    for (const bool in_order : {false, true}) {
      if (in_order) std::ranges::stable_sort(seeds, {}, &Seed::at);
      models::GraphBatch batch;
      sampled.sampler.sample(seeds, options, batch);
      NaiveSampler naive(sampled.world, sampled.sampler.plan(), sampled.rows, options);
      std::set<std::pair<std::uint32_t, std::int64_t>> distinct;
      for (std::size_t i = 0; i < seeds.size(); ++i) {
        distinct.emplace(seeds[i].row, seeds[i].at.value);
        Writing expected;
        naive.write(sampled.sampler.plan().entity, seeds[i].row, seeds[i].at, 0, expected);
        ASSERT_EQ(written(sampled, batch, i), expected.text) << "seed " << i;
      }
      nodes += batch.nodes();
      options.labels = nullptr;  // outcomes are nodes each time they are read
      sampled.sampler.sample(seeds, options, batch);
      NaiveSampler unlabelled(sampled.world, sampled.sampler.plan(), sampled.rows, options);
      Writing unused;
      for (const Seed& one : seeds)
        unlabelled.write(sampled.sampler.plan().entity, one.row, one.at, 0, unused);
      expect_each_once(unlabelled, batch, options, seeds.size() - distinct.size());
      options.labels = &labels;
    }
  }
  EXPECT_GT(nodes, 3'000U);
}

TEST(SubgraphSampler, RefusesABatchOfMoreNodesThanItMayHave) {
  std::size_t refused = 0;
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const RandomStream stream(seed, 200, true);
    Sampled sampled(stream, seed, 3);
    sampled.feed_all(stream);
    SampleOptions options = some_options(seed, nullptr);
    Rng rng(seed, 5, Purpose::Test);
    const std::vector<Seed> seeds = sampled.seeds(rng, 12, stream.now());
    models::GraphBatch free;
    ASSERT_TRUE(sampled.sampler.sample(seeds, options, free));
    models::GraphBatch batch;
    for (const std::size_t nodes_max : {free.seeds(), free.nodes() - 1}) {
      options.nodes_max = nodes_max;
      const bool fits = free.nodes() <= nodes_max;
      EXPECT_EQ(sampled.sampler.sample(seeds, options, batch), fits);
      refused += fits ? 0 : 1;
    }
    options.nodes_max = free.nodes();
    ASSERT_TRUE(sampled.sampler.sample(seeds, options, batch)) << "after a refusal";
    EXPECT_EQ(bytes_of(batch), bytes_of(free));
  }
  EXPECT_GT(refused, 8U);
}

}  // namespace
}  // namespace accrete::daemon
