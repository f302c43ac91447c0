// pgoutput messages to records.
#include "daemon/postgres/translator.h"

#include <algorithm>
#include <limits>

#include "proto/limits.h"

namespace accrete::daemon::postgres {
namespace {

constexpr std::size_t kAbsent = std::numeric_limits<std::size_t>::max();
constexpr std::string_view kPrefix = "accrete";  // of logical messages that are for us
constexpr std::string_view kBlock = "block";
constexpr std::size_t kTransactionBytesMax = 2u << 30;  // offsets in it are 32 bits

bool has_role(const Table& table, ColumnId id) {
  if (table.time == id) return true;
  if (std::find(table.key.begin(), table.key.end(), id) != table.key.end()) return true;
  return std::any_of(table.foreign_keys.begin(), table.foreign_keys.end(), [&](const auto& key) {
    return std::find(key.columns.begin(), key.columns.end(), id) != key.columns.end();
  });
}

void clear(SourceTransaction& transaction) {
  transaction.bytes.clear();
  transaction.ends.clear();
  transaction.rows = 0;
}

}  // namespace

TableNames table_names(const Catalogue& catalogue) {
  TableNames out;
  for (const CatalogueTable& table : catalogue.tables)
    out.names.push_back({table.schema, table.relation, table.name});
  return out;
}

Translator::Translator(const Schema& schema, TableNames names, DomainTypes domains)
    : schema_(schema), names_(std::move(names)), domains_(std::move(domains)) {}

void Translator::begin_session() {
  relations_.clear();
  inside_ = false;
  clear(open_);
}

Result<Translator::Outcome> Translator::take(std::string_view bytes) {
  ACCRETE_TRY(const Message message, decode_message(bytes));
  if (const auto* begin = std::get_if<BeginMessage>(&message)) {
    clear(open_);
    inside_ = true;
    now_ = std::max(now_, begin->committed);
    for (auto& [oid, relation] : relations_)
      relation.said = false;
  } else if (const auto* commit = std::get_if<CommitMessage>(&message)) {
    return on_commit(*commit);
  } else if (const auto* relation = std::get_if<RelationMessage>(&message)) {
    ACCRETE_DO(on_relation(*relation, bytes));
  } else if (const auto* row = std::get_if<RowMessage>(&message)) {
    ACCRETE_DO(on_row(*row));
  } else if (const auto* truncate = std::get_if<TruncateMessage>(&message)) {
    ACCRETE_DO(on_truncate(*truncate));
  } else if (const auto* logical = std::get_if<LogicalMessage>(&message)) {
    return on_logical(*logical);
  }
  if (open_.bytes.size() > kTransactionBytesMax) {
    return Error{Errc::Exhausted, "a transaction of more than 2 GiB of rows; divide it"};
  }
  // Origins and types change nothing here: cells come as text.
  return Outcome::Open;
}

Result<Translator::Outcome> Translator::on_commit(const CommitMessage& message) {
  if (!inside_) return Error{Errc::Malformed, "a commit without its begin"};
  inside_ = false;
  end_lsn_ = message.end_lsn;
  if (open_.ends.empty()) return Outcome::Empty;
  std::swap(whole_, open_);
  clear(open_);
  whole_.position = message.end_lsn;
  return Outcome::Whole;
}

Result<Translator::Outcome> Translator::on_logical(const LogicalMessage& message) {
  if (message.prefix != kPrefix) return Outcome::Open;
  if (message.content != kBlock) {
    note_once("a message with prefix accrete says \"" + std::string(message.content.substr(0, 64)) +
              "\"; known is block");
    return Outcome::Open;
  }
  Mark mark;
  mark.kind = MarkKind::Block;
  mark.time = now_;
  if (message.transactional) {
    encode_mark(mark, open_.bytes);
    close_record(open_);
    return Outcome::Open;
  }
  // It stands for itself, and may come between the pieces of nothing: version 1 sends whole
  // transactions. Its record begins where the commit before it ends, hence one more.
  if (inside_) return Error{Errc::Malformed, "a message outside its transaction"};
  clear(whole_);
  encode_mark(mark, whole_.bytes);
  close_record(whole_);
  whole_.position = end_lsn_ = message.lsn + 1;
  return Outcome::Whole;
}

Status Translator::on_relation(const RelationMessage& message, std::string_view bytes) {
  Relation& relation = relations_[message.relation];
  if (relation.described == bytes) return Ok{};
  relation = Relation();
  const auto named = std::find_if(names_.names.begin(), names_.names.end(), [&](const auto& name) {
    return name.schema == message.schema && name.relation == message.name;
  });
  if (named == names_.names.end()) return Ok{};
  const std::optional<TableId> table = schema_.find(named->table);
  if (!table) return Ok{};
  relation.name = named->table;
  relation.table = *table;
  relation.identity = message.identity;
  relation.described = bytes;
  relation.followed = true;
  ACCRETE_DO(plan_cells(message, relation));
  std::string& last = last_described_[relation.name];
  std::string columns;
  for (const RelationColumn& column : message.columns)
    columns += (columns.empty() ? "" : ", ") + std::string(column.name);
  if (!last.empty() && last != columns) {
    notes_.push_back("table " + relation.name + " has changed; its columns are now " + columns);
  }
  last = std::move(columns);
  return Ok{};
}

/// Which column of the relation becomes which cell. What the configuration needs and the relation
/// lacks (a dropped foreign key, say) is NULL from now on.
Status Translator::plan_cells(const RelationMessage& message, Relation& out) {
  const Table& table = schema_.table(out.table);
  out.layout.table = table.name;
  out.columns = message.columns.size();
  const auto add = [&](std::string_view name, std::size_t at, std::uint32_t type) {
    const std::optional<ColumnId> id = table.find(name);
    if (id && table.columns[id->value].kind == ColumnKind::Ignored) return;
    const bool names_a_row = id && (table.columns[id->value].kind == ColumnKind::Key ||
                                    table.columns[id->value].kind == ColumnKind::ForeignKey);
    if (id && table.time == *id) out.time = out.cells.size();
    out.layout.columns.emplace_back(name);
    out.cells.push_back({at, type, names_a_row ? CellRole::Key : CellRole::Plain});
  };
  for (std::size_t i = 0; i < message.columns.size(); ++i) {
    const RelationColumn& column = message.columns[i];
    const auto domain = domains_.find(column.type);
    add(column.name, i, domain == domains_.end() ? column.type : domain->second);
    out.in_identity.push_back(column.in_identity);
  }
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    const std::string& name = table.columns[i].name;
    const auto& known = out.layout.columns;
    if (!has_role(table, ColumnId(static_cast<std::uint16_t>(i)))) continue;
    if (std::find(known.begin(), known.end(), name) == known.end()) add(name, kAbsent, 0);
  }
  for (const ColumnId id : table.key) {
    const std::string& name = table.columns[id.value].name;
    const auto at = std::find(out.layout.columns.begin(), out.layout.columns.end(), name);
    out.key.push_back(static_cast<std::size_t>(at - out.layout.columns.begin()));
    if (out.cells[out.key.back()].column != kAbsent) continue;
    return wrong(out, "it has no column \"" + name + "\" any more, which is its key here");
  }
  out.hash = out.layout.hash();
  return Ok{};
}

Result<Value> Translator::value_of(const Relation& relation, std::size_t cell,
                                   const Tuple& tuple) const {
  const Cell& plan = relation.cells[cell];
  if (plan.column == kAbsent) return Value::null();
  const TupleCell& found = tuple[plan.column];
  switch (found.kind) {
    case CellKind::Null:
      return Value::null();
    case CellKind::Unchanged:
      return Value::unchanged();
    case CellKind::Binary:
      return wrong(relation, "a binary cell, which was not asked for");
    case CellKind::Text:
      break;
  }
  Result<Value> value = cell_value(found.bytes, plan.type, plan.role);
  if (value) return value;
  return wrong(relation,
               "column \"" + relation.layout.columns[cell] + "\": " + value.error().detail);
}

Status Translator::fill(const Relation& relation, const Tuple& tuple,
                        std::vector<Value>& out) const {
  if (tuple.size() != relation.columns) {
    return wrong(relation, "a row of " + std::to_string(tuple.size()) +
                               " cells, the relation has " + std::to_string(relation.columns) +
                               " columns");
  }
  out.clear();
  for (std::size_t i = 0; i < relation.cells.size(); ++i) {
    ACCRETE_TRY(out.emplace_back(), value_of(relation, i, tuple));
  }
  return Ok{};
}

/// An update's former key, and what it left unchanged but told with its old row; a delete's key.
Status Translator::complete(const Relation& relation, const RowMessage& message) {
  if (message.old == OldRow::None) return Ok{};
  if (message.old_row.size() != relation.columns) {
    return wrong(relation, "an old row of another width than the relation");
  }
  if (message.old == OldRow::Whole || message.op == Op::Update) {
    for (std::size_t i = 0; i < change_.cells.size(); ++i) {
      if (change_.cells[i].kind != ValueKind::Unchanged) continue;
      const std::size_t column = relation.cells[i].column;
      if (message.old == OldRow::Key && !relation.in_identity[column]) continue;
      ACCRETE_TRY(change_.cells[i], value_of(relation, i, message.old_row));
    }
  }
  if (message.op != Op::Update) return Ok{};
  bool moved = false;
  for (const std::size_t cell : relation.key) {
    const std::size_t column = relation.cells[cell].column;
    if (message.old == OldRow::Key && !relation.in_identity[column]) {
      change_.old_key.clear();
      return Ok{};  // another column of the identity changed, and says nothing of our key
    }
    ACCRETE_TRY(const Value old, value_of(relation, cell, message.old_row));
    moved = moved || !(old == change_.cells[cell]);
    change_.old_key.push_back(old);
  }
  if (!moved) change_.old_key.clear();
  return Ok{};
}

/// When the change takes effect. A row with an event time of its own is of that time when it is
/// inserted; all other changes are of the time of their commit, or of the row's event time if that
/// is later. An insert without an event time becomes an update at the time of its commit: it may
/// follow a delete of the same key, and a row that is visible always would stay deleted.
void Translator::set_time(const Relation& relation) {
  const Table& table = schema_.table(relation.table);
  std::optional<TimeUs> own;
  if (relation.time) own = value_time(change_.cells[*relation.time], table.time_unit);
  if (change_.op == Op::Insert) {
    change_.change_time.reset();
    if (own || relation.key.empty()) return;
    change_.op = Op::Update;
  }
  change_.change_time = own ? std::max(*own, now_) : now_;
}

Status Translator::on_row(const RowMessage& message) {
  if (!inside_) return Error{Errc::Malformed, "a row outside a transaction"};
  const auto found = relations_.find(message.relation);
  if (found == relations_.end()) {
    return Error{Errc::Malformed, "a row of relation " + std::to_string(message.relation) +
                                      " without its description"};
  }
  Relation& relation = found->second;
  if (!relation.followed) return Ok{};
  if (message.op != Op::Insert && relation.key.empty()) {
    note_once("table " + relation.name + " has no key here: its updates and deletes are left out");
    return Ok{};
  }
  change_.op = message.op;
  change_.old_key.clear();
  ACCRETE_DO(
      fill(relation, message.op == Op::Delete ? message.old_row : message.row, change_.cells));
  ACCRETE_DO(complete(relation, message));
  for (const std::size_t cell : relation.key) {
    const bool told = message.op != Op::Delete || message.old == OldRow::Whole ||
                      relation.in_identity[relation.cells[cell].column];
    const ValueKind kind = change_.cells[cell].kind;
    if (told && kind != ValueKind::Null && kind != ValueKind::Unchanged) continue;
    return wrong(relation, "the server does not say the key column \"" +
                               relation.layout.columns[cell] +
                               "\"; make the key the table's replica identity");
  }
  set_time(relation);
  put(relation, open_);
  return Ok{};
}

Status Translator::on_truncate(const TruncateMessage& message) {
  for (const std::uint32_t oid : message.relations) {
    const auto found = relations_.find(oid);
    if (found == relations_.end()) {
      return Error{Errc::Malformed,
                   "a truncate of relation " + std::to_string(oid) + " without its description"};
    }
    if (!found->second.followed) continue;
    change_.op = Op::Truncate;
    change_.cells.clear();
    change_.old_key.clear();
    change_.change_time = now_;
    put(found->second, open_);
  }
  return Ok{};
}

void Translator::put(Relation& relation, SourceTransaction& out) {
  if (!relation.said) {
    relation.said = true;
    encode_layout(relation.layout, out.bytes);
    close_record(out);
  }
  change_.layout = relation.hash;
  encode_change(change_, out.bytes);
  close_record(out);
  ++out.rows;
}

void Translator::close_record(SourceTransaction& out) {
  ACCRETE_CHECK(out.bytes.size() <= std::numeric_limits<std::uint32_t>::max());
  out.ends.push_back(static_cast<std::uint32_t>(out.bytes.size()));
}

Status Translator::describe(const CatalogueTable& table) {
  RelationMessage message;
  message.relation = table.oid;
  message.schema = table.schema;
  message.name = table.relation;
  message.identity = table.identity;
  for (const CatalogueColumn& column : table.columns)
    message.columns.push_back({false, column.name, column.type, -1});
  // No bytes of a message look like this, so the stream's own description replaces it.
  return on_relation(message, "snapshot");
}

Status Translator::append_copy_line(std::uint32_t oid, std::string_view line,
                                    SourceTransaction& out) {
  Relation& relation = relations_.at(oid);
  if (!relation.followed) return Ok{};
  if (line.ends_with('\n')) line.remove_suffix(1);
  line_.clear();
  line_.reserve(line.size());  // cells view it
  line_cells_.clear();
  std::size_t begin = 0;
  bool null = false;
  const auto end_cell = [&] {
    const std::string_view bytes(line_.data() + begin, line_.size() - begin);
    line_cells_.push_back({null ? CellKind::Null : CellKind::Text, bytes});
    begin = line_.size();
    null = false;
  };
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\t') {
      end_cell();
    } else if (line[i] != '\\' || i + 1 == line.size()) {
      line_.push_back(line[i]);
    } else if (line[++i] == 'N') {
      null = true;
    } else {
      constexpr std::string_view letters = "bfnrtv";
      constexpr std::string_view meanings = "\b\f\n\r\t\v";
      const std::size_t at = letters.find(line[i]);
      line_.push_back(at == letters.npos ? line[i] : meanings[at]);
    }
  }
  if (relation.columns > 0) end_cell();
  ACCRETE_DO(fill(relation, line_cells_, change_.cells));
  change_.op = Op::Insert;
  change_.change_time.reset();
  change_.old_key.clear();
  if (out.ends.empty()) relation.said = false;
  put(relation, out);
  return Ok{};
}

Error Translator::wrong(const Relation& relation, const std::string& detail) const {
  return Error{Errc::Malformed, "table " + relation.name + ": " + detail};
}

void Translator::note_once(std::string text) {
  if (std::find(noted_.begin(), noted_.end(), text) != noted_.end()) return;
  noted_.push_back(text);
  notes_.push_back(std::move(text));
}

}  // namespace accrete::daemon::postgres
