// The adjacency lists of 64 parents through one relation: for each a directory of sealed segments
// and a tail of the newest edges.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "store/graph.h"
#include "store/page_pool.h"

namespace accrete::store {

struct TailEdge {
  std::int64_t time;
  std::uint32_t child;
  std::uint32_t end_slot;  ///< 0: open; otherwise index + 1 in the list's ends
};
static_assert(sizeof(TailEdge) == 16);

/// A sealed run of edges, stored under its id.
struct SegmentRef {
  std::int64_t first_time;
  std::int64_t last_time;
  std::uint32_t id;
  std::uint32_t count;
  std::uint32_t before;  ///< edges in the segments before this one
  std::uint32_t ended;   ///< edges in it that have an end
};

struct AdjacencyList {
  /// What short lists without ended edges do without.
  struct More {
    std::vector<SegmentRef> segments;  ///< in time order
    std::vector<std::int64_t> ends;    ///< of ended tail edges
    std::uint64_t sealed_ended = 0;    ///< edges in all segments that have an end
    std::uint32_t next_segment = 0;    ///< id
  };
  std::vector<TailEdge> tail;  ///< in time order, none older than the last segment's last
  std::unique_ptr<More> more;

  std::uint64_t sealed() const {
    if (more == nullptr || more->segments.empty()) return 0;
    const SegmentRef& last = more->segments.back();
    return std::uint64_t{last.before} + last.count;
  }
  std::uint64_t size() const { return sealed() + tail.size(); }
  bool any_ended() const {
    return more != nullptr && (more->sealed_ended > 0 || !more->ends.empty());
  }
  Edge tail_edge(std::size_t i) const;
  More& need_more() {
    if (more == nullptr) more = std::make_unique<More>();
    return *more;
  }
};

class AdjacencyPage final : public Page {
 public:
  static constexpr std::uint32_t kParents = 64;
  static std::unique_ptr<Page> make() { return std::make_unique<AdjacencyPage>(); }

  bool decode(std::string_view bytes) override;
  void encode(std::string& out) override;
  std::size_t bytes() const override { return sizeof(*this) + heap_bytes_; }

  const AdjacencyList& list(std::uint32_t slot) const { return lists_[slot]; }

  /// Insert into the tail after edges of the same time. An operation.
  void add(std::uint32_t slot, std::int64_t time, std::uint32_t child);
  /// End an open tail edge. An operation.
  void end(std::uint32_t slot, std::size_t tail_index, std::int64_t end);
  /// Move the oldest `count` tail edges into a new segment; they are appended to `out` for the
  /// caller to store under the returned id. An operation.
  std::uint32_t seal(std::uint32_t slot, std::size_t count, std::vector<Edge>& out);
  /// Replace the directory (late edges and ends in sealed segments). The page is rewritten.
  void set_segments(std::uint32_t slot, std::vector<SegmentRef> segments,
                    std::uint32_t next_segment);

 private:
  static std::size_t heap_of(const AdjacencyList& list);
  void insert(AdjacencyList& list, std::int64_t time, std::uint32_t child);
  void set_end(AdjacencyList& list, std::size_t tail_index, std::int64_t end);
  std::uint32_t cut(AdjacencyList& list, std::size_t count, std::vector<Edge>* out);
  void write_list(std::uint32_t slot, std::string& out);
  template <class Reader>
  bool read_list(AdjacencyList& list, Reader& in);

  // First what every change touches: it shares cache lines with the head of the page.
  std::size_t heap_bytes_ = 0;
  std::uint64_t last_time_ = 0;  // operations are differences from the one before
  std::uint64_t last_child_ = 0;
  std::array<AdjacencyList, kParents> lists_;
};

}  // namespace accrete::store
