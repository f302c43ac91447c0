// accretectl top: the daemon's state in a terminal, again and again.
#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <stream.pb.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/ctl_commands.h"
#include "daemon/ctl_endpoint.h"
#include "daemon/terminal.h"
#include "daemon/top_frame.h"
#include "stream/fault.h"
#include "stream/socket.h"

namespace accrete::daemon {
namespace {

using std::chrono::milliseconds;

struct TopFlags {
  EndpointFlags endpoint;
  std::string control;
  std::uint64_t timeout_s = 10;
  double every_s = 2;
  bool once = false;
};

top::Size terminal_size() {
  winsize found{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &found) != 0 || found.ws_col == 0) {
    const char* columns = std::getenv("COLUMNS");  // NOLINT(concurrency-mt-unsafe): nobody sets it
    const auto wanted = columns == nullptr ? 0UL : std::strtoul(columns, nullptr, 10);
    return {wanted == 0 ? 80 : wanted, 0};
  }
  return {found.ws_col, found.ws_row};
}

/// The whole terminal while it lives: no echo, no cursor, a screen of its own. What was there
/// before is there again afterwards.
class Screen {
 public:
  Screen() {
    ::tcgetattr(STDIN_FILENO, &before_);
    termios mode = before_;
    mode.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    mode.c_cc[VSUSP] = _POSIX_VDISABLE;  // Ctrl-Z would leave the terminal like this
    ::tcsetattr(STDIN_FILENO, TCSADRAIN, &mode);
    put("\x1b[?1049h\x1b[?25l");
  }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;
  ~Screen() {
    put("\x1b[?25h\x1b[?1049l");
    ::tcsetattr(STDIN_FILENO, TCSADRAIN, &before_);
  }

  void draw(const top::State& state) const {
    top::Size size = terminal_size();
    const std::size_t rows = std::max<std::size_t>(size.lines, 2);
    size.lines = rows - 1;
    std::string text = "\x1b[H";
    for (const std::string& line : top::frame(state, size, true))
      text += line + "\x1b[K\n";
    // The last line has no end: that would scroll.
    put(text + "\x1b[J\x1b[" + std::to_string(rows) + ";1Hq quits");
  }

 private:
  static void put(const std::string& text) {
    terminal::print(text);
    terminal::flush();
  }

  termios before_{};
};

/// Signals that end or redraw, as a descriptor to wait on. They stay blocked: no more is done
/// after them than to leave.
class Signals {
 public:
  Signals() {
    sigset_t wanted;
    sigemptyset(&wanted);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGWINCH})
      sigaddset(&wanted, signal);
    ::pthread_sigmask(SIG_BLOCK, &wanted, nullptr);
    fd_ = ::signalfd(-1, &wanted, SFD_NONBLOCK | SFD_CLOEXEC);
    ACCRETE_CHECK(fd_ >= 0);
  }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  ~Signals() { ::close(fd_); }

  int fd() const { return fd_; }
  /// The next that has come; 0: none.
  int next() const {
    signalfd_siginfo info{};
    return ::read(fd_, &info, sizeof info) == sizeof info ? static_cast<int>(info.ssi_signo) : 0;
  }

 private:
  int fd_ = -1;
};

class Top {
 public:
  Top(const TopFlags& flags, std::string address, stream::Socket dealer)
      : flags_(flags), address_(std::move(address)), dealer_(std::move(dealer)) {
    if (!flags.once && ::isatty(STDIN_FILENO) == 1 && ::isatty(STDOUT_FILENO) == 1)
      screen_.emplace();
  }

  /// Until somebody ends it. Errors: Unavailable: no first answer; as the daemon's fault.
  Status run();

 private:
  Status ask();
  /// Take what has come; true once it is a new state.
  Result<bool> hear();
  Status show();
  /// Whether to go on.
  bool obey();

  const TopFlags& flags_;
  std::string address_;
  Signals signals_;
  stream::Socket dealer_;
  std::optional<Screen> screen_;
  top::State state_;
  std::uint64_t request_ = 0;
  double asked_at_ = 0;
  bool waiting_ = false;    // for an answer
  double told_at_ = 0;      // when state_ came; 0: not yet
  std::uint64_t told_ = 0;  // answers so far
};

Status Top::ask() {
  wire::ToControl question;
  question.set_request(++request_);
  question.mutable_status()->set_alarms(true);
  question.mutable_status()->set_course(true);
  question.mutable_status()->set_letters(1);
  ACCRETE_DO(dealer_.send(question.SerializeAsString()));
  asked_at_ = steady_seconds();
  waiting_ = true;
  return Ok{};
}

Result<bool> Top::hear() {
  std::vector<stream::Frame> frames;
  ACCRETE_TRY(const bool received, dealer_.receive(frames));
  if (!received) return false;
  const std::string_view bytes = frames.back().view();
  wire::FromControl answer;
  if (!answer.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return Error{Errc::Malformed, address_ + " does not answer as a control socket"};
  if (answer.request() != request_) return hear();  // to a question that was given up
  if (answer.has_fault()) return stream::error_of(answer.fault());
  ACCRETE_TRY(report::Running running, report::read_running(answer.json(), address_));
  ACCRETE_TRY(report::Report report, report::read_status(answer.json(), address_));
  const double now = steady_seconds();
  if (told_ > 0) state_.rates = top::rates_of(state_.running, running, now - told_at_);
  state_.running = std::move(running);
  state_.tasks = std::move(report.tasks);
  state_.trouble.clear();
  told_at_ = now;
  ++told_;
  waiting_ = false;
  return true;
}

Status Top::show() {
  if (screen_) {
    screen_->draw(state_);
    return Ok{};
  }
  top::Size size = terminal_size();
  size.lines = 0;
  std::string text = told_ > 1 && !flags_.once ? "\n" : "";
  for (const std::string& line : top::frame(state_, size, false))
    text += line + "\n";
  terminal::print(text);
  terminal::flush();
  return Ok{};
}

bool Top::obey() {
  while (const int signal = signals_.next()) {
    if (signal != SIGWINCH) return false;
    if (screen_ && told_ > 0) screen_->draw(state_);
  }
  return true;
}

Status Top::run() {
  // One frame shows rates too, so it takes two answers.
  const double every = flags_.once ? std::min(flags_.every_s, 1.0) : flags_.every_s;
  ACCRETE_DO(ask());
  for (;;) {
    const double now = steady_seconds();
    if (waiting_ && now - asked_at_ >= static_cast<double>(flags_.timeout_s)) {
      const std::string trouble = "no answer from " + address_ + " in " +
                                  std::to_string(flags_.timeout_s) +
                                  " s; is accreted running, and does it listen there?";
      if (told_ == 0 || flags_.once) return Error{Errc::Unavailable, trouble};
      state_.trouble = trouble + " This is " + terminal::seconds_text(now - told_at_) + " old";
      ACCRETE_DO(show());
      ACCRETE_DO(ask());
    } else if (!waiting_ && now - asked_at_ >= every) {
      ACCRETE_DO(ask());
    }
    const double until =
        asked_at_ + (waiting_ ? static_cast<double>(flags_.timeout_s) : every) - steady_seconds();
    std::array<stream::Waiting, 3> items{};
    items[0].socket = &dealer_;
    items[1].fd = signals_.fd();
    items[2].fd = STDIN_FILENO;
    // Keys are read only where they come one by one.
    const std::span<stream::Waiting> all(items.data(), screen_ ? 3 : 2);
    ACCRETE_TRY([[maybe_unused]] const bool some,
                stream::wait(all, milliseconds(std::max(1, static_cast<int>(until * 1e3)))));
    if (!obey()) return Ok{};
    if (screen_ && items[2].readable) {
      char key = 0;
      if (::read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q') return Ok{};
    }
    ACCRETE_TRY(const bool heard, hear());
    if (!heard || (flags_.once && told_ < 2)) continue;
    ACCRETE_DO(show());
    if (flags_.once) return Ok{};
  }
}

Status run_top(const TopFlags& flags, const Config& config) {
  ACCRETE_TRY(const stream::EndpointOptions endpoint,
              endpoint_of(flags.endpoint, config,
                          flags.control.empty() ? config.endpoints.control : flags.control));
  const stream::Context context;
  ACCRETE_TRY(stream::Socket dealer,
              stream::Socket::connect(context.get(), stream::SocketKind::Dealer, endpoint));
  return Top(flags, endpoint.address, std::move(dealer)).run();
}

}  // namespace

void add_top(CLI::App& app, Exit& exit) {
  CLI::App* command = app.add_subcommand(
      "top",
      "the daemon's state in a terminal, again and again: rates, lag, stages, every task beside "
      "its baselines, drift, experts, subscribers. q or Ctrl-C ends it. Where the output is no "
      "terminal, frames of plain text one after another");
  const auto flags = std::make_shared<TopFlags>();
  flags->endpoint.add_to(*command);
  command->add_option("--control", flags->control, "address instead of [endpoints] control");
  command->add_option("--timeout", flags->timeout_s, "seconds to wait for an answer")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--every", flags->every_s, "seconds between two frames")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  command->add_flag("--once", flags->once,
                    "one frame of plain text, for scripts; it takes a second, for the rates");
  command->footer(
      "Examples:\n"
      "  accretectl top --config accreted.toml\n"
      "  accretectl top --control tcp://127.0.0.1:7704 --every 5\n"
      "  accretectl top --once | grep ^lag");
  command->callback([flags, &exit] {
    const Result<Config> config = config_of(flags->endpoint);
    if (!config) {
      exit = terminal::fail_config(config.error());
      return;
    }
    const Status done = run_top(*flags, config.value());
    exit = done ? Exit::Good : terminal::fail(done.error());
  });
}

}  // namespace accrete::daemon
