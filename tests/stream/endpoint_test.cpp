// Which addresses and keys are taken, and what the refusals say.
#include "stream/endpoint.h"

#include <cstdio>
#include <fstream>
#include <string>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "stream/socket.h"

namespace accrete::stream {
namespace {

TEST(Endpoint, Addresses) {
  struct Case {
    std::string address;
    const char* refusal;  // nullptr: fine
  };
  const char* const outside = "give [curve] keys, or bind 127.0.0.1";
  const char* const garbage = "is not an address";
  const char* const host_port = "expected tcp://host:port";
  const std::vector<Case> cases = {
      {"tcp://127.0.0.1:7701", nullptr},
      {"tcp://127.8.9.1:7701", nullptr},
      {"tcp://127.0.0.1:*", nullptr},
      {"tcp://localhost:1", nullptr},
      {"tcp://[::1]:7701", nullptr},
      {"ipc:///run/accreted/ingest.sock", nullptr},
      {"inproc://x", nullptr},
      {"tcp://0.0.0.0:7701", outside},
      {"tcp://*:7701", outside},
      {"tcp://[::]:7701", outside},
      {"tcp://:::7701", outside},
      {"tcp://db.example.org:7701", outside},
      {"tcp://10.1.2.3:7701", outside},
      {"tcp://127.0.0.1.example.org:7701", outside},
      {"tcp://[fe80::1%eth0]:7701", outside},
      {"tcp://127.0.0.1", host_port},
      {"tcp://127.0.0.1:http", host_port},
      {"tcp://127.0.0.1:65536", host_port},
      {"tcp://127.0.0.1:-1", host_port},
      {"tcp://:7701", host_port},
      {"tcp://fe80::1:7701", host_port},
      {"tcp://[::1:7701", host_port},
      {"tcp://1.2.3.4:0;127.0.0.1:5", host_port},
      {"tcp://127.0.0.1 :7701", host_port},
      {"ipc://", "a path of 1 to 107 bytes"},
      {"ipc://" + std::string(108, 'p'), "a path of 1 to 107 bytes"},
      {"inproc://", garbage},
      {"udp://127.0.0.1:1", garbage},
      {"", garbage},
      {"7701", garbage},
  };
  for (const Case& c : cases) {
    EndpointOptions options;
    options.address = c.address;
    const Status status = check_endpoint(options);
    if (c.refusal == nullptr) {
      EXPECT_TRUE(status) << c.address;
      continue;
    }
    ASSERT_FALSE(status) << c.address;
    EXPECT_EQ(status.error().code, Errc::Malformed);
    EXPECT_NE(status.error().detail.find(c.refusal), std::string::npos) << status.error().detail;
  }
}

TEST(Endpoint, Keys) {
  const auto keys = make_keys();
  ASSERT_TRUE(keys);
  EndpointOptions options;
  options.address = "tcp://0.0.0.0:7701";
  options.curve = keys.value();
  EXPECT_TRUE(check_endpoint(options)) << "with keys any address is fine";
  const auto refused = [&](auto change, const char* why) {
    EndpointOptions bad = options;
    change(bad);
    const Status status = check_endpoint(bad);
    ASSERT_FALSE(status) << why;
    EXPECT_NE(status.error().detail.find(why), std::string::npos) << status.error().detail;
  };
  refused([](EndpointOptions& o) { o.curve.public_key.pop_back(); }, "the public key must be");
  refused([](EndpointOptions& o) { o.curve.secret_key[3] = '"'; }, "the secret key must be");
  refused([](EndpointOptions& o) { o.curve.secret_key.clear(); }, "the secret key must be");
  refused([](EndpointOptions& o) { o.curve.server_key = "x"; }, "the server key must be");
  refused([](EndpointOptions& o) { o.curve.allowed = {"x"}; }, "allowed client key \"x\"");
  refused([](EndpointOptions& o) { o.curve.public_key.clear(); }, "without a public key");
  refused([](EndpointOptions& o) { o.high_water_mark = 0; }, "must be positive");
}

class KeyFile : public testing::Test {
 protected:
  ~KeyFile() override { std::remove(path_.c_str()); }
  void write(const std::string& text, mode_t mode = 0600) {
    std::ofstream(path_, std::ios::trunc) << text;
    ASSERT_EQ(::chmod(path_.c_str(), mode), 0);
  }
  const std::string path_ = testing::TempDir() + "accrete_key_file_" +
                            testing::UnitTest::GetInstance()->current_test_info()->name();
};

TEST_F(KeyFile, ReadsWhatItShould) {
  const auto made = make_keys();
  ASSERT_TRUE(made);
  const std::string pub = "public = " + made.value().public_key + "\n";
  const std::string secret = "secret = \"" + made.value().secret_key + "\"\n";
  write("# a pair\n\n" + pub + secret);
  const auto read = read_key_file(path_);
  ASSERT_TRUE(read) << read.error().detail;
  EXPECT_EQ(read.value().public_key, made.value().public_key);
  EXPECT_EQ(read.value().secret_key, made.value().secret_key);

  const auto refused = [&](const std::string& text, mode_t mode, const std::string& why) {
    write(text, mode);
    const auto result = read_key_file(path_);
    ASSERT_FALSE(result) << why;
    EXPECT_EQ(result.error().code, Errc::Malformed);
    EXPECT_NE(result.error().detail.find(why), std::string::npos) << result.error().detail;
  };
  refused(pub + secret, 0644, "chmod 600 " + path_);
  refused(secret, 0600, "no `public = …` line");
  refused("public\n", 0600, path_ + ":1: expected `public = …`");
  refused(pub + "privat = x\n", 0600, path_ + ":2: unknown entry \"privat\"");
  refused("public = short\n", 0600, path_ + ":1: the public key must be 40 Z85 characters");
  write(pub, 0644);
  EXPECT_TRUE(read_key_file(path_)) << "a public key alone is no secret";
  std::remove(path_.c_str());
  const auto missing = read_key_file(path_);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Errc::NotFound);
}

TEST_F(KeyFile, ClientsAreListedByTheirPublicKeys) {
  const std::string inner = "01234567a#" + std::string(30, 'a');  // '#' is a character of Z85
  const std::string plain(40, 'b');
  write("# who may come in\n\n  " + inner + "  # billing\n#" + plain + "\n" + plain + "\r\n");
  const auto read = read_client_keys(path_);
  ASSERT_TRUE(read) << read.error().detail;
  EXPECT_EQ(read.value(), (std::vector<std::string>{inner, plain}));

  const auto refused = [&](const std::string& text, Errc code, const std::string& why) {
    write(text);
    const auto result = read_client_keys(path_);
    ASSERT_FALSE(result) << why;
    EXPECT_EQ(result.error().code, code);
    EXPECT_NE(result.error().detail.find(why), std::string::npos) << result.error().detail;
  };
  refused("# nobody\n", Errc::Malformed, "no client key in it");
  refused(plain + "\nshort\n", Errc::Malformed, path_ + ":2: \"short\" is not a client's key");
  refused(plain + " " + plain + "\n", Errc::Malformed, path_ + ":1: one key a line");
  std::remove(path_.c_str());
  const auto missing = read_client_keys(path_);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Errc::NotFound);
}

TEST(Sockets, ErrorsBecomeStatus) {
  Context context;
  EndpointOptions options;
  options.address = "tcp://127.0.0.1:*";
  auto first = Socket::bind(context.get(), SocketKind::Router, options);
  ASSERT_TRUE(first);
  options.address = first.value().bound_address();
  EXPECT_EQ(options.address.find("tcp://127.0.0.1:"), 0u);
  const auto second = Socket::bind(context.get(), SocketKind::Router, options);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::Unavailable);
  const std::vector<std::string_view> frames = {"nobody", "text"};
  const Status gone = first.value().send(frames);
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, Errc::NotFound);
  std::vector<Frame> received;
  const auto none = first.value().receive(received);
  ASSERT_TRUE(none);
  EXPECT_FALSE(none.value());
  context.shutdown();
  const auto closed = first.value().receive(received);
  ASSERT_FALSE(closed);
  EXPECT_EQ(closed.error().code, Errc::Unavailable);
}

}  // namespace
}  // namespace accrete::stream
