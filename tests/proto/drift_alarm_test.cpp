// Alarms of drift: bytes and back, their JSON line, header and topic.
#include "proto/drift_alarm.h"

#include <limits>

#include <gtest/gtest.h>
#include <stream.pb.h>

namespace accrete {
namespace {

DriftAlarm example() {
  DriftAlarm alarm;
  alarm.task = "churn \"EU\"";
  alarm.detector = DriftDetector::PageHinkley;
  alarm.count = 3;
  alarm.as_of = TimeUs{1'600'000'000'000'000};
  alarm.before = 0.25;
  alarm.after = 0.75;
  alarm.window = 41;
  alarm.model = 9000;
  alarm.ordinal = Ordinal{123};
  alarm.seq = PredictionSeq{77};
  return alarm;
}

std::string encoded(const DriftAlarm& alarm) {
  std::string out;
  encode_drift_alarm(alarm, out);
  return out;
}

TEST(DriftAlarm, ComesBackFromItsBytes) {
  DriftAlarm alarm = example();
  const auto back = decode_drift_alarm(encoded(alarm));
  ASSERT_TRUE(back) << back.error().detail;
  EXPECT_EQ(back.value(), alarm);
  EXPECT_EQ(encoded(back.value()), encoded(alarm));
  alarm.as_of = TimeUs{-5};
  alarm.detector = DriftDetector::Adwin;
  EXPECT_EQ(decode_drift_alarm(encoded(alarm)).value(), alarm);
}

TEST(DriftAlarm, IsOneLineOfJson) {
  EXPECT_EQ(drift_alarm_json(encoded(example())).value(),
            R"({"task":"churn \"EU\"","detector":"page-hinkley","count":3,)"
            R"("as_of":"2020-09-13T12:26:40Z","before":0.25,"after":0.75,"window":41,)"
            R"("model":9000,"seq":77})");
  DriftAlarm wild = example();
  wild.after = std::numeric_limits<double>::infinity();
  EXPECT_NE(drift_alarm_json(encoded(wild)).value().find("\"after\":null"), std::string::npos);
}

TEST(DriftAlarm, RefusesOtherBytes) {
  const std::string bytes = encoded(example());
  EXPECT_FALSE(decode_drift_alarm(bytes.substr(0, bytes.size() / 2)));
  wire::DriftAlarm message;
  message.set_detector(static_cast<wire::DriftAlarm::Detector>(9));
  const auto unknown = decode_drift_alarm(message.SerializeAsString());
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, Errc::Malformed);
}

TEST(DriftAlarm, TravelsAsAStatementAboutTheNewestNumber) {
  const PredictionHeader header = drift_header(example(), 5);
  const auto frame = header.encode();
  const auto back = PredictionHeader::decode({frame.data(), frame.size()});
  ASSERT_TRUE(back);
  EXPECT_EQ(back.value().flags, PredictionHeader::flag_progress | PredictionHeader::flag_alarm);
  EXPECT_EQ(back.value().epoch, 5u);
  EXPECT_EQ(back.value().seq, PredictionSeq{77});
  EXPECT_EQ(drift_topic("churn"), "drift/churn");
}

}  // namespace
}  // namespace accrete
