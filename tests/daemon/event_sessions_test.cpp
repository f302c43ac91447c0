// Messages of events: what they must be, the order of answers, and how order and memory are kept.
#include "daemon/event_sessions.h"

#include <deque>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "event_text.h"

namespace accrete::daemon {
namespace {

constexpr const char* kConfig = R"(
[[table]]
name = "t"
key = "id"
[[table]]
name = "bills"
key = "id"
time = "plcaed"
)";
constexpr const char* kRow = R"({"table":"t","row":{"id":1}})";

class EventSessionsTest : public testing::Test {
 protected:
  using Frames = std::vector<std::string>;

  void send(const Frames& frames, const std::string& peer = "p") {
    std::vector<std::string_view> views(frames.begin(), frames.end());
    sessions_.on_message(peer, views);
  }
  /// The ingest thread answers its oldest offer.
  void answer(const Status& status = Ok{}) {
    stream::OfferOutcome outcome;
    if (status) outcome.rows = offers_.front().events.size();
    offers_.front().answer(status, outcome);
    offers_.pop_front();
    sessions_.take_answers();
  }
  /// Replies as "peer: frame|frame".
  Frames replies() {
    Frames out;
    for (const EventReply& reply : sessions_.take_replies()) {
      std::string& line = out.emplace_back(reply.peer + ":");
      for (std::size_t i = 0; i < reply.frames.size(); ++i)
        line += (i == 0 ? " " : "|") + reply.frames[i];
    }
    return out;
  }

  Schema schema_ = schema_of(kConfig);
  Gauges gauges_;
  bool takes_ = true;
  std::deque<stream::Offer> offers_;
  EventSessions sessions_{schema_,
                          [this](stream::Offer& offer) {
                            if (takes_) offers_.push_back(std::move(offer));
                            return takes_;
                          },
                          gauges_};
};

const std::string kTaken = R"({"rows":1,"duplicates":0,"passed_over":0})";

TEST_F(EventSessionsTest, IsAnsweredWhenTheOfferIs) {
  send({"native", "shop", kRow});
  ASSERT_EQ(offers_.size(), 1u);
  EXPECT_EQ(offers_[0].source, "events/shop");
  EXPECT_EQ(offers_[0].order, nullptr);
  EXPECT_EQ(replies(), Frames{});
  answer();
  EXPECT_EQ(replies(), Frames{"p: " + kTaken});
  EXPECT_EQ(sessions_.unanswered(), 0u);
}

TEST_F(EventSessionsTest, AReqSocketGetsItsEmptyFrameAndAnIdComesBack) {
  send({"", "native", "", kRow, "7"});
  EXPECT_EQ(offers_.at(0).source, "events/native") << "the format, where no source is named";
  EXPECT_NE(offers_[0].events.at(0).identity, 0u) << "known again by the id";
  answer();
  EXPECT_EQ(replies(), Frames{"p: |" + kTaken + "|7"});
}

TEST_F(EventSessionsTest, ColumnsThatNoRowNamesAreTold) {
  send({"native", "", R"({"table":"bills","row":{"id":1,"placed":"2024-01-01"}})"});
  EXPECT_NE(replies().at(0).find(R"(lacks time column \"plcaed\"; is it \"placed\"?)"),
            std::string::npos);
  send({"native", "", R"({"table":"bills","row":{"id":1,"at":"2024-01-01"}})"});
  answer();
  EXPECT_EQ(replies(),
            Frames{R"(p: {"rows":1,"duplicates":0,"passed_over":0,"doubts":["table \"bills\": )"
                   R"(none of 1 new rows has time column \"plcaed\""]})"});
}

TEST_F(EventSessionsTest, RefusesWithWordsAndGoesOn) {
  const std::vector<std::pair<Frames, std::string>> cases = {
      {{}, "0 frames"},
      {{""}, "1 frames"},
      {{"native", "shop"}, "2 frames"},
      {{"native", "shop", kRow, "1", "2"}, "5 frames"},
      {{"avro", "shop", kRow}, "one of native, debezium, maxwell, wal2json, canal"},
      {{"native", std::string(300, 's'), kRow}, "source's name"},
      {{"native", "shop", kRow, std::string(300, 'i')}, "id is too long"},
      {{"native", "shop", std::string(EventSessions::kBodyBytesMax + 1, ' ')}, "at most 8388608"},
      {{"native", "shop", std::string(kRow) + R"({"table":"u","row":{"id":2}})"}, "event 2: "},
      {{"native", "shop", "\xff\xfe"}, "event 1: "}};
  for (const auto& [frames, why] : cases) {
    send(frames);
    const Frames said = replies();
    ASSERT_EQ(said.size(), 1u) << why;
    EXPECT_NE(said[0].find(why), std::string::npos) << said[0];
    EXPECT_NE(said[0].find(R"("code":"MALFORMED")"), std::string::npos) << said[0];
  }
  EXPECT_TRUE(offers_.empty());
  EXPECT_EQ(gauges_.events_refused.load(), cases.size());
  send({"native", "shop", kRow});
  answer();
  EXPECT_EQ(replies(), Frames{"p: " + kTaken});
}

TEST_F(EventSessionsTest, AnswersAPeerInTheOrderOfItsMessages) {
  send({"native", "", kRow, "1"});
  send({"native", "", "nonsense", "2"});
  send({"native", "", kRow, "3"});
  send({"native", "", "nonsense", "9"}, "q");
  const Frames other = replies();
  ASSERT_EQ(other.size(), 1u) << "the second waits for the first; another peer does not";
  EXPECT_TRUE(other[0].starts_with("q: {\"error\""));
  EXPECT_EQ(sessions_.unanswered(), 3u);
  answer();
  const Frames two = replies();
  ASSERT_EQ(two.size(), 2u);
  EXPECT_EQ(two[0], "p: " + kTaken + "|1");
  EXPECT_TRUE(two[1].ends_with("|2")) << two[1];
  answer();
  EXPECT_EQ(replies(), Frames{"p: " + kTaken + "|3"}) << "what is wrong stops nothing behind it";
}

TEST_F(EventSessionsTest, NothingIsTakenBehindWhatWasNot) {
  send({"native", "", kRow, "1"});
  send({"native", "", kRow, "2"});
  ASSERT_EQ(offers_.size(), 2u);
  EXPECT_EQ(offers_[0].order, offers_[1].order);
  ASSERT_NE(offers_[0].order, nullptr);
  answer(Error{Errc::Exhausted, "the log is full"});
  answer(Error{Errc::Gap, "stopped"});
  const Frames said = replies();
  ASSERT_EQ(said.size(), 2u);
  EXPECT_NE(said[0].find(R"("code":"EXHAUSTED")"), std::string::npos);
  EXPECT_NE(said[1].find(R"("code":"GAP")"), std::string::npos);
  send({"native", "", kRow, "3"});
  EXPECT_TRUE(offers_.empty()) << "1 must come first";
  EXPECT_NE(replies().at(0).find(R"(message \"1\")"), std::string::npos);
  send({"native", "", kRow});
  EXPECT_EQ(offers_.size(), 1u) << "without an id there is no order";
  answer();
  replies();
  for (const char* id : {"1", "2", "3"})
    send({"native", "", kRow, id});
  EXPECT_EQ(offers_.size(), 3u);
  EXPECT_FALSE(offers_.at(0).order->stopped);
  for (int i = 0; i < 3; ++i)
    answer();
  EXPECT_EQ(replies().size(), 3u);
  EXPECT_EQ(gauges_.events_delayed.load(), 3u);
}

TEST_F(EventSessionsTest, WhatWasBehindAFailureDoesNotStopItsRepetition) {
  send({"native", "", kRow, "1"});
  send({"native", "", kRow, "2"});
  answer(Error{Errc::Unavailable, "later"});
  send({"native", "", kRow, "1"});
  ASSERT_EQ(offers_.size(), 2u) << "the second, still on its way, and the first again";
  answer(Error{Errc::Gap, "stopped"});
  send({"native", "", kRow, "2"});
  EXPECT_EQ(offers_.size(), 2u);
  answer();
  answer();
  const Frames said = replies();
  ASSERT_EQ(said.size(), 4u);
  EXPECT_EQ(said[2], "p: " + kTaken + "|1");
  EXPECT_EQ(said[3], "p: " + kTaken + "|2");
}

TEST_F(EventSessionsTest, ReadsNoMoreThanItMayHold) {
  std::size_t sent = 0;
  for (; sessions_.room(); ++sent)
    send({"native", "", kRow});
  EXPECT_EQ(sent, EventSessions::kUnansweredMax);
  answer();
  EXPECT_TRUE(sessions_.room());
  while (!offers_.empty())
    answer();
  EXPECT_EQ(replies().size(), sent);
  const std::string large = kRow + std::string(EventSessions::kBodyBytesMax - 100, ' ');
  for (sent = 0; sessions_.room(); ++sent)
    send({"native", "", large});
  EXPECT_LE(sent, 3u);
}

TEST_F(EventSessionsTest, WrongMessagesBehindOneThatWaitsAreBoundedToo) {
  send({"native", "", kRow});
  for (std::size_t i = 1; i < EventSessions::kUnansweredMax; ++i)
    send({"nonsense"});
  EXPECT_FALSE(sessions_.room());
  EXPECT_EQ(replies(), Frames{});
  answer();
  EXPECT_EQ(replies().size(), EventSessions::kUnansweredMax);
  EXPECT_TRUE(sessions_.room());
}

TEST_F(EventSessionsTest, SaysWhenTheDaemonStops) {
  takes_ = false;
  send({"native", "", kRow, "1"});
  EXPECT_NE(replies().at(0).find(R"("code":"UNAVAILABLE")"), std::string::npos);
}

}  // namespace
}  // namespace accrete::daemon
