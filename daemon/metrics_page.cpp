// From gauges and the status to families of metrics.
#include "daemon/metrics_page.h"

#include <limits>

#include <nlohmann/json.hpp>

#include "daemon/exposition.h"

namespace accrete::daemon {
namespace {

using Json = nlohmann::ordered_json;

double number_at(const Json& json, const char* name) {
  const auto found = json.find(name);
  return found != json.end() && found->is_number() ? found->get<double>()
                                                   : std::numeric_limits<double>::quiet_NaN();
}

double as_number(const std::atomic<std::uint64_t>& gauge) {
  return static_cast<double>(gauge.load());
}

void counter(Exposition& out, const char* name, const char* help, double value) {
  out.family(name, "counter", help).sample(value);
}

void gauge(Exposition& out, const char* name, const char* help, double value) {
  out.family(name, "gauge", help).sample(value);
}

void process(Exposition& out, const Gauges& gauges, const Readings& readings) {
  out.family("accrete_build_info", "gauge", "1; the version is a label")
      .sample(1, {{"version", ACCRETE_VERSION}});
  gauge(out, "accrete_ready", "1 when the log is folded up to the present", readings.ready);
  gauge(out, "accrete_fold_lag_seconds", "since the fold last had nothing waiting",
        readings.lag_seconds);
  gauge(out, "accrete_status_age_seconds", "age of the figures that only the fold knows",
        readings.status_age);
  out.family("accrete_log_records", "gauge", "records of the change log")
      .sample(static_cast<double>(readings.durable), {{"state", "durable"}})
      .sample(as_number(gauges.folded), {{"state", "folded"}});
  const std::uint64_t folded_bytes = gauges.folded_bytes;  // before what is durable: never more
  gauge(out, "accrete_fold_lag_bytes", "durable records that the fold has not taken",
        static_cast<double>(gauges.durable_bytes - folded_bytes));
  out.family("accrete_queue_length", "gauge", "messages between threads")
      .sample(static_cast<double>(readings.waiting), {{"queue", "groups"}});
  out.family("accrete_recovery_records", "gauge", "records folded at the start")
      .sample(as_number(gauges.recovered), {{"state", "done"}})
      .sample(as_number(gauges.recover_until), {{"state", "total"}});
  counter(out, "accrete_http_requests_total", "requests to this server",
          static_cast<double>(readings.requests));
}

void ingest(Exposition& out, const Gauges& gauges) {
  counter(out, "accrete_ingest_rows_total", "row changes made durable",
          as_number(gauges.ingest_rows));
  counter(out, "accrete_ingest_bytes_total", "bytes of their messages",
          as_number(gauges.ingest_bytes));
  counter(out, "accrete_transactions_total", "transactions made durable",
          as_number(gauges.ingest_transactions));
  counter(out, "accrete_ingest_duplicates_total", "transactions that were durable before",
          as_number(gauges.ingest_duplicates));
  counter(out, "accrete_ingest_rejected_total", "transactions set aside as dead letters",
          as_number(gauges.ingest_rejected));
  counter(out, "accrete_ingest_faults_total", "messages that were refused",
          as_number(gauges.ingest_faults));
  counter(out, "accrete_ingest_commits_total", "group commits", as_number(gauges.ingest_commits));
  out.family("accrete_http_ingest_requests_total", "counter", "requests to POST /ingest")
      .sample(as_number(gauges.posts_taken), {{"answer", "taken"}})
      .sample(as_number(gauges.posts_refused), {{"answer", "refused"}})
      .sample(as_number(gauges.posts_delayed), {{"answer", "try again"}});
  out.family("accrete_event_messages_total", "counter", "messages on the events socket")
      .sample(as_number(gauges.events_taken), {{"answer", "taken"}})
      .sample(as_number(gauges.events_refused), {{"answer", "refused"}})
      .sample(as_number(gauges.events_delayed), {{"answer", "try again"}});
  counter(out, "accrete_ingest_sessions_total", "sessions that producers began",
          as_number(gauges.ingest_sessions));
}

void publish(Exposition& out, const Gauges& gauges) {
  counter(out, "accrete_stream_published_total", "predictions sent live",
          as_number(gauges.published));
  counter(out, "accrete_stream_replayed_total", "predictions sent again",
          as_number(gauges.replayed));
  counter(out, "accrete_stream_snapshots_total", "snapshots sent", as_number(gauges.snapshots));
  counter(out, "accrete_stream_dropped_total", "answers that a peer did not take",
          as_number(gauges.publish_dropped));
  counter(out, "accrete_stream_faults_total", "questions that were refused",
          as_number(gauges.publish_faults));
  counter(out, "accrete_control_questions_total", "questions on the control socket",
          as_number(gauges.questions));
  out.family("accrete_stage_seconds", "histogram", "time a stage takes for one batch")
      .histogram(gauges.commit_seconds, {{"stage", "commit"}})
      .histogram(gauges.fold_seconds, {{"stage", "fold"}})
      .histogram(gauges.question_seconds, {{"stage", "control"}});
}

void fold(Exposition& out, const Json& status) {
  counter(out, "accrete_rows_folded_total", "rows folded in this epoch, over restarts",
          number_at(status, "rows"));
  counter(out, "accrete_late_rows_total", "rows behind the watermark",
          number_at(status, "late_rows"));
  counter(out, "accrete_frontiers_cut_total",
          "instants that changed more than on_change = \"frontier\" follows, by task",
          number_at(status, "frontiers_cut"));
  gauge(out, "accrete_rows_ahead", "rows dated so far ahead of all others that they wait aside",
        number_at(status, "rows_ahead"));
  counter(out, "accrete_checkpoints_total", "commits of the fold",
          number_at(status, "checkpoints"));
  const Json& checkpoint = status.at("checkpoint");
  gauge(out, "accrete_checkpoint_age_seconds", "since the fold last committed",
        number_at(checkpoint, "age_seconds"));
  gauge(out, "accrete_checkpoint_records", "folded since then: to be folded again after a crash",
        number_at(checkpoint, "records_since"));
  out.family("accrete_table_changes_total", "counter", "row changes folded by this process");
  for (const Json& table : status.at("tables")) {
    const auto& name = table.at("table").get_ref<const std::string&>();
    for (const char* op : {"insert", "update", "delete", "truncate"})
      out.sample(number_at(table, op), {{"table", name}, {"operation", op}});
  }
  gauge(out, "accrete_epoch", "epoch of the predictions' numbers", number_at(status, "epoch"));
  gauge(out, "accrete_dead_letters", "transactions set aside and kept",
        number_at(status, "dead_letters"));
  gauge(out, "accrete_rows_waiting_for_watermark", "rows held until their time has come",
        number_at(status.at("queues"), "rows_waiting_for_watermark"));
  const Json& predictions = status.at("predictions");
  out.family("accrete_stream_seq", "gauge", "numbers of the predictions kept")
      .sample(number_at(predictions, "newest"), {{"end", "newest"}})
      .sample(number_at(predictions, "oldest"), {{"end", "oldest"}});
  gauge(out, "accrete_predictions_bytes", "predictions kept", number_at(predictions, "bytes"));
  out.family("accrete_memory_bytes", "gauge", "memory by part")
      .sample(number_at(status.at("memory_bytes"), "fold"), {{"part", "fold"}})
      .sample(number_at(status.at("memory_bytes"), "store"), {{"part", "store"}})
      .sample(number_at(status.at("memory_bytes"), "resident"), {{"part", "resident"}});
  gauge(out, "accrete_disk_bytes", "files of the store", number_at(status, "disk_bytes"));
  out.family("accrete_subscriber_behind", "gauge", "predictions a named subscriber has not seen");
  for (const Json& subscriber : status.at("subscribers")) {
    out.sample(number_at(subscriber, "behind"),
               {{"name", subscriber.at("name").get_ref<const std::string&>()}});
  }
}

/// A family with a sample for each task: its figure `name`.
void of_tasks(Exposition& out, const Json& tasks, const char* family, const char* type,
              const char* help, const char* name) {
  out.family(family, type, help);
  for (const Json& task : tasks)
    out.sample(number_at(task, name), {{"task", task.at("name").get_ref<const std::string&>()}});
}

void learning(Exposition& out, const Json& tasks) {
  of_tasks(out, tasks, "accrete_labels_total", "counter", "outcomes that became known", "labels");
  of_tasks(out, tasks, "accrete_pending_labels", "gauge", "predictions that wait for theirs",
           "pending");
  of_tasks(out, tasks, "accrete_shed_labels_total", "counter", "predictions given up ungraded",
           "shed");
  of_tasks(
      out, tasks, "accrete_unusable_labels_total", "counter",
      "outcomes that cannot be learnt: no number, infinite, beyond 1e100, or one class too many",
      "unusable");
  out.family("accrete_prequential_metric", "gauge",
             "of each candidate and the mixture, before they learn the label");
  for (const Json& task : tasks) {
    const auto& name = task.at("name").get_ref<const std::string&>();
    for (const auto& [candidate, metrics] : task.at("metrics").items()) {
      for (const auto& [metric, value] : metrics.items()) {
        if (!value.is_number()) continue;
        constexpr std::string_view kFading = "fading_";
        const bool fading = metric.starts_with(kFading);
        const std::string_view bare = std::string_view(metric).substr(fading ? kFading.size() : 0);
        out.sample(value.get<double>(), {{"task", name},
                                         {"candidate", candidate},
                                         {"metric", bare},
                                         {"window", fading ? "fading" : "sliding"}});
      }
    }
  }
  out.family("accrete_mixture_weight", "gauge", "share of each candidate in the mixture");
  for (const Json& task : tasks) {
    for (const auto& [candidate, weight] : task.at("weights").items()) {
      if (!weight.is_number()) continue;
      out.sample(weight.get<double>(), {{"task", task.at("name").get_ref<const std::string&>()},
                                        {"candidate", candidate}});
    }
  }
  out.family("accrete_drift_alarms_total", "counter", "alarms of the drift detectors");
  for (const Json& task : tasks) {
    for (const auto& [detector, entry] : task.at("drift").items()) {
      out.sample(number_at(entry, "alarms"),
                 {{"task", task.at("name").get_ref<const std::string&>()}, {"detector", detector}});
    }
  }
}

void experts(Exposition& out, const Json& tasks) {
  out.family("accrete_experts", "gauge", "block experts of a layer of the graph network");
  for (const Json& task : tasks) {
    if (!task.contains("experts")) continue;
    out.sample(number_at(task.at("experts"), "count"),
               {{"task", task.at("name").get_ref<const std::string&>()}});
  }
  out.family("accrete_routing_entropy", "gauge", "of the gate, in nats");
  for (const Json& task : tasks) {
    if (!task.contains("experts")) continue;
    for (const Json& layer : task.at("experts").at("layers")) {
      out.sample(number_at(layer, "entropy"),
                 {{"task", task.at("name").get_ref<const std::string&>()},
                  {"layer", std::to_string(layer.at("layer").get<int>())}});
    }
  }
  out.family("accrete_routing_share", "gauge", "of the rows that an expert handles");
  for (const Json& task : tasks) {
    if (!task.contains("experts")) continue;
    for (const auto& [layer, shares] : task.at("experts").at("shares").items()) {
      for (const auto& [expert, share] : shares.items()) {
        if (!share.is_number()) continue;
        out.sample(share.get<double>(), {{"task", task.at("name").get_ref<const std::string&>()},
                                         {"layer", layer.substr(layer.find(' ') + 1)},
                                         {"expert", expert}});
      }
    }
  }
}

}  // namespace

Result<std::string> metrics_page(const Gauges& gauges, const Readings& readings) {
  Exposition out;
  process(out, gauges, readings);
  ingest(out, gauges);
  publish(out, gauges);
  if (readings.status.empty()) return out.take();
  try {
    const Json status = Json::parse(readings.status);
    fold(out, status);
    learning(out, status.at("tasks"));
    experts(out, status.at("tasks"));
  } catch (const Json::exception& error) {
    return Error{Errc::Malformed, std::string("the daemon's own status: ") + error.what()};
  }
  return out.take();
}

}  // namespace accrete::daemon
