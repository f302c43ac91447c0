// Tracking of subscribed prefixes.
#include "stream/subscriptions.h"

#include <algorithm>

namespace accrete::stream {
namespace {

bool wants_json(std::string_view topic) {
  if (topic.empty()) return false;
  const std::size_t shared = std::min(topic.size(), kJsonTopics.size());
  return topic.substr(0, shared) == kJsonTopics.substr(0, shared);
}

}  // namespace

void Subscriptions::note(std::string_view frame) {
  if (frame.empty() || (frame[0] != '\0' && frame[0] != '\1')) return;
  const bool begins = frame[0] == '\1';
  const std::string_view topic = frame.substr(1);
  if (wants_json(topic)) {
    if (begins) {
      ++json_;
    } else if (json_ > 0) {
      --json_;
    }
  } else if (const auto prefix = prefix_of_chain(topic)) {
    begins ? track(*prefix) : untrack(*prefix);
  }
}

void Subscriptions::track(std::string_view prefix) {
  if (prefix.size() > kTopicBytesMax || tracks_.size() >= prefixes_max) return;
  auto level = std::find_if(levels_.begin(), levels_.end(),
                            [&](const Level& known) { return known.length >= prefix.size(); });
  if (level == levels_.end() || level->length != prefix.size()) {
    if (levels_.size() >= lengths_max) return;
    level = levels_.insert(level, Level{prefix.size(), {}});
  }
  if (!level->track_of.emplace(prefix, tracks_.size()).second) return;
  // Nothing was published since last_, whatever its topic: as good as a number of its own.
  tracks_.push_back({chain_topic(prefix), last_, PredictionSeq{}});
}

void Subscriptions::untrack(std::string_view prefix) {
  const auto level = std::find_if(levels_.begin(), levels_.end(), [&](const Level& known) {
    return known.length == prefix.size();
  });
  if (level == levels_.end()) return;
  const auto found = level->track_of.find(prefix);
  if (found == level->track_of.end()) return;
  const std::size_t hole = found->second;
  level->track_of.erase(found);
  if (level->track_of.empty()) levels_.erase(level);
  if (hole + 1 != tracks_.size()) {
    tracks_[hole] = std::move(tracks_.back());
    const std::string_view moved = *prefix_of_chain(tracks_[hole].topic);
    for (Level& other : levels_) {
      if (other.length == moved.size()) other.track_of.find(moved)->second = hole;
    }
  }
  tracks_.pop_back();
}

void Subscriptions::publish(std::string_view topic, PredictionSeq seq, std::string& links) {
  links.clear();
  if (seq.value != last_.value + 1) {
    if (seq <= last_) {
      for (Track& track : tracks_)
        track.last = PredictionSeq{};
    }
    floor_ = PredictionSeq{seq.value - 1};
  }
  last_ = seq;
  newest_ = std::max(newest_, seq);
  for (const Level& level : levels_) {
    if (level.length > topic.size()) break;
    const auto found = level.track_of.find(topic.substr(0, level.length));
    if (found == level.track_of.end()) continue;
    Track& track = tracks_[found->second];
    append_link(links, level.length, std::max(track.last, floor_).value);
    track.last = seq;
  }
}

void Subscriptions::note_newest(PredictionSeq newest) {
  newest_ = std::max(newest_, newest);
}

void Subscriptions::forget_numbers() {
  last_ = floor_ = newest_ = PredictionSeq{};
  for (Track& track : tracks_)
    track.last = track.announced = PredictionSeq{};
}

void Subscriptions::announce(const std::function<void(std::string_view, std::string_view)>& visit) {
  std::string links;
  for (Track& track : tracks_) {
    if (track.announced >= newest_) continue;
    track.announced = newest_;
    links.clear();
    // What lies between last_ and newest_ was not published here, so nothing is known about it.
    const PredictionSeq previous = newest_ > last_ ? newest_ : std::max(track.last, floor_);
    append_link(links, track.topic.size() - kChainTopics.size() - 1, previous.value);
    visit(track.topic, links);
  }
}

}  // namespace accrete::stream
