// Writing Prometheus text.
#include "daemon/exposition.h"

#include <array>
#include <charconv>
#include <cmath>

namespace accrete::daemon {
namespace {

std::string number_text(double value) {
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  return {text.data(), end};
}

void append_escaped(std::string& out, std::string_view text, bool quotes) {
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\\' || (c == '"' && quotes)) {
      out += '\\';
      out += c;
    } else {
      out += c;
    }
  }
}

}  // namespace

Exposition& Exposition::family(std::string_view name, std::string_view type,
                               std::string_view help) {
  name_ = name;
  out_ += "# HELP " + name_ + " ";
  append_escaped(out_, help, false);
  out_ += "\n# TYPE " + name_ + " ";
  out_ += type;
  out_ += "\n";
  return *this;
}

Exposition& Exposition::sample(double value, Labels labels) {
  if (!std::isnan(value)) line("", value, labels, "");
  return *this;
}

Exposition& Exposition::histogram(const Histogram& histogram, Labels labels) {
  std::uint64_t below = 0;
  for (std::size_t i = 0; i < Histogram::kBounds; ++i) {
    below += histogram.counts[i];
    line("_bucket", static_cast<double>(below), labels, number_text(Histogram::bound(i)));
  }
  below += histogram.counts[Histogram::kBounds];
  line("_bucket", static_cast<double>(below), labels, "+Inf");
  line("_sum", static_cast<double>(histogram.sum_us) / 1e6, labels, "");
  line("_count", static_cast<double>(below), labels, "");
  return *this;
}

void Exposition::line(std::string_view suffix, double value, Labels labels,
                      std::string_view bound) {
  out_ += name_;
  out_ += suffix;
  const char* open = "{";
  const auto label = [&](std::string_view name, std::string_view text) {
    out_ += std::exchange(open, ",");
    out_ += name;
    out_ += "=\"";
    append_escaped(out_, text, true);
    out_ += '"';
  };
  for (const auto& [name, text] : labels)
    label(name, text);
  if (!bound.empty()) label("le", bound);
  if (*open == ',') out_ += '}';
  out_ += ' ' + number_text(value) + '\n';
}

}  // namespace accrete::daemon
