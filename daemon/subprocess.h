// A child process whose standard output is read as a stream. No shell in between.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include "proto/result.h"

namespace accrete::daemon {

class Subprocess {
 public:
  /// Start `arguments[0]` (looked up in PATH) with `input` as its standard input.
  /// Variables of the environment that begin with `hide` are not passed on.
  /// Errors: Unavailable if it cannot be started.
  static Result<Subprocess> start(const std::vector<std::string>& arguments, std::string_view input,
                                  std::string_view hide);
  Subprocess(Subprocess&& other) noexcept;
  Subprocess& operator=(Subprocess&&) = delete;
  /// Closes the pipe and waits: a child that still writes gets SIGPIPE.
  ~Subprocess();

  /// Append up to `bytes_max` bytes of its output to `out`; 0 at the end. Errors: Unavailable.
  Result<std::size_t> read(std::string& out, std::size_t bytes_max);

  /// Read what is left and wait for its end. Errors: Unavailable with what it wrote to standard
  /// error, if it failed.
  Status finish();

 private:
  Subprocess(std::string name, pid_t child, int output, int errors)
      : name_(std::move(name)), child_(child), output_(output), errors_(errors) {}
  int wait_for_end();

  std::string name_;
  pid_t child_ = -1;  // -1: waited for
  int output_ = -1;   // read end of its standard output
  int errors_ = -1;   // file that takes its standard error
};

}  // namespace accrete::daemon
