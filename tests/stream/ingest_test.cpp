// The ingest protocol rule by rule, without a socket.
#include <chrono>
#include <functional>
#include <list>
#include <memory>

#include <gtest/gtest.h>

#include "ingest_fixture.h"
#include "proto/limits.h"
#include "stream/batch_frame.h"

namespace accrete::stream {
namespace {

using Entry = MemorySink::Entry;
constexpr auto kPending = wire::Part::PENDING;
constexpr auto kCommit = wire::Part::COMMIT;
constexpr auto kEach = wire::Part::EACH;
constexpr auto kRollback = wire::Part::ROLLBACK;

/// The machine over a log in memory. Frames stay alive until the commit, as the server keeps them.
class IngestTest : public testing::Test {
 protected:
  void SetUp() override { start(); }

  void start() {
    sessions_ = std::make_unique<IngestSessions>(options_, test_schema(), sink_.layouts(), sink_);
  }
  void give(const std::string& peer, std::string frame) {
    frames_.push_back(std::move(frame));
    sessions_->on_frame(peer, frames_.back(), when_);
  }
  void hello(const std::string& peer, const std::vector<std::string>& sources = {"s"}) {
    give(peer, hello_frame("p", sources));
  }
  void batch(const std::string& peer, std::uint64_t number, const std::vector<PartOf>& parts,
             const std::string& source = "s") {
    give(peer, batch_message(source, number, parts).SerializeAsString());
  }
  /// Commit, and all replies since the last call as text: "W5", "A3/10" (batch/position),
  /// "F GAP detail".
  std::vector<std::string> replies() {
    status_ = sessions_->commit();
    frames_.clear();
    std::vector<std::string> out;
    for (const IngestReply& reply : sessions_->take_replies()) {
      wire::FromIngest message;
      EXPECT_TRUE(message.ParseFromString(reply.frame));
      out.push_back(text_of(message));
    }
    return out;
  }
  static std::string text_of(const wire::FromIngest& message) {
    switch (message.body_case()) {
      case wire::FromIngest::kWelcome:
        return "W" + std::to_string(message.welcome().sources(0).position());
      case wire::FromIngest::kAck:
        return "A" + std::to_string(message.ack().batch()) + "/" +
               std::to_string(message.ack().position());
      case wire::FromIngest::kFault:
        return "F " + wire::Fault::Code_Name(message.fault().code()) + " " +
               message.fault().detail();
      default:
        return "pong";
    }
  }

  IngestOptions options_;
  MemorySink sink_;
  std::unique_ptr<IngestSessions> sessions_;
  std::list<std::string> frames_;
  Instant when_{};
  Status status_ = Ok{};
  const std::string layout_ = layout_record(orders_layout());
};

using Texts = std::vector<std::string>;

TEST_F(IngestTest, HelloBatchAck) {
  hello("a");
  batch("a", 1, {{1, kCommit, 10, {layout_, row(1), row(2)}}});
  batch("a", 2, {{2, kPending, 0, {row(3)}}, {0, kEach, 12, {row(4), row(5)}}});
  EXPECT_EQ(replies(), (Texts{"W0", "A2/12"}));
  batch("a", 3, {{2, kCommit, 13, {row(6)}}});
  EXPECT_EQ(replies(), Texts{"A3/13"});
  EXPECT_EQ(sink_.log("s"), (std::vector<Entry>{{10, {layout_, row(1), row(2)}},
                                                {11, {row(4)}},
                                                {12, {row(5)}},
                                                {13, {row(3), row(6)}}}));
  EXPECT_EQ(sink_.calls(), 2);
  const IngestCounters& counters = sessions_->counters();
  EXPECT_EQ(counters.rows, 7u);
  EXPECT_EQ(counters.transactions, 4u);
  EXPECT_EQ(counters.commits, 2u);
  EXPECT_EQ(counters.faults, 0u);
}

TEST_F(IngestTest, RefusedFrames) {
  options_.sources_max = 2;
  options_.producers_max = 1;
  options_.endpoint.frame_bytes_max = 8192;
  start();
  const std::string long_name(limits::name_bytes_max + 1, 'n');
  const std::string three = " must have 1 to 256 bytes";
  wire::ToIngest nothing;
  const std::vector<std::pair<std::string, std::string>> cases = {
      {hello_frame("p", {"s"}, 2), "F MALFORMED protocol 2 is not spoken here; use 1"},
      {hello_frame("", {"s"}), "F MALFORMED the producer's name" + three},
      {hello_frame("p", {long_name}), "F MALFORMED a source's name" + three},
      {hello_frame("p", {""}), "F MALFORMED a source's name" + three},
      {hello_frame("p", {}), "F MALFORMED HELLO names no source"},
      {hello_frame("p", {"s", "s"}), "F MALFORMED HELLO names source \"s\" twice"},
      {hello_frame("p", {"s", "t", "u"}),
       "F EXHAUSTED more than 2 sources; raise sources_max or close other producers"},
      {batch_message("s", 1, {}).SerializeAsString(),
       "F GAP a batch before HELLO; say HELLO again and resume after the WELCOME's position"},
      {nothing.SerializeAsString(), "F MALFORMED not a ToIngest message; see proto/stream.proto"},
      {"\xff\xff garbage", "F MALFORMED not a ToIngest message; see proto/stream.proto"},
      {std::string(8193, 'x'),
       "F EXHAUSTED a frame of 8193 bytes; at most 8192 are taken, cut the transaction into "
       "PENDING parts"},
  };
  for (const auto& [frame, fault] : cases) {
    give("a", frame);
    EXPECT_EQ(replies(), Texts{fault});
  }
  EXPECT_EQ(sessions_->counters().faults, cases.size());
  EXPECT_EQ(sessions_->counters().sessions, 0u);
  sessions_->on_garbage("a", 3);
  EXPECT_EQ(replies(),
            Texts{"F MALFORMED a message of 3 frames; send one ToIngest message a frame"});

  hello("a");
  hello("b");  // one producer is the limit, and it is not idle
  when_ += std::chrono::minutes(6);
  hello("b");  // now it is
  batch("a", 1, {});
  EXPECT_EQ(replies(),
            (Texts{"W0",
                   "F EXHAUSTED more than 1 producers; raise [limits] producers_max or close "
                   "others",
                   "W0",
                   "F GAP a batch before HELLO; say HELLO again and resume after the WELCOME's "
                   "position"}));
}

TEST_F(IngestTest, RefusedBatchesChangeNothing) {
  hello("a");
  EXPECT_EQ(replies(), Texts{"W0"});
  const std::vector<std::pair<std::vector<PartOf>, std::string>> cases = {
      {{{1, kCommit, 0, {}}},
       "F MALFORMED batch 1: a COMMIT part without a position; positions begin at 1"},
      {{{0, kEach, 1, {layout_, row(1)}}},
       "F MALFORMED batch 1: an EACH part needs records and a position that is not below their "
       "number"},
      {{{0, kEach, 5, {}}},
       "F MALFORMED batch 1: an EACH part needs records and a position that is not below their "
       "number"},
      {{{0, static_cast<wire::Part::Commit>(9), 5, {}}},
       "F MALFORMED batch: unknown kind of part 9 at byte 9"},
  };
  for (const auto& [parts, fault] : cases) {
    batch("a", 1, parts);
    EXPECT_EQ(replies(), Texts{fault});
  }
  batch("a", 1, {}, "other");
  EXPECT_EQ(replies(), Texts{"F MALFORMED the batch's source was not named in HELLO"});
  batch("a", 1, {{1, kCommit, 1, {layout_, row(1)}}});  // still the next one
  EXPECT_EQ(replies(), Texts{"A1/1"});
}

TEST_F(IngestTest, GapNeedsHello) {
  const std::string gap =
      "F GAP expected batch 2, got 3; say HELLO again and resume after the WELCOME's position";
  hello("a");
  batch("a", 1, {{1, kCommit, 1, {layout_, row(1)}}, {7, kPending, 0, {row(7)}}});
  batch("a", 3, {{3, kCommit, 3, {row(3)}}});
  batch("a", 2, {{2, kCommit, 2, {row(2)}}});
  EXPECT_EQ(replies(), (Texts{"W0", gap, gap, "A1/1"}));
  hello("a");
  batch("a", 1, {{7, kCommit, 2, {row(2)}}});  // the open piece of 7 is forgotten
  EXPECT_EQ(replies(), (Texts{"W1", "A1/2"}));
  EXPECT_EQ(sink_.log("s").back(), (Entry{2, {row(2)}}));
}

TEST_F(IngestTest, DuplicatesAreDroppedWholeAndCounted) {
  hello("a");
  hello("b");
  batch("a", 1, {{1, kCommit, 5, {layout_, row(1)}}});
  batch("b", 1, {{1, kCommit, 5, {layout_, row(1)}}, {0, kEach, 6, {row(-1), row(2)}}});
  EXPECT_EQ(replies(), (Texts{"W0", "W0", "A1/6", "A1/6"}));
  EXPECT_EQ(sink_.log("s"), (std::vector<Entry>{{5, {layout_, row(1)}}, {6, {row(2)}}}));
  EXPECT_EQ(sessions_->counters().duplicates, 2u);
  EXPECT_TRUE(sink_.dead("s").empty()) << "the fault of a duplicate's row is nobody's business";
}

TEST_F(IngestTest, LayoutsAreLoggedOnceAndBeforeTheirRows) {
  const std::string items = layout_record(items_layout());
  hello("a");
  batch("a", 1, {{1, kCommit, 1, {layout_}}, {2, kCommit, 2, {layout_, row(9)}}});
  // Declared by a transaction that is set aside, by a duplicate, and by one rolled back.
  batch("a", 2, {{3, kCommit, 3, {items, row(-1, items_layout())}}, {4, kCommit, 1, {items}}});
  batch("a", 3, {{5, kPending, 0, {items}}, {5, kRollback, 0, {}}});
  batch("a", 4, {{6, kCommit, 4, {row(1, items_layout()), row(2, items_layout())}}});
  replies();
  EXPECT_EQ(sink_.log("s"),
            (std::vector<Entry>{{1, {}},
                                {2, {layout_, row(9)}},
                                {4, {items, row(1, items_layout()), row(2, items_layout())}}}));
  start();  // a restart: the log's layouts are known
  hello("a");
  batch("a", 1, {{7, kCommit, 5, {items, row(3, items_layout())}}, {8, kCommit, 6, {row(4)}}});
  EXPECT_EQ(replies(), (Texts{"W4", "A1/6"}));
  EXPECT_EQ(sink_.log("s").back(), (Entry{6, {row(4)}}));
}

TEST_F(IngestTest, BadRecordsSetTheirTransactionAside) {
  Change wide;
  wide.layout = orders_layout().hash();
  wide.cells = {Value::of_integer(1)};
  std::string short_row;
  encode_change(wide, short_row);
  std::string request;
  encode_request({"", {}, TimeUs{0}}, request);
  const std::vector<std::pair<std::string, std::string>> cases = {
      {row(-1), "orders.id is NULL: a key column must not be null"},
      {short_row, "orders: 1 cells, the layout has 2 columns"},
      {"\x12\x05", "record: "},
      {row(1, {"orders", {"id", "x"}}), ", which was never declared; send the table's Layout "},
      {layout_record({"ordrs", {"id"}}), "did you mean \"orders\"?"},
      {request, "a request must name a task (1 to 256 bytes)"},
  };
  hello("a");
  batch("a", 1, {{1, kCommit, 1, {layout_}}});
  replies();
  std::uint64_t position = 1;
  std::uint64_t number = 1;
  for (const auto& [bad, reason] : cases) {
    for (const bool pieces : {false, true}) {
      ++position;
      std::vector<PartOf> parts = {{9, kCommit, position, {row(1), bad, row(2)}}};
      if (pieces) parts = {{9, kPending, 0, {row(1), bad}}, {9, kCommit, position, {row(2)}}};
      batch("a", ++number, parts);
      const Texts got = replies();
      ASSERT_EQ(got.size(), 2u);
      EXPECT_EQ(got[0].find("F MALFORMED source \"s\", transaction at position " +
                            std::to_string(position) +
                            " was set aside in the dead-letter log: record 2: "),
                0u)
          << got[0];
      EXPECT_NE(got[0].find(reason), std::string::npos) << got[0];
      EXPECT_EQ(got[1], "A" + std::to_string(number) + "/" + std::to_string(position));
      const MemorySink::Dead dead = sink_.dead("s").back();
      EXPECT_EQ(dead.position, position);
      EXPECT_EQ(dead.record, bad);
      EXPECT_NE(dead.reason.find(reason), std::string::npos);
    }
  }
  batch("a", ++number, {{0, kEach, position + 3, {row(1), row(-1), row(2)}}});
  replies();
  EXPECT_EQ(sink_.dead("s").size(), 2 * cases.size() + 1);
  EXPECT_EQ(
      sink_.log("s"),
      (std::vector<Entry>{{1, {}}, {position + 1, {layout_, row(1)}}, {position + 3, {row(2)}}}));
  EXPECT_EQ(sessions_->counters().rejected, 2 * cases.size() + 1);
}

TEST_F(IngestTest, LargeTransactions) {
  options_.transaction_bytes_max = 4096;
  options_.open_bytes_max = 8192;
  start();
  const std::string big = row(1, orders_layout(), std::string(3000, 'b'));
  hello("a");
  batch("a", 1, {{1, kPending, 0, {layout_, big}}, {1, kPending, 0, {big}}});
  EXPECT_EQ(replies(), (Texts{"W0", "A1/0"})) << "credit is given back, nothing is durable";
  batch("a", 2, {{1, kCommit, 1, {row(2)}}, {2, kCommit, 2, {row(3)}}});
  EXPECT_EQ(replies(),
            (Texts{"F EXHAUSTED source \"s\", transaction at position 1 was set aside in the "
                   "dead-letter log: the transaction is larger than 4096 bytes; raise [limits] "
                   "transaction_bytes_max or commit smaller ones",
                   "A2/2"}));
  EXPECT_EQ(sink_.log("s"), (std::vector<Entry>{{2, {layout_, row(3)}}}));

  // Many open ones: the producer that passes the bound must begin again; silent peers go first.
  hello("b");
  batch("b", 1, {{1, kPending, 0, {big}}});
  batch("a", 3, {{3, kPending, 0, {big}}, {4, kPending, 0, {big}}});
  const std::string full =
      "F EXHAUSTED the open transactions of all producers exceed 8192 bytes; wait, or commit "
      "smaller transactions, or raise open_bytes_max; say HELLO again and resume after the "
      "WELCOME's position";
  EXPECT_EQ(replies(), (Texts{"W2", full, "A1/2", "A3/2"}));
  when_ += std::chrono::minutes(6);
  hello("a");
  batch("a", 1, {{3, kPending, 0, {big}}, {4, kPending, 0, {big}}, {3, kCommit, 3, {}}});
  batch("b", 2, {{1, kCommit, 4, {}}});
  const std::string dropped =
      "F GAP open transactions were dropped after a long silence; say HELLO again and resume "
      "after the WELCOME's position";
  EXPECT_EQ(replies(), (Texts{"W2", dropped, dropped, "A1/3"}));
}

TEST_F(IngestTest, FailedCommitTakesNothing) {
  hello("a");
  hello("b", {"t"});
  replies();
  for (const Errc code : {Errc::Unavailable, Errc::Exhausted}) {
    sink_.refuse(1, code);
    batch("a", 1, {{1, kCommit, 1, {layout_, row(1)}}});
    const std::string detail =
        "the log is full; nothing was taken; say HELLO again and resume after the WELCOME's "
        "position";
    const std::string fault =
        (code == Errc::Unavailable ? "F UNAVAILABLE " : "F EXHAUSTED ") + detail;
    EXPECT_EQ(replies(), Texts{fault});
    EXPECT_TRUE(status_);
    batch("a", 2, {{2, kCommit, 2, {row(2)}}});
    EXPECT_EQ(replies(), Texts{fault}) << "until HELLO";
    hello("a");
    EXPECT_EQ(replies(), Texts{"W0"});
  }
  // Another producer relies on the layout that was lost with the group.
  batch("b", 1, {{1, kCommit, 1, {layout_, row(5)}}}, "t");
  batch("a", 1, {{1, kCommit, 1, {layout_, row(1)}}});
  EXPECT_EQ(replies(), (Texts{"A1/1", "A1/1"}));
  EXPECT_EQ(sink_.log("t"), (std::vector<Entry>{{1, {layout_, row(5)}}}));
  EXPECT_EQ(sink_.log("s"), (std::vector<Entry>{{1, {row(1)}}}));
  sink_.refuse(1, Errc::Corruption);
  batch("a", 2, {{2, kCommit, 2, {row(2)}}});
  EXPECT_EQ(replies().size(), 1u);
  ASSERT_FALSE(status_);
  EXPECT_EQ(status_.error().code, Errc::Corruption);
}

TEST_F(IngestTest, PingByeAndGroupSize) {
  options_.group_rows_max = 3;
  start();
  wire::ToIngest ping;
  ping.mutable_ping();
  wire::ToIngest bye;
  bye.mutable_bye();
  hello("a");
  give("a", ping.SerializeAsString());
  EXPECT_EQ(replies(), (Texts{"W0", "pong"}));
  EXPECT_EQ(sessions_->counters().sessions, 1u);
  batch("a", 1, {{0, kEach, 2, {layout_, row(1)}}});
  EXPECT_FALSE(sessions_->group_full());
  batch("a", 2, {{0, kCommit, 3, {row(2)}}});
  EXPECT_TRUE(sessions_->group_full());
  give("a", bye.SerializeAsString());
  EXPECT_EQ(replies(), Texts{}) << "committed, but nobody is there to be told";
  EXPECT_EQ(sink_.log("s").size(), 3u);
  EXPECT_EQ(sessions_->counters().sessions, 0u);
}

TEST_F(IngestTest, LegalButUnusualEncoding) {
  hello("a");
  // The same field twice: protobuf merges, so the hand-written reader must leave it alone.
  const wire::ToIngest first = batch_message("s", 1, {{1, kCommit, 1, {layout_, row(1)}}});
  const wire::ToIngest second = batch_message("s", 1, {{2, kCommit, 2, {row(2)}}});
  const std::string both = first.SerializeAsString() + second.SerializeAsString();
  EXPECT_FALSE(BatchView::recognises(both));
  give("a", both);
  EXPECT_EQ(replies(), (Texts{"W0", "A1/2"}));
}

}  // namespace
}  // namespace accrete::stream
