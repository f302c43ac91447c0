// The schema walk.
#include "daemon/synthesis_plan.h"

#include <algorithm>
#include <cmath>

#include "proto/time.h"

namespace accrete::daemon {
namespace {

using query::Aggregate;

constexpr std::size_t kStreamsMax = 128;  // but for attributes
constexpr std::size_t kParentsDepth = 2;
constexpr double kLivesOfWindow[] = {2, 8, 32};
constexpr std::size_t kLivesMax = 8;

/// The power of four days nearest to a duration: tasks of similar windows share aggregates.
double rounded_life(double duration_us) {
  const double day = static_cast<double>(kDayUs);
  return std::ldexp(day, 2 * static_cast<int>(std::lround(std::log2(duration_us / day) / 2)));
}

/// A table whose rows are events with parents: its row stands between other rows.
bool is_event(const Table& table) {
  return table.time.has_value() && !table.foreign_keys.empty();
}

std::string column_name(const Table& table, std::size_t foreign_key) {
  return table.columns[table.foreign_keys[foreign_key].columns.front().value].name;
}

/// Does the query say more about a row than one of its columns does?
bool has_expression(const TaskPlan& task) {
  const WindowPlan& target = task.target;
  const bool of_row = target.aggregate == Aggregate::Min || target.aggregate == Aggregate::Max ||
                      target.aggregate == Aggregate::First || target.aggregate == Aggregate::Last;
  return target.row_compare || target.where || (task.compare && of_row);
}

class Walk {
 public:
  Walk(const std::vector<TaskPlan>& tasks, const Schema& schema) : schema_(schema) {
    for (const TaskPlan& task : tasks) {
      if (!task.is_window()) continue;
      for (const double windows : kLivesOfWindow) {
        const double life = rounded_life(windows * static_cast<double>(window_us(task)));
        auto& lives = plan_.half_lives_us;
        if (std::find(lives.begin(), lives.end(), life) == lives.end()) lives.push_back(life);
      }
    }
    std::sort(plan_.half_lives_us.begin(), plan_.half_lives_us.end());
    if (plan_.half_lives_us.size() > kLivesMax) plan_.half_lives_us.resize(kLivesMax);
    for (const TaskPlan& task : tasks) {
      plan_.entities.push_back(task.entity);
      if (!task.is_window()) {
        plan_.keys.emplace_back();
        continue;
      }
      static_cast<void>(source(task.entity));  // its attributes group entities
      keys_of(task);
      const TableId child = schema_.relations()[task.target.relation.value].child;
      if (!has_expression(task)) continue;
      plan_.sources[source(child)].expressions.push_back({"row of " + task.name, task});
    }
    for (std::size_t s = 0, count = plan_.sources.size(); s < count; ++s) {
      if (!plan_.sources[s].streams.empty()) join(s);
    }
  }

  SynthesisPlan take() { return std::move(plan_); }

 private:
  std::size_t source(TableId table) {
    if (const auto known = plan_.source_of(table)) return *known;
    SourcePlan source;
    source.table = table;
    source.timed = schema_.table(table).time.has_value();
    plan_.sources.push_back(std::move(source));
    return plan_.sources.size() - 1;
  }

  std::size_t hop(TableId table, std::uint16_t foreign_key) {
    for (std::size_t h = 0; h < plan_.hops.size(); ++h) {
      const HopPlan& known = plan_.hops[h];
      if (known.table == table && known.slot == foreign_key) return h;
    }
    const std::size_t of = source(table);
    plan_.hops.push_back(
        {table, foreign_key, schema_.table(table).foreign_keys[foreign_key].parent});
    plan_.sources[of].hops.push_back(plan_.hops.size() - 1);
    return plan_.hops.size() - 1;
  }

  void join(std::size_t of) {
    const TableId table = plan_.sources[of].table;
    const auto& foreign_keys = schema_.table(table).foreign_keys;
    for (std::size_t f = 0; f < foreign_keys.size(); ++f) {
      if (foreign_keys[f].parent == table) continue;
      const std::size_t parent = source(foreign_keys[f].parent);
      plan_.sources[of].joins.push_back({static_cast<std::uint16_t>(f), parent});
    }
  }

  std::optional<std::size_t> stream(StreamPlan wanted) {
    for (std::size_t s = 0; s < plan_.streams.size(); ++s) {
      const StreamPlan& known = plan_.streams[s];
      if (known.source == wanted.source && known.global == wanted.global &&
          known.foreign_key == wanted.foreign_key && known.hop == wanted.hop) {
        return s;
      }
    }
    if (plan_.streams.size() >= kStreamsMax) return std::nullopt;
    SourcePlan& of = plan_.sources[wanted.source];
    if (of.streams.empty() && !wanted.global) {
      // Every source has a global stream: its means are what few rows are drawn to.
      StreamPlan everything;
      everything.source = wanted.source;
      everything.global = true;
      of.everything = plan_.streams.size();
      of.streams.push_back(plan_.streams.size());
      plan_.streams.push_back(everything);
    }
    of.streams.push_back(plan_.streams.size());
    plan_.streams.push_back(wanted);
    return plan_.streams.size() - 1;
  }

  /// The aggregates of a key: of its children, and of theirs.
  std::vector<std::size_t> streams_into(TableId key) {
    std::vector<std::size_t> found;
    const auto take = [&](const std::optional<std::size_t>& stream) {
      if (stream) found.push_back(*stream);
    };
    const auto& relations = schema_.relations();
    for (std::size_t r = 0; r < relations.size(); ++r) {
      if (relations[r].parent != key) continue;
      take(stream({source(relations[r].child), false, relations[r].foreign_key,
                   RelationId{static_cast<std::uint16_t>(r)}, std::nullopt, key}));
    }
    for (const Relation& to_key : relations) {
      if (to_key.parent != key) continue;
      for (std::size_t r = 0; r < relations.size(); ++r) {
        if (relations[r].parent != to_key.child || relations[r].child == to_key.child) continue;
        const std::size_t over = hop(to_key.child, to_key.foreign_key);
        take(stream({source(relations[r].child), false, relations[r].foreign_key,
                     RelationId{static_cast<std::uint16_t>(r)}, over, key}));
      }
    }
    return found;
  }

  void parents(TableId table, const std::vector<std::size_t>& hops, const std::string& name,
               std::vector<KeyPlan>& keys) {
    if (hops.size() >= kParentsDepth) return;
    const Table& child = schema_.table(table);
    for (std::size_t f = 0; f < child.foreign_keys.size(); ++f) {
      const TableId parent = child.foreign_keys[f].parent;
      if (std::find(reached_.begin(), reached_.end(), parent) != reached_.end()) continue;
      reached_.push_back(parent);
      KeyPlan key;
      key.way = KeyPlan::Way::Parent;
      key.hops = hops;
      key.hops.push_back(hop(table, static_cast<std::uint16_t>(f)));
      key.name = name + "." + column_name(child, f);
      key.streams = streams_into(parent);
      keys.push_back(key);
      parents(parent, key.hops, key.name, keys);
    }
  }

  std::size_t link(std::size_t source, const LinkPlan& wanted) {
    auto& links = plan_.sources[source].links;
    for (std::size_t i = 0; i < links.size(); ++i) {
      if (links[i].foreign_key == wanted.foreign_key && links[i].hop == wanted.hop) return i;
    }
    links.push_back(wanted);
    return links.size() - 1;
  }

  void newest(std::size_t of_stream, const LinkPlan& to, const std::string& name,
              std::vector<KeyPlan>& keys) {
    if (std::find(reached_.begin(), reached_.end(), to.target) != reached_.end()) return;
    reached_.push_back(to.target);
    KeyPlan key;
    key.way = KeyPlan::Way::Newest;
    key.stream = of_stream;
    key.link = link(plan_.streams[of_stream].source, to);
    key.name = name;
    key.streams = streams_into(to.target);
    keys.push_back(std::move(key));
  }

  /// The rows that the newest child names beside the entity.
  void beside(std::size_t of_stream, std::vector<KeyPlan>& keys) {
    const StreamPlan stream = plan_.streams[of_stream];
    const TableId table = plan_.sources[stream.source].table;
    const Table& child = schema_.table(table);
    for (std::size_t f = 0; f < child.foreign_keys.size(); ++f) {
      if (f == stream.foreign_key) continue;
      const TableId parent = child.foreign_keys[f].parent;
      const Table& named = schema_.table(parent);
      const std::string name = "newest " + child.name + "." + column_name(child, f);
      LinkPlan to{static_cast<std::uint16_t>(f), std::nullopt, parent};
      if (!is_event(named)) {
        newest(of_stream, to, name, keys);
        continue;
      }
      for (std::size_t g = 0; g < named.foreign_keys.size(); ++g) {
        to.hop = hop(parent, static_cast<std::uint16_t>(g));
        to.target = named.foreign_keys[g].parent;
        newest(of_stream, to, name + "." + column_name(named, g), keys);
      }
    }
  }

  void keys_of(const TaskPlan& task) {
    std::vector<KeyPlan>& keys = plan_.keys.emplace_back();
    reached_ = {task.entity};
    KeyPlan self;
    self.streams = streams_into(task.entity);
    const std::vector<std::size_t> own = self.streams;
    keys.push_back(std::move(self));
    parents(task.entity, {}, schema_.table(task.entity).name, keys);
    // The target's rows first: where several tables name a parent, theirs counts.
    for (const bool target : {true, false}) {
      for (const std::size_t s : own) {
        const StreamPlan& stream = plan_.streams[s];
        if (stream.ordered() && (stream.relation == task.target.relation) == target) {
          beside(s, keys);
        }
      }
    }
    KeyPlan everything;
    everything.way = KeyPlan::Way::Everything;
    everything.name = "all";
    for (const std::size_t s : own) {
      const std::size_t all = plan_.sources[plan_.streams[s].source].everything;
      auto& streams = everything.streams;
      if (std::find(streams.begin(), streams.end(), all) == streams.end()) streams.push_back(all);
    }
    keys.push_back(std::move(everything));
  }

  const Schema& schema_;
  SynthesisPlan plan_;
  std::vector<TableId> reached_;  // by the task at hand
};

}  // namespace

std::optional<std::size_t> SynthesisPlan::source_of(TableId table) const {
  for (std::size_t s = 0; s < sources.size(); ++s) {
    if (sources[s].table == table) return s;
  }
  return std::nullopt;
}

std::size_t SynthesisPlan::add_attribute(std::size_t source, ColumnId column,
                                         const Schema& schema) {
  const std::size_t first = streams.size();
  SourcePlan& of = sources[source];
  const Table& table = schema.table(of.table);
  const std::size_t hop = hops.size();
  hops.push_back({of.table, table.foreign_keys.size() + of.attributes.size(), std::nullopt});
  of.hops.push_back(hop);
  of.attributes.push_back(column);
  for (std::size_t t = 0; t < keys.size(); ++t) {
    if (entities[t] != of.table || keys[t].empty()) continue;
    KeyPlan key;
    key.way = KeyPlan::Way::Parent;
    key.hops = {hop};
    key.name = table.name + "." + table.columns[column.value].name;
    // The entity's own streams are the same for all tasks of its table.
    for (const std::size_t s : std::vector(keys[t].front().streams)) {
      if (!streams[s].ordered()) continue;
      StreamPlan wanted = streams[s];
      wanted.hop = hop;
      const auto known = std::find_if(streams.begin() + static_cast<std::ptrdiff_t>(first),
                                      streams.end(), [&](const StreamPlan& stream) {
                                        return stream.source == wanted.source &&
                                               stream.foreign_key == wanted.foreign_key;
                                      });
      key.streams.push_back(static_cast<std::size_t>(known - streams.begin()));
      if (known != streams.end()) continue;
      sources[wanted.source].streams.push_back(streams.size());
      streams.push_back(wanted);
    }
    keys[t].push_back(std::move(key));
  }
  return first;
}

std::string SynthesisPlan::way_name(const StreamPlan& stream, const Schema& schema) const {
  const TableId table = sources[stream.source].table;
  std::string name = column_name(schema.table(table), stream.foreign_key);
  if (stream.hop) {
    const HopPlan& over = hops[*stream.hop];
    const Table& between = schema.table(over.table);
    const std::size_t foreign_keys = between.foreign_keys.size();
    if (over.slot < foreign_keys) return name + "." + column_name(between, over.slot);
    const auto& attributes = sources[*source_of(over.table)].attributes;
    name += "." + between.columns[attributes[over.slot - foreign_keys].value].name;
  }
  return name;
}

std::vector<std::string> SynthesisPlan::link_names(std::size_t source, const Schema& schema) const {
  std::vector<std::string> names;
  for (const LinkPlan& link : sources[source].links) {
    const Table& table = schema.table(sources[source].table);
    std::string name = column_name(table, link.foreign_key);
    if (link.hop) {
      const HopPlan& over = hops[*link.hop];
      name += "." + column_name(schema.table(over.table), over.slot);
    }
    names.push_back(std::move(name));
  }
  return names;
}

std::int64_t window_us(const TaskPlan& task) {
  return task.target.end_us - std::max<std::int64_t>(0, task.target.start_us);
}

std::vector<std::size_t> lives_of(const TaskPlan& task, const std::vector<double>& half_lives_us) {
  std::vector<std::size_t> lives;
  for (const double windows : kLivesOfWindow) {
    const double wanted = std::log2(windows * static_cast<double>(window_us(task)));
    std::size_t best = 0;
    for (std::size_t h = 1; h < half_lives_us.size(); ++h) {
      const double distance = std::abs(std::log2(half_lives_us[h]) - wanted);
      if (distance < std::abs(std::log2(half_lives_us[best]) - wanted)) best = h;
    }
    if (lives.empty() || lives.back() != best) lives.push_back(best);
  }
  return lives;
}

SynthesisPlan plan_synthesis(const std::vector<TaskPlan>& tasks, const Schema& schema) {
  return Walk(tasks, schema).take();
}

}  // namespace accrete::daemon
