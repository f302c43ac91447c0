// Reading what a network tells of its experts, and writing it for the page.
#include "daemon/report_experts.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string_view>
#include <utility>

#include "daemon/report_chart.h"
#include "daemon/report_look.h"
#include "daemon/report_scale.h"
#include "daemon/report_tables.h"

namespace accrete::daemon::report {
namespace {

constexpr std::array<std::pair<std::string_view, std::string_view>, 5> kFigures{
    {{"nodes", "rows handled"},
     {"entropy", "entropy of weights"},
     {"own_block", "own block chosen"},
     {"dead", "hidden numbers asleep"},
     {"block_loss", "block loss"}}};

std::string figure_title(const std::string& name) {
  const auto* const found = std::find_if(kFigures.begin(), kFigures.end(),
                                         [&](const auto& f) { return f.first == name; });
  return found == kFigures.end() ? name : std::string(found->second);
}

/// ", expert 3" where the event says so.
Result<std::string> event_part(const Place& event, const std::string& name) {
  if (!event.has(name.c_str())) return std::string();
  ACCRETE_TRY(const Place member, event.member(name));
  if (member.is_null()) return std::string();
  const auto text = member.text();  // a name, or a number
  if (text) return ", " + name + " " + text.value();
  ACCRETE_TRY(const std::uint64_t number, member.whole());
  return ", " + name + " " + std::to_string(number);
}

Status read_events(const Place& place, Experts& experts) {
  ACCRETE_TRY(const auto items, place.items());
  for (const Place& item : items) {
    Mark mark;
    ACCRETE_TRY(const Place at, item.member("at"));
    ACCRETE_TRY(mark.at, at.time());
    ACCRETE_TRY(const Place kind, item.member("kind"));
    ACCRETE_TRY(mark.kind, kind.text());
    mark.text = mark.kind;
    for (const char* name : {"expert", "with", "layer", "block", "reason"}) {
      ACCRETE_TRY(const std::string part, event_part(item, name));
      mark.text += part;
    }
    experts.events.push_back(std::move(mark));
  }
  return Ok{};
}

Status read_layers(const Place& place, Experts& experts) {
  ACCRETE_TRY(const auto items, place.items());
  for (const Place& item : items) {
    Scores layer;
    layer.name = "layer " + std::to_string(experts.layers.size());
    ACCRETE_TRY(const auto members, item.members());
    for (const auto& [name, member] : members) {
      if (name == "layer") continue;
      ACCRETE_TRY(const double value, member.number());
      layer.metrics.emplace_back(name, value);
    }
    experts.layers.push_back(std::move(layer));
  }
  return Ok{};
}

/// One point's shares at the end of each list.
Status read_shares(const Place& place, Experts& experts) {
  ACCRETE_TRY(const auto layers, place.items());
  if (experts.shares.empty()) {
    experts.shares.assign(layers.size(), std::vector<std::vector<double>>(experts.names.size()));
  }
  if (layers.size() != experts.shares.size()) return place.expected("as many layers as before");
  for (std::size_t l = 0; l < layers.size(); ++l) {
    ACCRETE_TRY(const std::vector<double> shares, layers[l].numbers());
    if (shares.size() != experts.names.size()) return layers[l].expected("a share for each name");
    for (std::size_t e = 0; e < shares.size(); ++e)
      experts.shares[l][e].push_back(shares[e]);
  }
  return Ok{};
}

Status read_routing(const Place& place, Experts& experts) {
  ACCRETE_TRY(const Place names, place.member("experts"));
  ACCRETE_TRY(experts.names, names.texts());
  ACCRETE_TRY(const Place points, place.member("points"));
  ACCRETE_TRY(const auto items, points.items());
  for (const Place& item : items) {
    ACCRETE_TRY(const Place member, item.member("at"));
    ACCRETE_TRY(const TimeUs at, member.time());
    if (!experts.at.empty() && at < experts.at.back()) {
      return member.expected("a time not before that of the point before it");
    }
    experts.at.push_back(at);
    ACCRETE_TRY(const Place layers, item.member("layers"));
    ACCRETE_DO(read_shares(layers, experts));
  }
  return Ok{};
}

Result<ExpertRow> read_row(const Place& place, std::size_t blocks) {
  ExpertRow row;
  ACCRETE_TRY(const Place at, place.member("at"));
  ACCRETE_TRY(row.at, at.time());
  ACCRETE_TRY(const Place experts, place.member("experts"));
  ACCRETE_TRY(row.experts, experts.whole());
  for (auto [name, list] : {std::pair{"values", &row.values}, {"losses", &row.losses}}) {
    ACCRETE_TRY(const Place member, place.member(name));
    ACCRETE_TRY(*list, member.numbers());
    if (list->size() != blocks) return member.expected("a number for each block");
  }
  return row;
}

Status read_matrix(const Place& place, Experts& experts) {
  ACCRETE_TRY(const Place measure, place.member("measure"));
  ACCRETE_TRY(experts.measure, measure.text());
  ACCRETE_TRY(const Place examples, place.member("examples"));
  ACCRETE_TRY(experts.examples, examples.whole());
  ACCRETE_TRY(const Place forgetting, place.member("forgetting"));
  ACCRETE_TRY(experts.forgetting, forgetting.number());
  ACCRETE_TRY(const Place blocks, place.member("blocks"));
  ACCRETE_TRY(const auto columns, blocks.items());
  for (const Place& column : columns) {
    ACCRETE_TRY(const std::uint64_t block, column.whole());
    experts.blocks.push_back(block);
  }
  ACCRETE_TRY(const Place rows, place.member("rows"));
  ACCRETE_TRY(const auto items, rows.items());
  for (const Place& item : items) {
    ACCRETE_TRY(ExpertRow row, read_row(item, experts.blocks.size()));
    experts.rows.push_back(std::move(row));
  }
  return Ok{};
}

/// Where a value stands between the worst of all (0) and the best (1).
class Heat {
 public:
  explicit Heat(const Experts& experts) : sign_(direction(experts.measure) < 0 ? -1 : 1) {
    for (const ExpertRow& row : experts.rows) {
      for (const double value : row.values) {
        if (!std::isfinite(value)) continue;
        worst_ = std::min(worst_, sign_ * value);
        best_ = std::max(best_, sign_ * value);
      }
    }
  }
  double of(double value) const {
    if (!std::isfinite(value)) return 0;
    return best_ > worst_ ? (sign_ * value - worst_) / (best_ - worst_) : 0.5;
  }

 private:
  double sign_;
  double worst_ = std::numeric_limits<double>::infinity();
  double best_ = -std::numeric_limits<double>::infinity();
};

}  // namespace

Result<Experts> read_experts(const Place& place) {
  Experts experts;
  constexpr std::array<std::pair<const char*, Status (*)(const Place&, Experts&)>, 4> kParts{
      {{"events", read_events},
       {"layers", read_layers},
       {"routing", read_routing},
       {"matrix", read_matrix}}};
  for (const auto& [name, read] : kParts) {
    if (!place.has(name)) continue;
    ACCRETE_TRY(const Place part, place.member(name));
    ACCRETE_DO(read(part, experts));
  }
  return experts;
}

std::vector<std::string> expert_colours(const Experts& experts) {
  std::vector<std::string> colours;
  for (std::size_t e = 0; e + 1 < experts.names.size(); ++e)
    colours.push_back("var(--c" + std::to_string(e % kColours) + ")");
  if (!experts.names.empty()) colours.emplace_back("var(--base)");
  return colours;
}

std::string routing_note(std::size_t layer, std::size_t layers) {
  const std::string who = layer + 1 < layers ? "the rows around the entities" : "the entities";
  return "share of " + who + " that each expert handled, by the block it was born for";
}

std::string expert_keys(const Experts& experts) {
  const std::vector<std::string> colours = expert_colours(experts);
  std::string out = "<p class=\"soft keys\">";
  for (std::size_t e = 0; e < experts.names.size(); ++e) {
    out += "<span><span class=\"key\" style=\"--k:" + colours[e] + "\"></span>" +
           escaped(experts.names[e]) + "</span>";
  }
  return out + "</p>\n";
}

std::string layer_table(const Experts& experts) {
  if (experts.layers.empty()) return "";
  std::string out =
      "<div class=\"scroll\"><table><caption>Layers of the graph network<small>of late, means over "
      "the rows handled</small></caption><thead><tr><th scope=\"col\">layer</th>";
  for (const auto& [name, value] : experts.layers.front().metrics)
    out += "<th scope=\"col\">" + escaped(figure_title(name)) + "</th>";
  out += "</tr></thead><tbody>\n";
  for (const Scores& layer : experts.layers) {
    out += "<tr><th scope=\"row\">" + escaped(layer.name) + "</th>";
    for (const auto& [name, value] : layer.metrics)
      out += "<td>" + number(value) + "</td>";
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

std::string expert_matrix(const Experts& experts) {
  if (experts.rows.empty()) return "";
  const Heat heat(experts);
  std::string out =
      "<div class=\"scroll\"><table class=\"heat\"><caption>What is still known of each block" +
      std::string("<small>") + escaped(metric_title(experts.measure)) +
      " of the network (on heads: with what they had said) on up to " +
      std::to_string(experts.examples) +
      " kept examples of a block, at the end of each number of experts; darker is better" +
      (std::isnan(experts.forgetting)
           ? ""
           : "; forgotten since the best: " + short_number(experts.forgetting) + " on average") +
      "</small></caption><thead><tr><th scope=\"col\">network</th>";
  for (const std::uint64_t block : experts.blocks)
    out += "<th scope=\"col\">block " + std::to_string(block) + "</th>";
  out += "</tr></thead><tbody>\n";
  constexpr double kStrong = 0.6;  // from here on the ground is dark enough for light text
  for (const ExpertRow& row : experts.rows) {
    out += "<tr><th scope=\"row\">" + std::to_string(row.experts) +
           (row.experts == 1 ? " expert, " : " experts, ") + short_time(row.at) + "</th>";
    for (std::size_t b = 0; b < row.values.size(); ++b) {
      const double part = heat.of(row.values[b]);
      out += std::string("<td") + (part > kStrong ? " class=\"strong\"" : "") +
             " style=\"--v:" + short_number(part) + "\" title=\"loss " +
             short_number(row.losses[b]) + "\">" + number(row.values[b]) + "</td>";
    }
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

}  // namespace accrete::daemon::report
