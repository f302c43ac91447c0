// The temporal graph: a node per row, an edge per foreign key, every read as of a time.
//
// Shape. Node versions and adjacency lists live in pages: a RAM copy in front of RocksDB, clean
// pages are dropped when over budget, dirty ones are written at the next commit. An adjacency list
// is a directory of sealed time-ordered segments (in RocksDB, read through its block cache) and a
// tail of its newest edges in the page. Row contents are not here: a version names its log record.
//
// Threads: one owner (the fold). Determinism: reads depend on what was written, never on what
// happens to be cached.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/ids.h"
#include "proto/result.h"
#include "proto/rng.h"
#include "proto/schema.h"
#include "store/state.h"

namespace accrete::store {

/// From `from` on the row is what log record `ordinal` says, or gone.
struct Version {
  TimeUs from;
  Ordinal ordinal;
  bool deleted = false;
};

/// A child of a parent through one relation; valid as of τ iff time <= τ < end (kTimeMax: open,
/// valid for ever).
struct Edge {
  TimeUs time;  ///< event time of the child; kTimeMin: visible always
  TimeUs end = kTimeMax;
  std::uint32_t child = 0;  ///< row of the relation's child table
};

class Graph {
 public:
  /// `schema` must be sealed and keep its relations; tables may grow columns. `memory_bytes_max`
  /// is shared: up to a half for keys, a sixteenth for decoded segments, the rest for pages. It is
  /// kept between commits; what a commit is about to write comes on top (dirty_bytes()).
  /// Cost: one scan of the stored keys, as far as they fit.
  Graph(State& state, const Schema& schema, std::size_t memory_bytes_max);
  ~Graph();

  /// The node with this key, made (as a placeholder without a version) if it is new.
  NodeId intern(TableId table, std::string_view key);
  std::optional<NodeId> find(TableId table, std::string_view key);
  /// A new node of a table without a key.
  NodeId append(TableId table);

  /// Hints for the processor, for callers that know what they will touch (see daemon/lookahead.h):
  /// they start reads into its caches, load nothing from the store and change nothing.
  void prefetch_key(TableId table, std::string_view key) const;
  /// The row of a key if RAM knows it.
  std::optional<std::uint32_t> cached_row(TableId table, std::string_view key) const;
  /// Each needs the last: where a page is, a list in it, its newest edge or newest few, and where
  /// the older ones are.
  enum class ListStage : std::uint8_t { Page, List, Tail, Newest, Directory };
  void prefetch_list(RelationId relation, std::uint32_t parent, ListStage stage) const;
  /// A row's newest version.
  void prefetch_version(NodeId node) const;

  /// Nodes of a table so far, placeholders included: rows 0 … count-1.
  std::uint32_t node_count(TableId table) const;

  /// Add a version; versions of a node are kept in order of `from` (equal: order of arrival).
  void put_version(NodeId node, const Version& version);
  /// The version valid at `as_of`; nullopt when there is none yet or the row is gone.
  std::optional<Version> version(NodeId node, TimeUs as_of);
  /// The newest version whatever its time (deleted ones included).
  std::optional<Version> newest_version(NodeId node);
  /// The version that arrived last of those that arrived before `after`, and whose time is not
  /// behind its; nullopt if there is none. Lets a partial update be completed from what it left
  /// unchanged: so neither a version that comes later nor one of a later time changes what an
  /// earlier one says. Cost: linear in the row's versions.
  std::optional<Version> version_before(NodeId node, const Version& after);

  /// Add the edge parent -> child. Late edges (older than others) are put where they belong.
  void link(RelationId relation, NodeId parent, NodeId child, TimeUs time);
  /// End the open edge parent -> child at `end` (a delete or a changed foreign key); false if there
  /// is none. (Should there be several, one of them; which one depends only on what was written.)
  /// Cost: looks at the times of the child's versions first; only an edge with none of these times
  /// makes it read the whole list. Checks: end < kTimeMax.
  bool unlink(RelationId relation, NodeId parent, NodeId child, TimeUs end);

  /// Edges with time in (after, upto] that are valid as of `as_of`. Visible-always edges count
  /// only when after == kTimeMin and are included then. Cost: O(log segments) unless edges of this
  /// list were ended, then O(edges in the window).
  std::uint64_t count(RelationId relation, NodeId parent, TimeUs after, TimeUs upto, TimeUs as_of);
  /// The same edges, oldest first (equal times: order of arrival), appended to `out`.
  void edges(RelationId relation, NodeId parent, TimeUs after, TimeUs upto, TimeUs as_of,
             std::vector<Edge>& out);
  /// The newest `k` valid edges with time <= as_of, newest first, appended to `out`.
  void newest(RelationId relation, NodeId parent, TimeUs as_of, std::size_t k,
              std::vector<Edge>& out);
  /// `k` distinct valid edges with time <= as_of, uniform without replacement (all if fewer), in
  /// time order. The draw depends on `rng` and on the edges as of then: what ends later is open.
  void sample(RelationId relation, NodeId parent, TimeUs as_of, std::size_t k, Rng rng,
              std::vector<Edge>& out);
  /// Time of the newest edge <= as_of ignoring ends (a cheap upper bound); nullopt if none.
  std::optional<TimeUs> newest_time(RelationId relation, NodeId parent, TimeUs as_of);

  /// Stage every dirty page, segment and key with the state; call right before State::commit().
  void stage();
  /// Call after a successful commit: dirty becomes clean, and caches shrink to the budget.
  void committed();

  std::size_t memory_bytes() const;
  std::size_t dirty_bytes()
      const;  ///< what stage() would write; the fold commits before it grows too large

  /// First read or decode failure since opening; reads after it answer "nothing". The fold checks
  /// it before every commit and stops.
  Status health() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace accrete::store
