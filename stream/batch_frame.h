// The hot message of ingest, wire.ToIngest{batch}, read as views and written in one pass. It must
// agree with proto/stream.proto; a property test holds it to the generated code.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proto/result.h"

namespace accrete::stream {

/// wire.Part.Commit, by number.
enum class PartKind : std::uint8_t { Pending = 0, Commit = 1, Each = 2, Rollback = 3 };

struct PartView {
  std::uint64_t transaction = 0;
  PartKind kind = PartKind::Pending;
  std::uint64_t position = 0;
  std::span<const std::string_view> records;
};

/// One decoded batch; views point into the frame. Reuse one object to keep its buffers.
class BatchView {
 public:
  std::string_view source;
  std::uint64_t number = 0;
  std::vector<PartView> parts;

  /// Does `frame` hold nothing but a batch? False for other messages and for odd but legal
  /// encodings: parse those with the generated code.
  static bool recognises(std::string_view frame);

  /// Decode a frame that recognises() accepts.
  /// Errors: Malformed with the byte offset; never reads outside `frame`.
  /// Cost:   no allocation once the buffers have grown, no copy of record bytes.
  Status decode(std::string_view frame);

 private:
  std::vector<std::string_view> records_;
  std::vector<std::size_t> part_ends_;  // end of each part in records_
};

/// Append the serialized wire.ToIngest{batch}. Cost: one pass, one copy of every record.
void encode_batch(std::string_view source, std::uint64_t number, std::span<const PartView> parts,
                  std::string& out);

}  // namespace accrete::stream
