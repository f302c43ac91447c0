// accretectl report: a backtest, or a daemon as it stands, as one HTML page.
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <stream.pb.h>

#include "daemon/ctl_commands.h"
#include "daemon/ctl_endpoint.h"
#include "daemon/report_file.h"
#include "daemon/report_page.h"
#include "daemon/terminal.h"
#include "stream/client.h"

namespace accrete::daemon {
namespace {

struct ReportFlags {
  EndpointFlags endpoint;
  bool live = false;
  std::uint64_t timeout_s = 60;
  std::vector<std::string> files;
};

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

Result<std::string> read_file(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) {
    return Error{
        Errc::NotFound,
        path + ": there is no such file; `accretectl backtest … --report " + path + "` writes one"};
  }
  const File file(std::fopen(path.c_str(), "rb"));
  std::string text;
  std::string part(1U << 20, '\0');
  while (file) {
    const std::size_t size = std::fread(part.data(), 1, part.size(), file.get());
    if (size == 0) break;
    text.append(part, 0, size);
  }
  if (!file || std::ferror(file.get()) != 0) {
    return Error{Errc::Unavailable, path + ": cannot be read; give a file that this user may read"};
  }
  return text;
}

Status write_page(const std::string& path, const std::string& text) {
  File file(std::fopen(path.c_str(), "wb"));
  if (!file) {
    return Error{Errc::Unavailable,
                 path + ": cannot be written; does its folder exist, and may this user write?"};
  }
  const bool written = std::fwrite(text.data(), 1, text.size(), file.get()) == text.size();
  const bool closed = std::fclose(file.release()) == 0;
  if (!written || !closed) {
    return Error{Errc::Unavailable, path + ": writing failed; is the disk full?"};
  }
  return Ok{};
}

Result<report::Report> ask_daemon(const ReportFlags& flags) {
  ACCRETE_TRY(const Config config, config_of(flags.endpoint));
  ACCRETE_TRY(const stream::EndpointOptions endpoint,
              endpoint_of(flags.endpoint, config, config.endpoints.control));
  wire::ToControl question;
  question.set_request(1);
  question.mutable_status()->set_alarms(true);
  question.mutable_status()->set_course(true);
  ACCRETE_TRY(const std::string bytes, stream::ask_control(endpoint, question.SerializeAsString(),
                                                           std::chrono::seconds(flags.timeout_s)));
  wire::FromControl answer;
  if (!answer.ParseFromString(bytes)) {
    return Error{Errc::Malformed, endpoint.address + " answered with something else"};
  }
  return report::read_status(answer.json(), endpoint.address);
}

Result<report::Report> report_of(const ReportFlags& flags) {
  if (flags.live) return ask_daemon(flags);
  ACCRETE_TRY(const std::string text, read_file(flags.files.front()));
  return report::read_report(text, flags.files.front());
}

Result<Exit> write_report(const ReportFlags& flags) {
  const std::size_t wanted = flags.live ? 1 : 2;
  if (flags.files.size() != wanted) {
    terminal::note(flags.live ? "report --live takes one file, the page to write: OUT.html"
                              : "report takes two files, what to read and what to write: "
                                "REPORT.json OUT.html");
    return Exit::Usage;
  }
  ACCRETE_TRY(const report::Report found, report_of(flags));
  const std::string text = report::page(found);
  ACCRETE_DO(write_page(flags.files.back(), text));
  terminal::note(flags.files.back() + ": " + std::to_string(found.tasks.size()) + " tasks, " +
                 terminal::bytes_text(text.size()) + "; open it in a browser");
  return Exit::Good;
}

}  // namespace

void add_report(CLI::App& app, Exit& exit) {
  CLI::App* command = app.add_subcommand(
      "report",
      "Write a backtest's report as one HTML page that needs nothing else: metrics over event "
      "time, weights of the candidates, drift alarms, experts of graph networks, tables.\n\n"
      "Examples:\n"
      "  accretectl backtest --config f1.toml --rows tables/ --report out.json\n"
      "  accretectl report out.json out.html\n"
      "  accretectl report --live --config accreted.toml now.html");
  auto flags = std::make_shared<ReportFlags>();
  command->add_option("files", flags->files, "REPORT.json OUT.html; with --live only OUT.html")
      ->expected(1, 2)
      ->required();
  command->add_flag(
      "--live", flags->live,
      "of the running daemon instead: its newest metrics and alarms, and curves since it started");
  flags->endpoint.add_to(*command);
  command->add_option("--timeout", flags->timeout_s, "seconds to wait for the daemon's answer")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->callback([flags, &exit] {
    const auto done = write_report(*flags);
    exit = done ? done.value() : terminal::fail(done.error());
  });
}

}  // namespace accrete::daemon
