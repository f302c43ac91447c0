// Which folders are opened, which are refused, and that refused ones stay as they were.
#include "store/database.h"

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include <gtest/gtest.h>
#include <rocksdb/db.h>

#include "scratch.h"
#include "store/state.h"

namespace accrete::store {
namespace {

namespace fs = std::filesystem;

std::map<std::string, std::string> contents(const std::string& folder) {
  std::map<std::string, std::string> out;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    std::stringstream bytes;
    bytes << file.rdbuf();
    out[entry.path().string()] = bytes.str();
  }
  return out;
}

void expect_refused_untouched(const Scratch& scratch, const std::string& says) {
  const auto before = contents(scratch.path());
  const auto opened = Database::open(scratch.options());
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::Corruption);
  EXPECT_NE(opened.error().detail.find(says), std::string::npos) << opened.error().detail;
  EXPECT_EQ(contents(scratch.path()), before);
}

void make_foreign(const std::string& path, const std::string& family, bool with_row) {
  rocksdb::Options options;
  options.create_if_missing = true;
  rocksdb::DB* raw = nullptr;
  ASSERT_TRUE(rocksdb::DB::Open(options, path, &raw).ok());
  const std::unique_ptr<rocksdb::DB> db(raw);
  if (!family.empty()) {
    rocksdb::ColumnFamilyHandle* handle = nullptr;
    ASSERT_TRUE(db->CreateColumnFamily({}, family, &handle).ok());
    ASSERT_TRUE(db->DestroyColumnFamilyHandle(handle).ok());
  }
  if (with_row) {
    ASSERT_TRUE(db->Put({}, "key", "value").ok());
  }
}

TEST(DatabaseOpen, MakesTheFolderAndOpensItAgain) {
  Scratch scratch;
  DatabaseOptions options = scratch.options();
  options.path += "/deep/er";
  for (int i = 0; i < 3; ++i) {
    const auto database = must(Database::open(options));
    EXPECT_GT(database->disk_bytes(), 0u);
    EXPECT_GT(database->memory_bytes(), 0u);
  }
}

TEST(DatabaseOpen, TheFolderItMakesIsForItsOwnerAlone) {
  Scratch scratch;
  DatabaseOptions options = scratch.options();
  const auto mode = [](const std::string& path) {
    return std::filesystem::status(path).permissions();
  };
  const std::filesystem::perms before = mode(scratch.path());
  options.path += "/deep";
  static_cast<void>(must(Database::open(options)));
  EXPECT_EQ(mode(options.path), std::filesystem::perms::owner_all);
  // One that was there is left as it is.
  EXPECT_EQ(mode(scratch.path()), before);
  std::filesystem::create_directory(options.path = scratch.path() + "/open");
  const std::filesystem::perms open = mode(options.path);
  static_cast<void>(must(Database::open(options)));
  EXPECT_EQ(mode(options.path), open);
}

TEST(DatabaseOpen, RefusesAFolderOfForeignFiles) {
  Scratch scratch;
  std::ofstream(scratch.path() + "/thesis.txt") << "do not lose me";
  expect_refused_untouched(scratch, "thesis.txt");
}

TEST(DatabaseOpen, RefusesAForeignRocksDb) {
  for (const std::string family : {"", "other"}) {
    Scratch scratch;
    make_foreign(scratch.path(), family, true);
    expect_refused_untouched(scratch, "without the stamp");
  }
}

TEST(DatabaseOpen, RefusesANewerFormat) {
  Scratch scratch;
  make_foreign(scratch.path(), "accrete-7", false);
  expect_refused_untouched(scratch, "format 7, this accreted reads 1");
}

TEST(DatabaseOpen, RefusesAFile) {
  Scratch scratch;
  DatabaseOptions options = scratch.options();
  options.path += "/file";
  std::ofstream(options.path) << "x";
  const auto opened = Database::open(options);
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().detail.find("not a folder"), std::string::npos);
}

TEST(DatabaseOpen, ASecondOwnerIsTurnedAway) {
  Scratch scratch;
  const auto first = open_database(scratch);
  const auto second = Database::open(scratch.options());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::Unavailable);
  EXPECT_NE(second.error().detail.find("another accreted"), std::string::npos);
}

TEST(DatabaseOpen, ReadOnlyReadsAndNeverWrites) {
  Scratch scratch;
  DatabaseOptions read_only = scratch.options();
  read_only.read_only = true;
  EXPECT_FALSE(Database::open(read_only));
  {
    const auto database = open_database(scratch);
    const auto state = must(State::open(*database));
    state->put(Section::Blobs, "a", "1");
    must(state->commit({}));
  }
  const auto database = must(Database::open(read_only));
  const auto state = must(State::open(*database));
  EXPECT_EQ(must(state->get(Section::Blobs, "a")), "1");
  state->put(Section::Blobs, "b", "2");
  EXPECT_FALSE(state->commit({}));
}

}  // namespace
}  // namespace accrete::store
