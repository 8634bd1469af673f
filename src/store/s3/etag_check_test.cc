// SPDX-License-Identifier: Apache-2.0
#include "store/s3/etag_check.h"

#include <gtest/gtest.h>

#include "base/base64.h"
#include "base/bytes.h"
#include "base/hash.h"

namespace atelier::s3 {
namespace {

std::string md5_of(std::string_view text) {
  return to_hex(from_base64(md5_base64(as_bytes(text))));
}

bool believes(EtagCheck& check, std::string_view etag, std::string_view text,
              std::string_view encryption = {}, std::string_view customer_encryption = {}) {
  return check.is_believable(etag, encryption, customer_encryption, as_bytes(text));
}

TEST(EtagCheck, TakesWhatHasTheMd5AndDoubtsWhatHasNot) {
  EtagCheck check;
  EXPECT_TRUE(believes(check, "900150983cd24fb0d6963f7d28e17f72", "abc")) << "RFC 1321, A.5";
  EXPECT_FALSE(believes(check, md5_of("abc"), "abd"));
  EXPECT_TRUE(believes(check, md5_of("abc"), "abc"));
}

TEST(EtagCheck, LooksAtNoEtagThatIsSomethingElse) {
  EtagCheck check;
  EXPECT_TRUE(believes(check, md5_of("other") + "-2", "abc")) << "came in parts";
  EXPECT_TRUE(believes(check, "0x8D4BCC2E4835CD0", "abc"));
  EXPECT_TRUE(believes(check, "900150983CD24FB0D6963F7D28E17F73", "abc")) << "not lower-case";
  EXPECT_TRUE(believes(check, md5_of("other"), "abc", "aws:kms"));
  EXPECT_TRUE(believes(check, md5_of("other"), "abc", "aws:kms:dsse"));
  EXPECT_TRUE(believes(check, md5_of("other"), "abc", "", "AES256"));
  EXPECT_FALSE(believes(check, md5_of("other"), "abc", "AES256")) << "the bucket's own key";
}

TEST(EtagCheck, WhatComesTheSameAgainIsTaken) {
  EtagCheck check;
  EXPECT_TRUE(believes(check, md5_of("fine"), "fine"));
  EXPECT_FALSE(believes(check, md5_of("a"), "once"));
  EXPECT_FALSE(believes(check, md5_of("a"), "twice")) << "damaged in another way";
  EXPECT_FALSE(believes(check, md5_of("b"), "once")) << "meanwhile, in another thread";
  EXPECT_TRUE(believes(check, md5_of("a"), "once"));
  EXPECT_FALSE(believes(check, md5_of("c"), "d")) << "others' etags are believed";
}

TEST(EtagCheck, AServerWhoseEtagsAreNoMd5IsFoundOutOnce) {
  EtagCheck check;
  EXPECT_FALSE(believes(check, md5_of("a"), "1"));
  EXPECT_TRUE(believes(check, md5_of("a"), "1"));
  EXPECT_TRUE(believes(check, md5_of("b"), "2"));
}

}  // namespace
}  // namespace atelier::s3
