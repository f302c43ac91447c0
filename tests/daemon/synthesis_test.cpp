// The aggregates that features are made of, kept up to date by difference, against sums over the
// rows as they are: on streams with late rows, updates, deletes, changed keys, nulls and crashes.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/daemon/market.h"

namespace accrete::daemon {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// A row as the oracle sums it.
struct Row {
  double time = kNaN;
  std::uint32_t id = 0;  // in the graph's order
  Cells cells;
};

bool older(const Row& a, const Row& b) {
  const auto order = [](const Row& row) {
    return std::pair(std::isnan(row.time) ? -std::numeric_limits<double>::infinity() : row.time,
                     row.id);
  };
  return order(a) < order(b);
}

/// Reads a feature's name and works out its value from the rows as they are.
class Oracle {
 public:
  Oracle(const Market& market, Fold& fold, double at) : market_(market), fold_(fold), at_(at) {
    for (const auto& [table, rows] : market.tables) {
      for (const auto& [id, shadow] : rows) {
        const auto* version = shadow.now();
        if (version == nullptr) continue;
        Row row;
        row.cells = version->cells;
        row.id = node(table, Value::of_integer(id));
        const auto own = row.cells.find("at");
        if (own != row.cells.end() && !own->second.is_null()) {
          row.time = static_cast<double>(std::min(own->second.integer, version->from.value));
        }
        rows_[table].push_back(row);
      }
      std::sort(rows_[table].begin(), rows_[table].end(), older);
    }
  }

  /// nullopt: not a name of an aggregate.
  std::optional<double> value(const std::string& entity_table, std::int64_t entity,
                              const std::string& name, const std::string& middle_life,
                              double unit_us) {
    if (name.starts_with("different ") || name.starts_with("share of ")) {
      return links(entity_table, entity, name);
    }
    for (const std::string part :
         {"log count of ", "log age of newest ", "log age of oldest ", "log mean gap of "}) {
      if (!name.starts_with(part)) continue;
      const std::size_t comma = name.find(',');
      const std::string what = name.substr(part.size(), comma - part.size());
      if (what.find("labels") != what.npos) return std::nullopt;
      std::string key_name;
      const std::string path = split(what, " of ", key_name);
      std::string way;
      const std::string table = split(path, ".", way);
      const auto rows = rows_of(table, way, key_of(entity_table, entity, key_name));
      if (comma != name.npos) return std::log1p(weight(rows, name.substr(comma + 2)));
      if (part == "log mean gap of ") return mean_gap(rows, unit_us);
      return age(rows, part.ends_with("newest "), unit_us);
    }
    if (name.starts_with("label ")) return std::nullopt;
    const std::size_t comma = name.find(", ");
    const std::size_t dot = name.find('.');
    if (comma == name.npos || dot == name.npos || dot > comma) return std::nullopt;
    const std::string table = name.substr(0, dot);
    std::string way;
    std::string key_name;
    std::string column = name.substr(dot + 1, comma - dot - 1);
    if (column.find(" by ") != column.npos) {
      column = split(column, " by ", way);
      way = split(way, " of ", key_name);
    } else {
      column = column.substr(0, column.size() - std::string(" of all").size());
    }
    const auto rows = rows_of(table, way, key_of(entity_table, entity, key_name));
    return statistic(table, column, rows, name.substr(comma + 2), middle_life);
  }

 private:
  static std::string split(const std::string& text, const std::string& at, std::string& rest) {
    const std::size_t found = text.find(at);
    rest = found == text.npos ? "" : text.substr(found + at.size());
    return text.substr(0, found);
  }

  std::uint32_t node(const std::string& table, const Value& id) {
    std::string key;
    append_key(key, id);
    const auto found = fold_.graph().find(*fold_.schema().find(table), key);
    return found ? found->row : 0xFFFF'FFFF;
  }

  /// What a row named by `parent` was at a time; rows without a time see what was always there.
  Cells then(const std::string& table, const Value& parent, double time) {
    if (parent.is_null()) return {};
    const auto& rows = market_.tables.at(table);
    const auto found = rows.find(parent.integer);
    if (found == rows.end()) return {};
    const TimeUs at = std::isnan(time) ? kTimeMin : TimeUs{static_cast<std::int64_t>(time)};
    const ShadowRow::Version* valid = nullptr;
    for (const auto& version : found->second.versions) {
      if (version.from <= at && (valid == nullptr || version.from >= valid->from)) {
        valid = &version;
      }
    }
    return valid == nullptr || valid->deleted ? Cells{} : valid->cells;
  }

  const Row* find(const std::string& table, const Value& id) {
    if (id.is_null()) return nullptr;
    if (by_id_[table].empty()) {
      for (const Row& row : rows_[table])
        by_id_[table][row.cells.at("id").integer] = &row;
    }
    const auto found = by_id_[table].find(id.integer);
    return found == by_id_[table].end() ? nullptr : found->second;
  }

  /// The value at the end of a way: columns joined with dots, over the tables they name.
  Value follow(const Row& row, const std::string& way) {
    std::string rest;
    const std::string column = split(way, ".", rest);
    const Value value = row.cells.at(column);
    if (rest.empty()) return value;
    const Row* parent = find(column + "s", value);
    return parent == nullptr ? Value::null() : follow(*parent, rest);
  }

  /// The key an entity reads, as text; "": none.
  std::string key_of(const std::string& table, std::int64_t entity, const std::string& name) {
    if (name.empty() || name == "all") return std::to_string(entity);
    std::string way;
    const std::string first = split(name, ".", way);
    if (!first.starts_with("newest ")) {
      const Row* row = find(table, Value::of_integer(entity));
      const Value key = row == nullptr ? Value::null() : follow(*row, way);
      return key.is_null() ? "" : value_text(key);
    }
    const std::string child = first.substr(std::string("newest ").size());
    const std::string column = table.substr(0, table.size() - 1);
    const Row* newest = nullptr;
    for (const Row& row : rows_[child]) {
      const Value& parent = row.cells.at(column);
      if (!parent.is_null() && parent.integer == entity) newest = &row;
    }
    const Value key = newest == nullptr ? Value::null() : follow(*newest, way);
    return key.is_null() ? "" : value_text(key);
  }

  /// Oldest first; without a way: all.
  std::vector<Row> rows_of(const std::string& table, const std::string& way,
                           const std::string& key) {
    std::vector<Row> rows;
    for (const Row& row : rows_[table]) {
      const Value end = way.empty() ? Value::null() : follow(row, way);
      if (way.empty() || (!end.is_null() && value_text(end) == key)) rows.push_back(row);
    }
    return rows;
  }

  static double fade(const std::string& life, double age_us) {
    const std::size_t from = life.find("half-life ");
    if (from == life.npos) return 1;
    const double days = std::strtod(life.c_str() + from + 10, nullptr);
    return std::exp2(-age_us / (days * static_cast<double>(kDayUs)));
  }

  double weight(const std::vector<Row>& rows, const std::string& life) const {
    double sum = 0;
    for (const Row& row : rows) {
      if (life.starts_with("ever")) {
        sum += 1;
      } else if (!std::isnan(row.time)) {
        sum += fade(life, at_ - row.time);
      }
    }
    return sum;
  }

  double age(const std::vector<Row>& rows, bool newest, double unit_us) const {
    double time = kNaN;
    for (const Row& row : rows) {
      if (newest) time = row.time;
      if (!newest && !std::isnan(row.time) && !(time <= row.time)) time = row.time;
    }
    return std::isnan(time) ? kNaN : std::log2(1 + (at_ - time) / unit_us);
  }

  double mean_gap(const std::vector<Row>& rows, double unit_us) const {
    if (rows.size() < 2 || std::isnan(rows.back().time)) return kNaN;
    double first = kNaN;
    for (const Row& row : rows)
      if (!(first <= row.time) && !std::isnan(row.time)) first = row.time;
    const double gaps = static_cast<double>(rows.size()) - 1;
    return std::log2(1 + (rows.back().time - first) / gaps / unit_us);
  }

  static std::vector<Row> newest(const std::vector<Row>& rows, std::size_t count) {
    return {rows.end() - static_cast<std::ptrdiff_t>(std::min(count, rows.size())), rows.end()};
  }

  /// "different WAY of newest 8 TABLE.KEY", "share of newest 8 TABLE.KEY with the newest WAY".
  double links(const std::string& entity_table, std::int64_t entity, const std::string& name) {
    std::string rest;
    const std::string before = split(name, " of newest 8 ", rest);
    std::string way;
    const std::string path = split(rest, " with the newest ", way);
    if (way.empty()) way = before.substr(std::string("different ").size());
    std::string key_way;
    const std::string table = split(path, ".", key_way);
    const auto rows = newest(rows_of(table, key_way, key_of(entity_table, entity, "")), 8);
    if (rows.empty()) return kNaN;
    std::multiset<std::string> named;
    for (const Row& row : rows) {
      const Value end = follow(row, way);
      named.insert(end.is_null() ? "" : value_text(end));
    }
    if (name.starts_with("different ")) {
      return static_cast<double>(std::set<std::string>(named.begin(), named.end()).size());
    }
    const Value last = follow(rows.back(), way);
    return static_cast<double>(named.count(last.is_null() ? "" : value_text(last))) /
           static_cast<double>(named.size());
  }

  double windowed(const std::string& table, const std::string& column, const std::vector<Row>& rows,
                  const std::string& which) {
    double n = 0;
    double sum = 0;
    double least = kNaN;
    double greatest = kNaN;
    std::vector<std::pair<double, double>> points;
    const auto window = newest(rows, which == "mean of newest 3" ? 3 : 8);
    for (std::size_t i = 0; i < window.size(); ++i) {
      const double x = cell(table, column, window[i]);
      if (std::isnan(x)) continue;
      n += 1;
      sum += x;
      least = std::isnan(least) ? x : std::min(least, x);
      greatest = std::isnan(greatest) ? x : std::max(greatest, x);
      points.emplace_back(static_cast<double>(i), x);
    }
    if (which.starts_with("mean")) return n > 0 ? sum / n : kNaN;
    if (which.starts_with("least")) return least;
    if (which.starts_with("greatest")) return greatest;
    if (points.size() < 3) return kNaN;
    double rank = 0;
    for (const auto& [t, x] : points)
      rank += t / n;
    double above = 0;
    double below = 0;
    for (const auto& [t, x] : points) {
      above += (t - rank) * (x - sum / n);
      below += (t - rank) * (t - rank);
    }
    return above / below;
  }

  double cell(const std::string& table, const std::string& column, const Row& row) {
    std::string rest;
    if (const std::string named = split(column, ".", rest); !rest.empty()) {
      Row parent;
      parent.cells = then(named + "s", row.cells.at(named), row.time);
      return parent.cells.empty() ? kNaN : cell(named + "s", rest, parent);
    }
    if (column.starts_with("row of ")) {
      const Value& price = row.cells.at("price");
      return price.is_null() ? kNaN : price.real > 50 ? 1 : 0;
    }
    if (column.ends_with(" is null")) {
      return row.cells.at(split(column, " is null", rest)).is_null() ? 1 : 0;
    }
    if (column.starts_with("length of ")) {
      const Value& text = row.cells.at(column.substr(10));
      return text.is_null() ? kNaN : std::log1p(static_cast<double>(text.text.size()));
    }
    if (column.starts_with("rank of ")) return rank(table, column.substr(8), row);
    if (column.find(" = ") != column.npos) {
      const Value& value = row.cells.at(split(column, " = ", rest));
      return value.is_null() ? kNaN : value.text == rest ? 1 : 0;
    }
    const Value& value = row.cells.at(column);
    return value.is_null() ? kNaN : value.as_number();
  }

  double rank(const std::string& table, const std::string& column, const Row& row) {
    const double own = cell(table, column, row);
    if (std::isnan(own) || std::isnan(row.time)) return kNaN;
    double less = 0;
    double equal = 0;
    double all = 0;
    for (const Row& other : rows_[table]) {
      const double value = other.time == row.time ? cell(table, column, other) : kNaN;
      if (std::isnan(value)) continue;
      all += 1;
      less += value < own ? 1 : 0;
      equal += value == own ? 1 : 0;
    }
    return (less + equal / 2) / all - 0.5;
  }

  double mean(const std::string& table, const std::string& column, const std::vector<Row>& rows,
              const std::string& life, double prior) {
    double weights = 0;
    double sum = 0;
    for (const Row& row : rows) {
      const double x = cell(table, column, row);
      const bool timeless = life.find("half-life") != life.npos && std::isnan(row.time);
      if (std::isnan(x) || timeless) continue;
      const double weight = fade(life, at_ - row.time);
      weights += weight;
      sum += weight * x;
    }
    if (std::isnan(prior)) return weights > 0 ? sum / weights : kNaN;
    return (sum + prior) / (weights + 1);
  }

  double statistic(const std::string& table, const std::string& column,
                   const std::vector<Row>& rows, const std::string& which,
                   const std::string& middle_life) {
    const bool timed = table != "notes";
    const double prior = mean(table, column, rows_[table], timed ? middle_life : "ever", kNaN);
    if (which.find("newest ") != which.npos) return windowed(table, column, rows, which);
    if (which == "newest") return rows.empty() ? kNaN : cell(table, column, rows.back());
    if (which.starts_with("mean, decay") || which.starts_with("deviation")) {
      double weights = 0;
      double sum = 0;
      double squares = 0;
      for (const Row& row : rows) {
        const double x = cell(table, column, row);
        const bool has = !std::isnan(x);
        weights = 0.9 * weights + (has ? 1 : 0);
        sum = 0.9 * sum + (has ? x : 0);
        squares = 0.9 * squares + (has ? x * x : 0);
      }
      if (which.starts_with("mean")) {
        return std::isnan(prior) ? kNaN : (sum + prior) / (weights + 1);
      }
      const double centre = sum / weights;
      return weights > 1 ? std::sqrt(std::max(0.0, squares / weights - centre * centre)) : kNaN;
    }
    return mean(table, column, rows, which, prior);
  }

  const Market& market_;
  Fold& fold_;
  double at_;
  std::map<std::string, std::vector<Row>> rows_;
  std::map<std::string, std::map<std::int64_t, const Row*>> by_id_;
};

/// Compares all aggregates of some entities; returns how many numbers were compared.
std::size_t compare(const Market& market, World& world, double days_later) {
  std::size_t compared = 0;
  const TimeUs at = day(market.now() + days_later);
  Oracle oracle(market, world.fold(), static_cast<double>(at.value));
  for (const bool products : {true, false}) {
    AnyTask* task = world.fold().find_task(products ? "dear" : "visits");
    const std::string table = products ? "products" : "customers";
    const double unit = (products ? 3.0 : 20.0) / 32 * static_cast<double>(kDayUs);
    const std::string middle = products ? "half-life 16 days" : "half-life 256 days";
    const auto names = task->features().names();
    for (std::int64_t id = 0; id < (products ? 24 : 15); id += 2) {
      std::string key;
      append_key(key, Value::of_integer(id));
      const auto node = world.fold().graph().find(task->plan().entity, key);
      const auto values = task->feature_values(node->row, at);
      EXPECT_EQ(values.size(), names.size());
      for (std::size_t i = 0; i < names.size(); ++i) {
        const auto expected = oracle.value(table, id, names[i], middle, unit);
        if (!expected) continue;
        ++compared;
        if (std::isnan(*expected)) {
          EXPECT_TRUE(std::isnan(values[i]))
              << table << " " << id << ": " << names[i] << " is " << values[i];
          continue;
        }
        // A deviation is a root: of what rounding leaves of a difference of squares. The newest
        // few values are kept as floats.
        const bool rough = names[i].find("deviation") != std::string::npos ||
                           names[i].find("newest ") != std::string::npos;
        const double slack = rough ? 1e-5 : 1e-9;
        EXPECT_NEAR(values[i], *expected, slack * (1 + std::abs(*expected)))
            << table << " " << id << ": " << names[i];
      }
    }
  }
  return compared;
}

TEST(Synthesis, EqualsSumsOverTheRowsAsTheyAre) {
  const auto config = parse_config(kMarketConfig, "market.toml");
  ASSERT_TRUE(config) << config.error().detail;
  for (std::uint64_t seed = 0; seed < 2; ++seed) {
    Market market(seed);
    FoldOptions options;
    options.checkpoint_records_min = 97;
    World world(config.value(), options);
    world.feed(market.stream);
    std::size_t compared = 0;
    for (int i = 1; i <= (kSanitized ? 450 : 700) && !testing::Test::HasFailure(); ++i) {
      const Transaction transaction = market.step();
      world.feed(std::span(&transaction, 1));
      if (i % 151 == 0) world.crash();
      if (i % 50 == 0) compared += compare(market, world, i % 100 == 0 ? 0 : 2.5);
    }
    EXPECT_GT(compared, 10'000U) << "seed " << seed;
    // The rarer parts were really there.
    const auto names = world.fold().find_task("dear")->features().names();
    for (const char* name :
         {"orders.rank of price by product, mean, half-life 4 days",
          "orders.kind = gift by product, newest", "orders.price is null by product, newest",
          "orders.length of note of all, mean, half-life 4 days",
          "notes.stars by product, mean, ever",
          "orders.product.size by session.customer of newest orders.session.customer, mean, "
          "half-life 4 days",
          "orders.session.pages by product, newest",
          "orders.product.family = toy of all, mean, half-life 4 days",
          "orders.price by product.family of products.family, mean, half-life 4 days",
          "log count of orders.session.customer of newest "
          "orders.session.customer, ever",
          "orders.price by product, trend over newest 8", "log mean gap of orders.product",
          "different session.customer of newest 8 orders.product",
          "share of newest 8 orders.product with the newest session.customer"}) {
      EXPECT_EQ(std::count(names.begin(), names.end(), name), 1) << name;
    }
  }
}

TEST(Synthesis, SameBitsAfterCrashesAndWhatIfs) {
  const auto config = parse_config(kMarketConfig, "market.toml");
  ASSERT_TRUE(config) << config.error().detail;
  Market market(7);
  for (int i = 0; i < 500; ++i)
    market.step();
  FoldOptions options;
  options.checkpoint_records_min = 41;
  // All states; then room for some keys only, which has to be the same ones every time.
  for (const std::size_t room : {std::size_t{1} << 30, std::size_t{200} << 10}) {
    options.features_bytes_max = room;
    const std::string expected = digest_of(config.value(), market.stream, options);
    EXPECT_EQ(digest_after_crashes(config.value(), market.stream, options, 1), expected) << room;
    EXPECT_EQ(digest_after_crashes(config.value(), market.stream, options, 2), expected) << room;
    // Questions that are not in the log leave no trace.
    World world(config.value(), options);
    std::size_t asked = 0;
    for (const Transaction& transaction : market.stream) {
      world.feed(std::span(&transaction, 1));
      if (world.fold().now() == kTimeMin) continue;
      for (auto& task : world.fold().tasks()) {
        const std::vector<std::uint32_t> rows{0, 3};
        ASSERT_TRUE(task->what_if(rows, shift(world.fold().now(), kDayUs), [&](Prediction&) {
          ++asked;
          return Status(Ok{});
        }));
      }
    }
    EXPECT_GT(asked, 1000U);
    EXPECT_EQ(world.stored_digest(), expected) << room;
    EXPECT_LE(world.fold().memory_bytes(), std::size_t{64} << 20);
  }
}

}  // namespace
}  // namespace accrete::daemon
