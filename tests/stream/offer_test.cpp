// Offers: whole or not at all, and known again.
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "ingest_fixture.h"
#include "stream/offer_memory.h"

namespace accrete::stream {
namespace {

struct Said {
  int times = 0;
  bool good = false;
  Errc code = Errc::Malformed;
  OfferOutcome outcome;
};

/// Sessions over a sink that outlives them, as a log does its daemon.
class OfferTest : public testing::Test {
 protected:
  void SetUp() override { restart(); }

  void restart() {
    sessions =
        std::make_unique<IngestSessions>(IngestOptions{}, test_schema(), sink.layouts(), sink);
  }

  /// An offer of one row an event, with its identity (0: none). The answer is there after commit().
  std::shared_ptr<Said> offer(const std::vector<std::pair<std::int64_t, std::uint64_t>>& events,
                              const std::string& source = "http/a",
                              std::shared_ptr<OfferOrder> order = nullptr) {
    Offer made;
    made.order = std::move(order);
    made.source = source;
    encode_layout(orders_layout(), made.bytes);
    made.ends.push_back(static_cast<std::uint32_t>(made.bytes.size()));
    for (const auto& [id, identity] : events) {
      made.bytes += row(id);
      made.ends.push_back(static_cast<std::uint32_t>(made.bytes.size()));
      made.events.push_back({made.ends.size(), identity});
    }
    auto said = std::make_shared<Said>();
    made.answer = [said](const Status& status, const OfferOutcome& outcome) {
      ++said->times;
      said->good = status.has_value();
      if (!status) said->code = status.error().code;
      said->outcome = outcome;
    };
    sessions->on_offer(std::move(made));
    return said;
  }
  void commit() { EXPECT_TRUE(sessions->commit()); }
  std::size_t rows(const std::string& source = "http/a") const {
    std::size_t count = 0;
    for (const MemorySink::Entry& entry : sink.log(source))
      for (const std::string& record : entry.records)
        count += record.front() == 0x0A ? 0u : 1u;  // layouts are no rows
    return count;
  }

  MemorySink sink;
  std::unique_ptr<IngestSessions> sessions;
};

TEST_F(OfferTest, IsAnsweredByTheCommit) {
  const auto said = offer({{1, 11}, {2, 12}, {3, 0}});
  EXPECT_EQ(said->times, 0);
  commit();
  EXPECT_EQ(said->times, 1);
  EXPECT_TRUE(said->good);
  EXPECT_EQ(said->outcome.rows, 3u);
  ASSERT_EQ(sink.log("http/a").size(), 1u) << "one transaction";
  EXPECT_EQ(rows(), 3u);
}

TEST_F(OfferTest, ABadRecordLeavesNothing) {
  const auto said = offer({{1, 11}, {-1, 12}, {3, 13}});
  EXPECT_EQ(said->times, 1) << "at once";
  EXPECT_EQ(said->code, Errc::Malformed);
  EXPECT_EQ(said->outcome.event, 2u);
  commit();
  EXPECT_EQ(rows(), 0u);
  EXPECT_TRUE(sink.dead("http/a").empty());
  EXPECT_EQ(sink.position("http/a"), 0u);
  const auto again = offer({{1, 11}});
  commit();
  EXPECT_EQ(again->outcome.rows, 1u) << "the refused event is not known";
}

TEST_F(OfferTest, KnownEventsAreLeftOut) {
  offer({{1, 11}, {2, 12}});
  const auto same_group = offer({{2, 12}, {3, 13}, {3, 13}, {4, 0}});
  commit();
  EXPECT_EQ(same_group->outcome.rows, 2u);
  EXPECT_EQ(same_group->outcome.duplicates, 2u);
  restart();
  const auto after = offer({{1, 11}, {3, 13}, {4, 0}, {5, 15}});
  commit();
  EXPECT_EQ(after->outcome.rows, 2u) << "those without an identity are taken again";
  const auto all = offer({{1, 11}, {5, 15}});
  const auto other = offer({{1, 11}}, "http/b");
  commit();
  EXPECT_TRUE(all->good);
  EXPECT_EQ(all->outcome.duplicates, 2u);
  EXPECT_EQ(other->outcome.rows, 1u) << "of another source";
  EXPECT_EQ(rows(), 6u);
}

TEST_F(OfferTest, AFailedCommitForgets) {
  sink.refuse(1, Errc::Exhausted);
  const auto said = offer({{1, 11}});
  const auto repeat = offer({{1, 11}});
  commit();
  for (const auto& one : {said, repeat}) {
    EXPECT_EQ(one->times, 1);
    EXPECT_FALSE(one->good);
    EXPECT_EQ(one->code, Errc::Exhausted);
  }
  const auto again = offer({{1, 11}});
  commit();
  EXPECT_EQ(again->outcome.rows, 1u);
  EXPECT_EQ(rows(), 1u);
}

TEST_F(OfferTest, InAnOrderNoneIsTakenBehindOneThatWasNot) {
  auto order = std::make_shared<OfferOrder>();
  const auto first = offer({{1, 11}}, "http/a", order);
  sink.refuse(1, Errc::Exhausted);
  commit();
  EXPECT_EQ(first->code, Errc::Exhausted);
  const auto second = offer({{2, 12}}, "http/a", order);
  EXPECT_EQ(second->times, 1) << "at once";
  EXPECT_EQ(second->code, Errc::Gap);
  const auto free = offer({{3, 13}});
  commit();
  EXPECT_TRUE(free->good) << "the others stand for themselves";
  order = std::make_shared<OfferOrder>();
  const auto bad = offer({{-1, 14}}, "http/a", order);
  EXPECT_EQ(bad->code, Errc::Malformed);
  const auto behind = offer({{1, 11}, {2, 12}}, "http/a", order);
  commit();
  EXPECT_TRUE(behind->good) << "what is wrong stops nothing";
  EXPECT_EQ(rows(), 3u);
}

TEST_F(OfferTest, ManySourcesAreReadAgain) {
  for (int round = 0; round < 2; ++round) {
    for (std::int64_t i = 0; i < 40; ++i) {
      const auto said = offer({{i, 11}}, "http/" + std::to_string(i));
      commit();
      EXPECT_EQ(said->outcome.rows, round == 0 ? 1u : 0u) << i;
    }
  }
}

TEST(OfferMemory, TheOldestGoFirstAndWithTheirPages) {
  OfferMemory memory;
  std::map<std::uint64_t, std::string> kept;
  const std::uint64_t pages = 20, size = OfferMemory::kEventsMax / 8;
  std::vector<std::uint64_t> identities(size);
  for (std::uint64_t page = 1; page <= pages; ++page) {
    for (std::uint64_t i = 0; i < size; ++i)
      identities[i] = page * size + i + 1;
    Transaction transaction;
    memory.add(page, identities, transaction);
    kept[page] = transaction.memory;
    for (std::uint64_t old = transaction.forget_begin; old < transaction.forget_end; ++old)
      EXPECT_EQ(kept.erase(old), 1u);
  }
  EXPECT_EQ(kept.size(), 8u);
  std::vector<KeptMemory> stored;
  for (const auto& [position, bytes] : kept)
    stored.push_back({position, bytes});
  const auto read = OfferMemory::open(stored);
  ASSERT_TRUE(read);
  for (std::uint64_t page = 1; page <= pages; ++page) {
    EXPECT_EQ(memory.knows(page * size + 1), page > 12) << page;
    EXPECT_EQ(read.value().knows(page * size + size), page > 12) << page;
  }
  stored.front().bytes.pop_back();
  EXPECT_FALSE(OfferMemory::open(stored));
}

}  // namespace
}  // namespace accrete::stream
