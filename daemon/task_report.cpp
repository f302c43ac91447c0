// Regret, alarms and births of experts as JSON.
#include "daemon/task_report.h"

#include <cmath>
#include <string>

#include "proto/time.h"

namespace accrete::daemon {

using Json = nlohmann::ordered_json;

Json regret_json(const AnyTask& task) {
  const models::Regret regret = task.regret();
  Json json;
  json["mixture"] = regret.mixture;
  json["best"] = regret.best;
  json["candidate"] = task.candidate_names().at(regret.candidate);
  json["regret"] = regret.value();
  json["bound"] = std::isfinite(regret.bound) ? Json(regret.bound) : Json();
  json["rounds"] = regret.rounds;
  json["unit"] = task.plan().kind == TaskKind::Regression ? "mean absolute errors"
                 : regret.by_labels                       ? "log loss weighted by labels"
                                                          : "log loss";
  return json;
}

Json drift_json(const DriftWatch& watch) {
  Json json;
  for (const auto detector : {DriftDetector::Adwin, DriftDetector::PageHinkley}) {
    Json entry;
    entry["alarms"] = watch.count(detector);
    if (const DriftAlarm* newest = watch.newest(detector)) {
      entry["as_of"] = format_time(newest->as_of);
      entry["before"] = newest->before;
      entry["after"] = newest->after;
      entry["window"] = newest->window;
    }
    json[std::string(detector_name(detector))] = std::move(entry);
  }
  return json;
}

Json alarms_json(const DriftWatch& watch) {
  Json all = Json::array();
  for (const DriftAlarm& alarm : watch.alarms()) {
    std::string payload;
    encode_drift_alarm(alarm, payload);
    const auto line = drift_alarm_json(payload);
    ACCRETE_CHECK(line.has_value());  // we encoded it ourselves
    all.push_back(Json::parse(line.value()));
  }
  return all;
}

Json experts_json(const AnyTask& task) {
  Json events = Json::array();
  for (const ExpertEvent& event : task.expert_events()) {
    const bool rolled_back = event.kind == ExpertEvent::Kind::Rollback;
    const Json at = format_time(event.at);
    const Json rise = {{"before", event.rise_before}, {"after", event.rise_after}};
    if (event.kind == ExpertEvent::Kind::Freeze) {
      events.push_back(
          {{"at", at}, {"kind", "freeze"}, {"expert", event.first}, {"block", event.block}});
      continue;
    }
    if (event.is_merge()) {
      events.push_back({{"at", at},
                        {"kind", rolled_back ? "rollback" : "merge"},
                        {"expert", event.first},
                        {"with", event.first + 1},
                        {"block", event.block},
                        {"loss",
                         {{"block", event.worst_block},
                          {"before", event.loss_before},
                          {"after", event.loss_after}}},
                        {"rise", rise}});
      if (rolled_back) events.back()["reason"] = event.sharper ? "sharper" : "loss";
      continue;
    }
    if (rolled_back) {
      events.push_back({{"at", at},
                        {"kind", "rollback"},
                        {"block", event.block},
                        {"rise", rise},
                        {"reason", "sharper"}});
      continue;
    }
    for (std::size_t layer = 0; layer < event.parents.size(); ++layer) {
      events.push_back({{"at", at},
                        {"kind", "birth"},
                        {"layer", layer},
                        {"expert", event.first},
                        {"parent", event.parents[layer]},
                        {"block", event.block},
                        {"rise", rise}});
    }
  }
  return {{"events", std::move(events)}};
}

}  // namespace accrete::daemon
