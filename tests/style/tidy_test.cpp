// The house style that a compiler cannot see. One reader, few rules; each message says what to do
// instead. The idea is TigerBeetle's src/tidy.zig.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace accrete {
namespace {

namespace fs = std::filesystem;

using Strings = std::vector<std::string>;

constexpr std::size_t columns_max = 100;
constexpr std::size_t lines_max = 500;

/// Files that may have more lines, each with its reason.
const std::map<std::string, std::size_t, std::less<>> longer = {
    {"stream/clients/python/accrete.py", 1500},  // users copy it: it must be one file
};

/// Folder -> folders its files may include: proto <- {store, models, stream} <- daemon <- the rest.
const std::map<std::string, std::set<std::string>, std::less<>> layers = {
    {"proto", {"proto"}},
    {"store", {"proto", "store"}},
    {"models", {"proto", "models"}},
    {"stream", {"proto", "stream"}},
    {"daemon", {"proto", "store", "models", "stream", "daemon"}},
    {"tests", {"proto", "store", "models", "stream", "daemon", "tests"}},
    {"bench", {"proto", "store", "models", "stream", "daemon", "bench"}},
};

/// What may stand at the top; dot-files and the ignored build folder aside.
const std::set<std::string, std::less<>> top_level = {"CMakeLists.txt", "CMakePresets.json",
                                                      "LICENSE",        "README.md",
                                                      "daemon",         "stream",
                                                      "models",         "store",
                                                      "proto",          "tests",
                                                      "bench"};

/// A word that has a better alternative here, and the path prefixes where it is at home.
struct Banned {
  std::regex pattern;
  std::string instead;
  Strings allowed;
  bool in_comments = false;
};

const std::vector<Banned>& banned() {
  static const std::vector<Banned> rules = {
      {std::regex(R"(<rocksdb/)"), "RocksDB lives in store/ only", {"store/", "tests/", "bench/"}},
      {std::regex(R"([<"]zmq)"), "ZeroMQ lives in stream/ only", {"stream/", "tests/", "bench/"}},
      {std::regex(R"(\breduction\s*\()"), "fixed chunks summed in order, not a reduction", {}},
      {std::regex(R"(\brandom_device\b)"),
       "proto/rng.h; only the name of a socket must differ from run to run",
       {"stream/producer.cpp"}},
      {std::regex(R"(\bs?rand\s*\(|\bmt19937|_distribution<)"),
       "proto/rng.h: a draw is keyed by position and purpose",
       {}},
      {std::regex(
           R"(\b(system|steady|high_resolution)_clock\b|\bgettimeofday\b|\bclock_gettime\b)"),
       "daemon/clock.h: event time comes from the log, never from a clock",
       {"daemon/clock.", "daemon/terminal.", "stream/socket.", "tests/", "bench/"}},
      {std::regex(R"(\bstd::c(out|err|log)\b|\bv?f?printf\s*\(|\bf?puts\s*\()"),
       "daemon/terminal.h for people, the log for operators",
       {"daemon/terminal.", "proto/result.h", "tests/", "bench/"}},
      {std::regex(R"(\bsleep_(for|until)\b|\bu?sleep\s*\()"),
       "wait for the event, not for time",
       {}},
      {std::regex(R"(\.detach\(\))"), "a joined std::jthread", {}},
      {std::regex(R"(\bthrow\b)"), "Result (proto/result.h)", {"tests/"}},
      {std::regex(R"(\bstd::sto(i|l|ll|ul|ull|f|d)\b)"), "std::from_chars: it does not throw", {}},
      {std::regex(R"((^|[^_\w])assert\s*\()"), "ACCRETE_CHECK: it holds in every build", {}},
      {std::regex(R"(\busing namespace std;)"), "the name itself, with std::", {}},
      {std::regex(R"(\b(TODO|FIXME|XXX|HACK)\b)"), "do it now, or open an issue", {}, true},
      {std::regex(R"("/(home|root|Users)/)"),
       "a path relative to the source or a scratch folder",
       {}},
  };
  return rules;
}

bool starts_with_any(std::string_view path, const Strings& prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [&](const std::string& prefix) { return path.starts_with(prefix); });
}

bool ends_with_any(std::string_view path, std::initializer_list<std::string_view> suffixes) {
  return std::any_of(suffixes.begin(), suffixes.end(),
                     [&](std::string_view suffix) { return path.ends_with(suffix); });
}

bool is_cpp(std::string_view path) {
  return ends_with_any(path, {".h", ".cpp"});
}

Strings lines_of(std::string_view text) {
  Strings out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    out.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

/// Characters, not bytes: what a reader counts.
std::size_t width(std::string_view line) {
  return static_cast<std::size_t>(std::count_if(line.begin(), line.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
  }));
}

/// The line without its `//` comment. "ipc://x" is no comment: one has a blank in front of it.
std::string code_of(const std::string& line) {
  for (std::size_t at = line.find("//"); at != std::string::npos; at = line.find("//", at + 2)) {
    if (at == 0 || line[at - 1] == ' ') return line.substr(0, at);
  }
  return line;
}

void check_first_lines(const std::string& path, const Strings& lines, Strings& out) {
  const std::string first = lines.empty() ? "" : lines[0];
  const std::string second = lines.size() < 2 ? "" : lines[1];
  if (is_cpp(path) || path.ends_with(".proto")) {
    if (!first.starts_with("// ")) out.push_back(path + ":1: say in a // comment what the file is");
  } else if (path.ends_with(".py") || path.ends_with(".sh") || first.starts_with("#!")) {
    const bool script = first.starts_with("#!");
    if (!script && path.ends_with(".sh"))
      out.push_back(path + ":1: begin with #!/usr/bin/env bash");
    const std::string& says = script ? second : first;
    if (!says.starts_with("# ") && !says.starts_with("\"\"\"")) {
      out.push_back(path + ": say in a comment or docstring at the top what the file is");
    }
  } else if (path.ends_with("CMakeLists.txt") || path.ends_with(".toml")) {
    if (!first.starts_with("# ")) out.push_back(path + ":1: say in a # comment what the file is");
  }
}

void check_include(const std::string& path, const std::string& where, const std::string& line,
                   Strings& out) {
  static const std::regex quoted(R"re(^\s*#\s*include "([^"]*)")re");
  std::smatch match;
  if (!std::regex_search(line, match, quoted)) return;
  const std::string name = match[1];
  const std::string from = path.substr(0, path.find('/'));
  const std::size_t slash = name.find('/');
  // A test's or bench's own fixture stands beside it.
  if (slash == std::string::npos && (from == "tests" || from == "bench")) return;
  const std::string to = name.substr(0, slash);
  if (slash == std::string::npos || !layers.contains(to)) {
    out.push_back(where + "write our own headers as \"folder/file.h\", others in <>");
  } else if (const auto layer = layers.find(from);
             layer != layers.end() && !layer->second.contains(to)) {
    out.push_back(where + from + " may not include " + to + ": pass a plain struct of proto");
  }
}

/// Everything that is wrong with a file of that path (relative to the top) and text.
Strings violations(const std::string& path, std::string_view text) {
  Strings out;
  const Strings lines = lines_of(text);
  check_first_lines(path, lines, out);
  static const std::regex vague(R"((^|[/_])(utils?|helpers?|misc|common|manager)[_.])");
  if (std::regex_search(path, vague)) out.push_back(path + ": name the file for the noun it holds");
  const auto own = longer.find(path);
  const std::size_t most = own == longer.end() ? lines_max : own->second;
  if (lines.size() > most) {
    out.push_back(path + ": split the file at a noun; " + std::to_string(most) + " lines at most");
  }
  if (path.ends_with(".h") && text.find("\n#pragma once\n") == std::string_view::npos) {
    out.push_back(path + ": a header needs #pragma once");
  }
  if (!is_cpp(path)) return out;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string where = path + ":" + std::to_string(i + 1) + ": ";
    if (width(lines[i]) > columns_max) out.push_back(where + "100 columns at most");
    const std::string code = code_of(lines[i]);
    check_include(path, where, code, out);
    for (const Banned& rule : banned()) {
      if (starts_with_any(path, rule.allowed)) continue;
      if (std::regex_search(rule.in_comments ? lines[i] : code, rule.pattern)) {
        out.push_back(where + "instead: " + rule.instead);
      }
    }
  }
  return out;
}

const fs::path source = ACCRETE_SOURCE_DIR;

/// Our text files, as paths relative to the top, in order.
Strings files() {
  Strings out;
  for (const auto& [folder, allowed] : layers) {
    for (const auto& entry : fs::recursive_directory_iterator(source / folder)) {
      const std::string path = entry.path().lexically_relative(source).string();
      if (entry.is_regular_file() && path.find("__pycache__") == std::string::npos) {
        out.push_back(path);
      }
    }
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::string contents(const std::string& path) {
  std::ifstream file(source / path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(Tidy, EveryFileKeepsTheHouseStyle) {
  std::size_t checked = 0;
  for (const std::string& path : files()) {
    // This file holds the banned words.
    if (path == "tests/style/tidy_test.cpp") continue;
    ++checked;
    for (const std::string& violation : violations(path, contents(path)))
      ADD_FAILURE() << violation;
  }
  EXPECT_GT(checked, 50U);
}

TEST(Tidy, EveryIncludeOfOursExists) {
  const std::regex quoted(R"re(^\s*#include "([^"]+)")re");
  for (const std::string& path : files()) {
    if (!is_cpp(path)) continue;
    for (const std::string& line : lines_of(contents(path))) {
      std::smatch match;
      if (std::regex_search(line, match, quoted)) {
        EXPECT_TRUE(fs::exists(source / match[1].str()) ||
                    fs::exists((source / path).replace_filename(match[1].str())))
            << path << ": " << line;
      }
    }
  }
}

TEST(Tidy, EverySourceFileIsInABuildList) {
  for (const std::string& path : files()) {
    if (!path.ends_with(".cpp")) continue;
    bool listed = false;
    const std::string name = fs::path(path).stem().string();
    for (fs::path folder = fs::path(path).parent_path(); !folder.empty() && !listed;
         folder = folder.parent_path()) {
      const std::string list = contents((folder / "CMakeLists.txt").string());
      // `foreach(noun codec time) … ${noun}_test.cpp` or `… ${noun}.cpp` lists files, too.
      const std::string noun = name.substr(0, name.rfind('_'));
      listed =
          list.find(name + ".cpp") != std::string::npos ||
          std::regex_search(list, std::regex("foreach\\([^)]*\\b(" + name + "|" + noun + ")\\b"));
    }
    EXPECT_TRUE(listed) << path << ": no CMakeLists.txt builds it; list it or delete it";
  }
}

TEST(Tidy, TheTopLevelIsFixed) {
  for (const auto& entry : fs::directory_iterator(source)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(".") || name == "build") continue;
    EXPECT_TRUE(top_level.contains(name)) << name << ": put it into one of the folders";
  }
  for (const std::string& name : top_level)
    EXPECT_TRUE(fs::exists(source / name)) << name;
}

TEST(Tidy, EveryFolderHasAReadme) {
  for (const auto& [folder, allowed] : layers) {
    EXPECT_TRUE(fs::exists(source / folder / "README.md"))
        << folder << ": say what the room is for, with a table of its files";
  }
}

TEST(Tidy, EachRuleCanFail) {
  struct Case {
    std::string path;
    std::string text;
    std::string message;  ///< "" for a file that is in order
  };
  const std::string head = "// A file.\n";
  const std::vector<Case> cases = {
      {"proto/a.cpp", head + "#include \"proto/a.h\"\n", ""},
      {"proto/a.cpp", "#include <vector>\n", "say in a // comment"},
      {"proto/a.cpp", head + "#include \"store/log.h\"\n", "proto may not include store"},
      {"store/a.cpp", head + "#include \"models/ridge.h\"\n", "store may not include models"},
      {"models/a.cpp", head + "#include \"stream/client.h\"\n", "models may not include stream"},
      {"stream/a.cpp", head + "#include \"daemon/fold.h\"\n", "stream may not include daemon"},
      {"bench/a.cpp", head + "#include \"tests/store/scratch.h\"\n", "bench may not include tests"},
      {"store/a.cpp", head + "#include \"log.h\"\n", "\"folder/file.h\""},
      {"store/a.cpp", head + "#include <rocksdb/db.h>\n", ""},
      {"daemon/a.cpp", head + "#include <rocksdb/db.h>\n", "RocksDB lives in store/"},
      {"daemon/a.cpp", head + "#include <zmq.h>\n", "ZeroMQ lives in stream/"},
      {"models/a.cpp", head + "#pragma omp for reduction(+ : sum)\n", "fixed chunks"},
      {"tests/a.cpp", head + "std::mt19937 random;\n", "proto/rng.h"},
      {"daemon/a.cpp", head + "auto t = std::chrono::system_clock::now();\n", "daemon/clock.h"},
      {"daemon/clock.cpp", head + "auto t = std::chrono::system_clock::now();\n", ""},
      {"stream/a.cpp", head + "std::cerr << 1;\n", "daemon/terminal.h"},
      {"stream/a.cpp", head + "std::fprintf(stderr, \"\");\n", "daemon/terminal.h"},
      {"stream/a.cpp", head + "std::snprintf(buffer, 9, \"\");\n", ""},
      {"stream/a.cpp", head + "f();  // not std::cerr\n", ""},
      {"tests/a.cpp", head + "std::this_thread::sleep_for(1s);\n", "wait for the event"},
      {"daemon/a.cpp", head + "std::thread(f).detach();\n", "std::jthread"},
      {"daemon/a.cpp", head + "throw 1;\n", "Result"},
      {"daemon/a.cpp", head + "int i = std::stoi(text);\n", "std::from_chars"},
      {"daemon/a.cpp", head + "assert(ready);\n", "ACCRETE_CHECK"},
      {"daemon/a.cpp", head + "static_assert(ready);\n", ""},
      {"daemon/a.cpp", head + "using namespace std;\n", "with std::"},
      {"daemon/a.cpp", head + "f();  // FIXME later\n", "do it now"},
      {"daemon/a.cpp", head + "open(\"/home/me/db\");\n", "relative"},
      {"daemon/a.h", head + "struct A {};\n", "#pragma once"},
      {"daemon/a.h", head + "#pragma once\nstruct A {};\n", ""},
      {"daemon/a_utils.cpp", head, "noun"},
      {"daemon/common.cpp", head, "noun"},
      {"daemon/a.cpp", head + std::string(101, 'x') + "\n", "100 columns"},
      {"daemon/a.cpp", head + std::string(99, 'x') + "é\n", ""},
      {"daemon/a.py", "import sys\n", "comment or docstring"},
      {"daemon/a.py", "\"\"\"What.\"\"\"\n", ""},
      {"daemon/a.py", "# What.\n" + std::string(500, '\n'), "500 lines at most"},
      {"stream/clients/python/accrete.py", "# What.\n" + std::string(500, '\n'), ""},
      {"stream/clients/python/accrete.py", "# What.\n" + std::string(1500, '\n'), "1500 lines"},
      {"daemon/a.sh", "# What.\n", "#!/usr/bin/env"},
      {"tests/a/b.cpp", head + "#include \"fixture.h\"\n", ""},
      {"daemon/a.py", "#!/usr/bin/env python3\nimport sys\n", "comment or docstring"},
      {"daemon/a.py", "#!/usr/bin/env python3\n\"\"\"What.\"\"\"\n", ""},
      {"tests/run", "#!/usr/bin/env bash\nset -e\n", "comment or docstring"},
      {"store/CMakeLists.txt", "add_library(x)\n", "# comment"},
  };
  for (const Case& c : cases) {
    const Strings found = violations(c.path, c.text);
    if (c.message.empty()) {
      EXPECT_TRUE(found.empty()) << c.path << " " << c.text << found.front();
    } else {
      ASSERT_EQ(found.size(), 1U) << c.path << " " << c.text;
      EXPECT_NE(found.front().find(c.message), std::string::npos) << found.front();
    }
  }
  std::string longest = head;
  for (std::size_t i = 1; i < lines_max; ++i)
    longest += "//\n";
  EXPECT_TRUE(violations("daemon/a.cpp", longest).empty());
  EXPECT_EQ(violations("daemon/a.cpp", longest + "//\n").size(), 1U);
}

}  // namespace
}  // namespace accrete
