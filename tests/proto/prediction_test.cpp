// Prediction payloads against the generated class, JSON lines, headers and topics.
#include "proto/prediction.h"

#include <limits>

#include <gtest/gtest.h>
#include <stream.pb.h>

#include "proto/time.h"
#include "proto/value.h"
#include "wire_mirror.h"

namespace accrete {
namespace {

std::string key(std::initializer_list<Value> parts) {
  std::string out;
  for (const Value& part : parts)
    append_key(out, part);
  return out;
}

std::string encode(const Prediction& prediction) {
  std::string out;
  encode_prediction(prediction, out);
  return out;
}

TEST(Prediction, BytesAreProtobufs) {
  for (std::uint64_t i = 0; i < 3'000; ++i) {
    Rng rng(1, i, Purpose::Test);
    const auto number = [&] { return rng.below(3) == 0 ? 0 : rng.next() >> rng.below(64); };
    wire::Prediction message;
    Prediction prediction;
    std::vector<std::string> texts(10);
    for (auto& each : texts)
      each = test::random_text(rng, 4);
    texts[1].insert(0, "k");  // an entity's text must not be an integer, or its cell would be, too
    texts[2].insert(0, "k");
    message.set_seq(number());
    prediction.seq = PredictionSeq(message.seq());
    message.set_task(texts[0]);
    prediction.task = texts[0];
    std::string entity;
    for (auto n = rng.below(3); n > 0; --n) {
      const Value part = rng.below(2) == 0 ? Value::of_integer(test::random_integer(rng))
                                           : Value::of_text(texts[n]);
      const std::string owner(part.text);
      append_key(entity, part);
      test::mirror_cell(part.kind == ValueKind::Text ? Value::of_text(owner) : part,
                        *message.add_entity());
    }
    prediction.entity_key = entity;
    message.set_as_of_us(test::random_integer(rng));
    prediction.as_of = TimeUs(message.as_of_us());
    prediction.trigger = static_cast<Trigger>(rng.below(4));
    message.set_trigger(static_cast<wire::Prediction::Trigger>(prediction.trigger));
    prediction.kind = static_cast<TaskKind>(rng.below(3));
    message.set_kind(static_cast<wire::Prediction::Kind>(prediction.kind));
    message.set_score(prediction.score = test::random_real(rng));
    for (std::size_t n = rng.below(4); n > 0; --n) {
      prediction.classes.push_back({texts[3 + n], test::random_real(rng)});
      auto& score = *message.add_classes();
      score.set_label(texts[3 + n]);
      score.set_probability(prediction.classes.back().probability);
    }
    if (rng.below(2) == 0) message.set_low((prediction.low = test::random_real(rng)).value());
    if (rng.below(2) == 0) message.set_high((prediction.high = test::random_real(rng)).value());
    message.set_model(prediction.model = number());
    for (std::size_t n = rng.below(3); n > 0; --n) {
      prediction.candidates.push_back({texts[6 + n], test::random_real(rng), texts[n]});
      auto& score = *message.add_candidates();
      score.set_name(texts[6 + n]);
      score.set_score(prediction.candidates.back().score);
      score.set_label(texts[n]);
    }
    message.set_ordinal(number());
    prediction.ordinal = Ordinal(message.ordinal());
    std::string bytes = "before";
    encode_prediction(prediction, bytes);
    ASSERT_EQ(bytes, "before" + message.SerializeAsString()) << message.DebugString();
    ASSERT_TRUE(prediction_json(encode(prediction)));
  }
}

struct JsonCase {
  Prediction prediction;
  std::string json;
};

TEST(PredictionJson, KeysOrderAndForms) {
  const std::string simple = key({Value::of_integer(42)});
  const std::string composite = key({Value::of_text("a\"b\\\n\x01é"), Value::of_time(TimeUs(0))});
  const std::string one_text = key({Value::of_text("x")});
  const TimeUs noon = try_parse_time("2010-01-01 12:00:00.5").value();
  Prediction binary;
  binary.seq = PredictionSeq(7);
  binary.task = "dnf";
  binary.entity_key = simple;
  binary.as_of = noon;
  binary.score = 0.1;
  binary.low = 0.05;
  binary.high = 1;
  binary.model = 12;
  binary.candidates = {{"ridge", 0.25}, {"mean", std::numeric_limits<double>::quiet_NaN()}};
  Prediction regression = binary;
  regression.entity_key = composite;
  regression.kind = TaskKind::Regression;
  regression.trigger = Trigger::Change;
  regression.score = 1e300;
  regression.high.reset();
  regression.candidates.clear();
  Prediction multiclass = regression;
  multiclass.entity_key = one_text;
  multiclass.kind = TaskKind::Multiclass;
  multiclass.trigger = Trigger::Request;
  multiclass.classes = {{"cs.LG", 0.75}, {"m\tx", 0.25}};
  multiclass.candidates = {{"ridge", 0.75, "cs.LG"}, {"mean", 0.1}};
  Prediction none = multiclass;
  none.entity_key = {};
  none.trigger = Trigger::Query;
  none.classes.clear();
  none.candidates.clear();
  const JsonCase cases[] = {
      {binary, R"({"seq":7,"task":"dnf","entity":42,"as_of":"2010-01-01T12:00:00.500000Z",)"
               R"("kind":"binary","score":0.1,"interval":[0.05,1],"model":12,)"
               R"("candidates":{"ridge":0.25,"mean":null},"trigger":"tick"})"},
      {regression, R"({"seq":7,"task":"dnf","entity":["a\"b\\\n\u0001é","1970-01-01T00:00:00Z"],)"
                   R"("as_of":"2010-01-01T12:00:00.500000Z","kind":"regression","value":1e+300,)"
                   R"("interval":null,"model":12,"candidates":{},"trigger":"change"})"},
      {multiclass, R"({"seq":7,"task":"dnf","entity":"x","as_of":"2010-01-01T12:00:00.500000Z",)"
                   R"("kind":"multiclass","classes":{"cs.LG":0.75,"m\tx":0.25},)"
                   R"("interval":null,"model":12,"candidates":{"ridge":0.75,"mean":0.1},)"
                   R"("trigger":"request","candidate_classes":{"ridge":"cs.LG"}})"},
      {none, R"({"seq":7,"task":"dnf","entity":[],"as_of":"2010-01-01T12:00:00.500000Z",)"
             R"("kind":"multiclass","classes":{},)"
             R"("interval":null,"model":12,"candidates":{},"trigger":"query"})"},
  };
  for (const JsonCase& each : cases) {
    const auto json = prediction_json(encode(each.prediction));
    ASSERT_TRUE(json);
    EXPECT_EQ(json.value(), each.json);
  }
}

TEST(PredictionJson, RefusesOtherBytes) {
  wire::Prediction strange;
  strange.set_kind(static_cast<wire::Prediction::Kind>(9));
  EXPECT_FALSE(prediction_json(strange.SerializeAsString()));
  strange.Clear();
  strange.set_trigger(static_cast<wire::Prediction::Trigger>(-1));
  EXPECT_FALSE(prediction_json(strange.SerializeAsString()));
  EXPECT_FALSE(prediction_json("\x08"));
}

TEST(PredictionHeader, LayoutIsAsDocumented) {
  PredictionHeader header;
  header.flags = PredictionHeader::flag_replayed;
  header.epoch = 0x0102030405060708;
  header.seq = PredictionSeq(2);
  header.as_of = TimeUs(-1);
  header.ordinal = Ordinal(3);
  header.model = std::numeric_limits<std::uint64_t>::max();
  const auto bytes = header.encode();
  const std::string_view frame(bytes.data(), bytes.size());
  std::string expected("ACPR\1\2\0\0\1\2\3\4\5\6\7\10", 16);
  expected.append("\0\0\0\0\0\0\0\2", 8).append(8, '\xFF');
  expected.append("\0\0\0\0\0\0\0\3", 8).append(8, '\xFF');
  EXPECT_EQ(frame, expected);
  const auto decoded = PredictionHeader::decode(frame);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded.value().encode(), bytes);
  EXPECT_EQ(decoded.value().as_of, TimeUs(-1));
}

TEST(PredictionHeader, RefusesOtherFrames) {
  const auto bytes = PredictionHeader{}.encode();
  const std::string good(bytes.data(), bytes.size());
  ASSERT_TRUE(PredictionHeader::decode(good));
  std::string magic = good;
  magic[0] = 'a';
  std::string version = good;
  version[4] = 2;
  for (const std::string& bad : {std::string(), good.substr(1), good + "x", magic, version}) {
    const auto decoded = PredictionHeader::decode(bad);
    ASSERT_FALSE(decoded);
    EXPECT_EQ(decoded.error().code, Errc::Malformed);
  }
}

TEST(PredictionTopic, NamesTaskAndKey) {
  EXPECT_EQ(prediction_topic("dnf", key({Value::of_text("a"), Value::of_integer(1)})),
            "pred/dnf/a|1");
}

}  // namespace
}  // namespace accrete
