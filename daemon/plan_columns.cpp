// What a bound query reads, found by walking its conditions; layouts say what rows have had.
#include "daemon/plan_columns.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "daemon/any_task.h"
#include "daemon/fold.h"
#include "proto/time.h"

namespace accrete::daemon {
namespace {

class Reader {
 public:
  explicit Reader(const Schema& schema) : schema_(schema) {}

  void read(const TaskPlan& plan) {
    if (plan.column) {
      add(plan.entity, *plan.column);
    } else {
      read(plan.target);
    }
    if (plan.where) read(*plan.where, plan.entity);
  }

  std::vector<TableColumn> columns() const { return {found_.begin(), found_.end()}; }

 private:
  void add(TableId table, ColumnId column) { found_.insert({table, column}); }

  void read(const WindowPlan& window) {
    const TableId child = schema_.relations()[window.relation.value].child;
    if (window.column) add(child, *window.column);
    if (window.where) read(*window.where, child);
  }

  void read(const RowCondition& condition, TableId table) {
    for (const RowCondition& inner : condition.children)
      read(inner, table);
    if (condition.children.empty()) add(table, condition.column);
  }

  void read(const EntityCondition& condition, TableId entity) {
    for (const EntityCondition& inner : condition.children)
      read(inner, entity);
    if (!condition.children.empty()) return;
    if (condition.window) {
      read(*condition.window);
    } else {
      add(entity, condition.column);
    }
  }

  const Schema& schema_;
  std::set<TableColumn> found_;
};

/// What rows of a table have had; nullopt: there is no layout of it.
std::optional<std::vector<std::string>> shown(std::string_view table,
                                              std::span<const Layout> layouts) {
  std::optional<std::vector<std::string>> names;
  for (const Layout& layout : layouts) {
    if (layout.table != table) continue;
    if (!names) names.emplace();
    names->insert(names->end(), layout.columns.begin(), layout.columns.end());
  }
  return names;
}

}  // namespace

std::vector<TableColumn> columns_read(const TaskPlan& plan, const Schema& schema) {
  Reader reader(schema);
  reader.read(plan);
  return reader.columns();
}

std::vector<std::string> unseen_columns(const TaskPlan& plan, const Schema& schema,
                                        std::span<const Layout> layouts) {
  std::vector<std::string> out;
  for (const TableColumn& read : columns_read(plan, schema)) {
    const Table& table = schema.table(read.table);
    const std::string& name = table.columns[read.column.value].name;
    const auto names = shown(table.name, layouts);
    if (!names || std::ranges::count(*names, name) > 0) continue;
    const std::string nearest = nearest_name(name, *names);
    out.push_back("task \"" + plan.name + "\" reads " + table.name + "." + name +
                  ", which no row has had" +
                  (nearest.empty() ? "" : "; did you mean \"" + nearest + "\"?"));
  }
  return out;
}

std::vector<std::string> notes_of(const AnyTask& task, const Fold& fold) {
  std::vector<std::string> out = unseen_columns(task.plan(), fold.schema(), fold.layouts());
  // Whoever was predicted at that tick has waited for an outcome in vain, or nobody was.
  const bool nobody =
      task.last_tick() != kTimeMin && task.labels() == 0 && task.pending() == 0 && task.shed() == 0;
  if (!nobody) return out;
  out.push_back("task \"" + task.plan().name + "\" knows no outcome and waits for none after its " +
                "tick of " + format_time(task.last_tick()) + ": no row of " +
                fold.schema().table(task.plan().entity).name +
                (task.plan().where ? " met its WHERE" : " was there") +
                ", or what is asked had no value");
  return out;
}

std::vector<std::string> ColumnWatch::news(Fold& fold) {
  std::vector<std::string> out;
  if (fold.layouts().size() == layouts_) return out;
  layouts_ = fold.layouts().size();
  for (const auto& task : fold.tasks()) {
    for (std::string& line : unseen_columns(task->plan(), fold.schema(), fold.layouts()))
      out.push_back(std::move(line));
  }
  return out;
}

}  // namespace accrete::daemon
