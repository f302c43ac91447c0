// A series over event time in a bounded number of points: neighbours merge as it grows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "proto/result.h"

namespace accrete::daemon {

/// A point is so many neighbouring blocks, each of which somebody else has collected; when there
/// would be more than kPointsMax points, each two neighbours become one, and later points hold
/// twice as many blocks. A Point says in `blocks` how many it holds, and take(next) adds the one
/// behind it: of sums, so that merging loses nothing but resolution.
template <class Point>
class MergedPoints {
 public:
  static constexpr std::size_t kPointsMax = 200;  // more than a screen shows apart

  /// A block that is complete, behind all others. Checks: it is one block.
  void add(Point block) {
    ACCRETE_CHECK(block.blocks == 1);
    if (!points_.empty() && points_.back().blocks < stride_) {
      points_.back().take(block);
      return;
    }
    if (points_.size() == kPointsMax) {
      for (std::size_t i = 0; i < kPointsMax / 2; ++i) {
        if (i > 0) points_[i] = std::move(points_[2 * i]);
        points_[i].take(points_[2 * i + 1]);
      }
      points_.resize(kPointsMax / 2);
      stride_ *= 2;
    }
    points_.push_back(std::move(block));
  }

  /// Oldest first, with a block that is still open: one that is too small, or one point too many,
  /// joins the point before.
  std::vector<Point> with(Point open, bool small) const {
    std::vector<Point> all = points_;
    if (!all.empty() && (small || all.back().blocks < stride_ || all.size() == kPointsMax)) {
      all.back().take(open);
    } else {
      all.push_back(std::move(open));
    }
    return all;
  }

  const std::vector<Point>& points() const { return points_; }
  std::vector<Point>& points() { return points_; }
  std::uint64_t stride() const { return stride_; }
  /// As they were stored. Checks: no more points than there may be, a stride.
  void restore(std::vector<Point> points, std::uint64_t stride) {
    ACCRETE_CHECK(points.size() <= kPointsMax && stride > 0);
    points_ = std::move(points);
    stride_ = stride;
  }

 private:
  std::vector<Point> points_;
  std::uint64_t stride_ = 1;  // blocks a point
};

}  // namespace accrete::daemon
