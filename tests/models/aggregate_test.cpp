// Aggregates against sums and windows over the rows as they are: random rows added in and out of
// order, taken out and revised, the ordered part built anew whenever it says so.
#include "models/aggregate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "proto/rng.h"

namespace accrete::models {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr std::size_t kColumns = 2;

struct Row {
  double time = 0;
  double id = 0;
  std::vector<double> values;
  std::vector<double> links;

  AggregateRow view() const { return {time, id, values, links}; }
  bool before(const Row& other) const {
    return time != other.time ? time < other.time : id < other.id;
  }
};

/// What the header says of time and links, and what a column says, from their definitions.
std::vector<double> naive(std::vector<Row> rows, double at, double life, double prior) {
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.before(b); });
  std::vector<double> out;
  double decayed = 0;
  for (const Row& row : rows)
    decayed += std::exp2(-(at - row.time) / life);
  out.push_back(std::log1p(static_cast<double>(rows.size())));
  out.push_back(std::log1p(decayed));
  out.push_back(rows.empty() ? kNone : std::log2(1 + at - rows.back().time));
  out.push_back(rows.empty() ? kNone : std::log2(1 + at - rows.front().time));
  const double gaps = static_cast<double>(rows.size()) - 1;
  out.push_back(gaps > 0 ? std::log2(1 + (rows.back().time - rows.front().time) / gaps) : kNone);
  const std::size_t first = rows.size() - std::min<std::size_t>(rows.size(), 8);
  std::multiset<double> named;
  for (std::size_t i = first; i < rows.size(); ++i)
    named.insert(rows[i].links[0]);
  const std::set<double> different(named.begin(), named.end());
  out.push_back(rows.empty() ? kNone : static_cast<double>(different.size()));
  out.push_back(rows.empty() ? kNone
                             : static_cast<double>(named.count(rows.back().links[0])) /
                                   static_cast<double>(named.size()));
  for (std::size_t c = 0; c < kColumns; ++c) {
    double weight = 0;
    double sum = 0;
    double square = 0;
    double faded = 0;
    double faded_sum = 0;
    double n = 0;
    double t_sum = 0;
    double x_sum = 0;
    double tt = 0;
    double tx = 0;
    double three = 0;
    double threes = 0;
    double least = kNone;
    double greatest = kNone;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const double x = rows[i].values[c];
      if (std::isnan(x)) continue;
      const auto age = static_cast<double>(rows.size() - 1 - i);
      const double w = std::pow(0.9, age);
      weight += w;
      sum += w * x;
      square += w * x * x;
      const double f = std::exp2(-(at - rows[i].time) / life);
      faded += f;
      faded_sum += f * x;
      if (age > 7) continue;
      // What the window holds are floats.
      const auto y = static_cast<double>(static_cast<float>(x));
      n += 1;
      t_sum -= age;
      x_sum += y;
      tt += age * age;
      tx -= age * y;
      if (age < 3) {
        three += y;
        threes += 1;
      }
      least = std::isnan(least) ? y : std::min(least, y);
      greatest = std::isnan(greatest) ? y : std::max(greatest, y);
    }
    out.push_back(rows.empty() ? kNone : rows.back().values[c]);
    out.push_back((sum + prior) / (weight + 1));
    const double mean = sum / weight;
    out.push_back(weight > 1 ? std::sqrt(std::max(0.0, square / weight - mean * mean)) : kNone);
    out.push_back(threes > 0 ? three / threes : kNone);
    out.push_back(least);
    out.push_back(greatest);
    out.push_back(n > 2 ? (n * tx - t_sum * x_sum) / (n * tt - t_sum * t_sum) : kNone);
    out.push_back((faded_sum + prior) / (faded + 1));
  }
  return out;
}

class Kept {
 public:
  Kept() : form_({40.0}, kColumns, 1, true, true), state_(form_.size(), 0.0) {}

  void add(Row row) {
    const bool in_place = form_.add(state_.data(), row.view());
    rows_.push_back(std::move(row));
    if (!in_place) rebuild();
  }
  void remove(std::size_t i) {
    const bool in_place = form_.remove(state_.data(), rows_[i].view());
    rows_.erase(rows_.begin() + static_cast<std::ptrdiff_t>(i));
    if (!in_place) rebuild();
  }
  void revise(std::size_t i, const Row& row) {
    const bool in_place = form_.revise(state_.data(), rows_[i].view(), row.view());
    rows_[i] = row;
    if (!in_place) rebuild();
  }
  const std::vector<Row>& rows() const { return rows_; }

  std::vector<double> mode() const {
    static constexpr std::size_t kBoth[] = {0, 1};
    std::vector<double> out(AggregateForm::mode_width);
    form_.read_mode(state_.data(), kBoth, out.data());
    return out;
  }

  std::vector<double> read(double at, double prior) const {
    static constexpr std::size_t kLives[] = {0};
    const double priors[] = {prior, prior};
    const AggregateReading reading{at, 1, kLives, priors};
    const std::size_t header = form_.header_width(1);
    std::vector<double> out(header + kColumns * form_.column_width(1));
    form_.read_header(state_.data(), reading, out.data());
    form_.read_columns(state_.data(), reading, 0, kColumns, out.data() + header);
    return out;
  }

 private:
  void rebuild() {
    std::vector<Row> sorted = rows_;
    std::sort(sorted.begin(), sorted.end(), [](const Row& a, const Row& b) { return a.before(b); });
    form_.clear_order(state_.data(), sorted.empty() ? kNone : sorted.front().time);
    for (const Row& row : sorted)
      form_.append(state_.data(), row.view());
  }

  AggregateForm form_;
  std::vector<double> state_;
  std::vector<Row> rows_;
};

TEST(Aggregate, EqualsItsDefinitionWhateverHappensToRows) {
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    Rng rng(seed, 0, Purpose::Test);
    Kept kept;
    double now = 100;
    double id = 0;
    const auto random_row = [&](double time) {
      Row row{time, id, {}, {}};
      for (std::size_t c = 0; c < kColumns; ++c)
        row.values.push_back(rng.below(6) == 0 ? kNone : 20 * rng.uniform() - 10);
      row.links.push_back(rng.below(5) == 0 ? -1.0 : static_cast<double>(rng.below(4)));
      return row;
    };
    for (int step = 0; step < 400; ++step) {
      const std::uint64_t what = rng.below(10);
      if (kept.rows().empty() || what < 5) {
        now += rng.below(3) == 0 ? 0 : 5 * rng.uniform();
        ++id;
        kept.add(random_row(what == 0 ? now - 30 * rng.uniform() : now));
      } else {
        // Mostly one of the newest rows.
        const std::size_t count = kept.rows().size();
        const std::size_t back = rng.below(what == 9 ? count : std::min<std::size_t>(count, 10));
        const std::size_t i = count - 1 - back;
        if (what == 5) {
          kept.remove(i);
        } else {
          Row row = random_row(kept.rows()[i].time);
          row.id = kept.rows()[i].id;
          if (what == 6) row.values = kept.rows()[i].values;
          kept.revise(i, row);
        }
      }
      if (kept.rows().empty()) continue;
      const double at = now + 3 * rng.uniform();
      const std::vector<double> is = kept.read(at, 0.5);
      const std::vector<double> should = naive(kept.rows(), at, 40, 0.5);
      ASSERT_EQ(is.size(), should.size());
      for (std::size_t f = 0; f < is.size(); ++f) {
        if (std::isnan(should[f])) {
          ASSERT_TRUE(std::isnan(is[f])) << "seed " << seed << " step " << step << " number " << f;
        } else {
          ASSERT_NEAR(is[f], should[f], 1e-6)
              << "seed " << seed << " step " << step << " number " << f;
        }
      }
    }
  }
}

/// Share of the more frequent of two values, and whether the newest row has it.
std::vector<double> naive_mode(std::vector<Row> rows) {
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.before(b); });
  double all = 0;
  double of[kColumns] = {0, 0};
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (std::isnan(rows[i].values[0])) continue;
    const double w = std::pow(0.9, static_cast<double>(rows.size() - 1 - i));
    all += w;
    for (std::size_t c = 0; c < kColumns; ++c)
      of[c] += w * rows[i].values[c];
  }
  if (all == 0) return {kNone, kNone};
  const std::size_t most = of[1] > of[0] ? 1 : 0;
  return {of[most] / all, rows.back().values[most]};
}

TEST(Aggregate, ModeIsThatOfTheRowsThatAreThere) {
  Rng rng(31, 0, Purpose::Test);
  Kept kept;
  EXPECT_TRUE(std::isnan(kept.mode()[0]) && std::isnan(kept.mode()[1]));
  const auto random_row = [&](double time, double id) {
    Row row{time, id, {0, 0}, {0}};
    const std::uint64_t value = rng.below(4);  // one of two that have columns, another, none
    if (value < kColumns) row.values[value] = 1;
    if (value == 3) row.values = {kNone, kNone};
    return row;
  };
  for (int step = 0; step < 600; ++step) {
    const std::size_t count = kept.rows().size();
    const std::uint64_t what = rng.below(count > 40 ? 4 : 10);
    if (count == 0 || what > 3) {
      const double time = what == 9 ? step - 20.0 * rng.uniform() : step;
      kept.add(random_row(time, step));
    } else {
      const std::size_t i = count - 1 - rng.below(std::min<std::size_t>(count, 12));
      const Row row = kept.rows()[i];
      if (what > 1) {
        kept.remove(i);
      } else {
        kept.revise(i, random_row(row.time, row.id));
      }
    }
    const std::vector<double> is = kept.mode();
    const std::vector<double> should = naive_mode(kept.rows());
    for (std::size_t f = 0; f < is.size(); ++f) {
      if (std::isnan(should[f])) {
        ASSERT_TRUE(std::isnan(is[f])) << "step " << step << " number " << f;
      } else {
        ASSERT_NEAR(is[f], should[f], 1e-9) << "step " << step << " number " << f;
      }
    }
  }
}

TEST(Aggregate, IsEmptyExactlyWhenItsRowsAre) {
  Kept kept;
  Row row{5, 1, {0.1, 0.2}, {3}};
  kept.add(row);
  row.time = 6;
  row.id = 2;
  kept.add(row);
  kept.remove(0);
  kept.remove(0);
  // No residue of rounding stays behind.
  for (const double number : kept.read(9, 0.5))
    EXPECT_TRUE(std::isnan(number) || number == 0 || number == 0.5);
}

}  // namespace
}  // namespace accrete::models
