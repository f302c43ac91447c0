// The merge of the live stream with the replayed past into one stream without gap or repeat.
// Knows no socket and no clock; the subscriber feeds it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "stream/client.h"

namespace accrete::stream {

/// The heart is one number, complete(): every number of the topic up to it was handed out, none
/// beyond it. A live prediction whose link (chain.h) is not beyond complete() is next; any other
/// is held while replay brings complete() up to its link.
class Feed {
 public:
  /// Live predictions held during a replay; beyond either the held ones are dropped and come by
  /// replay as well.
  static constexpr std::size_t held_max = 65'536;
  static constexpr std::size_t held_bytes_max = 64u << 20;

  /// Begin after number `complete`, of epoch `epoch` (0: that of the first frame).
  void begin(std::uint64_t epoch, std::uint64_t complete);

  /// Every number up to `newest` shall be handed out, by replay where the live stream does not.
  void require(std::uint64_t newest);

  /// One live prediction, with the link of our topic if its chain frame has one.
  /// Errors: Gap when its epoch is not ours.
  Status live(Delivered&& prediction, std::optional<std::uint64_t> link);
  /// A statement about the newest number: with a link, that our topic has none after `link`.
  /// Errors: Gap.
  Status progress(const PredictionHeader& header, std::optional<std::uint64_t> link);
  /// One row of a replay page, in order. Errors: Gap.
  Status replayed(Delivered&& prediction);
  /// A page is over: the past before `next` is complete. Errors: Gap.
  Status page_end(std::uint64_t epoch, std::uint64_t next);
  /// The last value of every key, any order; complete up to `as_of`. Errors: Gap.
  Status snapshot(std::uint64_t epoch, std::vector<Delivered>&& rows, std::uint64_t as_of);

  bool needs_replay() const { return wanted_ > complete_; }
  std::uint64_t complete() const { return complete_; }
  std::uint64_t epoch() const { return epoch_; }
  std::uint64_t newest() const { return newest_; }

  std::size_t ready() const { return ready_.size() - taken_; }
  /// Checks: ready() > 0.
  Delivered take();

  const Subscriber::Counters& counters() const { return counters_; }

 private:
  struct Held {
    Delivered prediction;
    std::uint64_t link = 0;
  };

  Status check_epoch(std::uint64_t epoch);
  void hand_out(Delivered&& prediction);
  void drop_held();
  void drain_held();

  std::uint64_t epoch_ = 0;
  std::uint64_t complete_ = 0;
  std::uint64_t wanted_ = 0;  ///< replay until complete_ reaches it
  std::uint64_t newest_ = 0;
  std::vector<Delivered> ready_;  ///< handed out from taken_ on
  std::size_t taken_ = 0;
  std::deque<Held> held_;
  std::size_t held_bytes_ = 0;
  Subscriber::Counters counters_;
};

}  // namespace accrete::stream
