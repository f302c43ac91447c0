// Explicit prediction requests, merged by time into a stream of rows.
#include <algorithm>
#include <map>
#include <utility>

#include "daemon/backtest.h"
#include "daemon/csv_reader.h"
#include "proto/codec.h"
#include "proto/time.h"

namespace accrete::daemon {
namespace {

struct PairRequest {
  std::string task;
  std::vector<std::string> key;  // cell texts, in the order of the entity's key
};

/// Event time of a transaction's rows: those of one transaction share it in event-time order.
class TransactionClock {
 public:
  explicit TransactionClock(Schema schema) : schema_(std::move(schema)) {}

  Result<TimeUs> time_of(const SourceTransaction& transaction) {
    TimeUs time = kTimeMin;
    std::uint32_t begin = 0;
    for (const std::uint32_t end : transaction.ends) {
      ACCRETE_DO(
          decode_record(std::string_view(transaction.bytes).substr(begin, end - begin), record_));
      begin = end;
      if (record_.kind == RecordKind::Layout) ACCRETE_DO(layouts_.declare(record_.layout, schema_));
      if (record_.kind != RecordKind::Change) continue;
      const BoundLayout* layout = layouts_.find(record_.change.layout);
      if (layout == nullptr) continue;
      const auto own = event_time_of(record_.change, *layout, schema_.table(layout->table));
      if (own) time = std::max(time, *own);
    }
    return time;
  }

 private:
  Schema schema_;
  Layouts layouts_;
  Record record_;
};

/// The two sources behind one name; positions are numbered anew.
class MergedSource final : public RowSource {
 public:
  MergedSource(std::unique_ptr<RowSource> base, std::multimap<TimeUs, PairRequest> requests,
               Schema schema)
      : base_(std::move(base)), requests_(std::move(requests)), clock_(std::move(schema)) {
    if (!requests_.empty()) last_ = requests_.rbegin()->first;
  }

  std::string name() const override { return base_->name() + "+requests"; }
  Progress progress() const override { return base_->progress(); }

  Result<bool> next(SourceTransaction& out) override {
    if (!held_ && !base_done_) {
      ACCRETE_TRY(const bool more, base_->next(waiting_));
      base_done_ = !more;
      held_ = more;
      if (more) {
        ACCRETE_TRY(time_, clock_.time_of(waiting_));
      }
    }
    const bool request_first =
        !requests_.empty() && (base_done_ || requests_.begin()->first < time_);
    if (request_first) {
      take_requests(out);
    } else if (held_) {
      std::swap(out, waiting_);
      held_ = false;
    } else if (!closed_ && last_ != kTimeMin) {
      closed_ = true;
      out.bytes.clear();
      out.rows = 0;
      encode_mark({MarkKind::Clock, TimeUs{last_.value + 1}}, out.bytes);
      out.ends.assign(1, static_cast<std::uint32_t>(out.bytes.size()));
    } else {
      return false;
    }
    out.position = ++position_;
    return true;
  }

 private:
  /// All requests of the earliest instant, as one transaction.
  void take_requests(SourceTransaction& out) {
    out.bytes.clear();
    out.ends.clear();
    out.rows = 0;
    const TimeUs at = requests_.begin()->first;
    Request request;
    while (!requests_.empty() && requests_.begin()->first == at) {
      const PairRequest& pair = requests_.begin()->second;
      request.task = pair.task;
      request.as_of = at;
      request.key.clear();
      for (const std::string& cell : pair.key)
        request.key.push_back(guess_value(cell));
      encode_request(request, out.bytes);
      out.ends.push_back(static_cast<std::uint32_t>(out.bytes.size()));
      requests_.erase(requests_.begin());
    }
  }

  std::unique_ptr<RowSource> base_;
  std::multimap<TimeUs, PairRequest> requests_;
  TransactionClock clock_;
  SourceTransaction waiting_;
  TimeUs time_ = kTimeMin;
  TimeUs last_ = kTimeMin;
  bool held_ = false;
  bool base_done_ = false;
  bool closed_ = false;
  std::uint64_t position_ = 0;
};

Result<std::vector<std::string>> key_columns(const RequestFile& file, const Config& config) {
  for (const TaskConfig& task : config.tasks) {
    if (task.name != file.task) continue;
    const auto id = config.schema.find(task.query.entity.table);
    if (!id) break;
    const Table& table = config.schema.table(*id);
    std::vector<std::string> names;
    for (const ColumnId column : table.key)
      names.push_back(table.columns[column.value].name);
    return names;
  }
  std::vector<std::string> names;
  for (const TaskConfig& task : config.tasks)
    names.push_back(task.name);
  const std::string nearest = nearest_name(file.task, names);
  return Error{Errc::Malformed, "--requests: no task \"" + file.task + "\" in " + config.file +
                                    (nearest.empty() ? "" : "; did you mean \"" + nearest + "\"?")};
}

Status read_requests(const RequestFile& file, const Config& config,
                     std::multimap<TimeUs, PairRequest>& requests) {
  ACCRETE_TRY(const std::vector<std::string> keys, key_columns(file, config));
  ACCRETE_TRY(CsvReader reader, CsvReader::open(file.path));
  std::vector<std::string_view> cells;
  ACCRETE_TRY(const bool has_header, reader.next(cells));
  if (!has_header) return Error{Errc::Malformed, file.path + ": empty; expected a header row"};
  const auto position_of = [&](const std::string& name) -> Result<std::size_t> {
    const auto found = std::find(cells.begin(), cells.end(), name);
    if (found != cells.end()) return static_cast<std::size_t>(found - cells.begin());
    return Error{Errc::Malformed, file.path + ":1: no column \"" + name +
                                      "\"; requests need date and the entity's key"};
  };
  ACCRETE_TRY(const std::size_t date, position_of("date"));
  std::vector<std::size_t> positions;
  for (const std::string& key : keys) {
    ACCRETE_TRY(const std::size_t position, position_of(key));
    positions.push_back(position);
  }
  while (true) {
    ACCRETE_TRY(const bool more, reader.next(cells));
    if (!more) return Ok{};
    const auto time = date < cells.size() ? try_parse_time(cells[date]) : std::nullopt;
    PairRequest request{file.task, {}};
    for (const std::size_t position : positions) {
      if (position < cells.size()) request.key.emplace_back(cells[position]);
    }
    if (!time || request.key.size() != positions.size()) {
      return reader.malformed("expected a time in column \"date\" and a key");
    }
    requests.emplace(*time, std::move(request));
  }
}

}  // namespace

Result<std::unique_ptr<RowSource>> merge_requests(std::unique_ptr<RowSource> base,
                                                  const std::vector<RequestFile>& files,
                                                  const Config& config) {
  if (files.empty()) return base;
  std::multimap<TimeUs, PairRequest> requests;
  for (const RequestFile& file : files)
    ACCRETE_DO(read_requests(file, config, requests));
  return std::unique_ptr<RowSource>(
      std::make_unique<MergedSource>(std::move(base), std::move(requests), config.schema));
}

}  // namespace accrete::daemon
