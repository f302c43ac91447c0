// The change log in RocksDB: one family of pages, sources and ends in meta.
#include "store/log.h"

#include <algorithm>
#include <utility>

#include <rocksdb/write_batch.h>

#include "proto/limits.h"
#include "store/handles.h"
#include "store/keys.h"
#include "store/log_page.h"

namespace accrete::store {
namespace {

std::string source_key(std::size_t number) {
  std::string key(meta::kSource);
  put_be<std::uint32_t>(key, static_cast<std::uint32_t>(number));
  return key;
}

std::string source_value(std::uint64_t position, std::string_view name) {
  std::string value;
  put_be<std::uint64_t>(value, position);
  value += name;
  return value;
}

std::string memory_key(SourceId source, std::uint64_t position) {
  std::string key(meta::kMemory);
  put_be<std::uint32_t>(key, source.value);
  put_be<std::uint64_t>(key, position);
  return key;
}

std::string letter_value(const DeadLetter& letter) {
  std::string value;
  put_text(value, letter.source);
  put_varint(value, letter.position);
  put_text(value, letter.reason);
  put_text(value, letter.record);
  return value;
}

bool decode_letter(std::string_view key, std::string_view value, DeadLetter& out) {
  if (key.size() != 8) return false;
  ByteReader in(value);
  out.number = get_be<std::uint64_t>(key);
  out.source = in.text();
  out.position = in.varint();
  out.reason = in.text();
  out.record = in.text();
  return in.ok() && in.done();
}

Error missing(std::uint64_t ordinal) {
  return {Errc::Corruption, "log record " + std::to_string(ordinal) +
                                " is missing; restore the store from a copy, or start a new one"};
}

/// The page under the iterator, which must hold record `ordinal`.
Result<LogPage> page_at(const rocksdb::Iterator& it, std::uint64_t ordinal) {
  if (!it.Valid() || it.key().size() != 8) return missing(ordinal);
  const std::uint64_t last = get_be<std::uint64_t>(view(it.key()));
  const auto page = LogPage::open(last, view(it.value()));
  if (!page) {
    return Error{Errc::Corruption, "the log page that ends with record " + std::to_string(last) +
                                       " does not decode; restore the store from a copy"};
  }
  if (page->first() > ordinal) return missing(ordinal);
  return *page;
}

/// A number stored big-endian in meta; 0 when it was never stored.
Result<std::uint64_t> stored_number(const Database::Handles& handles, std::string_view key) {
  std::string value;
  const rocksdb::Status status =
      handles.db->Get(rocksdb::ReadOptions{}, handles.family(Family::Meta), slice(key), &value);
  if (status.IsNotFound()) return std::uint64_t{0};
  if (!status.ok()) return to_error(status, "cannot read '" + std::string(key) + "'");
  if (value.size() != 8) {
    return Error{Errc::Corruption, "stored number '" + std::string(key) + "' does not decode"};
  }
  return get_be<std::uint64_t>(value);
}

}  // namespace

Result<Log> Log::open(Database& database) {
  Log log(database);
  ACCRETE_DO(log.load_sources());
  ACCRETE_DO(log.load_ends());
  return log;
}

Status Log::load_sources() {
  const Database::Handles& handles = database_->handles();
  std::unique_ptr<rocksdb::Iterator> it(
      handles.db->NewIterator(rocksdb::ReadOptions{}, handles.family(Family::Meta)));
  for (it->Seek(slice(meta::kSource)); it->Valid() && it->key().starts_with(slice(meta::kSource));
       it->Next()) {
    const std::string_view key = view(it->key());
    const std::string_view value = view(it->value());
    if (key != source_key(names_.size()) || value.size() < 8) {
      return Error{Errc::Corruption,
                   "stored source " + std::to_string(names_.size()) + " does not decode"};
    }
    positions_.push_back(get_be<std::uint64_t>(value));
    names_.emplace_back(value.substr(8));
    sources_.emplace(names_.back(), SourceId{static_cast<std::uint32_t>(names_.size() - 1)});
  }
  stored_sources_ = names_.size();
  return to_status(it->status(), "cannot read the sources");
}

Status Log::load_ends() {
  const Database::Handles& handles = database_->handles();
  ACCRETE_TRY(const std::uint64_t records, stored_number(handles, meta::kLogEnd));
  ACCRETE_TRY(const std::uint64_t letters, stored_number(handles, meta::kDeadEnd));
  std::unique_ptr<rocksdb::Iterator> it(
      handles.db->NewIterator(rocksdb::ReadOptions{}, handles.family(Family::Log)));
  it->SeekToLast();
  ACCRETE_DO(to_status(it->status(), "cannot read the end of the log"));
  const bool valid = it->Valid();
  const std::uint64_t last =
      valid && it->key().size() == 8 ? get_be<std::uint64_t>(view(it->key())) : 0;
  if (last < records) return missing(last + 1);
  if (last > records) {
    return Error{Errc::Corruption, "the log holds record " + std::to_string(last) +
                                       " but was stored to end at " + std::to_string(records)};
  }
  ends_->records.store(records, std::memory_order_release);
  ends_->letters.store(letters, std::memory_order_release);
  return Ok{};
}

Result<SourceId> Log::source(std::string_view name) {
  if (const auto found = sources_.find(name); found != sources_.end()) return found->second;
  if (name.empty() || name.size() > limits::name_bytes_max) {
    return Error{Errc::Exhausted, "a source name has 1 to " +
                                      std::to_string(limits::name_bytes_max) + " bytes, not " +
                                      std::to_string(name.size())};
  }
  const SourceId id{static_cast<std::uint32_t>(names_.size())};
  names_.emplace_back(name);
  positions_.push_back(0);
  sources_.emplace(name, id);
  return id;
}

std::uint64_t Log::position(SourceId source) const {
  ACCRETE_CHECK(source.value < positions_.size());
  return positions_[source.value];
}

Result<std::vector<Log::Memory>> Log::memories(SourceId source) const {
  const Database::Handles& handles = database_->handles();
  std::string prefix(meta::kMemory);
  put_be<std::uint32_t>(prefix, source.value);
  std::vector<Memory> out;
  std::unique_ptr<rocksdb::Iterator> it(
      handles.db->NewIterator(rocksdb::ReadOptions{}, handles.family(Family::Meta)));
  for (it->Seek(slice(prefix)); it->Valid() && it->key().starts_with(slice(prefix)); it->Next()) {
    if (it->key().size() != prefix.size() + 8) {
      return Error{Errc::Corruption,
                   "what is remembered of source \"" + names_[source.value] + "\" does not decode"};
    }
    Memory& memory = out.emplace_back();
    memory.source = source;
    memory.position = get_be<std::uint64_t>(view(it->key()), prefix.size());
    memory.bytes = view(it->value());
  }
  ACCRETE_DO(to_status(it->status(), "cannot read what is remembered of a source"));
  return out;
}

Status Log::append(const LogSlice& slice_in, std::span<const Advance> advances,
                   std::span<const DeadLetter> letters, std::span<const Memory> memories) {
  if (failed_) {
    return Error{Errc::Unavailable,
                 "the log failed before; restart accreted once the disk is sound"};
  }
  const std::uint64_t end = this->end().value;
  ACCRETE_CHECK(slice_in.size() == 0 || slice_in.first.value == end + 1);
  const Database::Handles& handles = database_->handles();
  rocksdb::ColumnFamilyHandle* log = handles.family(Family::Log);
  rocksdb::ColumnFamilyHandle* meta = handles.family(Family::Meta);

  // 8 bytes a record cover its offset and its share of a page's key and framing.
  rocksdb::WriteBatch batch(slice_in.bytes.size() + 8 * slice_in.size() + 1024);
  const auto put = [&](rocksdb::ColumnFamilyHandle* family, std::string_view key,
                       std::string_view value) {
    return batch.Put(family, slice(key), slice(value)).ok();
  };
  bool built = true;
  std::string page;
  for (std::size_t i = 0; i < slice_in.size();) {
    const std::size_t page_end = log_page_end(slice_in, i);
    page.clear();
    write_log_page(slice_in, i, page_end, page);
    built = built && put(log, key_of_number(end + page_end), page);
    i = page_end;
  }
  if (slice_in.size() > 0) {
    built = built && put(meta, meta::kLogEnd, key_of_number(end + slice_in.size()));
  }
  // Names that were asked for since the last append become durable with it, moved or not.
  for (std::size_t i = stored_sources_; i < names_.size(); ++i) {
    built = built && put(meta, source_key(i), source_value(positions_[i], names_[i]));
  }
  for (const Advance& advance : advances) {
    ACCRETE_CHECK(advance.source.value < names_.size());
    built = built && put(meta, source_key(advance.source.value),
                         source_value(advance.position, names_[advance.source.value]));
  }
  for (const Memory& memory : memories) {
    ACCRETE_CHECK(memory.source.value < names_.size());
    built = built && put(meta, memory_key(memory.source, memory.position), memory.bytes);
    for (std::uint64_t old = memory.forget_begin; old < memory.forget_end; ++old)
      built = built && batch.Delete(meta, slice(memory_key(memory.source, old))).ok();
  }
  std::uint64_t letter = dead_letter_count();
  for (const DeadLetter& dead : letters) {
    built = built && put(handles.family(Family::Dead), key_of_number(++letter), letter_value(dead));
  }
  if (!letters.empty()) built = built && put(meta, meta::kDeadEnd, key_of_number(letter));
  ACCRETE_CHECK(built);  // a batch in memory has no other way to fail

  rocksdb::WriteOptions write;
  write.sync = handles.sync;
  if (const rocksdb::Status status = handles.db->Write(write, &batch); !status.ok()) {
    failed_ = true;
    Error error = to_error(status, "cannot append to the log");
    error.code = Errc::Unavailable;
    return error;
  }
  for (const Advance& advance : advances)
    positions_[advance.source.value] = advance.position;
  stored_sources_ = names_.size();
  ends_->letters.store(letter, std::memory_order_release);
  ends_->records.store(end + slice_in.size(), std::memory_order_release);
  return Ok{};
}

Status Log::get(Ordinal ordinal, std::string& entry) const {
  const Database::Handles& handles = database_->handles();
  if (ordinal.value == 0 || ordinal > end()) {
    return Error{Errc::NotFound, "there is no log record " + std::to_string(ordinal.value)};
  }
  std::unique_ptr<rocksdb::Iterator> it(
      handles.db->NewIterator(rocksdb::ReadOptions{}, handles.family(Family::Log)));
  it->Seek(slice(key_of_number(ordinal.value)));
  ACCRETE_DO(to_status(it->status(), "cannot read log record " + std::to_string(ordinal.value)));
  ACCRETE_TRY(const LogPage page, page_at(*it, ordinal.value));
  entry.assign(page.entry(ordinal.value));
  return Ok{};
}

Result<LogSlice> Log::read(Ordinal from, std::size_t records_max, std::size_t bytes_max) const {
  ACCRETE_CHECK(from.value > 0);
  LogSlice out;
  out.first = from;
  const std::uint64_t end = this->end().value;
  if (from.value > end || records_max == 0) return out;
  // Ends in a slice are 32-bit offsets; one entry is at most a few row_bytes_max.
  bytes_max = std::min<std::size_t>(bytes_max, 1u << 30);
  const std::uint64_t records = std::min<std::uint64_t>(records_max, end - from.value + 1);
  out.ends.reserve(static_cast<std::size_t>(std::min<std::uint64_t>(records, 1u << 16)));

  const Database::Handles& handles = database_->handles();
  rocksdb::ReadOptions options;
  options.fill_cache = false;  // the fold passes once; the cache is for rows that come up again
  std::unique_ptr<rocksdb::Iterator> it(
      handles.db->NewIterator(options, handles.family(Family::Log)));
  std::uint64_t expected = from.value;
  const std::uint64_t last = from.value + records - 1;
  for (it->Seek(slice(key_of_number(expected))); expected <= last; it->Next()) {
    ACCRETE_DO(to_status(it->status(), "cannot read the log"));
    ACCRETE_TRY(const LogPage page, page_at(*it, expected));
    for (; expected <= std::min(page.last(), last); ++expected) {
      const std::string_view entry = page.entry(expected);
      if (out.size() > 0 && out.bytes.size() + entry.size() > bytes_max) return out;
      out.bytes.append(entry);
      out.ends.push_back(static_cast<std::uint32_t>(out.bytes.size()));
    }
  }
  return out;
}
Result<std::vector<DeadLetter>> Log::dead_letters(std::uint64_t from, std::size_t max) const {
  const Database::Handles& handles = database_->handles();
  std::unique_ptr<rocksdb::Iterator> it(
      handles.db->NewIterator(rocksdb::ReadOptions{}, handles.family(Family::Dead)));
  std::vector<DeadLetter> out;
  const std::string first = key_of_number(from);
  for (it->Seek(slice(first)); it->Valid() && out.size() < max; it->Next()) {
    if (!decode_letter(view(it->key()), view(it->value()), out.emplace_back())) {
      return Error{Errc::Corruption, "a dead letter does not decode"};
    }
  }
  ACCRETE_DO(to_status(it->status(), "cannot read the dead letters"));
  return out;
}

Status Log::prune_dead_letters(std::uint64_t max) {
  const std::uint64_t count = dead_letter_count();
  if (count <= max) return Ok{};
  const Database::Handles& handles = database_->handles();
  return to_status(
      handles.db->DeleteRange(rocksdb::WriteOptions{}, handles.family(Family::Dead),
                              slice(key_of_number(0)), slice(key_of_number(count - max + 1))),
      "cannot prune the dead letters");
}

Result<Log::Verified> Log::verify() const {
  struct Seen {
    std::uint64_t position = 0;
    bool open = false;  ///< inside a transaction
  };
  std::vector<Seen> seen(names_.size());
  Verified out;
  Record record;
  const std::uint64_t end = this->end().value;
  const auto corrupt = [](std::uint64_t ordinal, const std::string& why) {
    return Error{Errc::Corruption, "log record " + std::to_string(ordinal) + " " + why};
  };
  for (std::uint64_t next = 1; next <= end;) {
    ACCRETE_TRY(const LogSlice page, read(Ordinal{next}, 4096, 8u << 20));
    for (std::size_t i = 0; i < page.size(); ++i, ++next) {
      LogHeader header;
      const Result<std::string_view> body = decode_entry(page.entry(i), header);
      if (!body) return corrupt(next, "does not decode: " + body.error().detail);
      if (const Status decoded = decode_record(body.value(), record); !decoded) {
        return corrupt(next, "does not decode: " + decoded.error().detail);
      }
      if (header.source.value >= seen.size()) return corrupt(next, "names an unknown source");
      Seen& source = seen[header.source.value];
      const bool fits =
          source.open ? header.position == source.position : header.position > source.position;
      if (!fits) {
        return corrupt(next, "has position " + std::to_string(header.position) + " after " +
                                 std::to_string(source.position) + " of source '" +
                                 names_[header.source.value] + "'");
      }
      source = {header.position, !header.last};
      out.transactions += header.last ? 1 : 0;
      out.bytes += page.entry(i).size();
    }
  }
  out.records = end;
  for (std::size_t i = 0; i < seen.size(); ++i) {
    if (seen[i].open) return corrupt(end, "leaves a transaction of '" + names_[i] + "' unfinished");
    if (seen[i].position > positions_[i]) {
      return corrupt(end, "is beyond the stored position of '" + names_[i] + "'");
    }
  }
  return out;
}

}  // namespace accrete::store
