// libFuzzer: stream items, their messages, and every cell as every type.
#include <cstdint>
#include <string_view>

#include "daemon/postgres/cell_value.h"
#include "daemon/postgres/pgoutput.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace accrete;
  using namespace accrete::daemon::postgres;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (const auto item = decode_stream_item(bytes); !item) {
    ACCRETE_CHECK(!item.error().detail.empty());
  }
  const auto message = decode_message(bytes);
  if (!message) return 0;
  const auto* row = std::get_if<RowMessage>(&message.value());
  if (row == nullptr) return 0;
  for (const Tuple* tuple : {&row->old_row, &row->row}) {
    for (const TupleCell& cell : *tuple) {
      for (const TypeOid type : {TypeOid::Bool, TypeOid::Int8, TypeOid::Float8, TypeOid::Numeric,
                                 TypeOid::Date, TypeOid::TimestampTz}) {
        for (const CellRole role : {CellRole::Plain, CellRole::Key})
          static_cast<void>(cell_value(cell.bytes, static_cast<std::uint32_t>(type), role));
      }
    }
  }
  return 0;
}
