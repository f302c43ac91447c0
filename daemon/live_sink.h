// From the fold to the publish thread: predictions as messages, and the past as a source of replay.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "daemon/clock.h"
#include "daemon/fold_sink.h"
#include "daemon/graded_series.h"
#include "store/prediction_log.h"
#include "stream/publish_server.h"

namespace accrete::daemon {

/// Sends every new prediction to the publish thread. Numbers that were stored before this process
/// began (a fold repeating itself after a crash) were published already and are left out.
class LiveSink final : public FoldSink {
 public:
  LiveSink(stream::Mailbox<stream::OutgoingBatch>& outgoing, PredictionSeq published)
      : outgoing_(outgoing), published_(published) {}

  void predictions(std::span<const store::StoredPrediction> predictions) override {
    stream::OutgoingBatch batch;
    for (const store::StoredPrediction& prediction : predictions) {
      if (prediction.header.seq <= published_) continue;
      batch.predictions.push_back({prediction.topic, prediction.header, prediction.payload});
    }
    if (batch.predictions.empty()) return;
    batch.progress = batch.predictions.back().header;
    batch.epoch = batch.progress.epoch;
    batch.progress.flags = PredictionHeader::flag_progress;
    outgoing_.send(std::move(batch));
  }
  void label(const MaturedLabel&) override {}
  void graded(const GradedPrediction& graded) override {
    series_.try_emplace(graded.task->name, graded.task->kind, graded.outputs.size() + 1)
        .first->second.add(graded);
  }
  /// An alarm before a stored prediction was told before that one, in the former process. One after
  /// the newest may have been: it is told again, under the same count.
  void alarm(const DriftAlarm& alarm, std::uint64_t epoch) override {
    if (alarm.seq < published_) return;
    std::string payload;
    encode_drift_alarm(alarm, payload);
    tell(drift_topic(alarm.task), drift_header(alarm, epoch), std::move(payload));
  }
  /// As alarms.
  void experts(const ExpertNews& news, std::uint64_t epoch) override {
    if (news.seq < published_) return;
    std::string payload;
    encode_expert_news(news, payload);
    tell(expert_news_topic(news.task), expert_news_header(news, epoch), std::move(payload));
  }

  /// What was graded since this process began, or null.
  const GradedSeries* series(const std::string& task) const {
    const auto found = series_.find(task);
    return found == series_.end() ? nullptr : &found->second;
  }

 private:
  void tell(std::string topic, const PredictionHeader& header, std::string payload) {
    stream::OutgoingBatch batch;
    batch.predictions.push_back({std::move(topic), header, std::move(payload)});
    batch.progress = header;
    batch.progress.flags = PredictionHeader::flag_progress;
    batch.epoch = header.epoch;
    outgoing_.send(std::move(batch));
  }

  stream::Mailbox<stream::OutgoingBatch>& outgoing_;
  PredictionSeq published_;
  std::map<std::string, GradedSeries, std::less<>> series_;  // by task
};

/// The prediction log as the replay socket serves it. Used on the publish thread only.
class StoredPast final : public stream::ReplaySource {
 public:
  StoredPast(store::PredictionLog& log, std::uint64_t epoch) : log_(log), epoch_(epoch) {}

  std::uint64_t epoch() override { return epoch_; }
  PredictionSeq oldest() override { return log_.oldest(); }
  PredictionSeq end() override { return log_.end(); }

  Status read(PredictionSeq from, std::size_t max, std::string_view topic,
              std::vector<stream::Outgoing>& out, PredictionSeq& next) override {
    ACCRETE_TRY(auto page, log_.read(from, max, kPageBytes, topic));
    for (store::StoredPrediction& prediction : page.predictions) {
      out.push_back(
          {std::move(prediction.topic), prediction.header, std::move(prediction.payload)});
    }
    next = page.next;
    return Ok{};
  }
  Result<PredictionSeq> snapshot(
      std::string_view topic, const std::function<bool(const stream::Outgoing&)>& visit) override {
    return log_.snapshot(topic, [&](const store::StoredPrediction& prediction) {
      return visit({prediction.topic, prediction.header, prediction.payload});
    });
  }
  Status acknowledge(std::string_view name, std::uint64_t epoch, PredictionSeq seq) override {
    return log_.acknowledge({std::string(name), epoch, seq, wall_clock_us()});
  }
  Result<std::pair<std::uint64_t, PredictionSeq>> subscriber(std::string_view name) override {
    ACCRETE_TRY(const auto found, log_.subscriber(name));
    if (!found) return std::pair{std::uint64_t{0}, PredictionSeq{}};
    return std::pair{found->epoch, found->seq};
  }

 private:
  static constexpr std::size_t kPageBytes = 4u << 20;
  store::PredictionLog& log_;
  std::uint64_t epoch_;
};

}  // namespace accrete::daemon
