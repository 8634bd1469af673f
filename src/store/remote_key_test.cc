// SPDX-License-Identifier: Apache-2.0
#include "store/remote_key.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <vector>

namespace atelier {
namespace {

// U+10FE00 + byte, as UTF-8.
std::string private_point(unsigned byte) {
  const unsigned point = 0x10FE00 + byte;
  return {static_cast<char>(0xF0 | (point >> 18)), static_cast<char>(0x80 | ((point >> 12) & 0x3F)),
          static_cast<char>(0x80 | ((point >> 6) & 0x3F)),
          static_cast<char>(0x80 | (point & 0x3F))};
}

// Of bytes that UTF-8 is made of, and of our own private code points.
std::string random_key(std::minstd_rand& random) {
  constexpr unsigned kOften[] = {'a',  '/',  0x01, 0x7F, 0x80, 0xBF, 0xC2, 0xE0, 0xED, 0xEF,
                                 0xA0, 0xF0, 0x90, 0xF4, 0x8F, 0xB8, 0xBB, 0xFF, 0xC3, 0xE2};
  std::string key;
  const size_t size = random() % 12 + 1;
  for (size_t i = 0; i < size; ++i) {
    const size_t sort = random() % 8;
    if (sort == 0) key += private_point(static_cast<unsigned>(random() % 256));
    if (sort == 1) key += static_cast<char>(random() % 256);
    if (sort > 1) key += static_cast<char>(kOften[random() % std::size(kOften)]);
  }
  return key;
}

TEST(RemoteKey, NamesThatPeopleGiveStayAsTheyAre) {
  for (const char* key :
       {"", "a/b.mp4", "a b%20?#&+", "\xC3\xA9t\xC3\xA9", "\xE2\x82\xAC", "\xED\x9F\xBF",
        "\xEE\x80\x80", "\xF0\x9F\x8E\xA5.mp4", "\xEF\xBF\xBF", "\xF4\x8F\xB7\xBF"}) {
    EXPECT_EQ(to_remote_key(key), key);
    EXPECT_EQ(from_remote_key(key), key);
  }
}

TEST(RemoteKey, OddBytesAreStoredAsPrivateCodePoints) {
  for (unsigned byte = 1; byte < 256; ++byte) {
    const std::string key(1, static_cast<char>(byte));
    const bool printable = byte >= 0x20 && byte < 0x7F;
    EXPECT_EQ(to_remote_key(key), printable ? key : private_point(byte)) << byte;
    EXPECT_EQ(from_remote_key(to_remote_key(key)), key) << byte;
  }
}

TEST(RemoteKey, WhatIsNoUtf8IsStoredByteByByte) {
  // Overlong, a surrogate, beyond the last code point, cut short, and without a beginning.
  for (const std::string& key :
       std::vector<std::string>{"\xC0\xAF", "\xE0\x80\xAF", "\xF0\x80\x80\xAF", "\xED\xA0\x80",
                                "\xF4\x90\x80\x80", "\xE2\x82", "\xF0\x9F\x8E", "\x80\xBF"}) {
    std::string stored;
    for (const char c : key) stored += private_point(static_cast<unsigned char>(c));
    EXPECT_EQ(to_remote_key(key), stored);
    EXPECT_EQ(from_remote_key(stored), key);
  }
}

TEST(RemoteKey, EveryKeyComesBackAndHasANameOfItsOwn) {
  std::minstd_rand random(1);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same keys each time
  std::map<std::string, std::string> by_name;
  for (int i = 0; i < 10000; ++i) {
    const std::string key = random_key(random);
    const std::string stored = to_remote_key(key);
    ASSERT_EQ(from_remote_key(stored), key) << testing::PrintToString(key);
    ASSERT_EQ(by_name.emplace(stored, key).first->second, key) << testing::PrintToString(key);
    // It is whole Unicode text then, which is stored as it is, but for private code points.
    ASSERT_EQ(whole_characters(stored), stored.size()) << testing::PrintToString(key);
  }
}

TEST(RemoteKey, PrefixesEndWithAWholeCharacter) {
  const std::string text = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x8E\xA5z";
  const size_t whole[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11};
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    EXPECT_EQ(whole_characters(text.substr(0, cut)), whole[cut]) << cut;
  }
  // What no byte can make a character of is whole.
  for (const std::string& prefix :
       std::vector<std::string>{"a\x80", "a\xBF\xBF", "a\xFF", "\xC0", "a\x80\x80\x80\x80"}) {
    EXPECT_LE(whole_characters(prefix), prefix.size());
    EXPECT_TRUE(to_remote_key(prefix + "x")
                    .starts_with(to_remote_key(prefix.substr(0, whole_characters(prefix)))));
  }
}

TEST(RemoteKey, TheWholePartOfAPrefixIsThatOfEveryKey) {
  std::minstd_rand random(2);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same keys each time
  for (int i = 0; i < 3000; ++i) {
    const std::string key = random_key(random);
    const std::string stored = to_remote_key(key);
    for (size_t cut = 0; cut <= key.size(); ++cut) {
      const std::string prefix = key.substr(0, cut);
      const std::string whole = to_remote_key(prefix.substr(0, whole_characters(prefix)));
      ASSERT_TRUE(stored.starts_with(whole)) << testing::PrintToString(key) << " at " << cut;
    }
  }
}

}  // namespace
}  // namespace atelier
