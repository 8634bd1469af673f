// SPDX-License-Identifier: Apache-2.0
// What only a store of files has to get right.
#include "store/local_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "store/test_folder.h"

namespace atelier {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

void write_file(const fs::path& path, std::string_view text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

class LocalStore : public testing::Test {
 protected:
  ObjectStore& store() { return *store_; }
  const fs::path& root() const { return folder_.path(); }
  size_t files_and_folders() const {
    const fs::recursive_directory_iterator all(root());
    return static_cast<size_t>(std::distance(begin(all), end(all)));
  }

 private:
  TestFolder folder_;
  std::unique_ptr<ObjectStore> store_ = open_local_store(folder_.path()).value();
};

TEST_F(LocalStore, TheRootIsMadeByTheFirstPut) {
  const fs::path root = this->root() / "a" / "b";
  auto store = open_local_store(root).value();
  EXPECT_TRUE(list_all(*store, "").value().empty());
  EXPECT_FALSE(store->remove("k").value());
  EXPECT_FALSE(fs::exists(root));
  ASSERT_TRUE(store->put("k", as_bytes("x"), Condition::always()).ok());
  EXPECT_TRUE(fs::is_regular_file(root / "k"));
  EXPECT_TRUE(store->remove("k").value());
  EXPECT_TRUE(fs::exists(root)) << "the root was removed with its last object";
}

TEST_F(LocalStore, ARootMustBeAnAbsoluteFolder) {
  write_file(root() / "file", "x");
  EXPECT_EQ(open_local_store("relative").error().code, Code::invalid_argument);
  EXPECT_EQ(open_local_store(root() / "file").error().code, Code::invalid_argument);
}

TEST_F(LocalStore, NothingButTheObjectStays) {
  ASSERT_TRUE(store().put("k", as_bytes("1"), Condition::if_absent()).ok());
  const auto etag = store().put("k", as_bytes("2"), Condition::always()).value().etag;
  ASSERT_TRUE(store().put("k", as_bytes("3"), Condition::if_match(etag)).value().written);
  ASSERT_FALSE(store().put("k", as_bytes("4"), Condition::if_match(etag)).value().written);
  ASSERT_FALSE(store().put("k", as_bytes("5"), Condition::if_absent()).value().written);
  EXPECT_EQ(files_and_folders(), 1U);
  ASSERT_TRUE(store().put("a/b/c", as_bytes("1"), Condition::always()).ok());
  ASSERT_TRUE(store().remove("a/b/c").value());
  EXPECT_EQ(files_and_folders(), 1U);
}

TEST_F(LocalStore, WhatACrashedWriterLeftIsNoObject) {
  write_file(root() / "a/.atelier-tmp-0123456789abcdef", "half");
  write_file(root() / "a/.atelier-tmp-lock", "");
  ASSERT_TRUE(store().put("a/k", as_bytes("1"), Condition::always()).ok());
  const auto etag = store().head("a/k").value().value().etag;
  EXPECT_TRUE(store().put("a/k", as_bytes("2"), Condition::if_match(etag)).value().written);
  const auto objects = list_all(store(), "").value();
  ASSERT_EQ(objects.size(), 1U);
  EXPECT_EQ(objects[0].key, "a/k");
  EXPECT_TRUE(list_all(store(), "a/.atelier").value().empty());
}

TEST_F(LocalStore, AFileChangedInPlaceIsNoticedByItsReaders) {
  write_file(root() / "v.mp4", "0123456789");
  const auto etag = store().head("v.mp4").value().value().etag;
  auto source = open_object(store(), "v.mp4").value();
  std::ofstream(root() / "v.mp4", std::ios::binary | std::ios::app) << "more";
  std::array<std::byte, 4> four{};
  EXPECT_EQ(source->read_at(0, four).error().code, Code::conflict);
  EXPECT_EQ(store().get("v.mp4", {}, etag).error().code, Code::conflict);
  EXPECT_NE(store().head("v.mp4").value().value().etag, etag);
}

TEST_F(LocalStore, AFileInTheWayOfAFolderIsOneSentence) {
  ASSERT_TRUE(store().put("a", as_bytes("x"), Condition::always()).ok());
  for (const Condition& condition : {Condition::always(), Condition::if_absent()}) {
    const auto outcome = store().put("a/b/c", as_bytes("x"), condition);
    ASSERT_FALSE(outcome.ok());
    EXPECT_EQ(outcome.error().code, Code::invalid_argument);
    EXPECT_THAT(outcome.error().message, HasSubstr("a file stands where a folder should be"));
  }
}

TEST_F(LocalStore, AFolderInTheWayOfAFileIsOneSentenceAndStays) {
  ASSERT_TRUE(store().put("a/b", as_bytes("x"), Condition::always()).ok());
  for (const Condition& condition : {Condition::always(), Condition::if_absent()}) {
    const auto outcome = store().put("a", as_bytes("x"), condition);
    ASSERT_FALSE(outcome.ok());
    EXPECT_EQ(outcome.error().code, Code::invalid_argument);
    EXPECT_THAT(outcome.error().message, HasSubstr("a folder has this name"));
  }
  EXPECT_EQ(files_and_folders(), 2U);
}

TEST_F(LocalStore, PipesAndBrokenLinksAreNoObjectsAndLinksAreFollowed) {
  write_file(root() / "folder/real", "hello");
  ASSERT_EQ(::mkfifo((root() / "pipe").c_str(), 0600), 0);
  fs::create_symlink("nowhere", root() / "broken");
  fs::create_symlink("folder/real", root() / "link");
  fs::create_directory_symlink(".", root() / "folder/ring");
  EXPECT_FALSE(store().head("pipe").value().has_value());
  EXPECT_EQ(store().get("pipe", {}, {}).error().code, Code::invalid_input);
  EXPECT_EQ(open_object(store(), "pipe").error().code, Code::invalid_input);
  EXPECT_FALSE(store().head("broken").value().has_value());
  EXPECT_EQ(as_text(store().get("link", {}, {}).value()), "hello");
  std::vector<std::string> keys;
  const auto objects = list_all(store(), "").value();
  for (const auto& info : objects) keys.push_back(info.key);
  EXPECT_THAT(keys, testing::ElementsAre("folder/real", "link"));
}

TEST_F(LocalStore, ATooLongNameIsOneSentence) {
  const std::string key(300, 'x');
  EXPECT_EQ(store().put(key, {}, Condition::always()).error().code, Code::invalid_argument);
  EXPECT_TRUE(list_all(store(), key + "/").value().empty());
  EXPECT_EQ(files_and_folders(), 0U);
}

TEST_F(LocalStore, WithoutPermissionEachVerbSaysSo) {
  ASSERT_TRUE(store().put("closed/k", as_bytes("x"), Condition::always()).ok());
  ASSERT_EQ(::chmod(root().c_str(), 0755), 0);
  ASSERT_EQ(::chmod((root() / "closed").c_str(), 0500), 0);
  ASSERT_EQ(::chmod((root() / "closed/k").c_str(), 0), 0);
  // Root may do everything; for this thread's files, be nobody.
  std::jthread([&] {
    if (::geteuid() == 0) ::setfsuid(65534);
    for (const auto& error :
         {store().get("closed/k", {}, {}).error(), open_object(store(), "closed/k").error(),
          store().put("closed/new", {}, Condition::always()).error(),
          store().begin_upload("closed/sub/new").error()}) {
      EXPECT_EQ(error.code, Code::invalid_argument);
      EXPECT_THAT(error.message, HasSubstr("Permission denied; get access to it"));
    }
    EXPECT_FALSE(store().remove("closed/k").ok());
  }).join();
  ASSERT_EQ(::chmod((root() / "closed").c_str(), 0700), 0);
  EXPECT_TRUE(store().head("closed/k").value().has_value());
}

// A limit on file size gives EFBIG, which counts as no room.
TEST_F(LocalStore, AWriteThatFindsNoRoomLeavesNothing) {
  struct rlimit before {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  auto* const old_handler = ::signal(SIGXFSZ, SIG_IGN);
  struct rlimit small = before;
  small.rlim_cur = 4096;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::vector<std::byte> piece(3000);
  const std::vector<std::byte> big(9000);
  const auto put = store().put("a/b/big", big, Condition::always());
  auto upload = store().begin_upload("a/c/big").value();
  const auto first = upload->append(piece);
  const auto second = upload->append(piece);
  const size_t left = files_and_folders();
  const auto commit = upload->commit(Condition::always());
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, old_handler);
  ASSERT_FALSE(put.ok());
  EXPECT_EQ(put.error().code, Code::no_space);
  EXPECT_TRUE(first.ok());
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, Code::no_space);
  EXPECT_FALSE(commit.ok()) << "half an object was published";
  EXPECT_EQ(left, 0U);
}

TEST_F(LocalStore, AFullDiskLeavesTheOldObjectAndNothingElse) {
  bool mounted = false;
  // In a thread with mounts of its own: they vanish with it.
  std::jthread([&] {
    mounted = ::unshare(CLONE_NEWNS) == 0 &&
              ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
              ::mount("tmpfs", root().c_str(), "tmpfs", 0, "size=64k") == 0;
    if (!mounted) return;
    const std::vector<std::byte> big(100'000);
    ASSERT_TRUE(store().put("k", as_bytes("old"), Condition::always()).ok());
    for (const char* key : {"k", "a/b/new"}) {
      const auto outcome = store().put(key, big, Condition::always());
      ASSERT_FALSE(outcome.ok());
      EXPECT_EQ(outcome.error().code, Code::no_space);
      EXPECT_THAT(outcome.error().message, HasSubstr("free some room"));
    }
    EXPECT_EQ(files_and_folders(), 1U);
    EXPECT_EQ(as_text(store().get("k", {}, {}).value()), "old");
    EXPECT_TRUE(store().put("k", as_bytes("new"), Condition::always()).value().written);
  }).join();
  if (!mounted) GTEST_SKIP() << "NOT TESTED: a full disk (no right to mount a small tmpfs)";
}

}  // namespace
}  // namespace atelier
