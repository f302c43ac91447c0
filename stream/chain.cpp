// Reading and writing chain frames.
#include "stream/chain.h"

#include "proto/result.h"

namespace accrete::stream {
namespace {

std::uint64_t read_big_endian(std::string_view bytes) {
  std::uint64_t value = 0;
  for (const char byte : bytes)
    value = value << 8 | static_cast<unsigned char>(byte);
  return value;
}

}  // namespace

void append_link(std::string& frame, std::size_t prefix_bytes, std::uint64_t previous) {
  ACCRETE_CHECK(prefix_bytes <= kTopicBytesMax);
  frame.push_back(static_cast<char>(prefix_bytes >> 8));
  frame.push_back(static_cast<char>(prefix_bytes & 0xFF));
  for (int shift = 56; shift >= 0; shift -= 8) {
    frame.push_back(static_cast<char>(previous >> shift & 0xFF));
  }
}

std::optional<std::uint64_t> find_link(std::string_view frame, std::size_t prefix_bytes) {
  if (frame.size() % kLinkBytes != 0) return std::nullopt;
  for (std::size_t at = 0; at < frame.size(); at += kLinkBytes) {
    if (read_big_endian(frame.substr(at, 2)) == prefix_bytes) {
      return read_big_endian(frame.substr(at + 2, 8));
    }
  }
  return std::nullopt;
}

std::string chain_topic(std::string_view prefix) {
  std::string topic(kChainTopics);
  topic.append(prefix);
  topic.push_back('\0');
  return topic;
}

std::optional<std::string_view> prefix_of_chain(std::string_view topic) {
  if (topic.size() <= kChainTopics.size() || topic.substr(0, kChainTopics.size()) != kChainTopics ||
      topic.back() != '\0') {
    return std::nullopt;
  }
  return topic.substr(kChainTopics.size(), topic.size() - kChainTopics.size() - 1);
}

}  // namespace accrete::stream
