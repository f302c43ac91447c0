// Names for explain.
#include "daemon/feature_names.h"

#include <cmath>
#include <cstdio>

#include "daemon/synthesis.h"
#include "proto/time.h"

namespace accrete::daemon {

namespace {

std::string in_days(double duration_us) {
  char text[48];
  const double days = duration_us / static_cast<double>(kDayUs);
  static_cast<void>(std::snprintf(text, sizeof text, "%g days", days));
  return text;
}

}  // namespace

std::string life_name(double life_us) {
  return std::isinf(life_us) ? "ever" : "half-life " + in_days(life_us);
}

void name_header(const std::string& what, bool ordered, const std::vector<std::string>& lives,
                 const std::vector<std::string>& links, std::vector<std::string>& names) {
  names.push_back("log count of " + what + ", ever");
  for (const std::string& life : lives) {
    std::string name = "log count of " + what;
    names.push_back(name.append(", ").append(life).append(life == "ever" ? " again" : ""));
  }
  if (!ordered) return;
  names.push_back("log age of newest " + what);
  names.push_back("log age of oldest " + what);
  names.push_back("log mean gap of " + what);
  for (const std::string& link : links) {
    std::string different = "different ";
    names.push_back(different.append(link).append(" of newest 8 ").append(what));
    std::string share = "share of newest 8 ";
    names.push_back(share.append(what).append(" with the newest ").append(link));
  }
}

void name_column(const std::string& what, bool ordered, bool window,
                 const std::vector<std::string>& lives, std::vector<std::string>& names) {
  if (ordered) {
    names.push_back(what + ", newest");
    names.push_back(what + ", mean, decay .9");
    names.push_back(what + ", deviation, decay .9");
  }
  if (ordered && window) {
    names.push_back(what + ", mean of newest 3");
    names.push_back(what + ", least of newest 8");
    names.push_back(what + ", greatest of newest 8");
    names.push_back(what + ", trend over newest 8");
  }
  for (const std::string& life : lives)
    names.push_back(std::string(what).append(", mean, ").append(life));
}

void name_stream_run(const StreamNaming& naming, const KeyPlan& key, const FeatureRun& run,
                     std::vector<std::string>& names) {
  const SynthesisPlan& all = naming.synthesis.plan();
  const StreamPlan& plan = all.streams[key.streams[run.stream]];
  const SourcePlan& source = all.sources[plan.source];
  const std::string& table = naming.schema.table(source.table).name;
  const std::string way = plan.global ? std::string() : all.way_name(plan, naming.schema);
  const std::string of = key.name.empty() ? std::string() : " of " + key.name;
  const std::string rows = table + (plan.global ? "" : "." + way) + of;
  if (run.kind == FeatureRun::Kind::Recent) {
    for (const std::int64_t windows : kRecentWindows) {
      const auto duration_us = static_cast<double>(windows * naming.window_us);
      names.push_back("log count of " + rows + ", last " + in_days(duration_us));
    }
    return;
  }
  const bool window = key.way == KeyPlan::Way::Self;
  const auto lives = source.timed ? naming.lives : std::vector<std::string>{"ever"};
  if (run.kind == FeatureRun::Kind::Header) {
    const auto links = window && plan.ordered() ? all.link_names(plan.source, naming.schema)
                                                : std::vector<std::string>();
    name_header(rows, plan.ordered(), lives, links, names);
    return;
  }
  const auto columns = naming.synthesis.column_names(plan.source);
  const std::string by = plan.global ? of : " by " + way + of;
  const auto named = [&](const std::string& column) {
    return std::string(table).append(".").append(column).append(by);
  };
  if (run.kind == FeatureRun::Kind::Mode) {
    const auto category = naming.synthesis.categories(plan.source, columns.size())[run.begin];
    const std::string& value = columns[category.front()];
    const std::string what = named(value.substr(0, value.find(" = ")));
    names.push_back(what + ", share of the most frequent, decay .9");
    names.push_back(what + ", newest is the most frequent");
    return;
  }
  for (std::size_t c = run.begin; c < run.end; ++c)
    name_column(named(columns[c]), plan.ordered(), window, lives, names);
}

}  // namespace accrete::daemon
