// accreted as a child of the tool.
#include "daemon/own_daemon.h"

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace accrete::daemon {

Result<OwnDaemon> OwnDaemon::start(const std::string& config, const std::string& log) {
  std::error_code fault;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", fault);
  const std::string program = (self.parent_path() / "accreted").string();
  if (::access(program.c_str(), X_OK) != 0) {
    return Error{Errc::Unavailable, program +
                                        " cannot be run; start accreted yourself and give "
                                        "its configuration with --config"};
  }
  const int output = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (output < 0) {
    return Error{Errc::Unavailable, log + ": cannot be written: " +
                                        std::error_code(errno, std::system_category()).message()};
  }
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child == 0) {
    // Between fork and exec only what a signal handler may call.
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != parent) ::_exit(1);
    ::setpgid(0, 0);  // an interrupt from the terminal is for us; we stop it in order
    ::dup2(output, STDOUT_FILENO);
    ::dup2(output, STDERR_FILENO);
    sigset_t none;
    sigemptyset(&none);
    ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
    ::execl(program.c_str(), program.c_str(), "--config", config.c_str(), nullptr);
    ::_exit(127);
  }
  ::close(output);
  if (child < 0) return Error{Errc::Unavailable, program + ": cannot be started"};
  return OwnDaemon(child, log);
}

OwnDaemon::OwnDaemon(OwnDaemon&& other) noexcept
    : child_(std::exchange(other.child_, -1)), log_(std::move(other.log_)) {}

OwnDaemon::~OwnDaemon() {
  if (child_ < 0) return;
  ::kill(child_, SIGTERM);
  ::waitpid(child_, nullptr, 0);
}

Status OwnDaemon::alive() {
  int status = 0;
  if (child_ >= 0 && ::waitpid(child_, &status, WNOHANG) != child_) return Ok{};
  child_ = -1;
  return Error{Errc::Unavailable, "accreted has ended; why: " + log_};
}

}  // namespace accrete::daemon
