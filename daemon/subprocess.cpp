// A child process whose standard output is read as a stream.
#include "daemon/subprocess.h"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;  // NOLINT: POSIX's own, which no header need declare

namespace accrete::daemon {
namespace {

constexpr std::size_t kDrainBytes = 64u << 10;

std::string reason() {
  return std::generic_category().message(errno);
}

/// A file in memory that goes with its last descriptor; -1 on failure.
int nameless_file() {
  return memfd_create("accrete", MFD_CLOEXEC);
}

bool write_all(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return lseek(file, 0, SEEK_SET) == 0;
}

struct Descriptors {
  int input = -1;
  int output_read = -1;
  int output_write = -1;
  int errors = -1;

  void close_all() {
    for (const int descriptor : {input, output_read, output_write, errors}) {
      if (descriptor >= 0) close(descriptor);
    }
  }
};

bool open_all(Descriptors& out, std::string_view input) {
  out.input = nameless_file();
  out.errors = nameless_file();
  std::array<int, 2> ends{};
  if (out.input < 0 || out.errors < 0 || pipe2(ends.data(), O_CLOEXEC) != 0) return false;
  out.output_read = ends[0];
  out.output_write = ends[1];
  return write_all(out.input, input);
}

int spawn(const std::vector<std::string>& arguments, const Descriptors& files,
          std::string_view hide, pid_t& child) {
  // posix_spawn wants pointers to char that it does not write through.
  std::vector<char*> argument_pointers;
  argument_pointers.reserve(arguments.size() + 1);
  for (const std::string& argument : arguments) {
    argument_pointers.push_back(const_cast<char*>(argument.c_str()));
  }
  argument_pointers.push_back(nullptr);
  std::vector<char*> environment;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (!hide.empty() && std::string_view(*variable).starts_with(hide)) continue;
    environment.push_back(*variable);
  }
  environment.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, files.input, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, files.output_write, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, files.errors, STDERR_FILENO);
  const int fault = posix_spawnp(&child, argument_pointers[0], &actions, nullptr,
                                 argument_pointers.data(), environment.data());
  posix_spawn_file_actions_destroy(&actions);
  return fault;
}

}  // namespace

Result<Subprocess> Subprocess::start(const std::vector<std::string>& arguments,
                                     std::string_view input, std::string_view hide) {
  ACCRETE_CHECK(!arguments.empty());
  Descriptors files;
  if (!open_all(files, input)) {
    const std::string why = reason();
    files.close_all();
    return Error{Errc::Unavailable, arguments[0] + ": no pipe or memory for it: " + why};
  }
  pid_t child = -1;
  if (const int fault = spawn(arguments, files, hide, child); fault != 0) {
    files.close_all();
    return Error{Errc::Unavailable,
                 arguments[0] + " cannot be started: " + std::generic_category().message(fault) +
                     "; is it installed?"};
  }
  close(files.input);
  close(files.output_write);
  return Subprocess(arguments[0], child, files.output_read, files.errors);
}

Subprocess::Subprocess(Subprocess&& other) noexcept
    : name_(std::move(other.name_)),
      child_(std::exchange(other.child_, -1)),
      output_(std::exchange(other.output_, -1)),
      errors_(std::exchange(other.errors_, -1)) {}

Subprocess::~Subprocess() {
  wait_for_end();
  if (errors_ >= 0) close(errors_);
}

int Subprocess::wait_for_end() {
  if (output_ >= 0) close(std::exchange(output_, -1));
  int status = 0;
  if (child_ < 0) return status;
  while (waitpid(child_, &status, 0) < 0 && errno == EINTR) {
  }
  child_ = -1;
  return status;
}

Result<std::size_t> Subprocess::read(std::string& out, std::size_t bytes_max) {
  const std::size_t before = out.size();
  out.resize(before + bytes_max);
  ssize_t got = 0;
  do {
    got = ::read(output_, out.data() + before, bytes_max);
  } while (got < 0 && errno == EINTR);
  out.resize(before + static_cast<std::size_t>(got < 0 ? 0 : got));
  if (got < 0) return Error{Errc::Unavailable, name_ + ": reading its output failed: " + reason()};
  return static_cast<std::size_t>(got);
}

Status Subprocess::finish() {
  std::string rest;
  while (true) {
    rest.clear();
    ACCRETE_TRY(const std::size_t got, read(rest, kDrainBytes));
    if (got == 0) break;
  }
  const int status = wait_for_end();
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return Ok{};
  std::string text(4096, '\0');  // enough for the sentence that matters
  const ssize_t got = pread(errors_, text.data(), text.size(), 0);
  text.resize(static_cast<std::size_t>(got < 0 ? 0 : got));
  while (!text.empty() && text.back() == '\n')
    text.pop_back();
  return Error{Errc::Unavailable, name_ + " failed" + (text.empty() ? "" : ": " + text)};
}

}  // namespace accrete::daemon
