// SPDX-License-Identifier: Apache-2.0
#include "base/aes_gcm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

namespace atelier {
namespace {

std::vector<std::byte> from_hex(std::string_view hex) {
  std::vector<std::byte> bytes;
  for (size_t i = 0; i < hex.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

SecretKey key_of(std::string_view hex) {
  return SecretKey(std::span<const std::byte, SecretKey::kSize>(from_hex(hex)));
}

Aes256Gcm::Nonce nonce_of(std::string_view hex) {
  Aes256Gcm::Nonce nonce{};
  std::ranges::copy(from_hex(hex), nonce.begin());
  return nonce;
}

struct Case {
  const char* key;
  const char* nonce;
  const char* additional;
  const char* plain;
  const char* sealed;
};

// McGrew and Viega, "The Galois/Counter Mode of Operation", test cases 13 to 16.
constexpr const char* kZeros = "0000000000000000000000000000000000000000000000000000000000000000";
constexpr const char* kKey = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
const std::vector<Case> kCases = {
    {kZeros, "000000000000000000000000", "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
    {kZeros, "000000000000000000000000", "", "00000000000000000000000000000000",
     "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"},
    {kKey, "cafebabefacedbaddecaf888", "",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449"
     "a6b525b16aedf5aa0de657ba637b391aafd255",
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056"
     "828838c5f61e6393ba7a0abcc9f662898015adb094dac5d93471bdec1a502270e3cc6c"},
    {kKey, "cafebabefacedbaddecaf888", "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449"
     "a6b525b16aedf5aa0de657ba637b39",
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056"
     "828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b"},
};

TEST(Aes256Gcm, GivesThePublishedBytes) {
  for (const Case& test : kCases) {
    const std::vector<std::byte> plain = from_hex(test.plain);
    std::vector<std::byte> sealed(plain.size() + Aes256Gcm::kTagSize);
    Aes256Gcm cipher(key_of(test.key));
    // Twice, and in turn with opening: nothing of one message may be left for the next.
    for (int round = 0; round < 2; ++round) {
      cipher.seal(nonce_of(test.nonce), from_hex(test.additional), plain, sealed);
      EXPECT_EQ(sealed, from_hex(test.sealed));
      std::vector<std::byte> opened(plain.size());
      EXPECT_TRUE(cipher.open(nonce_of(test.nonce), from_hex(test.additional), sealed, opened));
      EXPECT_EQ(opened, plain);
    }
  }
}

TEST(Aes256Gcm, OpensNothingThatWasTouchedAndLeavesNoPlainBytes) {
  const Case& test = kCases.back();
  const std::vector<std::byte> additional = from_hex(test.additional);
  const std::vector<std::byte> sealed = from_hex(test.sealed);
  std::vector<std::byte> plain(sealed.size() - Aes256Gcm::kTagSize);
  const std::vector<std::byte> zeros(plain.size());
  Aes256Gcm cipher(key_of(test.key));
  for (size_t bit = 0; bit < sealed.size() * 8; ++bit) {
    std::vector<std::byte> touched = sealed;
    touched[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_FALSE(cipher.open(nonce_of(test.nonce), additional, touched, plain)) << bit;
    EXPECT_EQ(plain, zeros);
  }
  EXPECT_FALSE(cipher.open(nonce_of("cafebabefacedbaddecaf889"), additional, sealed, plain));
  EXPECT_FALSE(cipher.open(nonce_of(test.nonce), {}, sealed, plain));
  EXPECT_FALSE(Aes256Gcm(key_of(kZeros)).open(nonce_of(test.nonce), additional, sealed, plain));
  EXPECT_TRUE(cipher.open(nonce_of(test.nonce), additional, sealed, plain));
}

TEST(SecretKey, IsWipedWhereItWas) {
  SecretKey key = key_of(kKey);
  SecretKey moved = std::move(key);
  const std::array<std::byte, SecretKey::kSize> zeros{};
  EXPECT_TRUE(std::ranges::equal(key.bytes(), zeros));  // NOLINT(bugprone-use-after-move)
  EXPECT_TRUE(std::ranges::equal(moved.bytes(), from_hex(kKey)));
  EXPECT_TRUE(std::ranges::equal(moved.copy().bytes(), moved.bytes()));
  key = std::move(moved);
  EXPECT_TRUE(std::ranges::equal(moved.bytes(), zeros));  // NOLINT(bugprone-use-after-move)
  EXPECT_TRUE(std::ranges::equal(key.bytes(), from_hex(kKey)));
}

TEST(SecretKey, TwoAreNeverTheSame) {
  const SecretKey one = SecretKey::random().value();
  const SecretKey other = SecretKey::random().value();
  EXPECT_FALSE(std::ranges::equal(one.bytes(), other.bytes()));
}

}  // namespace
}  // namespace atelier
