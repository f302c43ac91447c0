// Reading the links around an entity, counting those of all.
#include "daemon/shortlist.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <set>
#include <utility>

#include "daemon/synthesis_plan.h"
#include "models/ranked_list.h"
#include "proto/bytes.h"
#include "proto/time.h"

namespace accrete::daemon {
namespace {

// Of an entity: links that are read, and items of these that are listed.
constexpr std::size_t kOwnLinks = 256;
constexpr std::size_t kOwnItems = 64;
// What else was linked by those who linked an item: of the entity's newest items, through the
// newest links of each, among the newest links of those who made them.
constexpr std::size_t kAlsoOf = 12;
constexpr std::size_t kAlsoLinks = 32;
constexpr std::size_t kAlsoOwn = 12;
constexpr std::size_t kAlsoKept = 32;         // of one item
constexpr std::size_t kAlsoItems = 40;        // that are listed
constexpr std::size_t kAlsoKnown = 1u << 15;  // items of which that is kept
constexpr std::size_t kEndsMin = 1u << 12;
constexpr double kWider = 4;  // windows
constexpr double kAgeMax = 1e4;

}  // namespace

const std::array<std::string_view, Shortlist::kNumbers>& Shortlist::names() {
  static constexpr std::array<std::string_view, kNumbers> kNames{
      "log of 1 + own links",
      "log of 1 + own links, fading with the window",
      "log of 1 + own links, fading with four windows",
      "linked before",
      "1 / place among own items by age",
      "linked last",
      "log of 1 + age of the own newest link, in windows",
      "linked by who linked the same",
      "log of 1 + weight of those links",
      "log of 1 + links of all in the last window",
      "log of 1 + links of all in four windows",
      "log of 1 + links of all",
      "log of links of all, last window against four",
      "log of 1 + age of the newest link of all, in windows",
      "linked before × log of 1 + own links of all items",
      "log of 1 + links of all in the last window × share of own items among own links",
      "linked before × share of own items among own links"};
  return kNames;
}

Shortlist::Shortlist(const TaskPlan& plan, const TaskWorld& world, std::size_t cache_bytes_max)
    : plan_(plan),
      world_(world),
      ends_max_(std::bit_floor(std::max(cache_bytes_max / sizeof(Ends), kEndsMin))) {
  ACCRETE_CHECK(plan.items.has_value());
  const Relation& relation = world.schema->relations()[plan.items->value];
  link_table_ = relation.child;
  item_table_ = relation.parent;
}

/// Time between, in windows of the task.
double Shortlist::windows(TimeUs from, TimeUs to) const {
  if (from == kTimeMin) return kAgeMax;
  const double span = static_cast<double>(to.value) - static_cast<double>(from.value);
  return std::clamp(span / static_cast<double>(window_us(plan_)), 0.0, kAgeMax);
}

std::uint32_t Shortlist::parent(RelationId id, std::span<const Value> cells) {
  const Relation& relation = world_.schema->relations()[id.value];
  const ForeignKey& foreign =
      world_.schema->table(relation.child).foreign_keys[relation.foreign_key];
  key_.clear();
  for (const ColumnId column : foreign.columns) {
    if (column.value >= cells.size() || cells[column.value].is_null()) return Ends::kNobody;
    append_key(key_, cells[column.value]);
  }
  const auto node = world_.graph->find(relation.parent, key_);
  return node ? node->row : Ends::kNobody;
}

const Shortlist::Ends& Shortlist::ends_of(std::uint32_t link, TimeUs at) {
  static const Ends kNone;
  const NodeId node{link_table_, link};
  const auto version = world_.graph->version(node, at);
  if (!version || version->deleted) return kNone;
  if (ends_.size() < ends_max_ && ends_.size() <= link) {
    ends_.resize(std::min(ends_max_, std::bit_ceil(std::max<std::size_t>(link + 1, kEndsMin))));
  }
  Ends& known = ends_[link & (ends_.size() - 1)];
  if (known.ordinal == version->ordinal && known.link == link) return known;
  const RowContent* content = world_.rows->content(node, *version);
  if (content == nullptr) return kNone;
  known.ordinal = version->ordinal;
  known.link = link;
  known.item = parent(*plan_.items, content->cells);
  known.entity = parent(plan_.target.relation, content->cells);
  return known;
}

bool Shortlist::valid(std::uint32_t item, TimeUs at) {
  const auto version = world_.graph->version(NodeId{item_table_, item}, at);
  return version && !version->deleted;
}

void Shortlist::count(TimeUs at) {
  const std::uint32_t items = world_.graph->node_count(item_table_);
  counted_.assign(items, {});
  std::vector<double> scores(items, 0.0);
  std::uint32_t linked = 0;
  for (std::uint32_t item = 0; item < items; ++item) {
    const NodeId node{item_table_, item};
    edges_.clear();
    world_.graph->newest(*plan_.items, node, at, 1, edges_);
    if (edges_.empty() || !valid(item, at)) continue;
    const auto since = [&](double spans) {
      const TimeUs after =
          spans > 0
              ? shift(at, -static_cast<std::int64_t>(spans * static_cast<double>(window_us(plan_))))
              : kTimeMin;
      return static_cast<std::uint32_t>(world_.graph->count(*plan_.items, node, after, at, at));
    };
    counted_[item] = {since(1), since(kWider), since(0), edges_.front().time};
    if (counted_[item].all == 0) continue;
    ++linked;
    // Among those that nobody linked of late, by how often ever.
    scores[item] = counted_[item].popularity() + 1e-6 * counted_[item].all;
  }
  popular_ = models::best_of(scores, std::min<std::size_t>(linked, kItemsMax));
}

std::optional<std::size_t> Shortlist::place(std::uint32_t item) const {
  if (item >= places_.size() || places_[item] < stamp_) return std::nullopt;
  return places_[item] - stamp_;
}

/// Give the item a place, if it is valid and there is room.
bool Shortlist::add(std::uint32_t item, TimeUs at, Pool& out) {
  if (place(item)) return true;
  if (out.items.size() == kItemsMax || !valid(item, at)) return false;
  if (item >= places_.size()) places_.resize(item + std::size_t{1}, 0);
  places_[item] = stamp_ + static_cast<std::uint32_t>(out.items.size());
  Item& made = out.items.emplace_back();
  made.row = item;
  if (item < counted_.size()) made.popularity = counted_[item].popularity();
  own_.emplace_back();
  also_weight_.push_back(0);
  return true;
}

void Shortlist::take_own(std::uint32_t entity, TimeUs at, Pool& out) {
  edges_.clear();
  world_.graph->newest(plan_.target.relation, NodeId{plan_.entity, entity}, at, kOwnLinks, edges_);
  own_links_ = 0;
  for (const store::Edge& edge : edges_) {
    const std::uint32_t item = ends_of(edge.child, at).item;
    if (item == Ends::kNobody) continue;
    own_links_ += 1;
    const bool known = place(item).has_value();
    if (!known && out.items.size() == kOwnItems) continue;
    if (!add(item, at, out)) continue;
    const std::size_t i = *place(item);
    const double age = windows(edge.time, at);
    if (!known) {
      out.items[i].own_rank = static_cast<std::uint32_t>(i + 1);
      own_[i].age = age;
      own_[i].newest = edge.time == edges_.front().time;
    }
    ++out.items[i].own_links;
    own_[i].fading += std::exp2(-age);
    own_[i].wide_fading += std::exp2(-age / kWider);
  }
  own_items_ = static_cast<double>(out.items.size());
}

/// The heaviest, each item once; equal weights by row.
std::vector<Shortlist::Weighed> Shortlist::heaviest(std::vector<Weighed>& all,
                                                    std::size_t most) const {
  std::stable_sort(all.begin(), all.end(),
                   [](const Weighed& a, const Weighed& b) { return a.item < b.item; });
  std::vector<Weighed> sums;
  for (const Weighed& one : all) {
    if (sums.empty() || sums.back().item != one.item) sums.push_back({one.item, 0});
    sums.back().weight += one.weight;
  }
  std::stable_sort(sums.begin(), sums.end(),
                   [](const Weighed& a, const Weighed& b) { return a.weight > b.weight; });
  if (sums.size() > most) sums.resize(most);
  return sums;
}

const std::vector<Shortlist::Weighed>& Shortlist::also_linked(std::uint32_t item, TimeUs at) {
  if (also_.size() == kAlsoKnown) also_.clear();
  const auto [found, is_new] = also_.try_emplace(item);
  if (!is_new) return found->second;
  std::vector<store::Edge> links;
  world_.graph->newest(*plan_.items, NodeId{item_table_, item}, at, kAlsoLinks, links);
  std::vector<std::uint32_t> who;
  for (const store::Edge& link : links) {
    const std::uint32_t entity = ends_of(link.child, at).entity;
    if (entity != Ends::kNobody) who.push_back(entity);
  }
  std::sort(who.begin(), who.end());
  who.erase(std::unique(who.begin(), who.end()), who.end());
  std::vector<Weighed> all;
  for (const std::uint32_t entity : who) {
    inner_edges_.clear();
    world_.graph->newest(plan_.target.relation, NodeId{plan_.entity, entity}, at, kAlsoOwn,
                         inner_edges_);
    for (const store::Edge& link : inner_edges_) {
      const std::uint32_t other = ends_of(link.child, at).item;
      if (other != Ends::kNobody && other != item)
        all.push_back({other, 1 / static_cast<double>(inner_edges_.size())});
    }
  }
  found->second = heaviest(all, kAlsoKept);
  return found->second;
}

/// What else those linked who linked the entity's newest items.
void Shortlist::take_also(TimeUs at, Pool& out) {
  std::vector<Weighed> all;
  const std::size_t sources = std::min(out.items.size(), kAlsoOf);
  for (std::size_t i = 0; i < sources; ++i) {
    const auto& also = also_linked(out.items[i].row, at);
    all.insert(all.end(), also.begin(), also.end());
  }
  const std::size_t own = out.items.size();
  for (const Weighed& one : heaviest(all, all.size())) {
    if (!place(one.item) && out.items.size() == own + kAlsoItems) continue;
    if (add(one.item, at, out)) also_weight_[*place(one.item)] = one.weight;
  }
}

void Shortlist::make(std::uint32_t entity, TimeUs at, Pool& out) {
  out.items.clear();
  own_.clear();
  also_weight_.clear();
  if (stamp_ > std::numeric_limits<std::uint32_t>::max() - 2 * kItemsMax) {
    places_.assign(places_.size(), 0);
    stamp_ = 0;
  }
  stamp_ += kItemsMax;
  take_own(entity, at, out);
  take_also(at, out);
  for (const std::uint32_t item : popular_)
    add(item, at, out);
  tell(at, out);
}

void Shortlist::tell(TimeUs at, Pool& out) const {
  static const Links kNone;
  out.numbers.clear();
  out.numbers.reserve(out.items.size() * kNumbers);
  const double explores = own_links_ > 0 ? own_items_ / own_links_ : 1;
  for (std::size_t i = 0; i < out.items.size(); ++i) {
    const Item& item = out.items[i];
    const Own& own = own_[i];
    const Links& links = item.row < counted_.size() ? counted_[item.row] : kNone;
    const bool before = item.own_rank > 0;
    const double recent = std::log1p(links.recent);
    for (const double number :
         {std::log1p(item.own_links), std::log1p(own.fading), std::log1p(own.wide_fading),
          before ? 1.0 : 0.0, before ? 1.0 / item.own_rank : 0.0, own.newest ? 1.0 : 0.0,
          before ? std::log1p(own.age) : 0.0, also_weight_[i] > 0 ? 1.0 : 0.0,
          std::log1p(also_weight_[i]), recent, std::log1p(links.wider), std::log1p(links.all),
          std::log((links.recent + 1) / (links.wider / kWider + 1)),
          std::log1p(windows(links.newest, at)), before ? std::log1p(own_links_) : 0.0,
          explores * recent, before ? explores : 0.0}) {
      out.numbers.push_back(static_cast<float>(number));
    }
  }
}

std::vector<Shortlist::Linked> Shortlist::outcome(std::uint32_t entity, TimeUs at) {
  const TimeUs end = shift(at, plan_.target.end_us);
  std::vector<store::Edge> links;
  world_.windows->rows(plan_.target, NodeId{plan_.entity, entity}, at, links);
  std::vector<Linked> out;
  std::set<std::uint32_t> seen;
  for (const store::Edge& link : links) {
    const std::uint32_t item = ends_of(link.child, end).item;
    if (item == Ends::kNobody || !seen.insert(item).second) continue;
    const RowContent* row = world_.rows->row(NodeId{link_table_, link.child}, end);
    if (row != nullptr) out.push_back({item, value_text(row->at(*plan_.target.column))});
  }
  return out;
}

const std::string& Shortlist::name(std::uint32_t item, TimeUs at) {
  if (item >= names_.size()) names_.resize(item + std::size_t{1});
  if (!names_[item].empty()) return names_[item];
  const RowContent* content = world_.rows->row(NodeId{item_table_, item}, at);
  if (content == nullptr) return names_[item];  // the store failed; the fold stops at its commit
  key_.clear();
  for (const ColumnId column : world_.schema->table(item_table_).key)
    append_key(key_, content->at(column));
  names_[item] = key_text(key_);
  return names_[item];
}

std::size_t Shortlist::memory_bytes() const {
  std::size_t names = 0;
  for (const std::string& name : names_)
    names += sizeof(std::string) + (name.capacity() > 15 ? name.capacity() : 0);
  return names + ends_.capacity() * sizeof(Ends) + counted_.capacity() * sizeof(Links) +
         places_.capacity() * sizeof(std::uint32_t);
}

void Shortlist::save(std::string& out) const {
  ByteWriter writer(out);
  writer.put(static_cast<std::uint64_t>(counted_.size()));
  for (const Links& links : counted_) {
    writer.put(links.recent);
    writer.put(links.wider);
    writer.put(links.all);
    writer.put(links.newest.value);
  }
  writer.put_all(std::span(popular_));
}

Status Shortlist::load(std::string_view bytes) {
  ByteReader reader(bytes);
  std::vector<Links> counted;
  for (auto left = reader.get<std::uint64_t>(); left > 0 && reader.ok(); --left) {
    Links& links = counted.emplace_back();
    links.recent = reader.get<std::uint32_t>();
    links.wider = reader.get<std::uint32_t>();
    links.all = reader.get<std::uint32_t>();
    links.newest.value = reader.get<std::int64_t>();
  }
  auto popular = reader.get_all<std::uint32_t>();
  const bool known = std::all_of(popular.begin(), popular.end(),
                                 [&](std::uint32_t item) { return item < counted.size(); });
  if (!reader.done() || !known || popular.size() > kItemsMax) {
    return Error{Errc::Corruption, "stored counts of links do not decode"};
  }
  counted_ = std::move(counted);
  popular_ = std::move(popular);
  return Ok{};
}

}  // namespace accrete::daemon
