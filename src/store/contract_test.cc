// SPDX-License-Identifier: Apache-2.0
// The contract of ObjectStore, run on every kind and on every decorator.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <thread>

#include "store/contract_kinds.h"

namespace atelier {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class StoreContract : public testing::TestWithParam<Kind> {
 protected:
  StoreContract() { GetParam().build(rig_); }
  ObjectStore& store() { return rig_.top(); }
  bool etags_are_hashes() const { return rig_.etags_are_hashes; }
  // Whether the server behind the store has no conditional writes.
  bool conditions_are_advisory() {
    const bool advisory = !store().decides_conditions("probed").value();
    EXPECT_EQ(advisory, rig_.advisory) << "the store's note says so, too";
    EXPECT_THAT(keys(), IsEmpty()) << "nothing of the trial stays";
    return advisory;
  }

  PutOutcome put(std::string_view key, std::string_view text,
                 const Condition& condition = Condition::always()) {
    return store().put(key, as_bytes(text), condition).value();
  }
  std::string get(std::string_view key, ByteRange range = {}) {
    return std::string(as_text(store().get(key, range, {}).value()));
  }
  std::string etag(std::string_view key) { return store().head(key).value().value().etag; }
  std::vector<std::string> keys(std::string_view prefix = {}) {
    std::vector<std::string> names;
    const auto objects = list_all(store(), prefix).value();
    for (const ObjectInfo& info : objects) names.push_back(info.key);
    return names;
  }

 private:
  Rig rig_;
};

TEST_P(StoreContract, WhatWasPutIsReadBack) {
  const PutOutcome outcome = put("a/b.txt", "hello");
  EXPECT_TRUE(outcome.written);
  EXPECT_EQ(get("a/b.txt"), "hello");
  const ObjectInfo info = store().head("a/b.txt").value().value();
  EXPECT_EQ(info.key, "a/b.txt");
  EXPECT_EQ(info.size, 5U);
  EXPECT_EQ(info.etag, outcome.etag);
  EXPECT_NE(info.etag, "");
  const auto age = std::chrono::system_clock::now() - info.modified;
  EXPECT_LT(std::chrono::abs(age), std::chrono::minutes(5));
}

TEST_P(StoreContract, AnAbsentObjectIsAbsent) {
  EXPECT_FALSE(store().head("nothing").value().has_value());
  EXPECT_EQ(store().get("nothing").error().code, Code::invalid_input);
  EXPECT_EQ(open_object(store(), "nothing").error().code, Code::invalid_input);
  EXPECT_FALSE(store().remove("nothing").value());
  EXPECT_FALSE(store().remove("no/such/folder").value());
  EXPECT_THAT(keys(), IsEmpty());
  EXPECT_THAT(keys("no/such/"), IsEmpty());
}

TEST_P(StoreContract, AFolderOfObjectsIsNoObject) {
  put("a/b", "x");
  EXPECT_FALSE(store().head("a").value().has_value());
  EXPECT_EQ(store().get("a").error().code, Code::invalid_input);
  EXPECT_FALSE(store().remove("a").value());
  EXPECT_EQ(get("a/b"), "x");
}

TEST_P(StoreContract, AnObjectHasNothingBelowIt) {
  put("a", "x");
  EXPECT_FALSE(store().head("a/b").value().has_value());
  EXPECT_EQ(store().get("a/b").error().code, Code::invalid_input);
  EXPECT_FALSE(store().remove("a/b").value());
  EXPECT_THAT(keys("a/"), IsEmpty());
}

TEST_P(StoreContract, RangesAreClipped) {
  put("k", "0123456789");
  EXPECT_EQ(get("k", {0, 3}), "012");
  EXPECT_EQ(get("k", {4, 2}), "45");
  EXPECT_EQ(get("k", {8, 100}), "89");
  EXPECT_EQ(get("k", {8}), "89");
  EXPECT_EQ(get("k", {10, 1}), "");
  EXPECT_EQ(get("k", {UINT64_MAX, UINT64_MAX}), "");
  EXPECT_EQ(get("k", {3, 0}), "");
}

TEST_P(StoreContract, EmptyObjectsAreObjects) {
  EXPECT_TRUE(put("empty", "").written);
  EXPECT_EQ(store().head("empty").value().value().size, 0U);
  EXPECT_EQ(get("empty"), "");
  EXPECT_FALSE(put("empty", "x", Condition::if_absent()).written);
  EXPECT_THAT(keys(), ElementsAre("empty"));
}

TEST_P(StoreContract, PutReplaces) {
  put("k", "a longer text");
  put("k", "short");
  EXPECT_EQ(get("k"), "short");
}

TEST_P(StoreContract, PutIfAbsentWritesOnce) {
  EXPECT_TRUE(put("k", "first", Condition::if_absent()).written);
  const PutOutcome second = put("k", "second", Condition::if_absent());
  EXPECT_FALSE(second.written);
  EXPECT_EQ(second.etag, "");
  EXPECT_EQ(get("k"), "first");
}

TEST_P(StoreContract, PutIfMatchNeedsTheEtag) {
  const std::string first = put("k", "1").etag;
  const PutOutcome second = put("k", "2", Condition::if_match(first));
  EXPECT_TRUE(second.written);
  EXPECT_FALSE(put("k", "3", Condition::if_match(first)).written);
  EXPECT_FALSE(put("absent", "3", Condition::if_match(first)).written);
  EXPECT_EQ(get("k"), "2");
  EXPECT_EQ(etag("k"), second.etag);
  EXPECT_THAT(keys(), ElementsAre("k"));
}

TEST_P(StoreContract, EveryWriteChangesTheEtag) {
  if (etags_are_hashes()) GTEST_SKIP() << "etags are hashes: equal bytes have equal ones";
  std::vector<std::string> etags;
  for (int i = 0; i < 200; ++i) etags.push_back(put("k", i % 2 == 0 ? "even" : "odd!").etag);
  std::sort(etags.begin(), etags.end());
  EXPECT_EQ(std::adjacent_find(etags.begin(), etags.end()), etags.end());
}

TEST_P(StoreContract, GetIfMatchNeedsTheEtag) {
  const std::string first = put("k", "1").etag;
  EXPECT_EQ(as_text(store().get("k", {}, first).value()), "1");
  put("k", "2");
  EXPECT_EQ(store().get("k", {}, first).error().code, Code::conflict);
}

TEST_P(StoreContract, KeysAreAnyBytes) {
  const std::string key = "a b'\"$(x)/-dash;\n\xff\xfe\x80 %20?#*";
  put(key, "x");
  EXPECT_EQ(get(key), "x");
  EXPECT_THAT(keys(), ElementsAre(key));
  EXPECT_THAT(store().url(key), testing::EndsWith("/a%20b%27%22%24%28x%29/-dash%3B%0A%FF%FE%80%20"
                                                  "%2520%3F%23%2A"));
  EXPECT_TRUE(store().remove(key).value());
}

TEST_P(StoreContract, BadKeysAreRefusedByEveryVerb) {
  using namespace std::string_literals;
  for (const std::string& key : {""s, "/"s, "/a"s, "a/"s, "a//b"s, "."s, ".."s, "a/../b"s, "../a"s,
                                 "a/."s, "a\0b"s, ".atelier-tmp-1"s, "a/.atelier-tmp-lock"s}) {
    EXPECT_EQ(store().head(key).error().code, Code::invalid_argument) << key;
    EXPECT_EQ(store().get(key).error().code, Code::invalid_argument) << key;
    EXPECT_EQ(store().put(key, {}, Condition::always()).error().code, Code::invalid_argument);
    EXPECT_EQ(store().begin_upload(key).error().code, Code::invalid_argument) << key;
    EXPECT_EQ(store().remove(key).error().code, Code::invalid_argument) << key;
    EXPECT_EQ(open_object(store(), key).error().code, Code::invalid_argument) << key;
  }
  EXPECT_TRUE(put("..a/.b/c..", "fine").written);
}

TEST_P(StoreContract, ListIsOrderedBytewiseByWholeKey) {
  for (const char* key : {"b", "a/z", "a.b", "a/b/c", "a0", "a-", "\xff", "B", "a/b.c", "a/b0"}) {
    put(key, key);
  }
  EXPECT_THAT(keys(),
              ElementsAre("B", "a-", "a.b", "a/b.c", "a/b/c", "a/b0", "a/z", "a0", "b", "\xff"));
  EXPECT_THAT(keys("a/"), ElementsAre("a/b.c", "a/b/c", "a/b0", "a/z"));
  EXPECT_THAT(keys("a/b"), ElementsAre("a/b.c", "a/b/c", "a/b0"));
  EXPECT_THAT(keys("a/b/c"), ElementsAre("a/b/c"));
  EXPECT_THAT(keys("a/b/c/"), IsEmpty());
  EXPECT_THAT(keys("../"), IsEmpty());
  EXPECT_THAT(keys("/"), IsEmpty());
  EXPECT_EQ(list_all(store(), "a/z").value().at(0).etag, etag("a/z"));
  EXPECT_EQ(list_all(store(), "a/z").value().at(0).size, 3U);
}

TEST_P(StoreContract, ListIsPaged) {
  std::vector<std::string> all;
  for (int i = 0; i < 25; ++i) all.push_back(fmt::format("{}/{:02}", i % 3, i));
  for (const std::string& key : all) put(key, "");
  std::sort(all.begin(), all.end());
  for (const size_t limit : {1U, 2U, 7U, 24U, 25U, 26U}) {
    std::vector<std::string> seen;
    std::string after;
    do {
      const ListPage page = store().list("", after, limit).value();
      ASSERT_LE(page.objects.size(), limit);
      ASSERT_FALSE(page.objects.empty()) << "a page after which there is nothing";
      for (const ObjectInfo& info : page.objects) seen.push_back(info.key);
      after = page.next;
    } while (!after.empty());
    EXPECT_EQ(seen, all) << limit;
  }
  EXPECT_EQ(store().list("", "", 0).error().code, Code::invalid_argument);
}

TEST_P(StoreContract, ListStartsAfterAnyText) {
  for (const char* key : {"a/1", "a/2", "b/1", "c"}) put(key, "");
  const auto first = [&](std::string_view prefix, std::string_view after) {
    const ListPage page = store().list(prefix, after, 1).value();
    return page.objects.empty() ? "" : page.objects[0].key;
  };
  EXPECT_EQ(first("", "a"), "a/1");
  EXPECT_EQ(first("", "a/"), "a/1");
  EXPECT_EQ(first("", "a/1"), "a/2");
  EXPECT_EQ(first("", "a/1x"), "a/2");
  EXPECT_EQ(first("", "a0"), "b/1");
  EXPECT_EQ(first("b/", "a/1"), "b/1");
  EXPECT_EQ(first("a/", "b"), "");
  EXPECT_EQ(first("", "c"), "");
}

TEST_P(StoreContract, RemovedIsGone) {
  put("a/b/c", "x");
  put("a/d", "x");
  EXPECT_TRUE(store().remove("a/b/c").value());
  EXPECT_FALSE(store().head("a/b/c").value().has_value());
  EXPECT_FALSE(store().remove("a/b/c").value());
  EXPECT_THAT(keys(), ElementsAre("a/d"));
  EXPECT_TRUE(put("a/b", "the folder's name is free", Condition::if_absent()).written);
}

TEST_P(StoreContract, UploadAppearsAtCommit) {
  auto upload = store().begin_upload("u/x").value();
  ASSERT_TRUE(upload->append(as_bytes("hello ")).ok());
  ASSERT_TRUE(upload->append({}).ok());
  ASSERT_TRUE(upload->append(as_bytes("world")).ok());
  EXPECT_FALSE(store().head("u/x").value().has_value());
  EXPECT_THAT(keys(), IsEmpty());
  const PutOutcome outcome = upload->commit(Condition::if_absent()).value();
  EXPECT_TRUE(outcome.written);
  EXPECT_EQ(get("u/x"), "hello world");
  EXPECT_EQ(etag("u/x"), outcome.etag);
  EXPECT_FALSE(upload->append(as_bytes("more")).ok());
  EXPECT_FALSE(upload->commit(Condition::always()).ok());
  upload->abort();
  EXPECT_EQ(get("u/x"), "hello world");
}

TEST_P(StoreContract, UploadObeysItsCondition) {
  const std::string first = put("k", "1").etag;
  auto upload = store().begin_upload("k").value();
  ASSERT_TRUE(upload->append(as_bytes("2")).ok());
  EXPECT_FALSE(upload->commit(Condition::if_absent()).value().written);
  EXPECT_EQ(get("k"), "1");
  upload = store().begin_upload("k").value();
  ASSERT_TRUE(upload->append(as_bytes("3")).ok());
  EXPECT_TRUE(upload->commit(Condition::if_match(first)).value().written);
  upload = store().begin_upload("k").value();
  ASSERT_TRUE(upload->append(as_bytes("4")).ok());
  EXPECT_FALSE(upload->commit(Condition::if_match(first)).value().written);
  EXPECT_EQ(get("k"), "3");
}

TEST_P(StoreContract, AbortedAndDroppedUploadsLeaveNothing) {
  auto upload = store().begin_upload("a/b/aborted").value();
  ASSERT_TRUE(upload->append(as_bytes("x")).ok());
  upload->abort();
  upload->abort();
  EXPECT_FALSE(upload->commit(Condition::always()).ok());
  ASSERT_TRUE(store().begin_upload("a/b/dropped").value()->append(as_bytes("x")).ok());
  EXPECT_THAT(keys(), IsEmpty());
  EXPECT_TRUE(put("a", "not even a folder stays", Condition::if_absent()).written);
}

TEST_P(StoreContract, OneOfManyPutIfAbsentWins) {
  if (conditions_are_advisory()) {
    GTEST_SKIP() << "the server has no conditional writes: claims are advisory";
  }
  constexpr int kThreads = 8;
  for (int round = 0; round < 10; ++round) {
    const std::string key = fmt::format("claims/{}", round);
    std::latch start(kThreads);
    std::array<std::atomic<bool>, kThreads> written{};
    {
      std::vector<std::jthread> threads;
      for (int i = 0; i < kThreads; ++i) {
        threads.emplace_back([&, i] {
          start.arrive_and_wait();
          const std::string mine = fmt::format("worker {}", i);
          written.at(i) = store().put(key, as_bytes(mine), Condition::if_absent()).value().written;
        });
      }
    }
    ASSERT_EQ(std::count(written.begin(), written.end(), true), 1);
    const auto winner = std::find(written.begin(), written.end(), true) - written.begin();
    EXPECT_EQ(get(key), fmt::format("worker {}", winner));
  }
}

TEST_P(StoreContract, IfMatchLosesNoUpdate) {
  if (conditions_are_advisory()) {
    GTEST_SKIP() << "the server has no conditional writes: claims are advisory";
  }
  constexpr int kThreads = 8;
  constexpr int kEach = 5;
  put("counter", "");
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        for (int done = 0; done < kEach;) {
          const std::string seen = etag("counter");
          const auto old = store().get("counter", {}, seen);
          if (!old.ok()) continue;
          // Who and which, so that no two writers ever write the same bytes.
          const std::string next = std::string(as_text(*old)) + fmt::format("{}{} ", i, done);
          if (put("counter", next, Condition::if_match(seen)).written) ++done;
        }
      });
    }
  }
  // At least once: a write whose answer was lost and that another overwrote at once is repeated.
  const std::string all = get("counter");
  for (int i = 0; i < kThreads; ++i) {
    for (int done = 0; done < kEach; ++done) {
      EXPECT_THAT(all, testing::HasSubstr(fmt::format("{}{} ", i, done)));
    }
  }
}

TEST_P(StoreContract, PutsAndRemovesOfOneFolderDoNotHurtEachOther) {
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      const std::string key = fmt::format("deep/er/{}", i);
      for (int round = 0; round < 25; ++round) {
        const auto outcome = store().put(key, as_bytes("x"), Condition::always());
        ASSERT_TRUE(outcome.ok()) << outcome.error().message;
        EXPECT_EQ(get(key), "x");
        const auto removed = store().remove(key);
        ASSERT_TRUE(removed.ok()) << removed.error().message;
        EXPECT_TRUE(*removed);
      }
    });
  }
  threads.clear();
  EXPECT_THAT(keys(), IsEmpty());
}

TEST_P(StoreContract, AnOpenObjectIsReadAnywhereAndNeverMixed) {
  put("k", "0123456789");
  auto source = open_object(store(), "k").value();
  EXPECT_EQ(source->size(), 10U);
  std::array<std::byte, 4> four{};
  EXPECT_EQ(source->read_at(3, four).value(), 4U);
  EXPECT_EQ(as_text(four), "3456");
  EXPECT_EQ(source->read_at(8, four).value(), 2U);
  EXPECT_EQ(source->read_at(10, four).value(), 0U);
  EXPECT_EQ(source->read_at(UINT64_MAX, four).value(), 0U);
  put("k", "9876543210");
  EXPECT_EQ(source->read_at(0, four).error().code, Code::conflict);
  source = open_object(store(), "k").value();
  EXPECT_TRUE(store().remove("k").value());
  EXPECT_EQ(source->read_at(0, four).error().code, Code::conflict);
}

TEST_P(StoreContract, AnObjectIsOpenedAtAnEtag) {
  const std::string first = put("k", "1").etag;
  EXPECT_TRUE(open_object_at(store(), "k", first).ok());
  put("k", "2");
  EXPECT_EQ(open_object_at(store(), "k", first).error().code, Code::conflict);
}

TEST_P(StoreContract, ASourceIsCopiedWhole) {
  std::vector<std::byte> bytes((size_t{17} << 20) + 3);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 31 >> 7);
  MemorySource source(bytes);
  EXPECT_TRUE(put_source(store(), "big", source, Condition::if_absent()).value().written);
  EXPECT_TRUE(store().get("big").value() == bytes);
  MemorySource other(std::vector<std::byte>(3));
  EXPECT_FALSE(put_source(store(), "big", other, Condition::if_absent()).value().written);
  MemorySource empty({});
  EXPECT_TRUE(put_source(store(), "none", empty, Condition::always()).value().written);
  EXPECT_EQ(get("none"), "");
}

TEST_P(StoreContract, BytesAreComparedWhole) {
  std::vector<std::byte> bytes((size_t{8} << 20) + 3);
  MemorySource source(bytes);
  EXPECT_EQ(same_bytes(store(), "big", source).value(), std::nullopt);
  ASSERT_TRUE(put_source(store(), "big", source, Condition::always()).value().written);
  EXPECT_EQ(same_bytes(store(), "big", source).value(), true);
  bytes.back() = std::byte{1};
  MemorySource other(bytes);
  EXPECT_EQ(same_bytes(store(), "big", other).value(), false);
  bytes.pop_back();
  MemorySource shorter(bytes);
  EXPECT_EQ(same_bytes(store(), "big", shorter).value(), false);
}

INSTANTIATE_TEST_SUITE_P(Stores, StoreContract, testing::ValuesIn(contract_kinds()),
                         [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace atelier
