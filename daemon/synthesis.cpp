// Aggregates of all tasks: what rows say, what is stored, what readers see.
#include "daemon/synthesis.h"

#include <algorithm>
#include <limits>

#include "proto/bytes.h"

namespace accrete::daemon {
namespace {

using store::Section;

constexpr std::string_view kBlob = "/synthesis/columns";
constexpr std::size_t kColumnsMax = 512;  // of one table's aggregates

std::string prefix_of(const char* kind, std::size_t number) {
  return std::string("/synthesis/") + kind + "/" + std::to_string(number) + "/";
}

}  // namespace

Synthesis::Synthesis(const std::vector<TaskPlan>& tasks, const World& world, std::size_t bytes_max)
    : world_(world), plan_(plan_synthesis(tasks, *world.schema)) {
  budget_.bytes_max = bytes_max;
  by_table_.resize(world.schema->tables().size());
  for (std::size_t s = 0; s < plan_.sources.size(); ++s) {
    const SourcePlan& source = plan_.sources[s];
    by_table_[source.table.value] = s;
    sources_.emplace_back();
    sources_.back().columns = models::AggregateColumns(source.expressions.size());
    if (source.expressions.empty()) continue;
    add_parts(s, 0);
    growth_.push_back({Growth::Kind::Columns, s, source.expressions.size()});
  }
  make_streams(0);
}

/// Streams and hops of the plan that are not there yet.
void Synthesis::make_streams(std::size_t first) {
  for (std::size_t s = first; s < plan_.streams.size(); ++s) {
    models::AggregateForm form = make_form(s);
    const std::size_t stride = form.size();
    streams_.push_back({std::move(form), AggregatePages(prefix_of("stream", s), stride, budget_)});
  }
  for (std::size_t h = hops_.size(); h < plan_.hops.size(); ++h) {
    hops_.emplace_back(prefix_of("hop", h), 1, budget_);
  }
}

void Synthesis::add_attribute(std::size_t source, ColumnId column) {
  const std::size_t first = plan_.add_attribute(source, column, *world_.schema);
  sources_[source].groups.emplace_back();
  make_streams(first);
}

/// Positions for the columns of a source's own rows (join 0) or of a join that have none yet.
void Synthesis::add_parts(std::size_t source, std::size_t join) {
  auto& parts = sources_[source].parts;
  const auto& columns = join == 0 ? sources_[source].columns
                                  : sources_[plan_.sources[source].joins[join - 1].source].columns;
  std::size_t known = 0;
  for (const Part& part : parts) {
    if (part.join == join) known = std::max<std::size_t>(known, part.index + 1U);
  }
  for (std::size_t c = known; c < columns.width() && parts.size() < kColumnsMax; ++c) {
    if (join > 0 && !columns.is_shared(c)) continue;
    parts.push_back({static_cast<std::uint16_t>(join), static_cast<std::uint16_t>(c)});
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
  // The newest rows are looked at one by one for entities only.
  const bool window = std::find(plan_.entities.begin(), plan_.entities.end(), plan.key_table) !=
                      plan_.entities.end();
  return models::AggregateForm(std::move(lives), sources_[plan.source].parts.size(), links,
                               plan.ordered(), window);
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

std::vector<std::vector<std::size_t>> Synthesis::categories(std::size_t source,
                                                            std::size_t known) const {
  const auto& parts = sources_[source].parts;
  const auto& joins = plan_.sources[source].joins;
  std::vector<std::vector<std::size_t>> found;
  std::map<std::pair<std::size_t, std::size_t>, std::size_t> places;  // by join and column
  for (std::size_t c = 0; c < std::min(known, parts.size()); ++c) {
    const std::size_t of = parts[c].join == 0 ? source : joins[parts[c].join - 1U].source;
    const auto column = sources_[of].columns.category_of(parts[c].index);
    if (!column) continue;
    const auto place = places.try_emplace({parts[c].join, *column}, found.size());
    if (place.second) found.emplace_back();
    found[place.first->second].push_back(c);
  }
  return found;
}

std::vector<std::string> Synthesis::column_names(std::size_t source) const {
  const SourcePlan& plan = plan_.sources[source];
  const Table& table = world_.schema->table(plan.table);
  std::vector<std::vector<std::string>> names(1 + plan.joins.size());  // by part
  for (const ExpressionPlan& expression : plan.expressions)
    names[0].push_back(expression.name);
  for (std::string& name : sources_[source].columns.names(table))
    names[0].push_back(std::move(name));
  for (std::size_t j = 0; j < plan.joins.size(); ++j) {
    const SourcePlan& other = plan_.sources[plan.joins[j].source];
    const ForeignKey& foreign = table.foreign_keys[plan.joins[j].foreign_key];
    names[j + 1].resize(other.expressions.size());
    for (const std::string& name :
         sources_[plan.joins[j].source].columns.names(world_.schema->table(other.table))) {
      names[j + 1].push_back(table.columns[foreign.columns.front().value].name + "." + name);
    }
  }
  std::vector<std::string> all;
  for (const Part& part : sources_[source].parts)
    all.push_back(names[part.join][part.index]);
  return all;
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
  writer.put(static_cast<std::uint64_t>(growth_.size()));
  for (const Growth& growth : growth_) {
    writer.put(static_cast<std::uint8_t>(growth.kind));
    writer.put(static_cast<std::uint64_t>(growth.source));
    writer.put(static_cast<std::uint64_t>(growth.value));
  }
  for (Source& source : sources_) {
    std::string columns;
    source.columns.save(columns);
    writer.put_text(columns);
    writer.put(static_cast<std::uint64_t>(source.parts.size()));
    for (const Part& part : source.parts)
      writer.put(part);
    for (const auto& groups : source.groups) {
      writer.put(static_cast<std::uint64_t>(groups.size()));
      for (const auto& [name, group] : groups) {
        writer.put_text(name);
        writer.put(group);
      }
    }
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
  state.put(Section::Blobs, kBlob, bytes);
}

Status Synthesis::load(store::State& state) {
  std::string bytes;
  ACCRETE_TRY(const bool has_bytes, state.get(Section::Blobs, kBlob, bytes));
  if (!has_bytes) return Ok{};
  const Error corrupt{Errc::Corruption, "the stored aggregates do not decode"};
  ByteReader reader(bytes);
  growth_.clear();
  const auto grown = reader.get<std::uint64_t>();
  for (std::uint64_t i = 0; i < grown && reader.ok(); ++i) {
    Growth growth;
    growth.kind = static_cast<Growth::Kind>(reader.get<std::uint8_t>());
    growth.source = reader.get<std::uint64_t>();
    growth.value = reader.get<std::uint64_t>();
    if (growth.source >= sources_.size()) return corrupt;
    growth_.push_back(growth);
    if (growth.kind != Growth::Kind::Attribute) continue;
    if (growth.value >= world_.schema->table(plan_.sources[growth.source].table).columns.size()) {
      return corrupt;
    }
    add_attribute(growth.source, ColumnId{static_cast<std::uint16_t>(growth.value)});
  }
  for (std::size_t s = 0; s < sources_.size(); ++s)
    ACCRETE_DO(load_source(s, reader));
  for (std::size_t s = 0; s < sources_.size(); ++s) {
    for (const Part& part : sources_[s].parts) {
      if (part.join > plan_.sources[s].joins.size()) return corrupt;
      const std::size_t from = part.join == 0 ? s : plan_.sources[s].joins[part.join - 1U].source;
      if (part.index >= sources_[from].columns.width()) return corrupt;
    }
  }
  for (std::size_t s = 0; s < streams_.size(); ++s) {
    Stream& stream = streams_[s];
    stream.form = make_form(s);
    stream.pages.reset(stream.form.size());
    ACCRETE_DO(stream.pages.load(state, reader.get<std::uint8_t>() != 0));
  }
  for (AggregatePages& hop : hops_)
    ACCRETE_DO(hop.load(state, reader.get<std::uint8_t>() != 0));
  return reader.done() ? Status(Ok{}) : Status(corrupt);
}

Status Synthesis::load_source(std::size_t index, ByteReader& reader) {
  Source& source = sources_[index];
  ACCRETE_DO(source.columns.load(reader.get_text()));
  source.parts.clear();
  const auto parts = reader.get<std::uint64_t>();
  for (std::uint64_t i = 0; i < parts && reader.ok(); ++i)
    source.parts.push_back(reader.get<Part>());
  for (auto& groups : source.groups) {
    groups.clear();
    const auto count = reader.get<std::uint64_t>();
    for (std::uint64_t i = 0; i < count && reader.ok(); ++i) {
      std::string name(reader.get_text());
      groups.emplace(std::move(name), reader.get<std::uint32_t>());
    }
  }
  source.newest_time = reader.get<double>();
  source.any = reader.get<std::uint8_t>() != 0;
  if (reader.get<std::uint8_t>() != 0) source.stamps.emplace(stamps_prefix(index), *world_.state);
  return Ok{};
}

}  // namespace accrete::daemon
