// The commits of a repository in an order that later pulls only extend.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "proto/ids.h"
#include "proto/result.h"

namespace accrete::daemon {

/// One commit that is no merge, and when the main line received it.
struct LandedCommit {
  std::string id;  ///< hexadecimal
  TimeUs time;
};

/// Walk the first-parent line of HEAD from its root; before each of its commits come the commits
/// that it brought in (a merged branch), parents before children. So a later pull appends and
/// never inserts, and positions stay what they were. A commit's time is the committer date of the
/// main-line commit that brought it: what nobody had merged, nobody could know.
/// Errors: Malformed if there is no repository or no commit; Unavailable if git fails.
/// Cost:   O(commits) time and memory, some 200 bytes a commit.
Result<std::vector<LandedCommit>> read_history(const std::string& repository);

/// Arguments of a git command on `repository`, unmoved by the user's configuration.
std::vector<std::string> git_command(const std::string& repository,
                                     const std::vector<std::string>& arguments);

}  // namespace accrete::daemon
