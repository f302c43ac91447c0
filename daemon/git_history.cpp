// The commits of a repository in an order that later pulls only extend.
#include "daemon/git_history.h"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "daemon/subprocess.h"
#include "proto/time.h"

namespace accrete::daemon {
namespace {

constexpr std::size_t kReadBytes = 64u << 10;

struct Commit {
  std::string id;
  std::vector<std::uint32_t> parents;
  std::int64_t time_s = 0;
};

class Graph {
 public:
  /// One line of `git rev-list --parents --timestamp`: time, id, parents.
  Status add(std::string_view line) {
    std::int64_t time_s = 0;
    const auto [end, fault] = std::from_chars(line.data(), line.data() + line.size(), time_s);
    if (fault != std::errc() || end == line.data() + line.size()) {
      return Error{Errc::Malformed, "git rev-list wrote \"" + std::string(line) +
                                        "\"; expected time, commit and parents"};
    }
    line.remove_prefix(static_cast<std::size_t>(end - line.data()) + 1);
    std::uint32_t self = 0;
    for (bool first = true; !line.empty(); first = false) {
      const std::size_t blank = std::min(line.find(' '), line.size());
      const std::uint32_t commit = number_of(line.substr(0, blank));
      if (first) {
        self = commit;
        commits_[self].time_s = time_s;
        if (head_ == kNone) head_ = self;  // rev-list begins with HEAD
      } else {
        commits_[self].parents.push_back(commit);
      }
      line.remove_prefix(std::min(blank + 1, line.size()));
    }
    return Ok{};
  }

  std::vector<LandedCommit> landed() {
    std::vector<std::uint32_t> line;
    for (std::uint32_t at = head_; at != kNone;
         at = commits_[at].parents.empty() ? kNone : commits_[at].parents.front()) {
      line.push_back(at);
    }
    std::reverse(line.begin(), line.end());
    emitted_.assign(commits_.size(), false);
    std::vector<LandedCommit> out;
    std::int64_t previous_us = 0;
    for (const std::uint32_t commit : line) {
      std::int64_t time_us = commits_[commit].time_s * kSecondUs;
      // Clocks of different committers disagree a little; a day back is no history.
      if (time_us < previous_us && previous_us - time_us < kDayUs) time_us = previous_us;
      previous_us = time_us;
      emit(commit, TimeUs(time_us), out);
    }
    return out;
  }

 private:
  static constexpr std::uint32_t kNone = 0xFFFF'FFFF;

  std::uint32_t number_of(std::string_view id) {
    const auto [at, added] =
        numbers_.try_emplace(std::string(id), static_cast<std::uint32_t>(commits_.size()));
    if (added) commits_.push_back({std::string(id), {}, 0});
    return at->second;
  }

  /// `root` and its ancestors that were not emitted yet, parents first (depth first, by hand: a
  /// branch may be longer than the stack is deep).
  void emit(std::uint32_t root, TimeUs time, std::vector<LandedCommit>& out) {
    struct Visit {
      std::uint32_t commit;
      std::size_t parent;
    };
    if (emitted_[root]) return;
    emitted_[root] = true;
    std::vector<Visit> stack = {{root, 0}};
    while (!stack.empty()) {
      Visit& top = stack.back();
      const Commit& commit = commits_[top.commit];
      if (top.parent < commit.parents.size()) {
        const std::uint32_t parent = commit.parents[top.parent++];
        if (!emitted_[parent]) {
          emitted_[parent] = true;
          stack.push_back({parent, 0});
        }
        continue;
      }
      if (commit.parents.size() < 2) out.push_back({commit.id, time});
      stack.pop_back();
    }
  }

  std::vector<Commit> commits_;
  std::unordered_map<std::string, std::uint32_t> numbers_;
  std::vector<bool> emitted_;
  std::uint32_t head_ = kNone;
};

}  // namespace

std::vector<std::string> git_command(const std::string& repository,
                                     const std::vector<std::string>& arguments) {
  std::vector<std::string> command = {"git",
                                      "-C",
                                      repository,
                                      "-c",
                                      "log.showSignature=false",
                                      "-c",
                                      "log.showRoot=true",
                                      "-c",
                                      "diff.ignoreSubmodules=none",
                                      "--no-replace-objects",
                                      "--no-pager"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return command;
}

Result<std::vector<LandedCommit>> read_history(const std::string& repository) {
  ACCRETE_TRY(Subprocess check,
              Subprocess::start(git_command(repository, {"rev-parse", "--git-dir"}), "", "GIT_"));
  if (Status found = check.finish(); !found) {
    return Error{Errc::Malformed, repository + " is no git repository: " + found.error().detail};
  }
  ACCRETE_TRY(Subprocess git,
              Subprocess::start(
                  git_command(repository, {"rev-list", "--parents", "--timestamp", "HEAD", "--"}),
                  "", "GIT_"));
  Graph graph;
  std::string text;
  while (true) {
    ACCRETE_TRY(const std::size_t got, git.read(text, kReadBytes));
    std::size_t begin = 0;
    for (std::size_t end = text.find('\n'); end != std::string::npos;
         end = text.find('\n', begin)) {
      ACCRETE_DO(graph.add(std::string_view(text).substr(begin, end - begin)));
      begin = end + 1;
    }
    text.erase(0, begin);
    if (got == 0) break;
  }
  if (Status finished = git.finish(); !finished) {
    return Error{Errc::Malformed,
                 repository + " has no commit that HEAD leads to: " + finished.error().detail};
  }
  return graph.landed();
}

}  // namespace accrete::daemon
