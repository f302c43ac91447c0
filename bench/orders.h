// A shop's rows: orders that name a customer, a product and a store. What benches feed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/config.h"
#include "daemon/row_source.h"
#include "proto/codec.h"

namespace accrete::bench {

/// How many of each parent there are; order i's parents are drawn uniformly, seeded by i.
struct Shop {
  std::uint32_t customers = 100'000;
  std::uint32_t products = 10'000;
  std::uint32_t stores = 500;
  std::size_t row_bytes = 500;  ///< encoded record of an order, about
  std::int64_t first_time_us = 1'700'000'000'000'000;
  std::int64_t step_us = 1000;  ///< event time between two orders
};

struct OrderRefs {
  std::uint32_t customer, product, store;
};
OrderRefs refs_of(const Shop& shop, std::uint64_t order);

/// Encodes rows of the shop. Layouts go first.
class OrderWriter {
 public:
  explicit OrderWriter(const Shop& shop);

  /// Append the layout of `orders` (12 columns), `events` (the same of
  /// visitors, without a time: nothing of them touches a customer) or `customers`.
  void orders_layout(std::string& out) const { encode_layout(orders_, out); }
  void events_layout(std::string& out) const { encode_layout(events_, out); }
  void customers_layout(std::string& out) const { encode_layout(customers_, out); }
  /// Append order (event) number i, for the customer that refs_of() names.
  void order(std::uint64_t i, std::string& out) { row(i, orders_hash_, true, out); }
  void event(std::uint64_t i, std::string& out) { row(i, events_hash_, false, out); }
  void customer(std::uint64_t i, std::string& out);

 private:
  void row(std::uint64_t i, std::uint64_t layout, bool timed, std::string& out);

  Shop shop_;
  Layout orders_, events_, customers_;
  std::uint64_t orders_hash_, events_hash_, customers_hash_;
  std::string padding_;
  Change change_;
};

/// Configuration of the shop over `store`, sockets on free loopback ports, `more` appended.
daemon::Config shop_config(const std::string& store, const std::string& more);

/// `count` orders as a source of transactions, made on the way.
class OrderSource final : public daemon::RowSource {
 public:
  OrderSource(const Shop& shop, std::uint64_t count, std::size_t rows_per_transaction)
      : writer_(shop), count_(count), rows_per_transaction_(rows_per_transaction) {}
  std::string name() const override { return "orders"; }
  Result<bool> next(daemon::SourceTransaction& out) override;
  daemon::Progress progress() const override { return {done_, done_, count_}; }

 private:
  OrderWriter writer_;
  std::uint64_t count_;
  std::size_t rows_per_transaction_;
  std::uint64_t done_ = 0;
  std::uint64_t position_ = 0;
};

}  // namespace accrete::bench
