// The graph network inside the fold: the fold's promises hold with it, experts are born where
// blocks begin, and it learns what only neighbours say.
#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <stream.pb.h>

#include "daemon/live_sink.h"
#include "daemon/network_report.h"
#include "daemon/task.h"
#include "models/threads.h"
#include "tests/daemon/fold_world.h"
#include "tests/daemon/regions.h"

namespace accrete::daemon {
namespace {

FoldOptions network_options(NetworkConfig::Experts experts = NetworkConfig::Experts::Sage) {
  FoldOptions options;
  options.network.experts = experts;
  options.network.width = 16;
  options.network.fan_out = {4, 3};
  options.network.batch = 32;
  options.network.passes = 2;
  options.blocks.by = models::BlockRule::Rows;
  options.blocks.every_rows = 300;
  options.checkpoint_records_min = 50;
  return options;
}

const GraphNetwork& network_of(World& world, std::string_view task) {
  return *dynamic_cast<Task&>(*world.fold().find_task(task)).network();
}

constexpr std::size_t kOrders = kSanitized ? 120 : 400;

TEST(GraphNetwork, SameBitsForAnyGroupingCommitsAndThreads) {
  const Config config = shop_config();
  const auto stream = shop(1, kOrders);
  for (const auto experts : {NetworkConfig::Experts::Sage, NetworkConfig::Experts::Attention}) {
    FoldOptions options = network_options(experts);
    const std::string expected = digest_of(config, stream, options);
    options.checkpoint_records_min = 1;  // a commit at every instant
    options.graph_bytes_max = 1;
    options.row_cache_rows = 3;
    EXPECT_EQ(digest_of(config, stream, options, 7), expected);
    models::set_threads(2);
    EXPECT_EQ(digest_of(config, stream, options, 1000), expected);
    models::set_threads(1);
    options.network.experts = NetworkConfig::Experts::Off;
    EXPECT_NE(digest_of(config, stream, options), expected) << "the network is in the answers";
  }
}

TEST(GraphNetwork, ABlockThatAnOldRowBeginsIsLoadedAgain) {
  const Config config = shop_config();
  FoldOptions options = network_options();
  options.blocks.every_rows = 301;  // by turns an order begins a block, and an update
  std::vector<Transaction> stream = shop(1, 1);
  for (std::int64_t i = 1; i < 1000; ++i) {
    const TimeUs at = day(0.1 * static_cast<double>(i));
    const std::string update =
        change_record(customers_layout(), Op::Update,
                      {Value::of_integer(29), Value::of_text(i % 4 == 1 ? "Bonn" : "Graz")}, at);
    stream.push_back({static_cast<std::uint64_t>(i) + 1,
                      {i % 2 == 0 ? order(1000 + i, i % 30, 3, at) : update}});
  }
  World world(config, options);
  world.feed(std::span(stream).first(950));  // in the fourth block
  ASSERT_TRUE(world.fold().checkpoint());
  world.crash();
  world.feed(std::span(stream).subspan(950));
  EXPECT_EQ(world.stored_digest(), digest_of(config, stream, options));
}

TEST(GraphNetwork, ABoundOnExpertsKeepsTheSameBitsForAnyGroupingAndThreads) {
  const Config config = shop_config();
  const auto stream = shop(6, 600);
  FoldOptions options = network_options();
  options.blocks.every_rows = 300;  // several experts
  const std::string free = digest_of(config, stream, options);
  options.network.batch_experts = 256;
  EXPECT_EQ(digest_of(config, stream, options), free) << "a bound that bounds nothing";
  options.network.batch_experts = 1;
  const std::string expected = digest_of(config, stream, options);
  EXPECT_NE(expected, free);
  options.checkpoint_records_min = 1;
  EXPECT_EQ(digest_of(config, stream, options, 7), expected);
  models::set_threads(2);
  EXPECT_EQ(digest_of(config, stream, options, 1000), expected);
  models::set_threads(1);
}

TEST(GraphNetwork, CrashesAnywhereChangeNothing) {
  const Config config = shop_config();
  const auto stream = shop(2, kOrders);
  for (const std::int64_t lateness : {std::int64_t{0}, 2 * kDayUs}) {
    FoldOptions options = network_options();
    options.lateness_us = lateness;
    if (lateness > 0) {
      options.network.memory = 300;                    // examples are left out, too
      options.network.activation_bytes_max = 64 * 64;  // passes of 64 nodes
    }
    const std::string expected = digest_of(config, stream, options);
    for (std::uint64_t seed = 0; seed < 3; ++seed) {
      EXPECT_EQ(digest_after_crashes(config, stream, options, seed), expected) << "seed " << seed;
    }
  }
}

TEST(GraphNetwork, RowsAfterATimeDoNotChangePredictionsUpToIt) {
  const Config config = shop_config();
  const auto stream = shop(3, kOrders, false);
  const FoldOptions options = network_options();
  World whole(config, options);
  whole.feed(stream);
  Rng rng(3, 2, Purpose::Test);
  for (int round = 0; round < 5; ++round) {
    const auto upto = stream.size() / 4 + rng.below(stream.size() / 2);
    World cut_off(config, options);
    cut_off.feed(std::span(stream).first(upto));
    ASSERT_GT(cut_off.sink->payloads.size(), 100u);
    for (std::size_t i = 0; i < cut_off.sink->payloads.size(); ++i)
      ASSERT_EQ(cut_off.sink->payloads[i], whole.sink->payloads[i]) << "round " << round;
  }
}

TEST(GraphNetwork, AnExpertIsBornForEachBlockThatHasEnoughExamples) {
  const Config config = shop_config();
  const auto stream = shop(4, 1000);
  FoldOptions options = network_options();
  options.blocks.every_rows = 600;
  World world(config, options);
  world.feed(stream);
  for (const char* task : {"active", "spend"}) {
    const GraphNetwork& network = network_of(world, task);
    EXPECT_GT(network.steps(), 5u);
    std::uint32_t block = 0;
    for (const ExpertEvent& event : network.events()) {
      EXPECT_GT(event.block, block);
      block = event.block;
      EXPECT_EQ(event.parents.size(), options.network.fan_out.size());
    }
    EXPECT_EQ(network.experts(), network.events().size() + 1);
  }
  EXPECT_FALSE(network_of(world, "active").events().empty());
  // No more than may be.
  options.network.experts_max = 2;
  World bounded(config, options);
  bounded.feed(stream);
  EXPECT_EQ(network_of(bounded, "active").experts(), 2u);
  options.network.experts_max = 16;
  options.network.weights_bytes_max = 1;
  World poor(config, options);
  poor.feed(stream);
  EXPECT_EQ(network_of(poor, "active").experts(), 1u);
  options.network.weights_bytes_max = 512u << 20;
  // One block, one expert.
  options.blocks.every_rows = 1'000'000;
  World single(config, options);
  single.feed(stream);
  EXPECT_TRUE(network_of(single, "active").events().empty());
}

/// What the networks of all tasks say as of a time that has been.
std::map<std::string, double> said_of(World& world, TimeUs at) {
  std::map<std::string, double> said;
  for (const auto& task : world.fold().tasks())
    EXPECT_TRUE(task->what_if(task->population(at), at, [&](const Prediction& prediction) {
      for (const CandidateScore& candidate : prediction.candidates)
        if (candidate.name == GraphNetwork::kName)
          said[task->plan().name + std::string(prediction.entity_key)] = candidate.score;
      return Ok{};
    }));
  return said;
}

TEST(GraphNetwork, LearnsNothingFromATimeOn) {
  const Config config = shop_config();
  const auto stream = shop(4, 1000, false, 345);  // then amounts are another unit's
  const std::span all(stream);
  FoldOptions options = network_options();
  options.network.on_heads = false;
  options.blocks.every_rows = 150;  // with each, scales would be taken anew
  World always(config, options);
  always.feed(all.first(340));
  const std::uint64_t steps = network_of(always, "active").steps();
  const TimeUs now = always.fold().now();
  const TimeUs then = shift(now, -3 * kDayUs);
  options.network.learn_until = TimeUs{now.value + 1};
  World world(config, options);
  world.feed(all.first(340));
  EXPECT_EQ(network_of(world, "active").steps(), steps);
  for (World* fed : {&always, &world})
    fed->feed(all.subspan(340, 100));
  const auto said = said_of(world, then);
  ASSERT_TRUE(steps > 0 && said.size() > 5);
  // Not for long: of outcomes only the newest are kept, and they are read too.
  for (World* fed : {&always, &world})
    fed->feed(all.subspan(440, 120));
  EXPECT_NE(said_of(always, then), said);
  EXPECT_EQ(said_of(world, then), said);
  for (World* fed : {&always, &world})
    fed->feed(all.subspan(560));
  EXPECT_GT(network_of(always, "active").steps(), steps);
  EXPECT_EQ(network_of(world, "active").steps(), steps);
  World grouped(config, options);
  grouped.feed(stream, 100);
  EXPECT_EQ(grouped.stored_digest(), world.stored_digest());
}

TEST(GraphNetwork, RowsThatLookLikeNoBlockBeginOne) {
  const Config config = shop_config();
  constexpr std::size_t kManyOrders = 1500;
  constexpr std::size_t kDearFrom = 800;
  FoldOptions options = network_options();
  options.blocks = BlocksConfig{};  // by drift
  options.network.passes = 1;
  World same(config, options);
  same.feed(shop(5, kManyOrders, false));
  EXPECT_TRUE(network_of(same, "active").events().empty());
  const auto stream = shop(5, kManyOrders, false, kDearFrom);
  World dearer(config, options);
  dearer.feed(stream);
  ASSERT_EQ(network_of(dearer, "active").events().size(), 1u);
  EXPECT_EQ(network_of(dearer, "active").events().front().block, 1u);
  if (kSanitized) return;  // the rest takes a minute
  // What the mixtures are made of is kept across commits and crashes.
  options.checkpoint_records_min = 1;
  const std::string expected = digest_of(config, stream, options);
  EXPECT_EQ(digest_after_crashes(config, stream, options, 1), expected);
}

TEST(GraphNetwork, TellsEveryBirthBehindThePredictionsBeforeIt) {
  const Config config = shop_config();
  const auto stream = shop(4, 600);
  FoldOptions options = network_options();
  World whole(config, options);
  whole.feed(stream);
  for (const char* task : {"active", "spend"}) {
    const auto& events = network_of(whole, task).events();
    std::size_t told = 0;
    for (const ExpertNews& news : whole.sink->news) {
      if (news.task != task) continue;
      ASSERT_LT(told, events.size());
      EXPECT_EQ(news.as_of, events[told].at);
      EXPECT_EQ(news.block, events[told].block);
      EXPECT_EQ(news.parents, events[told].parents);
      EXPECT_EQ(news.count, ++told);
      EXPECT_GT(news.model, 0u);
    }
    EXPECT_EQ(told, events.size());
  }
  ASSERT_GE(whole.sink->news.size(), 2u);
  options.checkpoint_records_min = 1;
  World grouped(config, options);
  grouped.feed(stream, 7);
  EXPECT_EQ(grouped.sink->news, whole.sink->news);
  // Whoever crashes tells again what it had not committed: the same.
  options.checkpoint_records_min = 200;
  World crashing(config, options);
  std::vector<ExpertNews> heard;
  const auto listen = [&] {
    for (const ExpertNews& news : crashing.sink->news) {
      if (std::ranges::find(heard, news) == heard.end()) heard.push_back(news);
    }
  };
  for (std::size_t at = 0; at < stream.size(); at += 90) {
    crashing.feed(std::span(stream).subspan(at, std::min<std::size_t>(90, stream.size() - at)));
    listen();
    crashing.crash();
    listen();
  }
  EXPECT_EQ(heard, whole.sink->news);
}

/// All that a task's network tells of itself, with its scores of now, but what learning cost.
nlohmann::ordered_json course_of(World& world, std::string_view name) {
  AnyTask& task = *world.fold().find_task(name);
  const BlockScores now = task.network()->score_blocks(world.fold().now());
  auto course = network_course_json(task, &now);
  EXPECT_EQ(course.erase("training_cpu_seconds"), 1u);
  return course;
}

TEST(GraphNetwork, MetricsAreTheSameForAnyGroupingAndAcrossCrashes) {
  const Config config = shop_config();
  const auto stream = shop(4, 600);
  FoldOptions options = network_options();
  World whole(config, options);
  whole.feed(stream);
  options.checkpoint_records_min = 1;
  World grouped(config, options);
  grouped.feed(stream, 7);
  options.checkpoint_records_min = 200;
  World crashing(config, options);
  for (std::size_t at = 0; at < stream.size(); at += 90) {
    crashing.feed(std::span(stream).subspan(at, std::min<std::size_t>(90, stream.size() - at)));
    crashing.crash();
  }
  EXPECT_GE(network_of(whole, "active").events().size(), 2u);
  for (const char* task : {"active", "spend"}) {
    const auto course = course_of(whole, task);
    EXPECT_EQ(course_of(grouped, task).dump(), course.dump());
    EXPECT_EQ(course_of(crashing, task).dump(), course.dump());
    // One row before each birth, and that of now; a block of each is among the columns.
    const GraphNetwork& network = network_of(whole, task);
    const auto& rows = course["matrix"]["rows"];
    ASSERT_EQ(rows.size(), network.events().size() + 1);
    EXPECT_EQ(course["matrix"]["measure"], task == std::string("active") ? "auroc" : "mae");
    for (std::size_t r = 0; r < rows.size(); ++r) {
      EXPECT_EQ(rows[r]["experts"], r + 1);
      std::size_t known = 0;
      for (const auto& loss : rows[r]["losses"])
        if (loss.is_number()) ++known;
      EXPECT_GE(known, r + 1);
    }
    ASSERT_EQ(course["layers"].size(), options.network.fan_out.size());
    for (const auto& layer : course["layers"]) {
      EXPECT_GT(layer["nodes"], 100);
      for (const char* share : {"own_block", "dead"}) {
        EXPECT_GE(layer[share], 0);
        EXPECT_LE(layer[share], 1);
      }
    }
    const auto& points = course["routing"]["points"];
    ASSERT_GT(points.size(), 5u);
    for (const auto& point : points) {
      for (const auto& layer : point["layers"]) {
        ASSERT_EQ(layer.size(), network.experts() + 1);
        double sum = 0;
        for (const double share : layer)
          sum += share;
        EXPECT_NEAR(sum, 1, 1e-5);
      }
    }
  }
}

TEST(GraphNetwork, QuestionsLeaveNoTrace) {
  const Config config = shop_config();
  const auto stream = shop(5, kOrders);
  const FoldOptions options = network_options();
  World quiet(config, options);
  quiet.feed(stream);
  World asked(config, options);
  for (std::size_t at = 0; at < stream.size(); at += 40) {
    asked.feed(std::span(stream).subspan(at, std::min<std::size_t>(40, stream.size() - at)));
    for (const auto& task : asked.fold().tasks()) {
      const TimeUs now = asked.fold().now();
      if (now == kTimeMin) continue;
      task->network()->score_blocks(now);
      ASSERT_TRUE(task->what_if(task->population(now), now, [](Prediction&) { return Ok{}; }));
    }
  }
  World* between = nullptr;
  std::size_t questions = 0;
  FoldOptions asking = options;
  asking.between_instants = [&] {
    if (between == nullptr || ++questions % 7 != 0) return;
    for (const auto& task : between->fold().tasks()) {
      const TimeUs now = between->fold().now();
      ASSERT_TRUE(task->what_if(task->population(now), now, [](Prediction&) { return Ok{}; }));
    }
  };
  World interrupted(config, asking);
  between = &interrupted;
  interrupted.feed(stream, 100);
  EXPECT_GT(questions, kOrders / 2);
  EXPECT_EQ(interrupted.stored_digest(), quiet.stored_digest());
  EXPECT_EQ(asked.stored_digest(), quiet.stored_digest());
  for (const char* task : {"active", "spend"})
    EXPECT_EQ(course_of(asked, task).dump(), course_of(quiet, task).dump());
}

TEST(LiveSink, LeavesOutNewsThatAStoredPredictionFollowed) {
  stream::Mailbox<stream::OutgoingBatch> mail(8);
  LiveSink sink(mail, PredictionSeq{100});
  ExpertNews news;
  news.task = "churn";
  for (const std::uint64_t seq : {40U, 99U, 100U, 101U}) {
    news.seq = PredictionSeq{seq};
    sink.experts(news, 2);
  }
  ASSERT_EQ(mail.size(), 2U);
  const auto batch = mail.try_receive();
  ASSERT_TRUE(batch.has_value());
  EXPECT_EQ(batch->epoch, 2U);
  EXPECT_EQ(batch->progress.seq, PredictionSeq{100});
  EXPECT_EQ(batch->progress.flags, PredictionHeader::flag_progress);
  ASSERT_EQ(batch->predictions.size(), 1U);
  EXPECT_EQ(batch->predictions[0].topic, "experts/churn");
  EXPECT_EQ(batch->predictions[0].header.flags,
            PredictionHeader::flag_progress | PredictionHeader::flag_experts);
}

double sliding_auroc(const AnyTask& task, std::string_view candidate) {
  const auto names = task.candidate_names();
  const auto found = std::ranges::find(names, candidate);
  EXPECT_NE(found, names.end());
  const auto& metrics = task.metrics()[static_cast<std::size_t>(found - names.begin())];
  const models::Metrics sliding = metrics.sliding();
  const auto auroc = std::ranges::find(sliding, "auroc", &models::Metrics::value_type::first);
  return auroc == sliding.end() ? 0 : auroc->second;
}

TEST(GraphNetwork, LearnsWhatAParentSays) {
  if (kSanitized) GTEST_SKIP() << "takes minutes under a sanitizer; learning is not its matter";
  const Config config = regions_config();
  FoldOptions options = network_options();
  options.network.passes = 4;
  options.network.batch = 128;
  options.blocks.every_rows = 4000;
  World world(config, options);
  world.feed(regions(5));
  AnyTask& task = *world.fold().find_task("active");
  EXPECT_GT(sliding_auroc(task, GraphNetwork::kName), 0.8);
  const BlockScores scores = task.network()->score_blocks(world.fold().now());
  ASSERT_FALSE(scores.scores.empty());
  EXPECT_GT(scores.scores.back().measure, 0.8) << "on examples it has learnt from";
  EXPECT_LT(scores.scores.back().loss, std::log(2.0));
}

TEST(GraphNetwork, ARidgeOverItsVectorsLearnsWhatAParentSays) {
  if (kSanitized) GTEST_SKIP() << "takes minutes under a sanitizer; learning is not its matter";
  const Config config = regions_config();
  FoldOptions options = network_options();
  options.network.passes = 4;
  options.network.batch = 128;
  options.network.ridge = true;
  options.network.on_heads = false;  // it has no other source than the vectors
  options.blocks.every_rows = 4000;
  World world(config, options);
  world.feed(regions(5));
  EXPECT_GT(sliding_auroc(*world.fold().find_task("active"), NetworkRidge::kName), 0.75);
}

}  // namespace
}  // namespace accrete::daemon
