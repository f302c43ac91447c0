// libFuzzer target: any bytes at the replay and control sockets' handlers.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "stream/control_desk.h"
#include "stream/replay_service.h"

namespace {

using namespace accrete;  // NOLINT(google-build-using-namespace): a fuzz target is one function

class ThreeRows : public stream::ReplaySource {
 public:
  std::uint64_t epoch() override { return 1; }
  PredictionSeq oldest() override { return PredictionSeq{1}; }
  PredictionSeq end() override { return PredictionSeq{3}; }
  Status read(PredictionSeq from, std::size_t max, std::string_view,
              std::vector<stream::Outgoing>& out, PredictionSeq& next) override {
    for (next = from; next.value <= 3 && max > 0; ++next.value, --max)
      out.emplace_back();
    return Ok{};
  }
  Result<PredictionSeq> snapshot(
      std::string_view, const std::function<bool(const stream::Outgoing&)>& visit) override {
    visit({});
    return PredictionSeq{3};
  }
  Status acknowledge(std::string_view, std::uint64_t, PredictionSeq) override { return Ok{}; }
  Result<std::pair<std::uint64_t, PredictionSeq>> subscriber(std::string_view) override {
    return std::pair<std::uint64_t, PredictionSeq>{};
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view frame(reinterpret_cast<const char*>(data), size);
  ThreeRows source;
  stream::ReplayService service(source, 8192);
  std::vector<std::string> answers;
  service.handle(frame, answers);
  ACCRETE_CHECK(!answers.empty());
  stream::ControlDesk desk([](const stream::ControlQuestion&) { return true; }, 1);
  const bool passed = !desk.handle("peer", frame);
  ACCRETE_CHECK(passed == (desk.open() == 1));
  return 0;
}
