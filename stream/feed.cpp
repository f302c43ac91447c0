// Completeness of a topic: see feed.h for the idea.
#include "stream/feed.h"

#include <algorithm>
#include <string>
#include <utility>

namespace accrete::stream {

void Feed::begin(std::uint64_t epoch, std::uint64_t complete) {
  epoch_ = epoch;
  complete_ = wanted_ = complete;
  newest_ = 0;
  ready_.clear();
  taken_ = 0;
  held_.clear();
  held_bytes_ = 0;
}

void Feed::require(std::uint64_t newest) {
  newest_ = std::max(newest_, newest);
  wanted_ = std::max(wanted_, newest);
}

Status Feed::live(Delivered&& prediction, std::optional<std::uint64_t> link) {
  if (prediction.header.epoch < epoch_) return Ok{};  // was on its way when we began again
  ACCRETE_DO(check_epoch(prediction.header.epoch));
  const std::uint64_t seq = prediction.header.seq.value;
  newest_ = std::max(newest_, seq);
  if (seq <= complete_) {
    ++counters_.duplicates_dropped;
    return Ok{};
  }
  // Without a link anything may be missing just before it.
  const std::uint64_t previous = std::min(link.value_or(seq - 1), seq - 1);
  if (held_.empty() && previous <= complete_) {
    ++counters_.live;
    complete_ = seq;
    hand_out(std::move(prediction));
    return Ok{};
  }
  if (link && previous > complete_ && !needs_replay()) ++counters_.gaps;
  held_bytes_ += prediction.topic.size() + prediction.payload.size() + sizeof(Held);
  held_.push_back({std::move(prediction), previous});
  if (held_.size() > held_max || held_bytes_ > held_bytes_max) {
    drop_held();
  } else if (!needs_replay()) {
    drain_held();
  }
  return Ok{};
}

Status Feed::progress(const PredictionHeader& header, std::optional<std::uint64_t> link) {
  if (header.epoch < epoch_) return Ok{};
  ACCRETE_DO(check_epoch(header.epoch));
  const std::uint64_t newest = header.seq.value;
  newest_ = std::max(newest_, newest);
  if (!link || newest <= complete_) return Ok{};
  if (*link <= complete_) {
    complete_ = newest;
    drain_held();
  } else {
    if (!needs_replay()) ++counters_.gaps;
    wanted_ = std::max(wanted_, *link);
  }
  return Ok{};
}

Status Feed::replayed(Delivered&& prediction) {
  ACCRETE_DO(check_epoch(prediction.header.epoch));
  const std::uint64_t seq = prediction.header.seq.value;
  newest_ = std::max(newest_, seq);
  if (seq <= complete_) {
    ++counters_.duplicates_dropped;
    return Ok{};
  }
  ++counters_.replayed;
  complete_ = seq;
  hand_out(std::move(prediction));
  return Ok{};
}

Status Feed::page_end(std::uint64_t epoch, std::uint64_t next) {
  ACCRETE_DO(check_epoch(epoch));
  if (next > 0) complete_ = std::max(complete_, next - 1);
  newest_ = std::max(newest_, complete_);
  drain_held();
  return Ok{};
}

Status Feed::snapshot(std::uint64_t epoch, std::vector<Delivered>&& rows, std::uint64_t as_of) {
  ACCRETE_DO(check_epoch(epoch));
  std::sort(rows.begin(), rows.end(),
            [](const Delivered& a, const Delivered& b) { return a.header.seq < b.header.seq; });
  for (Delivered& row : rows) {
    if (row.header.seq.value <= complete_) continue;
    ++counters_.replayed;
    hand_out(std::move(row));
  }
  complete_ = std::max(complete_, as_of);
  newest_ = std::max(newest_, complete_);
  drain_held();
  return Ok{};
}

Delivered Feed::take() {
  ACCRETE_CHECK(ready() > 0);
  Delivered out = std::move(ready_[taken_++]);
  if (taken_ == ready_.size()) {
    ready_.clear();
    taken_ = 0;
  }
  return out;
}

Status Feed::check_epoch(std::uint64_t epoch) {
  if (epoch_ == 0) epoch_ = epoch;
  if (epoch == epoch_) return Ok{};
  return Error{Errc::Gap, "new epoch " + std::to_string(epoch) +
                              ": the daemon began its numbers again (ours was epoch " +
                              std::to_string(epoch_) + "); call restart()"};
}

void Feed::hand_out(Delivered&& prediction) {
  ready_.push_back(std::move(prediction));
}

void Feed::drop_held() {
  wanted_ = std::max(wanted_, held_.back().prediction.header.seq.value);
  held_.clear();
  held_bytes_ = 0;
}

void Feed::drain_held() {
  while (!held_.empty()) {
    Held& first = held_.front();
    const std::uint64_t seq = first.prediction.header.seq.value;
    const bool known = seq <= complete_;
    if (!known && first.link > complete_) {
      wanted_ = std::max(wanted_, first.link);
      return;
    }
    held_bytes_ -= first.prediction.topic.size() + first.prediction.payload.size() + sizeof(Held);
    if (known) {
      ++counters_.duplicates_dropped;
    } else {
      ++counters_.live;
      complete_ = seq;
      hand_out(std::move(first.prediction));
    }
    held_.pop_front();
  }
}

}  // namespace accrete::stream
