// Predictions to bytes: the protobuf payload (written by hand, in protobuf's own field order, so
// that equal predictions give equal bytes), the fixed header and the topic.
#include "proto/prediction.h"

#include <bit>
#include <cstring>

#include "proto/limits.h"
#include "proto/value.h"
#include "proto/wire_bytes.h"
#include "proto/wire_cell.h"

namespace accrete {
namespace {

using wire_bytes::bytes_field_size;
using wire_bytes::put_bytes;
using wire_bytes::put_fixed64;
using wire_bytes::put_varint;
using wire_bytes::tag_of;
using wire_bytes::varint_size;
using wire_bytes::WireType;
using wire_bytes::zigzag;

// Tags, named for message and field of stream.proto.
constexpr std::uint32_t kSeq = tag_of(1, WireType::Varint);
constexpr std::uint32_t kTask = tag_of(2, WireType::Bytes);
constexpr std::uint32_t kEntity = tag_of(3, WireType::Bytes);
constexpr std::uint32_t kAsOf = tag_of(4, WireType::Varint);
constexpr std::uint32_t kTrigger = tag_of(5, WireType::Varint);
constexpr std::uint32_t kKind = tag_of(6, WireType::Varint);
constexpr std::uint32_t kScore = tag_of(7, WireType::Fixed64);
constexpr std::uint32_t kClasses = tag_of(8, WireType::Bytes);
constexpr std::uint32_t kLow = tag_of(9, WireType::Fixed64);
constexpr std::uint32_t kHigh = tag_of(10, WireType::Fixed64);
constexpr std::uint32_t kModel = tag_of(11, WireType::Varint);
constexpr std::uint32_t kCandidates = tag_of(12, WireType::Bytes);
constexpr std::uint32_t kOrdinal = tag_of(13, WireType::Varint);
static_assert(kOrdinal < 0x80, "every tag is one byte");
// ClassScore and Candidate begin with the same shape: a name and a number.
constexpr std::uint32_t kNamedName = tag_of(1, WireType::Bytes);
constexpr std::uint32_t kNamedNumber = tag_of(2, WireType::Fixed64);
constexpr std::uint32_t kNamedLabel = tag_of(3, WireType::Bytes);

std::uint64_t bits_of(double value) {
  return std::bit_cast<std::uint64_t>(value);
}

std::size_t number_size(std::uint64_t value) {
  return value == 0 ? 0 : 1 + varint_size(value);
}
std::size_t text_size(std::string_view text) {
  return text.empty() ? 0 : bytes_field_size(text.size());
}
std::size_t real_size(double value) {
  return bits_of(value) == 0 ? 0 : 9;
}
std::size_t named_size(std::string_view name, double number, std::string_view label = {}) {
  return text_size(name) + real_size(number) + text_size(label);
}

char* put_number(char* at, std::uint32_t tag, std::uint64_t value) {
  return value == 0 ? at : put_varint(put_varint(at, tag), value);
}
char* put_text(char* at, std::uint32_t tag, std::string_view text) {
  return text.empty() ? at : put_bytes(put_varint(at, tag), text);
}
char* put_real(char* at, std::uint32_t tag, double value) {
  return bits_of(value) == 0 ? at : put_fixed64(put_varint(at, tag), bits_of(value));
}
char* put_named(char* at, std::uint32_t tag, std::string_view name, double number,
                std::string_view label = {}) {
  at = put_varint(put_varint(at, tag), named_size(name, number, label));
  at = put_real(put_text(at, kNamedName, name), kNamedNumber, number);
  return put_text(at, kNamedLabel, label);
}

struct Entity {
  std::array<Value, limits::key_columns_max> parts;
  std::size_t count = 0;
};

std::size_t prediction_size(const Prediction& prediction, const Entity& entity) {
  std::size_t size = number_size(prediction.seq.value) + text_size(prediction.task) +
                     number_size(zigzag(prediction.as_of.value)) +
                     number_size(static_cast<std::uint64_t>(prediction.trigger)) +
                     number_size(static_cast<std::uint64_t>(prediction.kind)) +
                     real_size(prediction.score) + (prediction.low ? 9 : 0) +
                     (prediction.high ? 9 : 0) + number_size(prediction.model) +
                     number_size(prediction.ordinal.value);
  for (std::size_t i = 0; i < entity.count; ++i) {
    size += bytes_field_size(wire_bytes::cell_size(entity.parts[i]));
  }
  for (const ClassScore& score : prediction.classes) {
    size += bytes_field_size(named_size(score.label, score.probability));
  }
  for (const CandidateScore& score : prediction.candidates) {
    size += bytes_field_size(named_size(score.name, score.score, score.label));
  }
  return size;
}

void put_big_endian(char* at, std::uint64_t value) {
  for (int i = 0; i < 8; ++i) {
    at[i] = static_cast<char>(value >> (56 - 8 * i) & 0xFF);
  }
}

std::uint64_t load_big_endian(const char* at) {
  std::uint64_t value = 0;
  for (int i = 0; i < 8; ++i) {
    value = value << 8 | static_cast<unsigned char>(at[i]);
  }
  return value;
}

constexpr std::string_view kMagic = "ACPR";
constexpr char kVersion = 1;

}  // namespace

std::string_view task_kind_name(TaskKind kind) {
  constexpr std::array<std::string_view, 4> kNames{"binary", "regression", "multiclass", "ranking"};
  return kNames[static_cast<std::size_t>(kind)];
}

void encode_prediction(const Prediction& prediction, std::string& out) {
  Entity entity;
  ACCRETE_CHECK(decode_key(prediction.entity_key, entity.parts, entity.count));
  const std::size_t before = out.size();
  out.resize(before + prediction_size(prediction, entity));
  char* at = out.data() + before;
  at = put_number(at, kSeq, prediction.seq.value);
  at = put_text(at, kTask, prediction.task);
  for (std::size_t i = 0; i < entity.count; ++i) {
    at = wire_bytes::put_cell(at, kEntity, entity.parts[i]);
  }
  at = put_number(at, kAsOf, zigzag(prediction.as_of.value));
  at = put_number(at, kTrigger, static_cast<std::uint64_t>(prediction.trigger));
  at = put_number(at, kKind, static_cast<std::uint64_t>(prediction.kind));
  at = put_real(at, kScore, prediction.score);
  for (const ClassScore& score : prediction.classes) {
    at = put_named(at, kClasses, score.label, score.probability);
  }
  if (prediction.low) at = put_fixed64(put_varint(at, kLow), bits_of(*prediction.low));
  if (prediction.high) at = put_fixed64(put_varint(at, kHigh), bits_of(*prediction.high));
  at = put_number(at, kModel, prediction.model);
  for (const CandidateScore& score : prediction.candidates) {
    at = put_named(at, kCandidates, score.name, score.score, score.label);
  }
  at = put_number(at, kOrdinal, prediction.ordinal.value);
  ACCRETE_CHECK(at == out.data() + out.size());
}

std::array<char, PredictionHeader::bytes> PredictionHeader::encode() const {
  std::array<char, bytes> out{};
  std::memcpy(out.data(), kMagic.data(), kMagic.size());
  out[4] = kVersion;
  out[5] = static_cast<char>(flags);
  put_big_endian(out.data() + 8, epoch);
  put_big_endian(out.data() + 16, seq.value);
  put_big_endian(out.data() + 24, static_cast<std::uint64_t>(as_of.value));
  put_big_endian(out.data() + 32, ordinal.value);
  put_big_endian(out.data() + 40, model);
  return out;
}

Result<PredictionHeader> PredictionHeader::decode(std::string_view frame) {
  if (frame.size() != bytes) {
    return Error{Errc::Malformed, "prediction header of " + std::to_string(frame.size()) +
                                      " bytes; expected " + std::to_string(bytes)};
  }
  if (frame.substr(0, kMagic.size()) != kMagic) {
    return Error{Errc::Malformed, "prediction header does not start with \"ACPR\""};
  }
  if (frame[4] != kVersion) {
    return Error{Errc::Malformed, "prediction header version " +
                                      std::to_string(static_cast<unsigned char>(frame[4])) +
                                      "; this is version 1"};
  }
  PredictionHeader out;
  out.flags = static_cast<std::uint8_t>(frame[5]);
  out.epoch = load_big_endian(frame.data() + 8);
  out.seq = PredictionSeq(load_big_endian(frame.data() + 16));
  out.as_of = TimeUs(static_cast<std::int64_t>(load_big_endian(frame.data() + 24)));
  out.ordinal = Ordinal(load_big_endian(frame.data() + 32));
  out.model = load_big_endian(frame.data() + 40);
  return out;
}

std::string prediction_topic(std::string_view task, std::string_view entity_key) {
  std::string out = "pred/";
  out += task;
  out += '/';
  out += key_text(entity_key);
  return out;
}

}  // namespace accrete
