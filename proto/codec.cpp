// The hand-written reader and writer of wire.Record; tests hold it to the generated classes.
#include "proto/codec.h"

#include <bit>
#include <cstring>
#include <limits>

#include "proto/limits.h"
#include "proto/wire_bytes.h"
#include "proto/wire_cell.h"

namespace accrete {
namespace {

using wire_bytes::bytes_field_size;
using wire_bytes::cell_size;
using wire_bytes::kCellFlag;
using wire_bytes::kCellInteger;
using wire_bytes::kCellReal;
using wire_bytes::kCellText;
using wire_bytes::kCellTime;
using wire_bytes::kCellUnchanged;
using wire_bytes::put_bytes;
using wire_bytes::put_cell;
using wire_bytes::put_fixed64;
using wire_bytes::put_varint;
using wire_bytes::Reader;
using wire_bytes::tag_of;
using wire_bytes::unzigzag;
using wire_bytes::varint_size;
using wire_bytes::WireType;
using wire_bytes::zigzag;

// Tags, named for message and field of record.proto.
constexpr std::uint32_t kChangeLayout = tag_of(1, WireType::Fixed64);
constexpr std::uint32_t kChangeOp = tag_of(2, WireType::Varint);
constexpr std::uint32_t kChangeCells = tag_of(3, WireType::Bytes);
constexpr std::uint32_t kChangeTime = tag_of(4, WireType::Varint);
constexpr std::uint32_t kChangeOldKey = tag_of(5, WireType::Bytes);
constexpr std::uint32_t kLayoutTable = tag_of(1, WireType::Bytes);
constexpr std::uint32_t kLayoutColumns = tag_of(2, WireType::Bytes);
constexpr std::uint32_t kMarkKind = tag_of(1, WireType::Varint);
constexpr std::uint32_t kMarkTime = tag_of(2, WireType::Varint);
constexpr std::uint32_t kRequestTask = tag_of(1, WireType::Bytes);
constexpr std::uint32_t kRequestKey = tag_of(2, WireType::Bytes);
constexpr std::uint32_t kRequestAsOf = tag_of(3, WireType::Varint);

constexpr std::uint32_t record_tag(RecordKind kind) {
  return tag_of(static_cast<std::uint32_t>(kind), WireType::Bytes);
}

// ---- reading --------------------------------------------------------------------------------

bool read_zigzag(Reader& in, std::int64_t& out) {
  std::uint64_t bits = 0;
  if (!in.varint(bits)) return false;
  out = unzigzag(bits);
  return true;
}

/// One field of a Cell; the last one stands.
bool read_cell_field(Reader& in, std::uint32_t tag, Value& out) {
  std::uint64_t bits = 0;
  switch (tag) {
    case kCellFlag:
      if (!in.varint(bits)) return false;
      out = Value::flag(bits != 0);
      return true;
    case kCellInteger:
      if (!in.varint(bits)) return false;
      out = Value::of_integer(unzigzag(bits));
      return true;
    case kCellReal:
      if (!in.fixed64(bits)) return false;
      out = Value::of_real(std::bit_cast<double>(bits));
      return true;
    case kCellText:
      out = Value::of_text({});
      return in.text(out.text);
    case kCellTime:
      if (!in.varint(bits)) return false;
      out = Value::of_time(TimeUs(unzigzag(bits)));
      return true;
    case kCellUnchanged:
      if (!in.varint(bits)) return false;
      out = Value::unchanged();
      return true;
    default:
      return in.skip(tag, 6);
  }
}

/// The common cell: shorter than 128 bytes and exactly one field. Everything happens in registers;
/// what it does not recognise, right or wrong, it leaves to read_cell's general loop.
/// `at` is the cell's length byte; returns the end of the cell, or nullptr. Checks: `out` is null.
inline const char* read_plain_cell(const char* at, const char* end, Value& out) {
  if (at == end) return nullptr;
  const auto size = static_cast<std::size_t>(static_cast<unsigned char>(*at++));
  if (size >= 0x80 || size > static_cast<std::size_t>(end - at)) return nullptr;
  if (size == 0) return at;
  const char* const cell_end = at + size;
  const auto tag = static_cast<std::uint32_t>(static_cast<unsigned char>(*at++));
  if (tag == kCellText) {
    if (at == cell_end || static_cast<std::size_t>(static_cast<unsigned char>(*at)) != size - 2) {
      return nullptr;
    }
    const std::string_view text(at + 1, size - 2);
    if (!wire_bytes::is_utf8(text)) return nullptr;
    out.kind = ValueKind::Text;
    out.text = text;
    return cell_end;
  }
  if (tag == kCellReal) {
    if (size != 9) return nullptr;
    out.kind = ValueKind::Real;
    std::memcpy(&out.real, at, 8);
    return cell_end;
  }
  std::uint64_t bits = 0;
  unsigned shift = 0;
  for (; at != cell_end && shift < 63; ++at, shift += 7) {
    const auto byte = static_cast<unsigned char>(*at);
    bits |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) break;
  }
  if (at == cell_end || shift == 63 || at + 1 != cell_end) return nullptr;
  if (tag == kCellInteger || tag == kCellTime) {
    out.kind = tag == kCellInteger ? ValueKind::Integer : ValueKind::Time;
    out.integer = unzigzag(bits);
  } else if (tag == kCellFlag) {
    out.kind = ValueKind::Flag;
    out.integer = bits != 0 ? 1 : 0;
  } else if (tag == kCellUnchanged) {
    out.kind = ValueKind::Unchanged;
  } else {
    return nullptr;
  }
  return cell_end;
}

/// Take the run of plain cells with `tag` that starts here; what follows is the general loop's.
void read_plain_cells(Reader& in, std::uint32_t tag, std::vector<Value>& out,
                      std::size_t cells_max) {
  const std::string_view rest = in.rest();
  const char* at = rest.data();
  const char* const end = at + rest.size();
  for (std::size_t left = cells_max - out.size(); left > 0; --left) {
    if (at == end || static_cast<unsigned char>(*at) != tag) break;
    Value cell;
    const char* const next = read_plain_cell(at + 1, end, cell);
    if (next == nullptr) break;
    out.push_back(cell);
    at = next;
  }
  in.jump(at);
}

bool read_cell(Reader& in, std::vector<Value>& out, std::size_t cells_max) {
  if (out.size() == cells_max) return in.fail("too many cells");
  const char* outer = nullptr;
  if (!in.enter(outer)) return false;
  Value& cell = out.emplace_back();
  std::uint32_t tag = 0;
  while (!in.done()) {
    if (!in.tag(tag) || !read_cell_field(in, tag, cell)) return false;
  }
  in.leave(outer);
  return true;
}

bool read_change(Reader& in, Change& out) {
  std::uint32_t tag = 0;
  std::uint64_t bits = 0;
  std::int64_t time = 0;
  while (true) {
    read_plain_cells(in, kChangeCells, out.cells, limits::columns_max);
    if (in.done()) return true;
    if (!in.tag(tag)) return false;
    switch (tag) {
      case kChangeCells:
        if (!read_cell(in, out.cells, limits::columns_max)) return false;
        break;
      case kChangeLayout:
        if (!in.fixed64(out.layout)) return false;
        break;
      case kChangeOp:
        if (!in.varint(bits)) return false;
        if (bits > static_cast<std::uint64_t>(Op::Truncate)) return in.fail("unknown operation");
        out.op = static_cast<Op>(bits);
        break;
      case kChangeTime:
        if (!read_zigzag(in, time)) return false;
        out.change_time = TimeUs(time);
        break;
      case kChangeOldKey:
        if (!read_cell(in, out.old_key, limits::key_columns_max)) return false;
        break;
      default:
        if (!in.skip(tag, 5)) return false;
    }
  }
}

bool read_name(Reader& in, std::string_view& out) {
  if (!in.text(out)) return false;
  return out.size() <= limits::name_bytes_max || in.fail_at(out.data(), "name too long");
}

bool read_layout(Reader& in, Layout& out, std::size_t& columns) {
  std::uint32_t tag = 0;
  std::string_view name;
  while (!in.done()) {
    if (!in.tag(tag)) return false;
    switch (tag) {
      case kLayoutTable:
        if (!read_name(in, name)) return false;
        out.table.assign(name);
        break;
      case kLayoutColumns:
        if (columns == limits::columns_max) return in.fail("too many columns");
        if (!read_name(in, name)) return false;
        if (columns == out.columns.size()) out.columns.emplace_back();
        out.columns[columns++].assign(name);  // reuses the former record's string
        break;
      default:
        if (!in.skip(tag, 2)) return false;
    }
  }
  return true;
}

bool read_mark(Reader& in, Mark& out) {
  std::uint32_t tag = 0;
  std::uint64_t bits = 0;
  while (!in.done()) {
    if (!in.tag(tag)) return false;
    switch (tag) {
      case kMarkKind:
        if (!in.varint(bits)) return false;
        if (bits > static_cast<std::uint64_t>(MarkKind::Idle)) return in.fail("unknown mark");
        out.kind = static_cast<MarkKind>(bits);
        break;
      case kMarkTime:
        if (!read_zigzag(in, out.time.value)) return false;
        break;
      default:
        if (!in.skip(tag, 2)) return false;
    }
  }
  return true;
}

bool read_request(Reader& in, Request& out) {
  std::uint32_t tag = 0;
  while (!in.done()) {
    if (!in.tag(tag)) return false;
    switch (tag) {
      case kRequestTask:
        if (!read_name(in, out.task)) return false;
        break;
      case kRequestKey:
        if (!read_cell(in, out.key, limits::key_columns_max)) return false;
        break;
      case kRequestAsOf:
        if (!read_zigzag(in, out.as_of.value)) return false;
        break;
      default:
        if (!in.skip(tag, 3)) return false;
    }
  }
  return true;
}

/// Empty the member that `kind` names, keeping its buffers.
void reset(Record& out, RecordKind kind) {
  switch (kind) {
    case RecordKind::Layout:
      out.layout.table.clear();
      break;  // columns are overwritten in place and cut at the end
    case RecordKind::Change:
      out.change.layout = 0;
      out.change.op = Op::Insert;
      out.change.cells.clear();
      out.change.change_time.reset();
      out.change.old_key.clear();
      break;
    case RecordKind::Mark:
      out.mark = Mark{MarkKind::SnapshotBegin, TimeUs(0)};
      break;
    case RecordKind::Request:
      out.request.task = {};
      out.request.key.clear();
      out.request.as_of = TimeUs(0);
      break;
  }
}

bool read_body(Reader& in, Record& out, std::size_t& columns) {
  const char* outer = nullptr;
  if (!in.enter(outer)) return false;
  bool read = false;
  switch (out.kind) {
    case RecordKind::Layout:
      read = read_layout(in, out.layout, columns);
      break;
    case RecordKind::Change:
      read = read_change(in, out.change);
      break;
    case RecordKind::Mark:
      read = read_mark(in, out.mark);
      break;
    case RecordKind::Request:
      read = read_request(in, out.request);
      break;
  }
  in.leave(outer);
  return read;
}

bool read_record(Reader& in, Record& out) {
  std::uint32_t tag = 0;
  std::uint32_t body = 0;
  std::size_t columns = 0;
  while (!in.done()) {
    if (!in.tag(tag)) return false;
    if (tag < record_tag(RecordKind::Layout) || tag > record_tag(RecordKind::Request) ||
        (tag & 7) != static_cast<std::uint32_t>(WireType::Bytes)) {
      if (!in.skip(tag, 4)) return false;
      continue;
    }
    // A oneof: another member replaces the former one, the same member is merged into it.
    if (tag != body) {
      body = tag;
      columns = 0;
      out.kind = static_cast<RecordKind>(tag >> 3);
      reset(out, out.kind);
    }
    if (!read_body(in, out, columns)) return false;
  }
  if (body == 0) return in.fail("empty record: no layout, change, mark or request");
  if (out.kind == RecordKind::Layout) out.layout.columns.resize(columns);
  return true;
}

// ---- writing --------------------------------------------------------------------------------

/// Grow `out` by `size` bytes and return where they start.
char* extend(std::string& out, std::size_t size) {
  const std::size_t before = out.size();
  out.resize(before + size);
  return out.data() + before;
}

std::size_t zigzag_size(std::int64_t value) {
  return varint_size(zigzag(value));
}

std::size_t cells_size(const std::vector<Value>& cells) {
  std::size_t size = 0;
  for (const Value& cell : cells) {
    size += bytes_field_size(cell_size(cell));
  }
  return size;
}

/// Append tag and length of a record whose body takes `size` bytes; returns where the body goes.
char* open_record(std::string& out, RecordKind kind, std::size_t size) {
  char* const at = extend(out, bytes_field_size(size));
  return put_varint(put_varint(at, record_tag(kind)), size);
}

}  // namespace

Status decode_record(std::string_view bytes, Record& out) {
  if (bytes.size() > limits::row_bytes_max) {
    return Error{Errc::Malformed, "record of " + std::to_string(bytes.size()) +
                                      " bytes; the limit is " +
                                      std::to_string(limits::row_bytes_max)};
  }
  Reader in(bytes);
  if (read_record(in, out)) return Ok{};
  return Error{Errc::Malformed,
               "record: " + std::string(in.cause()) + " at byte " + std::to_string(in.offset())};
}

void encode_layout(const Layout& layout, std::string& out) {
  std::size_t size = layout.table.empty() ? 0 : bytes_field_size(layout.table.size());
  for (const std::string& column : layout.columns) {
    size += bytes_field_size(column.size());
  }
  char* at = open_record(out, RecordKind::Layout, size);
  if (!layout.table.empty()) at = put_bytes(put_varint(at, kLayoutTable), layout.table);
  for (const std::string& column : layout.columns) {
    at = put_bytes(put_varint(at, kLayoutColumns), column);
  }
}

void encode_change(const Change& change, std::string& out) {
  const auto op = static_cast<std::uint64_t>(change.op);
  std::size_t size = cells_size(change.cells) + cells_size(change.old_key);
  if (change.layout != 0) size += 9;
  if (op != 0) size += 2;
  if (change.change_time) size += 1 + zigzag_size(change.change_time->value);
  char* at = open_record(out, RecordKind::Change, size);
  if (change.layout != 0) at = put_fixed64(put_varint(at, kChangeLayout), change.layout);
  if (op != 0) at = put_varint(put_varint(at, kChangeOp), op);
  for (const Value& cell : change.cells) {
    at = put_cell(at, kChangeCells, cell);
  }
  if (change.change_time) {
    at = put_varint(put_varint(at, kChangeTime), zigzag(change.change_time->value));
  }
  for (const Value& cell : change.old_key) {
    at = put_cell(at, kChangeOldKey, cell);
  }
}

void encode_mark(const Mark& mark, std::string& out) {
  const auto kind = static_cast<std::uint64_t>(mark.kind);
  std::size_t size = kind == 0 ? 0 : 2;
  if (mark.time.value != 0) size += 1 + zigzag_size(mark.time.value);
  char* at = open_record(out, RecordKind::Mark, size);
  if (kind != 0) at = put_varint(put_varint(at, kMarkKind), kind);
  if (mark.time.value != 0) put_varint(put_varint(at, kMarkTime), zigzag(mark.time.value));
}

void encode_request(const Request& request, std::string& out) {
  std::size_t size = cells_size(request.key);
  if (!request.task.empty()) size += bytes_field_size(request.task.size());
  if (request.as_of.value != 0) size += 1 + zigzag_size(request.as_of.value);
  char* at = open_record(out, RecordKind::Request, size);
  if (!request.task.empty()) at = put_bytes(put_varint(at, kRequestTask), request.task);
  for (const Value& cell : request.key) {
    at = put_cell(at, kRequestKey, cell);
  }
  if (request.as_of.value != 0) {
    put_varint(put_varint(at, kRequestAsOf), zigzag(request.as_of.value));
  }
}

void LogSlice::append(const LogHeader& header, std::string_view record) {
  // Source and flag share a number so that every 64-bit commit position can be stored.
  const std::uint64_t source = std::uint64_t{header.source.value} << 1 | (header.last ? 1u : 0u);
  char* at = extend(bytes, varint_size(source) + varint_size(header.position) + record.size());
  at = put_varint(put_varint(at, source), header.position);
  if (!record.empty()) std::memcpy(at, record.data(), record.size());
  ACCRETE_CHECK(bytes.size() <= std::numeric_limits<std::uint32_t>::max());
  ends.push_back(static_cast<std::uint32_t>(bytes.size()));
}

bool LogSlice::join(const LogSlice& next, std::size_t entries_max, std::size_t bytes_max) {
  if (next.first.value != first.value + size() || size() + next.size() > entries_max ||
      bytes.size() + next.bytes.size() > bytes_max)
    return false;
  const auto shift = static_cast<std::uint32_t>(bytes.size());
  ACCRETE_CHECK(bytes.size() + next.bytes.size() <= std::numeric_limits<std::uint32_t>::max());
  bytes += next.bytes;
  for (const std::uint32_t end : next.ends)
    ends.push_back(shift + end);
  return true;
}

Result<std::string_view> decode_entry(std::string_view entry, LogHeader& header) {
  Reader in(entry);
  std::uint64_t source = 0;
  if (!in.varint(source) || !in.varint(header.position)) {
    return Error{Errc::Corruption, "log entry: " + std::string(in.cause()) + " at byte " +
                                       std::to_string(in.offset())};
  }
  if (source >> 1 > std::numeric_limits<std::uint32_t>::max()) {
    return Error{Errc::Corruption, "log entry: source number out of range"};
  }
  header.source = SourceId(static_cast<std::uint32_t>(source >> 1));
  header.last = (source & 1) != 0;
  return in.rest();
}

Status Layouts::declare(const Layout& layout, Schema& schema) {
  const std::uint64_t hash = layout.hash();
  if (bound_.contains(hash)) return Ok{};
  ACCRETE_TRY(BoundLayout bound, schema.bind(layout));
  bound_.emplace(hash, std::move(bound));
  return Ok{};
}

const BoundLayout* Layouts::find(std::uint64_t hash) const {
  const auto found = bound_.find(hash);
  return found == bound_.end() ? nullptr : &found->second;
}

}  // namespace accrete
