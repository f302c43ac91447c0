// A market's history with everything that can happen to rows: late ones, updates, deletes, changed
// foreign keys and times, nulls, children before their parents; and a shadow that remembers them.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/daemon/fold_world.h"

namespace accrete::daemon {

constexpr const char* kMarketConfig = R"(
[[table]]
name = "regions"
key = "id"

[[table]]
name = "customers"
key = "id"
foreign_keys = { region = "regions" }

[[table]]
name = "shops"
key = "id"

[[table]]
name = "products"
key = "id"

[[table]]
name = "sessions"
key = "id"
time = "at"
foreign_keys = { customer = "customers", shop = "shops" }

[[table]]
name = "orders"
key = "id"
time = "at"
foreign_keys = { session = "sessions", product = "products" }

[[table]]
name = "notes"
key = "id"
foreign_keys = { product = "products" }

[[task]]
name = "dear"
predict = "PREDICT MAX(orders.price > 50, 0, 3, DAYS) FOR EACH products.id EVERY 4 DAYS"

[[task]]
name = "visits"
predict = "PREDICT COUNT(sessions.*, 0, 20, DAYS) FOR EACH customers.id EVERY 9 DAYS"
)";

using Cells = std::map<std::string, Value>;  // of one row, by column

/// One table's rows as an observer with a good memory knows them: every version, in order of
/// arrival.
struct ShadowRow {
  struct Version {
    TimeUs from;
    bool deleted = false;
    Cells cells;
  };
  std::vector<Version> versions;

  /// The newest that began until then.
  const Version* newest(TimeUs until = kTimeMax) const {
    const Version* newest = nullptr;
    for (const Version& version : versions) {
      if (version.from > until) continue;
      if (newest == nullptr || version.from >= newest->from) newest = &version;
    }
    return newest;
  }
  bool there(TimeUs at) const {
    const Version* last = newest(at);
    return last != nullptr && !last->deleted;
  }
  const Version* now() const {
    const Version* last = newest();
    return last == nullptr || last->deleted ? nullptr : last;
  }
};

inline const std::map<std::string, std::vector<std::string>> kColumns = {
    {"regions", {"id"}},
    {"customers", {"id", "region", "city"}},
    {"shops", {"id"}},
    {"products", {"id", "size", "family"}},
    {"sessions", {"id", "customer", "shop", "pages", "at"}},
    {"orders", {"id", "session", "product", "price", "kind", "note", "at"}},
    {"notes", {"id", "product", "stars"}},
};

/// The stream and its shadow, made together.
class Market {
 public:
  explicit Market(std::uint64_t seed) : rng_(seed, 0, Purpose::Test) {
    Transaction first;
    for (const auto& [table, columns] : kColumns)
      first.records.push_back(layout_record({table, columns}));
    finish(std::move(first));
    Transaction rows;
    for (int i = 0; i < 4; ++i)
      put(rows, "regions", i, {}, kTimeMin);
    for (int i = 0; i < 3; ++i)
      put(rows, "shops", i, {}, kTimeMin);
    for (int i = 0; i < 24; ++i)
      put(rows, "products", i, product_cells(), kTimeMin);
    for (int i = 0; i < 15; ++i)
      put(rows, "customers", i, {{"region", some(4)}, {"city", text(i % 3 == 0)}}, kTimeMin);
    finish(std::move(rows));
  }

  /// One more transaction of a few changes.
  Transaction step() {
    if (one_in(4)) now_ += rng_.uniform();
    Transaction transaction;
    for (std::uint64_t i = 1 + rng_.below(4); i > 0; --i)
      change(transaction);
    finish(transaction);
    return stream.back();
  }

  double now() const { return now_; }
  std::vector<Transaction> stream;
  std::map<std::string, std::map<std::int64_t, ShadowRow>> tables;

 private:
  static Value text(bool first) { return Value::of_text(first ? "Bonn" : "Graz"); }
  Value some(std::uint64_t below) {
    return Value::of_integer(static_cast<std::int64_t>(rng_.below(below)));
  }
  bool one_in(std::uint64_t n) { return rng_.below(n) == 0; }

  void finish(Transaction transaction) {
    transaction.position = stream.size() + 1;
    stream.push_back(std::move(transaction));
  }

  Cells product_cells() {
    Cells cells;
    cells["size"] = one_in(7) ? Value::null() : some(40);
    cells["family"] = one_in(9) ? Value::null() : Value::of_text(one_in(2) ? "tool" : "toy");
    return cells;
  }

  Cells order_cells() {
    static const char* const kNotes[] = {"", "please", "do not bend", "leave it at the door"};
    Cells cells;
    cells["session"] = one_in(15) ? Value::null() : some(sessions_ + 2);  // some come later
    cells["product"] = one_in(20) ? Value::null() : some(26);
    cells["price"] = one_in(8) ? Value::null() : Value::of_real(100 * rng_.uniform());
    cells["kind"] = one_in(9) ? Value::null() : Value::of_text(one_in(3) ? "gift" : "own");
    // Many different texts, so that their length is what counts.
    const std::string& note =
        notes_.emplace_back(kNotes[rng_.below(4)] + std::to_string(rng_.below(100'000)));
    cells["note"] = Value::of_text(note);
    return cells;
  }

  TimeUs some_time() {
    const bool late = one_in(10);
    return day(late ? now_ - 6 * rng_.uniform() : now_);
  }

  void put(Transaction& transaction, const std::string& table, std::int64_t id, Cells cells,
           TimeUs at) {
    if (at != kTimeMin) cells["at"] = Value::of_time(at);
    cells["id"] = Value::of_integer(id);
    write(transaction, table, Op::Insert, cells, std::nullopt);
    ShadowRow& row = tables[table][id];
    // A row that comes back is there from its end on.
    if (const ShadowRow::Version* newest = row.newest(); newest != nullptr && newest->deleted)
      at = std::max(at, newest->from);
    row.versions.push_back({at, false, complete(table, cells)});
  }

  static Cells complete(const std::string& table, Cells cells) {
    for (const std::string& column : kColumns.at(table))
      cells.emplace(column, Value::null());
    return cells;
  }

  static void write(Transaction& transaction, const std::string& table, Op op, const Cells& cells,
                    std::optional<TimeUs> when) {
    std::vector<Value> row;
    const auto& columns = kColumns.at(table);
    for (const std::string& column : columns) {
      const auto cell = cells.find(column);
      const Value missing = op == Op::Update ? Value::unchanged() : Value::null();
      row.push_back(cell == cells.end() ? missing : cell->second);
    }
    transaction.records.push_back(change_record({table, columns}, op, row, when));
  }

  void update(Transaction& transaction, const std::string& table, std::int64_t id, Cells cells) {
    ShadowRow& row = tables[table][id];
    auto& versions = row.versions;
    TimeUs when = some_time();
    cells["id"] = Value::of_integer(id);
    write(transaction, table, Op::Update, cells, when);
    // A row that is to come is changed from its beginning on.
    if (row.now() != nullptr && !row.there(when)) when = std::max(when, row.newest()->from);
    // What it leaves unsaid is as in what arrived before it.
    Cells whole = complete(table, cells);
    if (!versions.empty() && !versions.back().deleted) {
      whole = versions.back().cells;
      for (const auto& [column, value] : cells)
        whole[column] = value;
    }
    versions.push_back({when, false, std::move(whole)});
  }

  void remove(Transaction& transaction, const std::string& table, std::int64_t id) {
    ShadowRow& row = tables[table][id];
    const TimeUs when = day(now_);
    write(transaction, table, Op::Delete, {{"id", Value::of_integer(id)}}, when);
    if (const ShadowRow::Version* last = row.now())
      row.versions.push_back({std::max(when, last->from), true, {}});
  }

  void change(Transaction& transaction) {
    const auto order = static_cast<std::int64_t>(rng_.below(orders_ + 1));
    const auto session = static_cast<std::int64_t>(rng_.below(sessions_ + 1));
    switch (rng_.below(22)) {
      case 0: {
        update(transaction, "orders", order, {{"price", Value::of_real(100 * rng_.uniform())}});
        return;
      }
      case 1:
        update(transaction, "orders", order, {{"product", some(26)}, {"session", some(sessions_)}});
        return;
      case 2:
        remove(transaction, "orders", order);
        return;
      case 3:
        if (one_in(3))
          update(transaction, "orders", order, {{"at", Value::of_time(day(now_ - 1))}});
        return;
      case 4:
        update(transaction, "sessions", session, {{"customer", some(15)}});
        return;
      case 5:
        if (one_in(3)) remove(transaction, "sessions", session);
        return;
      case 6:
        update(transaction, "customers", static_cast<std::int64_t>(rng_.below(15)),
               {{"region", some(4)}});
        return;
      case 7:
      case 9: {
        const auto note = static_cast<std::int64_t>(rng_.below(400));
        if (one_in(9)) return remove(transaction, "notes", note);
        return put(transaction, "notes", note, {{"product", some(26)}, {"stars", some(6)}},
                   kTimeMin);
      }
      case 8:
        put(transaction, "sessions", static_cast<std::int64_t>(sessions_++),
            {{"customer", some(15)}, {"shop", some(3)}, {"pages", some(30)}}, some_time());
        return;
      case 10:
        update(transaction, "products", static_cast<std::int64_t>(rng_.below(25)), product_cells());
        return;
      case 11:
        update(transaction, "sessions", session, {{"pages", some(30)}});
        return;
      case 12:
        if (one_in(9)) remove(transaction, "products", static_cast<std::int64_t>(rng_.below(24)));
        if (one_in(9)) put(transaction, "products", 24, product_cells(), kTimeMin);
        return;
      default:
        put(transaction, "orders", static_cast<std::int64_t>(orders_++), order_cells(),
            some_time());
        return;
    }
  }

  Rng rng_;
  double now_ = 0;
  std::uint64_t orders_ = 0;
  std::uint64_t sessions_ = 0;
  std::deque<std::string> notes_;
};

}  // namespace accrete::daemon
