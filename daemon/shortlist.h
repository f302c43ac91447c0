// The items of a ranked list that are worth a thought, and numbers about each with its entity.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/any_task.h"
#include "proto/ids.h"
#include "proto/result.h"

namespace accrete::daemon {

/// Entities and items are the two ends of the rows of one table: an order is a link between a
/// customer and a product. Everything is read from the graph as of the time asked about, but for
/// how often items are linked by all: that is counted at every tick, and told until the next.
///
/// Threads: the fold's. Deterministic: what is kept for speed decides nothing.
class Shortlist {
 public:
  static constexpr std::size_t kItemsMax = 128;
  static constexpr std::size_t kNumbers = 17;  ///< about a pair

  struct Item {
    std::uint32_t row = 0;        ///< of the items' table
    std::uint32_t own_links = 0;  ///< of the entity's newest links, those to it
    std::uint32_t own_rank = 0;   ///< 1: linked last, 2: before that, …; 0: not by the entity
    double popularity = 0;        ///< links in the last window, and a quarter of those in four
  };
  struct Pool {
    std::vector<Item> items;     ///< valid rows, each once; at most kItemsMax
    std::vector<float> numbers;  ///< items × kNumbers, finite
  };

  /// The plan is that of a ranked list; both must outlive it. `cache_bytes_max`: of the ends of
  /// links, which are read from the log where they are not kept.
  Shortlist(const TaskPlan& plan, const TaskWorld& world, std::size_t cache_bytes_max);

  /// Count the links of all items as of `at`. Cost: three counts in the graph an item.
  void count(TimeUs at);
  /// To be called when the graph may have changed since the last make().
  void begin() { also_.clear(); }
  /// The entity's own newest items first, then those that whoever linked these linked, too, then
  /// those linked most by all. Cost: some hundred links, and for each of the entity's newest items
  /// that begin() has not seen yet about 400, of which the ends are looked up.
  void make(std::uint32_t entity, TimeUs at, Pool& out);

  struct Linked {
    std::uint32_t row = 0;
    std::string text;  ///< its key
  };
  /// What the entity links in the window of a prediction made at `at`, each once, oldest first.
  std::vector<Linked> outcome(std::uint32_t entity, TimeUs at);

  /// The key of an item that is there at `at`, as text.
  const std::string& name(std::uint32_t item, TimeUs at);
  /// What the numbers are, in their order.
  static const std::array<std::string_view, kNumbers>& names();

  std::size_t memory_bytes() const;
  void save(std::string& out) const;
  /// Errors: Corruption.
  Status load(std::string_view bytes);

 private:
  /// Both ends of a link, as one version of its row says.
  struct Ends {
    static constexpr std::uint32_t kNobody = std::numeric_limits<std::uint32_t>::max();
    Ordinal ordinal;  // 0: empty
    std::uint32_t link = 0;
    std::uint32_t item = kNobody;
    std::uint32_t entity = kNobody;
  };
  struct Weighed {
    std::uint32_t item = 0;
    double weight = 0;
  };
  /// How often an item was linked, as of the last tick.
  struct Links {
    std::uint32_t recent = 0;  // in the last window
    std::uint32_t wider = 0;   // in the last four
    std::uint32_t all = 0;
    TimeUs newest = kTimeMin;

    double popularity() const { return recent + wider / 4.0; }
  };
  /// What the entity's own links say of an item.
  struct Own {
    double fading = 0;
    double wide_fading = 0;
    double age = 0;       // of the newest, in windows
    bool newest = false;  // it came with the entity's last link
  };

  const Ends& ends_of(std::uint32_t link, TimeUs at);
  std::uint32_t parent(RelationId relation, std::span<const Value> cells);
  bool valid(std::uint32_t item, TimeUs at);
  double windows(TimeUs from, TimeUs to) const;
  std::optional<std::size_t> place(std::uint32_t item) const;
  bool add(std::uint32_t item, TimeUs at, Pool& out);
  void take_own(std::uint32_t entity, TimeUs at, Pool& out);
  void take_also(TimeUs at, Pool& out);
  const std::vector<Weighed>& also_linked(std::uint32_t item, TimeUs at);
  std::vector<Weighed> heaviest(std::vector<Weighed>& all, std::size_t most) const;
  void tell(TimeUs at, Pool& out) const;

  const TaskPlan& plan_;
  TaskWorld world_;
  TableId link_table_;
  TableId item_table_;
  std::size_t ends_max_;  // a power of two

  std::vector<Links> counted_;          // by item; of the last tick
  std::vector<std::uint32_t> popular_;  // most linked first

  // Kept for speed.
  std::vector<Ends> ends_;
  std::vector<std::string> names_;                      // by item; empty: not looked up yet
  std::map<std::uint32_t, std::vector<Weighed>> also_;  // of the time at hand

  // Of the entity at hand.
  std::vector<std::uint32_t> places_;  // by item: stamp_ + place, if it has one
  std::uint32_t stamp_ = 0;
  std::vector<Own> own_;             // by place
  std::vector<double> also_weight_;  // by place
  double own_links_ = 0;
  double own_items_ = 0;
  std::vector<store::Edge> edges_;
  std::vector<store::Edge> inner_edges_;
  std::string key_;
};

}  // namespace accrete::daemon
