// Alarms to bytes, to JSON and back.
#include "proto/drift_alarm.h"

#include <stream.pb.h>

#include "proto/json_text.h"
#include "proto/time.h"

namespace accrete {

std::string_view detector_name(DriftDetector detector) {
  return detector == DriftDetector::Adwin ? "adwin" : "page-hinkley";
}

void encode_drift_alarm(const DriftAlarm& alarm, std::string& out) {
  wire::DriftAlarm message;
  message.set_task(alarm.task);
  message.set_detector(static_cast<wire::DriftAlarm::Detector>(alarm.detector));
  message.set_count(alarm.count);
  message.set_as_of_us(alarm.as_of.value);
  message.set_before(alarm.before);
  message.set_after(alarm.after);
  message.set_window(alarm.window);
  message.set_model(alarm.model);
  message.set_ordinal(alarm.ordinal.value);
  message.set_seq(alarm.seq.value);
  // A message without maps and unknown fields is written in the order of its fields.
  ACCRETE_CHECK(message.AppendToString(&out));
}

Result<DriftAlarm> decode_drift_alarm(std::string_view payload) {
  wire::DriftAlarm message;
  if (!message.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
    return Error{Errc::Malformed,
                 "not a serialized alarm (" + std::to_string(payload.size()) + " bytes)"};
  }
  if (!wire::DriftAlarm::Detector_IsValid(message.detector())) {
    return Error{Errc::Malformed, "an alarm of an unknown detector"};
  }
  DriftAlarm alarm;
  alarm.task = message.task();
  alarm.detector = static_cast<DriftDetector>(message.detector());
  alarm.count = message.count();
  alarm.as_of = TimeUs{message.as_of_us()};
  alarm.before = message.before();
  alarm.after = message.after();
  alarm.window = message.window();
  alarm.model = message.model();
  alarm.ordinal = Ordinal{message.ordinal()};
  alarm.seq = PredictionSeq{message.seq()};
  return alarm;
}

Result<std::string> drift_alarm_json(std::string_view payload) {
  ACCRETE_TRY(const DriftAlarm alarm, decode_drift_alarm(payload));
  std::string out = "{\"task\":";
  json_text::append_string(out, alarm.task);
  out += ",\"detector\":";
  json_text::append_string(out, detector_name(alarm.detector));
  out += ",\"count\":" + std::to_string(alarm.count) + ",\"as_of\":";
  json_text::append_string(out, format_time(alarm.as_of));
  out += ",\"before\":";
  json_text::append_real(out, alarm.before);
  out += ",\"after\":";
  json_text::append_real(out, alarm.after);
  out += ",\"window\":" + std::to_string(alarm.window) +
         ",\"model\":" + std::to_string(alarm.model) +
         ",\"seq\":" + std::to_string(alarm.seq.value) + '}';
  return out;
}

PredictionHeader drift_header(const DriftAlarm& alarm, std::uint64_t epoch) {
  PredictionHeader header;
  header.flags = PredictionHeader::flag_progress | PredictionHeader::flag_alarm;
  header.epoch = epoch;
  header.seq = alarm.seq;
  header.as_of = alarm.as_of;
  header.ordinal = alarm.ordinal;
  header.model = alarm.model;
  return header;
}

std::string drift_topic(std::string_view task) {
  return "drift/" + std::string(task);
}

}  // namespace accrete
