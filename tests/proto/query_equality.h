// Structural equality of two queries: everything but the text and the places of tokens.
#pragma once

#include <algorithm>
#include <variant>

#include "proto/query.h"

namespace accrete::query {

inline bool same(const ColumnRef& a, const ColumnRef& b) {
  return a.table == b.table && a.column == b.column;
}

inline bool same(const ConditionPtr& a, const ConditionPtr& b);

inline bool same(const Window& a, const Window& b) {
  return a.aggregate == b.aggregate && same(a.argument, b.argument) &&
         a.row_compare == b.row_compare && a.row_literal == b.row_literal &&
         same(a.where, b.where) && a.start_us == b.start_us && a.end_us == b.end_us &&
         a.via == b.via;
}

inline bool same(const Operand& a, const Operand& b) {
  return std::visit(
      [](const auto& x, const auto& y) {
        if constexpr (std::is_same_v<decltype(x), decltype(y)>) {
          return same(x, y);
        } else {
          return false;
        }
      },
      a, b);
}

inline bool same(const ConditionPtr& a, const ConditionPtr& b) {
  if (!a || !b) return !a && !b;
  const bool leaf = a->children.empty();
  return a->kind == b->kind && (!leaf || same(a->operand, b->operand)) &&
         a->compare == b->compare && a->literal == b->literal &&
         std::equal(a->children.begin(), a->children.end(), b->children.begin(), b->children.end(),
                    [](const ConditionPtr& x, const ConditionPtr& y) { return same(x, y); });
}

inline bool same(const Query& a, const Query& b) {
  return same(a.target.operand, b.target.operand) && a.target.compare == b.target.compare &&
         a.target.literal == b.target.literal &&
         a.target.more_horizons_us == b.target.more_horizons_us &&
         a.target.rank_top == b.target.rank_top && same(a.entity, b.entity) &&
         same(a.where, b.where) && a.every_us == b.every_us;
}

}  // namespace accrete::query
