// SPDX-License-Identifier: Apache-2.0
// Key rings in stores whose conditions are advisory: whatever comes between a look and a write, no
// store key is lost.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <latch>
#include <thread>

#include "base/hash.h"
#include "store/encrypting_store.h"
#include "store/key_ring.h"
#include "store/memory_store.h"
#include "store/s3/fake_s3.h"

namespace atelier {
namespace {

using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;

MasterKey master(int number) {
  std::array<std::byte, SecretKey::kSize> bytes{};
  bytes[0] = static_cast<std::byte>(number);
  return MasterKey(SecretKey(bytes));
}

// Looks, and then writes whatever came between: as S3 is without conditional writes.
class AdvisoryStore final : public ObjectStore {
 public:
  explicit AdvisoryStore(ObjectStore& inner) : inner_(inner) {}
  std::function<void()> before_write;  // once, after the look
  bool hides = false;                  // lists show nothing, as they may for a while

  Result<std::optional<ObjectInfo>> head(std::string_view key) override { return inner_.head(key); }
  Result<std::vector<std::byte>> get(std::string_view key, ByteRange range,
                                     std::string_view if_match) override {
    return inner_.get(key, range, if_match);
  }
  Result<PutOutcome> put(std::string_view key, std::span<const std::byte> bytes,
                         const Condition& condition) override {
    const auto now = TRY(inner_.head(key));
    using Kind = Condition::Kind;
    if (condition.kind == Kind::if_absent && now) return PutOutcome{};
    if (condition.kind == Kind::if_match && (!now || now->etag != condition.etag)) {
      return PutOutcome{};
    }
    if (const auto hook = std::exchange(before_write, nullptr)) hook();
    return inner_.put(key, bytes, Condition::always());
  }
  Result<std::unique_ptr<Upload>> begin_upload(std::string_view key) override {
    return inner_.begin_upload(key);
  }
  Result<ListPage> list(std::string_view prefix, std::string_view after, size_t limit) override {
    return hides ? ListPage{} : inner_.list(prefix, after, limit);
  }
  Result<bool> remove(std::string_view key) override { return inner_.remove(key); }
  Result<bool> decides_conditions(std::string_view /*key*/) override { return false; }
  std::string url(std::string_view key) const override { return inner_.url(key); }

 private:
  ObjectStore& inner_;
};

class AdvisoryRings : public testing::Test {
 protected:
  std::unique_ptr<ObjectStore> open(int key = 1) {
    auto store = open_encrypting_store(advisory, master(key));
    EXPECT_TRUE(store.ok()) << store.error().message;
    return store.ok() ? std::move(store).value() : nullptr;
  }
  std::vector<std::string> rings() {
    std::vector<std::string> keys;
    for (const ObjectInfo& info : list_all(*memory, kKeysName).value()) keys.push_back(info.key);
    return keys;
  }
  // As places have it that were made where conditions are decided, and then copied here.
  void give_one_ring() { ASSERT_TRUE(open_key_ring(*memory, master(1)).ok()); }
  std::unique_ptr<ObjectStore> memory = make_memory_store();
  AdvisoryStore advisory{*memory};
};

void put(ObjectStore& store, std::string_view key, std::string_view text) {
  ASSERT_TRUE(store.put(key, as_bytes(text), Condition::always()).value().written);
}

std::string text_of(ObjectStore& store, std::string_view key) {
  const auto bytes = store.get(key);
  return bytes.ok() ? std::string(as_text(*bytes)) : bytes.error().message;
}

std::string sealed_by(ObjectStore& inner, std::string_view key) {
  return to_hex(encrypted::store_key_of(inner.get(key).value(), "").value());
}

TEST_F(AdvisoryRings, TwoOpenersOfAnEmptyPlaceReadEachOther) {
  std::unique_ptr<ObjectStore> second;
  advisory.before_write = [&] {
    second = open();
    put(*second, "second", "2");
  };
  const auto first = open();
  ASSERT_TRUE(first && second);
  put(*first, "first", "1");
  EXPECT_EQ(text_of(*second, "first"), "1");
  EXPECT_EQ(text_of(*first, "second"), "2");
  const auto later = open();
  EXPECT_EQ(text_of(*later, "first") + text_of(*later, "second"), "12");
  EXPECT_THAT(rings(), AllOf(SizeIs(2), Each(StartsWith(kOwnRings))));
}

TEST_F(AdvisoryRings, StoreKeysThatAreAddedAtOnceStay) {
  const auto before = open();
  put(*before, "old", "0");
  std::unique_ptr<ObjectStore> with_second;
  advisory.before_write = [&] {
    ASSERT_TRUE(add_store_key(advisory, master(1)).ok());
    with_second = open();
    put(*with_second, "second", "2");
  };
  ASSERT_TRUE(add_store_key(advisory, master(1)).ok());
  EXPECT_EQ(read_key_ring(advisory, master(1)).value().keys.size(), 3U);
  const auto after = open();
  put(*after, "new", "1");
  EXPECT_NE(sealed_by(*memory, "new"), sealed_by(*memory, "old"));
  for (ObjectStore* store : {before.get(), with_second.get(), after.get()}) {
    EXPECT_EQ(text_of(*store, "old") + text_of(*store, "second") + text_of(*store, "new"), "021");
  }
  // One that is added with both at hand is the newest.
  ASSERT_TRUE(add_store_key(advisory, master(1)).ok());
  const KeyRing all = read_key_ring(advisory, master(1)).value();
  EXPECT_EQ(all.keys.size(), 4U);
  put(*open(), "newest", "x");
  EXPECT_EQ(sealed_by(*memory, "newest"), to_hex(all.newest().id));
}

TEST_F(AdvisoryRings, AKeyIsFoundByItsIdBeforeListsShowIt) {
  const auto before = open();
  ASSERT_TRUE(add_store_key(advisory, master(1)).ok());
  put(*open(), "k", "x");
  advisory.hides = true;
  EXPECT_EQ(text_of(*before, "k"), "x");
}

TEST_F(AdvisoryRings, AnOpenerKnowsItsOwnRingBeforeListsShowIt) {
  advisory.hides = true;
  const auto first = open();
  ASSERT_TRUE(first);
  put(*first, "k", "x");
  advisory.hides = false;
  EXPECT_THAT(rings(), SizeIs(1));
  EXPECT_EQ(text_of(*open(), "k"), "x");
}

TEST_F(AdvisoryRings, AnotherMasterKeyIsOfAllRings) {
  const auto before = open();
  put(*before, "old", "1");
  ASSERT_TRUE(add_store_key(advisory, master(1)).ok());
  put(*open(), "new", "2");
  EXPECT_FALSE(rotate_master_key(advisory, master(3), master(2)).ok());
  EXPECT_TRUE(rotate_master_key(advisory, master(1), master(2)).value());
  EXPECT_FALSE(rotate_master_key(advisory, master(1), master(2)).value());
  EXPECT_EQ(open_encrypting_store(advisory, master(1)).error().code, Code::invalid_argument);
  const auto after = open(2);
  EXPECT_EQ(text_of(*after, "old") + text_of(*after, "new"), "12");
}

TEST_F(AdvisoryRings, ARotationThatWasCutShortIsToldAndRepeated) {
  open();
  ASSERT_TRUE(add_store_key(advisory, master(1)).ok());
  const auto one = rings().front();
  const KeyRing ring = parse_key_ring(memory->get(one).value(), master(1), one).value();
  ASSERT_TRUE(memory->put(one, seal_key_ring(ring, master(2), {}), Condition::always()).ok());
  for (const int key : {1, 2}) {
    const auto opened = open_encrypting_store(advisory, master(key));
    EXPECT_EQ(opened.error().code, Code::invalid_argument);
    EXPECT_THAT(opened.error().message, HasSubstr("rekey"));
  }
  EXPECT_TRUE(rotate_master_key(advisory, master(1), master(2)).value());
  EXPECT_EQ(read_key_ring(advisory, master(2)).value().keys.size(), 2U);
}

TEST_F(AdvisoryRings, AKeyThatIsAddedDuringARotationIsSealedAnew) {
  open();
  advisory.before_write = [&] { ASSERT_TRUE(add_store_key(advisory, master(1)).ok()); };
  EXPECT_TRUE(rotate_master_key(advisory, master(1), master(2)).value());
  EXPECT_EQ(read_key_ring(advisory, master(2)).value().keys.size(), 2U);
}

TEST_F(AdvisoryRings, ARotationDuringAnAdditionIsTold) {
  open();
  advisory.before_write = [&] {
    ASSERT_TRUE(rotate_master_key(advisory, master(1), master(2)).value());
  };
  const auto added = add_store_key(advisory, master(1));
  ASSERT_FALSE(added.ok());
  EXPECT_THAT(added.error().message, HasSubstr("rekey"));
  EXPECT_TRUE(rotate_master_key(advisory, master(1), master(2)).value());
  EXPECT_EQ(read_key_ring(advisory, master(2)).value().keys.size(), 2U);
}

TEST_F(AdvisoryRings, OneRingThatWasCopiedHereGetsANameOfItsOwnBeforeItIsChanged) {
  give_one_ring();
  put(*open(), "old", "1");
  EXPECT_THAT(rings(), ElementsAre(std::string(kKeyRingKey)));
  ASSERT_TRUE(add_store_key(advisory, master(1)).ok());
  EXPECT_THAT(rings(), AllOf(SizeIs(2), Each(StartsWith(kOwnRings))));
  EXPECT_EQ(text_of(*open(), "old"), "1");
}

TEST_F(AdvisoryRings, OneRingThatWasCopiedHereGetsAnotherMasterKey) {
  give_one_ring();
  put(*open(), "old", "1");
  EXPECT_TRUE(rotate_master_key(advisory, master(1), master(2)).value());
  EXPECT_THAT(rings(), AllOf(SizeIs(1), Each(StartsWith(kOwnRings))));
  EXPECT_EQ(text_of(*open(2), "old"), "1");
}

TEST_F(AdvisoryRings, TheOneRingThatComesBackHidesNoKey) {
  give_one_ring();
  const std::vector<std::byte> copy = memory->get(kKeyRingKey).value();
  put(*open(), "old", "1");
  ASSERT_TRUE(add_store_key(advisory, master(1)).ok());
  put(*open(), "new", "2");
  ASSERT_TRUE(memory->put(kKeyRingKey, copy, Condition::always()).ok());
  const auto back = open();
  EXPECT_EQ(text_of(*back, "old") + text_of(*back, "new"), "12");
  EXPECT_TRUE(rotate_master_key(advisory, master(1), master(2)).value());
  EXPECT_THAT(rings(), Each(StartsWith(kOwnRings)));
  const auto after = open(2);
  EXPECT_EQ(text_of(*after, "old") + text_of(*after, "new"), "12");
}

// By S3's client, over a server that has no conditional writes.
TEST(S3Rings, ManyOpenersOfAnEmptyPlaceReadEachOther) {
  constexpr int kThreads = 6;
  for (int round = 0; round < 5; ++round) {
    s3::FakeS3 fake(s3::FakeS3::Conditions::ignored);
    TestServer server([&](const TestRequest& request) { return fake.answer(request); });
    FakeClock clock;
    std::latch start(kThreads);
    std::vector<std::jthread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        const auto inner = s3::open_s3_store(s3::options_for(server), clock).value();
        start.arrive_and_wait();
        auto store = open_encrypting_store(*inner, master(1));
        ASSERT_TRUE(store.ok()) << store.error().message;
        put(**store, fmt::format("{}", i), fmt::format("from {}", i));
      });
    }
    threads.clear();
    const auto inner = s3::open_s3_store(s3::options_for(server), clock).value();
    const auto store = open_encrypting_store(*inner, master(1)).value();
    for (int i = 0; i < kThreads; ++i) {
      EXPECT_EQ(text_of(*store, fmt::format("{}", i)), fmt::format("from {}", i));
    }
    EXPECT_THAT(fake.keys(), Not(testing::Contains(HasSubstr("probe")))) << "nothing stays";
  }
}

}  // namespace
}  // namespace atelier
