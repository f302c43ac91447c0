// Reading and changing one adjacency list: positions are counted in time order over the sealed
// segments and the tail, so nothing here depends on where a list happens to be cut.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "proto/ids.h"
#include "proto/rng.h"
#include "store/adjacency_page.h"
#include "store/graph.h"
#include "store/segments.h"

namespace accrete::store {

/// One list, for the time of one call: neither pages nor segments may be dropped meanwhile.
class AdjacencyReader {
 public:
  AdjacencyReader(const AdjacencyList& list, RelationId relation, std::uint32_t parent,
                  SegmentStore& segments)
      : list_(list), relation_(relation), parent_(parent), segments_(segments) {}

  std::uint64_t count(TimeUs after, TimeUs upto, TimeUs as_of);
  void edges(TimeUs after, TimeUs upto, TimeUs as_of, std::vector<Edge>& out);
  void newest(TimeUs as_of, std::size_t k, std::vector<Edge>& out);
  void sample(TimeUs as_of, std::size_t k, Rng rng, std::vector<Edge>& out);
  std::optional<TimeUs> newest_time(TimeUs as_of);

  /// Where an open edge to `child` is: among the tail, or in a segment. Looks at edges with one of
  /// `times` first (the times of the child's versions), then at all, newest first.
  struct Place {
    bool sealed = false;
    std::size_t segment = 0;  ///< position in the directory
    std::size_t index = 0;    ///< in the segment or the tail
  };
  std::optional<Place> find_open(std::uint32_t child, std::span<const Version> versions);

 private:
  const std::vector<SegmentRef>& directory() const;
  const std::vector<Edge>& load(const SegmentRef& ref);
  std::uint64_t rank(TimeUs time);
  Edge at(std::uint64_t position);
  std::optional<std::size_t> find_open_in(const SegmentRef& ref, std::uint32_t child, TimeUs from,
                                          TimeUs upto);
  template <class Visit>
  void each(std::uint64_t begin, std::uint64_t end, const Visit& visit);
  template <class Visit>
  void at_each(std::span<const std::uint64_t> positions, const Visit& visit);
  std::uint64_t begin_of(TimeUs after) { return after == kTimeMin ? 0 : rank(after); }
  bool sample_by_rejection(std::uint64_t edges, TimeUs as_of, std::size_t k, Rng& rng,
                           std::vector<std::uint64_t>& chosen);

  const AdjacencyList& list_;
  RelationId relation_;
  std::uint32_t parent_;
  SegmentStore& segments_;
};

/// Add an edge to the list in `slot` of a page, sealing and splitting as it grows.
void link_edge(AdjacencyPage& page, std::uint32_t slot, const SegmentKey& list, TimeUs time,
               std::uint32_t child, SegmentStore& segments);

/// Set the end of the edge at `place`.
void end_edge(AdjacencyPage& page, std::uint32_t slot, const SegmentKey& list,
              const AdjacencyReader::Place& place, TimeUs end, SegmentStore& segments);

}  // namespace accrete::store
