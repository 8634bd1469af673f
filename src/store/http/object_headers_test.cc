// SPDX-License-Identifier: Apache-2.0
#include "store/http/object_headers.h"

#include <gtest/gtest.h>

namespace atelier::http {
namespace {

Response answer(std::vector<Header> more) {
  Response response;
  response.status = 200;
  response.headers = {{"ETag", "\"e1\""},
                      {"Content-Length", "7"},
                      {"Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"}};
  response.headers.insert(response.headers.end(), more.begin(), more.end());
  return response;
}

TEST(ObjectHeaders, AHeadTellsOfTheObject) {
  const auto info = info_of(answer({}));
  ASSERT_TRUE(info);
  EXPECT_EQ(info->etag, "e1");
  EXPECT_EQ(info->size, 7U);
  EXPECT_TRUE(info->metadata.empty());
}

TEST(ObjectHeaders, MetadataOfBothServicesIsRead) {
  const auto info = info_of(answer({{"x-ms-meta-Style", "monet"},
                                    {"X-Amz-Meta-size", "720"},
                                    {"x-ms-metadata", "no"},
                                    {"x-ms-request-id", "no"}}));
  ASSERT_TRUE(info);
  EXPECT_EQ(info->metadata,
            (std::map<std::string, std::string>{{"style", "monet"}, {"size", "720"}}));
}

TEST(ObjectHeaders, WhatIsNotWholeIsNothing) {
  Response response = answer({});
  response.headers.erase(response.headers.begin());
  EXPECT_FALSE(info_of(response));
}

}  // namespace
}  // namespace atelier::http
