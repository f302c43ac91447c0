// The ingest protocol: pieces of transactions become whole transactions, or are set aside.
#include <algorithm>
#include <utility>

#include "stream/ingest_sessions.h"

namespace accrete::stream {
namespace {

// What a piece costs us beside its bytes, so that many small or empty ones are bounded as well.
constexpr std::size_t kOpenCharge = 256;
constexpr std::size_t kPieceCharge = 32;

std::string in_record(std::size_t number, const std::string& detail) {
  return "record " + std::to_string(number) + ": " + detail;
}

}  // namespace

void IngestSessions::on_part(Session& session, PeerSource& source, const PartView& part) {
  switch (part.kind) {
    case PartKind::Pending:
      extend(source, part);
      break;
    case PartKind::Commit:
      complete(session, source, part);
      break;
    case PartKind::Each:
      each(session, source, part);
      break;
    case PartKind::Rollback:
      erase_open(source, part.transaction);
      break;
  }
}

void IngestSessions::begin_open(OpenTransaction& open) {
  open.charge = kOpenCharge;
  open_bytes_ += kOpenCharge;
}

void IngestSessions::extend(PeerSource& source, const PartView& part) {
  const auto [entry, fresh] = source.open.try_emplace(part.transaction);
  OpenTransaction& open = entry->second;
  if (fresh) begin_open(open);
  for (const std::string_view record : part.records) {
    ++open.records;
    const Result<CheckedRecord> checked = check_.check(record);  // layouts count even when bad
    if (open.bad) continue;
    if (!checked) {
      mark_bad(open, {checked.error().code, in_record(open.records, checked.error().detail)},
               record);
      continue;
    }
    if (open.bytes.size() + record.size() > options_.transaction_bytes_max) {
      mark_bad(open,
               {Errc::Exhausted,
                "the transaction is larger than " + std::to_string(options_.transaction_bytes_max) +
                    " bytes; raise [limits] transaction_bytes_max or commit smaller ones"},
               {});
      continue;
    }
    open.bytes.append(record);
    open.pieces.push_back({open.bytes.size(), checked.value()});
    open.charge += record.size() + kPieceCharge;
    open_bytes_ += record.size() + kPieceCharge;
  }
}

void IngestSessions::mark_bad(OpenTransaction& open, Error error, std::string_view record) {
  open_bytes_ -= open.charge;
  open.bytes = std::string();  // `= {}` would keep the room
  open.pieces = decltype(open.pieces)();
  open.bad = std::move(error);
  open.bad_record = record;
  open.charge = kOpenCharge + open.bad->detail.size() + record.size();
  open_bytes_ += open.charge;
}

void IngestSessions::complete(Session& session, PeerSource& peer_source, const PartView& part) {
  Source& source = *peer_source.source;
  if (part.position <= source.position) {
    drop_duplicate(peer_source, part.records);
    erase_open(peer_source, part.transaction);
    return;
  }
  const auto found = peer_source.open.find(part.transaction);
  OpenTransaction* const open = found == peer_source.open.end() ? nullptr : &found->second;
  group_.begin(source.name, part.position);
  std::string_view at_fault;
  if (const Status status = collect(open, part.records, at_fault)) {
    group_.end();
    source.position = part.position;
  } else {
    group_.abandon();
    set_aside(session, source, part.position, status.error(), at_fault);
  }
  erase_open(peer_source, part.transaction);
}

Status IngestSessions::collect(OpenTransaction* open, std::span<const std::string_view> records,
                               std::string_view& at_fault) {
  std::size_t number = 0;
  std::size_t bytes = 0;
  if (open != nullptr && !open->bad) {
    number = open->records;
    bytes = open->bytes.size();
    const std::string_view kept = group_.keep(std::move(open->bytes));
    std::size_t begin = 0;
    for (const Piece& piece : open->pieces) {
      group_.add(kept.substr(begin, piece.end - begin), piece.checked);
      begin = piece.end;
    }
  }
  std::optional<Error> bad;
  if (open != nullptr && open->bad) {
    bad = std::move(open->bad);
    at_fault = group_.keep(std::move(open->bad_record));
  }
  for (const std::string_view record : records) {
    ++number;
    bytes += record.size();
    const Result<CheckedRecord> checked = check_.check(record);
    if (bad) continue;
    if (!checked) {
      bad = Error{checked.error().code, in_record(number, checked.error().detail)};
      at_fault = record;
    } else if (bytes > options_.transaction_bytes_max) {
      bad =
          Error{Errc::Exhausted,
                "the transaction is larger than " + std::to_string(options_.transaction_bytes_max) +
                    " bytes; raise [limits] transaction_bytes_max or commit smaller ones"};
    } else {
      group_.add(record, checked.value());
    }
  }
  if (bad) return *std::move(bad);
  return Ok{};
}

void IngestSessions::each(Session& session, PeerSource& peer_source, const PartView& part) {
  Source& source = *peer_source.source;
  std::uint64_t position = part.position - part.records.size();
  for (const std::string_view& record : part.records) {
    ++position;
    if (position <= source.position) {
      drop_duplicate(peer_source, {&record, 1});
      continue;
    }
    const Result<CheckedRecord> checked = check_.check(record);
    if (!checked) {
      set_aside(session, source, position, checked.error(), record);
      continue;
    }
    group_.begin(source.name, position);
    group_.add(record, checked.value());
    group_.end();
    source.position = position;
  }
}

void IngestSessions::drop_duplicate(PeerSource& source, std::span<const std::string_view> records) {
  ++counters_.duplicates;
  ++source.source->duplicates;
  // Its layouts count all the same: later transactions rely on them. The rows' faults do not.
  for (const std::string_view record : records) {
    [[maybe_unused]] const Result<CheckedRecord> checked = check_.check(record);
  }
}

void IngestSessions::set_aside(Session& session, Source& source, std::uint64_t position,
                               const Error& error, std::string_view record) {
  wire::Fault message;
  message.set_code(error.code == Errc::Exhausted ? wire::Fault::EXHAUSTED : wire::Fault::MALFORMED);
  message.set_detail("source \"" + source.name + "\", transaction at position " +
                     std::to_string(position) +
                     " was set aside in the dead-letter log: " + error.detail);
  message.set_source(source.name);
  message.set_batch(session.last_batch);
  message.set_position(position);
  fault(session.peer, message);
  group_.reject(source.name, position, error.detail, record);
  source.position = position;
}

void IngestSessions::erase_open(PeerSource& source, std::uint64_t transaction) {
  const auto found = source.open.find(transaction);
  if (found == source.open.end()) return;
  open_bytes_ -= found->second.charge;
  source.open.erase(found);
}

void IngestSessions::drop_open(Session& session) {
  for (PeerSource& source : session.sources) {
    for (const auto& [id, open] : source.open)
      open_bytes_ -= open.charge;
    source.open.clear();
  }
}

}  // namespace accrete::stream
