// Addresses of HTTP, and which of them are this machine's own.
#include "daemon/http_address.h"

#include <gtest/gtest.h>

namespace accrete::daemon {
namespace {

TEST(HttpAddress, IsHostAndPort) {
  const auto four = parse_http_address("http://127.0.0.1:7705");
  ASSERT_TRUE(four);
  EXPECT_EQ(four.value().host, "127.0.0.1");
  EXPECT_EQ(four.value().port, 7705);
  EXPECT_EQ(four.value().text(), "http://127.0.0.1:7705");
  EXPECT_EQ(parse_http_address("http://localhost:0").value().text(), "http://127.0.0.1:0");
  EXPECT_EQ(parse_http_address("http://[::1]:80").value().text(), "http://[::1]:80");
  for (const char* bad : {"", "127.0.0.1:7705", "tcp://127.0.0.1:7705", "http://127.0.0.1",
                          "http://127.0.0.1:", "http://127.0.0.1:65536", "http://127.0.0.1:-1",
                          "http://127.0.0.1:80/", "http://:80", "http://example.org:80",
                          "http://[::1:80", "http://[::1]", "http://*:80"}) {
    const auto read = parse_http_address(bad);
    ASSERT_FALSE(read) << bad;
    EXPECT_NE(read.error().detail.find("such as http://127.0.0.1:7705"), std::string::npos);
  }
}

TEST(HttpAddress, OnlyWholeNamesAreLoopback) {
  for (const char* own : {"localhost", "127.0.0.1", "127.9.9.9", "::1"})
    EXPECT_TRUE(is_loopback(own)) << own;
  for (const char* other : {"", "127.example.org", "127.0.0.1.example.org", "0.0.0.0",
                            "::", "localhost.example.org", "10.0.0.1"})
    EXPECT_FALSE(is_loopback(other)) << other;
}

}  // namespace
}  // namespace accrete::daemon
