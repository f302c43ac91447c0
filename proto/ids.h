// Identifiers: each its own type, so that a row count is never a time and a table never a column.
#pragma once

#include <compare>
#include <cstdint>
#include <limits>

namespace accrete {

template <class Tag, class Rep>
struct Id {
  Rep value{};
  constexpr explicit Id(Rep v) : value(v) {}
  constexpr Id() = default;
  friend constexpr auto operator<=>(Id, Id) = default;
};

using TableId = Id<struct TableTag, std::uint16_t>;        ///< position in Schema::tables()
using ColumnId = Id<struct ColumnTag, std::uint16_t>;      ///< position in Table::columns
using RelationId = Id<struct RelationTag, std::uint16_t>;  ///< position in Schema::relations()
using SourceId = Id<struct SourceTag, std::uint32_t>;      ///< dense number of a producer's name
using TaskId = Id<struct TaskTag, std::uint16_t>;          ///< position in the configuration

/// Position of a record in the change log: 1, 2, 3, … without gaps. 0 means "before the first".
using Ordinal = Id<struct OrdinalTag, std::uint64_t>;
/// Sequence number of a prediction within an epoch: 1, 2, 3, … without gaps.
using PredictionSeq = Id<struct PredictionSeqTag, std::uint64_t>;
/// Microseconds since 1970-01-01 00:00:00 UTC.
using TimeUs = Id<struct TimeUsTag, std::int64_t>;

/// Event time of a row without one: before everything, so it is visible always.
inline constexpr TimeUs kTimeMin{std::numeric_limits<std::int64_t>::min()};
inline constexpr TimeUs kTimeMax{std::numeric_limits<std::int64_t>::max()};

/// One row of one table: dense per table, in order of first mention. Never reused.
struct NodeId {
  TableId table;
  std::uint32_t row = 0;
  friend constexpr auto operator<=>(NodeId, NodeId) = default;
};

}  // namespace accrete
