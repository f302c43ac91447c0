// One prediction as one line of JSON, for people and for tools without protobuf.
#include <array>

#include <stream.pb.h>

#include "proto/json_text.h"
#include "proto/prediction.h"
#include "proto/time.h"

namespace accrete {
namespace {

using json_text::append_real;
using json_text::append_string;

void append_cell(std::string& out, const wire::Cell& cell) {
  switch (cell.value_case()) {
    case wire::Cell::kFlag:
      out += cell.flag() ? "true" : "false";
      return;
    case wire::Cell::kInteger:
      out += std::to_string(cell.integer());
      return;
    case wire::Cell::kReal:
      append_real(out, cell.real());
      return;
    case wire::Cell::kText:
      append_string(out, cell.text());
      return;
    case wire::Cell::kTimeUs:
      append_string(out, format_time(TimeUs(cell.time_us())));
      return;
    case wire::Cell::kUnchanged:
    case wire::Cell::VALUE_NOT_SET:
      out += "null";
      return;
  }
}

/// A simple key as a scalar, a composite one as an array.
void append_entity(std::string& out, const wire::Prediction& prediction) {
  if (prediction.entity_size() == 1) return append_cell(out, prediction.entity(0));
  out += '[';
  for (int i = 0; i < prediction.entity_size(); ++i) {
    if (i > 0) out += ',';
    append_cell(out, prediction.entity(i));
  }
  out += ']';
}

bool append_outcome(std::string& out, const wire::Prediction& prediction) {
  switch (prediction.kind()) {
    case wire::Prediction::BINARY:
      out += "\"binary\",\"score\":";
      append_real(out, prediction.score());
      return true;
    case wire::Prediction::REGRESSION:
      out += "\"regression\",\"value\":";
      append_real(out, prediction.score());
      return true;
    case wire::Prediction::MULTICLASS:
      out += "\"multiclass\",\"classes\":{";
      for (int i = 0; i < prediction.classes_size(); ++i) {
        if (i > 0) out += ',';
        append_string(out, prediction.classes(i).label());
        out += ':';
        append_real(out, prediction.classes(i).probability());
      }
      out += '}';
      return true;
    case wire::Prediction::RANKING:
      out += "\"ranking\",\"items\":[";
      for (int i = 0; i < prediction.classes_size(); ++i) {
        out += i > 0 ? ",{\"item\":" : "{\"item\":";
        append_string(out, prediction.classes(i).label());
        out += ",\"score\":";
        append_real(out, prediction.classes(i).probability());
        out += '}';
      }
      out += ']';
      return true;
    default:
      return false;
  }
}

void append_interval(std::string& out, const wire::Prediction& prediction) {
  if (!prediction.has_low() || !prediction.has_high()) {
    out += "null";
    return;
  }
  out += '[';
  append_real(out, prediction.low());
  out += ',';
  append_real(out, prediction.high());
  out += ']';
}

/// Only where some candidate tells its own class.
void append_candidate_classes(std::string& out, const wire::Prediction& prediction) {
  std::string_view before = ",\"candidate_classes\":{";
  for (const wire::Candidate& candidate : prediction.candidates()) {
    if (candidate.label().empty()) continue;
    out += before;
    append_string(out, candidate.name());
    out += ':';
    append_string(out, candidate.label());
    before = ",";
  }
  if (before == ",") out += '}';
}

constexpr std::array<std::string_view, 5> kTriggerNames{"tick", "change", "request", "query",
                                                        "arrival"};

}  // namespace

Result<std::string> prediction_json(std::string_view payload) {
  wire::Prediction prediction;
  if (!prediction.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
    return Error{Errc::Malformed,
                 "not a serialized prediction (" + std::to_string(payload.size()) + " bytes)"};
  }
  const auto trigger = static_cast<std::size_t>(prediction.trigger());
  if (trigger >= kTriggerNames.size()) {
    return Error{Errc::Malformed, "prediction of an unknown trigger"};
  }
  std::string out = "{\"seq\":" + std::to_string(prediction.seq()) + ",\"task\":";
  append_string(out, prediction.task());
  out += ",\"entity\":";
  append_entity(out, prediction);
  out += ",\"as_of\":";
  append_string(out, format_time(TimeUs(prediction.as_of_us())));
  out += ",\"kind\":";
  if (!append_outcome(out, prediction)) {
    return Error{Errc::Malformed, "prediction of an unknown kind"};
  }
  out += ",\"interval\":";
  append_interval(out, prediction);
  out += ",\"model\":" + std::to_string(prediction.model()) + ",\"candidates\":{";
  for (int i = 0; i < prediction.candidates_size(); ++i) {
    if (i > 0) out += ',';
    append_string(out, prediction.candidates(i).name());
    out += ':';
    append_real(out, prediction.candidates(i).score());
  }
  out += "},\"trigger\":";
  append_string(out, kTriggerNames[trigger]);
  append_candidate_classes(out, prediction);
  out += '}';
  return out;
}

}  // namespace accrete
