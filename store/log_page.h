// A page of the change log: consecutive entries under one key, that of the last one's ordinal.
//
// One key for many records is most of the log's write rate: RocksDB's cost is per key (a memtable
// insert, framing in the WAL, a table entry), ours per byte. Pages end where an append ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "proto/codec.h"

namespace accrete::store {

/// A page is closed at this many entries or bytes: a random read of one record touches one block.
inline constexpr std::size_t kLogPageEntriesMax = 256;
inline constexpr std::size_t kLogPageBytesMax = 16u << 10;

/// One past the last entry of the page that begins with entry `begin` of a slice.
/// Checks: begin < slice.size().
std::size_t log_page_end(const LogSlice& slice, std::size_t begin);

/// Append the page of entries [begin, end) to `out`: u32 count, count × u32 end offset (little
/// endian), entries back to back.
void write_log_page(const LogSlice& slice, std::size_t begin, std::size_t end, std::string& out);

/// A view of a stored page; good while the bytes are.
class LogPage {
 public:
  /// nullopt if the bytes are no page whose last record is `last`.
  static std::optional<LogPage> open(std::uint64_t last, std::string_view bytes);

  std::uint64_t first() const { return last_ - count_ + 1; }
  std::uint64_t last() const { return last_; }
  /// Checks: first() <= ordinal <= last().
  std::string_view entry(std::uint64_t ordinal) const {
    const auto i = static_cast<std::uint32_t>(ordinal - first());
    const std::uint32_t begin = i == 0 ? 0 : end_of(i - 1);
    return entries_.substr(begin, end_of(i) - begin);
  }

 private:
  std::uint32_t end_of(std::uint32_t i) const;

  std::uint64_t last_ = 0;
  std::uint32_t count_ = 0;
  std::string_view ends_;
  std::string_view entries_;
};

}  // namespace accrete::store
