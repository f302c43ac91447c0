// News of experts: bytes and back, their JSON line, header and topic.
#include "proto/expert_news.h"

#include <limits>

#include <gtest/gtest.h>
#include <stream.pb.h>

namespace accrete {
namespace {

ExpertNews example() {
  ExpertNews news;
  news.task = "churn \"EU\"";
  news.count = 3;
  news.as_of = TimeUs{1'600'000'000'000'000};
  news.block = 7;
  news.parents = {0, 2};
  news.model = 9000;
  news.ordinal = Ordinal{123};
  news.seq = PredictionSeq{77};
  return news;
}

std::string encoded(const ExpertNews& news) {
  std::string out;
  encode_expert_news(news, out);
  return out;
}

TEST(ExpertNews, ComesBackFromItsBytes) {
  ExpertNews news = example();
  for (const auto kind : {ExpertNewsKind::Birth, ExpertNewsKind::Merge, ExpertNewsKind::Rollback,
                          ExpertNewsKind::Freeze}) {
    news.kind = kind;
    const auto back = decode_expert_news(encoded(news));
    ASSERT_TRUE(back) << back.error().detail;
    EXPECT_EQ(back.value(), news);
    EXPECT_EQ(encoded(back.value()), encoded(news));
  }
  news.as_of = TimeUs{-5};
  news.parents.clear();
  news.first = 2;
  news.worst_block = 4;
  news.loss_before = 0.25;
  news.loss_after = 0.5;
  news.rise_before = 0.125;
  news.rise_after = 0.75;
  news.sharper = true;
  EXPECT_EQ(decode_expert_news(encoded(news)).value(), news);
}

TEST(ExpertNews, IsOneLineOfJson) {
  EXPECT_EQ(expert_news_json(encoded(example())).value(),
            R"({"task":"churn \"EU\"","count":3,"kind":"birth","as_of":"2020-09-13T12:26:40Z",)"
            R"("block":7,"parents":[0,2],"rise":{"before":0,"after":0},"model":9000,"seq":77})");
  ExpertNews merge = example();
  merge.kind = ExpertNewsKind::Merge;
  merge.parents.clear();
  merge.first = 1;
  merge.worst_block = 4;
  merge.loss_before = 0.25;
  merge.loss_after = std::numeric_limits<double>::infinity();
  EXPECT_EQ(expert_news_json(encoded(merge)).value(),
            R"({"task":"churn \"EU\"","count":3,"kind":"merge","as_of":"2020-09-13T12:26:40Z",)"
            R"("block":7,"expert":1,"with":2,"loss":{"block":4,"before":0.25,"after":null},)"
            R"("rise":{"before":0,"after":0},"model":9000,"seq":77})");
  merge.kind = ExpertNewsKind::Rollback;
  const std::string lost = expert_news_json(encoded(merge)).value();
  EXPECT_NE(lost.find(R"("kind":"rollback")"), std::string::npos);
  EXPECT_NE(lost.find(R"("reason":"loss")"), std::string::npos);
  ExpertNews sharper = example();
  sharper.kind = ExpertNewsKind::Rollback;
  sharper.rise_before = 0.125;
  sharper.rise_after = 0.75;
  sharper.sharper = true;
  EXPECT_EQ(expert_news_json(encoded(sharper)).value(),
            R"({"task":"churn \"EU\"","count":3,"kind":"rollback",)"
            R"("as_of":"2020-09-13T12:26:40Z","block":7,"parents":[0,2],)"
            R"("rise":{"before":0.125,"after":0.75},"reason":"sharper","model":9000,"seq":77})");
}

TEST(ExpertNews, AFreezeNamesTheExpert) {
  ExpertNews freeze = example();
  freeze.kind = ExpertNewsKind::Freeze;
  freeze.parents.clear();
  freeze.first = 2;
  EXPECT_EQ(expert_news_json(encoded(freeze)).value(),
            R"({"task":"churn \"EU\"","count":3,"kind":"freeze","as_of":"2020-09-13T12:26:40Z",)"
            R"("block":7,"expert":2,"model":9000,"seq":77})");
}

TEST(ExpertNews, RefusesOtherBytes) {
  const std::string bytes = encoded(example());
  EXPECT_FALSE(decode_expert_news(bytes.substr(0, 5)));
  wire::ExpertNews message;
  message.set_kind(static_cast<wire::ExpertNews::Kind>(9));
  const auto unknown = decode_expert_news(message.SerializeAsString());
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, Errc::Malformed);
}

TEST(ExpertNews, TravelsAsAStatementAboutTheNewestNumber) {
  const PredictionHeader header = expert_news_header(example(), 5);
  const auto frame = header.encode();
  const auto back = PredictionHeader::decode({frame.data(), frame.size()});
  ASSERT_TRUE(back);
  EXPECT_EQ(back.value().flags, PredictionHeader::flag_progress | PredictionHeader::flag_experts);
  EXPECT_EQ(back.value().epoch, 5u);
  EXPECT_EQ(back.value().seq, PredictionSeq{77});
  EXPECT_EQ(back.value().model, 9000u);
  EXPECT_EQ(expert_news_topic("churn"), "experts/churn");
}

}  // namespace
}  // namespace accrete
