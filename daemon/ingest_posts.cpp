// Who may send, what is read of it, and what is answered.
#include "daemon/ingest_posts.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <memory>
#include <utility>

#include <nlohmann/json.hpp>
#include <openssl/crypto.h>
#include <sys/stat.h>

#include "daemon/event_body.h"
#include "proto/limits.h"

namespace accrete::daemon {
namespace {

constexpr std::string_view kPath = "/ingest";
constexpr std::string_view kSourcePrefix = "http/";  // so that no producer's positions are met
constexpr std::size_t kTokenLeast = 16;
constexpr std::size_t kTokenMost = 4096;

HttpAnswer json_answer(unsigned status, const nlohmann::ordered_json& json) {
  using nlohmann::ordered_json;
  // What a sender wrote may not be UTF-8.
  return {status, "application/json",
          json.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n"};
}

HttpAnswer refusal(unsigned status, const std::string& why) {
  return json_answer(status, {{"error", why}});
}

HttpAnswer try_again(const std::string& why) {
  HttpAnswer answer = refusal(503, why);
  answer.headers.emplace_back("Retry-After", "1");
  return answer;
}

/// In a time that tells nothing of where they differ.
bool same_token(std::string_view given, std::string_view token) {
  return given.size() == token.size() &&
         CRYPTO_memcmp(given.data(), token.data(), token.size()) == 0;
}

bool is_json(std::string_view type) {
  type = type.substr(0, type.find(';'));
  while (type.ends_with(' '))
    type.remove_suffix(1);
  std::string lower(type);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char letter) {
    return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter + 32)
                                          : static_cast<char>(letter);
  });
  constexpr std::array<std::string_view, 5> kTypes = {"", "application/json",
                                                      "application/x-ndjson", "application/jsonl",
                                                      "application/x-json-stream"};
  return std::find(kTypes.begin(), kTypes.end(), lower) != kTypes.end() ||
         (lower.starts_with("application/") && lower.ends_with("+json"));
}

std::string text_of(const HttpPost::Fields& fields, std::string_view name) {
  const auto found = fields.find(name);
  return found == fields.end() ? std::string() : found->second;
}

Result<DecodedBody> decode(const HttpPost& post, EventFormat format, const Schema& schema) {
  const std::string_view key = post.header("idempotency-key");
  if (post.header("ce-specversion").empty()) return decode_events(post.body, key, format, schema);
  return decode_cloud_event(post.headers, post.body, key, format, schema);
}

HttpAnswer outcome_answer(const Status& status, const stream::OfferOutcome& outcome,
                          std::uint64_t passed_over, const std::vector<std::string>& doubts = {}) {
  if (status) {
    nlohmann::ordered_json said = {
        {"rows", outcome.rows}, {"duplicates", outcome.duplicates}, {"passed_over", passed_over}};
    if (!doubts.empty()) said["doubts"] = doubts;
    return json_answer(200, said);
  }
  const std::string where =
      outcome.event == 0 ? "" : "event " + std::to_string(outcome.event) + ": ";
  const std::string why = where + status.error().detail + "; nothing of the request was taken";
  if (status.error().code == Errc::Malformed) return refusal(400, why);
  return try_again(why);
}

}  // namespace

Result<std::string> read_token(const std::string& path) {
  struct stat info {};
  std::ifstream file(path, std::ios::binary);
  std::string token;
  if (!file || ::stat(path.c_str(), &info) != 0)
    return Error{Errc::NotFound, "cannot read the token file " + path};
  if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return Error{Errc::Malformed,
                 path + " holds a secret and others may read it; chmod 600 " + path};
  }
  std::getline(file, token);
  while (token.ends_with('\r') || token.ends_with(' '))
    token.pop_back();
  const bool visible = std::all_of(token.begin(), token.end(),
                                   [](char letter) { return letter > ' ' && letter < 0x7F; });
  if (!visible || token.size() < kTokenLeast || token.size() > kTokenMost) {
    return Error{Errc::Malformed, path + ": the first line must be a token of " +
                                      std::to_string(kTokenLeast) + " to " +
                                      std::to_string(kTokenMost) +
                                      " visible characters, as `openssl rand -hex 32` prints one"};
  }
  return token;
}

std::optional<HttpAnswer> IngestPosts::check_sender(const HttpPost& head) const {
  // A page of elsewhere can have a browser send something, but not without this header.
  if (!head.header("origin").empty())
    return refusal(403, "requests of web pages are not taken; send from a program");
  if (world_.token.empty()) {
    if (world_.loopback) return std::nullopt;
    return refusal(403,
                   "no rows are taken on a public address without a token; give [endpoints] "
                   "http_token_file, or send to a loopback address");
  }
  constexpr std::string_view kScheme = "Bearer ";
  const std::string_view given = head.header("authorization");
  if (given.starts_with(kScheme) && same_token(given.substr(kScheme.size()), world_.token))
    return std::nullopt;
  HttpAnswer answer = refusal(401,
                              "send Authorization: Bearer TOKEN, with the token of [endpoints] "
                              "http_token_file");
  answer.headers.emplace_back("WWW-Authenticate", "Bearer");
  return answer;
}

std::optional<HttpAnswer> IngestPosts::check(const HttpPost& head) const {
  if (head.path != kPath) return refusal(404, "rows are sent to /ingest?format=FORMAT");
  if (auto answer = check_sender(head)) return answer;
  if (!is_json(head.header("content-type"))) {
    return refusal(415,
                   "the body must be application/json, application/x-ndjson or "
                   "application/cloudevents+json");
  }
  if (!head.header("content-encoding").empty())
    return refusal(415, "a compressed body is not read; leave out Content-Encoding");
  for (const auto& [name, value] : head.query) {
    if (name != "format" && name != "source")
      return refusal(400, "unknown parameter \"" + name + "\"; known are format and source");
  }
  if (const std::string format = text_of(head.query, "format"); !event_format(format)) {
    std::string known;
    for (const std::string& name : event_formats())
      known += (known.empty() ? "" : ", ") + name;
    return refusal(400, "?format= must be one of " + known + "; it is \"" + format + "\"");
  }
  if (text_of(head.query, "source").size() + kSourcePrefix.size() > limits::name_bytes_max)
    return refusal(400, "a source's name is too long");
  if (!world_.open()) return try_again("the log is still being folded; see /readyz");
  return std::nullopt;
}

std::optional<HttpAnswer> IngestPosts::refuse(const HttpPost& head) {
  std::optional<HttpAnswer> answer = check(head);
  if (answer)
    ++(answer->status == 503 ? world_.gauges->posts_delayed : world_.gauges->posts_refused);
  return answer;
}

void IngestPosts::take(HttpPost post, HttpReply reply) {
  const std::string format = text_of(post.query, "format");
  auto decoded = decode(post, *event_format(format), *world_.schema);
  if (!decoded) {
    ++world_.gauges->posts_refused;
    reply(refusal(400, decoded.error().detail + "; nothing of the request was taken"));
    return;
  }
  const std::uint64_t passed_over = decoded.value().passed_over;
  stream::Offer offer = std::move(decoded.value().offer);
  if (offer.ends.empty()) {
    ++world_.gauges->posts_taken;
    reply(outcome_answer(Ok{}, {}, passed_over));
    return;
  }
  const std::string source = text_of(post.query, "source");
  offer.source = std::string(kSourcePrefix) + (source.empty() ? format : source);
  offer.answer = [gauges = world_.gauges, reply, passed_over,
                  doubts = std::move(decoded.value().doubts)](const Status& status,
                                                              const stream::OfferOutcome& outcome) {
    const bool malformed = !status && status.error().code == Errc::Malformed;
    ++(status ? gauges->posts_taken : malformed ? gauges->posts_refused : gauges->posts_delayed);
    reply(outcome_answer(status, outcome, passed_over, doubts));
  };
  if (world_.offers->try_send(offer)) return;
  ++world_.gauges->posts_delayed;
  reply(try_again("too many requests wait for the log; send it again; nothing was taken"));
}

}  // namespace accrete::daemon
