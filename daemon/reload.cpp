// Rereading the configuration file, and what of it differs from what runs.
#include "daemon/reload.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "daemon/log.h"
#include "daemon/plan.h"
#include "stream/zap.h"

namespace accrete::daemon {
namespace {

/// A part of a printed configuration: "[limits]", "[[task]] churn".
struct Section {
  std::string title;
  std::string text;
  bool operator==(const Section&) const = default;
};

/// A table or task is called by its name, what stands above all headers by its keys.
std::string section_title(std::string_view text) {
  const std::string_view header = text.substr(0, text.find('\n'));
  if (!header.starts_with('[')) return "seed or threads";
  if (!header.starts_with("[[")) return std::string(header);
  const std::size_t quote = text.find('"');
  const std::size_t end = text.find("\"\n", quote);
  return std::string(header) + " " + std::string(text.substr(quote + 1, end - quote - 1));
}

/// print_config() puts an empty line between its parts, and none inside.
std::vector<Section> sections(const std::string& printed) {
  std::vector<Section> out;
  for (std::size_t begin = 0; begin < printed.size();) {
    const std::size_t end = std::min(printed.find("\n\n", begin), printed.size());
    std::string text = printed.substr(begin, end - begin);
    if (!text.ends_with('\n')) text += '\n';
    std::string title = section_title(text);
    out.push_back({std::move(title), std::move(text)});
    begin = end + 2;
  }
  return out;
}

/// Titles of the parts that differ, but for what a reload applies; those of `fresh` first.
std::vector<std::string> differences(const Config& running, Config fresh) {
  fresh.log_level = running.log_level;
  if (!running.endpoints.curve_clients_file.empty() &&
      !fresh.endpoints.curve_clients_file.empty()) {
    fresh.endpoints.curve_clients_file = running.endpoints.curve_clients_file;
  }
  const std::vector<Section> before = sections(print_config(running));
  const std::vector<Section> after = sections(print_config(fresh));
  std::vector<std::string> out;
  const auto tell = [&out](const std::vector<Section>& these, const std::vector<Section>& others) {
    for (const Section& section : these) {
      const bool same = std::find(others.begin(), others.end(), section) != others.end();
      if (!same && std::find(out.begin(), out.end(), section.title) == out.end())
        out.push_back(section.title);
    }
  };
  tell(after, before);
  tell(before, after);
  if (out.empty() && before != after) out.emplace_back("the order of tables and tasks");
  return out;
}

}  // namespace

Result<Reloaded> reload(const Config& running, stream::Context& context) {
  ACCRETE_TRY(Config fresh, load_config(running.file));
  ACCRETE_DO(check_tasks(fresh));
  Reloaded out;
  const std::string& clients_file = fresh.endpoints.curve_clients_file;
  if (!clients_file.empty() && !running.endpoints.curve_clients_file.empty()) {
    ACCRETE_TRY(const auto keys, stream::read_client_keys(clients_file));
    ACCRETE_DO(stream::ZapGate::replace(context.get(), keys));
    out.applied.push_back("clients_file, " + std::to_string(keys.size()) +
                          (keys.size() == 1 ? " key" : " keys"));
  }
  ACCRETE_DO(set_log_level(fresh.log_level));
  out.applied.push_back("log level " + fresh.log_level);
  out.needs_restart = differences(running, std::move(fresh));
  return out;
}

void log_reload(const Result<Reloaded>& reloaded) {
  if (!reloaded) {
    spdlog::error("not reloaded, all stays as it was: {}", reloaded.error().detail);
    return;
  }
  for (const std::string& what : reloaded.value().applied)
    spdlog::info("reloaded: {}", what);
  for (const std::string& what : reloaded.value().needs_restart)
    spdlog::warn("{} differs from what runs; restart to apply it", what);
}

std::string reloaded_json(const Reloaded& reloaded) {
  const nlohmann::ordered_json json = {{"reloaded", reloaded.applied},
                                       {"needs_restart", reloaded.needs_restart}};
  return json.dump();
}

}  // namespace accrete::daemon
