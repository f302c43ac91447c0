// What decides completeness, without sockets: links, tracked prefixes and the merge, against naive
// references.
#include "stream/feed.h"

#include <algorithm>
#include <deque>
#include <map>

#include <gtest/gtest.h>

#include "proto/rng.h"
#include "stream/subscriptions.h"

namespace accrete::stream {
namespace {

std::string subscribe(std::string_view topic, bool begin = true) {
  return std::string(1, begin ? '\1' : '\0') + std::string(topic);
}

// ---- chain ------------------------------------------------------------------------------------

TEST(ChainTest, LinksAreFoundByTheLengthOfTheirPrefix) {
  std::string frame;
  append_link(frame, 0, 7);
  append_link(frame, 5, 0xFFFF'FFFF'FFFF'FFFF);
  append_link(frame, kTopicBytesMax, 0x0102'0304'0506'0708);
  EXPECT_EQ(frame.size(), 3 * kLinkBytes);
  EXPECT_EQ(find_link(frame, 0), 7u);
  EXPECT_EQ(find_link(frame, 5), 0xFFFF'FFFF'FFFF'FFFFu);
  EXPECT_EQ(find_link(frame, kTopicBytesMax), 0x0102'0304'0506'0708u);
  EXPECT_EQ(find_link(frame, 6), std::nullopt);
  EXPECT_EQ(find_link("", 0), std::nullopt);
  EXPECT_EQ(find_link(std::string_view(frame).substr(1), 0), std::nullopt);
}

TEST(ChainTest, ChainTopicsNameTheirPrefixAndAreNoPrefixOfEachOther) {
  for (const std::string_view prefix : {"", "p", "pred/", "pred/churn/7"}) {
    EXPECT_EQ(prefix_of_chain(chain_topic(prefix)), prefix);
  }
  EXPECT_FALSE(chain_topic("pred/").starts_with(chain_topic("p")));
  for (const std::string_view topic : {"", "chain/", "chain/pred/", "pred/churn/7"}) {
    EXPECT_EQ(prefix_of_chain(topic), std::nullopt) << topic;
  }
}

// ---- subscriptions ----------------------------------------------------------------------------

TEST(SubscriptionsTest, JsonIsWantedWhileSomebodyAsksForIt) {
  Subscriptions subscriptions;
  for (const std::string_view binary : {"", "pred/", "progress/", "jsonx", "k"}) {
    subscriptions.note(subscribe(binary));
    EXPECT_FALSE(subscriptions.json_wanted()) << binary;
  }
  for (const std::string_view json : {"j", "json/", "json/pred/churn/"}) {
    subscriptions.note(subscribe(json));
    EXPECT_TRUE(subscriptions.json_wanted()) << json;
    subscriptions.note(subscribe(json, false));
    EXPECT_FALSE(subscriptions.json_wanted()) << json;
  }
  subscriptions.note(subscribe("json/", false));
  for (const std::string_view noise : {"", "\2json/", "json/"})
    subscriptions.note(noise);
  EXPECT_FALSE(subscriptions.json_wanted());
}

/// Every link must be true of the whole log, and exact once its prefix is tracked.
TEST(SubscriptionsTest, LinksAgreeWithANaiveSearchOfTheLog) {
  const std::vector<std::string> prefixes{"", "a", "a/", "a/1", "a/12", "b/", "b/2", "c"};
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Rng rng(seed, 0, Purpose::Test);
    Subscriptions subscriptions;
    std::vector<std::string> log;                // log[i] is number i + 1
    std::map<std::string, std::uint64_t> since;  // tracked prefix -> newest number at that time
    std::uint64_t first_published = 0;
    std::string links;
    const auto naive = [&](const std::string& prefix, std::uint64_t before) {
      std::uint64_t seq = before;
      while (seq > 0 && log[seq - 1].compare(0, prefix.size(), prefix) != 0)
        --seq;
      return seq;
    };
    for (int step = 0; step < 2000; ++step) {
      const std::string& prefix = prefixes[rng.below(prefixes.size())];
      switch (rng.below(8)) {
        case 0:
          since.try_emplace(prefix, log.size());
          subscriptions.note(subscribe(chain_topic(prefix)));
          break;
        case 1:
          if (rng.below(4) != 0) break;
          since.erase(prefix);
          subscriptions.note(subscribe(chain_topic(prefix), false));
          break;
        case 2:  // a number that was logged but not published here
          if (rng.below(10) == 0) {
            log.push_back("a/1");
            subscriptions.note_newest(PredictionSeq{log.size()});
            first_published = log.size() + 1;
          }
          break;
        case 3:
          subscriptions.announce([&](std::string_view topic, std::string_view statement) {
            const std::string about(*prefix_of_chain(topic));
            ASSERT_TRUE(since.contains(about));
            const auto link = find_link(statement, about.size());
            ASSERT_TRUE(link);
            EXPECT_GE(*link, naive(about, log.size()));
            EXPECT_LE(*link, log.size());
          });
          break;
        default: {
          log.push_back(std::string(1, static_cast<char>('a' + rng.below(3))) + "/" +
                        std::to_string(rng.below(30)));
          if (first_published == 0) first_published = 1;
          const std::uint64_t seq = log.size();
          subscriptions.publish(log.back(), PredictionSeq{seq}, links);
          for (const std::string& other : prefixes) {
            const auto link = find_link(links, other.size());
            if (log.back().compare(0, other.size(), other) != 0) continue;
            ASSERT_EQ(link.has_value(), since.contains(other)) << other;
            if (!link) continue;
            const std::uint64_t known =
                std::max({naive(other, seq - 1), since[other], first_published - 1});
            EXPECT_EQ(*link, known) << "seed " << seed << " prefix " << other;
          }
        }
      }
      EXPECT_EQ(subscriptions.tracked(), since.size());
    }
  }
}

TEST(SubscriptionsTest, BoundsWhatItTracks) {
  Subscriptions subscriptions;
  for (std::size_t i = 0; i <= Subscriptions::lengths_max; ++i) {
    subscriptions.note(subscribe(chain_topic(std::string(i, 'x'))));
  }
  EXPECT_EQ(subscriptions.tracked(), Subscriptions::lengths_max);
  for (std::size_t i = 0; i <= Subscriptions::prefixes_max; ++i) {
    subscriptions.note(subscribe(chain_topic(std::to_string(1'000'000 + i))));
  }
  EXPECT_EQ(subscriptions.tracked(), Subscriptions::prefixes_max);
  subscriptions.note(subscribe(chain_topic(std::string(kTopicBytesMax + 1, 'x'))));
  EXPECT_EQ(subscriptions.tracked(), Subscriptions::prefixes_max);
}

// ---- feed -------------------------------------------------------------------------------------

Delivered row_of(std::uint64_t seq) {
  Delivered row;
  row.header.epoch = 1;
  row.header.seq = PredictionSeq{seq};
  return row;
}

/// A publisher that restarts, a pipe that drops, and pages of the past that travel beside it.
class LossyStream {
 public:
  /// Without `tracked` there are no links: everything is verified by replay.
  LossyStream(std::uint64_t seed, bool tracked)
      : rng_(seed, 1, Purpose::Test), tracked_(tracked), begin_(rng_.below(3)) {
    feed_.begin(1, begin_);
    subscribe_again();
  }

  void step() {
    const std::uint64_t choice = rng_.below(12);
    if (choice < 4) publish();
    if (choice >= 4 && choice < 8) receive();
    if (choice >= 8 && choice < 11) replay();
    if (choice == 11) announce();
    if (rng_.below(400) == 0) restart();
  }
  /// Until everything published was handed out.
  void settle() {
    publish();
    feed_.require(log_.size());
    while (!pipe_.empty())
      receive();
    while (feed_.needs_replay() || page_next_ != 0)
      replay();
  }

  std::vector<std::uint64_t> wanted() const {
    std::vector<std::uint64_t> numbers;
    for (std::uint64_t seq = begin_ + 1; seq <= log_.size(); ++seq) {
      if (ours(seq)) numbers.push_back(seq);
    }
    return numbers;
  }
  std::vector<std::uint64_t> got() {
    std::vector<std::uint64_t> numbers;
    while (feed_.ready() > 0)
      numbers.push_back(feed_.take().header.seq.value);
    return numbers;
  }
  const Subscriber::Counters& counters() const { return feed_.counters(); }

 private:
  struct Sent {
    bool progress = false;
    std::uint64_t seq = 0;
    std::optional<std::uint64_t> link;
  };
  static constexpr std::string_view topic = "a/";

  bool ours(std::uint64_t seq) const { return log_[seq - 1] == "a/1"; }

  void subscribe_again() {
    if (tracked_) server_.note(subscribe(chain_topic(topic)));
  }
  void publish() {
    log_.push_back(rng_.below(3) == 0 ? "a/1" : "b/1");
    server_.publish(log_.back(), PredictionSeq{log_.size()}, links_);
    if (!ours(log_.size()) || rng_.below(4) == 0) return;
    pipe_.push_back({false, log_.size(), find_link(links_, topic.size())});
  }
  void announce() {
    if (!tracked_) pipe_.push_back({true, log_.size(), std::nullopt});
    server_.announce([&](std::string_view, std::string_view statement) {
      if (rng_.below(3) == 0) return;  // dropped as well
      pipe_.push_back({true, log_.size(), find_link(statement, topic.size())});
    });
  }
  void receive() {
    if (pipe_.empty()) return;
    const Sent sent = pipe_.front();
    pipe_.pop_front();
    EXPECT_TRUE(sent.progress ? feed_.progress(row_of(sent.seq).header, sent.link)
                              : feed_.live(row_of(sent.seq), sent.link));
    if (sent.progress && !sent.link) feed_.require(sent.seq);
  }
  void replay() {
    if (page_next_ == 0) {
      if (!feed_.needs_replay()) return;
      const std::uint64_t from = feed_.complete() + 1;
      page_next_ = std::min<std::uint64_t>(from + rng_.below(9), log_.size() + 1);
      for (std::uint64_t seq = from; seq < page_next_; ++seq) {
        if (ours(seq)) page_.push_back(seq);
      }
    } else if (!page_.empty()) {
      EXPECT_TRUE(feed_.replayed(row_of(page_.front())));
      page_.pop_front();
    } else {
      EXPECT_TRUE(feed_.page_end(1, page_next_));
      page_next_ = 0;
    }
  }
  void restart() {
    server_ = Subscriptions();
    pipe_.clear();
    page_.clear();
    page_next_ = 0;
    subscribe_again();
  }

  Rng rng_;
  bool tracked_;
  std::uint64_t begin_;
  Subscriptions server_;
  std::deque<Sent> pipe_;
  std::vector<std::string> log_;
  Feed feed_;
  std::string links_;
  std::deque<std::uint64_t> page_;  ///< rows of the page on its way
  std::uint64_t page_next_ = 0;     ///< its End; 0: none is on its way
};

TEST(FeedTest, AnyInterleavingOfLossAndReplayIsCompleteAndInOrder) {
  std::uint64_t live = 0, gaps = 0;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    LossyStream stream(seed, seed % 4 != 0);
    for (int step = 0; step < 1500; ++step)
      stream.step();
    stream.settle();
    ASSERT_EQ(stream.got(), stream.wanted()) << "seed " << seed;
    live += stream.counters().live;
    gaps += stream.counters().gaps;
  }
  EXPECT_GT(live, 1000u);
  EXPECT_GT(gaps, 1000u);
}

TEST(FeedTest, HoldsNoMoreThanItsBoundAndCompletesByReplay) {
  Feed feed;
  feed.begin(1, 0);
  const std::uint64_t last = Feed::held_max + 2;
  for (std::uint64_t seq = 2; seq <= last; ++seq)
    ASSERT_TRUE(feed.live(row_of(seq), seq - 1));
  EXPECT_EQ(feed.ready(), 0u);
  for (std::uint64_t seq = 1; seq <= last; ++seq)
    ASSERT_TRUE(feed.replayed(row_of(seq)));
  ASSERT_TRUE(feed.page_end(1, last + 1));
  EXPECT_FALSE(feed.needs_replay());
  EXPECT_EQ(feed.ready(), last);
  EXPECT_EQ(feed.counters().live, 0u);
}

}  // namespace
}  // namespace accrete::stream
