// spdlog to standard error, with journald's priorities.
#include "daemon/log.h"

#include <cstdlib>
#include <memory>

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace accrete::daemon {
namespace {

/// `%*` in the pattern: the priority of sd-daemon(3).
class Priority final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& out) override {
    const char* text = "<6>";
    if (message.level == spdlog::level::critical) text = "<2>";
    if (message.level == spdlog::level::err) text = "<3>";
    if (message.level == spdlog::level::warn) text = "<4>";
    if (message.level <= spdlog::level::debug) text = "<7>";
    out.append(text, text + 3);
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<Priority>();
  }
};

Result<spdlog::level::level_enum> level_of(const std::string& level) {
  const auto parsed = spdlog::level::from_str(level);
  if (parsed == spdlog::level::off && level != "off") {
    return Error{Errc::Malformed,
                 "log level \"" + level + "\" is unknown; use trace, debug, info, warn or error"};
  }
  return parsed;
}

}  // namespace

Status open_log(const std::string& level) {
  ACCRETE_TRY(const auto parsed, level_of(level));
  auto logger =
      std::make_shared<spdlog::logger>("", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nobody sets it
  const bool journal = std::getenv("JOURNAL_STREAM") != nullptr;
  formatter->add_flag<Priority>('*').set_pattern(journal ? "%*%v" : "%Y-%m-%d %H:%M:%S.%e %-5l %v");
  logger->set_formatter(std::move(formatter));
  logger->set_level(parsed);
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
  return Ok{};
}

Status set_log_level(const std::string& level) {
  ACCRETE_TRY(const auto parsed, level_of(level));
  spdlog::default_logger_raw()->set_level(parsed);
  return Ok{};
}

}  // namespace accrete::daemon
