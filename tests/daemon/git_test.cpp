// Git histories: rows, order, times, and that a later pull only appends.
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "daemon/row_source.h"
#include "daemon/subprocess.h"
#include "source_text.h"

namespace accrete::daemon {
namespace {

void git(const std::string& folder, std::vector<std::string> arguments,
         const std::string& input = "") {
  arguments.insert(arguments.begin(), {"git", "-C", folder});
  Result<Subprocess> process = Subprocess::start(arguments, input, "GIT_");
  ASSERT_TRUE(process);
  const Status finished = process.value().finish();
  ASSERT_TRUE(finished) << finished.error().detail;
}

/// Histories as fast-import streams: dates in seconds, `files` as its own commands.
class History {
 public:
  History() { git(folder_.path(), {"init", "-q", "-b", "main", "."}); }

  /// One commit on `branch`; returns its mark.
  int commit(const std::string& branch, std::int64_t date_s, const std::string& files,
             const std::vector<int>& parents = {}, const std::string& mail = "Ann@Example.org") {
    const std::string who = "A <" + mail + "> " + std::to_string(date_s) + " +0000\n";
    stream_ += "commit refs/heads/" + branch + "\nmark :" + std::to_string(++mark_) + "\nauthor " +
               who + "committer " + who + "data 1\nm\n";
    for (std::size_t i = 0; i < parents.size(); ++i) {
      stream_ += (i == 0 ? "from :" : "merge :") + std::to_string(parents[i]) + "\n";
    }
    stream_ += files;
    return mark_;
  }

  /// Import everything described so far; ids of commits stay what they were.
  void import() { git(folder_.path(), {"fast-import", "--quiet", "--force"}, stream_); }

  Lines lines(std::size_t paths_per_commit_max = 2000) const {
    return lines_of(open_git({folder_.path(), paths_per_commit_max}));
  }
  const std::string& path() const { return folder_.path(); }

 private:
  Folder folder_;
  std::string stream_;
  int mark_ = 0;
};

std::string file(const std::string& path, const std::string& text) {
  return "M 100644 inline " + path + "\ndata " + std::to_string(text.size()) + "\n" + text + "\n";
}

/// Rows of one table, without the layout and hashes of commits, which are of no interest.
Lines rows(const Lines& lines, const std::string& table) {
  Lines out;
  for (const std::string& line : lines) {
    if (line.rfind("+ " + table + " ", 0) != 0) continue;
    std::string row = line.substr(table.size() + 3);
    for (std::size_t at = 0; at < row.size();) {
      std::size_t end = at;
      while (end < row.size() && std::isxdigit(static_cast<unsigned char>(row[end])) != 0)
        ++end;
      if (end - at == 40) {
        row.replace(at, 40, "C");
        end = at + 1;
      }
      at = end == at ? at + 1 : end;
    }
    out.push_back(row);
  }
  return out;
}

TEST(GitSource, RowsOfAHistory) {
  History history;
  const int first = history.commit(
      "main", 86'400, file("src/a.cc", "1") + file(".hidden", "h") + file("\"x y\\nz\"", "2"));
  const int second =
      history.commit("main", 90'000, "R src/a.cc lib/b.tar.gz\n", {first}, "ANN@example.ORG");
  history.commit("main", 93'600, file("lib/b.tar.gz", "3"), {second}, "bob@example.org");
  history.import();
  const Lines lines = history.lines();
  ASSERT_GT(lines.size(), 5u) << lines.back();
  EXPECT_EQ(Lines(lines.begin(), lines.begin() + 5),
            (Lines{"#1", "layout authors: author_id first_seen",
                   "layout files: file_id path top dir extension first_seen",
                   "layout commits: commit_id author_id time files_changed",
                   "layout changes: change_id commit_id file_id action time"}));
  const Lines authors = rows(lines, "authors");
  ASSERT_EQ(authors.size(), 2u);  // addresses differ in case only
  EXPECT_EQ(authors[0].find('@'), std::string::npos);
  EXPECT_EQ(authors[0].substr(12), "'|1970-01-02T00:00:00Z");
  EXPECT_EQ(authors[1].substr(12), "'|1970-01-02T02:00:00Z");
  EXPECT_EQ(rows(lines, "files"),
            (Lines{".hidden'|.hidden'|.'|.'|NULL|1970-01-02T00:00:00Z",
                   "src/a.cc'|src/a.cc'|src'|src'|cc'|1970-01-02T00:00:00Z",
                   "x y\nz'|x y\nz'|.'|.'|NULL|1970-01-02T00:00:00Z",
                   "lib/b.tar.gz'|lib/b.tar.gz'|lib'|lib'|gz'|1970-01-02T01:00:00Z"}));
  EXPECT_EQ(rows(lines, "changes"), (Lines{"C:1'|C'|.hidden'|A'|1970-01-02T00:00:00Z",
                                           "C:2'|C'|src/a.cc'|A'|1970-01-02T00:00:00Z",
                                           "C:3'|C'|x y\nz'|A'|1970-01-02T00:00:00Z",
                                           // A rename is a file that goes and one that comes.
                                           "C:1'|C'|lib/b.tar.gz'|A'|1970-01-02T01:00:00Z",
                                           "C:2'|C'|src/a.cc'|D'|1970-01-02T01:00:00Z",
                                           "C:1'|C'|lib/b.tar.gz'|M'|1970-01-02T02:00:00Z"}));
  const Lines commits = rows(lines, "commits");
  ASSERT_EQ(commits.size(), 3u);
  EXPECT_EQ(commits[0].substr(0, 3), "C'|");
  EXPECT_EQ(commits[0].substr(commits[0].find("1970")), "1970-01-02T00:00:00Z|3");

  const Lines small = history.lines(2);
  EXPECT_EQ(rows(small, "commits"), commits);
  EXPECT_EQ(rows(small, "changes").size(), 3u);
  EXPECT_EQ(rows(small, "files").size(), 2u);
}

TEST(GitSource, ABranchComesWhenItIsMergedAndLaterPullsAppend) {
  History history;
  const int root = history.commit("main", 1'000'000, file("root", "1"));
  const int old_branch = history.commit("side", 1'001'000, file("side1", "1"), {root});
  const int main2 = history.commit("main", 1'002'000, file("main2", "1"), {root});
  history.import();
  const Lines before = history.lines();
  EXPECT_EQ(rows(before, "files").size(), 2u);

  const int side2 = history.commit("side", 1'003'000, file("side2", "1"), {old_branch});
  const int merge = history.commit("main", 1'500'000, "", {main2, side2});
  history.commit("main", 1'600'000, file("main3", "1"), {merge});
  history.import();
  const Lines after = history.lines();
  ASSERT_GT(after.size(), before.size());
  EXPECT_EQ(Lines(after.begin(), after.begin() + static_cast<std::ptrdiff_t>(before.size())),
            before);
  Lines files;
  for (const std::string& row : rows(after, "files")) {
    files.push_back(row.substr(0, row.find('\'')) + row.substr(row.rfind('|')));
  }
  // The branch's own dates are older than main2; it became known with the merge.
  EXPECT_EQ(files, (Lines{"root|1970-01-12T13:46:40Z", "main2|1970-01-12T14:20:00Z",
                          "side1|1970-01-18T08:40:00Z", "side2|1970-01-18T08:40:00Z",
                          "main3|1970-01-19T12:26:40Z"}));
  EXPECT_EQ(rows(after, "commits").size(), 5u);  // the merge itself has no row
}

TEST(GitSource, SmallStepsBackInTimeAreClocks) {
  History history;
  const int first = history.commit("main", 1'000'000, file("a", "1"));
  const int second = history.commit("main", 999'990, file("a", "2"), {first});
  history.commit("main", 500'000, file("a", "3"), {second});
  history.import();
  Lines times;
  for (const std::string& row : rows(history.lines(), "changes")) {
    times.push_back(row.substr(row.rfind('|') + 1));
  }
  EXPECT_EQ(times, (Lines{"1970-01-12T13:46:40Z", "1970-01-12T13:46:40Z", "1970-01-06T18:53:20Z"}));
}

TEST(GitSource, EmptyCommitsAndBytesThatAreNoText) {
  History history;
  const int first = history.commit("main", 1'000'000, "");
  history.commit("main", 1'000'001, file("\"b\\377d\"", "1"), {first});
  history.import();
  const Lines lines = history.lines();
  EXPECT_EQ(rows(lines, "commits").size(), 2u);
  ASSERT_EQ(rows(lines, "files").size(), 1u);
  EXPECT_EQ(rows(lines, "files")[0].substr(0, 7), "b\\xffd'");
}

TEST(GitSource, ManyCommits) {
  History history;
  int parent = 0;
  constexpr int kCommits = 3000;
  for (int i = 0; i < kCommits; ++i) {
    parent =
        history.commit("main", 1'000'000 + i, file("f" + std::to_string(i % 7), std::to_string(i)),
                       parent == 0 ? std::vector<int>{} : std::vector<int>{parent});
  }
  history.import();
  const Lines lines = history.lines();
  EXPECT_EQ(rows(lines, "commits").size(), static_cast<std::size_t>(kCommits));
  EXPECT_EQ(rows(lines, "changes").size(), static_cast<std::size_t>(kCommits));
  EXPECT_EQ(rows(lines, "files").size(), 7u);
}

TEST(GitSource, Faults) {
  const Folder folder;
  const Lines none = lines_of(open_git({folder.path()}));
  EXPECT_NE(none[0].find("is no git repository"), std::string::npos) << none[0];
  const Lines missing = lines_of(open_git({folder.path() + "/missing"}));
  EXPECT_NE(missing[0].find("is no git repository"), std::string::npos) << missing[0];
  git(folder.path(), {"init", "-q", "."});
  const Lines empty = lines_of(open_git({folder.path()}));
  EXPECT_NE(empty[0].find("has no commit"), std::string::npos) << empty[0];
}

}  // namespace
}  // namespace accrete::daemon
