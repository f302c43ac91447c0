// Keeping predictions of rows until their value comes.
#include "daemon/waiting_rows.h"

#include <span>
#include <utility>

#include "proto/bytes.h"

namespace accrete::daemon {
namespace {

using store::Section;

std::string encode(const WaitingRow& row) {
  std::string bytes;
  ByteWriter writer(bytes);
  writer.put(static_cast<std::uint64_t>(row.predictions.size()));
  for (const WaitingPrediction& prediction : row.predictions) {
    writer.put(prediction.at.value);
    writer.put(static_cast<std::uint8_t>(prediction.trigger));
    writer.put(prediction.classes);
    writer.put_all(std::span(prediction.outputs));
  }
  writer.put_all(std::span(row.features));
  return bytes;
}

Result<WaitingRow> decode(std::string_view bytes) {
  ByteReader reader(bytes);
  WaitingRow row;
  const auto count = reader.get<std::uint64_t>();
  for (std::uint64_t i = 0; i < count && reader.ok(); ++i) {
    WaitingPrediction prediction;
    prediction.at.value = reader.get<std::int64_t>();
    prediction.trigger = static_cast<Trigger>(reader.get<std::uint8_t>());
    prediction.classes = reader.get<std::uint32_t>();
    prediction.outputs = reader.get_all<double>();
    row.predictions.push_back(std::move(prediction));
  }
  row.features = reader.get_all<float>();
  if (!reader.done() || row.predictions.empty()) {
    return Error{Errc::Corruption, "a row that waits for its value does not decode"};
  }
  return row;
}

}  // namespace

std::size_t WaitingRow::bytes() const {
  std::size_t bytes = features.capacity() * sizeof(float);
  for (const WaitingPrediction& prediction : predictions)
    bytes += sizeof prediction + prediction.outputs.capacity() * sizeof(double);
  return bytes;
}

std::string WaitingRows::key_of(std::uint32_t row) const {
  std::string key = prefix_;
  for (int shift = 24; shift >= 0; shift -= 8)
    key.push_back(static_cast<char>((row >> shift) & 0xFF));
  return key;
}

std::vector<std::uint32_t> WaitingRows::all() const {
  std::vector<std::uint32_t> rows;
  for (const auto& [row, entry] : rows_)
    rows.push_back(row);
  return rows;
}

void WaitingRows::put(std::uint32_t row, WaitingRow waiting) {
  ACCRETE_CHECK(!waiting.predictions.empty());
  Entry entry;
  entry.count = static_cast<std::uint32_t>(waiting.predictions.size());
  entry.changed = true;
  // What an earlier life of this row left in the store is overwritten at the next stage.
  entry.stored = taken_.erase(row) > 0;
  predictions_ += entry.count;
  memory_bytes_ += waiting.bytes();
  entry.row = std::move(waiting);
  ACCRETE_CHECK(rows_.emplace(row, std::move(entry)).second);
}

Result<WaitingRow> WaitingRows::read(std::uint32_t row, store::State& state) const {
  ACCRETE_TRY(const auto bytes, state.get(Section::Labels, key_of(row)));
  if (!bytes) return Error{Errc::Corruption, "a row that waits for its value is missing"};
  return decode(*bytes);
}

Status WaitingRows::add(std::uint32_t row, WaitingPrediction prediction, store::State& state) {
  Entry& entry = rows_.at(row);
  if (!entry.resident) {
    ACCRETE_TRY(entry.row, read(row, state));
    entry.resident = true;
  } else {
    memory_bytes_ -= entry.row.bytes();
  }
  entry.row.predictions.push_back(std::move(prediction));
  entry.changed = true;
  ++entry.count;
  ++predictions_;
  memory_bytes_ += entry.row.bytes();
  return Ok{};
}

void WaitingRows::forget(std::map<std::uint32_t, Entry>::iterator entry) {
  predictions_ -= entry->second.count;
  if (entry->second.resident) memory_bytes_ -= entry->second.row.bytes();
  if (entry->second.stored) taken_.insert(entry->first);
  rows_.erase(entry);
}

Result<WaitingRow> WaitingRows::take(std::uint32_t row, store::State& state) {
  const auto found = rows_.find(row);
  ACCRETE_CHECK(found != rows_.end());
  WaitingRow waiting;
  if (found->second.resident) {
    memory_bytes_ -= found->second.row.bytes();
    waiting = std::move(found->second.row);
    found->second.row = {};
    memory_bytes_ += found->second.row.bytes();
  } else {
    ACCRETE_TRY(waiting, read(row, state));
  }
  forget(found);
  return waiting;
}

void WaitingRows::drop(std::uint32_t row) {
  const auto found = rows_.find(row);
  if (found != rows_.end()) forget(found);
}

void WaitingRows::stage(store::State& state) {
  for (const std::uint32_t row : taken_)
    state.erase(Section::Labels, key_of(row));
  taken_.clear();
  for (auto& [row, entry] : rows_) {
    if (!entry.changed) continue;
    state.put(Section::Labels, key_of(row), encode(entry.row));
    entry.stored = true;
    entry.changed = false;
  }
}

void WaitingRows::shrink(std::size_t bytes_max) {
  for (auto& [row, entry] : rows_) {
    if (memory_bytes_ <= bytes_max) return;
    if (!entry.resident || entry.changed) continue;
    memory_bytes_ -= entry.row.bytes();
    entry.row = {};
    entry.resident = false;
  }
}

Status WaitingRows::load(store::State& state) {
  std::optional<Error> failure;
  ACCRETE_DO(
      state.scan(Section::Labels, prefix_, [&](std::string_view key, std::string_view value) {
        auto waiting = decode(value);
        if (!waiting || key.size() != prefix_.size() + 4) {
          failure = waiting ? Error{Errc::Corruption, "a waiting row has an impossible key"}
                            : waiting.error();
          return false;
        }
        std::uint32_t row = 0;
        for (const char byte : key.substr(prefix_.size()))
          row = row << 8 | static_cast<std::uint8_t>(byte);
        put(row, std::move(waiting).value());
        rows_.at(row).stored = true;
        rows_.at(row).changed = false;
        return true;
      }));
  if (failure) return *failure;
  return Ok{};
}

}  // namespace accrete::daemon
