// The configuration that accretectl connect writes from a database's catalogue.
#include "daemon/connect_config.h"

#include <algorithm>
#include <optional>

#include "daemon/plan.h"
#include "daemon/toml_reader.h"

namespace accrete::daemon {
namespace {

struct NamedQuery {
  std::string name;  ///< "" where the command line gives none
  std::string query;
};

NamedQuery split(const std::string& text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string::npos || colon >= text.find(' ')) return {"", text};
  const std::size_t query = text.find_first_not_of(' ', colon + 1);
  return {text.substr(0, colon), query == std::string::npos ? "" : text.substr(query)};
}

std::string task_toml(const std::string& text, std::size_t number) {
  const NamedQuery task = split(text);
  return "\n[[task]]\nname = " +
         toml_quoted(task.name.empty() ? "task" + std::to_string(number) : task.name) +
         "\npredict = " + toml_quoted(task.query) + "\n";
}

std::string column_name(const Table& table, std::optional<ColumnId> column) {
  return column ? table.columns[column->value].name : "";
}

/// Says which column a query added to a schema that had all; "" if none.
std::string added_column(const Schema& whole, const Schema& bound) {
  for (std::size_t i = 0; i < whole.tables().size(); ++i) {
    const Table& table = whole.tables()[i];
    if (bound.tables()[i].columns.size() == table.columns.size()) continue;
    const Column& last = bound.tables()[i].columns.back();
    std::vector<std::string> names;
    for (const Column& column : table.columns)
      names.push_back(column.name);
    const std::string near = nearest_name(last.name, names);
    return "table \"" + table.name + "\" of the database has no column \"" + last.name + "\"" +
           (near.empty() ? "" : "; did you mean \"" + near + "\"?");
  }
  return "";
}

Error fault_in(const std::string& file, const std::string& what) {
  return {Errc::Malformed, file + ": " + what};
}

}  // namespace

std::string connect_toml(const ConnectConfig& wanted, const postgres::Catalogue& catalogue) {
  std::string out =
      "# Written by accretectl connect postgres from the database's catalogue; yours to edit. A\n"
      "# changed table or task is learnt anew from the daemon's own log.\n[store]\npath = " +
      toml_quoted(wanted.store) + "\n\n[endpoints]\n";
  unsigned port = wanted.port;
  for (const char* name : {"ingest", "predictions", "replay", "control"}) {
    out += std::string(name) + " = \"tcp://127.0.0.1:" + std::to_string(port++) + "\"\n";
  }
  out += "# http = \"http://127.0.0.1:" + std::to_string(port) +
         "\"  # console, /metrics, /readyz: no keys, so this machine only\n";
  out += postgres::tables_toml(catalogue);
  for (std::size_t i = 0; i < wanted.predict.size(); ++i)
    out += task_toml(wanted.predict[i], i + 1);
  return out;
}

Status check_connect_toml(const std::string& text, const std::string& name,
                          const postgres::Catalogue& catalogue) {
  ACCRETE_TRY(const Config config, parse_config(text, name));
  ACCRETE_DO(check_tasks(config));
  // A daemon takes a column that no row has shown yet; the catalogue knows that none will.
  Schema schema = config.schema;
  for (const postgres::CatalogueTable& table : catalogue.tables) {
    const std::optional<TableId> id = schema.find(table.name);
    if (!id) continue;
    for (const postgres::CatalogueColumn& column : table.columns) {
      ACCRETE_TRY([[maybe_unused]] const ColumnId added, schema.add_column(*id, column.name));
    }
  }
  const Schema whole = schema;
  for (const TaskConfig& task : config.tasks) {
    const Result<TaskPlan> plan = bind_task(task, schema);
    if (!plan) return fault_in(name, plan.error().detail);
    const std::string missing = added_column(whole, schema);
    if (missing.empty()) continue;
    return fault_in(name, "task \"" + task.name + "\": " + missing);
  }
  return Ok{};
}

Status check_same(const Config& config, const ConnectConfig& wanted) {
  const auto fault = [&](const std::string& lacks) {
    return Error{Errc::Malformed, config.file + " is there already and " + lacks + "; edit " +
                                      config.file + ", or remove it to have it written anew"};
  };
  for (const std::string& text : wanted.predict) {
    const NamedQuery task = split(text);
    const bool held =
        std::any_of(config.tasks.begin(), config.tasks.end(), [&](const TaskConfig& other) {
          return other.predict == task.query && (task.name.empty() || other.name == task.name);
        });
    if (held) continue;
    return fault("has no task \"" + text + "\"");
  }
  for (const std::string& choice : wanted.times) {
    const std::string name = choice.substr(0, choice.rfind('.'));
    const std::optional<TableId> id = config.schema.find(name);
    if (!id) continue;
    const Table& table = config.schema.table(*id);
    const std::string chosen = choice.substr(name.size() + 1);
    if (column_name(table, table.time) == chosen) continue;
    return fault("says otherwise than --time " + choice);
  }
  return Ok{};
}

Status keep_configured(const Config& config, postgres::Catalogue& catalogue) {
  std::vector<std::string> names;
  for (const postgres::CatalogueTable& table : catalogue.tables)
    names.push_back(table.name);
  for (const Table& table : config.schema.tables()) {
    if (std::find(names.begin(), names.end(), table.name) != names.end()) continue;
    const std::string near = nearest_name(table.name, names);
    return Error{Errc::NotFound, config.file + ": table \"" + table.name +
                                     "\" is not in the database" +
                                     (near.empty() ? "" : "; did you mean \"" + near + "\"?")};
  }
  std::erase_if(catalogue.tables, [&](const postgres::CatalogueTable& table) {
    return !config.schema.find(table.name);
  });
  return Ok{};
}

}  // namespace accrete::daemon
