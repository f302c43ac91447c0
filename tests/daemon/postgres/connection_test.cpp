// What is said of a URL that leads nowhere. No server is asked.
#include "daemon/postgres/connection.h"

#include <string>

#include <gtest/gtest.h>

namespace accrete::daemon::postgres {
namespace {

Error refused(const std::string& url) {
  const Result<Connection> opened = Connection::open(url, ConnectionKind::Sql);
  EXPECT_FALSE(opened);
  return opened ? Error{} : opened.error();
}

TEST(ConnectionUrl, OfAnotherDatabaseIsRefused) {
  for (const char* url : {"mysql://root:sekrit@localhost/shop", "root:sekrit@localhost/shop"}) {
    const Error error = refused(url);
    EXPECT_EQ(error.code, Errc::Malformed);
    EXPECT_NE(error.detail.find("postgresql://user@host/database"), std::string::npos);
  }
}

TEST(ConnectionUrl, NeverShowsItsPassword) {
  for (const char* url :
       {"mysql://root:sekrit@localhost/shop", "root:sekrit@localhost/shop",
        "postgresql://root:sekrit@[::1/shop", "postgresql://[::1/shop?password=sekrit",
        "postgresql://root:sekrit@127.0.0.1:1/shop", "host=127.0.0.1 port=1 password=sekrit",
        "postgresql://u:a@sekrit@127.0.0.1:port/shop"}) {
    EXPECT_EQ(refused(url).detail.find("sekrit"), std::string::npos) << refused(url).detail;
  }
}

}  // namespace
}  // namespace accrete::daemon::postgres
