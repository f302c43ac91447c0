// Warms the processor's caches for rows that are about to be folded.
//
// Folding a row is a chain of dependent reads at random places: the slots of its keys, then the
// pages of its parents, then the ends of their lists. Once the graph outgrows the caches each of
// them is a trip to memory. Done for many rows together, one kind of read after the other, the
// trips overlap. Nothing here changes anything: the fold gives the same output without it.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "proto/codec.h"
#include "proto/schema.h"
#include "store/graph.h"

namespace accrete::daemon {

class Lookahead {
 public:
  /// Rows warmed together: enough for their reads to overlap, few enough to stay cached until they
  /// are folded.
  static constexpr std::size_t kRows = 128;

  /// Does nothing while the graph takes less than `graph_bytes_min`.
  Lookahead(const Schema& schema, const Layouts& layouts, store::Graph& graph,
            std::size_t graph_bytes_min);

  /// Warm what entries [begin, end) of a slice will touch. Cost: a decoding, and two hash look-ups
  /// a key.
  void warm(const LogSlice& slice, std::size_t begin, std::size_t end);

 private:
  struct Touch {
    RelationId relation;
    TableId table;
    std::uint32_t key_begin;
    std::uint32_t key_size;
    std::uint32_t row;
  };
  void add_key(TableId table, RelationId relation, const std::vector<ColumnId>& columns);
  std::string_view key(const Touch& touch) const {
    return std::string_view(keys_).substr(touch.key_begin, touch.key_size);
  }

  const Schema& schema_;
  const Layouts& layouts_;
  store::Graph& graph_;
  std::size_t graph_bytes_min_;
  std::vector<std::vector<RelationId>> relations_of_child_;
  Record record_;
  std::vector<Value> cells_;
  std::string keys_;
  std::vector<Touch> touches_;
};

}  // namespace accrete::daemon
