// A log in memory, records, and a peer that speaks the ingest protocol, for tests of both ends.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <stream.pb.h>

#include "proto/codec.h"
#include "proto/schema.h"
#include "stream/ingest_server.h"
#include "stream/ingest_sessions.h"

namespace accrete::stream {

inline Table make_table(std::string name, const std::vector<std::string>& columns) {
  Table table;
  table.name = std::move(name);
  for (const std::string& column : columns)
    table.columns.push_back({column, ColumnKind::Inferred});
  table.key = {ColumnId{0}};
  return table;
}

/// orders(id, amount), items(id, name).
inline Schema test_schema() {
  Schema schema;
  EXPECT_TRUE(schema.add(make_table("orders", {"id", "amount"})));
  EXPECT_TRUE(schema.add(make_table("items", {"id", "name"})));
  EXPECT_TRUE(schema.seal());
  return schema;
}

inline const Layout& orders_layout() {
  static const Layout layout{"orders", {"id", "amount"}};
  return layout;
}
inline const Layout& items_layout() {
  static const Layout layout{"items", {"id", "name"}};
  return layout;
}

inline std::string layout_record(const Layout& layout) {
  std::string out;
  encode_layout(layout, out);
  return out;
}

/// An insert; a negative id stands for NULL, which a key must not be.
inline std::string row(std::int64_t id, const Layout& layout = orders_layout(),
                       std::string_view text = "x") {
  Change change;
  change.layout = layout.hash();
  change.cells = {id < 0 ? Value::null() : Value::of_integer(id), Value::of_text(text)};
  std::string out;
  encode_change(change, out);
  return out;
}

/// Keeps what was committed; can be told to refuse. Threads: any.
class MemorySink : public CommitSink {
 public:
  struct Entry {
    std::uint64_t position = 0;
    std::vector<std::string> records;
    friend bool operator==(const Entry&, const Entry&) = default;
  };
  struct Dead {
    std::uint64_t position = 0;
    std::string reason;
    std::string record;
  };

  std::uint64_t position(std::string_view source) override {
    const std::lock_guard lock(mutex_);
    const auto found = positions_.find(source);
    return found == positions_.end() ? 0 : found->second;
  }

  Result<std::vector<KeptMemory>> memories(std::string_view source) override {
    const std::lock_guard lock(mutex_);
    std::vector<KeptMemory> out;
    for (const auto& [position, bytes] : memories_[std::string(source)])
      out.push_back({position, bytes});
    return out;
  }

  Status commit(std::span<const Transaction> transactions,
                std::span<const Rejected> rejected) override {
    const std::lock_guard lock(mutex_);
    ++calls_;
    if (refusals_ > 0) {
      --refusals_;
      return Error{refusal_, "the log is full"};
    }
    for (const Transaction& transaction : transactions) {
      const std::string source(transaction.source);
      std::uint64_t& at = positions_[source];
      EXPECT_GT(transaction.position, at) << "out of order in " << source;
      at = std::max(at, transaction.position);
      if (!transaction.memory.empty()) memories_[source][transaction.position] = transaction.memory;
      for (std::uint64_t old = transaction.forget_begin; old < transaction.forget_end; ++old)
        memories_[source].erase(old);
      Entry& entry = log_[source].emplace_back();
      entry.position = transaction.position;
      for (const std::string_view record : transaction.records) {
        entry.records.emplace_back(record);
        check_layout(record);
      }
    }
    for (const Rejected& dead : rejected) {
      const std::string source(dead.source);
      positions_[source] = std::max(positions_[source], dead.position);
      dead_[source].push_back({dead.position, dead.reason, std::string(dead.record)});
    }
    return Ok{};
  }

  /// While the lock lives, commits wait, and nothing else here can be asked.
  std::unique_lock<std::mutex> hold() const { return std::unique_lock(mutex_); }
  void refuse(int times, Errc code) {
    const std::lock_guard lock(mutex_);
    refusals_ = times;
    refusal_ = code;
  }
  std::vector<Entry> log(const std::string& source) const {
    const std::lock_guard lock(mutex_);
    const auto found = log_.find(source);
    return found == log_.end() ? std::vector<Entry>{} : found->second;
  }
  std::vector<Dead> dead(const std::string& source) const {
    const std::lock_guard lock(mutex_);
    const auto found = dead_.find(source);
    return found == dead_.end() ? std::vector<Dead>{} : found->second;
  }
  int calls() const {
    const std::lock_guard lock(mutex_);
    return calls_;
  }
  /// As a log that is read again: what a restarted server is given.
  Layouts layouts() const {
    const std::lock_guard lock(mutex_);
    return logged_;
  }

 private:
  /// A reader of the log must know every row's layout, and be told each only once.
  void check_layout(std::string_view bytes) {
    Record record;
    ASSERT_TRUE(decode_record(bytes, record));
    if (record.kind == RecordKind::Layout) {
      EXPECT_FALSE(logged_.known(record.layout.hash())) << "a layout was logged twice";
      ASSERT_TRUE(logged_.declare(record.layout, schema_));
    } else if (record.kind == RecordKind::Change) {
      EXPECT_TRUE(logged_.known(record.change.layout)) << "a row before its layout";
    }
  }

  mutable std::mutex mutex_;
  Schema schema_ = test_schema();
  Layouts logged_;
  std::map<std::string, std::uint64_t, std::less<>> positions_;
  std::map<std::string, std::vector<Entry>> log_;
  std::map<std::string, std::vector<Dead>> dead_;
  std::map<std::string, std::map<std::uint64_t, std::string>> memories_;
  int refusals_ = 0;
  Errc refusal_ = Errc::Unavailable;
  int calls_ = 0;
};

/// One part of a batch, owning its records.
struct PartOf {
  std::uint64_t transaction = 0;
  wire::Part::Commit kind = wire::Part::COMMIT;
  std::uint64_t position = 0;
  std::vector<std::string> records;
};

inline std::string hello_frame(const std::string& producer, const std::vector<std::string>& sources,
                               std::uint32_t protocol = 1) {
  wire::ToIngest message;
  message.mutable_hello()->set_protocol(protocol);
  message.mutable_hello()->set_producer(producer);
  for (const std::string& source : sources)
    message.mutable_hello()->add_sources(source);
  return message.SerializeAsString();
}

inline wire::ToIngest batch_message(const std::string& source, std::uint64_t number,
                                    const std::vector<PartOf>& parts) {
  wire::ToIngest message;
  wire::Batch& batch = *message.mutable_batch();
  batch.set_source(source);
  batch.set_number(number);
  for (const PartOf& given : parts) {
    wire::Part& part = *batch.add_parts();
    part.set_transaction(given.transaction);
    part.set_commit(given.kind);
    part.set_position(given.position);
    for (const std::string& record : given.records)
      part.add_records(record);
  }
  return message;
}

}  // namespace accrete::stream
