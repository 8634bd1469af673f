// SPDX-License-Identifier: Apache-2.0
// The examples of Amazon's documentation ("Signature Calculations for the Authorization Header" and
// "Authenticating Requests: Using Query Parameters"), with its published keys.
#include "store/s3/sigv4.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/hash.h"

namespace atelier::s3 {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

const Keys kKeys{"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ""};
const Scope kScope{"us-east-1", std::chrono::sys_days(std::chrono::year(2013) / 5 / 24)};

Unsigned request(std::string method, std::string path) {
  Unsigned made;
  made.method = std::move(method);
  made.host = "examplebucket.s3.amazonaws.com";
  made.path = std::move(path);
  return made;
}

std::string authorization(const Unsigned& of, std::string_view body = {}) {
  return signed_headers(of, sha256_hex(as_bytes(body)), kKeys, kScope).back().value;
}

TEST(Sigv4, GetObjectWithARange) {
  Unsigned get = request("GET", "/test.txt");
  get.headers = {{"Range", "bytes=0-9"}};
  EXPECT_EQ(authorization(get),
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
            "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
            "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

TEST(Sigv4, PutObject) {
  Unsigned put = request("PUT", "/test%24file.text");
  put.headers = {{"Date", "Fri, 24 May 2013 00:00:00 GMT"},
                 {"x-amz-storage-class", "REDUCED_REDUNDANCY"}};
  EXPECT_THAT(authorization(put, "Welcome to Amazon S3."),
              EndsWith("SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;"
                       "x-amz-storage-class, Signature=98ad721746da40c64f1a55b78f14c238d841ea1380"
                       "cd77a1b5971af0ece108bd"));
}

TEST(Sigv4, GetBucketLifecycle) {
  Unsigned get = request("GET", "/");
  get.query = {{"lifecycle", ""}};
  EXPECT_THAT(
      authorization(get),
      EndsWith("Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"));
}

TEST(Sigv4, ListObjects) {
  Unsigned get = request("GET", "/");
  get.query = {{"prefix", "J"}, {"max-keys", "2"}};
  EXPECT_THAT(
      authorization(get),
      EndsWith("Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"));
}

TEST(Sigv4, PresignedUrl) {
  EXPECT_EQ(
      presigned_query(request("GET", "/test.txt"), kKeys, kScope, std::chrono::hours(24)).value(),
      "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2F"
      "us-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&"
      "X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404&"
      "X-Amz-SignedHeaders=host");
}

TEST(Sigv4, APresignedUrlLastsSevenDaysAtMost) {
  const Unsigned get = request("GET", "/x");
  for (const int64_t seconds : {-1, 0, 604801}) {
    const auto query = presigned_query(get, kKeys, kScope, std::chrono::seconds(seconds));
    EXPECT_EQ(query.error().code, Code::invalid_argument) << seconds;
  }
  EXPECT_THAT(presigned_query(get, kKeys, kScope, std::chrono::seconds(604800)).value(),
              HasSubstr("X-Amz-Expires=604800"));
}

TEST(Sigv4, ASessionTokenIsSignedAndTheSecretIsNotSent) {
  Keys keys = kKeys;
  keys.session_token = "a/token==";
  const auto headers = signed_headers(request("HEAD", "/x"), "", keys, kScope);
  EXPECT_EQ(headers.at(2).name, "x-amz-security-token");
  EXPECT_THAT(headers.back().value, HasSubstr("x-amz-date;x-amz-security-token, "));
  for (const http::Header& header : headers) {
    EXPECT_THAT(header.value, Not(HasSubstr(keys.secret_key)));
  }
  EXPECT_THAT(presigned_query(request("PUT", "/x"), keys, kScope, std::chrono::seconds(9)).value(),
              HasSubstr("&X-Amz-Security-Token=a%2Ftoken%3D%3D&"));
}

TEST(Sigv4, WhatIsSignedDoesNotDependOnOrderOrBlanks) {
  Unsigned one = request("GET", "/"), other = one;
  one.query = {{"b", "2"}, {"a", "x/y z"}, {"a-", ""}};
  one.headers = {{"X-Amz-B", " two   words "}, {"x-amz-a", "1"}};
  other.query = {{"a-", ""}, {"a", "x/y z"}, {"b", "2"}};
  other.headers = {{"x-amz-a", "1"}, {"x-amz-b", "two words"}};
  EXPECT_EQ(authorization(one), authorization(other));
  EXPECT_EQ(encoded_query(one.query), "a=x%2Fy%20z&a-=&b=2");
}

}  // namespace
}  // namespace atelier::s3
