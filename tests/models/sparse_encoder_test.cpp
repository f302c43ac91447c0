// Rows as sparse numbers, and the pool of opinions.
#include "models/sparse_encoder.h"

#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "models/opinion_pool.h"

namespace accrete::models {
namespace {

Table table_of(std::vector<Column> columns) {
  Table table;
  table.name = "t";
  table.columns = std::move(columns);
  return table;
}

std::vector<SparseEntry> finished(const SparseEncoder& encoder, const RawRow& row) {
  std::vector<SparseEntry> out;
  encoder.finish(row, out);
  return out;
}

TEST(SparseEncoder, ASetIsItsItemsAtLengthOne) {
  const Table table = table_of({{"words", ColumnKind::Set}});
  SparseEncoder encoder(64);
  RawRow row;
  const std::vector<Value> cells = {Value::of_text("a:3 b:4")};
  encoder.encode(0, table, cells, {}, true, row);
  const auto entries = finished(encoder, row);
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_FLOAT_EQ(entries[0].value, 0.6F);
  EXPECT_FLOAT_EQ(entries[1].value, 0.8F);
  EXPECT_EQ(encoder.keys().size(), 2U);
  // The same items by another way are other columns.
  encoder.encode(1, table, cells, {}, true, row);
  EXPECT_EQ(row.entries[0].column, 2U);
}

TEST(SparseEncoder, OfNumbersBeyondFloatsTheLengthIsOneToo) {
  const Table table = table_of({{"words", ColumnKind::Set}, {"much", ColumnKind::Number}});
  for (const char* words : {"a:1e39 b:1", "a:1e308 b:1e308", "a:3e-40", "a:1e-44 b:1e-44"}) {
    SparseEncoder encoder(64);
    RawRow row;
    encoder.encode(0, table, std::vector{Value::of_text(words), Value::null()}, {}, true, row);
    double squares = 0;
    for (const SparseEntry& entry : finished(encoder, row))
      squares += static_cast<double>(entry.value) * static_cast<double>(entry.value);
    EXPECT_NEAR(squares, 1, 1e-5) << words;
  }
  SparseEncoder encoder(64);
  RawRow row;
  for (const double number : {1.0, 2.0, -1e308, 1e308}) {
    encoder.encode(0, table, std::vector{Value::null(), Value::of_real(number)}, {}, true, row);
    encoder.measure(row);
  }
  encoder.rescale();
  for (const SparseEntry& entry : finished(encoder, row))
    EXPECT_TRUE(std::isfinite(entry.value));
}

TEST(SparseEncoder, UnknownItemsAreLeftOutUntilTheyMayGrow) {
  const Table table = table_of({{"words", ColumnKind::Set}, {"kind", ColumnKind::Category}});
  SparseEncoder encoder(64);
  RawRow row;
  const std::vector<Value> cells = {Value::of_text("a b"), Value::of_text("x")};
  encoder.encode(0, table, cells, {false, true}, true, row);
  EXPECT_TRUE(row.complete);
  const std::vector<Value> more = {Value::of_text("b c"), Value::of_text("x")};
  encoder.encode(0, table, more, {false, true}, false, row);
  EXPECT_FALSE(row.complete);
  ASSERT_EQ(row.entries.size(), 1U);
  EXPECT_EQ(row.entries[0].column, 1U);  // the second column of the table was to be skipped
}

TEST(SparseEncoder, WhenAllColumnsAreTakenTheLastAreShared) {
  const Table table = table_of({{"kind", ColumnKind::Category}});
  SparseEncoder encoder(32);
  RawRow row;
  for (int i = 0; i < 100; ++i) {
    const std::string text = "v" + std::to_string(i);
    const std::vector<Value> cells = {Value::of_text(text)};
    encoder.encode(0, table, cells, {}, true, row);
    ASSERT_EQ(row.entries.size(), 1U);
    EXPECT_LT(row.entries[0].column, 32U);
    EXPECT_TRUE(i < 32 || row.entries[0].column >= 30U);
    EXPECT_TRUE(row.complete);
  }
}

TEST(SparseEncoder, NumbersAreStandardisedByWhatWasMeasured) {
  const Table table = table_of({{"size", ColumnKind::Number}});
  SparseEncoder encoder(64);
  RawRow row;
  for (const double number : {1.0, 3.0, 5.0}) {
    const std::vector<Value> cells = {Value::of_real(number)};
    encoder.encode(0, table, cells, {}, true, row);
    EXPECT_TRUE(finished(encoder, row).empty());  // no scale yet
    encoder.measure(row);
  }
  encoder.rescale();
  const auto value_of = [&](double number) {
    const std::vector<Value> cells = {Value::of_real(number)};
    encoder.encode(0, table, cells, {}, false, row);
    return finished(encoder, row).at(0).value;
  };
  EXPECT_NEAR(value_of(5), 2 / std::sqrt(8.0 / 3), 1e-6);
  EXPECT_FLOAT_EQ(value_of(1000), 3);
  EXPECT_FLOAT_EQ(value_of(-1000), -3);
}

TEST(SparseEncoder, SavedStateEncodesTheSame) {
  const Table table = table_of({{"words", ColumnKind::Text}, {"size", ColumnKind::Inferred}});
  SparseEncoder encoder(64);
  RawRow row;
  for (const double number : {1.0, 3.0}) {
    const std::vector<Value> cells = {Value::of_text("The cat, the DOG"), Value::of_real(number)};
    encoder.encode(0, table, cells, {}, true, row);
    encoder.measure(row);
  }
  encoder.rescale();
  std::string bytes;
  StateWriter writer(bytes);
  encoder.save(writer);
  SparseEncoder loaded(64);
  StateReader reader(bytes);
  loaded.load(reader);
  ASSERT_TRUE(reader.finish("encoder"));
  const std::vector<Value> cells = {Value::of_text("a dog and the bird"), Value::of_real(2.5)};
  RawRow other;
  for (const bool grow : {false, true}) {
    encoder.encode(0, table, cells, {}, grow, row);
    loaded.encode(0, table, cells, {}, grow, other);
    const auto a = finished(encoder, row);
    const auto b = finished(loaded, other);
    ASSERT_EQ(a.size(), b.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
      EXPECT_EQ(a[i].column, b[i].column);
      EXPECT_EQ(a[i].value, b[i].value);
    }
  }
  StateReader cut(std::string_view(bytes).substr(0, bytes.size() - 3));
  loaded.load(cut);
  EXPECT_FALSE(cut.finish("encoder"));
}

TEST(RawRow, MergingSumsRepeats) {
  RawRow row;
  row.entries = {{3, 1}, {1, 2}, {3, 4}};
  row.merge();
  ASSERT_EQ(row.entries.size(), 2U);
  EXPECT_EQ(row.entries[0].column, 1U);
  EXPECT_EQ(row.entries[1].value, 5);
}

TEST(OpinionPool, ExplainsAsWellAsTheBestAndGivesItTheWeight) {
  // One is right nine times in ten, one guesses, one is mostly wrong.
  std::vector<double> said;
  for (int i = 0; i < 200; ++i) {
    said.push_back(i % 10 == 0 ? 0.1 : 0.9);
    said.push_back(0.5);
    said.push_back(i % 10 == 0 ? 0.9 : 0.1);
  }
  const std::vector<double> weights = pool_weights(said, 3);
  EXPECT_NEAR(weights[0] + weights[1] + weights[2], 1, 1e-12);
  EXPECT_GT(weights[0], 0.8);
  double pooled = 0;
  double best = 0;
  for (std::size_t i = 0; i < 200; ++i) {
    best += std::log(said[i * 3]);
    pooled += std::log(weights[0] * said[i * 3] + weights[1] * said[i * 3 + 1] +
                       weights[2] * said[i * 3 + 2]);
  }
  EXPECT_GT(pooled, best - 1);
}

TEST(OpinionPool, SharpenedIsAPowerOfTheProbabilities) {
  Output classes;
  classes.classes = {0.2, 0, 0.5, 0.3};
  const Output firm = sharpened(TaskKind::Multiclass, classes, 2);
  const double total = 0.04 + 0.25 + 0.09;
  EXPECT_NEAR(firm.classes[0], 0.04 / total, 1e-12);
  EXPECT_EQ(firm.classes[1], 0);
  EXPECT_NEAR(firm.classes[3], 0.09 / total, 1e-12);
  Output binary;
  binary.value = 0.8;
  EXPECT_NEAR(sharpened(TaskKind::Binary, binary, 0.5).value, 2.0 / 3, 1e-12);
  EXPECT_NEAR(sharpened(TaskKind::Binary, binary, 1).value, 0.8, 1e-12);
  binary.value = std::nan("");
  EXPECT_TRUE(std::isnan(sharpened(TaskKind::Binary, binary, 2).value));
  EXPECT_TRUE(sharpened(TaskKind::Multiclass, Output{}, 2).classes.empty());
}

TEST(OpinionPool, SilentCandidatesAreLeftOut) {
  std::vector<Output> outputs(3);
  outputs[0].classes = {0.2, 0.8};
  outputs[2].classes = {0.1, 0.3, 0.6};
  Output mixed;
  pool_outputs(TaskKind::Multiclass, outputs, std::vector<double>{0.25, 0.5, 0.25}, mixed);
  ASSERT_EQ(mixed.classes.size(), 3U);
  EXPECT_NEAR(mixed.classes[0], 0.15, 1e-12);
  EXPECT_NEAR(mixed.classes[2], 0.3, 1e-12);
  outputs[0].value = 0.9;
  outputs[1].value = std::nan("");
  outputs[2].value = 0.5;
  pool_outputs(TaskKind::Binary, outputs, std::vector<double>{0.25, 0.5, 0.25}, mixed);
  EXPECT_NEAR(mixed.value, 0.7, 1e-12);
}

}  // namespace
}  // namespace accrete::models
