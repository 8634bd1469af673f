// SPDX-License-Identifier: Apache-2.0
// Lists of S3, whoever wrote them and whatever is in them.
#include "store/s3/s3_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/hash.h"
#include "store/s3/fake_s3_test.h"

namespace atelier::s3 {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

class S3List : public FakeS3Test {};

TEST_F(S3List, ListsThatAreNoneAreNotBelieved) {
  for (const char* body :
       {"", "<html/>", "<ListBucketResult>", "<ListBucketResult><Contents/></ListBucketResult>",
        "<ListBucketResult><Contents><Key>k</Key><Size>-1</Size></Contents></ListBucketResult>",
        "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>"}) {
    open_with(http_answer(200, body));
    EXPECT_EQ(store().list("", "", 9).error().code, Code::unavailable) << body;
  }
}

// As a server of its own does that knows no "start-after" and no "continuation-token".
TEST_F(S3List, AListThatDoesNotMoveEnds) {
  for (const char* token : {"", "<NextContinuationToken>same</NextContinuationToken>",
                            "<NextContinuationToken>{}</NextContinuationToken>"}) {
    open([token, n = std::make_shared<std::atomic<int>>(0)](const TestRequest&) {
      std::string xml = "<ListBucketResult><IsTruncated>true</IsTruncated>";
      for (const char* key : {"a", "b"}) {
        xml += fmt::format(
            "<Contents><Key>{}</Key><Size>1</Size><LastModified>2026-11-29T12:00:00Z"
            "</LastModified></Contents>",
            key);
      }
      return http_answer(200, xml + fmt::format(fmt::runtime(token), ++*n) + "</ListBucketResult>");
    });
    for (const char* after : {"", "b", "c"}) {
      EXPECT_EQ(store().list("", after, 9).error().code, Code::unavailable) << token << after;
    }
    EXPECT_EQ(list_all(store(), "").error().code, Code::unavailable);
    EXPECT_LE(requests().size(), 8U);
  }
}

TEST_F(S3List, ListsHideWhatIsNoKeyOfOurs) {
  open([](const TestRequest&) { return fine(); });
  for (const char* key : {"a", "b", "c"}) ASSERT_TRUE(put(key, "").ok());
  TestRequest alien;
  alien.method = "PUT";
  alien.headers = {{"x-amz-content-sha256", sha256_hex({})},
                   {"Authorization", "AWS4-HMAC-SHA256 Credential=AKEXAMPLE/"}};
  for (const char* target : {"/b/a/", "/b/.atelier-tmp-probe-1", "/b/b//x", "/b/c/.."}) {
    alien.target = target;
    fake().answer(alien);
  }
  std::vector<std::string> keys;
  const auto objects = list_all(store(), "").value();
  for (const ObjectInfo& info : objects) keys.push_back(info.key);
  EXPECT_THAT(keys, ElementsAre("a", "b", "c"));
  EXPECT_THAT(store().list("", "", 2).value().objects, SizeIs(2));
}

TEST_F(S3List, ListsTellHowManyObjectsHaveNoNameOfOurs) {
  open([](const TestRequest&) { return fine(); });
  for (const char* key : {"a", "b", "c"}) ASSERT_TRUE(put(key, "").ok());
  TestRequest alien;
  alien.method = "PUT";
  alien.body = "x";
  alien.headers = {{"x-amz-content-sha256", sha256_hex(as_bytes(alien.body))},
                   {"Authorization", "AWS4-HMAC-SHA256 Credential=AKEXAMPLE/"}};
  for (const char* target :
       {"/b/.atelier-tmp-probe-1", "/b/a//x", "/b/b/./x", "/b/b/../x", "/b/c/", "/b/d//x"}) {
    alien.target = target;
    fake().answer(alien);
  }
  for (const size_t limit : {1U, 2U, 3U, 9U}) {
    const ListPage whole = list_whole(store(), "", limit).value();
    EXPECT_EQ(whole.unnamed, 5U) << limit;
    EXPECT_EQ(whole.first_unnamed, "a//x");
  }
}

TEST_F(S3List, KeysAreDecodedIfTheServerEncodedThem) {
  const auto page = [](const char* type) {
    return parse_key_page(fmt::format(
        "<ListBucketResult>{}<Contents><Key>a+%2B%C3%A9</Key><LastModified>2026-11-29T12:00:00Z"
        "</LastModified><ETag>\"e\"</ETag><Size>3</Size></Contents></ListBucketResult>",
        type));
  };
  EXPECT_EQ(page("<EncodingType>url</EncodingType>").value().objects.at(0).key, "a +\xC3\xA9");
  EXPECT_EQ(page("").value().objects.at(0).key, "a+%2B%C3%A9");
  EXPECT_EQ(page("").value().objects.at(0).etag, "e");
}

}  // namespace
}  // namespace atelier::s3
