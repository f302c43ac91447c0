// The token that POST /ingest asks for, as it stands in its file.
#include "daemon/ingest_posts.h"

#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

namespace accrete::daemon {
namespace {

class ReadTokenTest : public testing::Test {
 protected:
  void SetUp() override {
    path_ =
        std::filesystem::temp_directory_path() / ("accrete-token-" + std::to_string(::getpid()));
  }
  void TearDown() override { std::filesystem::remove(path_); }

  Result<std::string> token(const std::string& text, mode_t mode = 0600) {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << text;
    EXPECT_EQ(::chmod(path_.c_str(), mode), 0);
    return read_token(path_);
  }
  std::string path_;
};

TEST_F(ReadTokenTest, IsTheFirstLine) {
  const std::string good(16, 'x');
  for (const std::string& text :
       {good, good + "\n", good + "\r\n", good + "  \n", good + "\nmore lines\n"}) {
    const auto read = token(text);
    ASSERT_TRUE(read) << read.error().detail;
    EXPECT_EQ(read.value(), good);
  }
  EXPECT_TRUE(token(std::string(4096, 'y'), 0400));
}

TEST_F(ReadTokenTest, IsRefusedWhereItGuardsNothing) {
  for (const std::string& text :
       {std::string(), std::string("\n"), std::string(15, 'x'), std::string(4097, 'x'),
        std::string("xxxxxxxxxxxxxxxxxxxx y"), std::string("xxxxxxxxxxxxxxxxxxxx\x01"),
        std::string(20, '\xe9')}) {
    const auto read = token(text);
    ASSERT_FALSE(read) << text;
    EXPECT_EQ(read.error().code, Errc::Malformed);
    EXPECT_NE(read.error().detail.find("openssl rand"), std::string::npos);
  }
}

TEST_F(ReadTokenTest, IsRefusedWhereOthersMayReadIt) {
  for (const mode_t mode : {0640u, 0604u, 0644u, 0660u}) {
    const auto read = token(std::string(32, 'x'), mode);
    ASSERT_FALSE(read) << mode;
    EXPECT_NE(read.error().detail.find("chmod 600"), std::string::npos);
  }
  std::filesystem::remove(path_);
  ASSERT_FALSE(read_token(path_));
  EXPECT_EQ(read_token(path_).error().code, Errc::NotFound);
}

}  // namespace
}  // namespace accrete::daemon
