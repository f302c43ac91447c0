// Which columns a predictive query reads, and which of them no row has shown: a name that is
// misspelt binds like one of a column that is still to come, and its task would answer all the
// same.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "daemon/plan.h"
#include "proto/ids.h"
#include "proto/schema.h"

namespace accrete::daemon {

class AnyTask;
class Fold;

struct TableColumn {
  TableId table;
  ColumnId column;
  friend auto operator<=>(const TableColumn&, const TableColumn&) = default;
};

/// Each once, by table and column. `schema`: what the plan was bound to.
std::vector<TableColumn> columns_read(const TaskPlan& plan, const Schema& schema);

/// A line for each column that is read and is in none of the layouts, though there are some of its
/// table: `task "spend" reads orders.totl, which no row has had; did you mean "total"?`
/// Cost: layouts × columns.
std::vector<std::string> unseen_columns(const TaskPlan& plan, const Schema& schema,
                                        std::span<const Layout> layouts);

/// What the user of a task should know: its unseen columns, and that ticks have come and no outcome
/// is known or waited for.
std::vector<std::string> notes_of(const AnyTask& task, const Fold& fold);

/// Tells the lines of all tasks of a fold whenever it has seen a new layout. One thread's.
class ColumnWatch {
 public:
  std::vector<std::string> news(Fold& fold);

 private:
  std::size_t layouts_ = 0;
};

}  // namespace accrete::daemon
