// What a running daemon says of its rows and its time, for the console and for accretectl top.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "proto/result.h"

namespace accrete::daemon::report {

// A number that is not known (null in the status) is NaN in all of these.

/// How long one stage takes for one batch.
struct Stage {
  std::string name;
  std::uint64_t count = 0;
  double seconds = 0;  ///< of all of them together
  double p50 = 0;      ///< seconds
  double p99 = 0;
};

struct TableChanges {
  std::string table;
  std::array<std::uint64_t, 4> changes{};  ///< inserts, updates, deletes, truncates
  std::uint64_t all() const;
};

/// A transaction that was set aside.
struct Letter {
  std::uint64_t number = 0;
  std::string source;
  std::uint64_t position = 0;
  std::string table;  ///< "": the record does not say it
  std::uint64_t bytes = 0;
  std::string reason;
};

struct Subscriber {
  std::string name;
  std::uint64_t acknowledged = 0;
  std::uint64_t behind = 0;
};

struct Running {
  std::uint64_t epoch = 0;
  std::string now;  ///< event time of the newest row; "": no row with a time yet
  std::uint64_t rows_in = 0;
  std::uint64_t rows_folded = 0;
  std::uint64_t late_rows = 0;
  std::uint64_t rows_ahead = 0;
  std::uint64_t published = 0;
  std::uint64_t newest_prediction = 0;
  double lag_seconds = 0;
  std::uint64_t lag_records = 0;
  std::uint64_t lag_bytes = 0;
  double checkpoint_age = 0;
  std::uint64_t records_since_checkpoint = 0;
  std::uint64_t groups_waiting = 0;
  std::uint64_t rows_waiting = 0;       ///< for the watermark
  std::uint64_t rows_being_folded = 0;  ///< in the midst of a history; 0: nothing is under way
  std::uint64_t resident_bytes = 0;
  std::uint64_t disk_bytes = 0;
  std::uint64_t dead_letters = 0;
  std::vector<Letter> letters;  ///< newest first, as many as were asked for
  std::vector<Stage> stages;
  std::vector<TableChanges> tables;
  std::vector<Subscriber> subscribers;
};

/// `text`: the answer to a status request. `address` is what the messages call it.
/// Errors: Malformed, naming the place in the answer.
Result<Running> read_running(std::string_view text, const std::string& address);

}  // namespace accrete::daemon::report
