// What the aggregates of a market's rows come to, worked out from the rows as they are and from the
// names of the features.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/daemon/market.h"

namespace accrete::daemon {

inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// A row as the oracle sums it.
struct Row {
  double time = kNaN;
  std::uint32_t id = 0;  // in the graph's order
  Cells cells;
};

inline bool older(const Row& a, const Row& b) {
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

  /// Which values of a category have columns, by what stands before and behind the value.
  void learn_values(const std::vector<std::string>& names) {
    values_.clear();
    for (const std::string& name : names) {
      const std::size_t equals = name.find(" = ");
      const std::size_t by = name.find(" by ");
      if (equals == name.npos || by == name.npos || !name.ends_with(", newest")) continue;
      if (name.find(" of ") != name.npos) continue;  // of another key
      const std::string way = name.substr(by, name.find(',') - by);
      values_[name.substr(0, equals) + way].push_back(name.substr(equals + 3, by - equals - 3));
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
      const std::size_t last = name.find(", last ");
      if (last != name.npos) {
        return recent(table, way, entity, std::strtod(name.c_str() + last + 7, nullptr));
      }
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
    if (name.ends_with("most frequent, decay .9") || name.ends_with("is the most frequent")) {
      const auto& values = values_.at(name.substr(0, comma));
      return mode(table, column, rows, values, name.ends_with("decay .9"));
    }
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

  /// As COUNT counts: a row is there from the version on that named the entity, or came to its
  /// time. nullopt: a row of the entity came back by a version older than its end (the graph's
  /// edges do not follow that).
  std::optional<double> recent(const std::string& table, const std::string& way,
                               std::int64_t entity, double days) const {
    const double after = at_ - days * static_cast<double>(kDayUs);
    const auto names = [&](const ShadowRow::Version& version) {
      if (version.deleted) return false;
      const Value& parent = version.cells.at(way);
      return !parent.is_null() && parent.integer == entity;
    };
    double count = 0;
    for (const auto& [id, shadow] : market_.tables.at(table)) {
      const ShadowRow::Version* newest = nullptr;
      const ShadowRow::Version* since = nullptr;  // nullptr: not there
      bool back = false;
      bool named = false;
      for (const auto& version : shadow.versions) {
        const bool gone = newest == nullptr || newest->deleted;
        const bool late = newest != nullptr && version.from < newest->from;
        back = back || (newest != nullptr && gone && late);
        named = named || names(version);
        if (version.deleted) {
          since = nullptr;
        } else if (gone || (!late && moved(*newest, version, way))) {
          since = &version;
        }
        if (!late) newest = &version;
      }
      if (back && named) return std::nullopt;
      if (since == nullptr || !names(*since)) continue;
      const auto time = static_cast<double>(since->from.value);
      count += time > after && time <= at_ ? 1 : 0;
    }
    return std::log1p(count);
  }

  static bool moved(const ShadowRow::Version& before, const ShadowRow::Version& after,
                    const std::string& way) {
    const auto differs = [&](const std::string& column) {
      const Value& was = before.cells.at(column);
      const Value& is = after.cells.at(column);
      return was.is_null() != is.is_null() || (!is.is_null() && was.integer != is.integer);
    };
    return differs(way) || differs("at");
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

  double mode(const std::string& table, const std::string& category, const std::vector<Row>& rows,
              const std::vector<std::string>& values, bool want_share) {
    double most = kNaN;
    double newest = kNaN;
    for (const std::string& value : values) {
      const std::string column = category + " = " + value;
      double weights = 0;
      double sum = 0;
      for (const Row& row : rows) {
        const double x = cell(table, column, row);
        weights = 0.9 * weights + (std::isnan(x) ? 0 : 1);
        sum = 0.9 * sum + (std::isnan(x) ? 0 : x);
      }
      if (weights == 0 || sum / weights <= most) continue;
      most = sum / weights;
      newest = cell(table, column, rows.back());
    }
    return want_share ? most : newest;
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
  std::map<std::string, std::vector<std::string>> values_;
};

}  // namespace accrete::daemon
