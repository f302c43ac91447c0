// From gauges, fold and log to JSON.
#include "daemon/status_parts.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "daemon/clock.h"
#include "daemon/graded_series.h"
#include "proto/codec.h"

namespace accrete::daemon {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kLettersMax = 100;

Json stage_json(const Histogram& histogram) {
  Json json;
  json["count"] = histogram.count();
  json["seconds"] = static_cast<double>(histogram.sum_us) * 1e-6;
  for (const auto& [name, part] : {std::pair{"p50", 0.5}, std::pair{"p99", 0.99}}) {
    const double bound = histogram.quantile(part);
    json[name] = std::isfinite(bound) ? Json(bound) : Json();
  }
  return json;
}

/// The table that a refused record is about, as far as it can be read.
Json table_of(const store::DeadLetter& letter, const std::vector<Layout>& layouts) {
  Record record;
  if (!decode_record(letter.record, record)) return nullptr;
  if (record.kind == RecordKind::Layout) return record.layout.table;
  if (record.kind != RecordKind::Change) return nullptr;
  const auto found = std::find_if(layouts.begin(), layouts.end(), [&](const Layout& layout) {
    return layout.hash() == record.change.layout;
  });
  return found == layouts.end() ? Json() : Json(found->table);
}

}  // namespace

Json seconds_since(std::uint64_t at_ms) {
  if (at_ms == 0) return nullptr;
  return std::round(std::max(0.0, steady_seconds() * 1e3 - static_cast<double>(at_ms))) * 1e-3;
}

Json lag_json(const Gauges& gauges, std::uint64_t records) {
  // In this order: what is folded in between is not counted as more than what is durable.
  const std::uint64_t folded = gauges.folded_bytes;
  const std::uint64_t durable = gauges.durable_bytes;
  return {{"seconds", seconds_since(gauges.caught_up_ms)},
          {"records", records},
          {"bytes", durable - folded}};
}

Json stages_json(const Gauges& gauges) {
  return {{"commit", stage_json(gauges.commit_seconds)},
          {"fold", stage_json(gauges.fold_seconds)},
          {"control", stage_json(gauges.question_seconds)}};
}

Json tables_json(const Fold& fold) {
  Json all = Json::array();
  for (std::size_t t = 0; t < fold.table_changes().size(); ++t) {
    const auto& counts = fold.table_changes()[t];
    all.push_back({{"table", fold.schema().tables()[t].name},
                   {"insert", counts[static_cast<std::size_t>(Op::Insert)]},
                   {"update", counts[static_cast<std::size_t>(Op::Update)]},
                   {"delete", counts[static_cast<std::size_t>(Op::Delete)]},
                   {"truncate", counts[static_cast<std::size_t>(Op::Truncate)]}});
  }
  return all;
}

Result<Json> letters_json(const store::Log& log, const std::vector<Layout>& layouts,
                          std::size_t max) {
  const std::uint64_t count = log.dead_letter_count();
  const std::uint64_t wanted = std::min<std::uint64_t>({max, kLettersMax, count});
  ACCRETE_TRY(const auto letters, log.dead_letters(count - wanted + 1, wanted));
  Json all = Json::array();
  for (auto letter = letters.rbegin(); letter != letters.rend(); ++letter) {
    all.push_back({{"number", letter->number},
                   {"source", letter->source},
                   {"position", letter->position},
                   {"table", table_of(*letter, layouts)},
                   {"bytes", letter->record.size()},
                   {"reason", letter->reason}});
  }
  return all;
}

}  // namespace accrete::daemon
