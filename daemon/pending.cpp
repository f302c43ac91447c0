// Keeping predictions until their outcome is known.
#include "daemon/pending.h"

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

#include "proto/bytes.h"

namespace accrete::daemon {
namespace {

using store::Section;

std::string encode(const PendingBatch& batch) {
  std::string bytes;
  ByteWriter writer(bytes);
  writer.put(batch.number);
  writer.put(batch.at.value);
  writer.put(batch.due.value);
  writer.put(static_cast<std::uint8_t>(batch.trigger));
  writer.put(static_cast<std::uint8_t>(batch.silent ? 1 : 0));
  writer.put(batch.width);
  writer.put(batch.classes);
  writer.put_all(std::span(batch.rows));
  writer.put_all(std::span(batch.taught));
  writer.put_all(std::span(batch.features));
  writer.put_all(std::span(batch.items));
  writer.put_all(std::span(batch.shares));
  writer.put(batch.population);
  writer.put_all(std::span(batch.uncertainty));
  writer.put_all(std::span(batch.outputs));
  return bytes;
}

Result<PendingBatch> decode(std::string_view bytes) {
  ByteReader reader(bytes);
  PendingBatch batch;
  batch.number = reader.get<std::uint64_t>();
  batch.at.value = reader.get<std::int64_t>();
  batch.due.value = reader.get<std::int64_t>();
  batch.trigger = static_cast<Trigger>(reader.get<std::uint8_t>());
  const auto silent = reader.get<std::uint8_t>();
  batch.silent = silent != 0;
  batch.width = reader.get<std::uint32_t>();
  batch.classes = reader.get<std::uint32_t>();
  batch.rows = reader.get_all<std::uint32_t>();
  batch.taught = reader.get_all<std::uint32_t>();
  batch.features = reader.get_all<float>();
  batch.items = reader.get_all<std::uint32_t>();
  batch.shares = reader.get_all<float>();
  batch.population = reader.get<std::uint32_t>();
  batch.uncertainty = reader.get_all<double>();
  batch.outputs = reader.get_all<double>();
  const bool placed = std::is_sorted(batch.taught.begin(), batch.taught.end()) &&
                      (batch.taught.empty() || batch.taught.back() < batch.rows.size());
  if (!reader.done() || !placed || silent > 1 ||
      batch.features.size() != batch.taught.size() * batch.width) {
    return Error{Errc::Corruption, "a batch of pending predictions does not decode"};
  }
  return batch;
}

}  // namespace

std::string PendingQueue::key_of(std::uint64_t number) const {
  std::string key = prefix_;
  for (int shift = 56; shift >= 0; shift -= 8) {
    key.push_back(static_cast<char>((number >> shift) & 0xFF));
  }
  return key;
}

void PendingQueue::push(PendingBatch batch) {
  batch.number = next_number_++;
  const auto rows = static_cast<std::uint32_t>(batch.rows.size());
  const std::uint32_t predictions = batch.silent ? 0 : rows;
  rows_ += rows;
  predictions_ += predictions;
  memory_bytes_ += batch.bytes();
  dirty_bytes_ += batch.bytes();
  queue_.push_back({std::move(batch), rows, predictions, false, true});
}

Result<PendingBatch> PendingQueue::pop(store::State& state) {
  Entry entry = std::move(queue_.front());
  queue_.pop_front();
  rows_ -= entry.rows;
  predictions_ -= entry.predictions;
  if (entry.resident) {
    memory_bytes_ -= entry.batch.bytes();
    if (!entry.committed) dirty_bytes_ -= entry.batch.bytes();
  } else {
    ACCRETE_TRY(const auto bytes, state.get(Section::Labels, key_of(entry.batch.number)));
    if (!bytes) return Error{Errc::Corruption, "a batch of pending predictions is missing"};
    ACCRETE_TRY(entry.batch, decode(*bytes));
  }
  if (entry.committed) taken_.push_back(entry.batch.number);
  return std::move(entry.batch);
}

void PendingQueue::stage(store::State& state) {
  for (const std::uint64_t number : taken_)
    state.erase(Section::Labels, key_of(number));
  taken_.clear();
  for (Entry& entry : queue_) {
    if (entry.committed) continue;
    state.put(Section::Labels, key_of(entry.batch.number), encode(entry.batch));
    entry.committed = true;
  }
  dirty_bytes_ = 0;
}

void PendingQueue::shrink(std::size_t bytes_max) {
  for (auto entry = queue_.rbegin(); entry != queue_.rend() && memory_bytes_ > bytes_max; ++entry) {
    if (!entry->resident || !entry->committed) continue;
    memory_bytes_ -= entry->batch.bytes();
    PendingBatch header;  // assigned as a whole: `vector = {}` would keep the room
    header.number = entry->batch.number;
    header.at = entry->batch.at;
    header.due = entry->batch.due;
    entry->batch = std::move(header);
    entry->resident = false;
  }
}

Status PendingQueue::load(store::State& state) {
  std::optional<Error> failure;
  ACCRETE_DO(state.scan(Section::Labels, prefix_, [&](std::string_view, std::string_view value) {
    auto batch = decode(value);
    if (!batch) {
      failure = batch.error();
      return false;
    }
    next_number_ = batch.value().number;
    push(std::move(batch).value());
    queue_.back().committed = true;
    dirty_bytes_ = 0;
    return true;
  }));
  if (failure) return *failure;
  return Ok{};
}

}  // namespace accrete::daemon
