// Making the shop's rows.
#include "bench/orders.h"

#include <algorithm>

#include "bench/measure.h"
#include "proto/rng.h"

namespace accrete::bench {
namespace {

constexpr std::size_t kCellsBytes = 110;  // an order without its note
constexpr std::size_t kNotes = 64;        // different notes, so that compression has work to do

constexpr const char* kTables = R"(
[[table]]
name = "customers"
key = "id"

[[table]]
name = "products"
key = "id"

[[table]]
name = "stores"
key = "id"

[[table]]
name = "orders"
key = "id"
time = "at"
time_unit = "us"
foreign_keys = { customer = "customers", product = "products", store = "stores" }

[[table]]
name = "visitors"
key = "id"

[[table]]
name = "events"
key = "id"
foreign_keys = { customer = "visitors", product = "products", store = "stores" }
)";

}  // namespace

OrderRefs refs_of(const Shop& shop, std::uint64_t order) {
  Rng rng(1, order, Purpose::Test);
  return {static_cast<std::uint32_t>(rng.below(shop.customers)),
          static_cast<std::uint32_t>(rng.below(shop.products)),
          static_cast<std::uint32_t>(rng.below(shop.stores))};
}

OrderWriter::OrderWriter(const Shop& shop) : shop_(shop) {
  orders_.table = "orders";
  orders_.columns = {"id",    "at",       "customer", "product", "store",   "quantity",
                     "price", "discount", "paid",     "status",  "channel", "note"};
  events_ = orders_;
  events_.table = "events";
  events_.columns[1] = "seen";
  customers_.table = "customers";
  customers_.columns = {"id", "segment", "age"};
  orders_hash_ = orders_.hash();
  events_hash_ = events_.hash();
  customers_hash_ = customers_.hash();
  const std::size_t note = shop.row_bytes > kCellsBytes ? shop.row_bytes - kCellsBytes : 0;
  Rng rng(2, 0, Purpose::Test);
  padding_.resize(note + kNotes);
  for (char& c : padding_)
    c = static_cast<char>('a' + rng.below(26));
}

void OrderWriter::row(std::uint64_t i, std::uint64_t layout, bool timed, std::string& out) {
  constexpr std::string_view kStatus[] = {"new", "paid", "sent", "returned"};
  constexpr std::string_view kChannel[] = {"web", "shop", "phone"};
  const OrderRefs refs = refs_of(shop_, i);
  Rng rng(3, i, Purpose::Test);
  change_.layout = layout;
  change_.op = Op::Insert;
  const std::int64_t at = shop_.first_time_us + static_cast<std::int64_t>(i) * shop_.step_us;
  change_.cells.assign({Value::of_integer(static_cast<std::int64_t>(i)),
                        timed ? Value::of_time(TimeUs{at}) : Value::of_integer(at),
                        Value::of_integer(refs.customer), Value::of_integer(refs.product),
                        Value::of_integer(refs.store),
                        Value::of_integer(static_cast<std::int64_t>(rng.below(20))),
                        Value::of_real(rng.uniform() * 100), Value::of_real(rng.uniform()),
                        Value::flag(rng.below(2) == 0), Value::of_text(kStatus[rng.below(4)]),
                        Value::of_text(kChannel[rng.below(3)]),
                        Value::of_text(std::string_view(padding_).substr(
                            rng.below(kNotes), padding_.size() - kNotes))});
  encode_change(change_, out);
}

void OrderWriter::customer(std::uint64_t i, std::string& out) {
  Rng rng(4, i, Purpose::Test);
  change_.layout = customers_hash_;
  change_.op = Op::Insert;
  change_.cells.assign({Value::of_integer(static_cast<std::int64_t>(i)),
                        Value::of_text(rng.below(2) == 0 ? "private" : "business"),
                        Value::of_integer(static_cast<std::int64_t>(18 + rng.below(80)))});
  encode_change(change_, out);
}

daemon::Config shop_config(const std::string& store, const std::string& more) {
  const std::string text = "[store]\npath = \"" + store + "\"\n" + kTables + more;
  daemon::Config config = must(daemon::parse_config(text, "bench.toml"));
  // A file may not name one address twice; for free ports it is the same one.
  const std::string any_port = "tcp://127.0.0.1:*";
  config.endpoints.ingest = config.endpoints.predictions = any_port;
  config.endpoints.replay = config.endpoints.control = any_port;
  return config;
}

Result<bool> OrderSource::next(daemon::SourceTransaction& out) {
  if (done_ == count_) return false;
  out.bytes.clear();
  out.ends.clear();
  out.position = ++position_;
  const auto end = [&] { out.ends.push_back(static_cast<std::uint32_t>(out.bytes.size())); };
  if (done_ == 0) {
    writer_.orders_layout(out.bytes);
    end();
  }
  out.rows = std::min<std::uint64_t>(rows_per_transaction_, count_ - done_);
  for (std::uint64_t i = 0; i < out.rows; ++i) {
    writer_.order(done_ + i, out.bytes);
    end();
  }
  done_ += out.rows;
  return true;
}

}  // namespace accrete::bench
