// Table files as a source of transactions: one after another, or merged by event time.
#include <algorithm>
#include <filesystem>
#include <limits>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "daemon/csv_table.h"
#include "daemon/row_source.h"
#include "proto/hash.h"
#include "proto/limits.h"

namespace accrete::daemon {
namespace {

namespace fs = std::filesystem;

/// `orders` of `orders.csv` and `orders.csv.gz`; "" for any other name.
std::string table_name_of(const fs::path& path) {
  const std::string name = path.filename().string();
  for (const std::string_view ending : {".csv", ".csv.gz"}) {
    if (name.size() > ending.size() && name.ends_with(ending)) {
      return name.substr(0, name.size() - ending.size());
    }
  }
  return "";
}

/// The files to read, by table; an empty path where there is none.
struct Found {
  const Schema* schema;
  std::vector<std::string> path_of_table;
  std::vector<std::string>* skipped;

  /// `named`: the user named this very file, so skipping it would surprise.
  Status add(const fs::path& path, bool named) {
    const std::string name = table_name_of(path);
    const std::optional<TableId> table =
        name.empty() ? std::optional<TableId>() : schema->find(name);
    if (!table) {
      if (named) {
        std::vector<std::string> names;
        for (const Table& known : schema->tables())
          names.push_back(known.name);
        const std::string near = nearest_name(name, names);
        return Error{Errc::Malformed,
                     path.string() + ": no table of the configuration has this name" +
                         (near.empty() ? "; name the file TABLE.csv or TABLE.csv.gz"
                                       : "; did you mean \"" + near + "\"?")};
      }
      if (skipped != nullptr) skipped->push_back(path.string());
      return Ok{};
    }
    std::string& slot = path_of_table[table->value];
    if (!slot.empty()) {
      return Error{Errc::Malformed, path.string() + ": table \"" + name +
                                        "\" was already found in " + slot +
                                        "; give each table one file"};
    }
    slot = path.string();
    return Ok{};
  }
};

Status find_files(const std::string& path, Found& found) {
  std::error_code fault;
  const fs::file_status status = fs::status(path, fault);
  if (!fs::exists(status)) return Error{Errc::NotFound, path + ": there is no such file or folder"};
  if (!fs::is_directory(status)) return found.add(path, true);
  std::vector<fs::path> files;
  for (fs::directory_iterator entry(path, fault); !fault && entry != fs::directory_iterator();
       entry.increment(fault)) {
    if (entry->is_regular_file(fault)) files.push_back(entry->path());
  }
  if (fault) return Error{Errc::Unavailable, path + ": cannot be listed: " + fault.message()};
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files)
    ACCRETE_DO(found.add(file, false));
  return Ok{};
}

/// What decides the positions: the paths and how they are cut into transactions.
std::string source_name(const CsvOptions& options) {
  std::string paths;
  for (const std::string& path : options.paths) {
    std::error_code fault;
    const fs::path whole = fs::weakly_canonical(path, fault);
    paths += (paths.empty() ? "" : ",") + (fault ? path : whole.string());
  }
  std::string name = options.as_of_order ? "csv-as-of:" : "csv:";
  if (options.rows_per_transaction != CsvOptions().rows_per_transaction) {
    name += std::to_string(options.rows_per_transaction) + ":";
  }
  if (name.size() + paths.size() > limits::name_bytes_max) {
    paths = "paths-" + std::to_string(hash64(paths));
  }
  return name + paths;
}

class CsvSource final : public RowSource {
 public:
  CsvSource(CsvOptions options, std::vector<CsvTable> tables)
      : options_(std::move(options)), name_(source_name(options_)), tables_(std::move(tables)) {}

  /// Step every table to its first row.
  Status start() {
    for (std::size_t i = 0; i < tables_.size(); ++i) {
      live_.push_back(false);
      declared_.push_back(false);
      ACCRETE_DO(step(i));
    }
    return Ok{};
  }

  std::string name() const override { return name_; }

  Result<bool> next(SourceTransaction& out) override {
    out.bytes.clear();
    out.ends.clear();
    out.rows = 0;
    std::size_t table = 0;
    if (!pick(table)) return false;
    const bool marks = options_.snapshot_marks && !options_.as_of_order;
    if (marks && position_ == 0) mark(out, MarkKind::SnapshotBegin);
    const TimeUs time = time_of(table);
    // Rows without a time have no natural transaction: pieces of a fixed size.
    const bool whole = options_.as_of_order && time != kTimeMin;
    const std::uint64_t rows_max =
        whole ? std::numeric_limits<std::uint64_t>::max() : options_.rows_per_transaction;
    do {
      ACCRETE_DO(take_run(table, time, rows_max, out));
    } while (out.rows < rows_max && pick(table) && time_of(table) == time);
    if (marks && !pick(table)) mark(out, MarkKind::SnapshotEnd);
    out.position = ++position_;
    out.input = hash64(out.bytes);
    rows_ += out.rows;
    return true;
  }

  Progress progress() const override {
    Progress progress;
    progress.rows = rows_;
    for (const CsvTable& table : tables_) {
      progress.bytes_done += table.bytes_done();
      progress.bytes_total += table.bytes_total();
    }
    return progress;
  }

 private:
  /// Time that orders the row at hand; all the same where files follow each other.
  TimeUs time_of(std::size_t table) const {
    return options_.as_of_order ? tables_[table].time() : kTimeMin;
  }

  /// The table whose row comes next: by time, then by place in the schema.
  bool pick(std::size_t& out) const {
    bool found = false;
    for (std::size_t i = 0; i < tables_.size(); ++i) {
      if (!live_[i] || (found && time_of(i) >= time_of(out))) continue;
      out = i;
      found = true;
    }
    return found;
  }

  /// Rows of one table while their time is `time` and there is room.
  Status take_run(std::size_t table, TimeUs time, std::uint64_t rows_max, SourceTransaction& out) {
    if (!declared_[table]) {
      declared_[table] = true;
      tables_[table].append_layout(out.bytes);
      ACCRETE_DO(close_record(table, out));
    }
    while (live_[table] && time_of(table) == time && out.rows < rows_max) {
      tables_[table].append_row(out.bytes);
      ACCRETE_DO(close_record(table, out));
      ++out.rows;
      ACCRETE_DO(step(table));
    }
    return Ok{};
  }

  Status close_record(std::size_t table, SourceTransaction& out) const {
    if (out.bytes.size() > std::numeric_limits<std::uint32_t>::max()) {
      return Error{Errc::Exhausted, tables_[table].path() +
                                        ": more than 4 GiB of rows have one time stamp, too " +
                                        "much for one transaction; feed without the order of time"};
    }
    out.ends.push_back(static_cast<std::uint32_t>(out.bytes.size()));
    return Ok{};
  }

  static void mark(SourceTransaction& out, MarkKind kind) {
    encode_mark({kind, TimeUs(0)}, out.bytes);
    out.ends.push_back(static_cast<std::uint32_t>(out.bytes.size()));
  }

  Status step(std::size_t table) {
    ACCRETE_TRY(const bool more, tables_[table].advance());
    live_[table] = more;
    return Ok{};
  }

  CsvOptions options_;
  std::string name_;
  std::vector<CsvTable> tables_;  // in schema order
  std::vector<bool> live_;        // it stands at a row
  std::vector<bool> declared_;    // its layout has been sent
  std::uint64_t position_ = 0;
  std::uint64_t rows_ = 0;
};

}  // namespace

Result<std::unique_ptr<RowSource>> open_csv(const CsvOptions& options, const Schema& schema,
                                            std::vector<std::string>* skipped) {
  ACCRETE_CHECK(options.rows_per_transaction > 0);
  Found found{&schema, std::vector<std::string>(schema.tables().size()), skipped};
  for (const std::string& path : options.paths)
    ACCRETE_DO(find_files(path, found));
  std::vector<CsvTable> tables;
  const CsvTable::Order order = options.as_of_order ? CsvTable::Order::Time : CsvTable::Order::File;
  for (std::size_t i = 0; i < found.path_of_table.size(); ++i) {
    if (found.path_of_table[i].empty()) continue;
    ACCRETE_TRY(CsvTable table, CsvTable::open(found.path_of_table[i], schema.tables()[i], order));
    tables.push_back(std::move(table));
  }
  if (tables.empty()) {
    return Error{Errc::Malformed,
                 "no file of a table of the configuration was found; name folders or files "
                 "TABLE.csv or TABLE.csv.gz"};
  }
  auto source = std::make_unique<CsvSource>(options, std::move(tables));
  ACCRETE_DO(source->start());
  return std::unique_ptr<RowSource>(std::move(source));
}

}  // namespace accrete::daemon
