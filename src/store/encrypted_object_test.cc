// SPDX-License-Identifier: Apache-2.0
#include "store/encrypted_object.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <numeric>

#include "base/hash.h"
#include "store/key_ring.h"

namespace atelier::encrypted {
namespace {

using Bytes = std::vector<std::byte>;

// 0, 1, 2... from `first` on.
template <size_t size>
std::array<std::byte, size> counted(int first) {
  std::array<std::byte, size> bytes{};
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(first++);
  return bytes;
}

StoreKey test_store_key() {
  return {counted<16>(0xa0), SecretKey(counted<SecretKey::kSize>(0x20))};
}
MasterKey test_master_key() { return MasterKey(SecretKey(counted<SecretKey::kSize>(0))); }

Bytes seal(std::string_view key, std::span<const std::byte> plain) {
  ObjectSealer sealer(test_store_key(), SecretKey(counted<SecretKey::kSize>(0x40)),
                      counted<12>(0xc0), key);
  Bytes sealed;
  EXPECT_TRUE(sealer.add(plain, sealed).ok());
  sealer.finish(sealed);
  return sealed;
}

Result<ObjectOpener> opener_of(std::span<const std::byte> sealed, std::string_view key) {
  return ObjectOpener::create(sealed, test_store_key(), key, "memory:/x");
}

std::string hex(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) text += fmt::format("{:02x}", static_cast<unsigned>(byte));
  return text;
}

// What docs/encryption.md lists after "## Test vectors": a name, two spaces or more, a value; a
// line that begins with spaces goes on with the value.
std::map<std::string, std::string> documented_vectors() {
  std::ifstream doc(ATELIER_SOURCE_DIR "/docs/encryption.md");
  std::map<std::string, std::string> vectors;
  std::string line;
  std::string name;
  bool inside = false;
  for (bool begun = false; std::getline(doc, line);) {
    begun = begun || line == "## Test vectors";
    if (begun && line.starts_with("```")) {
      inside = !inside;
    } else if (inside) {
      const size_t gap = line.find("  ");
      if (gap > 0) name = line.substr(0, gap);
      vectors[name] += line.substr(line.find_first_not_of(' ', gap));
    }
  }
  return vectors;
}

TEST(EncryptedObject, TheDocumentedVectorsAreWhatIsWritten) {
  const auto vectors = documented_vectors();
  ASSERT_EQ(vectors.size(), 13U);
  const StoreKey store_key = test_store_key();
  EXPECT_EQ(vectors.at("master key"), hex(test_master_key().key().bytes()));
  EXPECT_EQ(vectors.at("fingerprint"), test_master_key().fingerprint());
  EXPECT_EQ(vectors.at("store key id"), hex(store_key.id));
  EXPECT_EQ(vectors.at("store key"), hex(store_key.key.bytes()));
  EXPECT_EQ(vectors.at("ring nonce"), hex(counted<12>(0xb0)));
  EXPECT_EQ(vectors.at("data key"), hex(counted<32>(0x40)));
  EXPECT_EQ(vectors.at("data key nonce"), hex(counted<12>(0xc0)));
  KeyRing ring;
  ring.keys.push_back(test_store_key());
  EXPECT_EQ(vectors.at("ring"), hex(seal_key_ring(ring, test_master_key(), counted<12>(0xb0))));
  EXPECT_EQ(vectors.at("empty, nothing"), hex(seal("empty", {})));
  EXPECT_EQ(vectors.at("a/b, hello"), hex(seal("a/b", as_bytes("hello"))));
  const Bytes two = seal("two", Bytes(kFrameSize + 1, std::byte{0x61}));
  EXPECT_EQ(vectors.at("two, 1048577 times a: beginning"), hex(std::span(two).first(124)));
  EXPECT_EQ(vectors.at("two, 1048577 times a: end"), hex(std::span(two).last(33)));
  EXPECT_EQ(vectors.at("two, 1048577 times a: SHA-256"), sha256_hex(two));
}

TEST(EncryptedObject, SizesAreArithmetic) {
  for (const uint64_t plain :
       {uint64_t{0}, uint64_t{1}, kFrameSize - 1, kFrameSize, kFrameSize + 1, 2 * kFrameSize - 1,
        2 * kFrameSize, 2 * kFrameSize + 1, uint64_t{5} << 40, kMaxFrames * kFrameSize}) {
    EXPECT_EQ(plain_size(sealed_size(plain)), plain);
    if (plain <= 2 * kFrameSize + 1) {
      EXPECT_EQ(seal("k", Bytes(plain)).size(), sealed_size(plain));
    }
  }
  EXPECT_EQ(sealed_size(0), 108U);
  EXPECT_EQ(sealed_size(kFrameSize), 92U + 1048592U);
}

TEST(EncryptedObject, OtherSizesBelongToNoObject) {
  EXPECT_EQ(plain_size(0), std::nullopt);
  EXPECT_EQ(plain_size(107), std::nullopt);
  // After whole frames: nothing, a piece of a tag, or a tag alone would be a frame of nothing.
  for (uint64_t frames = 1; frames < 4; ++frames) {
    const uint64_t border = kHeaderSize + frames * kSealedFrameSize;
    EXPECT_EQ(plain_size(border), frames * kFrameSize);
    for (uint64_t more = 1; more <= 16; ++more) EXPECT_EQ(plain_size(border + more), std::nullopt);
    EXPECT_EQ(plain_size(border + 17), frames * kFrameSize + 1);
  }
  EXPECT_EQ(plain_size(kHeaderSize + kMaxFrames * kSealedFrameSize + 17), std::nullopt);
  EXPECT_EQ(plain_size(UINT64_MAX), std::nullopt);
}

TEST(EncryptedObject, RangesTouchTheFewestFrames) {
  const auto frames = [](uint64_t offset, uint64_t length) {
    const Frames touched = frames_of({offset, length});
    return std::pair(touched.first, touched.count);
  };
  using Pair = std::pair<uint64_t, uint64_t>;
  EXPECT_EQ(frames(0, 0), Pair(0, 1));
  EXPECT_EQ(frames(0, kFrameSize), Pair(0, 1));
  EXPECT_EQ(frames(0, kFrameSize + 1), Pair(0, 2));
  EXPECT_EQ(frames(kFrameSize - 1, 2), Pair(0, 2));
  EXPECT_EQ(frames(kFrameSize, 0), Pair(1, 1));
  EXPECT_EQ(frames(8 * kFrameSize, 8 * kFrameSize), Pair(8, 8));
  EXPECT_EQ(frames(kFrameSize, UINT64_MAX), Pair(1, kMaxFrames - 1));
  EXPECT_EQ(frames(UINT64_MAX, UINT64_MAX).second, 1U);
  EXPECT_EQ(sealed_range({0, 1}).offset, 0U);
  EXPECT_EQ(sealed_range({0, 1}).length, kHeaderSize + kSealedFrameSize + 1);
  EXPECT_EQ(sealed_range({3, 2}).offset, kHeaderSize + 3 * kSealedFrameSize);
  EXPECT_EQ(sealed_range({3, 2}).length, 2 * kSealedFrameSize + 1);
}

TEST(EncryptedObject, PiecesOfAnySizeGiveTheSameBytes) {
  Bytes plain(3 * kFrameSize);
  for (size_t i = 0; i < plain.size(); ++i) plain[i] = static_cast<std::byte>(i * 7 >> 5);
  const Bytes whole = seal("k", plain);
  for (const size_t piece : {size_t{100'003}, size_t{kFrameSize}, size_t{kFrameSize + 1}}) {
    ObjectSealer sealer(test_store_key(), SecretKey(counted<SecretKey::kSize>(0x40)),
                        counted<12>(0xc0), "k");
    Bytes sealed;
    for (size_t at = 0; at < plain.size(); at += piece) {
      const size_t count = std::min(piece, plain.size() - at);
      ASSERT_TRUE(sealer.add(std::span(plain).subspan(at, count), sealed).ok());
    }
    sealer.finish(sealed);
    EXPECT_TRUE(sealed == whole) << piece;
  }
}

TEST(EncryptedObject, EveryWritingHasItsOwnKey) {
  const StoreKey store_key = test_store_key();
  std::array<Bytes, 2> sealed;
  for (Bytes& each : sealed) {
    ObjectSealer sealer = ObjectSealer::create(store_key, "k").value();
    ASSERT_TRUE(sealer.add(as_bytes("the same bytes"), each).ok());
    sealer.finish(each);
  }
  // From the nonce on, nothing is alike.
  size_t alike = 0;
  for (size_t i = 32; i < sealed[0].size(); ++i) alike += sealed[0][i] == sealed[1][i];
  EXPECT_LT(alike, 10U);
}

TEST(EncryptedObject, PartsAreOpenedAloneAndTellWhetherTheyAreTheEnd) {
  Bytes plain(2 * kFrameSize + 5, std::byte{1});
  plain[kFrameSize] = std::byte{2};
  const Bytes sealed = seal("k", plain);
  const ObjectOpener opener = opener_of(sealed, "k").value();
  const std::span body = std::span(sealed).subspan(kHeaderSize);
  const auto middle = opener.open({1, 1}, body.subspan(kSealedFrameSize, kSealedFrameSize + 1));
  EXPECT_EQ(middle->bytes.size(), kFrameSize);
  EXPECT_EQ(middle->bytes[0], std::byte{2});
  EXPECT_FALSE(middle->to_end);
  EXPECT_TRUE(opener.open({1, 2}, body.subspan(kSealedFrameSize))->to_end);
  EXPECT_TRUE(opener.open({2, 9}, body.subspan(2 * kSealedFrameSize))->to_end);
  // Another number, and an end that is none.
  EXPECT_EQ(opener.open({2, 1}, body.subspan(kSealedFrameSize, kSealedFrameSize)).error().code,
            Code::corrupt);
  EXPECT_EQ(opener.open({1, 1}, body.subspan(kSealedFrameSize, kSealedFrameSize)).error().code,
            Code::corrupt);
  EXPECT_EQ(opener.open({1, 1}, {}).error().code, Code::corrupt);
}

TEST(EncryptedObject, AHeaderOpensForItsKeyAndStoreKeyAlone) {
  const Bytes sealed = seal("k", as_bytes("x"));
  EXPECT_TRUE(opener_of(sealed, "k").ok());
  EXPECT_EQ(opener_of(sealed, "l").error().code, Code::corrupt);
  EXPECT_EQ(opener_of(sealed, "").error().code, Code::corrupt);
  StoreKey other = test_store_key();
  other.key = SecretKey(counted<SecretKey::kSize>(1));
  EXPECT_EQ(ObjectOpener::create(sealed, other, "k", "memory:/k").error().code, Code::corrupt);
  other = test_store_key();
  other.id[3] = {};
  EXPECT_EQ(ObjectOpener::create(sealed, other, "k", "memory:/k").error().code, Code::corrupt);
}

TEST(EncryptedObject, StrangersAndNewerVersionsAreToldApart) {
  const auto message = [](Bytes bytes) { return store_key_of(bytes, "memory:/x").error().message; };
  const Bytes sealed = seal("k", as_bytes("x"));
  EXPECT_THAT(message({}), testing::HasSubstr("memory:/x is not encrypted"));
  EXPECT_THAT(message(Bytes(200)), testing::HasSubstr("not encrypted"));
  EXPECT_THAT(message({sealed.begin(), sealed.begin() + 91}), testing::HasSubstr("ends inside"));
  Bytes newer = sealed;
  newer[11] = std::byte{2};
  EXPECT_THAT(message(newer), testing::HasSubstr("version 2"));
  Bytes framed = sealed;
  framed[13] = std::byte{2};
  EXPECT_EQ(store_key_of(framed, "memory:/x").error().code, Code::corrupt);
  EXPECT_EQ(store_key_of(sealed, "memory:/x").value(), test_store_key().id);
}

}  // namespace
}  // namespace atelier::encrypted
