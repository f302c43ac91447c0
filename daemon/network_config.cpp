// Names of choices, bounds of numbers, and the way back to TOML.
#include "daemon/network_config.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "models/candidate.h"
#include "proto/time.h"

namespace accrete::daemon {
namespace {

using Experts = NetworkConfig::Experts;
using OldExperts = NetworkConfig::OldExperts;
using Replay = NetworkConfig::Replay;
using models::BlockRule;

template <class Value>
using Names = std::vector<std::pair<std::string, Value>>;

const Names<Experts>& experts_names() {
  static const Names<Experts> kNames = {
      {"off", Experts::Off}, {"sage", Experts::Sage}, {"attention", Experts::Attention}};
  return kNames;
}

const Names<OldExperts>& old_experts_names() {
  static const Names<OldExperts> kNames = {
      {"freeze", OldExperts::Freeze}, {"slow", OldExperts::Slow}, {"all", OldExperts::All}};
  return kNames;
}

const Names<Replay>& replay_names() {
  static const Names<Replay> kNames = {{"rows", Replay::Rows},
                                       {"both", Replay::Both},
                                       {"mixtures", Replay::Mixtures},
                                       {"none", Replay::None}};
  return kNames;
}

const Names<BlockRule>& rule_names() {
  static const Names<BlockRule> kNames = {{"drift", BlockRule::Drift},
                                          {"rows", BlockRule::Rows},
                                          {"time", BlockRule::Time},
                                          {"marker", BlockRule::Marker},
                                          {"classes", BlockRule::Classes}};
  return kNames;
}

/// Whether the key is right or not there.
template <class Value>
bool read_name(TomlSection& section, std::string_view key, const Names<Value>& names, Value& out) {
  std::string text;
  if (!section.read(key, text)) return !section.has(key);
  std::vector<std::string> known;
  std::string list;
  for (const auto& [name, value] : names) {
    known.push_back(name);
    list += (list.empty() ? "" : ", ") + name;
    if (name == text) {
      out = value;
      return true;
    }
  }
  section.complain(
      key, std::string(key) + " = \"" + text + "\" is none of " + list + suggestion(text, known));
  return false;
}

template <class Value>
std::string name_of(const Names<Value>& names, Value value) {
  const auto found =
      std::ranges::find(names, value, [](const auto& entry) { return entry.second; });
  return found->first;
}

void read_count(TomlSection& section, std::string_view key, std::size_t& out, Range range) {
  std::uint64_t count = out;
  if (section.read(key, count, range)) out = count;
}

void line(std::string& out, std::string_view key, const std::string& value) {
  out += std::string(key) + " = " + value + "\n";
}

std::string truth(bool value) {
  return value ? "true" : "false";
}

// A row is learnt from and answered as a whole, whatever lies around it.
constexpr std::uint64_t kNeighbourhoodMax = 32u << 20;

/// Of vectors of all rows that may be read for one, through one foreign key a layer.
std::uint64_t neighbourhood_bytes(const NetworkConfig& network) {
  std::uint64_t rows = 1;
  for (const std::uint64_t fan_out : network.fan_out)
    rows *= fan_out;
  return rows * network.width * sizeof(float);
}

std::string list_of(const std::vector<std::uint64_t>& numbers) {
  std::string out = "[";
  for (const std::uint64_t number : numbers)
    out += (out.size() > 1 ? ", " : "") + std::to_string(number);
  return out + "]";
}

/// Who wrote something there wants a network.
void want_experts(TomlSection& section) {
  if (section.has("experts")) return;
  section.complain("experts",
                   "without experts there is no network: give experts = \"sage\" or "
                   "\"attention\" (or \"off\" to keep the section for later)");
}

void read_learn_until(TomlSection& section, NetworkConfig& network) {
  std::vector<TimeUs> times;
  if (!section.read_times("learn_until", times)) return;
  if (times.size() == 1) {
    network.learn_until = times.front();
  } else {
    section.complain("learn_until", "learn_until must be one time");
  }
}

/// [blocks]: when a data block ends.
void read_blocks(TomlSection& root, BlocksConfig& blocks, Complaints& complaints) {
  const toml::table* table = root.read_table("blocks");
  if (table == nullptr) return;
  TomlSection section(*table, "[blocks]", complaints);
  if (!read_name(section, "by", rule_names(), blocks.by)) {
    section.skip("every");  // what it should be is not known
  } else if (blocks.by == BlockRule::Time) {
    section.read_duration("every", blocks.every_us);
    if (blocks.every_us <= 0) section.complain("every", "every must be longer than 0");
  } else if (blocks.by == BlockRule::Rows) {
    section.read("every", blocks.every_rows, {1, ~0ull >> 1});
  } else if (blocks.by == BlockRule::Classes) {
    std::uint64_t classes = blocks.every_classes;
    if (section.read("every", classes, {1, models::classes_max}))
      blocks.every_classes = static_cast<std::uint32_t>(classes);
  } else {
    section.skip("every");
    if (section.has("every")) {
      section.complain("every", "every needs by = \"rows\", \"time\" or \"classes\"");
    }
  }
  section.finish();
}

}  // namespace

void read_network(TomlSection& root, NetworkConfig& network, BlocksConfig& blocks,
                  Complaints& complaints) {
  if (const toml::table* table = root.read_table("network")) {
    TomlSection section(*table, "[network]", complaints);
    read_name(section, "experts", experts_names(), network.experts);
    if (!table->empty()) want_experts(section);
    read_name(section, "old_experts", old_experts_names(), network.old_experts);
    read_count(section, "width", network.width, {16, 256});
    if (network.width % 16 != 0) {
      section.complain("width",
                       "width = " + std::to_string(network.width) + " must be a multiple of 16");
    }
    section.read_counts("fan_out", network.fan_out, {1, 128});
    if (network.fan_out.empty() || network.fan_out.size() > 3) {
      section.complain("fan_out", "fan_out must have 1 to 3 numbers, one a layer");
    } else if (const std::uint64_t bytes = neighbourhood_bytes(network);
               bytes > kNeighbourhoodMax) {
      section.complain("fan_out", "what lies around one row may take " +
                                      std::to_string(bytes >> 20) + " MiB an array, at most " +
                                      std::to_string(kNeighbourhoodMax >> 20) +
                                      ": give less fan_out or width");
    }
    section.read("uniform", network.uniform);
    section.read("on_heads", network.on_heads);
    read_count(section, "top", network.top, {1, 16});
    read_count(section, "batch_experts", network.batch_experts, {0, 256});
    section.read("block_loss", network.block_loss);
    section.read("graph_block_loss", network.graph_block_loss);
    section.read("topology_gate", network.topology_gate);
    read_count(section, "experts_max", network.experts_max, {1, 256});
    read_count(section, "batch", network.batch, {16, 4096});
    read_count(section, "passes", network.passes, {1, 1000});
    read_count(section, "mean_steps", network.mean_steps, {0, 1'000'000});
    read_learn_until(section, network);
    read_count(section, "memory", network.memory, {4096, 1u << 20});
    read_count(section, "memory_per_class", network.memory_per_class, {0, 1u << 20});
    if (read_name(section, "replay", replay_names(), network.replay) &&
        network.replay != Replay::Rows && network.old_experts != OldExperts::Freeze) {
      section.complain("replay",
                       "replay = " + toml_quoted(name_of(replay_names(), network.replay)) +
                           " needs old_experts = \"freeze\"");
    }
    if (network.memory_per_class > 0 && !network.keeps_rows()) {
      section.complain("memory_per_class",
                       "memory_per_class needs kept rows: replay = \"rows\" or \"both\"");
    }
    section.read("ridge", network.ridge);
    if (network.ridge && !network.keeps_rows()) {
      section.complain("ridge", "ridge needs kept rows: replay = \"rows\" or \"both\"");
    }
    section.finish();
  }
  read_blocks(root, blocks, complaints);
}

void print_network(std::string& out, const NetworkConfig& network, const BlocksConfig& blocks) {
  out += "\n[network]\n";
  line(out, "experts", toml_quoted(name_of(experts_names(), network.experts)));
  line(out, "old_experts", toml_quoted(name_of(old_experts_names(), network.old_experts)));
  line(out, "width", std::to_string(network.width));
  line(out, "fan_out", list_of(network.fan_out));
  line(out, "uniform", truth(network.uniform));
  line(out, "on_heads", truth(network.on_heads));
  line(out, "top", std::to_string(network.top));
  line(out, "batch_experts", std::to_string(network.batch_experts));
  line(out, "block_loss", truth(network.block_loss));
  line(out, "graph_block_loss", truth(network.graph_block_loss));
  line(out, "topology_gate", truth(network.topology_gate));
  line(out, "experts_max", std::to_string(network.experts_max));
  line(out, "batch", std::to_string(network.batch));
  line(out, "passes", std::to_string(network.passes));
  line(out, "mean_steps", std::to_string(network.mean_steps));
  if (network.learn_until) line(out, "learn_until", toml_quoted(format_time(*network.learn_until)));
  line(out, "memory", std::to_string(network.memory));
  line(out, "memory_per_class", std::to_string(network.memory_per_class));
  line(out, "replay", toml_quoted(name_of(replay_names(), network.replay)));
  line(out, "ridge", truth(network.ridge));
  out += "\n[blocks]\n";
  line(out, "by", toml_quoted(name_of(rule_names(), blocks.by)));
  if (blocks.by == BlockRule::Rows) line(out, "every", std::to_string(blocks.every_rows));
  if (blocks.by == BlockRule::Time) {
    line(out, "every", toml_quoted(std::to_string(blocks.every_us) + " us"));
  }
  if (blocks.by == BlockRule::Classes) line(out, "every", std::to_string(blocks.every_classes));
}

std::string network_fingerprint(const NetworkConfig& network, const BlocksConfig& blocks) {
  if (network.experts == Experts::Off) return {};
  std::string out;
  print_network(out, network, blocks);
  return out;
}

}  // namespace accrete::daemon
