// Keeping transactions until they are durable, and cutting them into batches.
#include "stream/producer_queue.h"

#include <algorithm>
#include <utility>

#include "proto/result.h"

namespace accrete::stream {
namespace {

constexpr char kLayoutTag = 0x0A;  // wire.Record: field 1, length-delimited

}  // namespace

void ProducerQueue::add_layouts(std::span<const std::string_view> records) {
  for (const std::string_view record : records) {
    if (record.starts_with(kLayoutTag) && layout_set_.emplace(record).second)
      layouts_.emplace_back(record);
  }
}

void ProducerQueue::add(std::uint64_t position, std::span<const std::string_view> records) {
  ACCRETE_CHECK(kept_.empty() || position > kept_.back().position);
  add_layouts(records);
  Kept& transaction = kept_.emplace_back();
  transaction.position = position;
  std::size_t bytes = 0;
  for (const std::string_view record : records)
    bytes += record.size();
  transaction.bytes.reserve(bytes);
  transaction.ends.reserve(records.size());
  for (const std::string_view record : records) {
    if (record.starts_with(kLayoutTag)) continue;
    transaction.bytes.append(record);
    transaction.ends.push_back(transaction.bytes.size());
  }
  unsent_rows_ += transaction.rows();
  unsent_bytes_ += transaction.bytes.size();
}

void ProducerQueue::rewind() {
  next_ = next_record_ = 0;
  layouts_said_ = 0;
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
  std::size_t rows = 0;
  std::size_t bytes = 0;
  while (next_ < kept_.size() && rows < rows_max && bytes < bytes_max) {
    const std::size_t parts_before = parts_.size();
    const std::size_t said_before = layouts_said_;
    if (layouts_said_ == layouts_.size()) bytes += take_each(rows_max - rows, bytes_max - bytes);
    if (parts_.size() == parts_before) bytes += take_piece(rows_max - rows, bytes_max - bytes);
    const PartView& part = parts_.back();
    const std::size_t taken = part.records.size() - (layouts_said_ - said_before);
    if (part.kind != PartKind::Pending) {
      rows += std::max<std::size_t>(taken, 1);
      count_resent(part);
    } else if (taken > 0) {
      rows += taken;
    } else {
      parts_.pop_back();  // the next record does not fit any more
      break;
    }
  }
  unsent_rows_ -= rows;
  unsent_bytes_ -= bytes;
  return parts_;
}

std::size_t ProducerQueue::take_each(std::size_t rows_left, std::size_t bytes_left) {
  const std::size_t begin = records_.size();
  std::size_t bytes = 0;
  std::uint64_t position = 0;
  for (; next_ < kept_.size() && records_.size() - begin < rows_left; ++next_) {
    const Kept& transaction = kept_[next_];
    const bool consecutive = position == 0 || transaction.position == position + 1;
    if (transaction.size() != 1 || next_record_ != 0 || !consecutive ||
        bytes + transaction.bytes.size() > bytes_left)
      break;
    position = transaction.position;
    bytes += transaction.bytes.size();
    records_.push_back(transaction.record(0));
  }
  if (records_.size() == begin) return 0;
  PartView& part = parts_.emplace_back();
  part.kind = PartKind::Each;
  part.position = position;
  part.records = {records_.data() + begin, records_.size() - begin};
  return bytes;
}

std::size_t ProducerQueue::take_piece(std::size_t rows_left, std::size_t bytes_left) {
  const std::size_t begin = records_.size();
  const Kept& transaction = kept_[next_];
  for (; layouts_said_ < layouts_.size(); ++layouts_said_)
    records_.emplace_back(layouts_[layouts_said_]);
  std::size_t bytes = 0;
  for (std::size_t rows = 0; rows < rows_left && next_record_ < transaction.size(); ++rows) {
    const std::string_view record = transaction.record(next_record_);
    if (bytes + record.size() > bytes_left && (bytes > 0 || !parts_.empty())) break;
    bytes += record.size();
    records_.push_back(record);
    ++next_record_;
  }
  PartView& part = parts_.emplace_back();
  part.transaction = transaction.position;
  part.records = {records_.data() + begin, records_.size() - begin};
  if (next_record_ == transaction.size()) {
    part.kind = PartKind::Commit;
    part.position = transaction.position;
    ++next_;
    next_record_ = 0;
  }
  return bytes;
}

void ProducerQueue::count_resent(const PartView& part) {
  const std::uint64_t first =
      part.kind == PartKind::Each ? part.position - part.records.size() + 1 : part.position;
  if (first <= sent_position_) resent_ += std::min(sent_position_, part.position) - first + 1;
  sent_position_ = std::max(sent_position_, part.position);
}

}  // namespace accrete::stream
