// What a producer has taken from its caller and the daemon does not hold durably yet: transactions
// in order of position, a mark up to where they were sent in this session, and every layout.
//
// A layout is said once a session and as late as possible, before the first row that needs it: one
// that the daemon refuses then takes no other transaction with it than those that use it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proto/codec.h"
#include "stream/batch_frame.h"

namespace accrete::stream {

class ProducerQueue {
 public:
  /// Keep one whole transaction. Layouts are taken out of it, but for what is none though it begins
  /// like one: that goes out as it is, for the daemon to refuse. Checks: positions rise.
  void add(std::uint64_t position, std::span<const std::string_view> records);
  /// Only remember the layouts of a transaction that is durable already.
  void add_layouts(std::span<const std::string_view> records);

  /// A new session: everything kept is unsent again, every layout unsaid.
  void rewind();
  /// Forget what is durable up to `position`, among what was sent wholly. Returns how many.
  std::uint64_t forget(std::uint64_t position);
  /// The same after rewind(), when nothing counts as sent.
  std::uint64_t forget_unsent(std::uint64_t position);

  /// The parts of the next batch, up to `rows_max` rows and about `bytes_max` bytes (one record
  /// always goes, however large). Views hold until the next call of a member.
  ///
  /// Runs of single-record transactions at consecutive positions go as one EACH part, others as
  /// COMMIT, and one that does not fit as PENDING pieces and a COMMIT.
  std::span<const PartView> take(std::size_t rows_max, std::size_t bytes_max);

  bool empty() const { return kept_.empty(); }
  bool all_sent() const { return next_ == kept_.size(); }
  std::size_t unsent_rows() const { return unsent_rows_; }  ///< an empty transaction counts as one
  std::size_t unsent_bytes() const { return unsent_bytes_; }
  std::uint64_t resent() const { return resent_; }  ///< transactions taken again, in total

 private:
  struct Kept {
    std::uint64_t position = 0;
    std::string bytes;
    std::vector<std::size_t> ends;

    std::size_t size() const { return ends.size(); }
    std::size_t rows() const { return ends.empty() ? 1 : ends.size(); }
    std::string_view record(std::size_t i) const {
      const std::size_t begin = i == 0 ? 0 : ends[i - 1];
      return std::string_view(bytes).substr(begin, ends[i] - begin);
    }
  };

  struct KnownLayout {
    std::string record;
    bool said = false;  // in this session
  };
  struct Room {
    std::size_t rows = 0;
    std::size_t bytes = 0;
  };

  bool learn_layout(std::string_view record);
  KnownLayout* unsaid_layout(std::string_view record);
  void take_each(Room& room);
  void take_piece(Room& room);
  void count_resent(const PartView& part);

  std::deque<Kept> kept_;
  std::size_t next_ = 0;         // first transaction not wholly sent in this session
  std::size_t next_record_ = 0;  // its first record not sent
  std::size_t unsent_rows_ = 0;
  std::size_t unsent_bytes_ = 0;
  std::uint64_t sent_position_ = 0;  // newest transaction ever sent wholly
  std::uint64_t resent_ = 0;

  std::map<std::uint64_t, KnownLayout> layouts_;  // by their hashes
  std::size_t unsaid_ = 0;
  Record decoded_;

  std::vector<std::string_view> records_;  // of the batch being taken
  std::vector<PartView> parts_;
};

}  // namespace accrete::stream
