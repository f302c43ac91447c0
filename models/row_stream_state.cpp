// What a row stream calls its features, and what it keeps across restarts.
#include <utility>

#include "models/row_stream.h"

namespace accrete::models {
namespace {

template <class T>
void save_plain(StateWriter& writer, const T& value) {
  writer.raw(&value, sizeof value);
}

template <class T>
void load_plain(StateReader& reader, T& value) {
  reader.raw(&value, sizeof value);
}

}  // namespace

std::vector<std::string> RowStream::names(std::span<const std::string> columns,
                                          std::span<const std::string> key_columns) const {
  static constexpr const char* kEnds[] = {", newest", ", mean, decay .7", ", mean, decay .9",
                                          ", mean, decay .97", ", mean, decay .99"};
  const auto label = [&](std::uint32_t c) {
    return kind_ == TaskKind::Multiclass ? "label is class " + std::to_string(c + 1)
                                         : std::string("label");
  };
  std::vector<std::string> names;
  for (const Run& run : runs_) {
    for (std::uint32_t c = run.begin; c < run.end; ++c) {
      if (run.block == Block::Difference) {
        names.push_back(columns[c] + ", difference to the previous row");
      } else if (run.block == Block::Lag) {
        names.push_back(label(c) + ", " + std::to_string(lags_[run.of]) + " labels ago");
      } else {
        std::string what = run.block == Block::Rows ? columns[c] : label(c);
        if (run.of > 0) {
          const Group& group = groups_[run.of - 1];
          what += " by " + key_columns[group.first];
          if (group.second) what += " and " + key_columns[*group.second];
        }
        for (const char* end : kEnds)
          names.push_back(what + end);
      }
    }
  }
  return names;
}

void RowStream::save(std::string& out) const {
  StateWriter writer(out);
  writer.u8(1);
  writer.u8(static_cast<std::uint8_t>(kind_));
  writer.u64(foreign_keys_);
  writer.u64(rows_);
  writer.u64(labels_);
  writer.u64(label_columns_);
  writer.u64(runs_.size());
  for (const Run& run : runs_) {
    writer.u8(static_cast<std::uint8_t>(run.block));
    writer.u32(run.of);
    writer.u32(run.begin);
    writer.u32(run.end);
  }
  writer.u64(columns_.size());
  for (const Column& column : columns_) {
    writer.f64(column.previous);
    save_plain(writer, column.value);
    save_plain(writer, column.weight);
    writer.u8(column.any ? 1 : 0);
  }
  writer.u64(watches_.size());
  for (const Watch& watch : watches_) {
    writer.u8(watch.open ? 1 : 0);
    writer.u64(watch.at_review);
    writer.u64(watch.values.size());
    for (const std::uint64_t value : watch.values)
      writer.u64(value);
  }
  for (const auto* list : {&small_, &lags_}) {
    writer.u64(list->size());
    for (const std::uint32_t item : *list)
      writer.u32(item);
  }
  save_groups(writer);
}

void RowStream::save_groups(StateWriter& writer) const {
  const auto save_labels = [&](const Labels& labels) {
    writer.u64(labels.count);
    save_plain(writer, labels.weight);
    writer.u64(labels.columns.size());
    for (const Fading& fading : labels.columns)
      save_plain(writer, fading);
  };
  save_labels(all_);
  writer.u64(groups_.size());
  for (const Group& group : groups_) {
    writer.u32(group.first);
    writer.u8(group.second ? 1 : 0);
    writer.u32(group.second.value_or(0));
    writer.u64(group.keys.size());
    for (const auto& [key, labels] : group.keys) {
      writer.u64(key);
      save_labels(labels);
    }
  }
  writer.u64(newest_labels_.size());
  writer.raw(newest_labels_.data(), newest_labels_.size() * sizeof(float));
}

void RowStream::load_groups(StateReader& reader) {
  const auto load_labels = [&](Labels& labels) {
    labels.count = reader.u64();
    load_plain(reader, labels.weight);
    labels.columns.resize(reader.count(sizeof(Fading)));
    for (Fading& fading : labels.columns)
      load_plain(reader, fading);
    reader.require(labels.columns.size() <= label_columns_);
  };
  load_labels(all_);
  groups_.clear();
  groups_.resize(reader.count(17));
  reader.require(groups_.size() <= groups_max && groups_.size() >= foreign_keys_);
  for (Group& group : groups_) {
    group.first = reader.u32();
    const bool pair = reader.u8() != 0;
    const std::uint32_t second = reader.u32();
    if (pair) group.second = second;
    for (std::uint64_t n = reader.count(16); n > 0 && !reader.failed(); --n) {
      const std::uint64_t key = reader.u64();
      load_labels(group.keys[key]);
    }
    reader.require(group.keys.size() <= keys_max);
  }
  newest_labels_.resize(reader.count(sizeof(float)));
  reader.raw(newest_labels_.data(), newest_labels_.size() * sizeof(float));
  reader.require(newest_labels_.size() == (labels_ > 0 ? labels_max : 0));
}

void RowStream::load_columns(StateReader& reader) {
  columns_.resize(reader.count(sizeof(double)));
  reader.require(columns_.size() <= columns_max);
  for (Column& column : columns_) {
    column.previous = reader.f64();
    load_plain(reader, column.value);
    load_plain(reader, column.weight);
    column.any = reader.u8() != 0;
  }
  watches_.resize(reader.count(17));
  for (Watch& watch : watches_) {
    watch.open = reader.u8() != 0;
    watch.at_review = reader.u64();
    for (std::uint64_t n = reader.count(8); n > 0 && !reader.failed(); --n)
      watch.values.insert(reader.u64());
    reader.require(watch.values.size() <= values_max);
  }
  for (auto* list : {&small_, &lags_}) {
    list->resize(reader.count(4));
    for (std::uint32_t& item : *list)
      item = reader.u32();
  }
  for (const std::uint32_t column : small_)
    reader.require(column < watches_.size());
  for (const std::uint32_t lag : lags_)
    reader.require(lag >= 1 && lag <= lags_max);
}

Status RowStream::load(std::string_view bytes) {
  StateReader reader(bytes);
  RowStream fresh(kind_, {});
  reader.require(reader.u8() == 1 && reader.u8() == static_cast<std::uint8_t>(kind_));
  reader.require(reader.u64() == foreign_keys_);
  fresh.foreign_keys_ = foreign_keys_;
  fresh.rows_ = reader.u64();
  fresh.labels_ = reader.u64();
  fresh.label_columns_ = reader.u64();
  reader.require(fresh.label_columns_ <= label_columns_max);
  fresh.runs_.resize(reader.count(13));
  fresh.width_ = 0;
  for (Run& run : fresh.runs_) {
    const std::uint8_t block = reader.u8();
    reader.require(block <= static_cast<std::uint8_t>(Block::Lag));
    run.block = static_cast<Block>(block);
    run.of = reader.u32();
    run.begin = reader.u32();
    run.end = reader.u32();
    reader.require(run.begin < run.end && run.end <= columns_max);
    if (reader.failed()) break;
    fresh.width_ += width_of(run);
  }
  fresh.load_columns(reader);
  fresh.load_groups(reader);
  for (const Run& run : fresh.runs_) {
    const bool rows = run.block == Block::Difference || run.block == Block::Rows;
    reader.require(run.end <= (rows ? fresh.columns_.size() : fresh.label_columns_));
    reader.require(run.block != Block::Labels || run.of <= fresh.groups_.size());
    reader.require(run.block != Block::Lag || run.of < fresh.lags_.size());
  }
  ACCRETE_DO(reader.finish("row stream"));
  *this = std::move(fresh);
  return Ok{};
}

}  // namespace accrete::models
