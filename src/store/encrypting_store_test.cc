// SPDX-License-Identifier: Apache-2.0
// What encryption adds to the contract of a store: damage is seen, nothing leaks, and few calls are
// made for it.
#include "store/encrypting_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <thread>

#include "store/counting_store.h"
#include "store/encrypted_object.h"
#include "store/faulty_store.h"
#include "store/memory_store.h"

namespace atelier {
namespace {

using encrypted::kFrameSize;
using encrypted::kHeaderSize;
using encrypted::kSealedFrameSize;
using testing::ElementsAre;
using testing::HasSubstr;

using Bytes = std::vector<std::byte>;

MasterKey test_master() {
  return MasterKey(SecretKey(std::array<std::byte, SecretKey::kSize>{std::byte{7}}));
}

// Memory behind a counter behind encryption.
struct Vault {
  std::unique_ptr<ObjectStore> memory = make_memory_store();
  CountingStore counting{*memory};
  std::unique_ptr<ObjectStore> store = open_encrypting_store(counting, test_master()).value();

  void put(std::string_view key, std::span<const std::byte> bytes) const {
    ASSERT_TRUE(store->put(key, bytes, Condition::always()).value().written);
  }
  Bytes stored(std::string_view key) const { return memory->get(key, {}, {}).value(); }
  void set_stored(std::string_view key, std::span<const std::byte> bytes) const {
    ASSERT_TRUE(memory->put(key, bytes, Condition::always()).value().written);
  }
  // The code of reading the whole object.
  Code code_of(std::string_view key) const {
    const auto bytes = store->get(key, {}, {});
    return bytes.ok() ? Code::internal : bytes.error().code;
  }
};

Bytes pattern(size_t size, unsigned seed = 1) {
  Bytes bytes(size);
  std::minstd_rand draw(seed);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(draw() >> 8);
  return bytes;
}

Bytes join(std::initializer_list<std::span<const std::byte>> parts) {
  Bytes all;
  for (const auto part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

// Header, frame 0, 1, 2... of a stored object.
std::vector<std::span<const std::byte>> pieces_of(std::span<const std::byte> stored) {
  std::vector<std::span<const std::byte>> pieces = {stored.first(kHeaderSize)};
  for (size_t at = kHeaderSize; at < stored.size(); at += kSealedFrameSize) {
    pieces.push_back(stored.subspan(at, std::min<size_t>(kSealedFrameSize, stored.size() - at)));
  }
  return pieces;
}

TEST(EncryptingStore, EveryTouchedByteIsSeen) {
  const Vault vault;
  vault.put("a/b", as_bytes("hello"));
  const Bytes good = vault.stored("a/b");
  for (size_t at = 0; at < good.size(); ++at) {
    for (const unsigned change : {0x01U, 0x80U, 0xffU}) {
      Bytes touched = good;
      touched[at] ^= static_cast<std::byte>(change);
      vault.set_stored("a/b", touched);
      const auto bytes = vault.store->get("a/b");
      ASSERT_FALSE(bytes.ok()) << at;
      EXPECT_EQ(bytes.error().code, Code::corrupt) << at;
      EXPECT_THAT(bytes.error().message, HasSubstr("memory:/a/b")) << at;
    }
  }
}

TEST(EncryptingStore, EveryCutIsSeen) {
  const Vault vault;
  vault.put("k", as_bytes("hello"));
  const Bytes good = vault.stored("k");
  for (size_t size = 0; size < good.size(); ++size) {
    vault.set_stored("k", std::span(good).first(size));
    EXPECT_EQ(vault.code_of("k"), Code::corrupt) << size;
    EXPECT_EQ(vault.store->get("k", {uint64_t{3} << 20, 1}, {}).error().code, Code::corrupt);
  }
  for (size_t more = 1; more < 40; ++more) {
    Bytes longer = good;
    longer.resize(good.size() + more);
    vault.set_stored("k", longer);
    EXPECT_EQ(vault.code_of("k"), Code::corrupt) << more;
  }
}

TEST(EncryptingStore, FramesCannotBeLeftOutMovedOrRepeated) {
  const Vault vault;
  vault.put("k", pattern(4 * kFrameSize));
  const Bytes good = vault.stored("k");
  const auto p = pieces_of(good);
  ASSERT_EQ(p.size(), 5U);
  const std::vector<Bytes> bad = {
      join({p[0]}),
      join({p[0], p[1]}),
      join({p[0], p[1], p[2], p[3]}),              // the last one left out
      join({p[0], p[2], p[3], p[4]}),              // the first one
      join({p[0], p[1], p[3], p[4]}),              // one in the middle
      join({p[0], p[2], p[1], p[3], p[4]}),        // two swapped
      join({p[0], p[1], p[2], p[4], p[3]}),        // the last two swapped
      join({p[0], p[1], p[2], p[2], p[3], p[4]}),  // one repeated
      join({p[0], p[1], p[2], p[3], p[4], p[4]}),  // the last one repeated
      join({p[0], p[4]}),                          // the last one alone
      join({p[1], p[2], p[3], p[4]}),              // no header
      join({p[0], p[0], p[1], p[2], p[3], p[4]}),
  };
  for (size_t i = 0; i < bad.size(); ++i) {
    vault.set_stored("k", bad[i]);
    EXPECT_EQ(vault.code_of("k"), Code::corrupt) << i;
  }
  vault.set_stored("k", good);
  EXPECT_TRUE(vault.store->get("k").value() == pattern(4 * kFrameSize));
}

TEST(EncryptingStore, ACutBetweenFramesIsSeenByEveryReadThatReachesTheEnd) {
  const Vault vault;
  vault.put("k", pattern(3 * kFrameSize));
  const Bytes good = vault.stored("k");
  vault.set_stored("k", std::span(good).first(kHeaderSize + 2 * kSealedFrameSize));
  const auto read = [&](uint64_t offset, uint64_t length) {
    return vault.store->get("k", {offset, length}, {});
  };
  // By arithmetic it looks whole, and what is read without reaching the end is right.
  EXPECT_EQ(vault.store->head("k").value()->size, 2 * kFrameSize);
  EXPECT_TRUE(read(5, 100).ok());
  EXPECT_EQ(read(kFrameSize, kFrameSize).error().code, Code::corrupt);
  EXPECT_EQ(read(kFrameSize, 1).error().code, Code::corrupt);
  EXPECT_EQ(read(2 * kFrameSize - 1, 1).error().code, Code::corrupt);
  EXPECT_EQ(read(2 * kFrameSize, 1).error().code, Code::corrupt);
  EXPECT_EQ(read(uint64_t{1} << 60, 1).error().code, Code::corrupt);
}

TEST(EncryptingStore, NothingOfAnotherObjectFits) {
  const Vault vault;
  const Bytes plain = pattern(2 * kFrameSize + 9);
  vault.put("k", plain);
  const Bytes earlier = vault.stored("k");
  vault.put("k", plain);
  vault.put("other", plain);
  const Bytes good = vault.stored("k");
  const Bytes other = vault.stored("other");
  const auto p = pieces_of(good);
  for (const Bytes& foreign : {earlier, other}) {
    const auto q = pieces_of(foreign);
    for (size_t i = 0; i < p.size(); ++i) {
      auto mixed = p;
      mixed[i] = q[i];
      vault.set_stored("k", join({mixed[0], mixed[1], mixed[2], mixed[3]}));
      EXPECT_EQ(vault.code_of("k"), Code::corrupt) << i;
    }
  }
  // Two objects changed places.
  vault.set_stored("k", other);
  vault.set_stored("other", good);
  EXPECT_EQ(vault.code_of("k"), Code::corrupt);
  EXPECT_EQ(vault.code_of("other"), Code::corrupt);
  // Another store under the same master key.
  const Vault neighbour;
  neighbour.put("k", plain);
  vault.set_stored("k", neighbour.stored("k"));
  EXPECT_EQ(vault.code_of("k"), Code::corrupt);
}

TEST(EncryptingStore, APlainObjectIsToldAsSuch) {
  const Vault vault;
  for (const size_t size : {size_t{0}, size_t{5}, size_t{5000}}) {
    vault.set_stored("plain", pattern(size));
    const auto bytes = vault.store->get("plain");
    EXPECT_EQ(bytes.error().code, Code::corrupt);
    EXPECT_THAT(bytes.error().message, HasSubstr("memory:/plain is not encrypted"));
  }
  vault.set_stored("plain", pattern(5));
  EXPECT_EQ(vault.store->head("plain").error().code, Code::corrupt);
  EXPECT_EQ(open_object(*vault.store, "plain").error().code, Code::corrupt);
  // One strange object does not hide the others.
  vault.put("good", as_bytes("12345"));
  const auto listed = list_all(*vault.store, {}).value();
  ASSERT_EQ(listed.size(), 2U);
  EXPECT_EQ(listed[0].size, 5U);
  EXPECT_EQ(listed[1].size, 0U);
  EXPECT_TRUE(vault.store->remove("plain").value());
}

// The obvious store beside the clever one, at sizes around the frames' borders.
TEST(EncryptingStore, RandomRangesAreThoseOfAMemoryStore) {
  const Vault vault;
  auto plain_store = make_memory_store();
  std::minstd_rand draw(11);
  const auto below = [&](uint64_t limit) { return draw() % limit; };
  for (const uint64_t border : {uint64_t{0}, kFrameSize, 2 * kFrameSize, 3 * kFrameSize}) {
    for (const int shift : {-17, -1, 0, 1, 16, 17, 70'000}) {
      if (border == 0 && shift < 0) continue;
      const Bytes bytes = pattern(border + shift, static_cast<unsigned>(draw()));
      ASSERT_TRUE(plain_store->put("k", bytes, Condition::always()).ok());
      if (shift % 2 == 0) {
        vault.put("k", bytes);
      } else {
        auto upload = vault.store->begin_upload("k").value();
        for (size_t at = 0; at < bytes.size();) {
          const size_t count = std::min<size_t>(1 + below(3 * kFrameSize / 2), bytes.size() - at);
          ASSERT_TRUE(upload->append(std::span(bytes).subspan(at, count)).ok());
          at += count;
        }
        ASSERT_TRUE(upload->commit(Condition::always()).value().written);
      }
      EXPECT_EQ(vault.store->head("k").value()->size, bytes.size());
      EXPECT_TRUE(vault.store->get("k").value() == bytes);
      const std::string etag = vault.store->head("k").value()->etag;
      for (int i = 0; i < 12; ++i) {
        // Near a border, or anywhere; short, long, or to the end.
        ByteRange range{below(bytes.size() + 100), below(2) == 0 ? below(50) : below(2 << 20)};
        if (below(3) == 0) range.offset = below(4) * kFrameSize + below(3) - (below(2) & border);
        if (below(5) == 0) range.length = UINT64_MAX;
        const auto wanted = plain_store->get("k", range, {}).value();
        const auto got = vault.store->get("k", range, below(2) == 0 ? etag : std::string());
        ASSERT_TRUE(got.ok()) << got.error().message;
        EXPECT_TRUE(*got == wanted) << bytes.size() << ": " << range.offset << ", " << range.length;
      }
    }
  }
}

TEST(EncryptingStore, ThePlainBytesAreNowhereInTheInnerStore) {
  const Vault vault;
  Bytes plain;
  while (plain.size() < 2 * kFrameSize) {
    const auto word = as_bytes("confidential ");
    plain.insert(plain.end(), word.begin(), word.end());
  }
  vault.put("k", plain);
  MemorySource source(plain);
  ASSERT_TRUE(put_source(*vault.store, "u", source, Condition::always()).value().written);
  const auto word = as_bytes("confid");
  for (const ObjectInfo& info : list_all(*vault.memory, {}).value()) {
    const Bytes stored = vault.stored(info.key);
    EXPECT_TRUE(std::ranges::search(stored, word).empty()) << info.key;
    EXPECT_TRUE(std::ranges::search(stored, test_master().key().bytes()).empty()) << info.key;
  }
}

TEST(EncryptingStore, TheKeysCanNeitherBeSeenNorReached) {
  const Vault vault;
  ObjectStore& store = *vault.store;
  const Bytes ring = vault.stored(kKeyRingKey);
  for (const char* key : {".atelier-keys/ring", ".atelier-keys", ".atelier-keys2/x"}) {
    EXPECT_EQ(store.head(key).error().code, Code::invalid_argument);
    EXPECT_EQ(store.get(key).error().code, Code::invalid_argument);
    EXPECT_EQ(store.put(key, {}, Condition::always()).error().code, Code::invalid_argument);
    EXPECT_EQ(store.begin_upload(key).error().code, Code::invalid_argument);
    EXPECT_EQ(store.remove(key).error().code, Code::invalid_argument);
    EXPECT_EQ(open_object(store, key).error().code, Code::invalid_argument);
  }
  EXPECT_EQ(vault.stored(kKeyRingKey), ring);
  vault.put("deep/.atelier-keys", as_bytes("only the first part is taken"));
  EXPECT_TRUE(list_all(store, ".atelier-keys").value().empty());
  EXPECT_TRUE(list_all(store, ".ate").value().empty());
  EXPECT_EQ(list_all(store, {}).value().size(), 1U);
}

TEST(EncryptingStore, PagesEndWhereOnlyTheKeysFollow) {
  const Vault vault;
  const auto page = [&](std::string_view after, size_t limit) {
    const ListPage listed = vault.store->list({}, after, limit).value();
    std::string text;
    for (const ObjectInfo& info : listed.objects) text += info.key + " ";
    return text + "then " + (listed.next.empty() ? "nothing" : listed.next);
  };
  EXPECT_EQ(page("", 1), "then nothing");
  vault.put("!a", {});
  vault.put("!b", {});
  EXPECT_EQ(page("", 1), "!a then !a");
  EXPECT_EQ(page("!a", 1), "!b then nothing");
  EXPECT_EQ(page("", 2), "!a !b then nothing");
  EXPECT_EQ(page("", 3), "!a !b then nothing");
  vault.put("b", {});
  EXPECT_EQ(page("!a", 1), "!b then !b");
  EXPECT_EQ(page("!b", 1), "b then nothing");
  EXPECT_EQ(page("", 2), "!a !b then !b");
  EXPECT_EQ(page("", 3), "!a !b b then nothing");
  EXPECT_EQ(page(".atelier-keys/a", 9), "b then nothing");
  EXPECT_EQ(vault.store->list({}, {}, 0).error().code, Code::invalid_argument);
}

class EncryptingStoreCalls : public testing::Test {
 protected:
  // Calls of head, get, put and append since the last time.
  std::array<uint64_t, 4> calls() {
    const StoreCounts now = vault_.counting.counts();
    std::array<uint64_t, 4> since{};
    size_t i = 0;
    for (const StoreVerb verb :
         {StoreVerb::head, StoreVerb::get, StoreVerb::put, StoreVerb::append}) {
      since.at(i++) = now.of(verb) - before_.of(verb);
    }
    before_ = now;
    return since;
  }

  Vault vault_;
  StoreCounts before_ = vault_.counting.counts();
};

TEST_F(EncryptingStoreCalls, WholeObjectsTakeOneCallEach) {
  const Bytes bytes = pattern(3 * kFrameSize);
  vault_.put("k", bytes);
  EXPECT_THAT(calls(), ElementsAre(0, 0, 1, 0));
  EXPECT_TRUE(vault_.store->get("k").value() == bytes);
  EXPECT_THAT(calls(), ElementsAre(0, 1, 0, 0));
  EXPECT_TRUE(vault_.store->head("k").ok());
  EXPECT_THAT(calls(), ElementsAre(1, 0, 0, 0));
  EXPECT_EQ(list_all(*vault_.store, {}).value().size(), 1U);
  EXPECT_THAT(calls(), ElementsAre(0, 0, 0, 0));
  // Two when the empty store was opened: for rings, and for objects without any.
  EXPECT_EQ(vault_.counting.counts().of(StoreVerb::list), 3U);
  MemorySource source(pattern(size_t{20} << 20));
  EXPECT_TRUE(put_source(*vault_.store, "u", source, Condition::always()).value().written);
  EXPECT_THAT(calls(), ElementsAre(0, 0, 0, 4));  // three pieces, and the frame held back
}

TEST_F(EncryptingStoreCalls, AnOpenObjectIsReadWithOneCallForAPiece) {
  const Bytes bytes = pattern(size_t{18} << 20);
  constexpr size_t kPiece = size_t{8} << 20;
  vault_.put("k", bytes);
  Bytes piece(kPiece);
  for (const bool from_start : {true, false}) {
    auto source = open_object(*vault_.store, "k").value();
    calls();
    EXPECT_EQ(source->read_at(from_start ? 0 : kPiece, piece).value(), kPiece);
    // The header comes with the first frames, or was seen before.
    EXPECT_THAT(calls(), ElementsAre(0, 1, 0, 0));
    EXPECT_EQ(source->read_at(kPiece, piece).value(), kPiece);
    EXPECT_TRUE(std::ranges::equal(piece, std::span(bytes).subspan(kPiece, kPiece)));
    EXPECT_THAT(calls(), ElementsAre(0, 1, 0, 0));
  }
  vault_.put("k", bytes);
  auto source = open_object(*vault_.store, "k").value();
  calls();
  EXPECT_EQ(source->read_at(2 * kPiece, piece).value(), size_t{2} << 20);
  EXPECT_THAT(calls(), ElementsAre(0, 2, 0, 0));  // the header first
  EXPECT_EQ(source->read_at(kPiece, piece).value(), kPiece);
  EXPECT_THAT(calls(), ElementsAre(0, 1, 0, 0));
  const StoreCounts now = vault_.counting.counts();
  ASSERT_EQ(source->read_at(kPiece + 5, std::span(piece).first(7)).value(), 7U);
  EXPECT_EQ(vault_.counting.counts().bytes_read - now.bytes_read, kSealedFrameSize + 1);
}

TEST_F(EncryptingStoreCalls, WithoutAnEtagOneIsLookedForOnce) {
  vault_.put("k", pattern(3 * kFrameSize));
  calls();
  const ByteRange inside{kFrameSize + 1, 10};
  EXPECT_TRUE(vault_.store->get("k", inside, {}).ok());
  EXPECT_THAT(calls(), ElementsAre(1, 2, 0, 0));
  EXPECT_TRUE(vault_.store->get("k", inside, {}).ok());
  EXPECT_THAT(calls(), ElementsAre(0, 1, 0, 0));
  // Replaced: the call that finds it out is lost.
  const Bytes other = pattern(3 * kFrameSize, 2);
  vault_.put("k", other);
  calls();
  EXPECT_EQ(vault_.store->get("k", inside, {}).value()[0], other[kFrameSize + 1]);
  EXPECT_THAT(calls(), ElementsAre(1, 3, 0, 0));
}

TEST_F(EncryptingStoreCalls, TheObjectsLastUsedAreKnownAndNoMore) {
  for (int i = 0; i < 65; ++i) {
    vault_.put(fmt::format("{}", i), pattern(kFrameSize + 1));
    EXPECT_TRUE(vault_.store->get(fmt::format("{}", i), {kFrameSize, 1}, {}).ok());
  }
  calls();
  EXPECT_TRUE(vault_.store->get("64", {kFrameSize, 1}, {}).ok());
  EXPECT_THAT(calls(), ElementsAre(0, 1, 0, 0));
  EXPECT_TRUE(vault_.store->get("0", {kFrameSize, 1}, {}).ok());
  EXPECT_THAT(calls(), ElementsAre(1, 2, 0, 0));
}

TEST(EncryptingStore, AReadWithoutAnEtagSeesOneWritingThoughItIsReplacedMeanwhile) {
  const Vault vault;
  const auto filled = [](int value) {
    return Bytes(2 * kFrameSize, static_cast<std::byte>(value));
  };
  vault.put("k", filled(0));
  std::jthread writer([&](const std::stop_token& stop) {
    for (int i = 0; !stop.stop_requested(); ++i) vault.put("k", filled(i));
  });
  std::vector<std::jthread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      for (int round = 0; round < 30; ++round) {
        const auto bytes = vault.store->get("k", {kFrameSize + 1, 1000}, {});
        if (!bytes.ok()) {
          // Slow machine, quick writer: allowed, unlike corrupt.
          EXPECT_EQ(bytes.error().code, Code::unavailable) << bytes.error().message;
          continue;
        }
        EXPECT_EQ(std::ranges::count(*bytes, bytes->front()), 1000);
      }
    });
  }
  readers.clear();
}

TEST(EncryptingStore, AnEtagThatIsNoLongerTheObjectsIsAConflictInside) {
  const Vault vault;
  vault.put("k", pattern(2 * kFrameSize));
  const std::string first = vault.store->head("k").value()->etag;
  EXPECT_TRUE(vault.store->get("k", {kFrameSize, 9}, first).ok());
  vault.put("k", pattern(2 * kFrameSize));
  for (const uint64_t offset : {uint64_t{0}, kFrameSize, 5 * kFrameSize, uint64_t{1} << 60}) {
    EXPECT_EQ(vault.store->get("k", {offset, 9}, first).error().code, Code::conflict) << offset;
  }
  ASSERT_TRUE(vault.store->remove("k").value());
  EXPECT_EQ(vault.store->get("k", {kFrameSize, 9}, {}).error().code, Code::invalid_input);
  EXPECT_EQ(vault.store->get("k", {uint64_t{1} << 60, 9}, {}).error().code, Code::invalid_input);
}

TEST(EncryptingStore, AnUploadWithAFailedAppendWritesNothing) {
  for (const uint64_t nth : {0U, 1U}) {
    auto memory = make_memory_store();
    FaultyStore faulty(*memory, scripted_faults({{StoreVerb::append, nth, Fault::before}}));
    auto store = open_encrypting_store(faulty, test_master()).value();
    auto upload = store->begin_upload("k").value();
    // The second append is the commit's own, of the frame that was held back.
    EXPECT_EQ(upload->append(pattern(2 * kFrameSize)).ok(), nth == 1);
    EXPECT_FALSE(upload->commit(Condition::always()).ok());
    EXPECT_FALSE(upload->commit(Condition::always()).ok());
    EXPECT_FALSE(memory->head("k").value().has_value());
  }
}

TEST(EncryptingStore, ARingThatIsGoneIsToldWhenItIsNeeded) {
  const Vault vault;
  vault.put("k", as_bytes("x"));
  ASSERT_TRUE(vault.memory->remove(kKeyRingKey).value());
  EXPECT_TRUE(vault.store->get("k").ok());
  const Vault neighbour;
  neighbour.put("k", as_bytes("x"));
  vault.set_stored("k", neighbour.stored("k"));
  EXPECT_THAT(vault.store->get("k").error().message, HasSubstr(".atelier-keys/ring"));
  EXPECT_EQ(open_encrypting_store(*vault.memory, test_master()).error().code,
            Code::invalid_argument);
}

}  // namespace
}  // namespace atelier
