// Is this record acceptable? Decodes and checks single records against the server's own schema, and
// knows which layouts have been declared and which of them the log already holds.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

#include "proto/codec.h"
#include "proto/result.h"
#include "proto/schema.h"

namespace accrete::stream {

/// A declared layout. Declared is not logged: the transaction that brought it may have been set
/// aside, dropped as a duplicate or lost in a failed commit.
struct KnownLayout {
  const BoundLayout* bound = nullptr;
  std::string record;    ///< its own serialized record, to put before the first row that needs it
  bool logged = false;   ///< durable in the log
  bool grouped = false;  ///< part of the group being collected
};

struct CheckedRecord {
  RecordKind kind = RecordKind::Change;
  KnownLayout* layout = nullptr;  ///< Layout, Change: the layout; lives as long as the checker
};

class RecordCheck {
 public:
  /// `layouts` are those the log holds.
  RecordCheck(Schema schema, Layouts layouts);

  /// Decode and check one record; a layout is declared by it.
  /// Errors: Malformed naming table, column and value; Exhausted for too many layouts, or a record
  ///         above row_bytes_max.
  /// Cost:   that of decode_record() and check_change(); no allocation for a row.
  Result<CheckedRecord> check(std::string_view record);

 private:
  Result<KnownLayout*> declare(std::string_view record);
  KnownLayout* find(std::uint64_t hash);

  Schema schema_;
  Layouts layouts_;
  std::unordered_map<std::uint64_t, KnownLayout> known_;  // never iterated
  std::uint64_t last_hash_ = 0;                           // rows of one table come in runs
  KnownLayout* last_ = nullptr;
  Record decoded_;
};

}  // namespace accrete::stream
