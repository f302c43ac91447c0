// Examples of a graph network's memory as a test sees them, and a committed state to keep it in.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "daemon/network_memory.h"
#include "tests/store/scratch.h"

namespace accrete::daemon {

inline constexpr std::uint64_t kSeed = 11;

inline NetworkMemoryOptions of_most(std::size_t examples) {
  NetworkMemoryOptions options;
  options.examples_max = examples;
  options.seed = kSeed;
  return options;
}

/// Block, instant, row, label.
using Entry = std::tuple<std::uint32_t, std::int64_t, std::uint32_t, double>;

inline Entry entry_of(const NetworkExample& example) {
  return {example.block, example.at.value, example.row, example.label};
}

inline std::vector<Entry> drawn(const NetworkMemory& memory, std::size_t count,
                                std::uint64_t position) {
  std::vector<NetworkExample> examples;
  memory.draw(count, Rng(kSeed, position, Purpose::Test), examples);
  std::vector<Entry> out;
  out.reserve(count);
  for (const NetworkExample& example : examples)
    out.push_back(entry_of(example));
  return out;
}

/// All that a block has: so many draws leave none out.
inline std::set<Entry> content(const NetworkMemory& memory, std::uint32_t block) {
  std::set<Entry> out;
  if (memory.size(block) == 0) return out;
  Rng rng(kSeed, block, Purpose::Test);
  std::vector<NetworkExample> examples;
  memory.draw_from(block, 60 * memory.size(block), rng, examples);
  for (const NetworkExample& example : examples)
    out.insert(entry_of(example));
  return out;
}

using Labels = std::vector<std::pair<double, std::int64_t>>;

inline Labels newest(const NetworkMemory& memory, std::uint32_t row, std::int64_t at,
                     std::size_t k) {
  std::vector<KnownLabel> rows;
  memory.newest(row, TimeUs{at}, k, rows);
  Labels out;
  for (const KnownLabel& label : rows)
    out.emplace_back(label.label, label.known.value);
  return out;
}

/// A committed state of its own.
struct Kept {
  store::Scratch scratch;
  std::unique_ptr<store::Database> database = store::open_database(scratch);
  std::unique_ptr<store::State> state = store::must(store::State::open(*database));

  void commit() { store::must(state->commit(state->cursor())); }
  std::map<std::string, std::string> values(store::Section section) const {
    std::map<std::string, std::string> out;
    store::must(state->scan(section, "", [&](std::string_view key, std::string_view value) {
      out.emplace(key, value);
      return true;
    }));
    return out;
  }
};

}  // namespace accrete::daemon
