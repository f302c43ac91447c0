// Writing SVG.
#include "daemon/report_chart.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace accrete::daemon::report {
namespace {

constexpr double kWidth = 960;
constexpr double kLeft = 52;
constexpr double kRight = 12;
constexpr double kTop = 22;  // a lane for marks
constexpr double kBottom = 24;
constexpr double kInner = kWidth - kLeft - kRight;
constexpr double kCurveHeight = 230;
constexpr double kShareHeight = 120;
constexpr std::size_t kTimeTicksMax = 9;
constexpr double kTenths = 10;

std::string whole(double value) {
  return std::to_string(std::llround(value));
}

/// Units with one decimal.
std::string unit(double value) {
  const auto tenths = std::llround(value * kTenths);
  std::string text = tenths < 0 ? "-" : "";
  text += std::to_string(std::abs(tenths) / 10);
  if (tenths % 10 != 0) text += "." + std::to_string(std::abs(tenths) % 10);
  return text;
}

class Canvas {
 public:
  Canvas(const Chart& chart, double low, double high, double height)
      : chart_(chart), low_(low), high_(high), height_(height) {}

  double x(TimeUs at) const {
    const auto span = static_cast<double>(chart_.to.value) - static_cast<double>(chart_.from.value);
    if (!(span > 0)) return kInner / 2;
    const double part =
        (static_cast<double>(at.value) - static_cast<double>(chart_.from.value)) / span;
    return std::clamp(part, 0.0, 1.0) * kInner;
  }
  /// Far outside it is the same as just outside: paths are cut off there.
  double y(double value) const {
    return std::clamp(1 - (value - low_) / (high_ - low_), -1.0, 2.0) * height_;
  }

  std::string open(const std::string& kind) const {
    return "<svg class=\"chart\" id=\"" + chart_.id + "\" viewBox=\"0 0 " + whole(kWidth) + " " +
           whole(height_ + kTop + kBottom) + "\" role=\"img\" aria-label=\"" +
           escaped(chart_.label) + "\" data-kind=\"" + kind + "\" data-from=\"" +
           std::to_string(chart_.from.value) + "\" data-to=\"" + std::to_string(chart_.to.value) +
           "\" data-left=\"" + whole(kLeft) + "\" data-width=\"" + whole(kInner) +
           "\"><g transform=\"translate(" + whole(kLeft) + " " + whole(kTop) + ")\">";
  }
  std::string close() const {
    return "<line class=\"cursor\" x1=\"0\" x2=\"0\" y1=\"0\" y2=\"" + whole(height_) +
           "\"/></g></svg>\n";
  }
  std::string grid(const std::vector<Tick>& ticks) const;
  std::string shades() const;
  std::string marks() const;
  std::string clip() const {
    return "<clipPath id=\"" + chart_.id + "-clip\"><rect width=\"" + whole(kInner) +
           "\" height=\"" + whole(height_) + "\"/></clipPath>";
  }
  /// Lines in tenths, inside the clip.
  std::string in_tenths(const std::string& paths) const {
    return clip() + "<g clip-path=\"url(#" + chart_.id + "-clip)\"><g transform=\"scale(.1)\">" +
           paths + "</g></g>";
  }

 private:
  std::string mark(const Mark& mark, double y, const std::string& shape) const;

  const Chart& chart_;
  double low_;
  double high_;
  double height_;
};

std::string text_at(double x, double y, const char* anchor, const std::string& text) {
  return "<text x=\"" + unit(x) + "\" y=\"" + unit(y) + "\" text-anchor=\"" + anchor + "\">" +
         escaped(text) + "</text>";
}

std::string Canvas::grid(const std::vector<Tick>& ticks) const {
  std::string lines;
  std::string labels;
  for (const Tick& tick : ticks) {
    const double at = y(tick.at);
    lines += "M0 " + unit(at) + "h" + whole(kInner);
    labels += text_at(-8, at + 4, "end", tick.label);
  }
  std::string out = "<path class=\"grid\" d=\"" + lines + "\"/>";
  std::string stubs;
  for (const Tick& tick : time_ticks(chart_.from, chart_.to, kTimeTicksMax)) {
    const double at = x(TimeUs{static_cast<std::int64_t>(tick.at)});
    stubs += "M" + unit(at) + " " + whole(height_) + "v5";
    // At the edges a label stays inside the picture.
    const char* anchor = at < 24 ? "start" : at > kInner - 24 ? "end" : "middle";
    labels += text_at(at, height_ + 19, anchor, tick.label);
  }
  out += "<path class=\"stub\" d=\"M0 " + whole(height_) + "h" + whole(kInner) + stubs + "\"/>";
  return out + "<g class=\"ticks\">" + labels + "</g>";
}

std::string Canvas::shades() const {
  std::string out;
  for (const Shade& shade : chart_.shades) {
    const double left = x(std::max(shade.from, chart_.from));
    const double right = x(std::min(shade.to, chart_.to));
    if (!(right > left)) continue;
    out += "<g class=\"shade\"><rect x=\"" + unit(left) + "\" width=\"" + unit(right - left) +
           "\" height=\"" + whole(height_) + "\"/>" + text_at(left + 6, 14, "start", shade.name) +
           "</g>";
  }
  return out;
}

std::string Canvas::mark(const Mark& mark, double y, const std::string& shape) const {
  const std::string at = unit(x(mark.at));
  return "<path class=\"stem\" d=\"M" + at + " " + unit(y) + "V" + whole(height_) +
         "\"/><path d=\"M" + at + " " + unit(y) + shape + "\"><title>" +
         escaped(short_time(mark.at) + ": " + mark.text) + "</title></path>";
}

std::string Canvas::marks() const {
  // Drawn from their middle: triangle down, rhomb; triangle up, two bars that join, cross, square.
  static const std::map<std::string, std::string, std::less<>> kAlarmShapes = {
      {"adwin", "m-5 -4h10l-5 9z"}, {"page-hinkley", "m0 -6l5 6l-5 6l-5 -6z"}};
  static const std::map<std::string, std::string, std::less<>> kEventShapes = {
      {"birth", "m0 -6l5 10h-10z"},
      {"merge", "m-6 -5l6 4l6 -4v4l-6 6l-6 -6z"},
      {"rollback", "m-5 -4l1 -1l4 4l4 -4l1 1l-4 4l4 4l-1 1l-4 -4l-4 4l-1 -1l4 -4z"},
      {"freeze", "m-4 -4h8v8h-8z"}};
  const auto draw = [&](std::span<const Mark> marks, const auto& shapes, const char* group) {
    std::string out;
    for (const Mark& mark : marks) {
      if (mark.at < chart_.from || mark.at > chart_.to) continue;
      const auto shape = shapes.find(mark.kind);
      const bool known = shape != shapes.end();
      out += std::string("<g class=\"mark ") + group + " " + (known ? mark.kind : "other") + "\">" +
             this->mark(mark, -9, known ? shape->second : "m-4 -4h8v8h-8z") + "</g>";
    }
    return out;
  };
  return draw(chart_.alarms, kAlarmShapes, "alarm") + draw(chart_.events, kEventShapes, "event");
}

/// Path data of whole tenths, each point relative to the one before.
class Path {
 public:
  void move(double x, double y) {
    text_ += "M" + whole(x * kTenths) + " " + whole(y * kTenths) + "l";
    x_ = std::llround(x * kTenths);
    y_ = std::llround(y * kTenths);
    first_ = true;
  }
  void line(double x, double y) {
    const long long next_x = std::llround(x * kTenths);
    const long long next_y = std::llround(y * kTenths);
    if (!first_ && next_x >= x_) text_ += ' ';
    text_ += std::to_string(next_x - x_);
    if (next_y >= y_) text_ += ' ';
    text_ += std::to_string(next_y - y_);
    x_ = next_x;
    y_ = next_y;
    first_ = false;
  }
  /// A lone point, as a dot: a line of no length has round caps.
  void dot_if_alone() {
    if (first_) text_ += "0 0";
    first_ = false;
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
  long long x_ = 0;
  long long y_ = 0;
  bool first_ = true;
};

std::string path_element(const Line& line, const std::string& kind, const std::string& data) {
  return "<path class=\"" + kind + " " + line.classes + "\" style=\"--k:" + line.colour +
         "\" d=\"" + data + "\"/>";
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string curve_chart(const Chart& chart, const ValueAxis& axis) {
  const Canvas canvas(chart, axis.low, axis.high, kCurveHeight);
  std::string paths;
  for (const Line& line : chart.lines) {
    Path path;
    bool drawing = false;
    for (std::size_t i = 0; i < chart.at.size(); ++i) {
      const bool known = std::isfinite(line.values[i]);
      if (known && drawing) path.line(canvas.x(chart.at[i]), canvas.y(line.values[i]));
      if (known && !drawing) path.move(canvas.x(chart.at[i]), canvas.y(line.values[i]));
      if (!known && drawing) path.dot_if_alone();
      drawing = known;
    }
    if (drawing) path.dot_if_alone();
    if (!path.text().empty()) paths += path_element(line, "curve", path.text());
  }
  return canvas.open("curves") + canvas.shades() + canvas.grid(axis.ticks) +
         canvas.in_tenths(paths) + canvas.marks() + canvas.close();
}

std::string share_chart(const Chart& chart) {
  const Canvas canvas(chart, 0, 1, kShareHeight);
  std::vector<double> below(chart.at.size(), 0.0);
  std::string paths;
  for (const Line& line : chart.lines) {
    std::vector<double> top = below;
    for (std::size_t i = 0; i < top.size(); ++i)
      top[i] += std::isfinite(line.values[i]) ? line.values[i] : 0;
    Path path;
    for (std::size_t i = 0; i < top.size(); ++i) {
      const double x = canvas.x(chart.at[i]);
      i == 0 ? path.move(x, canvas.y(top[i])) : path.line(x, canvas.y(top[i]));
    }
    for (std::size_t i = top.size(); i-- > 0;)
      path.line(canvas.x(chart.at[i]), canvas.y(below[i]));
    if (!top.empty()) paths += path_element(line, "layer", path.text() + "z");
    below = std::move(top);
  }
  const std::vector<Tick> ticks{{0, "0 %"}, {0.5, "50 %"}, {1, "100 %"}};
  return canvas.open("shares") + canvas.grid(ticks) + canvas.in_tenths(paths) + canvas.marks() +
         canvas.close();
}

std::vector<double> sliding_mean(std::span<const double> values,
                                 std::span<const std::uint64_t> count, std::size_t span) {
  std::vector<double> means;
  for (std::size_t i = 0; i < values.size(); ++i) {
    double sum = 0;
    double weight = 0;
    for (std::size_t j = i + 1 >= span ? i + 1 - span : 0; j <= i; ++j) {
      if (!std::isfinite(values[j])) continue;
      sum += values[j] * static_cast<double>(count[j]);
      weight += static_cast<double>(count[j]);
    }
    means.push_back(weight > 0 ? sum / weight : std::nan(""));
  }
  return means;
}

ValueAxis axis_around(std::span<const double> main,
                      const std::vector<std::span<const double>>& all) {
  const auto known = [](std::span<const double> from, std::vector<double>& into) {
    std::copy_if(from.begin(), from.end(), std::back_inserter(into),
                 [](double value) { return std::isfinite(value); });
  };
  std::vector<double> values;
  for (const auto& curve : all)
    known(curve, values);
  std::vector<double> whole_curve;
  known(main, whole_curve);
  if (values.empty()) values = whole_curve;
  if (values.empty()) return value_axis(0, 1);
  std::sort(values.begin(), values.end());
  const std::size_t cut = values.size() / 50;
  double low = values[cut];
  double high = values[values.size() - 1 - cut];
  if (whole_curve.empty()) return value_axis(low, high);
  const auto [least, most] = std::minmax_element(whole_curve.begin(), whole_curve.end());
  const double middle = *least / 2 + *most / 2;
  const double room = 3 * std::max(*most - *least, std::abs(middle) / 4);
  return value_axis(std::min(*least, std::max(low, *least - room)),
                    std::max(*most, std::min(high, *most + room)));
}

}  // namespace accrete::daemon::report
