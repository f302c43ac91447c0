// Aggregates of all tasks: what rows say, what is stored, what readers see.
#include "daemon/synthesis.h"

#include <cmath>
#include <limits>

#include "proto/bytes.h"

namespace accrete::daemon {
namespace {

using store::Section;

constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();
constexpr std::string_view kBlob = "/synthesis/columns";
constexpr std::size_t kNotedMax = 4096;  // rows noted before they are settled

std::string prefix_of(const char* kind, std::size_t number) {
  return std::string("/synthesis/") + kind + "/" + std::to_string(number) + "/";
}

std::uint64_t key_of(NodeId node) {
  return std::uint64_t{node.table.value} << 32 | node.row;
}

}  // namespace

Synthesis::Synthesis(const std::vector<TaskPlan>& tasks, const World& world, std::size_t bytes_max)
    : world_(world), plan_(plan_synthesis(tasks, *world.schema)) {
  budget_.bytes_max = bytes_max;
  by_table_.resize(world.schema->tables().size());
  for (std::size_t s = 0; s < plan_.sources.size(); ++s) {
    const SourcePlan& source = plan_.sources[s];
    by_table_[source.table.value] = s;
    sources_.push_back({models::AggregateColumns(source.expressions.size()), {}, 0, false});
    if (!source.expressions.empty()) growth_.emplace_back(s, source.expressions.size());
  }
  for (std::size_t s = 0; s < plan_.streams.size(); ++s) {
    models::AggregateForm form = make_form(s);
    const std::size_t stride = form.size();
    streams_.push_back({std::move(form), AggregatePages(prefix_of("stream", s), stride, budget_)});
  }
  for (std::size_t h = 0; h < plan_.hops.size(); ++h) {
    hops_.emplace_back(prefix_of("hop", h), 1, budget_);
  }
}

std::string Synthesis::stamps_prefix(std::size_t source) {
  return prefix_of("stamps", source);
}

models::AggregateForm Synthesis::make_form(std::size_t stream) const {
  const StreamPlan& plan = plan_.streams[stream];
  const SourcePlan& source = plan_.sources[plan.source];
  std::vector<double> lives = plan_.half_lives_us;
  if (!source.timed) lives = {std::numeric_limits<double>::infinity()};
  const std::size_t links = plan.ordered() ? source.links.size() : 0;
  return models::AggregateForm(std::move(lives), sources_[plan.source].columns.width(), links,
                               plan.ordered());
}

double Synthesis::time_of(const Table& table, const RowContent& row, TimeUs from) const {
  if (!table.time) return kMissing;
  const auto own = value_time(row.at(*table.time), table.time_unit);
  if (!own || *own == kTimeMin) return kMissing;
  return static_cast<double>(std::min(*own, from).value);
}

void Synthesis::facts_of(std::size_t source, NodeId node,
                         const std::optional<store::Version>& newest, Facts& facts) {
  facts.valid = false;
  if (!newest || newest->deleted) return;
  const RowContent* row = world_.rows->content(node, *newest);
  if (row == nullptr) return;
  const Table& table = world_.schema->table(node.table);
  const SourcePlan& plan = plan_.sources[source];
  facts.valid = true;
  facts.time = time_of(table, *row, newest->from);
  facts.values.resize(sources_[source].columns.width());
  sources_[source].columns.encode(row->cells, facts.values);
  for (std::size_t e = 0; e < plan.expressions.size(); ++e) {
    facts.values[e] = world_.windows->row_value(plan.expressions[e].task, *row).value_or(kMissing);
  }
  facts.parents.assign(table.foreign_keys.size(), kNoKey);
  for (std::size_t f = 0; f < table.foreign_keys.size(); ++f) {
    const ForeignKey& foreign = table.foreign_keys[f];
    key_.clear();
    bool whole = true;
    for (const ColumnId column : foreign.columns) {
      const Value& cell = row->at(column);
      whole = whole && !cell.is_null() && cell.kind != ValueKind::Unchanged;
      if (whole) append_key(key_, cell);
    }
    if (!whole) continue;
    const auto parent = world_.graph->find(foreign.parent, key_);
    if (parent) facts.parents[f] = parent->row;
  }
}

void Synthesis::facts_now(std::size_t source, NodeId node, Facts& facts) {
  facts_of(source, node, world_.graph->newest_version(node), facts);
}

/// The row's entry, new if it had none: then its facts are to be filled in. nullptr: it had one.
Synthesis::Entry* Synthesis::note(NodeId node) {
  if (!noted_.emplace(key_of(node), used_).second) return nullptr;
  if (used_ == entries_.size()) entries_.emplace_back();
  Entry& entry = entries_[used_++];
  entry.node = node;
  entry.before.row = node.row;
  entry.after.row = node.row;
  entry.before.facts.valid = false;
  entry.after.facts.valid = false;
  entry.is_new = false;
  return &entry;
}

void Synthesis::note_unchanged(NodeId node) {
  Entry* entry = note(node);
  if (entry == nullptr) return;
  facts_now(*by_table_[node.table.value], node, entry->before.facts);
  entry->after.facts = entry->before.facts;
}

void Synthesis::changing(NodeId node, const std::optional<store::Version>& newest) {
  const auto source = by_table_[node.table.value];
  if (!source) return;
  if (used_ >= kNotedMax) settle();
  Entry* entry = note(node);
  if (entry == nullptr) return;
  entry->is_new = !newest;
  facts_of(*source, node, newest, entry->before.facts);
}

std::uint32_t Synthesis::hop(std::size_t hop, std::uint32_t row) const {
  if (row == kNoKey) return kNoKey;
  const double* key = hops_[hop].find(row);
  return key == nullptr || *key == 0 ? kNoKey : static_cast<std::uint32_t>(*key - 1);
}

void Synthesis::means(std::size_t source, std::size_t life, std::vector<double>& out) const {
  const std::size_t stream = plan_.sources[source].everything;
  out.resize(streams_[stream].form.columns());
  streams_[stream].form.means(streams_[stream].pages.find(0), life, out);
}

std::vector<std::string> Synthesis::column_names(std::size_t source) const {
  std::vector<std::string> names;
  const SourcePlan& plan = plan_.sources[source];
  for (const ExpressionPlan& expression : plan.expressions)
    names.push_back(expression.name);
  for (std::string& name : sources_[source].columns.names(world_.schema->table(plan.table))) {
    names.push_back(std::move(name));
  }
  return names;
}

std::size_t Synthesis::stamps_bytes() const {
  std::size_t bytes = 0;
  for (const Source& source : sources_) {
    if (source.stamps) bytes += source.stamps->memory_bytes();
  }
  return bytes;
}

Status Synthesis::health() const {
  for (const Source& source : sources_) {
    if (source.stamps && source.stamps->failure()) return *source.stamps->failure();
  }
  return Ok{};
}

void Synthesis::stage(store::State& state) {
  settle();
  std::string bytes;
  ByteWriter writer(bytes);
  for (Source& source : sources_) {
    std::string columns;
    source.columns.save(columns);
    writer.put_text(columns);
    writer.put(source.newest_time);
    writer.put(static_cast<std::uint8_t>(source.any));
    writer.put(static_cast<std::uint8_t>(source.stamps.has_value()));
    if (source.stamps) source.stamps->stage(state);
  }
  for (Stream& stream : streams_) {
    writer.put(static_cast<std::uint8_t>(stream.pages.full()));
    stream.pages.stage(state);
  }
  for (AggregatePages& hop : hops_) {
    writer.put(static_cast<std::uint8_t>(hop.full()));
    hop.stage(state);
  }
  writer.put(static_cast<std::uint64_t>(growth_.size()));
  for (const auto& [source, width] : growth_) {
    writer.put(static_cast<std::uint64_t>(source));
    writer.put(static_cast<std::uint64_t>(width));
  }
  state.put(Section::Blobs, kBlob, bytes);
}

Status Synthesis::load(store::State& state) {
  std::string bytes;
  ACCRETE_TRY(const bool has_bytes, state.get(Section::Blobs, kBlob, bytes));
  if (!has_bytes) return Ok{};
  ByteReader reader(bytes);
  for (std::size_t s = 0; s < sources_.size(); ++s) {
    Source& source = sources_[s];
    ACCRETE_DO(source.columns.load(reader.get_text()));
    source.newest_time = reader.get<double>();
    source.any = reader.get<std::uint8_t>() != 0;
    if (reader.get<std::uint8_t>() != 0) source.stamps.emplace(stamps_prefix(s), *world_.state);
  }
  for (std::size_t s = 0; s < streams_.size(); ++s) {
    Stream& stream = streams_[s];
    stream.form = make_form(s);
    stream.pages.reset(stream.form.size());
    ACCRETE_DO(stream.pages.load(state, reader.get<std::uint8_t>() != 0));
  }
  for (AggregatePages& hop : hops_)
    ACCRETE_DO(hop.load(state, reader.get<std::uint8_t>() != 0));
  growth_.clear();
  const auto grown = reader.get<std::uint64_t>();
  for (std::uint64_t i = 0; i < grown && reader.ok(); ++i) {
    const auto source = reader.get<std::uint64_t>();
    growth_.emplace_back(source, reader.get<std::uint64_t>());
    if (source >= sources_.size()) break;
  }
  if (!reader.done()) return Error{Errc::Corruption, "the stored aggregates do not decode"};
  return Ok{};
}

}  // namespace accrete::daemon
