// The generated protobuf classes as the reference for the hand-written codec: random messages, and
// decoded records turned back into messages.
#pragma once

#include <limits>
#include <string>

#include <record.pb.h>

#include "proto/codec.h"
#include "proto/rng.h"

namespace accrete::test {

/// Numbers that sit on the edges of varints and of int64 more often than chance would have it.
inline std::int64_t random_integer(Rng& rng) {
  const std::uint64_t bits = rng.next() >> rng.below(64);
  switch (rng.below(8)) {
    case 0:
      return std::numeric_limits<std::int64_t>::min();
    case 1:
      return std::numeric_limits<std::int64_t>::max();
    case 2:
      return 0;
    case 3:
      return -static_cast<std::int64_t>(bits >> 1);
    default:
      return static_cast<std::int64_t>(bits >> 1);
  }
}

inline double random_real(Rng& rng) {
  switch (rng.below(5)) {
    case 0:
      return 0.0;
    case 1:
      return -0.0;
    case 2:
      return std::numeric_limits<double>::infinity();
    case 3:
      return static_cast<double>(random_integer(rng));
    default:
      return rng.uniform() - 0.5;
  }
}

inline std::string random_text(Rng& rng, std::uint64_t pieces_max) {
  const char* const pieces[] = {"a",   "0", "7", "-", "é", "語", "😀", " ", "|", "plain ascii text",
                                "\x01"};
  std::string out;
  for (std::uint64_t n = rng.below(pieces_max + 1); n > 0; --n) {
    out += pieces[rng.below(std::size(pieces))];
  }
  return out;
}

inline void random_cell(Rng& rng, wire::Cell& cell) {
  switch (rng.below(7)) {
    case 0:
      break;  // null
    case 1:
      cell.set_flag(rng.below(2) == 1);
      break;
    case 2:
      cell.set_integer(random_integer(rng));
      break;
    case 3:
      cell.set_real(random_real(rng));
      break;
    case 4:
      cell.set_time_us(random_integer(rng));
      break;
    case 5:
      cell.set_unchanged(true);
      break;
    default:
      cell.set_text(random_text(rng, 30));
  }
}

inline wire::Record random_record(Rng& rng) {
  wire::Record record;
  switch (rng.below(8)) {
    case 0: {
      auto& layout = *record.mutable_layout();
      layout.set_table(random_text(rng, 5));
      for (auto n = rng.below(6); n > 0; --n) {
        layout.add_columns(random_text(rng, 5));
      }
      break;
    }
    case 1: {
      auto& mark = *record.mutable_mark();
      mark.set_kind(static_cast<wire::Mark::Kind>(rng.below(5)));
      mark.set_time_us(random_integer(rng));
      break;
    }
    case 2: {
      auto& request = *record.mutable_request();
      request.set_task(random_text(rng, 5));
      for (auto n = rng.below(4); n > 0; --n) {
        random_cell(rng, *request.add_key());
      }
      request.set_as_of_us(random_integer(rng));
      break;
    }
    default: {
      auto& change = *record.mutable_change();
      change.set_layout(rng.below(4) == 0 ? 0 : rng.next());
      change.set_op(static_cast<wire::Op>(rng.below(4)));
      for (auto n = rng.below(20); n > 0; --n) {
        random_cell(rng, *change.add_cells());
      }
      if (rng.below(2) == 1) change.set_change_time_us(random_integer(rng));
      for (auto n = rng.below(3); n > 0; --n) {
        random_cell(rng, *change.add_old_key());
      }
    }
  }
  return record;
}

inline void mirror_cell(const Value& value, wire::Cell& cell) {
  switch (value.kind) {
    case ValueKind::Null:
      break;
    case ValueKind::Flag:
      cell.set_flag(value.integer != 0);
      break;
    case ValueKind::Integer:
      cell.set_integer(value.integer);
      break;
    case ValueKind::Real:
      cell.set_real(value.real);
      break;
    case ValueKind::Text:
      cell.set_text(std::string(value.text));
      break;
    case ValueKind::Time:
      cell.set_time_us(value.integer);
      break;
    case ValueKind::Unchanged:
      cell.set_unchanged(true);
      break;
  }
}

/// The message that says what `record` says.
inline wire::Record mirror(const Record& record) {
  wire::Record out;
  switch (record.kind) {
    case RecordKind::Layout:
      out.mutable_layout()->set_table(record.layout.table);
      for (const auto& column : record.layout.columns) {
        out.mutable_layout()->add_columns(column);
      }
      break;
    case RecordKind::Change: {
      auto& change = *out.mutable_change();
      change.set_layout(record.change.layout);
      change.set_op(static_cast<wire::Op>(record.change.op));
      for (const Value& cell : record.change.cells) {
        mirror_cell(cell, *change.add_cells());
      }
      if (record.change.change_time) change.set_change_time_us(record.change.change_time->value);
      for (const Value& cell : record.change.old_key) {
        mirror_cell(cell, *change.add_old_key());
      }
      break;
    }
    case RecordKind::Mark:
      out.mutable_mark()->set_kind(static_cast<wire::Mark::Kind>(record.mark.kind));
      out.mutable_mark()->set_time_us(record.mark.time.value);
      break;
    case RecordKind::Request:
      out.mutable_request()->set_task(std::string(record.request.task));
      for (const Value& cell : record.request.key) {
        mirror_cell(cell, *out.mutable_request()->add_key());
      }
      out.mutable_request()->set_as_of_us(record.request.as_of.value);
      break;
  }
  return out;
}

inline void encode(const Record& record, std::string& out) {
  switch (record.kind) {
    case RecordKind::Layout:
      return encode_layout(record.layout, out);
    case RecordKind::Change:
      return encode_change(record.change, out);
    case RecordKind::Mark:
      return encode_mark(record.mark, out);
    case RecordKind::Request:
      return encode_request(record.request, out);
  }
}

}  // namespace accrete::test
