// Bodies of events taken apart: arrays and lines, wrappers, and which events are the same.
#include "daemon/event_body.h"

#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "event_text.h"

namespace accrete::daemon {
namespace {

constexpr const char* kConfig = R"(
[[table]]
name = "t"
key = "id"
)";

std::vector<std::string> split(std::string_view body) {
  const auto events = split_events(body);
  if (!events) return {"error " + events.error().detail};
  return {events.value().begin(), events.value().end()};
}

class EventBodyTest : public testing::Test {
 protected:
  /// Identities of the events, 0 for none.
  std::vector<std::uint64_t> identities(std::string_view body, EventFormat format,
                                        std::string_view key = "") {
    const auto decoded = decode_events(body, key, format, schema_);
    EXPECT_TRUE(decoded) << (decoded ? "" : decoded.error().detail);
    std::vector<std::uint64_t> out;
    if (!decoded) return out;
    for (const stream::OfferedEvent& event : decoded.value().offer.events)
      out.push_back(event.identity);
    return out;
  }
  Schema schema_ = schema_of(kConfig);
};

TEST(SplitEvents, TakesOneEventAnArrayOrOneAfterTheOther) {
  using Parts = std::vector<std::string>;
  EXPECT_EQ(split(""), Parts{});
  EXPECT_EQ(split(" \r\n\t"), Parts{});
  EXPECT_EQ(split(R"({"a":"}"})"), Parts{R"({"a":"}"})"});
  EXPECT_EQ(split("{\"a\":1}\n{\"b\":[2,{}]} {}"), (Parts{R"({"a":1})", R"({"b":[2,{}]})", "{}"}));
  EXPECT_EQ(split(R"( [ {"a":"]\""} , null,{} ] )"), (Parts{R"({"a":"]\""})", "null", "{}"}));
  EXPECT_EQ(split("[]"), Parts{});
  EXPECT_EQ(split("{\n \"a\":\n 1}"), Parts{"{\n \"a\":\n 1}"}) << "an event may span lines";
}

TEST(SplitEvents, SaysWhereAnArrayIsBroken) {
  for (const auto& [body, why] :
       std::map<std::string, std::string>{{"[", "after 0 events: expected an event or ]"},
                                          {"[1 2]", "after 1 events: expected , or ]"},
                                          {"[1,", "expected an event or ]"},
                                          {"[1,]", "ends with a comma"},
                                          {"[1] 2", "more after the array"},
                                          {"{} ]", "event 2: expected one object"}}) {
    const auto said = split(body);
    ASSERT_EQ(said.size(), 1u) << body;
    EXPECT_NE(said[0].find(why), std::string::npos) << said[0];
  }
}

TEST_F(EventBodyTest, PlaceAndRowMakeAnEventTheSame) {
  const std::string one =
      R"({"op":"c","after":{"id":1,"x":2},"source":{"table":"t","lsn":7,"txId":3}})";
  const std::string other_order =
      R"({"source":{"table":"t","lsn":7,"txId":3},"after":{"x":2,"id":1},"op":"c"})";
  const std::string other_row =
      R"({"op":"c","after":{"id":2,"x":2},"source":{"table":"t","lsn":7,"txId":3}})";
  const std::string other_place =
      R"({"op":"c","after":{"id":1,"x":2},"source":{"table":"t","lsn":8,"txId":3}})";
  const auto ids = identities(one + other_order + other_row + other_place, EventFormat::Debezium);
  ASSERT_EQ(ids.size(), 4u);
  EXPECT_NE(ids[0], 0u);
  EXPECT_EQ(ids[0], ids[1]);
  EXPECT_NE(ids[0], ids[2]);
  EXPECT_NE(ids[0], ids[3]);
  EXPECT_EQ(identities("[" + other_place + "," + one + "]", EventFormat::Debezium)[1], ids[0])
      << "whatever else is in the body";
}

TEST_F(EventBodyTest, AKeyMakesABodyKnown) {
  const std::string two = R"({"table":"t","row":{"id":1}}{"table":"t","row":{"id":1}})";
  EXPECT_EQ(identities(two, EventFormat::Native), (std::vector<std::uint64_t>{0, 0}));
  const auto keyed = identities(two, EventFormat::Native, "k");
  EXPECT_NE(keyed[0], keyed[1]) << "two events, though they say the same";
  EXPECT_EQ(keyed, identities(two, EventFormat::Native, "k"));
  EXPECT_NE(keyed, identities(two, EventFormat::Native, "l"));
}

TEST_F(EventBodyTest, AnErrorNamesTheEventAndNothingIsLeft) {
  const auto decoded = decode_events(R"({"table":"t","row":{"id":1}}{"table":"t","row":{}})", "",
                                     EventFormat::Native, schema_);
  ASSERT_FALSE(decoded);
  EXPECT_TRUE(decoded.error().detail.starts_with("event 2: ")) << decoded.error().detail;
  const auto nothing = decode_events("", "", EventFormat::Debezium, schema_);
  ASSERT_TRUE(nothing);
  EXPECT_EQ(nothing.value().passed_over, 1u);
  EXPECT_TRUE(nothing.value().offer.ends.empty());
}

TEST_F(EventBodyTest, BinaryCloudEventsAreOneEvent) {
  const EventHeaders headers = {
      {"ce-id", "7"}, {"ce-source", "/s"}, {"ce-specversion", "1.0"}, {"host", "a\"b"}};
  const std::string body = R"({"table":"t","row":{"id":1}})";
  const auto decoded = decode_cloud_event(headers, body, "", EventFormat::Native, schema_);
  ASSERT_TRUE(decoded) << decoded.error().detail;
  ASSERT_EQ(decoded.value().offer.events.size(), 1u);
  EXPECT_NE(decoded.value().offer.events[0].identity, 0u);
  const std::string structured =
      R"({"specversion":"1.0","id":"7","source":"/s","data":{"table":"t","row":{"id":1}}})";
  EXPECT_EQ(identities(structured, EventFormat::Native)[0],
            decoded.value().offer.events[0].identity);
  EXPECT_FALSE(decode_cloud_event(headers, body + "{}", "", EventFormat::Native, schema_))
      << "one event, not two";
}

}  // namespace
}  // namespace accrete::daemon
