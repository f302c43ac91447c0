// One group commit being collected: whole transactions of all producers, in order of arrival, and
// those set aside. Remembers which layouts it carries, so that the log gets each exactly once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "proto/result.h"
#include "stream/ingest_server.h"
#include "stream/record_check.h"

namespace accrete::stream {

class IngestGroup {
 public:
  /// Begin a transaction; add its records; end() takes it into the group, abandon() forgets it.
  /// A layout the log holds is left out; one that a row needs and the log lacks is put before it.
  void begin(std::string_view source, std::uint64_t position);
  void add(std::string_view record, const CheckedRecord& checked);
  void end();
  void abandon();
  /// The transaction that was begun.
  Transaction& current() { return transactions_[count_]; }

  void reject(std::string_view source, std::uint64_t position, std::string reason,
              std::string_view record);

  /// Keep bytes alive until the commit has returned.
  std::string_view keep(std::string bytes) { return kept_.emplace_back(std::move(bytes)); }

  bool empty() const { return count_ == 0 && rejected_.empty(); }
  std::size_t rows() const { return rows_; }
  std::size_t bytes() const { return bytes_; }
  std::size_t transactions() const { return count_; }
  std::size_t rejected() const { return rejected_.size(); }

  /// Give everything to the sink and begin anew, whatever its answer. Errors: the sink's.
  Status commit(CommitSink& sink);
  /// Forget everything collected.
  void clear();

 private:
  void put(std::string_view record);

  std::vector<Transaction> transactions_;  // the first count_ are this group's; reused
  std::size_t count_ = 0;
  std::vector<Rejected> rejected_;
  std::deque<std::string> kept_;
  std::vector<KnownLayout*> layouts_;  // first carried by this group
  std::size_t layouts_before_ = 0;     // of them, those of ended transactions
  std::size_t rows_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace accrete::stream
