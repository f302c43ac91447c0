// What a task's vector of features is made of: runs of consecutive ones, only ever appended to.
#pragma once

#include <cstdint>
#include <vector>

#include "proto/bytes.h"

namespace accrete::daemon {

/// Windows of the task in which rows are counted.
inline constexpr std::int64_t kRecentWindows[] = {1, 4};

/// Consecutive features of one kind.
struct FeatureRun {
  /// Stored: only ever appended to.
  enum class Kind : std::uint8_t {
    Season,
    Header,
    Columns,
    LabelHeader,
    LabelColumns,
    Row,
    Recent,  ///< counts of the rows in the last windows of the task
    Mode,    ///< of a category, Synthesis::categories()[begin]
  };
  Kind kind = Kind::Season;
  std::uint16_t key = 0;     ///< of all but Season and Row
  std::uint16_t stream = 0;  ///< of_stream(): among the key's
  std::uint32_t begin = 0;   ///< Columns, Row, Mode
  std::uint32_t end = 0;

  bool of_stream() const {
    return kind == Kind::Header || kind == Kind::Columns || kind == Kind::Recent ||
           kind == Kind::Mode;
  }
};

void save_runs(const std::vector<FeatureRun>& runs, ByteWriter& writer);
/// False: these are not bytes of runs. What keys and streams there are, the caller knows.
bool load_runs(ByteReader& reader, std::vector<FeatureRun>& runs);

}  // namespace accrete::daemon
