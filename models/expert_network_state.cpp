// How an ExpertNetwork is written: a small frame, and parts that follow what is learnt.
//
//   frame   format, task, shape, columns, items, told, classes, experts by serial, rates, (id,
//   version) of
//           the parts
//   part    its id and version, then its parameters in the order of visit()
//
// Each ends with the hash of its bytes: a changed bit in a weight would otherwise be one more
// weight.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>

#include "models/expert_network_parts.h"
#include "models/parameter_state.h"
#include "models/state_bytes.h"
#include "proto/hash.h"

namespace accrete::models {
namespace {

constexpr std::uint8_t kFormat = 4;
constexpr std::string_view kWhat = "a graph expert network";

/// Hash what `out` has from `begin` on.
void seal(std::string& out, std::size_t begin) {
  const std::uint64_t hash = hash64(std::string_view(out).substr(begin));
  StateWriter(out).u64(hash);
}

/// Take the hash off the end. Errors: Corruption.
Result<std::string_view> unsealed(std::string_view bytes) {
  std::uint64_t hash = 0;
  const bool long_enough = bytes.size() >= sizeof hash;
  if (long_enough) {
    std::memcpy(&hash, bytes.data() + bytes.size() - sizeof hash, sizeof hash);
    bytes.remove_suffix(sizeof hash);
  }
  if (long_enough && hash64(bytes) == hash) return bytes;
  return Error{Errc::Corruption, "state of " + std::string(kWhat) +
                                     " is not what was written; delete the derived state and "
                                     "fold the log again"};
}

void save_shape(StateWriter& writer, TaskKind kind, const NetworkShape& shape) {
  writer.u8(static_cast<std::uint8_t>(kind));
  writer.u64(shape.layers);
  writer.u8(static_cast<std::uint8_t>(shape.layer.kind));
  writer.u64(shape.layer.width);
  writer.u64(shape.layer.heads);
  writer.u8(shape.layer.extras ? 1 : 0);
  writer.u64(shape.layer.relations.size());
  for (const RelationShape& relation : shape.layer.relations) {
    writer.u32(relation.target);
    writer.u32(relation.source);
  }
  writer.u64(shape.columns.size());
  writer.u64(shape.told.size());
}

void check_shape(StateReader& reader, TaskKind kind, const NetworkShape& shape) {
  reader.require(reader.u8() == static_cast<std::uint8_t>(kind));
  reader.require(reader.u64() == shape.layers);
  reader.require(reader.u8() == static_cast<std::uint8_t>(shape.layer.kind));
  reader.require(reader.u64() == shape.layer.width);
  reader.require(reader.u64() == shape.layer.heads);
  reader.require(reader.u8() == (shape.layer.extras ? 1 : 0));
  reader.require(reader.u64() == shape.layer.relations.size());
  for (const RelationShape& relation : shape.layer.relations) {
    reader.require(reader.u32() == relation.target);
    reader.require(reader.u32() == relation.source);
  }
  reader.require(reader.u64() == shape.columns.size());
  reader.require(reader.u64() == shape.told.size());
}

/// What a frame says beyond the shape that its reader knows.
struct Frame {
  std::vector<std::size_t> columns;
  std::vector<std::size_t> items;
  std::vector<std::size_t> told;
  std::uint64_t classes = 0;
  std::vector<std::uint64_t> serials;
  std::uint64_t births = 0;
  std::uint64_t growths = 0;
  std::vector<double> rates;
  std::vector<CandidateGroup::Part> parts;
};

/// All different, all given away; so few that ids of parts do not meet.
bool are_serials(std::vector<std::uint64_t> serials, std::uint64_t births) {
  std::ranges::sort(serials);
  return births <= 1ull << 32 && std::ranges::adjacent_find(serials) == serials.end() &&
         (serials.empty() || serials.back() < births);
}

Result<Frame> read_frame(std::string_view bytes, TaskKind kind, const NetworkShape& shape) {
  ACCRETE_TRY(const std::string_view told, unsealed(bytes));
  StateReader reader(told);
  reader.require(reader.u8() == kFormat);
  check_shape(reader, kind, shape);
  Frame frame;
  for (std::size_t t = 0; t < shape.columns.size() && !reader.failed(); ++t)
    frame.columns.push_back(reader.u64());
  for (std::size_t t = 0; t < shape.columns.size() && !reader.failed(); ++t)
    frame.items.push_back(reader.u64());
  for (std::size_t s = 0; s < shape.told.size() && !reader.failed(); ++s)
    frame.told.push_back(reader.u64());
  for (const std::size_t items : frame.items)
    reader.require(items == 0 || shape.layer.width % kLanes == 0);
  frame.classes = reader.u64();
  frame.serials.resize(reader.count(sizeof(std::uint64_t)));
  for (std::uint64_t& serial : frame.serials)
    serial = reader.u64();
  frame.births = reader.u64();
  reader.require(are_serials(frame.serials, frame.births));
  frame.growths = reader.u64();
  frame.rates = reader.doubles();
  for (const double rate : frame.rates)
    reader.require(rate >= 0 && std::isfinite(rate));
  frame.parts.resize(reader.count(2 * sizeof(std::uint64_t)));
  for (CandidateGroup::Part& part : frame.parts) {
    part.id = reader.u64();
    part.version = reader.u64();
  }
  reader.require(!frame.serials.empty());
  reader.require(frame.parts.size() == 1 + frame.serials.size() * shape.layers);
  reader.require(kind == TaskKind::Multiclass ? frame.classes <= classes_max : frame.classes == 1);
  ACCRETE_DO(reader.finish(kWhat));
  return frame;
}

/// The part's parameters, behind its id and version. Errors: Corruption, those of read_part.
Result<std::string> read_checked(const CandidateGroup::Part& part,
                                 const CandidateGroup::ReadPart& read_part) {
  ACCRETE_TRY(const std::string bytes, read_part(part.id));
  ACCRETE_TRY(const std::string_view told, unsealed(bytes));
  StateReader reader(told);
  const bool same = reader.u64() == part.id && reader.u64() == part.version;
  if (same && !reader.failed()) return std::string(told.substr(2 * sizeof(std::uint64_t)));
  return Error{Errc::Corruption, "part " + std::to_string(part.id) + " of " + std::string(kWhat) +
                                     " is not of the version saved with it; delete the derived "
                                     "state and fold the log again"};
}

/// No more numbers are made room for than the bytes hold.
bool fits(const Frame& frame, std::size_t width, std::size_t number_bytes, std::size_t bytes) {
  const std::size_t rows_max = bytes / number_bytes / std::max<std::size_t>(width, 1);
  std::size_t rows = frame.classes;
  for (const auto* sizes : {&frame.columns, &frame.items}) {
    for (const std::size_t size : *sizes) {
      if (size > rows_max) return false;
      rows += size;
    }
  }
  std::size_t told = 0;
  for (const std::size_t size : frame.told) {
    if (size > bytes) return false;
    told += size;
  }
  return rows <= rows_max && told * frame.classes <= bytes / number_bytes;
}

/// The expert in "expert12.…"; nothing if the name is another's.
std::optional<std::size_t> expert_in(std::string_view name) {
  constexpr std::string_view kPrefix = "expert";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  std::size_t expert = 0;
  std::size_t digits = 0;
  for (; digits < name.size() && name[digits] >= '0' && name[digits] <= '9'; ++digits)
    expert = expert * 10 + static_cast<std::size_t>(name[digits] - '0');
  if (digits == 0) return std::nullopt;
  return expert;
}

}  // namespace

template <class Real>
void ExpertNetwork<Real>::Parts::visit_parts(const VisitPart& visit) {
  const auto rest = [&](std::string_view name, Parameter<Real>& parameter) {
    visit(rest_place, name, parameter);
  };
  rows.visit(rest);
  for (std::size_t l = 0; l < layers.size(); ++l) {
    const std::string prefix = "layer" + std::to_string(l);
    layers[l].visit(prefix, [&](std::string_view name, Parameter<Real>& parameter) {
      const auto expert = expert_in(name.substr(prefix.size() + 1));
      visit(expert ? part_place(l, *expert) : rest_place, name, parameter);
    });
  }
  head.visit(rest);
}

template <class Real>
std::vector<typename ExpertNetwork<Real>::Part> ExpertNetwork<Real>::parts() const {
  std::vector<Part> parts(parts_->part_count());
  for (std::size_t place = 0; place < parts.size(); ++place)
    parts[place].id = parts_->part_id(place);
  // Each change makes a parameter's version greater, and one merged of two has more than both had:
  // so the sum never comes back.
  parts_->visit_parts([&](std::size_t place, std::string_view, Parameter<Real>& parameter) {
    parts[place].version += parameter.version;
  });
  parts[Parts::rest_place].version += parts_->growths;
  return parts;
}

template <class Real>
void ExpertNetwork<Real>::save_part(std::uint64_t id, std::string& out) const {
  const std::vector<Part> all = parts();
  const auto wanted = std::ranges::find(all, id, &Part::id);
  ACCRETE_CHECK(wanted != all.end());
  const auto place = static_cast<std::size_t>(wanted - all.begin());
  const std::size_t begin = out.size();
  StateWriter writer(out);
  writer.u64(id);
  writer.u64(wanted->version);
  parts_->visit_parts([&](std::size_t at, std::string_view, Parameter<Real>& parameter) {
    if (at == place) save_parameter(writer, parameter);
  });
  seal(out, begin);
}

template <class Real>
void ExpertNetwork<Real>::save(std::string& out) const {
  const std::size_t begin = out.size();
  StateWriter writer(out);
  writer.u8(kFormat);
  save_shape(writer, parts_->kind, parts_->options.shape);
  for (std::size_t t = 0; t < parts_->rows.tables(); ++t)
    writer.u64(parts_->rows.columns(t));
  for (std::size_t t = 0; t < parts_->rows.tables(); ++t)
    writer.u64(parts_->rows.items(t));
  for (std::size_t s = 0; s < parts_->head.sources(); ++s)
    writer.u64(parts_->head.told(s));
  writer.u64(classes());
  writer.u64(experts());
  for (const std::uint64_t serial : parts_->serials)
    writer.u64(serial);
  writer.u64(parts_->births);
  writer.u64(parts_->growths);
  std::vector<double> rates;
  parts_->visit(
      [&](std::string_view, Parameter<Real>& parameter) { rates.push_back(parameter.rate); });
  writer.doubles(rates);
  const std::vector<Part> all = parts();
  writer.u64(all.size());
  for (const Part& part : all) {
    writer.u64(part.id);
    writer.u64(part.version);
  }
  seal(out, begin);
}

template <class Real>
Status ExpertNetwork<Real>::load(std::string_view bytes, const ReadPart& read_part) {
  NetworkOptions options = parts_->options;
  ACCRETE_TRY(const Frame frame, read_frame(bytes, parts_->kind, options.shape));
  std::vector<std::string> told;
  for (const Part& stored : frame.parts) {
    ACCRETE_TRY(std::string part, read_checked(stored, read_part));
    told.push_back(std::move(part));
  }
  StateReader sizes("");
  sizes.require(fits(frame, options.shape.layer.width, sizeof(Real), told.front().size()));
  ACCRETE_DO(sizes.finish(kWhat));
  options.shape.columns = frame.columns;
  options.shape.told = frame.told;
  auto fresh = std::make_unique<Parts>(parts_->kind, options);
  for (std::size_t t = 0; t < frame.items.size(); ++t)
    if (frame.items[t] > 0) fresh->rows.grow_items(t, frame.items[t]);
  fresh->add_experts(frame.serials.size());
  fresh->serials = frame.serials;
  fresh->births = frame.births;
  for (std::size_t place = 0; place < frame.parts.size(); ++place) {
    if (frame.parts[place].id != fresh->part_id(place)) {
      return Error{Errc::Corruption, "parts are out of order"};
    }
  }
  if (parts_->kind == TaskKind::Multiclass) fresh->head.grow(frame.classes);
  fresh->growths = frame.growths;
  std::vector<StateReader> readers(told.begin(), told.end());
  std::size_t count = 0;
  fresh->visit_parts([&](std::size_t place, std::string_view, Parameter<Real>& parameter) {
    load_parameter(readers[place], parameter);
    if (count < frame.rates.size()) parameter.rate = frame.rates[count];
    ++count;
  });
  readers.front().require(count == frame.rates.size());
  for (const StateReader& reader : readers)
    ACCRETE_DO(reader.finish(kWhat));
  parts_ = std::move(fresh);
  return Ok{};
}

// The whole class is instantiated in expert_network.cpp; these are the members defined here.
template void ExpertNetwork<float>::Parts::visit_parts(const VisitPart&);
template void ExpertNetwork<double>::Parts::visit_parts(const VisitPart&);
template std::vector<ExpertNetwork<float>::Part> ExpertNetwork<float>::parts() const;
template std::vector<ExpertNetwork<double>::Part> ExpertNetwork<double>::parts() const;
template void ExpertNetwork<float>::save_part(std::uint64_t, std::string&) const;
template void ExpertNetwork<double>::save_part(std::uint64_t, std::string&) const;
template void ExpertNetwork<float>::save(std::string&) const;
template void ExpertNetwork<double>::save(std::string&) const;
template Status ExpertNetwork<float>::load(std::string_view, const ReadPart&);
template Status ExpertNetwork<double>::load(std::string_view, const ReadPart&);

}  // namespace accrete::models
