// Pages of adjacency lists. Stored bytes are a sequence of operations: kind (2 bits) and slot
// (6 bits) in a byte, then varints; the base is one `List` operation for each list with edges.
#include "store/adjacency_page.h"

#include <algorithm>
#include <utility>

#include "store/keys.h"

namespace accrete::store {
namespace {

enum class Kind : std::uint8_t { List = 0, Add = 1, Seal = 2, End = 3 };

constexpr std::size_t kAllocationBytes = 16;  // what malloc keeps beside a block

void put_head(std::string& out, Kind kind, std::uint32_t slot) {
  out.push_back(static_cast<char>((static_cast<std::uint32_t>(kind) << 6) | slot));
}

std::uint64_t wide(std::int64_t time) {
  return static_cast<std::uint64_t>(time);
}

}  // namespace

Edge AdjacencyList::tail_edge(std::size_t i) const {
  const TailEdge& edge = tail[i];
  const std::int64_t end = edge.end_slot == 0 ? kTimeMax.value : more->ends[edge.end_slot - 1];
  return {TimeUs{edge.time}, TimeUs{end}, edge.child};
}

std::size_t AdjacencyPage::heap_of(const AdjacencyList& list) {
  std::size_t bytes = 0;
  const auto add = [&bytes](std::size_t capacity, std::size_t each) {
    if (capacity > 0) bytes += capacity * each + kAllocationBytes;
  };
  add(list.tail.capacity(), sizeof(TailEdge));
  if (list.more != nullptr) {
    add(1, sizeof(AdjacencyList::More));
    add(list.more->segments.capacity(), sizeof(SegmentRef));
    add(list.more->ends.capacity(), sizeof(std::int64_t));
  }
  return bytes;
}

void AdjacencyPage::insert(AdjacencyList& list, std::int64_t time, std::uint32_t child) {
  std::vector<TailEdge>& tail = list.tail;
  if (tail.size() == tail.capacity()) {
    // Grow by half, not by double: most of a graph's memory is here.
    heap_bytes_ -= heap_of(list);
    tail.reserve(tail.size() + std::max<std::size_t>(1, tail.size() / 2));
    heap_bytes_ += heap_of(list);
  }
  if (tail.empty() || tail.back().time <= time) {
    tail.push_back({time, child, 0});
    return;
  }
  const auto place =
      std::upper_bound(tail.begin(), tail.end(), time,
                       [](std::int64_t value, const TailEdge& edge) { return value < edge.time; });
  tail.insert(place, {time, child, 0});
}

void AdjacencyPage::set_end(AdjacencyList& list, std::size_t tail_index, std::int64_t end) {
  heap_bytes_ -= heap_of(list);
  std::vector<std::int64_t>& ends = list.need_more().ends;
  ends.push_back(end);
  list.tail[tail_index].end_slot = static_cast<std::uint32_t>(ends.size());
  heap_bytes_ += heap_of(list);
}

std::uint32_t AdjacencyPage::cut(AdjacencyList& list, std::size_t count, std::vector<Edge>* out) {
  heap_bytes_ -= heap_of(list);
  AdjacencyList::More& more = list.need_more();
  SegmentRef ref{};
  ref.first_time = list.tail.front().time;
  ref.last_time = list.tail[count - 1].time;
  ref.id = more.next_segment++;
  ref.count = static_cast<std::uint32_t>(count);
  ref.before = static_cast<std::uint32_t>(list.sealed());
  for (std::size_t i = 0; i < count; ++i) {
    ref.ended += list.tail[i].end_slot != 0 ? 1u : 0u;
    if (out != nullptr) out->push_back(list.tail_edge(i));
  }
  std::vector<TailEdge> kept(list.tail.begin() + static_cast<std::ptrdiff_t>(count),
                             list.tail.end());
  std::vector<std::int64_t> ends;
  for (TailEdge& edge : kept) {
    if (edge.end_slot == 0) continue;
    ends.push_back(more.ends[edge.end_slot - 1]);
    edge.end_slot = static_cast<std::uint32_t>(ends.size());
  }
  list.tail = std::move(kept);
  more.ends = std::move(ends);
  more.segments.push_back(ref);
  more.sealed_ended += ref.ended;
  heap_bytes_ += heap_of(list);
  return ref.id;
}

void AdjacencyPage::add(std::uint32_t slot, std::int64_t time, std::uint32_t child) {
  std::string& out = operations();
  put_head(out, Kind::Add, slot);
  put_varint(out, zigzag(wide(time) - last_time_));
  put_varint(out, zigzag(child - last_child_));
  last_time_ = wide(time);
  last_child_ = child;
  insert(lists_[slot], time, child);
}

void AdjacencyPage::end(std::uint32_t slot, std::size_t tail_index, std::int64_t end) {
  std::string& out = operations();
  put_head(out, Kind::End, slot);
  put_varint(out, tail_index);
  put_varint(out, zigzag(wide(end) - last_time_));
  set_end(lists_[slot], tail_index, end);
}

std::uint32_t AdjacencyPage::seal(std::uint32_t slot, std::size_t count, std::vector<Edge>& out) {
  put_head(operations(), Kind::Seal, slot);
  put_varint(operations(), count);
  return cut(lists_[slot], count, &out);
}

void AdjacencyPage::set_segments(std::uint32_t slot, std::vector<SegmentRef> segments,
                                 std::uint32_t next_segment) {
  AdjacencyList& list = lists_[slot];
  heap_bytes_ -= heap_of(list);
  AdjacencyList::More& more = list.need_more();
  more.sealed_ended = 0;
  std::uint32_t before = 0;
  for (SegmentRef& segment : segments) {
    segment.before = before;
    before += segment.count;
    more.sealed_ended += segment.ended;
  }
  more.segments = std::move(segments);
  more.next_segment = next_segment;
  heap_bytes_ += heap_of(list);
  rewrite();
}

void AdjacencyPage::encode(std::string& out) {
  last_time_ = 0;
  last_child_ = 0;
  for (std::uint32_t slot = 0; slot < kParents; ++slot) {
    if (lists_[slot].size() > 0) write_list(slot, out);
  }
}

void AdjacencyPage::write_list(std::uint32_t slot, std::string& out) {
  const AdjacencyList& list = lists_[slot];
  put_head(out, Kind::List, slot);
  const std::size_t segments = list.more == nullptr ? 0 : list.more->segments.size();
  put_varint(out, segments);
  if (segments > 0) put_varint(out, list.more->next_segment);
  for (std::size_t i = 0; i < segments; ++i) {
    const SegmentRef& segment = list.more->segments[i];
    put_varint(out, zigzag(wide(segment.first_time) - last_time_));
    put_varint(out, wide(segment.last_time) - wide(segment.first_time));
    put_varint(out, segment.id);
    put_varint(out, segment.count);
    put_varint(out, segment.ended);
    last_time_ = wide(segment.last_time);
  }
  put_varint(out, list.tail.size());
  for (const TailEdge& edge : list.tail) {
    put_varint(out, zigzag(wide(edge.time) - last_time_));
    put_varint(out, (zigzag(edge.child - last_child_) << 1) | (edge.end_slot != 0 ? 1u : 0u));
    last_time_ = wide(edge.time);
    last_child_ = edge.child;
    if (edge.end_slot != 0) {
      put_varint(out, zigzag(wide(list.more->ends[edge.end_slot - 1]) - last_time_));
    }
  }
}

template <class Reader>
bool AdjacencyPage::read_list(AdjacencyList& list, Reader& in) {
  const std::uint64_t segments = in.varint();
  if (segments > in.left()) return false;
  if (segments > 0) {
    AdjacencyList::More& more = list.need_more();
    more.next_segment = static_cast<std::uint32_t>(in.varint());
    more.segments.reserve(segments);
    for (std::uint64_t i = 0; i < segments; ++i) {
      SegmentRef ref{};
      const std::uint64_t first = last_time_ + unzigzag(in.varint());
      last_time_ = first + in.varint();
      ref.first_time = static_cast<std::int64_t>(first);
      ref.last_time = static_cast<std::int64_t>(last_time_);
      ref.id = static_cast<std::uint32_t>(in.varint());
      ref.count = static_cast<std::uint32_t>(in.varint());
      ref.ended = static_cast<std::uint32_t>(in.varint());
      ref.before = static_cast<std::uint32_t>(list.sealed());
      more.segments.push_back(ref);
      more.sealed_ended += ref.ended;
    }
  }
  const std::uint64_t edges = in.varint();
  if (edges > in.left()) return false;
  list.tail.reserve(edges);
  for (std::uint64_t i = 0; i < edges; ++i) {
    last_time_ += unzigzag(in.varint());
    const std::uint64_t word = in.varint();
    last_child_ += unzigzag(word >> 1);
    TailEdge edge{static_cast<std::int64_t>(last_time_), static_cast<std::uint32_t>(last_child_),
                  0};
    if ((word & 1) != 0) {
      std::vector<std::int64_t>& ends = list.need_more().ends;
      ends.push_back(static_cast<std::int64_t>(last_time_ + unzigzag(in.varint())));
      edge.end_slot = static_cast<std::uint32_t>(ends.size());
    }
    list.tail.push_back(edge);
  }
  return in.ok();
}

bool AdjacencyPage::decode(std::string_view bytes) {
  ByteReader in(bytes);
  bool fits = true;
  while (fits && !in.done()) {
    const std::uint8_t head = in.byte();
    AdjacencyList& list = lists_[head & 63];
    switch (Kind{static_cast<std::uint8_t>(head >> 6)}) {
      case Kind::List:
        fits = list.size() == 0 && read_list(list, in);
        heap_bytes_ += heap_of(list);
        break;
      case Kind::Add:
        last_time_ += unzigzag(in.varint());
        last_child_ += unzigzag(in.varint());
        insert(list, static_cast<std::int64_t>(last_time_),
               static_cast<std::uint32_t>(last_child_));
        break;
      case Kind::Seal: {
        const std::uint64_t count = in.varint();
        fits = count > 0 && count <= list.tail.size();
        if (fits) cut(list, count, nullptr);
        break;
      }
      case Kind::End: {
        const std::uint64_t index = in.varint();
        const std::uint64_t end = last_time_ + unzigzag(in.varint());
        fits = index < list.tail.size() && list.tail[index].end_slot == 0;
        if (fits) set_end(list, index, static_cast<std::int64_t>(end));
        break;
      }
    }
  }
  return fits && in.ok();
}

}  // namespace accrete::store
