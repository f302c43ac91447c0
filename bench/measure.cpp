// Flags, percentiles, folders and the lines that benches print.
#include "bench/measure.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include <stdlib.h>

namespace accrete::bench {

void add_flags(CLI::App& app, Flags& flags) {
  app.add_flag("--quick", flags.quick, "a tiny run that checks the answer; its speed says little");
  app.add_option("--folder", flags.folder, "where stores are made (the disk that is measured)");
}

void check(bool right, const std::string& what) {
  if (right) return;
  std::fprintf(stderr, "bench: WRONG ANSWER: %s\n", what.c_str());
  std::exit(1);
}

Folder::Folder(const std::string& parent) {
  const char* base = std::getenv("TMPDIR");
  path_ = !parent.empty() ? parent : base != nullptr ? base : "/tmp";
  path_ += "/accrete-bench-XXXXXX";
  check(::mkdtemp(path_.data()) != nullptr, path_ + " cannot be made; give --folder");
}

Folder::~Folder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

double percentile(std::vector<double> samples, double fraction) {
  ACCRETE_CHECK(!samples.empty());
  const double rank = std::ceil(fraction * static_cast<double>(samples.size()));
  const auto index = static_cast<std::ptrdiff_t>(std::max(rank, 1.0)) - 1;
  std::nth_element(samples.begin(), samples.begin() + index, samples.end());
  return samples[static_cast<std::size_t>(index)];
}

void say(const std::string& what, double figure, const std::string& unit) {
  std::printf("%-56s %12.*f %s\n", what.c_str(), figure < 100 ? 2 : 0, figure, unit.c_str());
  static_cast<void>(std::fflush(stdout));
}

void compare(const std::string& what, double ratio, double goal, bool at_least) {
  const bool met = at_least ? ratio >= goal : ratio <= goal;
  std::printf("%-56s %12.2f goal %s %.2f: %s\n", what.c_str(), ratio, at_least ? ">=" : "<=", goal,
              met ? "met" : "MISSED");
  static_cast<void>(std::fflush(stdout));
}

void say_load() {
  double load[1] = {0};
  static_cast<void>(::getloadavg(load, 1));
  std::printf("load average %.1f on %u cores\n", load[0], std::thread::hardware_concurrency());
}

}  // namespace accrete::bench
