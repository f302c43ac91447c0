// Reads rows with what lies around them, as of a time, into the sparse form that the propagation
// heads of models/propagation.h fit and answer with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "daemon/any_task.h"
#include "daemon/propagation_plan.h"
#include "models/propagation.h"
#include "models/sparse_encoder.h"

namespace accrete::daemon {

struct ReadLimits {
  std::size_t newest_max = 256;  ///< rows of one step from one row; of more, the newest
  std::size_t bytes_max = 64u << 20;
};

/// A row as it was at a time.
struct RowAt {
  std::uint32_t row = 0;
  TimeUs at;

  bool operator==(const RowAt&) const = default;
};

/// The graph between entities counts its edges: A_vu is how many rows join v and u, the degree of v
/// how many edges v has as of the time. Where only the newest edges of a row are read, they stand
/// for all: each counts degree / read.
///
/// Every row is read as of the time asked for. Rows of one time share what lies around them.
/// Contents are kept from one reading to the next by their version; what is kept decides nothing.
class NeighbourhoodReader {
 public:
  /// `world` and `encoder` must outlive the reader.
  NeighbourhoodReader(const PropagationPlan& plan, const TaskWorld& world,
                      models::SparseEncoder& encoder, std::size_t cache_bytes_max);

  /// `centres` (no repeats), as many as fit into the limits, at least one; those that are no valid
  /// row at their time are empty. Returns how many were taken.
  /// `grow`: unknown items get columns, and numbers a scale from these rows.
  /// Cost: what lies within two steps; a lookup and about 60 ns an item for rows that are kept.
  std::size_t read(std::span<const RowAt> centres, const ReadLimits& limits, bool grow,
                   models::Neighbourhood& out);

  /// A table whose rows are read.
  bool reads(TableId table) const;
  std::size_t memory_bytes() const { return cache_bytes_ + ends_.capacity() * sizeof(Ends); }

 private:
  struct Neighbour {
    std::uint32_t index = 0;  // in locals_
    float edges = 1;
  };
  struct RowAtHash {
    std::size_t operator()(const RowAt& key) const {
      return static_cast<std::size_t>(static_cast<std::uint64_t>(key.at.value) *
                                      0x9E37'79B9'7F4A'7C15ull) ^
             key.row;
    }
  };
  /// An entity met while reading, as of at_.
  struct Local {
    std::uint32_t row = 0;
    std::uint32_t begin = 0;  // its neighbours in lists_
    std::uint32_t end = 0;
    bool valid = false;
    bool listed = false;
    double degree = -1;  // not counted yet
    models::RawRow raw;
  };
  struct Cached {
    std::uint32_t block = 0;
    std::uint32_t row = 0;
    Ordinal ordinal;  // 0: empty
    models::RawRow raw;
  };
  /// Both ends of a bridge row, as one version of it says.
  struct Ends {
    Ordinal ordinal;
    std::uint32_t bridge = 0;
    std::uint32_t row = 0;
    std::optional<std::uint32_t> ends[2];
  };

  std::uint32_t local(std::uint32_t row);
  void find_degree(std::uint32_t index);
  void list(std::uint32_t index);
  double list_edges(RelationId near, NodeId node);
  void neighbour(std::uint32_t row, float weight);
  std::optional<std::uint32_t> other_end(const BridgeHop& bridge, std::uint32_t number,
                                         std::uint32_t row, bool second);
  std::optional<std::uint32_t> parent_row(RelationId relation, std::span<const Value> cells);
  std::optional<std::uint32_t> parent_of(RelationId relation, NodeId child);

  void encode(std::uint32_t block, NodeId node, models::RawRow& out);
  const std::vector<bool>& skipped(TableId table);
  bool shows_anything(TableId table);
  void step(NodeId from, PathStep along, std::vector<NodeId>& out);
  void add_paths(std::uint32_t row, models::RawRow& out);
  void assemble(std::span<const std::uint32_t> centres, models::Neighbourhood& out);

  const PropagationPlan& plan_;
  TaskWorld world_;
  models::SparseEncoder& encoder_;
  std::size_t cache_bytes_max_;

  std::vector<Cached> cache_;
  std::size_t cache_bytes_ = 0;
  std::vector<Ends> ends_;
  std::vector<std::vector<bool>> skip_;  // TableId -> columns that give nothing

  // Of the reading at hand.
  TimeUs at_;  // of the centre at hand
  ReadLimits limits_;
  bool grow_ = false;
  std::size_t bytes_ = 0;
  std::size_t inner_ = 0;  // members with a row of S
  std::unordered_map<RowAt, std::uint32_t, RowAtHash> local_of_row_;
  std::vector<Local> locals_;
  std::vector<Neighbour> lists_;
  std::vector<models::RawRow> extras_;  // of the centres: what paths give
  std::vector<store::Edge> edges_;
  float edge_weight_ = 1;
  std::string key_;
};

}  // namespace accrete::daemon
