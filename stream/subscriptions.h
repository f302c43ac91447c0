// Who listens to what: which prefixes need links (chain.h), and whether anybody wants JSON.
// Knows no socket; the publish server feeds it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "proto/ids.h"
#include "stream/chain.h"

namespace accrete::stream {

class Subscriptions {
 public:
  /// Above these a prefix is not tracked: its subscribers verify by replay, which costs them a
  /// round trip but no prediction. Lengths are bounded because each costs a lookup a prediction.
  static constexpr std::size_t prefixes_max = 16'384;
  static constexpr std::size_t lengths_max = 64;

  /// One frame read from the XPUB socket: 1 or 0, then the topic. Anything else is ignored.
  void note(std::string_view frame);

  /// Somebody subscribes to `json/…`, or to a beginning of it that is not empty.
  bool json_wanted() const { return json_ > 0; }

  /// Prediction `seq` goes out now: sets `links` to its chain frame. Numbers should be consecutive;
  /// where they are not, the links say that nothing is known about what lies between.
  /// Cost: one hash lookup for each distinct length of a tracked prefix.
  void publish(std::string_view topic, PredictionSeq seq, std::string& links);

  /// The log holds numbers up to `newest`, published here or not.
  void note_newest(PredictionSeq newest);

  /// Numbers begin again (a new epoch).
  void forget_numbers();

  PredictionSeq newest() const { return newest_; }

  /// Calls visit(chain topic, links) for each prefix that has not heard of newest() yet.
  void announce(const std::function<void(std::string_view, std::string_view)>& visit);

  std::size_t tracked() const { return tracks_.size(); }

 private:
  struct Track {
    std::string topic;  ///< the chain topic
    PredictionSeq last;
    PredictionSeq announced;
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>{}(text);
    }
  };
  struct Level {  ///< all tracked prefixes of one length
    std::size_t length = 0;
    std::unordered_map<std::string, std::size_t, Hash, std::equal_to<>> track_of;
  };

  void track(std::string_view prefix);
  void untrack(std::string_view prefix);

  std::vector<Track> tracks_;
  std::vector<Level> levels_;  ///< by length, ascending
  std::size_t json_ = 0;
  PredictionSeq last_;    ///< last number published here
  PredictionSeq floor_;   ///< nothing is known of numbers up to here
  PredictionSeq newest_;  ///< newest number spoken of
};

}  // namespace accrete::stream
