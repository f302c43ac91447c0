// The chain frame: how a subscriber to any topic prefix knows that nothing is missing.
//
// Sequence numbers are global over all topics, so a filtered stream has holes that are no losses,
// while ZeroMQ drops silently when a pipe is full. Therefore every prediction carries, as a fourth
// frame, one link for each tracked prefix of its topic, and says: under this prefix there is no
// number between `previous` and mine. Who is complete up to `previous` may take mine; who is not
// has lost something and asks for replay. A prefix is tracked while somebody subscribes to its
// chain topic, on which the same statement about the newest number of all is repeated on a timer.
//
// A link is 10 bytes, big-endian: u16 length of the prefix, u64 previous.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace accrete::stream {

inline constexpr std::size_t kLinkBytes = 10;
inline constexpr std::string_view kChainTopics = "chain/";
inline constexpr std::string_view kProgressTopic = "progress/";
inline constexpr std::string_view kWelcomeTopic = "welcome/";
inline constexpr std::string_view kJsonTopics = "json/";
/// A topic is a task's name and the text of a key; the key is the larger part (key_bytes_max).
inline constexpr std::size_t kTopicBytesMax = 8192;

/// Append the link of a prefix. Checks: prefix_bytes <= kTopicBytesMax.
void append_link(std::string& frame, std::size_t prefix_bytes, std::uint64_t previous);

/// The link of the prefix of this length; nullopt when the frame has none or is not a chain frame.
std::optional<std::uint64_t> find_link(std::string_view frame, std::size_t prefix_bytes);

/// `chain/<prefix>` and a NUL, so that no chain topic is a prefix of another one's.
std::string chain_topic(std::string_view prefix);
/// The prefix a chain topic is about; nullopt for any other topic.
std::optional<std::string_view> prefix_of_chain(std::string_view topic);

}  // namespace accrete::stream
