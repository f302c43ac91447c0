// What an entity's own matured labels say, and its compact bytes: the fold keeps one per entity.
#include <cmath>

#include "models/candidate.h"
#include "models/state_bytes.h"

namespace accrete::models {
namespace {

// A class seen once and not again for about forty labels no longer tells anything.
constexpr float class_share_min = 1e-6F;

// Doubles that hold a small integer (0/1 labels, counts) take a varint instead of eight bytes.
constexpr double small_integer_max = 1u << 20;

bool is_small_integer(double v) {
  return v >= 0 && v <= small_integer_max && v == std::floor(v) && !std::signbit(v);
}

void append_varint(std::string& out, std::uint64_t v) {
  for (; v >= 0x80; v >>= 7) {
    out.push_back(static_cast<char>(v | 0x80));
  }
  out.push_back(static_cast<char>(v));
}

bool take_varint(std::string_view& bytes, std::uint64_t& v) {
  v = 0;
  for (unsigned shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes.front());
    bytes.remove_prefix(1);
    v |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

void append_number(std::string& out, double v) {
  if (is_small_integer(v)) {
    append_varint(out, static_cast<std::uint64_t>(v));
  } else {
    StateWriter(out).f64(v);
  }
}

bool take_number(std::string_view& bytes, bool small, double& v) {
  if (small) {
    std::uint64_t integer = 0;
    if (!take_varint(bytes, integer)) return false;
    v = static_cast<double>(integer);
    return true;
  }
  if (bytes.size() < sizeof v) return false;
  std::memcpy(&v, bytes.data(), sizeof v);
  bytes.remove_prefix(sizeof v);
  return true;
}

}  // namespace

void LabelHistory::learn(TaskKind kind, double label) {
  const bool first = count == 0;
  ++count;
  last = label;
  sum += label;
  ewma = first ? label : ewma + ewma_alpha * (label - ewma);
  if (kind != TaskKind::Multiclass) return;
  ACCRETE_CHECK(label >= 0 && label < static_cast<double>(classes_max));
  const auto index = static_cast<std::size_t>(label);
  if (index >= class_ewma.size()) class_ewma.resize(index + 1, 0.0F);
  for (std::size_t c = 0; c < class_ewma.size(); ++c) {
    const float target = c == index ? 1.0F : 0.0F;
    float& share = class_ewma[c];
    share = first ? target : share + static_cast<float>(ewma_alpha) * (target - share);
    if (share < class_share_min) share = 0;
  }
}

void append_history(std::string& out, const LabelHistory& history) {
  append_varint(out, history.count);
  if (history.count == 0) return;
  std::size_t classes = 0;
  for (const float share : history.class_ewma) {
    classes += share != 0 ? 1 : 0;
  }
  unsigned shape = 0;
  if (is_small_integer(history.last)) shape |= 1u;
  if (is_small_integer(history.sum)) shape |= 2u;
  if (is_small_integer(history.ewma)) shape |= 4u;
  if (!history.class_ewma.empty()) shape |= 8u;
  out.push_back(static_cast<char>(shape));
  append_number(out, history.last);
  append_number(out, history.sum);
  append_number(out, history.ewma);
  if (history.class_ewma.empty()) return;
  append_varint(out, history.class_ewma.size());
  append_varint(out, classes);
  for (std::size_t c = 0; c < history.class_ewma.size(); ++c) {
    if (history.class_ewma[c] == 0) continue;
    append_varint(out, c);
    StateWriter(out).raw(&history.class_ewma[c], sizeof(float));
  }
}

Status read_history(std::string_view& bytes, LabelHistory& history) {
  const Error broken{Errc::Corruption,
                     "label history is cut short; delete the derived state and fold the log again"};
  history = LabelHistory{};
  std::uint64_t count = 0;
  if (!take_varint(bytes, count) || count > UINT32_MAX) return broken;
  history.count = static_cast<std::uint32_t>(count);
  if (count == 0) return Ok{};
  if (bytes.empty()) return broken;
  const auto shape = static_cast<unsigned char>(bytes.front());
  bytes.remove_prefix(1);
  if (shape > 15 || !take_number(bytes, (shape & 1u) != 0, history.last) ||
      !take_number(bytes, (shape & 2u) != 0, history.sum) ||
      !take_number(bytes, (shape & 4u) != 0, history.ewma)) {
    return broken;
  }
  if ((shape & 8u) == 0) return Ok{};
  std::uint64_t size = 0;
  std::uint64_t stored = 0;
  if (!take_varint(bytes, size) || !take_varint(bytes, stored)) return broken;
  if (size > classes_max) return broken;
  history.class_ewma.assign(size, 0.0F);
  for (std::uint64_t i = 0; i < stored; ++i) {
    std::uint64_t c = 0;
    if (!take_varint(bytes, c) || c >= size || bytes.size() < sizeof(float)) return broken;
    std::memcpy(&history.class_ewma[c], bytes.data(), sizeof(float));
    bytes.remove_prefix(sizeof(float));
  }
  return Ok{};
}

}  // namespace accrete::models
