// Reads over a list, and its changes: insertion, sealing, splitting, ending.
#include "store/adjacency.h"

#include <algorithm>
#include <utility>

namespace accrete::store {
namespace {

// A tail is sealed in runs of an eighth of the list: the directory of a list stays short, and a
// segment is never larger than what one read wants to decode.
constexpr std::uint64_t kSegmentMin = 32;
constexpr std::uint64_t kSegmentMax = 1024;
// What stays in the tail when it is sealed: reads of the newest few never leave RAM.
constexpr std::size_t kTailKept = 16;

std::uint64_t segment_target(std::uint64_t total) {
  return std::clamp(total / 8, kSegmentMin, kSegmentMax);
}

/// Open edges never end, not even at the end of time.
bool not_ended(const Edge& edge, TimeUs as_of) {
  return as_of < edge.end || edge.end == kTimeMax;
}
bool valid(const Edge& edge, TimeUs as_of) {
  return edge.time <= as_of && not_ended(edge, as_of);
}

bool earlier(const Edge& edge, TimeUs time) {
  return edge.time < time;
}
bool later(TimeUs time, const Edge& edge) {
  return time < edge.time;
}

/// `k` distinct numbers below `n`, ascending. Source: R. Floyd, in Bentley 1987, "A sample of
/// brilliance", CACM 30(9). Checks: k <= n.
void draw_distinct(std::uint64_t n, std::size_t k, Rng& rng, std::vector<std::uint64_t>& out) {
  for (std::uint64_t j = n - k; j < n; ++j) {
    const std::uint64_t drawn = rng.below(j + 1);
    const auto place = std::lower_bound(out.begin(), out.end(), drawn);
    if (place != out.end() && *place == drawn) {
      out.push_back(j);  // larger than all before it
    } else {
      out.insert(place, drawn);
    }
  }
}

}  // namespace

const std::vector<SegmentRef>& AdjacencyReader::directory() const {
  static const std::vector<SegmentRef> kEmpty;
  return list_.more == nullptr ? kEmpty : list_.more->segments;
}

const std::vector<Edge>& AdjacencyReader::load(const SegmentRef& ref) {
  static const std::vector<Edge> kEmpty;
  const std::vector<Edge>& edges = segments_.load({relation_, parent_, ref.id});
  return edges.size() == ref.count ? edges : kEmpty;
}

/// Number of edges with time <= `time`.
std::uint64_t AdjacencyReader::rank(TimeUs time) {
  // Most ask as of now: then nothing is searched for, and only the newest edges are touched.
  if (!list_.tail.empty() && list_.tail.back().time <= time.value)
    return list_.sealed() + list_.tail.size();
  if (!list_.tail.empty() && list_.tail.front().time <= time.value) {
    const auto next = std::upper_bound(
        list_.tail.begin(), list_.tail.end(), time.value,
        [](std::int64_t value, const TailEdge& edge) { return value < edge.time; });
    return list_.sealed() + static_cast<std::uint64_t>(next - list_.tail.begin());
  }
  const std::vector<SegmentRef>& refs = directory();
  const auto next = std::upper_bound(
      refs.begin(), refs.end(), time.value,
      [](std::int64_t value, const SegmentRef& ref) { return value < ref.first_time; });
  if (next == refs.begin()) return 0;
  const SegmentRef& ref = *(next - 1);
  if (ref.last_time <= time.value) return std::uint64_t{ref.before} + ref.count;
  const std::vector<Edge>& edges = load(ref);
  const auto inside = std::upper_bound(edges.begin(), edges.end(), time, later);
  return ref.before + static_cast<std::uint64_t>(inside - edges.begin());
}

/// Visit edges at positions [begin, end), oldest first.
template <class Visit>
void AdjacencyReader::each(std::uint64_t begin, std::uint64_t end, const Visit& visit) {
  const std::vector<SegmentRef>& refs = directory();
  auto ref = std::upper_bound(
      refs.begin(), refs.end(), begin,
      [](std::uint64_t value, const SegmentRef& r) { return value < r.before + r.count; });
  for (; ref != refs.end() && ref->before < end; ++ref) {
    const std::vector<Edge>& edges = load(*ref);
    const std::uint64_t first = begin > ref->before ? begin - ref->before : 0;
    const std::uint64_t last = std::min<std::uint64_t>(end - ref->before, edges.size());
    for (std::uint64_t i = first; i < last; ++i)
      visit(edges[i]);
  }
  const std::uint64_t sealed = list_.sealed();
  for (std::uint64_t i = std::max(begin, sealed); i < end; ++i)
    visit(list_.tail_edge(i - sealed));
}

/// Visit edges at these positions, which ascend; where a read fails, an edge that is never valid.
template <class Visit>
void AdjacencyReader::at_each(std::span<const std::uint64_t> positions, const Visit& visit) {
  const std::vector<SegmentRef>& refs = directory();
  const std::uint64_t sealed = list_.sealed();
  auto ref = refs.begin();
  const std::vector<Edge>* edges = nullptr;
  for (const std::uint64_t position : positions) {
    if (position >= sealed) {
      visit(list_.tail_edge(position - sealed));
      continue;
    }
    for (; position >= std::uint64_t{ref->before} + ref->count; ++ref)
      edges = nullptr;
    if (edges == nullptr) edges = &load(*ref);
    const std::uint64_t inside = position - ref->before;
    visit(inside < edges->size() ? (*edges)[inside] : Edge{kTimeMin, kTimeMin, 0});
  }
}

Edge AdjacencyReader::at(std::uint64_t position) {
  Edge out{kTimeMin, kTimeMin, 0};  // valid never: what a failed read gives
  each(position, position + 1, [&out](const Edge& edge) { out = edge; });
  return out;
}

std::uint64_t AdjacencyReader::count(TimeUs after, TimeUs upto, TimeUs as_of) {
  const std::uint64_t end = rank(std::min(upto, as_of));
  const std::uint64_t begin = begin_of(after);
  if (begin >= end) return 0;
  if (!list_.any_ended()) return end - begin;
  std::uint64_t total = 0;
  each(begin, end, [&](const Edge& edge) { total += not_ended(edge, as_of) ? 1u : 0u; });
  return total;
}

void AdjacencyReader::edges(TimeUs after, TimeUs upto, TimeUs as_of, std::vector<Edge>& out) {
  const std::uint64_t end = rank(std::min(upto, as_of));
  each(begin_of(after), end, [&](const Edge& edge) {
    if (not_ended(edge, as_of)) out.push_back(edge);
  });
}

void AdjacencyReader::newest(TimeUs as_of, std::size_t k, std::vector<Edge>& out) {
  const std::uint64_t end = rank(as_of);
  const std::uint64_t sealed = list_.sealed();
  std::uint64_t position = end;
  for (; position > sealed && k > 0; --position) {
    const Edge edge = list_.tail_edge(position - 1 - sealed);
    if (!valid(edge, as_of)) continue;
    out.push_back(edge);
    --k;
  }
  const std::vector<SegmentRef>& refs = directory();
  for (auto ref = refs.rbegin(); ref != refs.rend() && k > 0; ++ref) {
    if (ref->before >= position) continue;
    const std::vector<Edge>& edges = load(*ref);
    std::uint64_t i = std::min<std::uint64_t>(position - ref->before, edges.size());
    for (; i > 0 && k > 0; --i) {
      if (!valid(edges[i - 1], as_of)) continue;
      out.push_back(edges[i - 1]);
      --k;
    }
  }
}

std::optional<TimeUs> AdjacencyReader::newest_time(TimeUs as_of) {
  if (!list_.tail.empty() && list_.tail.back().time <= as_of.value) {
    return TimeUs{list_.tail.back().time};
  }
  const std::uint64_t end = rank(as_of);
  if (end == 0) return std::nullopt;
  if (end == list_.sealed()) return TimeUs{directory().back().last_time};
  return at(end - 1).time;
}

/// Draw positions until `k` valid ones are found; false when too many of them had ended.
bool AdjacencyReader::sample_by_rejection(std::uint64_t edges, TimeUs as_of, std::size_t k,
                                          Rng& rng, std::vector<std::uint64_t>& chosen) {
  std::vector<std::uint64_t> seen;
  const std::uint64_t draws_max = std::min<std::uint64_t>(4 * k + 64, edges);
  while (chosen.size() < k && seen.size() < draws_max) {
    const std::uint64_t drawn = rng.below(edges);
    const auto place = std::lower_bound(seen.begin(), seen.end(), drawn);
    if (place != seen.end() && *place == drawn) continue;
    seen.insert(place, drawn);
    if (valid(at(drawn), as_of)) chosen.push_back(drawn);
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen.size() == k;
}

void AdjacencyReader::sample(TimeUs as_of, std::size_t k, Rng rng, std::vector<Edge>& out) {
  const std::uint64_t edges_before = rank(as_of);
  if (k >= edges_before) {
    edges(kTimeMin, as_of, as_of, out);
    return;
  }
  std::vector<std::uint64_t> chosen;
  draw_distinct(edges_before, k, rng, chosen);
  // Edges that end later than as_of change nothing: the first draw stands if all of it is valid.
  const auto stands = [&](std::uint64_t position) { return valid(at(position), as_of); };
  const bool redraw = list_.any_ended() && !std::all_of(chosen.begin(), chosen.end(), stands);
  if (redraw) chosen.clear();
  if (redraw && !sample_by_rejection(edges_before, as_of, k, rng, chosen)) {
    // Few valid edges among many ended ones: list them, then draw from the list.
    std::vector<Edge> all;
    edges(kTimeMin, as_of, as_of, all);
    if (all.size() <= k) {
      out.insert(out.end(), all.begin(), all.end());
      return;
    }
    chosen.clear();
    draw_distinct(all.size(), k, rng, chosen);
    for (const std::uint64_t index : chosen)
      out.push_back(all[index]);
    return;
  }
  at_each(chosen, [&](const Edge& edge) {
    if (valid(edge, as_of)) out.push_back(edge);
  });
}

std::optional<std::size_t> AdjacencyReader::find_open_in(const SegmentRef& ref, std::uint32_t child,
                                                         TimeUs from, TimeUs upto) {
  if (ref.ended == ref.count) return std::nullopt;
  const std::vector<Edge>& edges = load(ref);
  const auto begin = std::lower_bound(edges.begin(), edges.end(), from, earlier);
  auto it = std::upper_bound(begin, edges.end(), upto, later);
  while (it != begin) {
    --it;
    if (it->child == child && it->end == kTimeMax) {
      return static_cast<std::size_t>(it - edges.begin());
    }
  }
  return std::nullopt;
}

std::optional<AdjacencyReader::Place> AdjacencyReader::find_open(
    std::uint32_t child, std::span<const Version> versions) {
  for (std::size_t i = list_.tail.size(); i > 0; --i) {
    const TailEdge& edge = list_.tail[i - 1];
    if (edge.child == child && edge.end_slot == 0) return Place{false, 0, i - 1};
  }
  const std::vector<SegmentRef>& refs = directory();
  for (std::size_t v = versions.size(); v > 0; --v) {
    const TimeUs time = versions[v - 1].from;
    const auto first = std::lower_bound(
        refs.begin(), refs.end(), time.value,
        [](const SegmentRef& ref, std::int64_t value) { return ref.last_time < value; });
    for (auto ref = first; ref != refs.end() && ref->first_time <= time.value; ++ref) {
      if (const auto index = find_open_in(*ref, child, time, time)) {
        return Place{true, static_cast<std::size_t>(ref - refs.begin()), *index};
      }
    }
  }
  for (std::size_t s = refs.size(); s > 0; --s) {
    if (const auto index = find_open_in(refs[s - 1], child, kTimeMin, kTimeMax)) {
      return Place{true, s - 1, *index};
    }
  }
  return std::nullopt;
}

namespace {

std::uint32_t count_ended(const std::vector<Edge>& edges) {
  return static_cast<std::uint32_t>(std::count_if(
      edges.begin(), edges.end(), [](const Edge& edge) { return edge.end != kTimeMax; }));
}

SegmentRef describe(std::uint32_t id, const std::vector<Edge>& edges) {
  return {edges.front().time.value,
          edges.back().time.value,
          id,
          static_cast<std::uint32_t>(edges.size()),
          0,
          count_ended(edges)};
}

/// Insert a late edge into the sealed segment where it belongs; split it when it is too long.
void insert_sealed(AdjacencyPage& page, std::uint32_t slot, SegmentKey key, const Edge& edge,
                   SegmentStore& segments) {
  const AdjacencyList& list = page.list(slot);
  std::vector<SegmentRef> refs = list.more->segments;
  std::uint32_t next_segment = list.more->next_segment;
  const auto ref =
      std::upper_bound(refs.begin(), refs.end(), edge.time.value,
                       [](std::int64_t time, const SegmentRef& r) { return time < r.last_time; });
  key.id = ref->id;
  std::vector<Edge> edges = segments.load(key);
  if (edges.empty()) return;  // reading failed; health() stops the commit
  edges.insert(std::upper_bound(edges.begin(), edges.end(), edge.time, later), edge);
  if (edges.size() <= 2 * segment_target(list.size())) {
    *ref = describe(key.id, edges);
    segments.store(key, edges);
  } else {
    const auto middle = edges.begin() + static_cast<std::ptrdiff_t>(edges.size() / 2);
    const std::vector<Edge> front(edges.begin(), middle);
    const std::vector<Edge> back(middle, edges.end());
    *ref = describe(key.id, front);
    segments.store(key, front);
    key.id = next_segment++;
    segments.store(key, back);
    refs.insert(ref + 1, describe(key.id, back));
  }
  page.set_segments(slot, std::move(refs), next_segment);
}

}  // namespace

void link_edge(AdjacencyPage& page, std::uint32_t slot, const SegmentKey& list_key, TimeUs time,
               std::uint32_t child, SegmentStore& segments) {
  const AdjacencyList& list = page.list(slot);
  const bool sealed = list.sealed() > 0 && time.value < list.more->segments.back().last_time;
  if (sealed) {
    insert_sealed(page, slot, list_key, {time, kTimeMax, child}, segments);
    return;
  }
  page.add(slot, time.value, child);
  const std::size_t tail = list.tail.size();
  if (tail < kSegmentMin + kTailKept || tail < segment_target(list.size()) + kTailKept) return;
  SegmentKey key = list_key;
  std::vector<Edge> edges;
  edges.reserve(tail - kTailKept);
  key.id = page.seal(slot, tail - kTailKept, edges);
  segments.store(key, edges);
}

void end_edge(AdjacencyPage& page, std::uint32_t slot, const SegmentKey& list_key,
              const AdjacencyReader::Place& place, TimeUs end, SegmentStore& segments) {
  if (!place.sealed) {
    page.end(slot, place.index, end.value);
    return;
  }
  const AdjacencyList& list = page.list(slot);
  std::vector<SegmentRef> refs = list.more->segments;
  SegmentKey key = list_key;
  key.id = refs[place.segment].id;
  std::vector<Edge> edges = segments.load(key);
  if (place.index >= edges.size()) return;  // reading failed; health() stops the commit
  edges[place.index].end = end;
  segments.store(key, edges);
  refs[place.segment].ended += 1;
  page.set_segments(slot, std::move(refs), list.more->next_segment);
}

}  // namespace accrete::store
