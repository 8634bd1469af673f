// SPDX-License-Identifier: Apache-2.0
#include "store/key_ring.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <latch>
#include <thread>

#include "store/encrypting_store.h"
#include "store/faulty_store.h"
#include "store/memory_store.h"

namespace atelier {
namespace {

using testing::HasSubstr;

MasterKey master(int number) {
  std::array<std::byte, SecretKey::kSize> bytes{};
  bytes[0] = static_cast<std::byte>(number);
  return MasterKey(SecretKey(bytes));
}

bool same_keys(const KeyRing& a, const KeyRing& b) {
  return std::ranges::equal(a.keys, b.keys, [](const auto& x, const auto& y) {
    return x.id == y.id && std::ranges::equal(x.key.bytes(), y.key.bytes());
  });
}

std::vector<std::byte> ring_bytes(ObjectStore& store) {
  return store.get(kKeyRingKey, {}, {}).value();
}

void put(ObjectStore& store, std::string_view key, std::string_view text) {
  ASSERT_TRUE(store.put(key, as_bytes(text), Condition::always()).value().written);
}

std::string text_of(ObjectStore& store, std::string_view key) {
  return std::string(as_text(store.get(key, {}, {}).value()));
}

TEST(KeyRing, IsMadeOnceAndReadAfterwards) {
  auto memory = make_memory_store();
  EXPECT_EQ(read_key_ring(*memory, master(1)).error().code, Code::invalid_argument);
  const KeyRing made = open_key_ring(*memory, master(1)).value();
  EXPECT_EQ(made.keys.size(), 1U);
  EXPECT_TRUE(same_keys(open_key_ring(*memory, master(1)).value(), made));
  EXPECT_TRUE(same_keys(read_key_ring(*memory, master(1)).value(), made));
}

TEST(KeyRing, ManyOpenersOfAnEmptyStoreAgree) {
  constexpr int kThreads = 8;
  for (int round = 0; round < 20; ++round) {
    auto memory = make_memory_store();
    std::latch start(kThreads);
    std::vector<std::jthread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        start.arrive_and_wait();
        auto store = open_encrypting_store(*memory, master(1));
        ASSERT_TRUE(store.ok()) << store.error().message;
        put(**store, fmt::format("{}", i), fmt::format("from {}", i));
      });
    }
    threads.clear();
    auto store = open_encrypting_store(*memory, master(1)).value();
    for (int i = 0; i < kThreads; ++i) {
      EXPECT_EQ(text_of(*store, fmt::format("{}", i)), fmt::format("from {}", i));
    }
  }
}

// Whoever lost the race sees an empty place, then a ring and the winner's first object.
TEST(KeyRing, AnOpenerThatIsLateByOneCallFindsTheOthersRing) {
  auto memory = make_memory_store();
  bool before = true;
  FaultyStore faulty(*memory, [&](StoreVerb verb, uint64_t) {
    if (verb == StoreVerb::list && std::exchange(before, false)) {
      put(*open_encrypting_store(*memory, master(1)).value(), "first", "x");
    }
    return Fault::none;
  });
  auto late = open_encrypting_store(faulty, master(1)).value();
  EXPECT_EQ(text_of(*late, "first"), "x");
}

TEST(KeyRing, APlaceWithObjectsAndWithoutARingIsRefused) {
  auto memory = make_memory_store();
  put(*memory, "plain", "x");
  const auto opened = open_encrypting_store(*memory, master(1));
  EXPECT_EQ(opened.error().code, Code::invalid_argument);
  EXPECT_THAT(opened.error().message, HasSubstr("memory:/.atelier-keys/ring does not exist"));
  EXPECT_FALSE(memory->head(kKeyRingKey).value().has_value());
}

TEST(KeyRing, AWrongMasterKeyIsToldWhenTheStoreIsOpened) {
  auto memory = make_memory_store();
  put(*open_encrypting_store(*memory, master(1)).value(), "k", "x");
  const auto opened = open_encrypting_store(*memory, master(2));
  EXPECT_EQ(opened.error().code, Code::invalid_argument);
  EXPECT_THAT(opened.error().message, HasSubstr("master key"));
}

TEST(KeyRing, NoTouchedOrCutRingIsOpened) {
  auto memory = make_memory_store();
  ASSERT_TRUE(open_key_ring(*memory, master(1)).ok());
  ASSERT_TRUE(add_store_key(*memory, master(1)).ok());
  const std::vector<std::byte> good = ring_bytes(*memory);
  ASSERT_EQ(good.size(), 76U + 2 * 48U);
  const auto code_of = [](std::span<const std::byte> bytes) {
    const auto ring = parse_key_ring(bytes, master(1), "memory:/ring");
    return ring.ok() ? Code::internal : ring.error().code;
  };
  for (size_t at = 0; at < good.size(); ++at) {
    for (const int bit : {0, 7}) {
      std::vector<std::byte> touched = good;
      touched[at] ^= std::byte{1} << bit;
      const bool fingerprint = at >= 16 && at < 48;
      EXPECT_EQ(code_of(touched), fingerprint ? Code::invalid_argument : Code::corrupt) << at;
    }
  }
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_EQ(code_of(std::span(good).first(size)), Code::corrupt) << size;
  }
  std::vector<std::byte> longer = good;
  longer.push_back({});
  EXPECT_EQ(code_of(longer), Code::corrupt);
}

TEST(Rotation, ObjectsStayAndTheMasterKeyChanges) {
  auto memory = make_memory_store();
  auto before = open_encrypting_store(*memory, master(1)).value();
  put(*before, "k", "text");
  const auto stored = memory->get("k").value();
  EXPECT_TRUE(rotate_master_key(*memory, master(1), master(2)).value());
  EXPECT_EQ(memory->get("k").value(), stored);
  EXPECT_EQ(open_encrypting_store(*memory, master(1)).error().code, Code::invalid_argument);
  auto after = open_encrypting_store(*memory, master(2)).value();
  EXPECT_EQ(text_of(*after, "k"), "text");
  // Who has it open notices nothing, and is understood.
  EXPECT_EQ(text_of(*before, "k"), "text");
  put(*before, "later", "old hand");
  EXPECT_EQ(text_of(*after, "later"), "old hand");
}

TEST(Rotation, MayBeRepeatedAndNeedsTheOldKey) {
  auto memory = make_memory_store();
  EXPECT_EQ(rotate_master_key(*memory, master(1), master(2)).error().code, Code::invalid_argument);
  ASSERT_TRUE(open_key_ring(*memory, master(1)).ok());
  EXPECT_EQ(rotate_master_key(*memory, master(3), master(2)).error().code, Code::invalid_argument);
  EXPECT_TRUE(read_key_ring(*memory, master(1)).ok());
  EXPECT_TRUE(rotate_master_key(*memory, master(1), master(2)).value());
  EXPECT_FALSE(rotate_master_key(*memory, master(1), master(2)).value());
  EXPECT_TRUE(rotate_master_key(*memory, master(2), master(1)).value());
}

TEST(Rotation, ADeathInTheMiddleLeavesTheOldKeyOrTheNewOne) {
  for (const Fault fault : {Fault::before, Fault::after}) {
    auto memory = make_memory_store();
    put(*open_encrypting_store(*memory, master(1)).value(), "k", "text");
    FaultyStore faulty(*memory, scripted_faults({{StoreVerb::put, 0, fault}}));
    EXPECT_EQ(rotate_master_key(faulty, master(1), master(2)).error().code, Code::unavailable);
    const bool done = fault == Fault::after;
    EXPECT_EQ(read_key_ring(*memory, master(1)).ok(), !done);
    EXPECT_EQ(read_key_ring(*memory, master(2)).ok(), done);
    EXPECT_EQ(rotate_master_key(faulty, master(1), master(2)).value(), !done);
    EXPECT_EQ(text_of(*open_encrypting_store(*memory, master(2)).value(), "k"), "text");
  }
}

TEST(Rotation, LosesNoStoreKeyThatIsAddedMeanwhile) {
  auto memory = make_memory_store();
  ASSERT_TRUE(open_key_ring(*memory, master(1)).ok());
  bool once = true;
  FaultyStore faulty(*memory, [&](StoreVerb verb, uint64_t) {
    if (verb == StoreVerb::put && std::exchange(once, false)) {
      EXPECT_TRUE(add_store_key(*memory, master(1)).ok());
    }
    return Fault::none;
  });
  EXPECT_TRUE(rotate_master_key(faulty, master(1), master(2)).value());
  EXPECT_EQ(read_key_ring(*memory, master(2)).value().keys.size(), 2U);
}

TEST(StoreKeys, ANewOneSealsWhatIsWrittenAndIsFoundByWhoHasTheStoreOpen) {
  auto memory = make_memory_store();
  auto before = open_encrypting_store(*memory, master(1)).value();
  put(*before, "old", "1");
  ASSERT_TRUE(add_store_key(*memory, master(1)).ok());
  const KeyRing ring = read_key_ring(*memory, master(1)).value();
  ASSERT_EQ(ring.keys.size(), 2U);
  auto after = open_encrypting_store(*memory, master(1)).value();
  put(*after, "new", "2");
  const auto key_of = [&](std::string_view key) {
    return encrypted::store_key_of(memory->get(key).value(), "").value();
  };
  EXPECT_EQ(key_of("old"), ring.keys[0].id);
  EXPECT_EQ(key_of("new"), ring.keys[1].id);
  EXPECT_EQ(text_of(*after, "old"), "1");
  EXPECT_EQ(text_of(*before, "new"), "2");
  put(*before, "newer", "3");
  EXPECT_EQ(key_of("newer"), ring.keys[1].id);
}

TEST(StoreKeys, ANewOneAfterARotationNeedsTheNewMasterKey) {
  auto memory = make_memory_store();
  auto before = open_encrypting_store(*memory, master(1)).value();
  ASSERT_TRUE(rotate_master_key(*memory, master(1), master(2)).value());
  EXPECT_EQ(add_store_key(*memory, master(1)).error().code, Code::invalid_argument);
  ASSERT_TRUE(add_store_key(*memory, master(2)).ok());
  put(*open_encrypting_store(*memory, master(2)).value(), "k", "x");
  const auto read = before->get("k");
  EXPECT_EQ(read.error().code, Code::invalid_argument);
  EXPECT_THAT(read.error().message, HasSubstr("rotated"));
}

TEST(StoreKeys, ThereAreNotAnyNumber) {
  auto memory = make_memory_store();
  KeyRing ring;
  for (size_t i = 0; i < kMostStoreKeys; ++i) ring.keys.push_back({{}, master(1).key().copy()});
  ASSERT_TRUE(memory->put(kKeyRingKey, seal_key_ring(ring, master(1), {}), {}).ok());
  EXPECT_EQ(read_key_ring(*memory, master(1)).value().keys.size(), kMostStoreKeys);
  EXPECT_EQ(add_store_key(*memory, master(1)).error().code, Code::invalid_argument);
}

}  // namespace
}  // namespace atelier
