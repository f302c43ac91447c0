// Record checks: what a producer may say.
#include "stream/record_check.h"

#include <array>
#include <charconv>
#include <utility>

#include "proto/limits.h"

namespace accrete::stream {
namespace {

// Layouts are kept for ever (rows refer to them by hash), so their number is a limit. A table has
// one per set of columns its producer sends: 16 for each of the 4,096 tables is plenty.
constexpr std::size_t kLayoutsMax = 16 * limits::tables_max;

std::string hex(std::uint64_t value) {
  std::array<char, 16> text{};
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), value, 16);
  return std::string(text.data(), end);
}

}  // namespace

RecordCheck::RecordCheck(Schema schema, Layouts layouts)
    : schema_(std::move(schema)), layouts_(std::move(layouts)) {}

Result<CheckedRecord> RecordCheck::check(std::string_view record) {
  if (record.size() > limits::row_bytes_max) {
    return Error{Errc::Exhausted, "a record of " + std::to_string(record.size()) +
                                      " bytes; at most " + std::to_string(limits::row_bytes_max) +
                                      " are taken"};
  }
  ACCRETE_DO(decode_record(record, decoded_));
  CheckedRecord out;
  out.kind = decoded_.kind;
  switch (decoded_.kind) {
    case RecordKind::Layout: {
      ACCRETE_TRY(out.layout, declare(record));
      break;
    }
    case RecordKind::Change: {
      out.layout = find(decoded_.change.layout);
      if (out.layout == nullptr) {
        return Error{Errc::Malformed, "a change of the layout " + hex(decoded_.change.layout) +
                                          ", which was never declared; send the table's Layout "
                                          "record before its first row"};
      }
      ACCRETE_DO(check_change(decoded_.change, *out.layout->bound, schema_));
      break;
    }
    case RecordKind::Mark:
      break;  // the decoder admits known kinds only
    case RecordKind::Request:
      if (decoded_.request.task.empty() || decoded_.request.task.size() > limits::name_bytes_max) {
        return Error{Errc::Malformed, "a request must name a task (1 to " +
                                          std::to_string(limits::name_bytes_max) + " bytes)"};
      }
      break;
  }
  return out;
}

Result<KnownLayout*> RecordCheck::declare(std::string_view record) {
  const std::uint64_t hash = decoded_.layout.hash();
  if (KnownLayout* const known = find(hash)) return known;
  if (known_.size() >= kLayoutsMax) {
    return Error{Errc::Exhausted, "more than " + std::to_string(kLayoutsMax) +
                                      " layouts; send a table's columns in one order"};
  }
  ACCRETE_DO(layouts_.declare(decoded_.layout, schema_));
  KnownLayout& fresh = known_[hash];
  fresh.bound = layouts_.find(hash);
  ACCRETE_CHECK(fresh.bound != nullptr);
  fresh.record = record;
  return &fresh;
}

KnownLayout* RecordCheck::find(std::uint64_t hash) {
  if (last_ != nullptr && last_hash_ == hash) return last_;
  auto found = known_.find(hash);
  if (found == known_.end()) {
    const BoundLayout* const bound = layouts_.find(hash);
    if (bound == nullptr) return nullptr;
    // Declared by the log itself before this server began.
    found = known_.emplace(hash, KnownLayout{bound, {}, true, false}).first;
  }
  last_hash_ = hash;
  last_ = &found->second;
  return last_;
}

}  // namespace accrete::stream
