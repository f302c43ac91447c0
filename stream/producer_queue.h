// What a producer has taken from its caller and the daemon does not hold durably yet: transactions
// in order of position, a mark up to where they were sent in this session, and every layout.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "stream/batch_frame.h"

namespace accrete::stream {

class ProducerQueue {
 public:
  /// Keep one whole transaction. Layouts are taken out of it: each is said once a session, before
  /// the next records that go out. Checks: positions rise.
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

  std::size_t take_each(std::size_t rows_left, std::size_t bytes_left);
  std::size_t take_piece(std::size_t rows_left, std::size_t bytes_left);
  void count_resent(const PartView& part);

  std::deque<Kept> kept_;
  std::size_t next_ = 0;         // first transaction not wholly sent in this session
  std::size_t next_record_ = 0;  // its first record not sent
  std::size_t unsent_rows_ = 0;
  std::size_t unsent_bytes_ = 0;
  std::uint64_t sent_position_ = 0;  // newest transaction ever sent wholly
  std::uint64_t resent_ = 0;

  std::deque<std::string> layouts_;  // in order of first use
  std::set<std::string, std::less<>> layout_set_;
  std::size_t layouts_said_ = 0;  // in this session

  std::vector<std::string_view> records_;  // of the batch being taken
  std::vector<PartView> parts_;
};

}  // namespace accrete::stream
