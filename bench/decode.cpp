// Change events of Debezium, without and with their schema block, to records, in CPU time of one
// core. The floor is simdjson's own tree of the same texts.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <simdjson.h>

#include "bench/measure.h"
#include "daemon/clock.h"
#include "daemon/config.h"
#include "daemon/event_reader.h"
#include "proto/codec.h"

namespace accrete::bench {
namespace {

struct Options : Flags {
  std::size_t events = 100'000;
  std::size_t rounds = 7;
};

constexpr const char* kConfig = R"(
[[table]]
name = "orders"
key = "id"
time = "placed_at"
time_unit = "us"
foreign_keys = { customer_id = "customers", product_id = "products" }
[[table]]
name = "customers"
key = "id"
[[table]]
name = "products"
key = "id"
)";

constexpr std::int64_t kFirstUs = 1'700'000'000'000'000;

std::string row(std::size_t i) {
  const std::string n = std::to_string(i);
  return R"({"id":)" + n + R"(,"customer_id":)" + std::to_string(i * 7 % 9973) +
         R"(,"product_id":)" + std::to_string(i * 3 % 997) + R"(,"placed_at":)" +
         std::to_string(kFirstUs + static_cast<std::int64_t>(i)) + R"(,"amount":"1)" + n +
         R"(.25","quantity":3,"status":"paid","city":"Zürich","express":false,"note":null})";
}

/// The envelope of a PostgreSQL connector: eight inserts, an update and a delete in ten.
std::string event(std::size_t i) {
  const std::string lsn = std::to_string(24'023'128 + 64 * i);
  const std::string ms = std::to_string(kFirstUs / 1000 + static_cast<std::int64_t>(i));
  const char op = i % 10 == 8 ? 'u' : i % 10 == 9 ? 'd' : 'c';
  const std::string before = op == 'c' ? "null" : R"({"id":)" + std::to_string(i) + "}";
  return R"({"before":)" + before + R"(,"after":)" + (op == 'd' ? "null" : row(i)) +
         R"(,"source":{"version":"3.0.0.Final","connector":"postgresql","name":"shop","ts_ms":)" +
         ms + R"(,"ts_us":)" + ms + R"(000,"ts_ns":)" + ms +
         R"(000000,"snapshot":"false","db":"shop","sequence":"[\")" + lsn + R"(\",\")" + lsn +
         R"(\"]","schema":"public","table":"orders","txId":)" + std::to_string(555 + i / 4) +
         R"(,"lsn":)" + lsn + R"(,"xmin":null},"op":")" + op + R"(","ts_ms":)" + ms +
         R"(,"transaction":null})";
}

std::string fields() {
  const auto field = [](const char* name, const char* type, const char* logical) {
    return R"({"type":")" + std::string(type) + R"(","optional":true,"field":")" + name + "\"" +
           (*logical == '\0' ? "" : R"(,"version":1,"name":")" + std::string(logical) + "\"") + "}";
  };
  return field("id", "int64", "") + "," + field("customer_id", "int64", "") + "," +
         field("product_id", "int64", "") + "," +
         field("placed_at", "int64", "io.debezium.time.MicroTimestamp") + "," +
         field("amount", "string", "") + "," + field("quantity", "int32", "") + "," +
         field("status", "string", "") + "," + field("city", "string", "") + "," +
         field("express", "boolean", "") + "," + field("note", "string", "");
}

std::string with_schema(const std::string& payload) {
  const std::string image = R"({"type":"struct","optional":true,"fields":[)" + fields() + "],";
  return R"({"schema":{"type":"struct","fields":[)" + image + R"("field":"before"},)" + image +
         R"("field":"after"}],"name":"shop.public.orders.Envelope"},"payload":)" + payload + "}";
}

/// What the records say, against what was written into the events.
void check_records(const daemon::SourceTransaction& out, std::size_t events) {
  Record record;
  std::size_t begin = 0;
  std::size_t i = 0;
  for (const std::uint32_t end : out.ends) {
    must(decode_record(std::string_view(out.bytes).substr(begin, end - begin), record));
    begin = end;
    if (record.kind != RecordKind::Change) continue;
    const Change& change = record.change;
    const Op op = i % 10 == 8 ? Op::Update : i % 10 == 9 ? Op::Delete : Op::Insert;
    check(change.op == op && change.cells.size() == 10, "operation and columns");
    check(change.cells[0] == Value::of_integer(static_cast<std::int64_t>(i)), "key");
    check(change.change_time.has_value(), "time of the change");
    if (op != Op::Delete) {
      const TimeUs placed{kFirstUs + static_cast<std::int64_t>(i)};
      check(change.cells[1] == Value::of_time(placed), "time of the row");
      check(change.cells[4] == Value::of_text("1" + std::to_string(i) + ".25"), "amount");
    }
    ++i;
  }
  check(i == events, "a change an event");
}

/// Changes per CPU second, the best of several rounds.
double decode(const Schema& schema, const std::vector<std::string>& events, std::size_t rounds) {
  double best = 0;
  for (std::size_t round = 0; round < rounds; ++round) {
    const std::unique_ptr<daemon::EventReader> reader =
        daemon::open_reader(daemon::EventFormat::Debezium, schema);
    daemon::SourceTransaction out;
    daemon::Transaction in;
    const double begin = daemon::cpu_seconds();
    for (const std::string& event : events)
      must(reader->read(event, out, in));
    const double used = daemon::cpu_seconds() - begin;
    best = std::max(best, static_cast<double>(events.size()) / used);
    check_records(out, events.size());
  }
  return best;
}

double parse_alone(const std::vector<std::string>& events, std::size_t rounds) {
  double best = 0;
  for (std::size_t round = 0; round < rounds; ++round) {
    simdjson::dom::parser parser;
    const double begin = daemon::cpu_seconds();
    for (const std::string& event : events) {
      simdjson::dom::element document;
      check(parser.parse(event).get(document) == simdjson::SUCCESS, "JSON");
    }
    best = std::max(best, static_cast<double>(events.size()) / (daemon::cpu_seconds() - begin));
  }
  return best;
}

void run(const std::string& what, const Schema& schema, const std::vector<std::string>& events,
         std::size_t rounds, double goal) {
  std::size_t bytes = 0;
  for (const std::string& event : events)
    bytes += event.size();
  say(what + ": an event", static_cast<double>(bytes) / static_cast<double>(events.size()),
      "bytes");
  const double floor = parse_alone(events, rounds);
  const double rate = decode(schema, events, rounds);
  say(what + ": simdjson's tree alone", floor, "events/CPU s");
  say(what + ": decoded", rate, "changes/CPU s");
  say(what + ": ratio to the tree alone", rate / floor, "");
  if (goal > 0) compare(what + ", changes/CPU s", rate, goal, true);
}

}  // namespace
}  // namespace accrete::bench

int main(int argc, char** argv) {
  using namespace accrete;
  bench::Options options;
  CLI::App app("Change events of Debezium to records");
  bench::add_flags(app, options);
  app.add_option("--events", options.events, "events of each kind");
  app.add_option("--rounds", options.rounds, "rounds, of which the best counts");
  CLI11_PARSE(app, argc, argv);
  if (options.quick) {
    options.events = 2000;
    options.rounds = 2;
  }
  const daemon::Config config = bench::must(daemon::parse_config(bench::kConfig, "bench.toml"));
  std::vector<std::string> plain;
  std::vector<std::string> typed;
  for (std::size_t i = 0; i < options.events; ++i) {
    plain.push_back(bench::event(i));
    typed.push_back(bench::with_schema(plain.back()));
  }
  bench::say_load();
  bench::run("without schema", config.schema, plain, options.rounds, 150'000);
  bench::run("with schema", config.schema, typed, options.rounds, 0);
  return 0;
}
