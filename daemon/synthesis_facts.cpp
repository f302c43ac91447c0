// What rows say: their own columns, those of the rows they name, and whom they name.
#include <algorithm>
#include <cmath>
#include <limits>

#include "daemon/synthesis.h"

namespace accrete::daemon {
namespace {

constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();
constexpr std::size_t kGroupsMax = 4096;  // values of an attribute that are told apart

double time_of(const Table& table, const RowContent& row, TimeUs from) {
  if (!table.time) return kMissing;
  const auto own = value_time(row.at(*table.time), table.time_unit);
  if (!own || *own == kTimeMin) return kMissing;
  return static_cast<double>(std::min(*own, from).value);
}

}  // namespace

void Synthesis::facts_of(std::size_t source, NodeId node,
                         const std::optional<store::Version>& newest, Facts& facts) {
  facts.valid = false;
  if (!newest || newest->deleted) return;
  const RowContent* row = world_.rows->content(node, *newest);
  if (row == nullptr) return;
  const SourcePlan& plan = plan_.sources[source];
  facts.valid = true;
  facts.time = time_of(world_.schema->table(node.table), *row, newest->from);
  facts.own.resize(sources_[source].columns.width());
  sources_[source].columns.encode(row->cells, facts.own);
  for (std::size_t e = 0; e < plan.expressions.size(); ++e) {
    facts.own[e] = world_.windows->row_value(plan.expressions[e].task, *row).value_or(kMissing);
  }
  names_of(source, *row, facts.named);
  join(source, facts);  // last: it reads other rows, and `row` may be gone then
}

void Synthesis::facts_now(std::size_t source, NodeId node, Facts& facts) {
  facts_of(source, node, world_.graph->newest_version(node), facts);
}

void Synthesis::names_of(std::size_t source, const RowContent& row,
                         std::vector<std::uint32_t>& named) {
  const SourcePlan& plan = plan_.sources[source];
  named.clear();
  for (const ForeignKey& foreign : world_.schema->table(plan.table).foreign_keys) {
    key_.clear();
    bool whole = true;
    for (const ColumnId column : foreign.columns) {
      const Value& cell = row.at(column);
      whole = whole && !cell.is_null() && cell.kind != ValueKind::Unchanged;
      if (whole) append_key(key_, cell);
    }
    const auto parent = whole ? world_.graph->find(foreign.parent, key_) : std::nullopt;
    named.push_back(parent ? parent->row : kNoKey);
  }
  for (std::size_t a = 0; a < plan.attributes.size(); ++a)
    named.push_back(group_of(source, a, row.at(plan.attributes[a])));
}

std::uint32_t Synthesis::group_of(std::size_t source, std::size_t attribute, const Value& cell) {
  if (cell.is_null() || cell.kind == ValueKind::Unchanged) return kNoKey;
  auto& groups = sources_[source].groups[attribute];
  const std::string text = cell.kind == ValueKind::Text ? std::string() : value_text(cell);
  const std::string_view name = cell.kind == ValueKind::Text ? cell.text : text;
  const auto found = groups.find(name);
  if (found != groups.end()) return found->second;
  if (groups.size() >= kGroupsMax) return kNoKey;
  const auto next = static_cast<std::uint32_t>(groups.size());
  groups.emplace(name, next);
  return next;
}

/// The columns of the rows it names, as these were at its time. A row without a time joins what is
/// visible always.
void Synthesis::join(std::size_t source, Facts& facts) {
  const auto& joins = plan_.sources[source].joins;
  facts.joined.resize(joins.size());
  const TimeUs at =
      std::isnan(facts.time) ? kTimeMin : TimeUs{static_cast<std::int64_t>(facts.time)};
  for (std::size_t j = 0; j < joins.size(); ++j) {
    const Source& other = sources_[joins[j].source];
    facts.joined[j].assign(other.columns.width(), kMissing);
    const std::uint32_t row = facts.named[joins[j].foreign_key];
    if (row == kNoKey || other.columns.width() == 0) continue;
    const NodeId node{plan_.sources[joins[j].source].table, row};
    const auto version = world_.graph->version(node, at);
    if (!version || version->deleted) continue;
    const RowContent* content = world_.rows->content(node, *version);
    if (content != nullptr) other.columns.encode(content->cells, facts.joined[j]);
  }
}

/// The row's values as aggregates take them.
void Synthesis::compose(std::size_t source, Contribution& contribution) const {
  const Facts& facts = contribution.facts;
  contribution.values.clear();
  for (const Part& part : sources_[source].parts) {
    const auto& from = part.join == 0 ? facts.own : facts.joined[part.join - 1U];
    contribution.values.push_back(from[part.index]);
  }
}

/// Count a new row. Its content was just read, so it is in the reader's cache.
void Synthesis::observe(std::size_t source, const Entry& entry) {
  const auto version = world_.graph->newest_version(entry.node);
  const RowContent* row = version ? world_.rows->content(entry.node, *version) : nullptr;
  if (row == nullptr) return;
  Source& of = sources_[source];
  const double time = entry.after.facts.time;
  of.columns.observe(world_.schema->table(entry.node.table), row->cells,
                     of.any && time == of.newest_time);
  of.any = true;
  of.newest_time = time;
}

}  // namespace accrete::daemon
