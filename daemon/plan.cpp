// Binding of predictive queries.
#include "daemon/plan.h"

#include <algorithm>
#include <cctype>
#include <string_view>
#include <utility>

#include "proto/time.h"

namespace accrete::daemon {
namespace {

using query::Aggregate;

/// Equal but for case, or one letter changed, added or left out of a name of five or more.
bool is_slip(std::string_view name, std::string_view known) {
  const auto same = [](char a, char b) {
    return std::tolower(static_cast<unsigned char>(a)) ==
           std::tolower(static_cast<unsigned char>(b));
  };
  if (std::equal(name.begin(), name.end(), known.begin(), known.end(), same)) return true;
  if (name.size() < 5 || known.size() < 5) return false;
  const auto [a, b] = std::mismatch(name.begin(), name.end(), known.begin(), known.end());
  const std::string_view rest(a, name.end());
  const std::string_view known_rest(b, known.end());
  if (rest.empty() || known_rest.empty()) return rest.size() + known_rest.size() == 1;
  return rest.substr(1) == known_rest || rest == known_rest.substr(1) ||
         rest.substr(1) == known_rest.substr(1);
}

class Binder {
 public:
  Binder(const TaskConfig& config, Schema& schema) : config_(config), schema_(schema) {}

  Result<TaskPlan> bind() {
    const query::Query& query = config_.query;
    TaskPlan plan;
    plan.name = config_.name;
    plan.on_change = config_.on_change;
    plan.debounce_us = config_.debounce_us;
    ACCRETE_TRY(plan.entity, entity_table(query.entity));
    entity_ = plan.entity;
    if (const auto* ref = std::get_if<query::ColumnRef>(&query.target.operand)) {
      return row_completion(*ref, std::move(plan));
    }
    ACCRETE_DO(refuse_unexecuted(query.target));
    ACCRETE_TRY(plan.target, window(std::get<query::Window>(query.target.operand)));
    if (plan.target.end_us <= 0) {
      return at(std::get<query::Window>(query.target.operand).at,
                "the target's window must end after 0: it lies in the future of the prediction");
    }
    ACCRETE_DO(needs_time(std::get<query::Window>(query.target.operand), plan.target));
    plan.compare = query.target.compare;
    plan.literal = query.target.literal;
    if (plan.target.aggregate == Aggregate::ListDistinct) {
      ACCRETE_DO(ranked_list(query.target, plan));
    } else {
      ACCRETE_TRY(plan.kind, kind_of(plan));
    }
    if (query.where) {
      ACCRETE_TRY(plan.where, entity_condition(*query.where));
    }
    plan.every_us = query.every_us.value_or(plan.target.end_us -
                                            std::max<std::int64_t>(0, plan.target.start_us));
    plan.anchors = config_.anchors;
    if (plan.anchors.empty()) plan.anchors.push_back(TimeUs{0});
    std::sort(plan.anchors.begin(), plan.anchors.end());
    return plan;
  }

 private:
  Error at(query::Span span, std::string detail) const {
    return query::error_at(config_.predict, span,
                           "task \"" + config_.name + "\": " + std::move(detail));
  }

  std::vector<std::string> table_names() const {
    std::vector<std::string> names;
    for (const Table& table : schema_.tables())
      names.push_back(table.name);
    return names;
  }

  Result<TableId> table(const query::ColumnRef& ref) const {
    if (const auto id = schema_.find(ref.table)) return *id;
    const std::string nearest = nearest_name(ref.table, table_names());
    return at(ref.at, "unknown table \"" + ref.table + "\"" +
                          (nearest.empty() ? std::string("; declare it with [[table]]")
                                           : "; did you mean \"" + nearest + "\"?"));
  }

  /// A column by name. A table's columns come from the data, so a name that is new is not wrong
  /// yet; one that is a slip of a known name is.
  Result<ColumnId> column(TableId table_id, const query::ColumnRef& ref) {
    const Table& table = schema_.table(table_id);
    if (const auto id = table.find(ref.column)) return *id;
    for (const Column& known : table.columns) {
      if (!is_slip(ref.column, known.name)) continue;
      return at(ref.at, "unknown column \"" + ref.column + "\" of table \"" + table.name +
                            "\"; did you mean \"" + known.name +
                            "\"? (if it really exists, name it in columns = { … })");
    }
    return schema_.add_column(table_id, ref.column);
  }

  Result<TableId> entity_table(const query::ColumnRef& ref) const {
    ACCRETE_TRY(const TableId id, table(ref));
    const Table& found = schema_.table(id);
    if (found.key.empty()) {
      return at(ref.at, "table \"" + found.name + "\" has no key: entities need one");
    }
    const auto named = found.find(ref.column);
    if (!named || std::find(found.key.begin(), found.key.end(), *named) == found.key.end()) {
      return at(ref.at, "FOR EACH names the entity's key: \"" + found.name + "." +
                            found.columns[found.key.front().value].name + "\"");
    }
    return id;
  }

  /// `PREDICT table.column FOR EACH table.key`: predicted when the row arrives.
  Result<TaskPlan> row_completion(const query::ColumnRef& ref, TaskPlan plan) {
    const query::Query& query = config_.query;
    ACCRETE_TRY(const TableId named, table(ref));
    const Table& own = schema_.table(entity_);
    if (named != entity_) {
      return at(ref.at, "a column is predicted for the rows of its own table: FOR EACH " +
                            schema_.table(named).name +
                            ".<key>, or predict an aggregate over a "
                            "window, e.g. LAST(" +
                            ref.table + "." + ref.column + ", 0, 30, DAYS)");
    }
    if (query.every_us) {
      return at(ref.at, "a column of the row is predicted when the row arrives: leave EVERY out");
    }
    ACCRETE_TRY(const ColumnId target, column(entity_, ref));
    const auto is_target = [&](ColumnId id) { return id == target; };
    bool structural =
        std::any_of(own.key.begin(), own.key.end(), is_target) || (own.time && *own.time == target);
    for (const ForeignKey& key : own.foreign_keys)
      structural |= std::any_of(key.columns.begin(), key.columns.end(), is_target);
    if (structural) {
      return at(ref.at,
                "keys, foreign keys and the time of a row are what it is known by; predict "
                "another column");
    }
    plan.column = target;
    ACCRETE_TRY(plan.kind, kind_of_column(ref, target));
    if (query.where) {
      ACCRETE_TRY(plan.where, entity_condition(*query.where));
      if (reads(*plan.where, target)) {
        return at(ref.at, "WHERE may not depend on the column that is predicted");
      }
    }
    plan.anchors.push_back(TimeUs{0});
    return plan;
  }

  Result<TaskKind> kind_of_column(const query::ColumnRef& ref, ColumnId target) const {
    const ColumnKind kind = schema_.table(entity_).columns[target.value].kind;
    switch (kind) {
      case ColumnKind::Number:
        return TaskKind::Regression;
      case ColumnKind::Flag:
        return TaskKind::Binary;
      case ColumnKind::Category:
      case ColumnKind::Text:
        return TaskKind::Multiclass;
      default:
        break;
    }
    if (kind == ColumnKind::Inferred) {
      return at(ref.at, "what \"" + ref.column +
                            "\" holds must be said before its rows come: " + "columns = { " +
                            ref.column + " = \"category\" } (or \"number\", \"flag\") in table \"" +
                            ref.table + "\"");
    }
    return at(ref.at, "a column of kind \"" + std::string(column_kind_name(kind)) +
                          "\" cannot be predicted; categories, texts, flags and numbers can");
  }

  static bool reads(const EntityCondition& condition, ColumnId column) {
    if (!condition.children.empty()) {
      return std::any_of(condition.children.begin(), condition.children.end(),
                         [&](const EntityCondition& child) { return reads(child, column); });
    }
    return !condition.window && condition.column == column;
  }

  Status refuse_unexecuted(const query::Target& target) const {
    const auto& window = std::get<query::Window>(target.operand);
    if (!target.more_horizons_us.empty()) {
      return at(window.at,
                "several horizons are parsed but not executed yet; write one [[task]] for each");
    }
    return Ok{};
  }

  /// `LIST_DISTINCT(child.foreign_key, …) RANK TOP k`: rows of the table that the key names.
  Status ranked_list(const query::Target& target, TaskPlan& plan) const {
    const auto& window = std::get<query::Window>(target.operand);
    if (!target.rank_top) {
      return at(window.at, "a list is predicted as its likeliest items; say how many: RANK TOP 10");
    }
    if (*target.rank_top > kPlacesMax) {
      return at(window.at, "RANK TOP lists at most " + std::to_string(kPlacesMax) + " items");
    }
    const TableId child = schema_.relations()[plan.target.relation.value].child;
    const auto& keys = schema_.table(child).foreign_keys;
    for (std::size_t i = 0; i < schema_.relations().size() && !window.row_compare; ++i) {
      const Relation& relation = schema_.relations()[i];
      const RelationId id{static_cast<std::uint16_t>(i)};
      if (relation.child != child || id == plan.target.relation) continue;
      if (keys[relation.foreign_key].columns != std::vector{*plan.target.column}) continue;
      plan.items = id;
    }
    if (!plan.items) {
      return at(window.argument.at,
                "RANK TOP lists the rows that a foreign key of \"" + schema_.table(child).name +
                    "\" names, another than the one to the entity: LIST_DISTINCT(" +
                    window.argument.table + ".<foreign key of one column>, …)");
    }
    plan.places = *target.rank_top;
    plan.kind = TaskKind::Ranking;
    return Ok{};
  }

  /// Rows without a time are there always: none ever falls into the window of a prediction.
  Status needs_time(const query::Window& window, const WindowPlan& plan) const {
    const Table& table = schema_.table(schema_.relations()[plan.relation.value].child);
    if (table.time) return Ok{};
    return at(window.at, "a window into the future needs rows with a time, and table \"" +
                             table.name + "\" names none: [[table]] time = \"COLUMN\"");
  }

  Result<RelationId> relation(const query::Window& window, TableId child) const {
    std::vector<RelationId> found;
    std::string ways;
    for (std::size_t i = 0; i < schema_.relations().size(); ++i) {
      const Relation& relation = schema_.relations()[i];
      if (relation.child != child || relation.parent != entity_) continue;
      const Table& table = schema_.table(child);
      const ForeignKey& key = table.foreign_keys[relation.foreign_key];
      const std::string& name = table.columns[key.columns.front().value].name;
      if (!window.via.empty() && window.via != name) continue;
      found.push_back(RelationId{static_cast<std::uint16_t>(i)});
      ways += (ways.empty() ? "" : ", ") + name;
    }
    const std::string pair =
        "\"" + schema_.table(child).name + "\" and \"" + schema_.table(entity_).name + "\"";
    if (found.empty()) {
      return at(window.at, "no foreign key" +
                               (window.via.empty() ? std::string() : " \"" + window.via + "\"") +
                               " between " + pair +
                               "; a window follows one foreign key of its table to the entity");
    }
    if (found.size() > 1) {
      return at(window.at, "several foreign keys between " + pair + " (" + ways +
                               "); say which: … VIA " + ways.substr(0, ways.find(',')));
    }
    return found.front();
  }

  Result<WindowPlan> window(const query::Window& window) {
    WindowPlan plan;
    plan.aggregate = window.aggregate;
    ACCRETE_TRY(const TableId child, table(window.argument));
    ACCRETE_TRY(plan.relation, relation(window, child));
    if (window.argument.column != "*") {
      ACCRETE_TRY(plan.column, column(child, window.argument));
    }
    plan.row_compare = window.row_compare;
    plan.row_literal = window.row_literal;
    if (window.where) {
      ACCRETE_TRY(plan.where, row_condition(*window.where, child));
    }
    plan.start_us = window.start_us;
    plan.end_us = window.end_us;
    return plan;
  }

  Result<RowCondition> row_condition(const query::Condition& condition, TableId child) {
    RowCondition plan;
    plan.kind = condition.kind;
    for (const auto& inner : condition.children) {
      ACCRETE_TRY(auto bound, row_condition(*inner, child));
      plan.children.push_back(std::move(bound));
    }
    if (!condition.children.empty()) return plan;
    const auto* ref = std::get_if<query::ColumnRef>(&condition.operand);
    if (ref == nullptr) {
      return at(condition.at, "a condition inside a window is on columns of its rows");
    }
    ACCRETE_TRY(const TableId named, table(*ref));
    if (named != child) {
      return at(ref->at, "a condition inside a window is on columns of \"" +
                             schema_.table(child).name + "\"");
    }
    ACCRETE_TRY(plan.column, column(child, *ref));
    plan.compare = condition.compare;
    plan.literal = condition.literal;
    return plan;
  }

  Result<EntityCondition> entity_condition(const query::Condition& condition) {
    EntityCondition plan;
    plan.kind = condition.kind;
    for (const auto& inner : condition.children) {
      ACCRETE_TRY(auto bound, entity_condition(*inner));
      plan.children.push_back(std::move(bound));
    }
    if (!condition.children.empty()) return plan;
    plan.compare = condition.compare;
    plan.literal = condition.literal;
    if (const auto* inner = std::get_if<query::Window>(&condition.operand)) {
      if (inner->end_us > 0) {
        return at(inner->at,
                  "the population may not depend on the future: end the window at 0 or before");
      }
      ACCRETE_TRY(plan.window, window(*inner));
      return plan;
    }
    const auto& ref = std::get<query::ColumnRef>(condition.operand);
    ACCRETE_TRY(const TableId named, table(ref));
    if (named != entity_) {
      return at(ref.at, "WHERE is on columns of the entity (\"" + schema_.table(entity_).name +
                            "\") or on windows over its children");
    }
    ACCRETE_TRY(plan.column, column(entity_, ref));
    return plan;
  }

  Result<TaskKind> kind_of(const TaskPlan& plan) const {
    if (plan.compare || plan.target.aggregate == Aggregate::Exists) return TaskKind::Binary;
    const bool picks =
        plan.target.aggregate == Aggregate::First || plan.target.aggregate == Aggregate::Last;
    const bool extreme =
        plan.target.aggregate == Aggregate::Min || plan.target.aggregate == Aggregate::Max;
    if ((picks || extreme) && plan.target.row_compare) return TaskKind::Binary;
    if (picks) {
      const Table& child = schema_.table(schema_.relations()[plan.target.relation.value].child);
      const ColumnKind kind = child.columns[plan.target.column->value].kind;
      if (kind == ColumnKind::Category || kind == ColumnKind::Text || kind == ColumnKind::Flag) {
        return TaskKind::Multiclass;
      }
    }
    return TaskKind::Regression;
  }

  const TaskConfig& config_;
  Schema& schema_;
  TableId entity_;
};

/// Smallest multiple step of `every` from `anchor` at or after `time`.
std::int64_t grid_at_or_after(std::int64_t anchor, std::int64_t every, std::int64_t time) {
  const std::int64_t distance = time - anchor;
  std::int64_t steps = distance / every;
  if (distance % every > 0) ++steps;
  return anchor + steps * every;
}

}  // namespace

TimeUs TaskPlan::tick_at_or_after(TimeUs time) const {
  if (time < anchors.front()) {
    return TimeUs{grid_at_or_after(anchors.front().value, every_us, time.value)};
  }
  auto next = std::upper_bound(anchors.begin(), anchors.end(), time);
  const TimeUs anchor = *std::prev(next);
  const TimeUs tick{grid_at_or_after(anchor.value, every_us, time.value)};
  return next != anchors.end() && tick >= *next ? *next : tick;
}

Result<TaskPlan> bind_task(const TaskConfig& config, Schema& schema) {
  return Binder(config, schema).bind();
}

Status check_tasks(const Config& config) {
  Schema schema = config.schema;
  bool counts_classes = false;
  for (const TaskConfig& task : config.tasks) {
    const auto plan = bind_task(task, schema);
    if (!plan) return Error{Errc::Malformed, config.file + ": " + plan.error().detail};
    counts_classes |= plan.value().column && plan.value().kind == TaskKind::Multiclass;
  }
  // Such a block would never end, and no expert would be born, without a word.
  if (config.network.experts != NetworkConfig::Experts::Off &&
      config.blocks.by == models::BlockRule::Classes && !counts_classes) {
    return Error{Errc::Malformed,
                 config.file +
                     ": [blocks] by = \"classes\" counts the classes of a category in the asked "
                     "row itself (PREDICT papers.field FOR EACH papers.id), and no task predicts "
                     "one: add such a task, or give by = \"drift\", \"rows\" or \"time\""};
  }
  return Ok{};
}

}  // namespace accrete::daemon
