// Several producers, random cuts, interleavings, losses, repeats, reconnects, restarts and refused
// commits: what the log holds in the end is every transaction once, in commit order of its source.
#include <algorithm>
#include <list>
#include <map>
#include <memory>

#include <gtest/gtest.h>

#include "ingest_fixture.h"
#include "proto/rng.h"
#include "stream/batch_frame.h"
#include "stream/producer_queue.h"

namespace accrete::stream {
namespace {

struct Whole {
  std::uint64_t position = 0;
  std::vector<std::string> records;
  bool bad = false;
};

/// The transactions of one source. Those that are bad have a row with a NULL key.
std::vector<Whole> make_transactions(Rng& rng, std::size_t count) {
  std::vector<Whole> out;
  std::uint64_t position = 0;
  for (std::size_t i = 0; i < count; ++i) {
    Whole& whole = out.emplace_back();
    position += 1 + rng.below(2) * rng.below(3);
    whole.position = position;
    const std::size_t records = rng.below(4) == 0 ? rng.below(9) : 1;
    for (std::size_t r = 0; r < records; ++r) {
      const Layout& layout = rng.below(3) == 0 ? items_layout() : orders_layout();
      const bool bad = rng.below(40) == 0;
      whole.bad = whole.bad || bad;
      whole.records.push_back(row(bad ? -1 : static_cast<std::int64_t>(rng.below(1000)), layout,
                                  std::string(rng.below(30), 'v')));
    }
  }
  return out;
}

/// A peer of the machine. What it sends next is decided anew at every WELCOME.
class Peer {
 public:
  Peer(std::string name, std::string source, const std::vector<Whole>& all, Rng& rng)
      : name_(std::move(name)), source_(std::move(source)), all_(all), rng_(rng) {}
  virtual ~Peer() = default;
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  std::string next_frame() {
    if (!greeted_) {
      number_ = 0;
      return hello_frame(name_, {source_});
    }
    return next_batch(++number_);
  }
  void lose_session() { greeted_ = false; }
  void on_reply(const wire::FromIngest& message) {
    if (message.has_welcome()) {
      greeted_ = true;
      on_welcome(message.welcome().sources(0).position());
    } else if (message.has_ack()) {
      on_ack(message.ack().position());
      EXPECT_GE(message.ack().position(), durable_) << "positions never go back";
      durable_ = message.ack().position();
    } else if (message.has_fault() && message.fault().position() == 0) {
      EXPECT_NE(message.fault().code(), wire::Fault::MALFORMED) << message.fault().detail();
      greeted_ = false;
    }
  }
  virtual bool done() const = 0;
  const std::string& name() const { return name_; }

 protected:
  virtual std::string next_batch(std::uint64_t number) = 0;
  virtual void on_welcome(std::uint64_t position) = 0;
  virtual void on_ack(std::uint64_t position) = 0;

  std::string name_;
  std::string source_;
  const std::vector<Whole>& all_;
  Rng& rng_;

 private:
  bool greeted_ = false;
  std::uint64_t number_ = 0;
  std::uint64_t durable_ = 0;
};

/// As the Producer class does it.
class QueuePeer : public Peer {
 public:
  QueuePeer(std::string name, std::string source, const std::vector<Whole>& all, Rng& rng)
      : Peer(std::move(name), std::move(source), all, rng) {}
  bool done() const override { return added_ == all_.size() && queue_.empty(); }

 protected:
  std::string next_batch(std::uint64_t number) override {
    const std::string orders = layout_record(orders_layout());
    const std::string items = layout_record(items_layout());
    for (std::size_t n = rng_.below(8); n > 0 && added_ < all_.size(); --n, ++added_) {
      std::vector<std::string_view> records(all_[added_].records.begin(),
                                            all_[added_].records.end());
      records.insert(records.begin(), {orders, items});
      queue_.add(all_[added_].position, records);
    }
    std::string frame;
    encode_batch(source_, number, queue_.take(1 + rng_.below(6), 1 + rng_.below(300)), frame);
    return frame;
  }
  void on_welcome(std::uint64_t position) override { queue_.forget_unsent(position); }
  void on_ack(std::uint64_t position) override { queue_.forget(position); }

 private:
  ProducerQueue queue_;
  std::size_t added_ = 0;
};

/// As a change-data-capture source may do it: several transactions open at once, pieces
/// interleaved, some rolled back.
class InterleavingPeer : public Peer {
 public:
  InterleavingPeer(std::string name, std::string source, const std::vector<Whole>& all, Rng& rng)
      : Peer(std::move(name), std::move(source), all, rng) {}
  bool done() const override { return durable_ >= all_.back().position; }

 protected:
  std::string next_batch(std::uint64_t number) override {
    std::vector<PartOf> parts;
    for (std::size_t n = rng_.below(5); n > 0 && !plan_.empty(); --n) {
      parts.push_back(std::move(plan_.front()));
      plan_.pop_front();
    }
    return batch_message(source_, number, parts).SerializeAsString();
  }
  void on_ack(std::uint64_t position) override { durable_ = position; }
  void on_welcome(std::uint64_t position) override {
    durable_ = std::max(durable_, position);
    plan_.clear();
    plan_.push_back({77,
                     wire::Part::PENDING,
                     0,
                     {layout_record(items_layout()), layout_record(orders_layout())}});
    struct Open {
      const Whole* whole;
      std::size_t sent = 0;
    };
    std::list<Open> open;
    auto next = std::find_if(all_.begin(), all_.end(),
                             [&](const Whole& w) { return w.position > position; });
    while (next != all_.end() || !open.empty()) {
      if (next != all_.end() && open.size() < 3) open.push_back({&*next++});
      auto chosen = open.begin();
      std::advance(chosen, static_cast<std::ptrdiff_t>(rng_.below(open.size())));
      const std::vector<std::string>& records = chosen->whole->records;
      // Only the oldest may commit: commits come in order of position.
      const bool commit = chosen == open.begin() && rng_.below(2) == 0;
      const std::size_t end =
          commit ? records.size() : chosen->sent + rng_.below(records.size() - chosen->sent + 1);
      PartOf part{
          chosen->whole->position % 5 == 0 ? ~chosen->whole->position : chosen->whole->position,
          commit ? wire::Part::COMMIT : wire::Part::PENDING,
          commit ? chosen->whole->position : 0,
          {}};
      part.records.assign(records.begin() + static_cast<std::ptrdiff_t>(chosen->sent),
                          records.begin() + static_cast<std::ptrdiff_t>(end));
      plan_.push_back(std::move(part));
      chosen->sent = end;
      if (commit) open.erase(chosen);
      if (rng_.below(6) == 0) {
        const auto kind = rng_.below(2) == 0 ? wire::Part::PENDING : wire::Part::ROLLBACK;
        plan_.push_back({88, kind, 0, {row(666)}});
      }
    }
  }

 private:
  std::list<PartOf> plan_;
  std::uint64_t durable_ = 0;
};

/// The world: one server, a log that survives it, frames that get lost or repeated.
class World {
 public:
  World(MemorySink& sink, Rng& rng) : sink_(sink), rng_(rng) { restart(); }

  void add(std::unique_ptr<Peer> peer) { peers_.push_back(std::move(peer)); }

  bool done() const {
    return std::all_of(peers_.begin(), peers_.end(), [](const auto& peer) { return peer->done(); });
  }

  void step(bool faults) {
    Peer& peer = *peers_[rng_.below(peers_.size())];
    frames_.push_back(peer.next_frame());
    const std::uint64_t fate = faults ? rng_.below(40) : 99;
    if (fate == 0) {  // lost
    } else if (fate == 1) {
      peer.lose_session();
    } else if (fate == 2) {
      restart();
    } else {
      if (fate == 3) sink_.refuse(1, rng_.below(2) == 0 ? Errc::Unavailable : Errc::Exhausted);
      sessions_->on_frame(peer.name(), frames_.back(), {});
      if (fate == 4) sessions_->on_frame(peer.name(), frames_.back(), {});
    }
    if (rng_.below(4) == 0 || sessions_->group_full()) turn();
  }

 private:
  void turn() {
    EXPECT_TRUE(sessions_->commit());
    frames_.clear();
    for (const IngestReply& reply : sessions_->take_replies()) {
      wire::FromIngest message;
      ASSERT_TRUE(message.ParseFromString(reply.frame));
      for (const auto& peer : peers_) {
        if (peer->name() == reply.peer) peer->on_reply(message);
      }
    }
  }
  void restart() {
    IngestOptions options;
    options.group_rows_max = 20;
    sessions_ = std::make_unique<IngestSessions>(options, test_schema(), sink_.layouts(), sink_);
    frames_.clear();
  }

  MemorySink& sink_;
  Rng& rng_;
  std::unique_ptr<IngestSessions> sessions_;
  std::vector<std::unique_ptr<Peer>> peers_;
  std::list<std::string> frames_;
};

bool is_layout(const std::string& bytes) {
  Record record;
  return decode_record(bytes, record) && record.kind == RecordKind::Layout;
}

void expect_log(const MemorySink& sink, const std::string& source, const std::vector<Whole>& all) {
  std::vector<MemorySink::Entry> expected;
  std::vector<std::uint64_t> expected_dead;
  for (const Whole& whole : all) {
    if (whole.bad) expected_dead.push_back(whole.position);
    if (!whole.bad) expected.push_back({whole.position, whole.records});
  }
  std::vector<MemorySink::Entry> got = sink.log(source);
  for (MemorySink::Entry& entry : got)
    std::erase_if(entry.records, is_layout);
  EXPECT_EQ(got, expected) << source;
  std::vector<std::uint64_t> dead;
  for (const MemorySink::Dead& letter : sink.dead(source))
    dead.push_back(letter.position);
  EXPECT_EQ(dead, expected_dead) << source;
}

TEST(IngestProperty, EveryTransactionOnceInCommitOrder) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed, 0, Purpose::Test);
    MemorySink sink;
    World world(sink, rng);
    std::map<std::string, std::vector<Whole>> all;
    for (const char* source : {"one", "two", "shared"})
      all[source] = make_transactions(rng, 40);
    world.add(std::make_unique<QueuePeer>("p1", "one", all["one"], rng));
    world.add(std::make_unique<InterleavingPeer>("p2", "two", all["two"], rng));
    world.add(std::make_unique<QueuePeer>("p3", "shared", all["shared"], rng));
    world.add(std::make_unique<InterleavingPeer>("p4", "shared", all["shared"], rng));
    int steps = 0;
    for (; !world.done() && steps < 20'000; ++steps)
      world.step(steps < 2'000);
    ASSERT_TRUE(world.done()) << "no progress";
    for (const auto& [source, transactions] : all)
      expect_log(sink, source, transactions);
  }
}

TEST(BatchFrame, AgreesWithTheGeneratedCode) {
  Rng rng(7, 0, Purpose::Test);
  BatchView view;
  for (int round = 0; round < 500; ++round) {
    std::vector<PartOf> parts(rng.below(5));
    for (PartOf& part : parts) {
      part.transaction = rng.below(3) == 0 ? rng.next() : rng.below(3);
      part.kind = static_cast<wire::Part::Commit>(rng.below(4));
      part.position = rng.below(3) == 0 ? rng.next() : rng.below(300);
      part.records.resize(rng.below(4));
      for (std::string& record : part.records)
        record.assign(rng.below(300), static_cast<char>(rng.below(256)));
    }
    const wire::ToIngest message =
        batch_message(std::string(rng.below(20), 's'), rng.below(2) * rng.next(), parts);
    const std::string frame = message.SerializeAsString();
    ASSERT_TRUE(BatchView::recognises(frame));
    ASSERT_TRUE(view.decode(frame));
    EXPECT_EQ(view.source, message.batch().source());
    EXPECT_EQ(view.number, message.batch().number());
    ASSERT_EQ(view.parts.size(), parts.size());
    for (std::size_t p = 0; p < parts.size(); ++p) {
      EXPECT_EQ(view.parts[p].transaction, parts[p].transaction);
      EXPECT_EQ(static_cast<int>(view.parts[p].kind), static_cast<int>(parts[p].kind));
      EXPECT_EQ(view.parts[p].position, parts[p].position);
      EXPECT_TRUE(std::equal(view.parts[p].records.begin(), view.parts[p].records.end(),
                             parts[p].records.begin(), parts[p].records.end()));
    }
    // What we write is read alike by the generated code, and a cut frame is never accepted as one.
    std::string written;
    encode_batch(view.source, view.number, view.parts, written);
    wire::ToIngest again;
    ASSERT_TRUE(again.ParseFromString(written));
    EXPECT_EQ(again.SerializeAsString(), frame);
    EXPECT_FALSE(BatchView::recognises(std::string_view(frame).substr(0, frame.size() - 1)));
    // Damage: whatever comes out stays inside the frame (the sanitizers look).
    std::string damaged = frame;
    damaged[rng.below(damaged.size())] = static_cast<char>(rng.below(256));
    [[maybe_unused]] const Status status = view.decode(damaged);
  }
}

}  // namespace
}  // namespace accrete::stream
