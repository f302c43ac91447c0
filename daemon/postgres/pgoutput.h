// Messages of PostgreSQL's logical replication: bytes of the plugin pgoutput to structs, no copies.
//
// Source: PostgreSQL documentation, "Logical Replication Message Formats" and "Streaming
// Replication Protocol". Protocol version 1; version 2 without `streaming` is the same.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "proto/codec.h"
#include "proto/ids.h"
#include "proto/result.h"

namespace accrete::daemon::postgres {

/// Byte position in the write-ahead log.
using Lsn = std::uint64_t;
/// "16/B374D848" and back, as PostgreSQL writes it.
std::string lsn_text(Lsn lsn);
std::optional<Lsn> parse_lsn(std::string_view text);

enum class CellKind : std::uint8_t { Null, Unchanged, Text, Binary };

struct TupleCell {
  CellKind kind = CellKind::Null;
  std::string_view bytes;
};
using Tuple = std::vector<TupleCell>;

struct BeginMessage {
  Lsn final_lsn = 0;
  TimeUs committed;
  std::uint32_t transaction = 0;
};

struct CommitMessage {
  Lsn lsn = 0;
  Lsn end_lsn = 0;  ///< what is confirmed, and the transaction's position
  TimeUs committed;
};

struct OriginMessage {
  Lsn lsn = 0;
  std::string_view name;
};

struct RelationColumn {
  bool in_identity = false;  ///< part of the replica identity
  std::string_view name;
  std::uint32_t type = 0;
  std::int32_t modifier = -1;
};

struct RelationMessage {
  std::uint32_t relation = 0;
  std::string_view schema;
  std::string_view name;
  char identity = 'd';  ///< d default, n nothing, f full, i index
  std::vector<RelationColumn> columns;
};

struct TypeMessage {
  std::uint32_t type = 0;
  std::string_view schema;
  std::string_view name;
};

/// What an update or delete says of the row before it.
enum class OldRow : std::uint8_t { None, Key, Whole };

struct RowMessage {
  Op op = Op::Insert;  ///< never Truncate
  std::uint32_t relation = 0;
  OldRow old = OldRow::None;
  Tuple old_row;  ///< Key: columns outside the identity are null
  Tuple row;      ///< empty for a delete
};

struct TruncateMessage {
  bool cascade = false;
  bool restart_identity = false;
  std::vector<std::uint32_t> relations;
};

/// pg_logical_emit_message().
struct LogicalMessage {
  bool transactional = false;
  Lsn lsn = 0;
  std::string_view prefix;
  std::string_view content;
};

using Message = std::variant<BeginMessage, CommitMessage, OriginMessage, RelationMessage,
                             TypeMessage, RowMessage, TruncateMessage, LogicalMessage>;

/// One pgoutput message; views point into `bytes`.
/// Errors:  Malformed with the offset and what stands there; never reads outside `bytes`.
/// Threads: pure.
Result<Message> decode_message(std::string_view bytes);

/// What comes in a CopyData of a replication stream.
struct WalData {
  Lsn start = 0;
  Lsn end = 0;
  std::string_view message;
};
struct Keepalive {
  Lsn end = 0;  ///< everything committed before it has been sent
  bool reply_now = false;
};
using StreamItem = std::variant<WalData, Keepalive>;

/// Errors: as decode_message().
Result<StreamItem> decode_stream_item(std::string_view bytes);

/// The 34 bytes of a standby status update that confirms everything up to `flushed`.
std::string encode_status(Lsn received, Lsn flushed, TimeUs now);

}  // namespace accrete::daemon::postgres
