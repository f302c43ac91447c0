// accretectl log: what a store's change log holds, without a daemon.
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "daemon/ctl_commands.h"
#include "daemon/terminal.h"
#include "proto/codec.h"
#include "proto/json_text.h"
#include "proto/time.h"
#include "proto/value.h"
#include "store/database.h"
#include "store/log.h"

namespace accrete::daemon {
namespace {

constexpr std::size_t kReadRecords = 4096;
constexpr std::size_t kReadBytes = 4u << 20;

Result<std::unique_ptr<store::Database>> open_store(const std::string& path) {
  store::DatabaseOptions options;
  options.path = path;
  options.read_only = true;
  return store::Database::open(options);
}

Result<store::Log::Verified> verify(const std::string& path) {
  ACCRETE_TRY(const std::unique_ptr<store::Database> database, open_store(path));
  ACCRETE_TRY(const store::Log log, store::Log::open(*database));
  return log.verify();
}

Exit run_verify(const std::string& path) {
  const Result<store::Log::Verified> verified = verify(path);
  if (!verified) return terminal::fail(verified.error());
  const store::Log::Verified& log = verified.value();
  terminal::print("whole: " + terminal::grouped(log.records) + " records in " +
                  terminal::grouped(log.transactions) + " transactions, " +
                  terminal::bytes_text(log.bytes) + "\n");
  return Exit::Good;
}

void append_value(std::string& out, const Value& value) {
  switch (value.kind) {
    case ValueKind::Null:
    case ValueKind::Unchanged:
      out += "null";
      return;
    case ValueKind::Real:
      json_text::append_real(out, value.real);
      return;
    case ValueKind::Text:
      json_text::append_string(out, value.text);
      return;
    case ValueKind::Time:
      json_text::append_string(out, format_time(TimeUs(value.integer)));
      return;
    case ValueKind::Flag:
    case ValueKind::Integer:
      out += value_text(value);
      return;
  }
}

/// Prints records as the lines that `feed jsonl` reads, with their place in the log.
class LogPrinter {
 public:
  Status print(const store::Log& log) {
    for (Ordinal from{1}; from <= log.end();) {
      ACCRETE_TRY(const LogSlice slice, log.read(from, kReadRecords, kReadBytes));
      if (slice.size() == 0) break;
      for (std::size_t i = 0; i < slice.size(); ++i)
        ACCRETE_DO(print_entry(log, slice.entry(i)));
      from.value += slice.size();
    }
    return Ok{};
  }

 private:
  Status print_entry(const store::Log& log, std::string_view entry) {
    LogHeader header;
    ACCRETE_TRY(const std::string_view bytes, decode_entry(entry, header));
    ACCRETE_DO(decode_record(bytes, record_));
    if (record_.kind == RecordKind::Layout) {
      layouts_[record_.layout.hash()] = record_.layout;
      return Ok{};
    }
    out_ = "{\"source\":";
    json_text::append_string(out_, log.source_names()[header.source.value]);
    out_ += ",\"tx\":" + std::to_string(header.position);
    if (record_.kind == RecordKind::Change) print_change();
    if (record_.kind == RecordKind::Mark) print_mark();
    if (record_.kind == RecordKind::Request) {
      out_ += ",\"request\":";
      json_text::append_string(out_, record_.request.task);
    }
    terminal::print(out_ + "}\n");
    return Ok{};
  }

  void print_mark() {
    constexpr const char* names[] = {"snapshot_begin", "snapshot_end", "clock", "block", "idle"};
    out_ += std::string(",\"mark\":\"") + names[static_cast<std::size_t>(record_.mark.kind)] + "\"";
  }

  void print_change() {
    constexpr const char* names[] = {"insert", "update", "delete", "truncate"};
    const Change& change = record_.change;
    const Layout& layout = layouts_[change.layout];
    out_ += ",\"table\":";
    json_text::append_string(out_, layout.table);
    out_ += std::string(",\"op\":\"") + names[static_cast<std::size_t>(change.op)] + "\"";
    if (change.change_time) {
      out_ += ",\"time\":\"" + format_time(*change.change_time) + "\"";
    }
    if (!change.old_key.empty()) {
      out_ += ",\"old_key\":[";
      for (const Value& value : change.old_key) {
        if (out_.back() != '[') out_ += ',';
        append_value(out_, value);
      }
      out_ += ']';
    }
    out_ += ",\"row\":{";
    for (std::size_t i = 0; i < change.cells.size() && i < layout.columns.size(); ++i) {
      if (change.cells[i].kind == ValueKind::Unchanged) continue;
      if (out_.back() != '{') out_ += ',';
      json_text::append_string(out_, layout.columns[i]);
      out_ += ':';
      append_value(out_, change.cells[i]);
    }
    out_ += '}';
  }

  std::unordered_map<std::uint64_t, Layout> layouts_;
  Record record_;
  std::string out_;
};

Status print(const std::string& path) {
  ACCRETE_TRY(const std::unique_ptr<store::Database> database, open_store(path));
  ACCRETE_TRY(const store::Log log, store::Log::open(*database));
  return LogPrinter().print(log);
}

Exit run_print(const std::string& path) {
  const Status printed = print(path);
  terminal::flush();
  return printed ? Exit::Good : terminal::fail(printed.error());
}

}  // namespace

void add_log(CLI::App& app, Exit& exit) {
  CLI::App* log = app.add_subcommand("log", "the change log of a store");
  log->require_subcommand(1);
  log->footer("Example:\n  accretectl log verify /var/lib/accreted");
  const auto path = std::make_shared<std::string>();
  CLI::App* verify_command =
      log->add_subcommand("verify", "read the whole log of a store and check that it is sound");
  verify_command->add_option("store", *path, "folder of the store")->required();
  verify_command->footer("Example:\n  accretectl log verify /var/lib/accreted");
  verify_command->callback([path, &exit] { exit = run_verify(*path); });

  CLI::App* print_command =
      log->add_subcommand("print", "every record as JSON, one a line, in the order of the log");
  print_command->add_option("store", *path, "folder of the store")->required();
  print_command->footer("Example:\n  accretectl log print /var/lib/accreted | grep orders");
  print_command->callback([path, &exit] { exit = run_print(*path); });
}

}  // namespace accrete::daemon
