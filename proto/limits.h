// Every bound that is not a user's option, with its reason. Options live beside their part.
#pragma once

#include <cstddef>
#include <cstdint>

namespace accrete::limits {

inline constexpr std::size_t tables_max = 4096;   // relations and tables are 16-bit ids
inline constexpr std::size_t columns_max = 4096;  // per table; twice PostgreSQL's 1,600
inline constexpr std::size_t key_columns_max =
    16;  // composite keys; PostgreSQL allows 32, nobody uses 8
inline constexpr std::size_t key_bytes_max = 4096;         // a key is an identity, not a document
inline constexpr std::size_t row_bytes_max = 16u << 20;    // one encoded row
inline constexpr std::size_t frame_bytes_max = 64u << 20;  // one message on any socket
inline constexpr std::size_t name_bytes_max = 256;  // table, column, task, source, subscriber
inline constexpr std::size_t query_bytes_max = 16u << 10;  // one predictive query
inline constexpr std::size_t query_depth_max = 64;         // nesting of parentheses in a query
inline constexpr std::uint32_t rows_per_table_max = 0xFFFF'FFF0u;  // NodeId::row is 32 bits
inline constexpr std::size_t drift_alarms_max =
    64;  // kept per task: a year of weekly ones, and what a person still reads

static_assert(row_bytes_max < frame_bytes_max);
static_assert(key_bytes_max < row_bytes_max);

}  // namespace accrete::limits
