// libFuzzer target: any bytes as messages of two peers on the events socket. Every message is
// answered once, in order, and what is offered are records.
#include <array>
#include <deque>
#include <vector>

#include "daemon/event_sessions.h"
#include "source_fuzz.h"

/// Input: messages, each a byte for peer (bit 0), answer (bits 1, 2) and number of frames (bits 3
/// to 5), then the frames, each two bytes of size and its text; the first byte of a first frame
/// picks a format.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace accrete;          // NOLINT(google-build-using-namespace): one function
  using namespace accrete::daemon;  // NOLINT(google-build-using-namespace)
  constexpr std::array<std::string_view, 5> kFormats = {"native", "debezium", "maxwell", "wal2json",
                                                        "canal"};
  std::string_view input(reinterpret_cast<const char*>(data), size);
  std::deque<stream::Offer> offers;
  Gauges gauges;
  EventSessions sessions(
      fuzz_schema(),
      [&](stream::Offer& offer) {
        offers.push_back(std::move(offer));
        return true;
      },
      gauges);
  Record record;
  std::size_t sent = 0;
  std::size_t answered = 0;
  const auto answer = [&](unsigned how) {
    while (!offers.empty()) {
      const stream::Offer& offer = offers.front();
      std::uint32_t begin = 0;
      for (const std::uint32_t end : offer.ends) {
        ACCRETE_CHECK(
            decode_record(std::string_view(offer.bytes).substr(begin, end - begin), record)
                .has_value());
        begin = end;
      }
      ACCRETE_CHECK(begin == offer.bytes.size());
      const Status status = how == 1 ? Status(Error{Errc::Unavailable, "later"}) : Status(Ok{});
      offer.answer(status, {});
      offers.pop_front();
    }
    sessions.take_answers();
    answered += sessions.take_replies().size();
  };
  while (!input.empty() && sessions.room()) {
    const auto flags = static_cast<unsigned char>(input[0]);
    input.remove_prefix(1);
    std::vector<std::string_view> frames;
    for (unsigned i = 0; i < (flags >> 3 & 7u) && input.size() >= 2; ++i) {
      const std::size_t length = static_cast<unsigned char>(input[0]) +
                                 std::size_t{static_cast<unsigned char>(input[1])} * 256;
      frames.push_back(input.substr(2, length));
      input.remove_prefix(2 + frames.back().size());
    }
    if (!frames.empty() && !frames[0].empty())
      frames[0] = kFormats[static_cast<unsigned char>(frames[0][0]) % kFormats.size()];
    sessions.on_message((flags & 1u) == 0 ? "0" : "1", frames);
    ++sent;
    if ((flags >> 1 & 3u) != 0) answer(flags >> 1 & 3u);
  }
  answer(2);
  ACCRETE_CHECK(answered == sent && sessions.unanswered() == 0);
  return 0;
}
