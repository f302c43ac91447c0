// Predictions into a table of the database.
#include "daemon/ctl_write_back.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include <poll.h>
#include <stream.pb.h>

#include "daemon/ctl_prediction.h"
#include "daemon/postgres/catalogue.h"
#include "daemon/postgres/connection.h"
#include "proto/json_text.h"
#include "proto/time.h"

namespace accrete::daemon {
namespace {

using postgres::Connection;
using std::chrono::milliseconds;

constexpr milliseconds kIdle{100};
constexpr int kRetryMs = 500;
constexpr std::size_t kBatchMax = 1000;

std::string quoted_table(const std::string& table) {
  const std::size_t dot = table.find('.');
  if (dot == std::string::npos) return Connection::name(table);
  return Connection::name(table.substr(0, dot)) + "." + Connection::name(table.substr(dot + 1));
}

std::string number_text(double value) {
  std::string out;
  json_text::append_real(out, value);
  return out;
}

class WriteBack {
 public:
  WriteBack(const WriteBackOptions& options, stream::Subscriber& subscriber)
      : options_(options), subscriber_(subscriber), table_(quoted_table(options.table)) {}

  Status run(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      Status turned = turn();
      if (turned) continue;
      if (turned.error().code != Errc::Unavailable) return turned;
      connection_.reset();
      if (!std::exchange(away_, true)) options_.note("write-back waits: " + turned.error().detail);
      ::poll(nullptr, 0, kRetryMs);
    }
    return Ok{};
  }

 private:
  Status turn() {
    ACCRETE_DO(ensure_table());  // first, so that who may not make it hears so at once
    ACCRETE_DO(collect());
    if (last_ == PredictionSeq{}) return Ok{};
    if (!rows_.empty()) {
      std::string sql = "INSERT INTO " + table_ + " AS old VALUES ";
      for (const auto& [key, row] : rows_)
        sql += (sql.back() == ')' ? "," : "") + row;
      sql +=
          " ON CONFLICT (task, entity) DO UPDATE SET as_of = excluded.as_of, kind = excluded.kind,"
          " score = excluded.score, label = excluded.label, low = excluded.low,"
          " high = excluded.high, seq = excluded.seq, epoch = excluded.epoch"
          // Not only where it is newer: the daemon may have begun anew, and its numbers with it.
          " WHERE (excluded.epoch, excluded.seq) IS DISTINCT FROM (old.epoch, old.seq)";
      ACCRETE_TRY([[maybe_unused]] const postgres::Rows none, connection_->query(sql));
      rows_.clear();
    }
    if (std::exchange(away_, false)) options_.note("write-back goes on");
    ACCRETE_DO(subscriber_.acknowledge(last_));
    last_ = {};
    return Ok{};
  }

  /// A batch, or what there is before a pause.
  Status collect() {
    for (std::size_t i = 0; i < kBatchMax; ++i) {
      Result<std::optional<stream::Delivered>> next = subscriber_.next(kIdle);
      if (!next && (next.error().code == Errc::Gap || next.error().code == Errc::NotFound)) {
        options_.note("write-back: " + next.error().detail + "; going on with what there is");
        return subscriber_.restart(1);
      }
      if (!next) return std::move(next).error();
      if (!next.value()) return Ok{};
      ACCRETE_DO(add(*next.value()));
    }
    return Ok{};
  }

  Status add(const stream::Delivered& delivered) {
    wire::Prediction prediction;
    if (!prediction.ParseFromString(delivered.payload)) {
      return Error{Errc::Malformed, "a prediction that does not decode"};
    }
    const auto text = [&](const std::string& value) { return connection_->literal(value); };
    std::string label = "NULL";
    double score = prediction.score();
    if (prediction.kind() == wire::Prediction::RANKING) {
      std::string items;
      for (const wire::ClassScore& item : prediction.classes()) {
        items += items.empty() ? '[' : ',';
        json_text::append_string(items, item.label());
      }
      label = text(items.empty() ? "[]" : items + "]");
    } else if (prediction.classes_size() > 0) {
      const auto best = std::max_element(
          prediction.classes().begin(), prediction.classes().end(),
          [](const auto& a, const auto& b) { return a.probability() < b.probability(); });
      label = text(best->label());
      score = best->probability();
    }
    const std::string entity = entity_text(prediction);
    std::string row = "(" + text(prediction.task()) + "," + text(entity) + "," +
                      text(format_time(TimeUs(prediction.as_of_us()))) + ",'" +
                      std::string(task_kind_name(static_cast<TaskKind>(prediction.kind()))) + "'," +
                      number_text(score) + "," + label;
    for (const auto& bound :
         {prediction.has_low() ? std::optional(prediction.low()) : std::nullopt,
          prediction.has_high() ? std::optional(prediction.high()) : std::nullopt}) {
      row += "," + (bound ? number_text(*bound) : "NULL") + "::float8";
    }
    row += "," + std::to_string(delivered.header.seq.value) + "," +
           std::to_string(delivered.header.epoch) + ")";
    rows_[{prediction.task(), entity}] = std::move(row);
    last_ = delivered.header.seq;
    return Ok{};
  }

  Status ensure_table() {
    if (connection_) return Ok{};
    ACCRETE_TRY(Connection fresh, Connection::open(options_.url, postgres::ConnectionKind::Sql));
    ACCRETE_TRY(const postgres::Rows found,
                fresh.query("SELECT to_regclass(" + fresh.literal(table_) + ")"));
    if (!found[0][0]) {  // one that was made for us may be another role's
      ACCRETE_TRY(
          [[maybe_unused]] const postgres::Rows none,
          fresh.query("CREATE TABLE " + table_ +
                      " (task text, entity text, as_of timestamptz, kind text, score float8,"
                      " label text, low float8, high float8, seq bigint, epoch bigint,"
                      " PRIMARY KEY (task, entity)); COMMENT ON TABLE " +
                      table_ + " IS " + fresh.literal(postgres::kPredictionsComment)));
    }
    connection_.emplace(std::move(fresh));
    return Ok{};
  }

  const WriteBackOptions& options_;
  stream::Subscriber& subscriber_;
  const std::string table_;
  std::optional<Connection> connection_;
  std::map<std::pair<std::string, std::string>, std::string> rows_;  // newest of each entity
  PredictionSeq last_;  // newest collected and not acknowledged
  bool away_ = false;
};

}  // namespace

Status write_back(const WriteBackOptions& options, const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    Result<std::unique_ptr<stream::Subscriber>> opened =
        stream::Subscriber::open(options.subscriber);
    if (opened) return WriteBack(options, *opened.value()).run(stop);
    if (opened.error().code != Errc::Unavailable) return opened.error();
  }
  return Ok{};
}

}  // namespace accrete::daemon
