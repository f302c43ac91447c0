// What the fold tells besides predictions: alarms of drift, news of experts.
#include "daemon/fold.h"
#include "daemon/graph_network.h"

namespace accrete::daemon {
namespace {

static_assert(
    static_cast<int>(ExpertEvent::Kind::Merge) == static_cast<int>(ExpertNewsKind::Merge) &&
    static_cast<int>(ExpertEvent::Kind::Rollback) == static_cast<int>(ExpertNewsKind::Rollback) &&
    static_cast<int>(ExpertEvent::Kind::Freeze) == static_cast<int>(ExpertNewsKind::Freeze));

ExpertNews news_of(const ExpertEvent& event) {
  ExpertNews news;
  news.as_of = event.at;
  news.kind = static_cast<ExpertNewsKind>(event.kind);
  news.block = event.block;
  news.parents = event.parents;
  news.first = event.first;
  news.worst_block = event.worst_block;
  news.loss_before = event.loss_before;
  news.loss_after = event.loss_after;
  news.rise_before = event.rise_before;
  news.rise_after = event.rise_after;
  news.sharper = event.sharper;
  return news;
}

}  // namespace

/// Tell what the task has just raised, after all predictions before it: a stored prediction with a
/// greater number then says that the alarm was told.
Status Fold::tell_alarms(AnyTask& task) {
  return task.drift().tell([&](DriftAlarm& alarm) -> Status {
    ACCRETE_DO(flush());
    alarm.task = task.plan().name;
    alarm.ordinal = applied_;
    alarm.seq = predicted_;
    sink_.alarm(alarm, epoch_);
    if (network_ != nullptr) network_->drifted();
    return Ok{};
  });
}

/// The same for what has just happened to the task's experts.
Status Fold::tell_experts(AnyTask& task) {
  GraphNetwork* network = task.network();
  if (network == nullptr) return Ok{};
  return network->tell([&](const ExpertEvent& event, std::uint64_t count) -> Status {
    ACCRETE_DO(flush());
    ExpertNews news = news_of(event);
    news.task = task.plan().name;
    news.count = count;
    news.model = task.labels();
    news.ordinal = applied_;
    news.seq = predicted_;
    sink_.experts(news, epoch_);
    return Ok{};
  });
}

}  // namespace accrete::daemon
