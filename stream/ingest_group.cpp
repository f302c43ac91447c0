// Collecting one group commit.
#include "stream/ingest_group.h"

#include <span>
#include <utility>

namespace accrete::stream {

void IngestGroup::begin(std::string_view source, std::uint64_t position) {
  if (count_ == transactions_.size()) transactions_.emplace_back();
  Transaction& transaction = transactions_[count_];
  transaction.source = source;
  transaction.position = position;
  transaction.records.clear();
  transaction.memory.clear();
  transaction.forget_begin = transaction.forget_end = 0;
  layouts_before_ = layouts_.size();
}

void IngestGroup::put(std::string_view record) {
  transactions_[count_].records.push_back(record);
}

void IngestGroup::add(std::string_view record, const CheckedRecord& checked) {
  if (checked.layout == nullptr) {
    put(record);
    return;
  }
  // Logged with the first row that needs it: where a producer happens to say it changes no ordinal.
  if (checked.kind == RecordKind::Layout) return;
  if (!checked.layout->logged && !checked.layout->grouped) {
    checked.layout->grouped = true;
    layouts_.push_back(checked.layout);
    put(checked.layout->record);
  }
  put(record);
}

void IngestGroup::end() {
  const Transaction& transaction = transactions_[count_++];
  rows_ += transaction.records.size();
  for (const std::string_view record : transaction.records)
    bytes_ += record.size();
}

void IngestGroup::abandon() {
  for (; layouts_.size() > layouts_before_; layouts_.pop_back())
    layouts_.back()->grouped = false;
}

void IngestGroup::reject(std::string_view source, std::uint64_t position, std::string reason,
                         std::string_view record) {
  bytes_ += reason.size() + record.size();
  rejected_.push_back({source, position, std::move(reason), record});
}

Status IngestGroup::commit(CommitSink& sink) {
  Status status = sink.commit(std::span<const Transaction>(transactions_).first(count_), rejected_);
  if (status) {
    for (KnownLayout* const layout : layouts_)
      layout->logged = true;
  }
  clear();
  return status;
}

void IngestGroup::clear() {
  for (KnownLayout* const layout : layouts_)
    layout->grouped = false;
  layouts_.clear();
  rejected_.clear();
  kept_.clear();
  count_ = rows_ = bytes_ = 0;
}

}  // namespace accrete::stream
