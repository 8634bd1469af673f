// SPDX-License-Identifier: Apache-2.0
#include "store/check_store.h"

#include <gtest/gtest.h>

#include "store/memory_store.h"

namespace atelier {
namespace {

// A store that forgets, lies or keeps no conditions.
class OddStore final : public ObjectStore {
 public:
  bool conditional = true, keeps = true, lists = true, only_writes = false;
  std::chrono::seconds ahead{0};
  std::unique_ptr<ObjectStore> memory = make_memory_store();
  ObjectStore& inner = *memory;

  Result<std::optional<ObjectInfo>> head(std::string_view key) override {
    auto info = TRY(inner.head(key));
    if (info) info->modified += ahead;
    return info;
  }
  Result<std::vector<std::byte>> get(std::string_view key, ByteRange range,
                                     std::string_view if_match) override {
    auto bytes = TRY(inner.get(key, range, if_match));
    if (!keeps) bytes.front() ^= std::byte{1};
    return bytes;
  }
  Result<PutOutcome> put(std::string_view key, std::span<const std::byte> bytes,
                         const Condition& condition) override {
    return inner.put(key, bytes, conditional ? condition : Condition::always());
  }
  Result<std::unique_ptr<Upload>> begin_upload(std::string_view key) override {
    return inner.begin_upload(key);
  }
  Result<ListPage> list(std::string_view prefix, std::string_view after, size_t limit) override {
    if (only_writes) return make_error(Code::invalid_argument, "denied");
    return lists ? inner.list(prefix, after, limit) : ListPage();
  }
  Result<bool> remove(std::string_view key) override {
    if (only_writes) return make_error(Code::invalid_argument, "denied");
    return inner.remove(key);
  }
  Result<bool> decides_conditions(std::string_view key) override {
    return inner.decides_conditions(key);
  }
  RetryPolicy retries() const override { return inner.retries(); }
  std::string url(std::string_view key) const override { return inner.url(key); }
};

TEST(CheckStore, AGoodStoreIsGoodAndNothingStays) {
  OddStore store;
  const auto found = check_store(store, system_clock());
  ASSERT_TRUE(found.ok()) << found.error().message;
  EXPECT_TRUE(found->conditions);
  EXPECT_EQ(found->clock_ahead.count(), 0);
  EXPECT_TRUE(list_all(store.inner, "")->empty());
}

TEST(CheckStore, WithoutConditionsClaimsAreAdvisory) {
  OddStore store;
  store.conditional = false;
  const auto found = check_store(store, system_clock());
  ASSERT_TRUE(found.ok()) << found.error().message;
  EXPECT_FALSE(found->conditions);
  EXPECT_TRUE(list_all(store.inner, "")->empty());
}

TEST(CheckStore, AClockThatIsWrongIsSeenInBothDirections) {
  OddStore store;
  store.ahead = std::chrono::seconds(90);
  EXPECT_GT(check_store(store, system_clock())->clock_ahead, std::chrono::seconds(85));
  store.ahead = std::chrono::seconds(-90);
  EXPECT_LT(check_store(store, system_clock())->clock_ahead, std::chrono::seconds(-85));
}

TEST(CheckStore, AnOutputNeedsNeitherListsNorRemoval) {
  OddStore store;
  store.only_writes = true;
  EXPECT_FALSE(check_store(store, system_clock()).ok());
  const auto found = check_store(store, system_clock(), StoreRole::output);
  ASSERT_TRUE(found.ok()) << found.error().message;
  EXPECT_NE(found->left.find("atelier-doctor-"), std::string::npos);
  store.only_writes = false;
  EXPECT_EQ(check_store(store, system_clock(), StoreRole::output)->left, "");
}

TEST(CheckStore, WhatIsNotKeptOrNotListedIsAnErrorAndNothingStays) {
  OddStore store;
  store.keeps = false;
  auto found = check_store(store, system_clock());
  ASSERT_FALSE(found.ok());
  EXPECT_NE(found.error().message.find("does not hold what was put"), std::string::npos);
  store.keeps = true;
  store.lists = false;
  found = check_store(store, system_clock());
  ASSERT_FALSE(found.ok());
  EXPECT_NE(found.error().message.find("is not listed"), std::string::npos);
  EXPECT_TRUE(list_all(store.inner, "")->empty());
}

}  // namespace
}  // namespace atelier
