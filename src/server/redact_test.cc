// SPDX-License-Identifier: Apache-2.0
#include "server/redact.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace atelier::server {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Redact, WhatIsNoSecretStays) {
  for (const char* text :
       {"", "plain words", "Really? Yes.", "az://acc/con/a.mp4", "https://host:80/path/x?",
        "a=b, width=3", "s3://bucket/a@b/c", "atl", "  spaces\tand\n\"quotes\" ", "50% = half"}) {
    EXPECT_EQ(redacted(text), text);
  }
}

TEST(Redact, SecretsInTextsGo) {
  EXPECT_EQ(redacted("see https://h/p?sv=1&sig=hush now"), "see https://h/p?[redacted] now");
  EXPECT_EQ(redacted("https://h/p?hush"), "https://h/p?[redacted]");
  EXPECT_EQ(redacted("https://h/p#hush"), "https://h/p#[redacted]");
  EXPECT_EQ(redacted("/v1/events?code=hush"), "/v1/events?[redacted]");
  EXPECT_EQ(redacted("https://me:hush@h/p"), "https://[redacted]@h/p");
  EXPECT_EQ(redacted("https://me:hu@sh@h?q"), "https://[redacted]@h?[redacted]");
  EXPECT_EQ(redacted("https://me:hu?sh@h/p"), "https://[redacted]");
  EXPECT_EQ(redacted("sig=hush&x=1 Password=hush"), "sig=[redacted]&x=1 Password=[redacted]");
  EXPECT_EQ(redacted("AccountKey=hush==;x=1"), "AccountKey=[redacted];x=1");
  EXPECT_EQ(redacted("atl_0123456789abcdefghij_-, atl_x"), "[redacted], [redacted]");
  EXPECT_EQ(redacted("'https://a/?hush' \"https://b/?hush\""),
            "'https://a/?[redacted]' \"https://b/?[redacted]\"");
}

TEST(Redact, SecretsInJsonGo) {
  const auto json = redacted_json(R"({"name":"a","url":"https://h/p?hush","list":["atl_hush"],
      "secret":"hush","client_token":{"deep":"hush"},"X-Signature":["hush"],"accessKey":"hush",
      "sig":7,"object":{"password":"hush","size":3},"https://h/?hush":1,"n":[1,null,true,2.5]})");
  ASSERT_TRUE(json.ok());
  EXPECT_THAT(*json, Not(HasSubstr("hush")));
  EXPECT_THAT(*json, HasSubstr(R"("sig":"[redacted]")"));
  EXPECT_THAT(*json, HasSubstr(R"("size":3)"));
  EXPECT_THAT(*json, HasSubstr(R"("n":[1,null,true,2.5])"));
  EXPECT_THAT(*json, HasSubstr(R"("name":"a")"));
}

TEST(Redact, WhatIsDeepIsLeftOut) {
  const std::string deep = std::string(100'000, '[') + "\"x\"" + std::string(100'000, ']');
  const auto json = redacted_json(deep);
  ASSERT_TRUE(json.ok());
  EXPECT_LT(json->size(), 100U);
}

TEST(Redact, WhatIsNoJsonIsRefused) {
  for (const char* text : {"", "{", "{\"a\":}", "\xff"}) {
    EXPECT_EQ(redacted_json(text).error().code, Code::invalid_argument) << text;
  }
}

}  // namespace
}  // namespace atelier::server
