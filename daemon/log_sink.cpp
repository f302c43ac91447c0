// Writing transactions to the log.
#include "daemon/log_sink.h"

#include <algorithm>
#include <string>
#include <utility>

#include "daemon/clock.h"

namespace accrete::daemon {
namespace {

constexpr std::uint32_t kCommitsBetweenLooks = 256;  // asking for the size costs about 10 us
constexpr std::uint64_t kLooksOfBound = 16;          // and after so much of the bound, if sooner

}  // namespace

std::uint64_t LogSink::position(std::string_view source) {
  const auto id = log_.source(source);
  return id ? log_.position(id.value()) : 0;
}

Result<std::vector<stream::KeptMemory>> LogSink::memories(std::string_view source) {
  ACCRETE_TRY(const SourceId id, log_.source(source));
  ACCRETE_TRY(std::vector<store::Log::Memory> stored, log_.memories(id));
  std::vector<stream::KeptMemory> out;
  out.reserve(stored.size());
  for (store::Log::Memory& memory : stored)
    out.push_back({memory.position, std::move(memory.bytes)});
  return out;
}

void LogSink::advance(SourceId source, std::uint64_t position) {
  for (store::Log::Advance& known : advances_) {
    if (known.source != source) continue;
    known.position = std::max(known.position, position);
    return;
  }
  advances_.push_back({source, position});
}

Status LogSink::check_room() {
  if (log_bytes_max_ == 0) return Ok{};
  const bool much = bytes_since_look_ > log_bytes_max_ / kLooksOfBound;
  if (full_ || much || commits_since_look_++ % kCommitsBetweenLooks == 0) {
    full_ = database_.disk_bytes() > log_bytes_max_;
    bytes_since_look_ = 0;
  }
  if (!full_) return Ok{};
  return Error{Errc::Exhausted,
               "the store is larger than limits.log_max = " + std::to_string(log_bytes_max_) +
                   " bytes; raise it and restart, nothing was lost"};
}

Status LogSink::commit(std::span<const stream::Transaction> transactions,
                       std::span<const stream::Rejected> rejected) {
  ACCRETE_DO(check_room());
  advances_.clear();
  std::vector<store::Log::Memory> memories;
  LogSlice slice;
  slice.first = Ordinal{log_.end().value + 1};
  for (const stream::Transaction& transaction : transactions) {
    ACCRETE_TRY(const SourceId source, log_.source(transaction.source));
    for (std::size_t i = 0; i < transaction.records.size(); ++i) {
      const bool last = i + 1 == transaction.records.size();
      slice.append({source, transaction.position, last}, transaction.records[i]);
      bytes_since_look_ += transaction.records[i].size();
    }
    advance(source, transaction.position);
    if (transaction.memory.empty()) continue;
    memories.push_back({source, transaction.position, transaction.memory, transaction.forget_begin,
                        transaction.forget_end});
  }
  std::vector<store::DeadLetter> letters;
  for (const stream::Rejected& letter : rejected) {
    letters.push_back({0, std::string(letter.source), letter.position, letter.reason,
                       std::string(letter.record)});
    ACCRETE_TRY(const SourceId source, log_.source(letter.source));
    advance(source, letter.position);
  }
  const double begin = steady_seconds();
  ACCRETE_DO(log_.append(slice, advances_, letters, memories));
  if (seconds_ != nullptr) seconds_->add(steady_seconds() - begin);
  return slice.size() == 0 ? Status(Ok{}) : next_(std::move(slice));
}

}  // namespace accrete::daemon
