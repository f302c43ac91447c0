// Derived state: one staged WriteBatch, committed with the cursor.
#include "store/state.h"

#include <utility>

#include <rocksdb/convenience.h>
#include <rocksdb/write_batch.h>

#include "store/handles.h"
#include "store/keys.h"

namespace accrete::store {

struct State::Staged {
  rocksdb::WriteBatch batch;
  std::size_t last_bytes = 0;

  /// Room for about what the last commit took, made when the first piece is staged: a batch that
  /// doubles as it grows would take up to three times its size, and one that is kept its size for
  /// ever.
  rocksdb::WriteBatch& begun() {
    if (batch.Count() == 0 && last_bytes > 0) {
      batch = rocksdb::WriteBatch(last_bytes + last_bytes / 8);
      last_bytes = 0;
    }
    return batch;
  }
  void end() {
    last_bytes = batch.GetDataSize();
    batch = rocksdb::WriteBatch();
  }
};

namespace {

Family family_of(Section section) {
  switch (section) {
    case Section::Keys:
      return Family::Keys;
    case Section::Nodes:
      return Family::Nodes;
    case Section::Adjacency:
      return Family::Adjacency;
    case Section::Segments:
      return Family::Segments;
    case Section::Labels:
      return Family::Labels;
    case Section::Blobs:
      return Family::Blobs;
  }
  ACCRETE_CHECK(false);
  return Family::Blobs;
}

constexpr Family kDerived[] = {Family::Keys,   Family::Nodes, Family::Adjacency,   Family::Segments,
                               Family::Labels, Family::Blobs, Family::Predictions, Family::Latest};

std::string encode_cursor(const Cursor& cursor) {
  std::string out;
  put_be<std::uint64_t>(out, cursor.epoch);
  put_be<std::uint64_t>(out, cursor.fingerprint);
  put_be<std::uint64_t>(out, cursor.folded.value);
  put_be<std::uint64_t>(out, cursor.predicted.value);
  return out;
}

}  // namespace

State::State(Database& database) : database_(&database), staged_(std::make_unique<Staged>()) {}
State::~State() = default;

Result<std::unique_ptr<State>> State::open(Database& database) {
  std::unique_ptr<State> state(new State(database));
  const Database::Handles& handles = database.handles();
  std::string value;
  const rocksdb::Status status = handles.db->Get(
      rocksdb::ReadOptions{}, handles.family(Family::Meta), slice(meta::kCursor), &value);
  if (status.IsNotFound()) return state;
  if (!status.ok()) return to_error(status, "cannot read the cursor");
  if (value.size() != 32) return Error{Errc::Corruption, "the stored cursor does not decode"};
  ByteReader in(value);
  state->cursor_.epoch = in.be64();
  state->cursor_.fingerprint = in.be64();
  state->cursor_.folded = Ordinal{in.be64()};
  state->cursor_.predicted = PredictionSeq{in.be64()};
  state->fresh_ = false;
  return state;
}

void State::put(Section section, std::string_view key, std::string_view value) {
  ACCRETE_CHECK(staged_->begun()
                    .Put(database_->handles().family(family_of(section)), slice(key), slice(value))
                    .ok());
}

void State::append(Section section, std::string_view key, std::string_view bytes) {
  ACCRETE_CHECK(section == Section::Nodes || section == Section::Adjacency);
  ACCRETE_CHECK(
      staged_->begun()
          .Merge(database_->handles().family(family_of(section)), slice(key), slice(bytes))
          .ok());
}

void State::erase(Section section, std::string_view key) {
  ACCRETE_CHECK(
      staged_->begun().Delete(database_->handles().family(family_of(section)), slice(key)).ok());
}

std::uint64_t State::staged_bytes() const {
  return staged_->batch.GetDataSize();
}

Status State::commit(const Cursor& cursor) {
  if (failed_) return Error{Errc::Unavailable, "an earlier commit failed; restart accreted"};
  const Database::Handles& handles = database_->handles();
  rocksdb::WriteBatch& batch = staged_->batch;
  ACCRETE_CHECK(
      batch.Put(handles.family(Family::Meta), slice(meta::kCursor), slice(encode_cursor(cursor)))
          .ok());
  const rocksdb::Status status = handles.db->Write(rocksdb::WriteOptions{}, &batch);
  staged_->end();
  if (!status.ok()) {
    failed_ = true;
    return to_error(status, "cannot commit the derived state");
  }
  cursor_ = cursor;
  fresh_ = false;
  return Ok{};
}

Result<std::optional<std::string>> State::get(Section section, std::string_view key) const {
  std::string value;
  ACCRETE_TRY(const bool found, get(section, key, value));
  if (!found) return std::optional<std::string>{};
  return std::optional<std::string>(std::move(value));
}

Result<bool> State::get(Section section, std::string_view key, std::string& value) const {
  const Database::Handles& handles = database_->handles();
  rocksdb::PinnableSlice pinned(&value);
  const rocksdb::Status status = handles.db->Get(
      rocksdb::ReadOptions{}, handles.family(family_of(section)), slice(key), &pinned);
  if (status.IsNotFound()) return false;
  if (!status.ok()) return to_error(status, "cannot read derived state");
  if (pinned.IsPinned()) value.assign(pinned.data(), pinned.size());
  return true;
}

Status State::scan(
    Section section, std::string_view prefix,
    const std::function<bool(std::string_view key, std::string_view value)>& visit) const {
  const Database::Handles& handles = database_->handles();
  const std::string end = prefix_end(prefix);
  const rocksdb::Slice bound = slice(end);
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  if (!end.empty()) options.iterate_upper_bound = &bound;
  std::unique_ptr<rocksdb::Iterator> it(
      handles.db->NewIterator(options, handles.family(family_of(section))));
  for (it->Seek(slice(prefix)); it->Valid(); it->Next()) {
    if (!visit(view(it->key()), view(it->value()))) return Ok{};
  }
  return to_status(it->status(), "cannot scan derived state");
}

Status State::reset(std::uint64_t epoch, std::uint64_t fingerprint) {
  const Database::Handles& handles = database_->handles();
  rocksdb::WriteBatch& batch = staged_->batch;
  batch.Clear();
  for (const Family family : kDerived) {
    std::unique_ptr<rocksdb::Iterator> it(
        handles.db->NewIterator(rocksdb::ReadOptions{}, handles.family(family)));
    it->SeekToLast();
    if (it->Valid()) {
      // The bound is exclusive: the smallest key after the last one.
      const std::string last = it->key().ToString() + '\0';
      ACCRETE_CHECK(batch.DeleteRange(handles.family(family), rocksdb::Slice{}, slice(last)).ok());
    }
    ACCRETE_DO(to_status(it->status(), "cannot read the derived state to be dropped"));
  }
  ACCRETE_CHECK(batch.Delete(handles.family(Family::Meta), slice(meta::kPredictionEnd)).ok());
  Cursor cursor;
  cursor.epoch = epoch;
  cursor.fingerprint = fingerprint;
  ACCRETE_DO(commit(cursor));
  // Files vanish at once, so what makes them superfluous has to be on disk first.
  ACCRETE_DO(to_status(handles.db->SyncWAL(), "cannot sync the reset"));
  // The range is gone already; this only gives whole files back at once instead of by compaction.
  for (const Family family : kDerived) {
    ACCRETE_DO(to_status(
        rocksdb::DeleteFilesInRange(handles.db.get(), handles.family(family), nullptr, nullptr),
        "cannot free the dropped state"));
  }
  return Ok{};
}

}  // namespace accrete::store
