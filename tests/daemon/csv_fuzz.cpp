// libFuzzer: table files, plain or gzip, in file order and in the order of time.
#include "daemon/csv_table.h"
#include "fuzz_file.h"
#include "source_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace accrete;
  using namespace accrete::daemon;
  static const FuzzFile file("orders.csv");
  const std::string path = file.hold(data, size);
  const Table& orders = fuzz_schema().table(*fuzz_schema().find("orders"));
  for (const CsvTable::Order order : {CsvTable::Order::File, CsvTable::Order::Time}) {
    auto table = CsvTable::open(path, orders, order);
    if (!table) continue;
    TimeUs last = kTimeMin;
    std::string bytes;
    Record record;
    while (true) {
      const auto more = table.value().advance();
      if (!more || !more.value()) break;
      ACCRETE_CHECK(order == CsvTable::Order::File || table.value().time() >= last);
      last = table.value().time();
      bytes.clear();
      table.value().append_row(bytes);
      ACCRETE_CHECK(decode_record(bytes, record).has_value());
    }
  }
  return 0;
}
