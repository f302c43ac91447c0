// libFuzzer target: any bytes as the frames of two peers. Nothing may crash, and the log in memory
// checks what is committed (order, layouts before rows).
#include <cstddef>
#include <cstdint>
#include <list>
#include <string>
#include <string_view>

#include "proto/codec.h"
#include "proto/schema.h"
#include "stream/ingest_sessions.h"

namespace {

using namespace accrete;  // NOLINT(google-build-using-namespace): a fuzz target is one function

/// Positions of one source must rise; that is all a log asks.
class StrictSink : public stream::CommitSink {
 public:
  std::uint64_t position(std::string_view) override { return position_; }
  Result<std::vector<stream::KeptMemory>> memories(std::string_view) override {
    return std::vector<stream::KeptMemory>{};
  }
  Status commit(std::span<const stream::Transaction> transactions,
                std::span<const stream::Rejected> rejected) override {
    std::uint64_t last = position_;
    for (const stream::Transaction& transaction : transactions) {
      ACCRETE_CHECK(transaction.position > last);
      last = transaction.position;
      for (const std::string_view record : transaction.records)
        ACCRETE_CHECK(decode_record(record, record_).has_value());
    }
    for (const stream::Rejected& dead : rejected) {
      ACCRETE_CHECK(dead.position > position_ && !dead.reason.empty());
      last = dead.position > last ? dead.position : last;
    }
    if (++calls_ % 3 == 0) return Error{Errc::Unavailable, "later"};
    position_ = last;
    return Ok{};
  }

 private:
  std::uint64_t position_ = 0;
  int calls_ = 0;
  Record record_;
};

Schema one_table() {
  Schema schema;
  Table table;
  table.name = "t";
  table.columns = {{"id", ColumnKind::Inferred}};
  table.key = {ColumnId{0}};
  ACCRETE_CHECK(schema.add(table).has_value() && schema.seal().has_value());
  return schema;
}

std::string greeting() {
  wire::ToIngest message;
  message.mutable_hello()->set_protocol(1);
  message.mutable_hello()->set_producer("p");
  message.mutable_hello()->add_sources("s");
  return message.SerializeAsString();
}

}  // namespace

/// Input: frames, each a byte for the peer (bit 0) and a commit after it (bit 1), two of size.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  stream::IngestOptions options;
  options.transaction_bytes_max = 2048;
  options.open_bytes_max = 4096;
  StrictSink sink;
  stream::IngestSessions sessions(options, one_table(), {}, sink);
  const std::string hello = greeting();
  sessions.on_frame("0", hello, {});
  sessions.on_frame("1", hello, {});
  std::list<std::string> frames;
  while (input.size() >= 3) {
    const auto flags = static_cast<unsigned char>(input[0]);
    const std::size_t length = static_cast<unsigned char>(input[1]) +
                               std::size_t{static_cast<unsigned char>(input[2])} * 256;
    frames.emplace_back(input.substr(3, length));
    input.remove_prefix(3 + frames.back().size());
    sessions.on_frame((flags & 1) == 0 ? "0" : "1", frames.back(), {});
    if ((flags & 2) == 0 && !sessions.group_full()) continue;
    ACCRETE_CHECK(sessions.commit().has_value());
    sessions.take_replies();
    frames.clear();
  }
  ACCRETE_CHECK(sessions.commit().has_value());
  return 0;
}
