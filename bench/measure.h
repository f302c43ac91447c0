// What every bench needs: flags, clocks, percentiles, a folder on the measured disk, a verdict.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "proto/result.h"

namespace accrete::bench {

/// Flags that all benches have.
struct Flags {
  bool quick = false;  ///< a run of about a second that checks the answer and says little of speed
  std::string folder;  ///< where stores are made; "" = TMPDIR or /tmp
};
void add_flags(CLI::App& app, Flags& flags);

/// The value, or the end of the bench with the error in words.
template <class T>
T must(Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "bench: %s\n", result.error().detail.c_str());
    std::exit(1);
  }
  return std::move(result).value();
}

/// A wrong answer ends the bench: its figures would mean nothing.
void check(bool right, const std::string& what);

/// A fresh folder that is removed with the object.
class Folder {
 public:
  explicit Folder(const std::string& parent);
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder();
  std::string path(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  std::string path_;
};

/// The value below which `fraction` of the samples lie (nearest rank). Checks: samples not empty.
double percentile(std::vector<double> samples, double fraction);

/// One line: what, figure, unit.
void say(const std::string& what, double figure, const std::string& unit);
/// One line: a ratio of this run beside its goal, and whether it is met.
/// `at_least`: the ratio must not be below the goal; else not above it.
void compare(const std::string& what, double ratio, double goal, bool at_least);
/// Load average and cores: how far the absolute figures can be trusted.
void say_load();

}  // namespace accrete::bench
