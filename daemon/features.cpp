// Features of the entity's own row and of its children's counts.
#include "daemon/features.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "proto/time.h"

namespace accrete::daemon {
namespace {

constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();
constexpr std::size_t kPerRelation = 4;
constexpr std::size_t kOfHistory = 4;

class RowFeatures final : public FeatureSource {
 public:
  RowFeatures(const TaskPlan& plan, const Schema& schema, store::Graph& graph, RowReader& rows)
      : schema_(schema), entity_(plan.entity), graph_(graph), rows_(rows) {
    window_us_ = plan.target.end_us - std::max<std::int64_t>(0, plan.target.start_us);
    for (std::size_t i = 0; i < schema.relations().size(); ++i) {
      if (schema.relations()[i].parent == entity_) {
        relations_.push_back(RelationId{static_cast<std::uint16_t>(i)});
      }
    }
  }

  void observe(std::span<const Value> cells) override {
    encoder_.observe(schema_.table(entity_), cells);
  }

  std::size_t width() const override { return fixed_width() + encoder_.width(); }

  void compute(NodeId entity, TimeUs at, const models::LabelHistory& history,
               std::vector<double>& out) override {
    out.clear();
    for (const RelationId relation : relations_)
      counts(relation, entity, at, out);
    const bool known = history.count > 0;
    out.push_back(std::log1p(static_cast<double>(history.count)));
    out.push_back(known ? history.last : kMissing);
    out.push_back(known ? history.ewma : kMissing);
    out.push_back(known ? history.sum / static_cast<double>(history.count) : kMissing);
    const RowContent* row = rows_.row(entity, at);
    encoder_.encode(row == nullptr ? std::span<const Value>() : std::span(row->cells), at,
                    encoded_);
    out.insert(out.end(), encoded_.begin(), encoded_.end());
  }

  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const RelationId id : relations_) {
      const Relation& relation = schema_.relations()[id.value];
      const Table& child = schema_.table(relation.child);
      const ForeignKey& key = child.foreign_keys[relation.foreign_key];
      const std::string path = child.name + "." + child.columns[key.columns.front().value].name;
      names.push_back("log count of " + path + ", last window");
      names.push_back("log count of " + path + ", last 4 windows");
      names.push_back("log count of " + path + ", ever");
      names.push_back("log days since last " + path);
    }
    for (const char* of_history : {"log count of own labels", "own last label",
                                   "own running mean of labels", "own mean of labels"}) {
      names.emplace_back(of_history);
    }
    for (std::string& name : encoder_.feature_names(schema_.table(entity_))) {
      names.push_back(std::move(name));
    }
    return names;
  }

  void save(std::string& out) const override { encoder_.save(out); }
  Status load(std::string_view bytes) override { return encoder_.load(bytes); }

 private:
  std::size_t fixed_width() const { return relations_.size() * kPerRelation + kOfHistory; }

  void counts(RelationId relation, NodeId entity, TimeUs at, std::vector<double>& out) {
    const auto log_count = [&](TimeUs after) {
      return std::log1p(static_cast<double>(graph_.count(relation, entity, after, at, at)));
    };
    const auto newest = graph_.newest_time(relation, entity, at);
    const bool recent = newest && *newest > shift(at, -4 * window_us_);
    out.push_back(recent ? log_count(shift(at, -window_us_)) : 0);
    out.push_back(recent ? log_count(shift(at, -4 * window_us_)) : 0);
    out.push_back(newest ? log_count(kTimeMin) : 0);
    const bool timed = newest && *newest != kTimeMin;
    out.push_back(timed ? std::log1p(static_cast<double>(at.value - newest->value) /
                                     static_cast<double>(kDayUs))
                        : kMissing);
  }

  const Schema& schema_;
  TableId entity_;
  store::Graph& graph_;
  RowReader& rows_;
  std::int64_t window_us_ = 0;
  std::vector<RelationId> relations_;
  models::RowEncoder encoder_;
  std::vector<double> encoded_;
};

}  // namespace

std::unique_ptr<FeatureSource> make_row_features(const TaskPlan& plan, const Schema& schema,
                                                 store::Graph& graph, RowReader& rows) {
  return std::make_unique<RowFeatures>(plan, schema, graph, rows);
}

}  // namespace accrete::daemon
