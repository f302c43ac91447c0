// News of experts to bytes, to JSON and back.
#include "proto/expert_news.h"

#include <stream.pb.h>

#include "proto/json_text.h"
#include "proto/time.h"

namespace accrete {

std::string_view news_name(ExpertNewsKind kind) {
  switch (kind) {
    case ExpertNewsKind::Birth:
      return "birth";
    case ExpertNewsKind::Merge:
      return "merge";
    case ExpertNewsKind::Freeze:
      return "freeze";
    case ExpertNewsKind::Rollback:
      break;
  }
  return "rollback";
}

void encode_expert_news(const ExpertNews& news, std::string& out) {
  wire::ExpertNews message;
  message.set_task(news.task);
  message.set_count(news.count);
  message.set_kind(static_cast<wire::ExpertNews::Kind>(news.kind));
  message.set_as_of_us(news.as_of.value);
  message.set_block(news.block);
  message.mutable_parents()->Add(news.parents.begin(), news.parents.end());
  message.set_model(news.model);
  message.set_ordinal(news.ordinal.value);
  message.set_seq(news.seq.value);
  message.set_first(news.first);
  message.set_worst_block(news.worst_block);
  message.set_loss_before(news.loss_before);
  message.set_loss_after(news.loss_after);
  message.set_rise_before(news.rise_before);
  message.set_rise_after(news.rise_after);
  message.set_sharper(news.sharper);
  // A message without maps and unknown fields is written in the order of its fields.
  ACCRETE_CHECK(message.AppendToString(&out));
}

Result<ExpertNews> decode_expert_news(std::string_view payload) {
  wire::ExpertNews message;
  if (!message.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
    return Error{Errc::Malformed,
                 "not serialized news of experts (" + std::to_string(payload.size()) + " bytes)"};
  }
  if (!wire::ExpertNews::Kind_IsValid(message.kind())) {
    return Error{Errc::Malformed, "news of experts of an unknown kind"};
  }
  ExpertNews news;
  news.task = message.task();
  news.count = message.count();
  news.kind = static_cast<ExpertNewsKind>(message.kind());
  news.as_of = TimeUs{message.as_of_us()};
  news.block = message.block();
  news.parents.assign(message.parents().begin(), message.parents().end());
  news.first = message.first();
  news.worst_block = message.worst_block();
  news.loss_before = message.loss_before();
  news.loss_after = message.loss_after();
  news.rise_before = message.rise_before();
  news.rise_after = message.rise_after();
  news.sharper = message.sharper();
  news.model = message.model();
  news.ordinal = Ordinal{message.ordinal()};
  news.seq = PredictionSeq{message.seq()};
  return news;
}

namespace {

/// What became of experts: whose copies they are, or which were merged at what cost.
void append_change(const ExpertNews& news, std::string& out) {
  if (news.kind == ExpertNewsKind::Freeze) {
    out += ",\"expert\":" + std::to_string(news.first);
    return;
  }
  if (!news.parents.empty() || news.kind == ExpertNewsKind::Birth) {
    out += ",\"parents\":[";
    for (std::size_t layer = 0; layer < news.parents.size(); ++layer)
      out += (layer > 0 ? "," : "") + std::to_string(news.parents[layer]);
    out += ']';
  } else {
    out += ",\"expert\":" + std::to_string(news.first) +
           ",\"with\":" + std::to_string(news.first + 1) +
           ",\"loss\":{\"block\":" + std::to_string(news.worst_block) + ",\"before\":";
    json_text::append_real(out, news.loss_before);
    out += ",\"after\":";
    json_text::append_real(out, news.loss_after);
    out += '}';
  }
  out += ",\"rise\":{\"before\":";
  json_text::append_real(out, news.rise_before);
  out += ",\"after\":";
  json_text::append_real(out, news.rise_after);
  out += '}';
  if (news.kind == ExpertNewsKind::Rollback)
    out += std::string(",\"reason\":\"") + (news.sharper ? "sharper" : "loss") + '"';
}

}  // namespace

Result<std::string> expert_news_json(std::string_view payload) {
  ACCRETE_TRY(const ExpertNews news, decode_expert_news(payload));
  std::string out = "{\"task\":";
  json_text::append_string(out, news.task);
  out += ",\"count\":" + std::to_string(news.count) + ",\"kind\":";
  json_text::append_string(out, news_name(news.kind));
  out += ",\"as_of\":";
  json_text::append_string(out, format_time(news.as_of));
  out += ",\"block\":" + std::to_string(news.block);
  append_change(news, out);
  out += ",\"model\":" + std::to_string(news.model) + ",\"seq\":" + std::to_string(news.seq.value) +
         '}';
  return out;
}

PredictionHeader expert_news_header(const ExpertNews& news, std::uint64_t epoch) {
  PredictionHeader header;
  header.flags = PredictionHeader::flag_progress | PredictionHeader::flag_experts;
  header.epoch = epoch;
  header.seq = news.seq;
  header.as_of = news.as_of;
  header.ordinal = news.ordinal;
  header.model = news.model;
  return header;
}

std::string expert_news_topic(std::string_view task) {
  return "experts/" + std::string(task);
}

}  // namespace accrete
