// Health and readiness by the gauges; the server on a real socket.
#include "daemon/daemon_pages.h"

#include <string>
#include <vector>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/http_address.h"

namespace accrete::daemon {
namespace {

class DaemonPagesTest : public testing::Test {
 protected:
  HttpAnswer get(std::string_view path, double now) { return pages.answer(path, now); }

  Gauges gauges;
  StatusBoard board;
  std::string failure;
  std::size_t waiting = 0;
  std::uint64_t turns = 0;
  DaemonPages pages{{&gauges, &board, [this] { return failure; }, [this] { return waiting; },
                     [] { return std::uint64_t{77}; }, [this] { return turns; }}};
};

TEST_F(DaemonPagesTest, ReadyIsCaughtUp) {
  gauges.recover_until = 1000;
  gauges.recovered = 400;
  EXPECT_EQ(get("/readyz", 1).status, 503u);
  EXPECT_EQ(get("/readyz", 1).body, "folding the log: 400 of 1000 records\n");
  EXPECT_EQ(get("/healthz", 1).status, 200u);
  gauges.caught_up_ms = 2'000;
  EXPECT_EQ(get("/readyz", 6.9).status, 200u);
  waiting = 3;
  EXPECT_EQ(get("/readyz", 7.5).status, 503u);
  EXPECT_EQ(get("/readyz", 7.5).body,
            "behind: 3 groups wait for the fold, the oldest for up to 6 s\n");
  gauges.caught_up_ms = 7'000;
  EXPECT_EQ(get("/readyz", 7.5).status, 200u);
  failure = "fold: the disk is full";
  EXPECT_EQ(get("/readyz", 7.5).body, "fold: the disk is full\n");
  EXPECT_EQ(get("/healthz", 7.5).status, 503u);
}

TEST_F(DaemonPagesTest, AStuckFoldIsNotHealthy) {
  turns = 5;
  EXPECT_EQ(get("/healthz", 10).status, 200u);
  EXPECT_EQ(get("/healthz", 130).status, 200u);
  EXPECT_EQ(get("/healthz", 131).status, 503u);
  ++turns;
  EXPECT_EQ(get("/healthz", 132).status, 200u);
}

TEST_F(DaemonPagesTest, StatusIsWhatTheFoldWroteLast) {
  EXPECT_EQ(get("/statusz", 1).status, 503u);
  EXPECT_NE(get("/metrics", 1).body.find("accrete_log_records{state=\"durable\"} 77\n"),
            std::string::npos)
      << "metrics do not wait for the first status";
  board.write("{\"tasks\":[]}", 2);
  EXPECT_EQ(get("/statusz", 3).body, "{\"tasks\":[]}");
  EXPECT_EQ(get("/metrics", 3).status, 500u) << "a status that lacks members";
  EXPECT_EQ(get("/nothing", 3).status, 404u);
  EXPECT_EQ(get("/", 3).status, 500u);
  board.write(R"({"now":null,"rows":7,"late_rows":0,"dead_letters":1,"disk_bytes":9,"tasks":[]})",
              4);
  gauges.caught_up_ms = 4'000;
  const HttpAnswer console = get("/", 5);
  EXPECT_EQ(console.status, 200u) << console.body;
  EXPECT_EQ(console.type, "text/html; charset=utf-8");
  EXPECT_NE(console.body.find("<dt>state</dt><dd>ready</dd>"), std::string::npos) << console.body;
  EXPECT_NE(console.body.find("<dt>rows folded</dt><dd>7</dd>"), std::string::npos);
}

TEST(StatusBoardTest, IsRenewedFasterWhileSomebodyReads) {
  StatusBoard board;
  EXPECT_TRUE(board.due(0));
  board.write("a", 100);
  EXPECT_FALSE(board.due(109));
  EXPECT_TRUE(board.due(110));
  EXPECT_EQ(board.read(101)->json, "a");
  EXPECT_FALSE(board.due(100.5));
  EXPECT_TRUE(board.due(101));
}

/// What the server says to these bytes, until it closes.
std::string conversation(const std::string& address, const std::string& bytes) {
  const HttpAddress parsed = parse_http_address(address).value();
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(parsed.port);
  EXPECT_EQ(inet_pton(AF_INET, parsed.host.c_str(), &to.sin_addr), 1);
  EXPECT_EQ(::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
  EXPECT_EQ(::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(bytes.size()));
  std::string out;
  char part[4096];
  for (ssize_t size = 0; (size = ::recv(fd, part, sizeof part, 0)) > 0;)
    out.append(part, static_cast<std::size_t>(size));
  ::close(fd);
  return out;
}

class HttpServerTest : public testing::Test {
 protected:
  void SetUp() override {
    HttpOptions options;
    options.connections_max = 16;
    options.silence_seconds_max = 1;
    auto opened = HttpServer::open(
        "http://127.0.0.1:0",
        [](std::string_view path) {
          return HttpAnswer{200, {}, "page " + std::string(path) + "\n"};
        },
        options);
    ASSERT_TRUE(opened) << opened.error().detail;
    server = std::move(opened).value();
    address = server->bound_address();
  }
  std::string ask(const std::string& request, const std::string& host = "localhost",
                  const std::string& rest = "") {
    return conversation(address, request + " HTTP/1.1\r\nHost: " + host +
                                     "\r\nConnection: close\r\n" + rest + "\r\n");
  }

  std::unique_ptr<HttpServer> server;
  std::string address;
};

TEST_F(HttpServerTest, ServesPages) {
  const std::string answer = ask("GET /metrics?x=1");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n")) << answer;
  EXPECT_TRUE(answer.ends_with("\r\n\r\npage /metrics\n")) << answer;
  EXPECT_NE(answer.find("Content-Type: text/plain; charset=utf-8\r\n"), std::string::npos);
  EXPECT_NE(answer.find("Content-Security-Policy: default-src 'none'"), std::string::npos);
  EXPECT_FALSE(ask("HEAD /x").ends_with("page /x\n"));
  EXPECT_EQ(ask("POST /x", "localhost", "Content-Length: 3\r\n").find("HTTP/1.1 405"), 0u);
  EXPECT_EQ(ask("BREW /x").find("HTTP/1.1 405"), 0u);
}

TEST_F(HttpServerTest, OnLoopbackOnlyLoopbackNamesAreServed) {
  for (const char* own : {"127.0.0.1", "127.0.0.1:7705", "localhost:1", "[::1]:80"})
    EXPECT_EQ(ask("GET /", own).find("HTTP/1.1 200"), 0u) << own;
  for (const char* other : {"evil.example", "127.0.0.1.evil.example:80", "10.0.0.1"})
    EXPECT_EQ(ask("GET /", other).find("HTTP/1.1 403"), 0u) << other;
}

TEST_F(HttpServerTest, BadRequestsDisturbNobody) {
  std::string headers;
  for (int i = 0; i < 10'000; ++i)
    headers += "X-" + std::to_string(i) + ": some value or other\r\n";
  EXPECT_EQ(ask("GET /", "localhost", headers.substr(0, 60'000)).find("HTTP/1.1 4"), 0u);
  const std::string long_path = ask("GET /" + std::string(40'000, 'a'));
  EXPECT_EQ(long_path.find("HTTP/1.1 4"), 0u);
  conversation(address, std::string("\0\1\2\xff\r\n\r\n", 8));
  EXPECT_EQ(conversation(address, "GET / HT"), "") << "closed after some silence";
  EXPECT_EQ(ask("GET /..%2f..%2fetc/passwd").find("HTTP/1.1 200"), 0u) << "the pages decide";
  EXPECT_TRUE(ask("GET /").ends_with("page /\n"));
}

TEST_F(HttpServerTest, ManyHalfOpenPeersAreBounded) {
  const HttpAddress parsed = parse_http_address(address).value();
  std::vector<int> peers;
  for (int i = 0; i < 40; ++i) {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(parsed.port);
    ASSERT_EQ(inet_pton(AF_INET, parsed.host.c_str(), &to.sin_addr), 1);
    ASSERT_EQ(::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
    peers.push_back(fd);
  }
  // Those over the bound are closed at once, the silent ones in time: then there is room again.
  for (const int fd : peers) {
    char byte = 0;
    EXPECT_LE(::recv(fd, &byte, 1, 0), 0) << "closed by the server";
    ::close(fd);
  }
  EXPECT_TRUE(ask("GET /").ends_with("page /\n"));
}

TEST(HttpServerAddress, ATakenPortIsAnError) {
  const auto pages = [](std::string_view) { return HttpAnswer{}; };
  const auto first = HttpServer::open("http://127.0.0.1:0", pages);
  ASSERT_TRUE(first);
  const auto second = HttpServer::open(first.value()->bound_address(), pages);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::Unavailable);
  EXPECT_FALSE(HttpServer::open("7705", pages));
}

}  // namespace
}  // namespace accrete::daemon
