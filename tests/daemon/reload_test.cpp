// A configuration read again: what takes effect, what is said to wait, what a bad file changes.
#include "daemon/reload.h"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include "stream/endpoint.h"
#include "stream/socket.h"

namespace accrete::daemon {
namespace {

using Strings = std::vector<std::string>;

constexpr const char* kBase = R"(seed = 1
[log]
level = "info"
[[table]]
name = "customers"
key = "id"
[[table]]
name = "orders"
time = "placed"
foreign_keys = { customer = "customers" }
[[task]]
name = "churn"
predict = "PREDICT EXISTS(orders.*, 0, 2, DAYS) FOR EACH customers.id EVERY 1 DAY"
)";

class Reload : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) /
              (std::string("accrete_reload_") +
               testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(folder_);
    level_ = spdlog::get_level();
  }
  void TearDown() override {
    spdlog::set_level(level_);
    std::filesystem::remove_all(folder_);
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path(name), std::ios::trunc) << text;
  }
  /// The configuration as the daemon started with it.
  Config started(const std::string& text) const {
    write("a.toml", text);
    auto config = load_config(path("a.toml"));
    EXPECT_TRUE(config) << config.error().detail;
    return std::move(config).value();
  }

  std::filesystem::path folder_;
  spdlog::level::level_enum level_ = spdlog::level::info;
  stream::Context context_;
};

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST_F(Reload, SaysWhatWaitsForARestart) {
  const Config running = started(kBase);
  const std::string base = kBase;
  const std::string task = base.substr(base.find("[[task]]"));
  struct Case {
    std::string text;
    Strings needs_restart;
  };
  const std::vector<Case> cases = {
      {base, {}},
      {"# a comment\n" + base, {}},
      {replaced(base, "\"info\"", "\"debug\""), {}},
      {replaced(base, "seed = 1", "seed = 2"), {"seed or threads"}},
      {replaced(base, "seed = 1", "seed = 1\nthreads = 3"), {"seed or threads"}},
      {base + "[limits]\nlateness = \"1 h\"\n[store]\npath = \"x\"\n", {"[store]", "[limits]"}},
      {base + "[endpoints]\ncontrol = \"tcp://127.0.0.1:9\"\n", {"[endpoints]"}},
      {base + "[curve]\nkey_file = \"k\"\n", {"[curve]"}},
      {base + "debounce = \"1 h\"\n", {"[[task]] churn"}},
      {base + "[[table]]\nname = \"shops\"\n", {"[[table]] shops"}},
      {replaced(base, "key = \"id\"", "key = \"id\"\nignore = [\"url\"]"), {"[[table]] customers"}},
      {replaced(base, task, ""), {"[[task]] churn"}},
      {replaced(base, "\"churn\"", "\"leave\""), {"[[task]] leave", "[[task]] churn"}},
      {base + replaced(task, "\"churn\"", "\"leave\""), {"[[task]] leave"}},
  };
  for (const Case& c : cases) {
    write("a.toml", c.text);
    const auto reloaded = reload(running, context_);
    ASSERT_TRUE(reloaded) << reloaded.error().detail << "\n" << c.text;
    EXPECT_EQ(reloaded.value().needs_restart, c.needs_restart) << c.text;
  }
  const Config two = started(base + replaced(task, "\"churn\"", "\"a\""));
  write("a.toml", replaced(base, task, replaced(task, "\"churn\"", "\"a\"")) + task);
  const auto turned = reload(two, context_);
  ASSERT_TRUE(turned) << turned.error().detail;
  EXPECT_EQ(turned.value().needs_restart, Strings{"the order of tables and tasks"});
}

TEST_F(Reload, TheLevelTakesEffect) {
  const Config running = started(kBase);
  write("a.toml", replaced(kBase, "\"info\"", "\"debug\""));
  const auto reloaded = reload(running, context_);
  ASSERT_TRUE(reloaded) << reloaded.error().detail;
  EXPECT_EQ(spdlog::get_level(), spdlog::level::debug);
  EXPECT_EQ(reloaded.value().applied, Strings{"log level debug"});
  EXPECT_EQ(reloaded_json(reloaded.value()),
            R"({"reloaded":["log level debug"],"needs_restart":[]})");
}

TEST_F(Reload, ABadFileChangesNothing) {
  const Config running = started(kBase);
  ASSERT_TRUE(reload(running, context_));
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
           {"seed = 1", "sed = 1"}, {"EXISTS(orders", "EXISTS(odrers"}, {"seed = 1", "seed"}}) {
    write("a.toml", replaced(replaced(kBase, "\"info\"", "\"debug\""), from, to));
    const auto reloaded = reload(running, context_);
    ASSERT_FALSE(reloaded) << to;
    EXPECT_EQ(reloaded.error().code, Errc::Malformed) << reloaded.error().detail;
    EXPECT_NE(reloaded.error().detail.find(path("a.toml")), std::string::npos);
    EXPECT_EQ(spdlog::get_level(), spdlog::level::info);
  }
  std::filesystem::remove(path("a.toml"));
  EXPECT_FALSE(reload(running, context_));
}

/// A socket with an allow-list: does a client's message get through?
class ReloadKeys : public Reload {
 protected:
  bool may_in(const stream::CurveKeys& keys, std::chrono::milliseconds patience) {
    stream::Context clients;
    stream::EndpointOptions options;
    options.address = router_->bound_address();
    options.curve = keys;
    options.curve.server_key = server_.public_key;
    auto socket = stream::Socket::connect(clients.get(), stream::SocketKind::Dealer, options);
    EXPECT_TRUE(socket);
    EXPECT_TRUE(socket.value().send("in"));
    stream::Waiting item{&*router_};
    const bool arrived = stream::wait({&item, 1}, patience).value() && item.readable;
    std::vector<stream::Frame> frames;
    return arrived && router_->receive(frames).value();
  }

  const stream::CurveKeys server_ = stream::make_keys().value();
  std::optional<stream::Socket> router_;
};

TEST_F(ReloadKeys, TheAllowListTakesEffect) {
  constexpr std::chrono::milliseconds kYes{20'000};
  constexpr std::chrono::milliseconds kNo{300};
  const auto ann = stream::make_keys().value();
  const auto bob = stream::make_keys().value();
  write("clients", ann.public_key + "\n");
  const std::string curve = std::string(kBase) + "[curve]\nkey_file = \"k\"\nclients_file = \"" +
                            path("clients") + "\"\n";
  const Config running = started(curve);
  stream::EndpointOptions options;
  options.address = "tcp://127.0.0.1:*";
  options.curve = server_;
  options.curve.allowed = {ann.public_key};
  router_.emplace(
      stream::Socket::bind(context_.get(), stream::SocketKind::Router, options).value());
  EXPECT_FALSE(may_in(bob, kNo));

  write("clients", bob.public_key + " # for ann\n");
  const auto reloaded = reload(running, context_);
  ASSERT_TRUE(reloaded) << reloaded.error().detail;
  EXPECT_EQ(reloaded.value().applied, (Strings{"clients_file, 1 key", "log level info"}));
  EXPECT_TRUE(may_in(bob, kYes));
  EXPECT_FALSE(may_in(ann, kNo));

  write("clients", "nonsense\n");
  const auto refused = reload(running, context_);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().detail.find(path("clients") + ":1"), std::string::npos);
  EXPECT_TRUE(may_in(bob, kYes)) << "the list stays as it was";

  // Another file takes effect; no file at all would open the door, so that wants a restart.
  write("others", ann.public_key + "\n" + bob.public_key + "\n");
  write("a.toml", replaced(curve, path("clients"), path("others")));
  const auto moved = reload(running, context_);
  ASSERT_TRUE(moved) << moved.error().detail;
  EXPECT_EQ(moved.value().applied.front(), "clients_file, 2 keys");
  EXPECT_TRUE(moved.value().needs_restart.empty());
  EXPECT_TRUE(may_in(ann, kYes));
  write("a.toml", curve.substr(0, curve.find("clients_file")));
  const auto opened = reload(running, context_);
  ASSERT_TRUE(opened) << opened.error().detail;
  EXPECT_EQ(opened.value().needs_restart, Strings{"[curve]"});
  EXPECT_FALSE(may_in(stream::make_keys().value(), kNo));
}

}  // namespace
}  // namespace accrete::daemon
