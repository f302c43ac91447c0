// Health and readiness by the gauges; the server on a real socket.
#include "daemon/daemon_pages.h"

#include <string>
#include <vector>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <stream.pb.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/http_address.h"

namespace accrete::daemon {
namespace {

class DaemonPagesTest : public testing::Test {
 protected:
  HttpAnswer get(std::string_view path, double now) { return pages.answer({path}, now); }
  HttpAnswer explain(double now) {
    return pages.answer({"/explain", {{"task", "buys"}, {"key", "7"}, {"key", "a b"}}}, now);
  }

  Gauges gauges;
  StatusBoard board;
  ExplainDesk desk;
  std::string failure;
  std::size_t waiting = 0;
  std::uint64_t turns = 0;
  DaemonPages pages{{&gauges, &board, &desk, [this] { return failure; }, [this] { return waiting; },
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
  gauges.folded = 33;
  EXPECT_EQ(get("/readyz", 7.5).status, 503u);
  EXPECT_EQ(get("/readyz", 7.5).body,
            "behind: 44 records wait for the fold, the oldest for up to 6 s\n");
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
  board.write(R"({"epoch":1,"now":null,"rows":7,"late_rows":0,"disk_bytes":9,"tasks":[],
      "ingest":{"rows":9},"predictions":{"newest":4321,"published":3},
      "lag":{"seconds":0.5,"records":2,"bytes":2048},
      "checkpoint":{"age_seconds":12.5,"records_since":2},
      "queues":{"groups_waiting":0,"rows_waiting_for_watermark":0,"rows_being_folded":0},
      "memory_bytes":{"resident":1},"subscribers":[{"name":"<b>","acknowledged":5,"behind":6}],
      "stages":{"commit":{"count":4,"seconds":0.01,"p50":0.0016,"p99":null}},
      "tables":[{"table":"orders","insert":1234,"update":5,"delete":6,"truncate":0}],
      "dead_letters":1,"letters":[{"number":1,"source":"shop","position":77,"table":null,
          "bytes":12,"reason":"orders.id: no <script>"}]})",
              4);
  gauges.caught_up_ms = 4'000;
  gauges.durable_bytes = 5'000;
  gauges.folded_bytes = 2'952;
  const HttpAnswer console = get("/", 5);
  EXPECT_EQ(console.status, 200u) << console.body;
  EXPECT_EQ(console.type, "text/html; charset=utf-8");
  EXPECT_NE(console.body.find("<dt>state</dt><dd>ready</dd>"), std::string::npos) << console.body;
  for (const char* part :
       {"<dt>rows folded</dt><dd>7</dd>", "<dt>newest prediction</dt><dd>4,321</dd>",
        "<dt>lag</dt><dd>1.00 s, 2.0 KiB</dd>", "<dt>last commit</dt><dd>12.5 s ago</dd>",
        "<th scope=\"row\">orders</th><td>1,234</td><td>5</td><td>6</td><td>0</td>",
        "<td>4</td><td>2.5 ms</td><td>1.6 ms</td><td>–</td>",
        "<th scope=\"row\">&lt;b&gt;</th><td>5</td><td>6</td>", "no &lt;script&gt;"})
    EXPECT_NE(console.body.find(part), std::string::npos) << part;
}

TEST_F(DaemonPagesTest, ExplanationsAreAskedForTwice) {
  EXPECT_EQ(pages.answer({"/explain", {{"task", "buys"}}}, 1).status, 400u);
  EXPECT_EQ(explain(1).status, 202u);
  EXPECT_EQ(explain(1.1).status, 202u) << "it is there already";
  const auto question = desk.next();
  ASSERT_TRUE(question);
  EXPECT_FALSE(desk.next()) << "one question is answered once";
  wire::ToControl asked;
  ASSERT_TRUE(asked.ParseFromString(*question));
  EXPECT_EQ(asked.explain().task(), "buys");
  ASSERT_EQ(asked.explain().key_size(), 2);
  EXPECT_EQ(asked.explain().key(1).text(), "a b");
  wire::FromControl answer;
  answer.set_json("{}");
  desk.answer(*question, answer.SerializeAsString());
  EXPECT_EQ(explain(2).body, "{}");
  EXPECT_EQ(explain(2).status, 202u) << "an answer is given once: who asks again wants a new one";
  answer.mutable_fault()->set_code(static_cast<wire::Fault::Code>(Errc::NotFound));
  answer.mutable_fault()->set_detail("no row with key 7");
  desk.answer(desk.next().value(), answer.SerializeAsString());
  const HttpAnswer fault = explain(3);
  EXPECT_EQ(fault.status, 404u);
  EXPECT_EQ(fault.body, "no row with key 7\n");
}

TEST_F(DaemonPagesTest, WhereOthersMayAskNoRowIsShown) {
  DaemonPages open{{&gauges, &board, nullptr, [] { return std::string(); },
                    [] { return std::size_t{0}; }, [] { return std::uint64_t{0}; },
                    [] { return std::uint64_t{0}; }}};
  const HttpAnswer answer = open.answer({"/explain", {{"task", "buys"}, {"key", "7"}}}, 1);
  EXPECT_EQ(answer.status, 403u);
  EXPECT_NE(answer.body.find("accretectl explain"), std::string::npos);
}

TEST(ExplainDeskTest, IsBoundedAndForgets) {
  ExplainDesk desk;
  for (std::size_t i = 0; i < ExplainDesk::kQuestionsMax; ++i)
    EXPECT_EQ(desk.ask(std::to_string(i), 1).error().code, Errc::Unavailable);
  EXPECT_EQ(desk.ask("one more", 1).error().code, Errc::Exhausted);
  const std::string first = desk.next().value();
  EXPECT_EQ(desk.ask("one more", 1 + ExplainDesk::kKeptSeconds + 0.1).error().code,
            Errc::Unavailable);
  desk.answer(first, "late");  // nobody waits for it any more
  EXPECT_EQ(desk.next().value(), "one more");
  desk.answer("one more", "in time");
  EXPECT_EQ(desk.ask("one more", 32).value(), "in time");
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
        [](const HttpRequest& request) {
          std::string text = "page " + std::string(request.path);
          for (const std::string_view value : request.values("key"))
            text += " [" + std::string(value) + "]";
          return HttpAnswer{200, {}, text + "\n"};
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
  EXPECT_TRUE(
      ask("GET /e?key=a%20b&other=1&key=%3Cc&key").ends_with("\r\n\r\npage /e [a b] [<c] []\n"));
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
  const auto pages = [](const HttpRequest&) { return HttpAnswer{}; };
  const auto first = HttpServer::open("http://127.0.0.1:0", pages);
  ASSERT_TRUE(first);
  const auto second = HttpServer::open(first.value()->bound_address(), pages);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::Unavailable);
  EXPECT_FALSE(HttpServer::open("7705", pages));
}

}  // namespace
}  // namespace accrete::daemon
