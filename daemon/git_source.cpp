// The history of a git repository as a source of transactions, one commit each.
#include <algorithm>
#include <array>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <unordered_set>
#include <utility>
#include <vector>

#include <simdjson.h>

#include "daemon/git_history.h"
#include "daemon/row_source.h"
#include "daemon/subprocess.h"
#include "proto/codec.h"
#include "proto/hash.h"
#include "proto/limits.h"
#include "proto/schema.h"
#include "proto/value.h"

namespace accrete::daemon {
namespace {

constexpr std::size_t kReadBytes = 256u << 10;
constexpr std::string_view kHex = "0123456789abcdef";
/// Author names stay out of the stream: 48 bits of a hash tell authors apart and no more.
constexpr std::size_t kAuthorDigits = 12;

std::string author_id(std::string_view mail) {
  std::string lower(mail);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  std::uint64_t hash = hash64(lower);
  std::string id;
  for (std::size_t i = 0; i < kAuthorDigits; ++i, hash >>= 4)
    id += kHex[hash & 15];
  return id;
}

/// A path as valid UTF-8: git's paths are bytes, a text is not.
std::string path_text(std::string_view path) {
  if (simdjson::validate_utf8(path.data(), path.size())) return std::string(path);
  std::string out;
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      out += c;
    } else {
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
  return out;
}

struct FileChange {
  std::string path;
  char action = 'M';
};

/// What `git log` says about one commit.
struct CommitText {
  std::string id;
  std::string mail;
  std::vector<FileChange> changes;
};

/// Splits the output of `git log -z --raw` into commits, as it arrives.
class LogReader {
 public:
  explicit LogReader(Subprocess git) : git_(std::move(git)) {}

  /// The next commit; false at the end.
  Result<bool> next(CommitText& out) {
    out.changes.clear();
    if (header_.empty()) {
      ACCRETE_TRY(const bool found, token(header_));
      if (!found) {
        ACCRETE_DO(git_.finish());
        return false;
      }
    }
    ACCRETE_DO(parse_header(out));
    header_.clear();
    std::string path;
    while (true) {
      ACCRETE_TRY(const bool found, token(header_));
      if (!found || header_.front() == kMark) return true;
      // `:100644 100644 aaaaaaa bbbbbbb M`, then the path as a token of its own.
      const bool raw = header_.front() == ':';
      if (raw) {
        ACCRETE_TRY(const bool named, token(path));
        if (!named) return wrong();
        out.changes.push_back({path_text(path), header_[header_.rfind(' ') + 1]});
      } else {
        return wrong();
      }
      header_.clear();
    }
  }

 private:
  static constexpr char kMark = '\x01';

  Error wrong() const {
    return {Errc::Malformed, "git log wrote \"" + header_ + "\", which is no commit and no change"};
  }

  /// `\x01<commit>\x02<mail>`.
  Status parse_header(CommitText& out) const {
    const std::size_t middle = header_.find('\x02');
    if (header_.front() != kMark || middle == std::string::npos) return wrong();
    out.id = header_.substr(1, middle - 1);
    out.mail = header_.substr(middle + 1);
    return Ok{};
  }

  /// The bytes up to the next NUL, without the line break that git puts before a list of changes.
  Result<bool> token(std::string& out) {
    std::size_t end = text_.find('\0', begin_);
    while (true) {
      if (end != std::string::npos) {
        if (text_[begin_] == '\n') ++begin_;
        out.assign(text_, begin_, end - begin_);
        begin_ = end + 1;
        if (!out.empty()) return true;
        end = text_.find('\0', begin_);
        continue;
      }
      text_.erase(0, begin_);
      begin_ = 0;
      const std::size_t seen = text_.size();
      ACCRETE_TRY(const std::size_t got, git_.read(text_, kReadBytes));
      if (got == 0) return false;
      end = text_.find('\0', seen);
    }
  }

  Subprocess git_;
  std::string text_;
  std::size_t begin_ = 0;
  std::string header_;  // of the commit that the last call stopped at
};

enum class TableIndex : std::uint8_t { Authors, Files, Commits, Changes };
constexpr std::size_t kTables = 4;

std::array<Layout, kTables> layouts() {
  return {{{"authors", {"author_id", "first_seen"}},
           {"files", {"file_id", "path", "top", "dir", "extension", "first_seen"}},
           {"commits", {"commit_id", "author_id", "time", "files_changed"}},
           {"changes", {"change_id", "commit_id", "file_id", "action", "time"}}}};
}

std::string source_name(const std::string& repository) {
  std::error_code fault;
  const std::filesystem::path whole = std::filesystem::weakly_canonical(repository, fault);
  const std::string name = "git:" + (fault ? repository : whole.string());
  return name.size() <= limits::name_bytes_max ? name : "git:" + std::to_string(hash64(name));
}

class GitSource final : public RowSource {
 public:
  GitSource(const GitOptions& options, std::vector<LandedCommit> history, Subprocess git)
      : name_(source_name(options.repository)),
        paths_per_commit_max_(options.paths_per_commit_max),
        history_(std::move(history)),
        log_(std::move(git)),
        layouts_(layouts()) {
    for (std::size_t i = 0; i < kTables; ++i)
      hashes_[i] = layouts_[i].hash();
  }

  std::string name() const override { return name_; }

  Result<bool> next(SourceTransaction& out) override {
    out.bytes.clear();
    out.ends.clear();
    out.rows = 0;
    ACCRETE_TRY(const bool found, log_.next(commit_));
    if (!found && position_ == history_.size()) return false;
    if (!found || position_ >= history_.size() || commit_.id != history_[position_].id) {
      return Error{Errc::Unavailable, "the repository changed while it was read; run again"};
    }
    if (position_ == 0) {
      for (const Layout& layout : layouts_) {
        encode_layout(layout, out.bytes);
        close_record(out);
      }
    }
    const Value time = Value::of_time(history_[position_].time);
    out.position = ++position_;
    out.input = hash64(commit_.id);  // which stands for all that is in it
    put_commit(out, time);
    rows_ += out.rows;
    return true;
  }

  /// Measured in commits: git does not say how many bytes it is going to write.
  Progress progress() const override { return {rows_, position_, history_.size()}; }

 private:
  void put_commit(SourceTransaction& out, Value time) {
    const std::string author = author_id(commit_.mail);
    if (authors_.insert(author).second) {
      put(out, TableIndex::Authors, {Value::of_text(author), time});
    }
    const auto files_changed = static_cast<std::int64_t>(commit_.changes.size());
    const bool detailed = commit_.changes.size() <= paths_per_commit_max_;
    if (detailed) {
      for (const FileChange& change : commit_.changes)
        put_file(out, change.path, time);
    }
    put(out, TableIndex::Commits,
        {Value::of_text(commit_.id), Value::of_text(author), time,
         Value::of_integer(files_changed)});
    if (!detailed) return;
    std::size_t number = 0;
    for (const FileChange& change : commit_.changes) {
      const std::string id = commit_.id + ":" + std::to_string(++number);
      put(out, TableIndex::Changes,
          {Value::of_text(id), Value::of_text(commit_.id), Value::of_text(change.path),
           Value::of_text(std::string_view(&change.action, 1)), time});
    }
  }

  void put_file(SourceTransaction& out, const std::string& path, Value time) {
    if (!files_.insert(hash64(path)).second) return;
    const std::size_t slash = path.rfind('/');
    const std::string_view whole = path;
    const std::string_view dir = slash == std::string::npos ? "." : whole.substr(0, slash);
    const std::string_view top =
        slash == std::string::npos ? "." : whole.substr(0, whole.find('/'));
    const std::string_view name = whole.substr(slash == std::string::npos ? 0 : slash + 1);
    const std::size_t dot = name.rfind('.');
    // ".gitignore" is a name, not an extension.
    const Value extension = dot == std::string_view::npos || dot == 0
                                ? Value::null()
                                : Value::of_text(name.substr(dot + 1));
    put(out, TableIndex::Files,
        {Value::of_text(path), Value::of_text(path), Value::of_text(top), Value::of_text(dir),
         extension, time});
  }

  void put(SourceTransaction& out, TableIndex table, std::initializer_list<Value> cells) {
    change_.layout = hashes_[static_cast<std::size_t>(table)];
    change_.cells.assign(cells);
    encode_change(change_, out.bytes);
    close_record(out);
    ++out.rows;
  }

  static void close_record(SourceTransaction& out) {
    ACCRETE_CHECK(out.bytes.size() <= std::numeric_limits<std::uint32_t>::max());
    out.ends.push_back(static_cast<std::uint32_t>(out.bytes.size()));
  }

  std::string name_;
  std::size_t paths_per_commit_max_;
  std::vector<LandedCommit> history_;
  LogReader log_;
  std::array<Layout, kTables> layouts_;
  std::array<std::uint64_t, kTables> hashes_{};
  std::unordered_set<std::string> authors_;  // seen before
  std::unordered_set<std::uint64_t> files_;  // hashes of paths seen before
  CommitText commit_;
  Change change_;
  std::uint64_t position_ = 0;
  std::uint64_t rows_ = 0;
};

}  // namespace

Status check_git_schema(const Schema& schema) {
  const auto wrong = [](const std::string& what) {
    return Error{Errc::Malformed, what +
                                      "; a git history is the tables authors, files, commits and "
                                      "changes as daemon/git.toml configures them"};
  };
  for (const Layout& layout : layouts()) {
    const std::optional<TableId> id = schema.find(layout.table);
    if (!id) return wrong("the configuration has no table \"" + layout.table + "\"");
    const Table& table = schema.table(*id);
    std::vector<ColumnId> asked = table.key;
    if (table.time) asked.push_back(*table.time);
    for (const ForeignKey& key : table.foreign_keys)
      asked.insert(asked.end(), key.columns.begin(), key.columns.end());
    for (const ColumnId column : asked) {
      const std::string& name = table.columns[column.value].name;
      if (std::find(layout.columns.begin(), layout.columns.end(), name) == layout.columns.end())
        return wrong("table \"" + table.name + "\" of the history has no column \"" + name + "\"");
    }
  }
  return Ok{};
}

Result<std::unique_ptr<RowSource>> open_git(const GitOptions& options) {
  ACCRETE_TRY(std::vector<LandedCommit> history, read_history(options.repository));
  std::string ids;
  for (const LandedCommit& commit : history)
    ids += commit.id + "\n";
  ACCRETE_TRY(Subprocess git,
              Subprocess::start(git_command(options.repository,
                                            {"log", "--no-walk=unsorted", "--stdin", "--no-renames",
                                             "--raw", "-z", "--no-color", "--no-ext-diff",
                                             "--no-notes", "--format=%x01%H%x02%aE"}),
                                ids, "GIT_"));
  return std::unique_ptr<RowSource>(
      std::make_unique<GitSource>(options, std::move(history), std::move(git)));
}

}  // namespace accrete::daemon
