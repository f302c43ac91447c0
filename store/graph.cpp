// The temporal graph: keys, node pages and adjacency pages put together.
#include "store/graph.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "proto/limits.h"
#include "store/adjacency.h"
#include "store/adjacency_page.h"
#include "store/key_index.h"
#include "store/keys.h"
#include "store/node_page.h"
#include "store/page_pool.h"
#include "store/segments.h"

namespace accrete::store {
namespace {

constexpr std::size_t kCacheLine = 64;
// Of the newest edges of a list so many bytes are sent for: sixteen edges.
constexpr std::size_t kNewestBytes = 256;

template <class Number>
std::string number_prefix(Number number) {
  std::string out;
  put_be<Number>(out, number);
  return out;
}

std::uint32_t pages_of(std::uint32_t rows, std::uint32_t rows_per_page) {
  return rows / rows_per_page + (rows % rows_per_page != 0 ? 1u : 0u);
}

}  // namespace

struct Graph::Parts {
  struct TableState {
    TableId id;
    std::uint32_t count = 0;
    std::uint32_t stored_count = 0;
    std::size_t pages = 0;           ///< in the pool
    std::unique_ptr<KeyIndex> keys;  ///< null: a table without a key
  };

  Parts(State& state_in, const Schema& schema_in, std::size_t memory_bytes_max_in)
      : state(state_in),
        schema(schema_in),
        memory_bytes_max(memory_bytes_max_in),
        pool(state_in),
        segments(state_in, memory_bytes_max_in / 16) {}

  void open();
  void open_table(TableId id);
  void fail(const Error& error) {
    if (health) health = error;
  }
  NodeId add_node(TableState& table);
  NodePage* node_page(NodeId node);
  AdjacencyPage* adjacency_page(RelationId relation, std::uint32_t parent);
  std::size_t key_bytes() const;
  void share_budget();

  /// A reader over the list of `parent`, or nothing when its page cannot be read.
  std::optional<AdjacencyReader> reader(RelationId relation, NodeId parent) {
    const AdjacencyPage* page = adjacency_page(relation, parent.row);
    if (page == nullptr) return std::nullopt;
    return AdjacencyReader(page->list(parent.row % AdjacencyPage::kParents), relation, parent.row,
                           segments);
  }

  State& state;
  const Schema& schema;
  std::size_t memory_bytes_max;
  PagePool pool;
  SegmentStore segments;
  std::vector<TableState> tables;
  std::vector<std::size_t> relations;  ///< tables of pages in the pool
  std::vector<Version> versions;       ///< scratch
  Status health = Ok{};
};

void Graph::Parts::open() {
  for (std::size_t i = 0; i < schema.tables().size(); ++i) {
    open_table(TableId{static_cast<std::uint16_t>(i)});
  }
  for (std::size_t i = 0; i < schema.relations().size(); ++i) {
    const std::size_t pages = pool.add_table(
        Section::Adjacency, number_prefix(static_cast<std::uint16_t>(i)), &AdjacencyPage::make);
    const TableState& parent = tables[schema.relations()[i].parent.value];
    pool.set_stored_pages(pages, pages_of(parent.count, AdjacencyPage::kParents));
    relations.push_back(pages);
  }
  share_budget();
}

void Graph::Parts::open_table(TableId id) {
  TableState& table = tables.emplace_back();
  table.id = id;
  const std::string prefix = number_prefix(id.value);
  table.pages = pool.add_table(Section::Nodes, prefix, &NodePage::make);
  std::string count;
  const Result<bool> found = state.get(Section::Nodes, prefix, count);
  if (!found) {
    fail(found.error());
  } else if (found.value() && count.size() != 4) {
    fail({Errc::Corruption, "a stored node count does not decode"});
  } else if (found.value()) {
    table.count = get_be<std::uint32_t>(count);
  }
  table.stored_count = table.count;
  pool.set_stored_pages(table.pages, pages_of(table.count, NodePage::kRows));
  if (schema.table(id).key.empty()) return;
  table.keys = std::make_unique<KeyIndex>(state, id);
  const std::size_t used = key_bytes();
  const std::size_t half = memory_bytes_max / 2;
  if (const Status warmed = table.keys->warm(half > used ? half - used : 0); !warmed) {
    fail(warmed.error());
  }
}

std::size_t Graph::Parts::key_bytes() const {
  std::size_t bytes = 0;
  for (const TableState& table : tables) {
    if (table.keys != nullptr) bytes += table.keys->memory_bytes();
  }
  return bytes;
}

/// Keys may take half of the memory, decoded segments take a sixteenth, pages get the rest.
void Graph::Parts::share_budget() {
  const std::size_t keys_max = memory_bytes_max / 2;
  std::size_t keys = key_bytes();
  while (keys > keys_max) {
    TableState* largest = nullptr;
    for (TableState& table : tables) {
      if (table.keys == nullptr) continue;
      if (largest == nullptr || table.keys->memory_bytes() > largest->keys->memory_bytes()) {
        largest = &table;
      }
    }
    if (largest == nullptr) break;
    const std::size_t before = largest->keys->memory_bytes();
    largest->keys->rotate(largest->count);
    const std::size_t after = largest->keys->memory_bytes();
    if (after >= before) break;  // nothing left to drop in the largest: the rest is smaller still
    keys -= before - after;
  }
  const std::size_t others = keys + segments.memory_bytes();
  pool.set_budget(memory_bytes_max > others ? memory_bytes_max - others : 0);
}

NodeId Graph::Parts::add_node(TableState& table) {
  if (table.count == limits::rows_per_table_max) {
    fail({Errc::Exhausted, "table '" + schema.table(table.id).name + "' has " +
                               std::to_string(table.count) + " rows, the most a graph can hold"});
    return {table.id, table.count - 1};
  }
  return {table.id, table.count++};
}

NodePage* Graph::Parts::node_page(NodeId node) {
  ACCRETE_CHECK(node.table.value < tables.size());
  ACCRETE_CHECK(node.row < tables[node.table.value].count);
  // Each table of pages holds one kind of page, the one its `make` gives.
  return static_cast<NodePage*>(
      pool.load(tables[node.table.value].pages, node.row / NodePage::kRows));
}

AdjacencyPage* Graph::Parts::adjacency_page(RelationId relation, std::uint32_t parent) {
  ACCRETE_CHECK(relation.value < relations.size());
  return static_cast<AdjacencyPage*>(
      pool.load(relations[relation.value], parent / AdjacencyPage::kParents));
}

Graph::Graph(State& state, const Schema& schema, std::size_t memory_bytes_max)
    : parts_(std::make_unique<Parts>(state, schema, memory_bytes_max)) {
  parts_->open();
}
Graph::~Graph() = default;

NodeId Graph::intern(TableId table, std::string_view key) {
  Parts::TableState& rows = parts_->tables[table.value];
  ACCRETE_CHECK(rows.keys != nullptr);
  const Result<std::optional<std::uint32_t>> found = rows.keys->find(key);
  if (!found) {
    parts_->fail(found.error());
    return parts_->add_node(rows);  // never committed: health() stops the fold before
  }
  if (found.value()) return {table, *found.value()};
  const NodeId node = parts_->add_node(rows);
  rows.keys->insert(key, node.row);
  return node;
}

std::optional<NodeId> Graph::find(TableId table, std::string_view key) {
  Parts::TableState& rows = parts_->tables[table.value];
  if (rows.keys == nullptr) return std::nullopt;
  const Result<std::optional<std::uint32_t>> found = rows.keys->find(key);
  if (!found) {
    parts_->fail(found.error());
    return std::nullopt;
  }
  if (!found.value()) return std::nullopt;
  return NodeId{table, *found.value()};
}

void Graph::prefetch_key(TableId table, std::string_view key) const {
  const Parts::TableState& rows = parts_->tables[table.value];
  if (rows.keys != nullptr) rows.keys->prefetch(key);
}

std::optional<std::uint32_t> Graph::cached_row(TableId table, std::string_view key) const {
  const Parts::TableState& rows = parts_->tables[table.value];
  return rows.keys == nullptr ? std::nullopt : rows.keys->cached(key);
}

void Graph::prefetch_list(RelationId relation, std::uint32_t parent, ListStage stage) const {
  const std::unique_ptr<Page>* place =
      parts_->pool.place(parts_->relations[relation.value], parent / AdjacencyPage::kParents);
  if (place == nullptr) return;
  if (stage == ListStage::Page) {
    __builtin_prefetch(place);
    return;
  }
  const auto* page = static_cast<const AdjacencyPage*>(place->get());
  if (page == nullptr) return;
  const AdjacencyList& list = page->list(parent % AdjacencyPage::kParents);
  if (stage == ListStage::List) {
    __builtin_prefetch(page, 1);
    __builtin_prefetch(&list, 1);
  } else if (stage == ListStage::Tail) {
    if (!list.tail.empty()) __builtin_prefetch(list.tail.data() + list.tail.size(), 1);
    __builtin_prefetch(list.more.get());
  } else if (stage == ListStage::Newest) {
    const auto* const end = reinterpret_cast<const std::byte*>(list.tail.data() + list.tail.size());
    const std::size_t bytes = std::min(list.tail.size() * sizeof(TailEdge), kNewestBytes);
    for (std::size_t back = 1; back < bytes + kCacheLine; back += kCacheLine)
      __builtin_prefetch(end - std::min(back, bytes));
    __builtin_prefetch(list.more.get());
  } else if (list.more != nullptr && !list.more->segments.empty()) {
    __builtin_prefetch(&list.more->segments.back());
  }
}

void Graph::prefetch_version(NodeId node) const {
  const std::unique_ptr<Page>* const place =
      parts_->pool.place(parts_->tables[node.table.value].pages, node.row / NodePage::kRows);
  if (place == nullptr || *place == nullptr) return;
  static_cast<const NodePage*>(place->get())->prefetch(node.row % NodePage::kRows);
}

NodeId Graph::append(TableId table) {
  return parts_->add_node(parts_->tables[table.value]);
}

std::uint32_t Graph::node_count(TableId table) const {
  return parts_->tables[table.value].count;
}

void Graph::put_version(NodeId node, const Version& version) {
  NodePage* page = parts_->node_page(node);
  if (page == nullptr) return;
  page->put(node.row % NodePage::kRows, version);
  parts_->pool.changed(parts_->tables[node.table.value].pages, node.row / NodePage::kRows, *page);
}

std::optional<Version> Graph::version(NodeId node, TimeUs as_of) {
  const NodePage* page = parts_->node_page(node);
  // Made where the caller wants it: whoever copies what was just written in pieces waits for it.
  std::optional<Version> found =
      page != nullptr ? page->at(node.row % NodePage::kRows, as_of) : std::optional<Version>();
  if (found && found->deleted) found.reset();
  return found;
}

std::optional<Version> Graph::newest_version(NodeId node) {
  const NodePage* page = parts_->node_page(node);
  if (page == nullptr) return std::nullopt;
  return page->newest(node.row % NodePage::kRows);
}

std::optional<Version> Graph::version_before(NodeId node, const Version& after) {
  const NodePage* page = parts_->node_page(node);
  if (page == nullptr) return std::nullopt;
  return page->before(node.row % NodePage::kRows, after.ordinal, after.from);
}

void Graph::link(RelationId relation, NodeId parent, NodeId child, TimeUs time) {
  AdjacencyPage* page = parts_->adjacency_page(relation, parent.row);
  if (page == nullptr) return;
  link_edge(*page, parent.row % AdjacencyPage::kParents, {relation, parent.row, 0}, time, child.row,
            parts_->segments);
  parts_->pool.changed(parts_->relations[relation.value], parent.row / AdjacencyPage::kParents,
                       *page);
}

bool Graph::unlink(RelationId relation, NodeId parent, NodeId child, TimeUs end) {
  ACCRETE_CHECK(end < kTimeMax);
  // The edge has the time of one of the child's versions: that is where to look first.
  parts_->versions.clear();
  if (const NodePage* rows = parts_->node_page(child)) {
    rows->list(child.row % NodePage::kRows, parts_->versions);
  }
  AdjacencyPage* page = parts_->adjacency_page(relation, parent.row);
  if (page == nullptr) return false;
  const std::uint32_t slot = parent.row % AdjacencyPage::kParents;
  AdjacencyReader reader(page->list(slot), relation, parent.row, parts_->segments);
  const auto place = reader.find_open(child.row, parts_->versions);
  if (!place) return false;
  end_edge(*page, slot, {relation, parent.row, 0}, *place, end, parts_->segments);
  parts_->pool.changed(parts_->relations[relation.value], parent.row / AdjacencyPage::kParents,
                       *page);
  return true;
}

std::uint64_t Graph::count(RelationId relation, NodeId parent, TimeUs after, TimeUs upto,
                           TimeUs as_of) {
  auto reader = parts_->reader(relation, parent);
  return reader ? reader->count(after, upto, as_of) : 0;
}

void Graph::edges(RelationId relation, NodeId parent, TimeUs after, TimeUs upto, TimeUs as_of,
                  std::vector<Edge>& out) {
  if (auto reader = parts_->reader(relation, parent)) reader->edges(after, upto, as_of, out);
}

void Graph::newest(RelationId relation, NodeId parent, TimeUs as_of, std::size_t k,
                   std::vector<Edge>& out) {
  if (auto reader = parts_->reader(relation, parent)) reader->newest(as_of, k, out);
}

void Graph::sample(RelationId relation, NodeId parent, TimeUs as_of, std::size_t k, Rng rng,
                   std::vector<Edge>& out) {
  if (auto reader = parts_->reader(relation, parent)) reader->sample(as_of, k, rng, out);
}

std::optional<TimeUs> Graph::newest_time(RelationId relation, NodeId parent, TimeUs as_of) {
  auto reader = parts_->reader(relation, parent);
  return reader ? reader->newest_time(as_of) : std::nullopt;
}

void Graph::stage() {
  for (const Parts::TableState& table : parts_->tables) {
    if (table.count != table.stored_count) {
      parts_->state.put(Section::Nodes, number_prefix(table.id.value), number_prefix(table.count));
    }
    if (table.keys != nullptr) table.keys->stage();
  }
  parts_->pool.stage();
  parts_->segments.stage();
}

void Graph::committed() {
  for (Parts::TableState& table : parts_->tables) {
    table.stored_count = table.count;
    if (table.keys != nullptr) table.keys->committed();
  }
  parts_->segments.committed();
  parts_->share_budget();
  parts_->pool.committed();
}

std::size_t Graph::memory_bytes() const {
  return parts_->key_bytes() + parts_->pool.memory_bytes() + parts_->segments.memory_bytes();
}

std::size_t Graph::dirty_bytes() const {
  std::size_t bytes = parts_->pool.dirty_bytes() + parts_->segments.dirty_bytes();
  for (const Parts::TableState& table : parts_->tables) {
    if (table.keys != nullptr) bytes += table.keys->dirty_bytes();
  }
  return bytes;
}

Status Graph::health() const {
  if (!parts_->health) return parts_->health;
  if (!parts_->pool.health()) return parts_->pool.health();
  return parts_->segments.health();
}

}  // namespace accrete::store
