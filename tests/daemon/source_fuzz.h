// What the fuzz targets of row sources share: a schema, and reading a source to its end.
#pragma once

#include <memory>

#include "daemon/config.h"
#include "daemon/row_source.h"
#include "proto/codec.h"

namespace accrete::daemon {

inline const Schema& fuzz_schema() {
  static const Config config = parse_config(R"(
[[table]]
name = "orders"
key = "id"
time = "at"
foreign_keys = { customer = "customers" }
ignore = ["note"]
[[table]]
name = "customers"
key = "id"
[[table]]
name = "events"
time = "at"
time_unit = "ms"
)",
                                            "fuzz.toml")
                                   .value();
  return config.schema;
}

/// Positions rise, and every record that comes out decodes and fits its layout.
inline void read_to_the_end(RowSource& source) {
  Schema schema = fuzz_schema();
  Layouts layouts;
  SourceTransaction transaction;
  Record record;
  std::uint64_t position = 0;
  while (true) {
    const auto more = source.next(transaction);
    if (!more) ACCRETE_CHECK(!more.error().detail.empty());
    if (!more || !more.value()) return;
    ACCRETE_CHECK(transaction.position > position);
    position = transaction.position;
    std::uint32_t begin = 0;
    for (const std::uint32_t end : transaction.ends) {
      const std::string_view bytes = std::string_view(transaction.bytes).substr(begin, end - begin);
      begin = end;
      ACCRETE_CHECK(decode_record(bytes, record).has_value());
      if (record.kind == RecordKind::Layout) {
        static_cast<void>(layouts.declare(record.layout, schema));
      } else if (record.kind == RecordKind::Change) {
        const BoundLayout* layout = layouts.find(record.change.layout);
        if (layout != nullptr) static_cast<void>(check_change(record.change, *layout, schema));
      }
    }
    ACCRETE_CHECK(begin == transaction.bytes.size());
  }
}

}  // namespace accrete::daemon
