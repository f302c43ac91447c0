// Bytes of runs.
#include "daemon/feature_run.h"

namespace accrete::daemon {

void save_runs(const std::vector<FeatureRun>& runs, ByteWriter& writer) {
  writer.put(static_cast<std::uint64_t>(runs.size()));
  for (const FeatureRun& run : runs) {
    writer.put(static_cast<std::uint8_t>(run.kind));
    writer.put(run.key);
    writer.put(run.stream);
    writer.put(run.begin);
    writer.put(run.end);
  }
}

bool load_runs(ByteReader& reader, std::vector<FeatureRun>& runs) {
  const auto count = reader.get<std::uint64_t>();
  for (std::uint64_t i = 0; i < count && reader.ok(); ++i) {
    FeatureRun run;
    run.kind = static_cast<FeatureRun::Kind>(reader.get<std::uint8_t>());
    run.key = reader.get<std::uint16_t>();
    run.stream = reader.get<std::uint16_t>();
    run.begin = reader.get<std::uint32_t>();
    run.end = reader.get<std::uint32_t>();
    if (run.kind > FeatureRun::Kind::Mode || run.end < run.begin) return false;
    runs.push_back(run);
  }
  return reader.ok();
}

}  // namespace accrete::daemon
