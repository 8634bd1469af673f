// SPDX-License-Identifier: Apache-2.0
#include "run/run_folder.h"

#include <gtest/gtest.h>

#include "base/clock.h"
#include "base/hash.h"
#include "store/counting_store.h"
#include "store/faulty_store.h"
#include "store/memory_store.h"
#include "store/retrying_store.h"

namespace atelier::run {
namespace {

std::vector<std::byte> bytes_of(std::string_view text) {
  const auto view = as_bytes(text);
  return {view.begin(), view.end()};
}

ChunkCommit commit_of(int index, std::string_view content) {
  ChunkCommit commit;
  commit.index = index;
  commit.sha256 = sha256_hex(as_bytes(content));
  commit.bytes = content.size();
  commit.frames = 3;
  commit.first_pts = -7;
  commit.seconds = {1, 2, 3};
  commit.worker = "worker";
  commit.attempt = 2;
  return commit;
}

class RunFolderTest : public testing::Test {
 protected:
  std::unique_ptr<ObjectStore> store_ = make_memory_store();
  RunFolder folder_{*store_, "run1"};
};

TEST_F(RunFolderTest, TheFirstManifestStands) {
  EXPECT_FALSE(folder_.read_manifest().value().has_value());
  Manifest first;
  first.run_id = "run1";
  first.isa = "first";
  Manifest second = first;
  second.isa = "second";
  EXPECT_EQ(folder_.write_manifest(first).value().isa, "first");
  EXPECT_EQ(folder_.write_manifest(second).value().isa, "first");
  EXPECT_EQ(folder_.read_manifest().value()->isa, "first");
}

TEST_F(RunFolderTest, TheFirstCommitStands) {
  MemorySource one(bytes_of("one"));
  MemorySource two(bytes_of("two"));
  EXPECT_FALSE(folder_.read_commit(4).value().has_value());
  const auto mine = folder_.commit_chunk(commit_of(4, "one"), one).value();
  const auto theirs = folder_.commit_chunk(commit_of(4, "two"), two).value();
  EXPECT_EQ(theirs.object, mine.object);
  const auto read = folder_.read_commit(4).value().value();
  EXPECT_EQ(read.first_pts, -7);
  EXPECT_EQ(read.frames, 3u);
  EXPECT_EQ(read.seconds.encode, 3);
  EXPECT_EQ(read.worker, "worker");
  EXPECT_EQ(read.attempt, 2);
  EXPECT_EQ(as_text(read_all(*folder_.open_chunk(read).value(), 100, "chunk").value()), "one");
}

TEST_F(RunFolderTest, ARecordThatStandsIsReadOnce) {
  MemorySource one(bytes_of("one"));
  static_cast<void>(folder_.commit_chunk(commit_of(4, "one"), one).value());
  CountingStore counting(*store_);
  RunFolder other(counting, "run1");
  EXPECT_FALSE(other.read_commit(5).value().has_value());
  EXPECT_EQ(counting.counts().of(StoreVerb::get), 1U);
  static_cast<void>(folder_.commit_chunk(commit_of(5, "one"), one).value());
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(other.read_commit(4).value()->sha256, sha256_hex(as_bytes("one")));
    EXPECT_EQ(other.read_commit(5).value()->index, 5) << "that it was absent was believed";
  }
  EXPECT_EQ(counting.counts().of(StoreVerb::get), 3U);
  ASSERT_TRUE(other.clear().ok());
  EXPECT_FALSE(other.read_commit(4).value().has_value());
}

// Retries below do not repeat an append, nor a commit that was not made.
TEST_F(RunFolderTest, AResultWhoseUploadFailsIsUploadedAgain) {
  FakeClock clock;
  FaultyStore faulty(*store_, scripted_faults({{StoreVerb::append, 0, Fault::before},
                                               {StoreVerb::append, 1, Fault::after},
                                               {StoreVerb::commit, 0, Fault::before}}));
  RetryingStore retrying(faulty, clock);
  RunFolder folder(retrying, "run1", clock);
  MemorySource one(bytes_of("one"));
  ChunkCommit commit = commit_of(4, "one");
  const auto done = folder.commit_chunk(commit, one);
  ASSERT_TRUE(done.ok()) << done.error().message;
  EXPECT_EQ(as_text(read_all(*folder_.open_chunk(*done).value(), 100, "chunk").value()), "one");
  FaultyStore away(*store_, [](StoreVerb verb, uint64_t) {
    return verb == StoreVerb::append ? Fault::before : Fault::none;
  });
  RunFolder unreachable(away, "run1", clock);
  EXPECT_EQ(unreachable.commit_chunk(commit_of(5, "one"), one).error().code, Code::unavailable);
}

TEST_F(RunFolderTest, ACommitOfAnOlderVersionNamesNobody) {
  const std::string_view record =
      R"({"object":"","sha256":"","first_pts":0,"bytes":0,"frames":0,"decode_errors":0,"retimed":0,
          "seconds":{"decode":0,"score":0,"encode":0}})";
  ASSERT_TRUE(store_->put("run1/chunks/000000.json", as_bytes(record), Condition::always()).ok());
  const auto read = folder_.read_commit(0).value().value();
  EXPECT_EQ(read.worker, "");
  EXPECT_EQ(read.attempt, 0);
}

TEST_F(RunFolderTest, TheResultIsThereBeforeItsRecord) {
  // A worker that dies between the two puts leaves bytes that nobody counts.
  MemorySource one(bytes_of("one"));
  ASSERT_TRUE(folder_.commit_chunk(commit_of(0, "one"), one).ok());
  ASSERT_TRUE(store_->remove("run1/chunks/000000.json").value());
  EXPECT_FALSE(RunFolder(*store_, "run1").read_commit(0).value().has_value());
}

TEST_F(RunFolderTest, ADamagedChunkIsNamed) {
  MemorySource one(bytes_of("one"));
  const auto commit = folder_.commit_chunk(commit_of(2, "one"), one).value();
  ASSERT_TRUE(store_->put("run1/" + commit.object, as_bytes("onf"), Condition::always()).ok());
  const auto error = folder_.open_chunk(commit).error();
  EXPECT_EQ(error.code, Code::corrupt);
  EXPECT_NE(error.message.find("Chunk 2"), std::string::npos);
}

TEST_F(RunFolderTest, AChunkThatIsGoneIsNamed) {
  MemorySource one(bytes_of("one"));
  const auto commit = folder_.commit_chunk(commit_of(3, "one"), one).value();
  ASSERT_TRUE(store_->remove("run1/" + commit.object).value());
  const auto error = folder_.open_chunk(commit).error();
  EXPECT_EQ(error.code, Code::corrupt);
  EXPECT_NE(error.message.find("Chunk 3"), std::string::npos);
}

TEST_F(RunFolderTest, AnEmptyChunkHasNoObject) {
  MemorySource none({});
  auto commit = commit_of(1, "");
  commit.frames = 0;
  EXPECT_EQ(folder_.commit_chunk(commit, none).value().object, "");
  EXPECT_EQ(list_all(*store_, "run1/").value().size(), 1u);
}

TEST_F(RunFolderTest, ClearLeavesOtherRunsAlone) {
  MemorySource one(bytes_of("one"));
  ASSERT_TRUE(folder_.commit_chunk(commit_of(0, "one"), one).ok());
  ASSERT_TRUE(store_->put("run10/manifest.json", as_bytes("{}"), Condition::always()).ok());
  ASSERT_TRUE(folder_.clear().ok());
  EXPECT_EQ(list_all(*store_, "run").value().size(), 1u);
}

}  // namespace
}  // namespace atelier::run
