// accreted as a child of the tool.
#include "daemon/own_daemon.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/clock.h"

namespace accrete::daemon {
namespace {

constexpr int kTurnMs = 100;
constexpr double kNoteEverySeconds = 5;

std::string reason() {
  return std::error_code(errno, std::system_category()).message();
}

/// A socket as systemd's of sd_notify(3), and its address in the abstract name space.
int open_notify(std::string& address) {
  const int made = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  socklen_t size = sizeof name.sun_family;  // no name: the system finds one
  const bool bound = made >= 0 && ::bind(made, reinterpret_cast<sockaddr*>(&name), size) == 0;
  size = sizeof name;
  if (bound && ::getsockname(made, reinterpret_cast<sockaddr*>(&name), &size) == 0) {
    address.assign(name.sun_path, size - offsetof(sockaddr_un, sun_path));
    address.front() = '@';
    return made;
  }
  if (made >= 0) ::close(made);
  return -1;
}

/// Our environment, with our socket as the one to notify.
std::vector<char*> environment_with(std::string& notify) {
  std::vector<char*> out;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    if (!text.starts_with("NOTIFY_SOCKET=") && !text.starts_with("WATCHDOG_")) {
      out.push_back(*variable);
    }
  }
  out.push_back(notify.data());
  out.push_back(nullptr);
  return out;
}

std::string ending(int status) {
  if (WIFSIGNALED(status)) {
    const int signal = WTERMSIG(status);
    const char* name = ::sigdescr_np(signal);
    return "signal " + std::to_string(signal) + (name == nullptr ? "" : ", " + std::string(name));
  }
  return "exit code " + std::to_string(WEXITSTATUS(status));
}

}  // namespace

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
  if (output < 0) return Error{Errc::Unavailable, log + ": cannot be written: " + reason()};
  const off_t begin = ::lseek(output, 0, SEEK_END);
  std::string address;
  const int notify = open_notify(address);
  if (notify < 0) {
    const std::string why = reason();
    ::close(output);
    return Error{Errc::Unavailable, "no socket to hear accreted with: " + why};
  }
  std::string variable = "NOTIFY_SOCKET=" + address;
  const std::vector<char*> environment = environment_with(variable);
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
    ::execle(program.c_str(), program.c_str(), "--config", config.c_str(), nullptr,
             environment.data());
    ::_exit(127);
  }
  ::close(output);
  OwnDaemon daemon(child, notify, log, begin < 0 ? 0 : static_cast<std::uint64_t>(begin));
  if (child < 0) return Error{Errc::Unavailable, program + ": cannot be started"};
  return daemon;
}

OwnDaemon::OwnDaemon(OwnDaemon&& other) noexcept
    : child_(std::exchange(other.child_, -1)),
      notify_(std::exchange(other.notify_, -1)),
      log_(std::move(other.log_)),
      log_begin_(other.log_begin_) {}

OwnDaemon::~OwnDaemon() {
  close_notify();
  if (child_ < 0) return;
  ::kill(child_, SIGTERM);
  ::waitpid(child_, nullptr, 0);
}

void OwnDaemon::close_notify() {
  if (notify_ >= 0) ::close(std::exchange(notify_, -1));
}

Status OwnDaemon::await_ready(const std::function<bool()>& stopped,
                              const std::function<void(const std::string&)>& note) {
  double told = steady_seconds();
  while (notify_ >= 0 && !stopped()) {
    ACCRETE_DO(alive());
    pollfd item{notify_, POLLIN, 0};
    if (::poll(&item, 1, kTurnMs) <= 0) continue;
    std::array<char, 4096> bytes{};
    const ssize_t size = ::recv(notify_, bytes.data(), bytes.size(), 0);
    const std::string_view text(bytes.data(), static_cast<std::size_t>(size < 0 ? 0 : size));
    // One that nobody reads any more would in the end make the daemon wait: it is closed.
    if (text.starts_with("READY=1")) close_notify();
    constexpr std::string_view status = "STATUS=";
    if (!text.starts_with(status) || steady_seconds() - told < kNoteEverySeconds) continue;
    told = steady_seconds();
    note("accreted is " + std::string(text.substr(status.size(), text.find('\n') - status.size())));
  }
  return Ok{};
}

Status OwnDaemon::alive() {
  int status = 0;
  if (child_ >= 0 && ::waitpid(child_, &status, WNOHANG) != child_) return Ok{};
  child_ = -1;
  // Who is killed has said nothing of it.
  const std::string why = WIFEXITED(status) ? last_fault() : "";
  return Error{Errc::Unavailable,
               "accreted has ended (" + ending(status) + ")" + why + "; its log: " + log_};
}

/// ": …" of the last error in the log of this run; "" if there is none.
std::string OwnDaemon::last_fault() const {
  std::ifstream log(log_, std::ios::binary);
  log.seekg(static_cast<std::streamoff>(log_begin_));
  std::string found;
  for (std::string line; std::getline(log, line);) {
    // As log.cpp writes it to a file, or before there is a log.
    for (const std::string_view mark : {" error ", "accreted: ", "<3>"}) {
      const std::size_t at = line.find(mark);
      if (at == std::string::npos) continue;
      found = ": " + line.substr(at + mark.size());
      break;
    }
  }
  return found;
}

}  // namespace accrete::daemon
