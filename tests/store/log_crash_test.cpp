// kill -9 in the middle of appending, again and again: what was acknowledged is there, rows and
// positions agree, and the log is a prefix of what was written.
#include <array>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scratch.h"
#include "store/log.h"

namespace accrete::store {
namespace {

constexpr const char* kFolder = "ACCRETE_CRASH_FOLDER";

/// Transaction `position` has this many records, each saying its position.
std::size_t records_of(std::uint64_t position) {
  return 1 + position % 7;
}

LogSlice transaction(Ordinal first, SourceId source, std::uint64_t position) {
  LogSlice slice;
  slice.first = first;
  for (std::size_t i = 0; i < records_of(position); ++i) {
    std::string bytes;
    encode_mark({MarkKind::Clock, TimeUs{static_cast<std::int64_t>(position)}}, bytes);
    slice.append({source, position, i + 1 == records_of(position)}, bytes);
  }
  return slice;
}

/// The process that is killed: appends for ever and acknowledges each position on stdout.
TEST(LogCrash, DISABLED_Writer) {
  const char* folder = std::getenv(kFolder);  // NOLINT(concurrency-mt-unsafe): one thread so far
  ASSERT_NE(folder, nullptr);
  DatabaseOptions options;
  options.path = folder;
  options.memtable_bytes = 1u << 20;
  const auto database = must(Database::open(options));
  Log log = must(Log::open(*database));
  const SourceId source = must(log.source("crash"));
  for (std::uint64_t position = log.position(source) + 1;; ++position) {
    const Log::Advance advance{source, position};
    must(log.append(transaction(Ordinal{log.end().value + 1}, source, position), {&advance, 1}));
    // An acknowledgement starts with a byte that nothing gtest prints before it contains.
    std::array<char, 9> acknowledgement{'\x01'};
    std::memcpy(acknowledgement.data() + 1, &position, sizeof position);
    if (::write(STDOUT_FILENO, acknowledgement.data(), 9) != 9) return;
  }
}

/// Run the writer until it has acknowledged `count` transactions, kill it; the last one it said.
std::uint64_t run_and_kill(const std::string& folder, int count) {
  std::array<int, 2> pipe_ends{};
  EXPECT_EQ(::pipe(pipe_ends.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(pipe_ends[1], STDOUT_FILENO);
    ::close(pipe_ends[0]);
    ::setenv(kFolder, folder.c_str(), 1);  // NOLINT(concurrency-mt-unsafe): a forked child
    ::execl("/proc/self/exe", "writer", "--gtest_filter=LogCrash.DISABLED_Writer",
            "--gtest_also_run_disabled_tests", nullptr);
    ::_exit(1);
  }
  ::close(pipe_ends[1]);
  std::uint64_t last = 0;
  char byte = 0;
  for (int seen = 0; seen < count && ::read(pipe_ends[0], &byte, 1) == 1;) {
    if (byte != '\x01') continue;
    std::array<char, 8> position{};
    std::size_t got = 0;
    while (got < 8) {
      const ssize_t size = ::read(pipe_ends[0], position.data() + got, 8 - got);
      if (size <= 0) break;
      got += static_cast<std::size_t>(size);
    }
    std::memcpy(&last, position.data(), 8);
    ++seen;
  }
  ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status));
  ::close(pipe_ends[0]);
  return last;
}

TEST(LogCrash, AcknowledgedRowsSurviveAndPositionsAgree) {
  Scratch scratch;
  for (int round = 0; round < 20; ++round) {
    const std::uint64_t acknowledged = run_and_kill(scratch.path(), 1 + 17 * round % 60);
    ASSERT_GT(acknowledged, 0u);
    const auto database = open_database(scratch);
    Log log = must(Log::open(*database));
    const std::uint64_t position = log.position(must(log.source("crash")));
    EXPECT_GE(position, acknowledged);
    std::uint64_t records = 0;
    for (std::uint64_t i = 1; i <= position; ++i)
      records += records_of(i);
    EXPECT_EQ(log.end().value, records);
    const Log::Verified verified = must(log.verify());
    EXPECT_EQ(verified.records, records);
    EXPECT_EQ(verified.transactions, position);
  }
}

}  // namespace
}  // namespace accrete::store
