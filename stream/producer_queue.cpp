// Keeping transactions until they are durable, and cutting them into batches.
#include "stream/producer_queue.h"

#include <algorithm>
#include <utility>

#include "proto/result.h"

namespace accrete::stream {
namespace {

constexpr char kLayoutTag = 0x0A;  // wire.Record: field 1, length-delimited

}  // namespace

/// Whether `record` is a layout; remembered if it is.
bool ProducerQueue::learn_layout(std::string_view record) {
  if (!record.starts_with(kLayoutTag) || !decode_record(record, decoded_)) return false;
  const auto [known, fresh] = layouts_.try_emplace(decoded_.layout.hash());
  if (fresh) {
    known->second.record = record;
    ++unsaid_;
  }
  return true;
}

void ProducerQueue::add_layouts(std::span<const std::string_view> records) {
  for (const std::string_view record : records)
    learn_layout(record);
}

void ProducerQueue::add(std::uint64_t position, std::span<const std::string_view> records) {
  ACCRETE_CHECK(kept_.empty() || position > kept_.back().position);
  Kept& transaction = kept_.emplace_back();
  transaction.position = position;
  std::size_t bytes = 0;
  for (const std::string_view record : records)
    bytes += record.size();
  transaction.bytes.reserve(bytes);
  transaction.ends.reserve(records.size());
  for (const std::string_view record : records) {
    if (learn_layout(record)) continue;
    transaction.bytes.append(record);
    transaction.ends.push_back(transaction.bytes.size());
  }
  unsent_rows_ += transaction.rows();
  unsent_bytes_ += transaction.bytes.size();
}

void ProducerQueue::rewind() {
  next_ = next_record_ = 0;
  for (auto& [hash, layout] : layouts_)
    layout.said = false;
  unsaid_ = layouts_.size();
  unsent_rows_ = unsent_bytes_ = 0;
  for (const Kept& transaction : kept_) {
    unsent_rows_ += transaction.rows();
    unsent_bytes_ += transaction.bytes.size();
  }
}

std::uint64_t ProducerQueue::forget(std::uint64_t position) {
  std::uint64_t count = 0;
  // Another producer of our source may be ahead of us: what we have not sent stays, and the daemon
  // drops it as a duplicate.
  for (; next_ > 0 && kept_.front().position <= position; --next_, ++count)
    kept_.pop_front();
  return count;
}

std::uint64_t ProducerQueue::forget_unsent(std::uint64_t position) {
  std::uint64_t count = 0;
  for (; !kept_.empty() && kept_.front().position <= position; ++count)
    kept_.pop_front();
  rewind();
  return count;
}

std::span<const PartView> ProducerQueue::take(std::size_t rows_max, std::size_t bytes_max) {
  records_.clear();
  parts_.clear();
  // Parts hold spans of `records_`: it must not move while it grows.
  records_.reserve(rows_max + layouts_.size());
  Room room{rows_max, bytes_max};
  while (next_ < kept_.size() && room.rows > 0 && room.bytes > 0) {
    const std::size_t parts_before = parts_.size();
    take_each(room);
    if (parts_.size() == parts_before) take_piece(room);
    const PartView& part = parts_.back();
    if (part.kind != PartKind::Pending) {
      count_resent(part);
    } else if (part.records.empty()) {
      parts_.pop_back();  // the next record does not fit any more
      break;
    }
  }
  return parts_;
}

/// The layout that must be said before `record` goes out, or null.
ProducerQueue::KnownLayout* ProducerQueue::unsaid_layout(std::string_view record) {
  if (unsaid_ == 0 || !decode_record(record, decoded_) || decoded_.kind != RecordKind::Change)
    return nullptr;
  const auto known = layouts_.find(decoded_.change.layout);
  return known == layouts_.end() || known->second.said ? nullptr : &known->second;
}

void ProducerQueue::take_each(Room& room) {
  const std::size_t begin = records_.size();
  std::uint64_t position = 0;
  for (; next_ < kept_.size() && room.rows > 0; ++next_) {
    const Kept& transaction = kept_[next_];
    const bool consecutive = position == 0 || transaction.position == position + 1;
    if (transaction.size() != 1 || next_record_ != 0 || !consecutive ||
        transaction.bytes.size() > room.bytes || unsaid_layout(transaction.record(0)) != nullptr)
      break;
    position = transaction.position;
    records_.push_back(transaction.record(0));
    --room.rows;
    room.bytes -= transaction.bytes.size();
    --unsent_rows_;
    unsent_bytes_ -= transaction.bytes.size();
  }
  if (records_.size() == begin) return;
  PartView& part = parts_.emplace_back();
  part.kind = PartKind::Each;
  part.position = position;
  part.records = {records_.data() + begin, records_.size() - begin};
}

void ProducerQueue::take_piece(Room& room) {
  const std::size_t begin = records_.size();
  const Kept& transaction = kept_[next_];
  while (room.rows > 0 && next_record_ < transaction.size()) {
    const std::string_view record = transaction.record(next_record_);
    KnownLayout* layout = unsaid_layout(record);
    const std::string_view next = layout != nullptr ? layout->record : record;
    if (next.size() > room.bytes && !records_.empty()) break;
    records_.push_back(next);
    room.bytes -= std::min(next.size(), room.bytes);
    if (layout != nullptr) {
      layout->said = true;
      --unsaid_;
      continue;
    }
    --room.rows;
    ++next_record_;
    --unsent_rows_;
    unsent_bytes_ -= record.size();
  }
  PartView& part = parts_.emplace_back();
  part.transaction = transaction.position;
  part.records = {records_.data() + begin, records_.size() - begin};
  if (next_record_ < transaction.size()) return;
  part.kind = PartKind::Commit;
  part.position = transaction.position;
  if (transaction.size() == 0) {
    --room.rows;
    --unsent_rows_;
  }
  ++next_;
  next_record_ = 0;
}

void ProducerQueue::count_resent(const PartView& part) {
  const std::uint64_t first =
      part.kind == PartKind::Each ? part.position - part.records.size() + 1 : part.position;
  if (first <= sent_position_) resent_ += std::min(sent_position_, part.position) - first + 1;
  sent_position_ = std::max(sent_position_, part.position);
}

}  // namespace accrete::stream
