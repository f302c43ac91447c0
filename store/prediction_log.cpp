// The prediction log in RocksDB.
//
// A stored prediction is (running total, header, topic, payload). The running total of bytes makes
// the size of any range of numbers one subtraction, so pruning by size is a binary search.
#include "store/prediction_log.h"

#include <algorithm>
#include <utility>

#include <rocksdb/convenience.h>
#include <rocksdb/write_batch.h>

#include "store/handles.h"
#include "store/keys.h"

namespace accrete::store {

struct PredictionLog::Parts {
  explicit Parts(Database& database) : handles(database.handles()) {}

  const Database::Handles& handles;
  std::atomic<std::uint64_t> end{0};
  std::atomic<std::uint64_t> oldest{1};
  std::atomic<std::uint64_t> total{0};   ///< running total up to `end`
  std::atomic<std::uint64_t> before{0};  ///< running total before `oldest`

  std::unique_ptr<rocksdb::Iterator> iterate(Family family,
                                             const rocksdb::ReadOptions& options = {}) const {
    return std::unique_ptr<rocksdb::Iterator>(
        handles.db->NewIterator(options, handles.family(family)));
  }
  Status load();
  Result<std::size_t> repeated(std::span<const StoredPrediction> predictions) const;
  Status compare(std::span<const StoredPrediction> predictions) const;
  Result<std::uint64_t> total_before(std::uint64_t seq) const;
  Result<std::uint64_t> first_within(std::uint64_t bytes_max) const;
  Result<std::uint64_t> first_younger(TimeUs oldest_as_of) const;
  Result<std::uint64_t> held_back(std::int64_t deadline_us, Pruned& out);
  Result<std::uint64_t> epoch() const;
};

namespace {

constexpr std::size_t kTotalBytes = 8;

void encode_body(const StoredPrediction& prediction, std::string& out) {
  const auto header = prediction.header.encode();
  out.append(header.data(), header.size());
  put_text(out, prediction.topic);
  out.append(prediction.payload);
}

Error undecodable() {
  return {Errc::Corruption, "a stored prediction does not decode"};
}

Status decode_body(std::string_view body, StoredPrediction& out) {
  if (body.size() < PredictionHeader::bytes) return undecodable();
  ACCRETE_TRY(out.header, PredictionHeader::decode(body.substr(0, PredictionHeader::bytes)));
  ByteReader in(body.substr(PredictionHeader::bytes));
  out.topic = in.text();
  out.payload = in.take(in.left());
  if (!in.ok()) return undecodable();
  return Ok{};
}

/// The topic without decoding (and copying) the rest.
std::string_view topic_of(std::string_view body) {
  if (body.size() < PredictionHeader::bytes) return {};
  ByteReader in(body.substr(PredictionHeader::bytes));
  return in.text();
}

std::string_view body_of(std::string_view value) {
  return value.size() < kTotalBytes ? std::string_view{} : value.substr(kTotalBytes);
}

/// A prediction as the newest of its topic, unless a later one follows in the same append.
struct Newest {
  std::string_view topic;
  std::size_t begin;  ///< of its body, rising with the sequence number
  std::size_t size;
};

/// One write a topic, in topic order: a memtable takes sorted keys three times as fast.
bool put_newest(std::vector<Newest>& newest, std::string_view bodies,
                rocksdb::ColumnFamilyHandle* family, rocksdb::WriteBatch& batch) {
  std::sort(newest.begin(), newest.end(), [](const Newest& a, const Newest& b) {
    const int order = a.topic.compare(b.topic);
    return order != 0 ? order < 0 : a.begin < b.begin;
  });
  for (std::size_t i = 0; i < newest.size(); ++i) {
    if (i + 1 < newest.size() && newest[i + 1].topic == newest[i].topic) continue;
    const std::string_view body = bodies.substr(newest[i].begin, newest[i].size);
    if (!batch.Put(family, slice(newest[i].topic), slice(body)).ok()) return false;
  }
  return true;
}

std::string encode_subscriber(const Subscriber& subscriber) {
  std::string out;
  put_be<std::uint64_t>(out, subscriber.epoch);
  put_be<std::uint64_t>(out, subscriber.seq.value);
  put_be<std::uint64_t>(out, static_cast<std::uint64_t>(subscriber.seen_us));
  return out;
}

bool decode_subscriber(std::string_view key, std::string_view value, Subscriber& out) {
  if (value.size() != 24) return false;
  ByteReader in(value);
  out.name = key;
  out.epoch = in.be64();
  out.seq = PredictionSeq{in.be64()};
  out.seen_us = static_cast<std::int64_t>(in.be64());
  return true;
}

}  // namespace

Status PredictionLog::Parts::load() {
  std::string value;
  const rocksdb::Status status = handles.db->Get(
      rocksdb::ReadOptions{}, handles.family(Family::Meta), slice(meta::kPredictionEnd), &value);
  if (!status.ok() && !status.IsNotFound()) {
    return to_error(status, "cannot read the end of the predictions");
  }
  ByteReader in(value);
  const std::uint64_t stored_end = status.ok() ? in.be64() : 0;
  const std::uint64_t stored_total = status.ok() ? in.be64() : 0;
  if (!in.ok()) return Error{Errc::Corruption, "the end of the predictions does not decode"};
  const auto it = iterate(Family::Predictions);
  it->SeekToFirst();
  std::uint64_t first = stored_end + 1;
  if (it->Valid() && it->key().size() == 8) first = get_be<std::uint64_t>(view(it->key()));
  ACCRETE_DO(to_status(it->status(), "cannot read the predictions"));
  end.store(stored_end);
  total.store(stored_total);
  oldest.store(first);
  ACCRETE_TRY(const std::uint64_t gone, total_before(first));
  before.store(gone);
  return Ok{};
}

/// Running total of all predictions before `seq`, which is retained or end + 1.
Result<std::uint64_t> PredictionLog::Parts::total_before(std::uint64_t seq) const {
  if (seq > end.load()) return total.load();
  std::string value;
  const rocksdb::Status status =
      handles.db->Get(rocksdb::ReadOptions{}, handles.family(Family::Predictions),
                      slice(key_of_number(seq)), &value);
  if (!status.ok() || value.size() < kTotalBytes) {
    return Error{status.ok() || status.IsNotFound() ? Errc::Corruption : Errc::Unavailable,
                 "cannot read prediction " + std::to_string(seq) + ": " + status.ToString()};
  }
  return get_be<std::uint64_t>(value) - (value.size() - kTotalBytes);
}

Result<std::unique_ptr<PredictionLog>> PredictionLog::open(Database& database) {
  auto parts = std::make_unique<Parts>(database);
  ACCRETE_DO(parts->load());
  return std::unique_ptr<PredictionLog>(new PredictionLog(std::move(parts)));
}

PredictionLog::PredictionLog(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
PredictionLog::~PredictionLog() = default;

Status PredictionLog::reset() {
  return parts_->load();
}

PredictionSeq PredictionLog::end() const {
  return PredictionSeq{parts_->end.load()};
}
PredictionSeq PredictionLog::oldest() const {
  return PredictionSeq{parts_->oldest.load()};
}
std::uint64_t PredictionLog::bytes() const {
  const std::uint64_t before = parts_->before.load();  // first: it only grows
  return parts_->total.load() - before;
}

/// Check predictions whose numbers are stored (and retained) against the stored bytes.
Status PredictionLog::Parts::compare(std::span<const StoredPrediction> predictions) const {
  const auto it = iterate(Family::Predictions);
  std::string body;
  bool sought = false;
  for (const StoredPrediction& prediction : predictions) {
    const std::uint64_t seq = prediction.header.seq.value;
    if (seq < oldest.load()) continue;
    if (sought) {
      it->Next();
    } else {
      it->Seek(slice(key_of_number(seq)));
      sought = true;
    }
    ACCRETE_DO(to_status(it->status(), "cannot read the predictions"));
    body.clear();
    encode_body(prediction, body);
    const bool same =
        it->Valid() && view(it->key()) == key_of_number(seq) && body_of(view(it->value())) == body;
    if (!same) {
      return Error{Errc::Corruption,
                   "prediction " + std::to_string(seq) + " ('" + prediction.topic +
                       "') came out differently when the log was folded again; the binary, the "
                       "configuration or the machine is not what wrote it"};
    }
  }
  return Ok{};
}

/// Numbers follow one another and the log; how many of them are stored already.
Result<std::size_t> PredictionLog::Parts::repeated(
    std::span<const StoredPrediction> predictions) const {
  const std::uint64_t stored_end = end.load();
  std::size_t count = 0;
  for (std::size_t i = 0; i < predictions.size(); ++i) {
    const std::uint64_t seq = predictions[i].header.seq.value;
    const bool in_order =
        i == 0 ? seq >= 1 && seq <= stored_end + 1 : seq == predictions[i - 1].header.seq.value + 1;
    if (!in_order) {
      return Error{Errc::Corruption, "prediction " + std::to_string(seq) + " does not follow " +
                                         std::to_string(stored_end)};
    }
    if (seq <= stored_end) count = i + 1;
  }
  return count;
}

Status PredictionLog::append(std::span<const StoredPrediction> predictions) {
  ACCRETE_TRY(const std::size_t repeated, parts_->repeated(predictions));
  if (repeated > 0) ACCRETE_DO(parts_->compare(predictions.first(repeated)));
  predictions = predictions.subspan(repeated);
  if (predictions.empty()) return Ok{};

  const Database::Handles& handles = parts_->handles;
  std::uint64_t end = parts_->end.load();
  std::uint64_t total = parts_->total.load();
  rocksdb::WriteBatch batch;
  std::string value;
  std::string bodies;
  std::vector<Newest> newest;
  newest.reserve(predictions.size());
  bool built = true;
  for (const StoredPrediction& prediction : predictions) {
    const std::size_t begin = bodies.size();
    encode_body(prediction, bodies);
    const std::string_view body = std::string_view(bodies).substr(begin);
    total += body.size();
    value.clear();
    put_be<std::uint64_t>(value, total);
    value += body;
    built =
        built &&
        batch.Put(handles.family(Family::Predictions), slice(key_of_number(++end)), slice(value))
            .ok();
    newest.push_back({prediction.topic, begin, body.size()});
  }
  built = built && put_newest(newest, bodies, handles.family(Family::Latest), batch);
  value.clear();
  put_be<std::uint64_t>(value, end);
  put_be<std::uint64_t>(value, total);
  built = built &&
          batch.Put(handles.family(Family::Meta), slice(meta::kPredictionEnd), slice(value)).ok();
  ACCRETE_CHECK(built);  // a batch in memory has no other way to fail
  ACCRETE_DO(
      to_status(handles.db->Write(rocksdb::WriteOptions{}, &batch), "cannot append predictions"));
  parts_->total.store(total);
  parts_->end.store(end);
  return Ok{};
}

Result<PredictionLog::Page> PredictionLog::read(PredictionSeq from, std::size_t max,
                                                std::size_t bytes_max,
                                                std::string_view topic_prefix) const {
  const auto pruned = [&] {
    return Error{Errc::NotFound, "prediction " + std::to_string(from.value) +
                                     " is pruned; the oldest is " + std::to_string(oldest().value)};
  };
  if (from < oldest()) return pruned();
  Page page;
  page.next = from;
  const std::uint64_t end = parts_->end.load();
  if (from.value > end) return page;
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  const auto it = parts_->iterate(Family::Predictions, options);
  std::size_t passed_bytes = 0;
  std::uint64_t seq = from.value;
  for (it->Seek(slice(key_of_number(seq))); it->Valid() && seq <= end; it->Next(), ++seq) {
    if (page.predictions.size() >= max || passed_bytes >= bytes_max) break;
    // Pruned since we looked: the front of the range is gone.
    if (view(it->key()) != key_of_number(seq)) return pruned();
    const std::string_view body = body_of(view(it->value()));
    passed_bytes += body.size();
    if (topic_of(body).starts_with(topic_prefix)) {
      ACCRETE_DO(decode_body(body, page.predictions.emplace_back()));
    }
  }
  ACCRETE_DO(to_status(it->status(), "cannot read the predictions"));
  if (seq == from.value && max > 0 && bytes_max > 0) return pruned();
  page.next = PredictionSeq{seq};
  return page;
}

Result<PredictionSeq> PredictionLog::snapshot(
    std::string_view topic_prefix,
    const std::function<bool(const StoredPrediction&)>& visit) const {
  const Database::Handles& handles = parts_->handles;
  rocksdb::ManagedSnapshot moment(handles.db.get());
  const std::string bound_bytes = prefix_end(topic_prefix);
  const rocksdb::Slice bound = slice(bound_bytes);
  rocksdb::ReadOptions options;
  options.snapshot = moment.snapshot();
  std::string value;
  const rocksdb::Status status =
      handles.db->Get(options, handles.family(Family::Meta), slice(meta::kPredictionEnd), &value);
  if (status.IsNotFound()) return PredictionSeq{0};
  if (!status.ok()) return to_error(status, "cannot read the end of the predictions");
  if (value.size() != 16) return undecodable();
  options.fill_cache = false;
  if (!bound_bytes.empty()) options.iterate_upper_bound = &bound;
  const auto it = parts_->iterate(Family::Latest, options);
  StoredPrediction prediction;
  for (it->Seek(slice(topic_prefix)); it->Valid(); it->Next()) {
    ACCRETE_DO(decode_body(view(it->value()), prediction));
    if (!visit(prediction)) break;
  }
  ACCRETE_DO(to_status(it->status(), "cannot read the newest predictions"));
  return PredictionSeq{get_be<std::uint64_t>(value)};
}

/// The oldest number from which on at most `bytes_max` are retained.
Result<std::uint64_t> PredictionLog::Parts::first_within(std::uint64_t bytes_max) const {
  std::uint64_t low = oldest.load();
  std::uint64_t high = end.load() + 1;
  if (bytes_max == 0 || total.load() - before.load() <= bytes_max) return low;
  const std::uint64_t goal = total.load() - bytes_max;
  while (low < high) {
    const std::uint64_t middle = low + (high - low) / 2;
    ACCRETE_TRY(const std::uint64_t sum, total_before(middle));
    if (sum < goal) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

/// The oldest number that is as young as `oldest_as_of`.
Result<std::uint64_t> PredictionLog::Parts::first_younger(TimeUs oldest_as_of) const {
  const std::uint64_t first = oldest.load();
  if (oldest_as_of == kTimeMin) return first;
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  const auto it = iterate(Family::Predictions, options);
  std::uint64_t seq = first;
  for (it->Seek(slice(key_of_number(first))); it->Valid(); it->Next(), ++seq) {
    const std::string_view body = body_of(view(it->value()));
    ACCRETE_TRY(const PredictionHeader header,
                PredictionHeader::decode(body.substr(0, PredictionHeader::bytes)));
    if (header.as_of >= oldest_as_of) break;
  }
  ACCRETE_DO(to_status(it->status(), "cannot read the predictions"));
  return seq;
}

/// Epoch of the newest prediction. Checks: there is one.
Result<std::uint64_t> PredictionLog::Parts::epoch() const {
  std::string value;
  const rocksdb::Status status =
      handles.db->Get(rocksdb::ReadOptions{}, handles.family(Family::Predictions),
                      slice(key_of_number(end.load())), &value);
  if (!status.ok()) return to_error(status, "cannot read the newest prediction");
  ACCRETE_TRY(const PredictionHeader header,
              PredictionHeader::decode(body_of(value).substr(0, PredictionHeader::bytes)));
  return header.epoch;
}

/// First number that a live subscriber still needs; drops the expired ones.
Result<std::uint64_t> PredictionLog::Parts::held_back(std::int64_t deadline_us, Pruned& out) {
  std::uint64_t needed = end.load() + 1;
  std::uint64_t now = 0;
  if (oldest.load() < needed) {
    ACCRETE_TRY(now, epoch());
  }
  const auto it = iterate(Family::Subscribers);
  rocksdb::WriteBatch expired;
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    Subscriber subscriber;
    if (!decode_subscriber(view(it->key()), view(it->value()), subscriber)) {
      return Error{Errc::Corruption, "a stored subscriber does not decode"};
    }
    if (subscriber.seen_us < deadline_us) {
      ACCRETE_CHECK(expired.Delete(handles.family(Family::Subscribers), it->key()).ok());
      out.dropped_subscribers.push_back(subscriber.name);
    } else if (subscriber.epoch == now) {
      needed = std::min(needed, subscriber.seq.value + 1);
    }
  }
  ACCRETE_DO(to_status(it->status(), "cannot read the subscribers"));
  if (expired.Count() > 0) {
    ACCRETE_DO(to_status(handles.db->Write(rocksdb::WriteOptions{}, &expired),
                         "cannot drop expired subscribers"));
  }
  return needed;
}

Result<PredictionLog::Pruned> PredictionLog::prune(std::uint64_t bytes_max, TimeUs oldest_as_of,
                                                   std::int64_t deadline_us) {
  Pruned out;
  Parts& parts = *parts_;
  const std::uint64_t first = parts.oldest.load();
  ACCRETE_TRY(const std::uint64_t needed, parts.held_back(deadline_us, out));
  if (first > parts.end.load()) return out;
  ACCRETE_TRY(const std::uint64_t within, parts.first_within(bytes_max));
  ACCRETE_TRY(const std::uint64_t younger, parts.first_younger(oldest_as_of));
  const std::uint64_t keep = std::min(needed, std::max(within, younger));
  if (keep <= first) return out;
  ACCRETE_TRY(const std::uint64_t gone, parts.total_before(keep));
  // Readers learn first, so that they answer "pruned" rather than find a hole.
  parts.oldest.store(keep);
  parts.before.store(gone);
  const Database::Handles& handles = parts.handles;
  ACCRETE_DO(to_status(
      handles.db->DeleteRange(rocksdb::WriteOptions{}, handles.family(Family::Predictions),
                              slice(key_of_number(0)), slice(key_of_number(keep))),
      "cannot prune the predictions"));
  // Whole files can go at once instead of by compaction, so that the disk stays bounded; they do
  // not come back, so what makes them superfluous has to be on disk first.
  ACCRETE_DO(to_status(handles.db->SyncWAL(), "cannot sync the pruning"));
  const std::string end_key = key_of_number(keep - 1);
  const rocksdb::Slice end_slice = slice(end_key);
  ACCRETE_DO(
      to_status(rocksdb::DeleteFilesInRange(handles.db.get(), handles.family(Family::Predictions),
                                            nullptr, &end_slice),
                "cannot free pruned predictions"));
  out.predictions = keep - first;
  return out;
}

Status PredictionLog::acknowledge(const Subscriber& subscriber) {
  const Database::Handles& handles = parts_->handles;
  return to_status(handles.db->Put(rocksdb::WriteOptions{}, handles.family(Family::Subscribers),
                                   slice(subscriber.name), slice(encode_subscriber(subscriber))),
                   "cannot store the position of subscriber '" + subscriber.name + "'");
}

Result<std::optional<Subscriber>> PredictionLog::subscriber(std::string_view name) const {
  const Database::Handles& handles = parts_->handles;
  std::string value;
  const rocksdb::Status status = handles.db->Get(
      rocksdb::ReadOptions{}, handles.family(Family::Subscribers), slice(name), &value);
  if (status.IsNotFound()) return std::optional<Subscriber>{};
  if (!status.ok()) return to_error(status, "cannot read a subscriber");
  Subscriber out;
  if (!decode_subscriber(name, value, out)) {
    return Error{Errc::Corruption, "a stored subscriber does not decode"};
  }
  return std::optional<Subscriber>(std::move(out));
}

Result<std::vector<Subscriber>> PredictionLog::subscribers() const {
  const auto it = parts_->iterate(Family::Subscribers);
  std::vector<Subscriber> out;
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    if (!decode_subscriber(view(it->key()), view(it->value()), out.emplace_back())) {
      return Error{Errc::Corruption, "a stored subscriber does not decode"};
    }
  }
  ACCRETE_DO(to_status(it->status(), "cannot read the subscribers"));
  return out;
}

}  // namespace accrete::store
