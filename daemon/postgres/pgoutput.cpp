// Messages of PostgreSQL's logical replication.
#include "daemon/postgres/pgoutput.h"

#include <array>
#include <charconv>
#include <limits>
#include <utility>

#include "proto/limits.h"

namespace accrete::daemon::postgres {
namespace {

/// 2000-01-01 00:00:00 UTC, where PostgreSQL's clock begins.
constexpr std::int64_t kPostgresEpochUs = 946'684'800'000'000;

TimeUs time_of(std::int64_t postgres_us) {
  std::int64_t us = 0;
  if (__builtin_add_overflow(postgres_us, kPostgresEpochUs, &us)) us = kTimeMax.value;
  return TimeUs(us);
}

/// Big-endian fields one after another. The first fault stays; reads after it give zeros.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  template <class T>
  T number(const char* what) {
    const std::string_view raw = take(sizeof(T), what);
    std::uint64_t value = 0;
    for (const char byte : raw)
      value = value << 8 | static_cast<std::uint8_t>(byte);
    return static_cast<T>(value);
  }
  char letter(const char* what) { return number<char>(what); }

  std::string_view take(std::size_t count, const char* what) {
    if (fault_) return {};
    if (count > bytes_.size() - at_) {
      fail(what, "ends early");
      return {};
    }
    const std::string_view found = bytes_.substr(at_, count);
    at_ += count;
    return found;
  }

  /// Text up to a NUL byte.
  std::string_view text(const char* what) {
    if (fault_) return {};
    const std::size_t end = bytes_.find('\0', at_);
    if (end == std::string_view::npos) {
      fail(what, "has no end");
      return {};
    }
    const std::string_view found = bytes_.substr(at_, end - at_);
    at_ = end + 1;
    return found;
  }

  void fail(const char* what, const std::string& cause) {
    if (fault_) return;
    fault_ = Error{Errc::Malformed, "pgoutput, byte " + std::to_string(at_) + " of " +
                                        std::to_string(bytes_.size()) + ": " + what + " " + cause};
  }
  bool good() const { return !fault_; }

  template <class T>
  Result<Message> finish(T message) {
    if (!fault_ && at_ != bytes_.size()) fail("message", "goes on behind its end");
    if (fault_) return *fault_;
    return Message(std::move(message));
  }

  std::string_view rest() { return take(bytes_.size() - at_, "rest"); }
  std::optional<Error> fault() const { return fault_; }

 private:
  std::string_view bytes_;
  std::size_t at_ = 0;
  std::optional<Error> fault_;
};

std::string letter_text(char letter) {
  if (letter > ' ' && letter < '\x7f') return std::string("is '") + letter + "'";
  return "is byte " + std::to_string(static_cast<std::uint8_t>(letter));
}

std::size_t read_count(Reader& reader, const char* what) {
  const auto count = static_cast<std::size_t>(reader.number<std::uint16_t>(what));
  if (count > limits::columns_max) reader.fail(what, "is " + std::to_string(count));
  return reader.good() ? count : 0;
}

Tuple read_tuple(Reader& reader) {
  Tuple tuple(read_count(reader, "number of cells"));
  for (TupleCell& cell : tuple) {
    const char kind = reader.letter("kind of cell");
    if (!reader.good()) break;
    if (kind == 'n') continue;
    if (kind == 'u') {
      cell.kind = CellKind::Unchanged;
      continue;
    }
    if (kind != 't' && kind != 'b') {
      reader.fail("kind of cell", letter_text(kind));
      break;
    }
    cell.kind = kind == 't' ? CellKind::Text : CellKind::Binary;
    const auto length = reader.number<std::int32_t>("length of cell");
    if (length < 0) reader.fail("length of cell", "is negative");
    cell.bytes = reader.take(static_cast<std::size_t>(std::max(length, 0)), "cell");
  }
  return tuple;
}

RelationMessage read_relation(Reader& reader) {
  RelationMessage out;
  out.relation = reader.number<std::uint32_t>("relation");
  out.schema = reader.text("schema name");
  if (out.schema.empty()) out.schema = "pg_catalog";
  out.name = reader.text("relation name");
  out.identity = reader.letter("replica identity");
  if (std::string_view("dnfi").find(out.identity) == std::string_view::npos) {
    reader.fail("replica identity", letter_text(out.identity));
  }
  out.columns.resize(read_count(reader, "number of columns"));
  for (RelationColumn& column : out.columns) {
    column.in_identity = (reader.number<std::uint8_t>("column flags") & 1U) != 0;
    column.name = reader.text("column name");
    column.type = reader.number<std::uint32_t>("column type");
    column.modifier = reader.number<std::int32_t>("type modifier");
    if (!reader.good()) break;
  }
  return out;
}

RowMessage read_row(Reader& reader, Op op) {
  RowMessage out;
  out.op = op;
  out.relation = reader.number<std::uint32_t>("relation");
  char part = reader.letter("kind of row");
  if (op != Op::Insert && (part == 'K' || part == 'O')) {
    out.old = part == 'K' ? OldRow::Key : OldRow::Whole;
    out.old_row = read_tuple(reader);
    if (op == Op::Delete) return out;
    part = reader.letter("kind of row");
  }
  if (op == Op::Delete || part != 'N') reader.fail("kind of row", letter_text(part));
  out.row = read_tuple(reader);
  return out;
}

TruncateMessage read_truncate(Reader& reader) {
  TruncateMessage out;
  const auto count = reader.number<std::uint32_t>("number of relations");
  const auto options = reader.number<std::uint8_t>("options");
  out.cascade = (options & 1U) != 0;
  out.restart_identity = (options & 2U) != 0;
  for (std::uint32_t i = 0; i < count && reader.good(); ++i) {
    out.relations.push_back(reader.number<std::uint32_t>("relation"));
  }
  return out;
}

LogicalMessage read_logical(Reader& reader) {
  LogicalMessage out;
  out.transactional = (reader.number<std::uint8_t>("flags") & 1U) != 0;
  out.lsn = reader.number<Lsn>("position");
  out.prefix = reader.text("prefix");
  const auto length = reader.number<std::uint32_t>("length of content");
  out.content = reader.take(length, "content");
  return out;
}

BeginMessage read_begin(Reader& reader) {
  BeginMessage out;
  out.final_lsn = reader.number<Lsn>("final position");
  out.committed = time_of(reader.number<std::int64_t>("commit time"));
  out.transaction = reader.number<std::uint32_t>("transaction");
  return out;
}

CommitMessage read_commit(Reader& reader) {
  CommitMessage out;
  reader.number<std::uint8_t>("flags");
  out.lsn = reader.number<Lsn>("commit position");
  out.end_lsn = reader.number<Lsn>("end position");
  out.committed = time_of(reader.number<std::int64_t>("commit time"));
  return out;
}

TypeMessage read_type(Reader& reader) {
  TypeMessage out;
  out.type = reader.number<std::uint32_t>("type");
  out.schema = reader.text("schema name");
  out.name = reader.text("type name");
  return out;
}

}  // namespace

std::string lsn_text(Lsn lsn) {
  std::array<char, 18> buffer{};
  char* at = std::to_chars(buffer.data(), buffer.data() + 8, lsn >> 32, 16).ptr;
  *at++ = '/';
  at = std::to_chars(at, buffer.data() + buffer.size(), lsn & 0xFFFF'FFFFU, 16).ptr;
  std::string text(buffer.data(), at);
  for (char& c : text) {
    if (c >= 'a') c = static_cast<char>(c - 'a' + 'A');
  }
  return text;
}

std::optional<Lsn> parse_lsn(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto half = [](std::string_view digits) -> std::optional<std::uint32_t> {
    std::uint32_t value = 0;
    const char* end = digits.data() + digits.size();
    const auto [stop, fault] = std::from_chars(digits.data(), end, value, 16);
    if (fault != std::errc() || stop != end) return std::nullopt;
    return value;
  };
  const auto high = half(text.substr(0, slash));
  const auto low = half(text.substr(slash + 1));
  if (!high || !low) return std::nullopt;
  return static_cast<Lsn>(*high) << 32 | *low;
}

Result<Message> decode_message(std::string_view bytes) {
  Reader reader(bytes);
  switch (const char kind = reader.letter("kind of message"); kind) {
    case 'B':
      return reader.finish(read_begin(reader));
    case 'C':
      return reader.finish(read_commit(reader));
    case 'O': {
      OriginMessage origin;
      origin.lsn = reader.number<Lsn>("origin's position");
      origin.name = reader.text("origin's name");
      return reader.finish(origin);
    }
    case 'R':
      return reader.finish(read_relation(reader));
    case 'Y':
      return reader.finish(read_type(reader));
    case 'I':
      return reader.finish(read_row(reader, Op::Insert));
    case 'U':
      return reader.finish(read_row(reader, Op::Update));
    case 'D':
      return reader.finish(read_row(reader, Op::Delete));
    case 'T':
      return reader.finish(read_truncate(reader));
    case 'M':
      return reader.finish(read_logical(reader));
    case 'S':
    case 'E':
    case 'c':
    case 'A':
      reader.fail("message", "is a piece of a streamed transaction; ask for version 1");
      return *reader.fault();
    default:
      reader.fail("kind of message", letter_text(kind));
      return *reader.fault();
  }
}

Result<StreamItem> decode_stream_item(std::string_view bytes) {
  Reader reader(bytes);
  const char kind = reader.letter("kind of stream item");
  if (kind == 'w') {
    WalData data;
    data.start = reader.number<Lsn>("start position");
    data.end = reader.number<Lsn>("end position");
    reader.number<std::int64_t>("server's clock");
    data.message = reader.rest();
    if (const auto fault = reader.fault()) return *fault;
    return StreamItem(data);
  }
  if (kind == 'k') {
    Keepalive keepalive;
    keepalive.end = reader.number<Lsn>("end position");
    reader.number<std::int64_t>("server's clock");
    keepalive.reply_now = reader.number<std::uint8_t>("wish for a reply") != 0;
    if (const auto fault = reader.fault()) return *fault;
    return StreamItem(keepalive);
  }
  reader.fail("kind of stream item", letter_text(kind));
  return *reader.fault();
}

std::string encode_status(Lsn received, Lsn flushed, TimeUs now) {
  std::string out(1, 'r');
  const auto put = [&out](std::uint64_t value) {
    for (int shift = 56; shift >= 0; shift -= 8)
      out.push_back(static_cast<char>(value >> shift & 0xFFU));
  };
  put(received);
  put(flushed);
  put(flushed);
  put(static_cast<std::uint64_t>(now.value - kPostgresEpochUs));
  out.push_back('\0');
  return out;
}

}  // namespace accrete::daemon::postgres
