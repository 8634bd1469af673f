// SPDX-License-Identifier: Apache-2.0
#include "server/triggers/folder_watch.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "store/test_folder.h"

namespace atelier::server {
namespace {

namespace fs = std::filesystem;

void write(const fs::path& file) { std::ofstream(file) << "bytes"; }

// inotify queues news before the call that made them returns: nobody has to wait.
struct FolderWatchTest : ::testing::Test {
  TestFolder folder;
  fs::path root = folder.path() / "in";
  fs::path outside = folder.path() / "out";
  std::unique_ptr<FolderWatch> watch;

  void SetUp() override {
    fs::create_directories(root / "old");
    fs::create_directories(outside);
    auto opened = FolderWatch::open(root);
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    watch = std::move(opened).value();
  }
  FolderNews news() {
    Result<FolderNews> read = watch->read();
    EXPECT_TRUE(read.ok()) << read.error().message;
    return read.ok() ? *std::move(read) : FolderNews{};
  }
};

using Paths = std::set<std::string>;

TEST_F(FolderWatchTest, ARenamedFileIsWhole) {
  write(outside / "a.mp4");
  fs::rename(outside / "a.mp4", root / "a.mp4");
  write(root / "part");
  (void)news();
  fs::rename(root / "part", root / "old" / "b.mp4");
  const FolderNews got = news();
  EXPECT_EQ(got.whole, Paths({"old/b.mp4"}));
  EXPECT_EQ(got.maybe, Paths());
  EXPECT_FALSE(got.lost);
}

TEST_F(FolderWatchTest, AWrittenFileMayBeWhole) {
  write(root / "old" / "a.mp4");
  const FolderNews got = news();
  EXPECT_EQ(got.maybe, Paths({"old/a.mp4"}));
  EXPECT_EQ(got.whole, Paths());
  EXPECT_EQ(news().maybe, Paths());
}

TEST_F(FolderWatchTest, AHardLinkIsSeen) {
  write(outside / "a.mp4");
  fs::create_hard_link(outside / "a.mp4", root / "a.mp4");
  EXPECT_EQ(news().maybe, Paths({"a.mp4"}));
}

TEST_F(FolderWatchTest, WhatIsInANewFolderIsFound) {
  fs::create_directories(root / "new" / "deep");
  write(root / "new" / "deep" / "a.mp4");
  EXPECT_EQ(news().maybe, Paths({"new/deep/a.mp4"}));
  write(root / "new" / "deep" / "b.mp4");
  EXPECT_EQ(news().maybe, Paths({"new/deep/b.mp4"}));
  EXPECT_EQ(watch->folders(), 4U);
}

TEST_F(FolderWatchTest, AFolderThatMovesHasItsNewName) {
  fs::create_directories(outside / "x" / "y");
  write(outside / "x" / "y" / "a.mp4");
  fs::rename(outside / "x", root / "x");
  EXPECT_EQ(news().maybe, Paths({"x/y/a.mp4"}));
  fs::rename(root / "x", root / "old" / "z");
  EXPECT_EQ(news().maybe, Paths({"old/z/y/a.mp4"}));
  write(root / "old" / "z" / "y" / "b.mp4");
  EXPECT_EQ(news().maybe, Paths({"old/z/y/b.mp4"}));
  fs::rename(root / "old" / "z", outside / "z");
  write(outside / "z" / "y" / "c.mp4");
  const FolderNews got = news();
  EXPECT_EQ(got.maybe, Paths());
  EXPECT_EQ(got.whole, Paths());
  EXPECT_EQ(watch->folders(), 2U);
}

TEST_F(FolderWatchTest, ARemovedFolderMayComeAgain) {
  for (int i = 0; i < 3; ++i) {
    fs::create_directories(root / "x");
    write(root / "x" / "a.mp4");
    EXPECT_EQ(news().maybe, Paths({"x/a.mp4"}));
    fs::remove_all(root / "x");
    EXPECT_EQ(news().maybe, Paths());
    EXPECT_EQ(watch->folders(), 2U);
  }
}

TEST_F(FolderWatchTest, HiddenFilesAndLinkedFoldersAreNoNews) {
  write(root / ".a.mp4");
  fs::create_directories(root / ".hidden");
  write(root / ".hidden" / "a.mp4");
  fs::create_directory_symlink(outside, root / "link");
  write(outside / "a.mp4");
  EXPECT_EQ(news().maybe, Paths({"link"}));  // is no file, as whoever looks will see
  EXPECT_EQ(watch->folders(), 2U);
}

TEST_F(FolderWatchTest, AnOverflowIsSaid) {
  // Two in turn: the kernel makes one of equal news that follow each other.
  for (int i = 0; i < 20'000; ++i) {
    const Fd made(::creat((root / (i % 2 == 0 ? "a.mp4" : "b.mp4")).c_str(), 0600));
    ASSERT_TRUE(made);
  }
  bool lost = false;
  for (int i = 0; i < 20 && !lost; ++i) lost = news().lost;
  EXPECT_TRUE(lost);
}

TEST_F(FolderWatchTest, TheRootsEndIsSaid) {
  fs::remove_all(root);
  const auto read = watch->read();
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().code, Code::unavailable);
  const auto again = FolderWatch::open(root);
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().code, Code::invalid_argument);
  EXPECT_NE(again.error().message.find("make it"), std::string::npos);
}

TEST_F(FolderWatchTest, ARefreshFindsFoldersWhoseNewsWereLost) {
  EXPECT_EQ(watch->folders(), 2U);
  fs::create_directories(root / "x" / "y");
  watch->refresh();
  watch->refresh();
  EXPECT_EQ(watch->folders(), 4U);
}

TEST_F(FolderWatchTest, TheFolderMayBeNamedByALink) {
  fs::create_directory_symlink(root, folder.path() / "link");
  auto opened = FolderWatch::open(folder.path() / "link");
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  write(root / "old" / "a.mp4");
  const auto read = (*opened)->read();
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->maybe, Paths({"old/a.mp4"}));
}

}  // namespace
}  // namespace atelier::server
