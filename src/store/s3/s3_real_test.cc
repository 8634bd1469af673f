// SPDX-License-Identifier: Apache-2.0
// What only a real server can tell of S3's client, where one runs (tests/net/swift.py).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/bytes.h"
#include "base/hash.h"
#include "store/s3/s3_objects.h"
#include "store/s3/s3_store.h"

namespace atelier::s3 {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class RealS3 : public testing::Test {
 protected:
  static std::string said(const char* what) {
    const char* value = std::getenv((std::string("ATELIER_TEST_S3_") + what).c_str());
    return value == nullptr ? "" : value;
  }
  void SetUp() override {
    if (said("ENDPOINT").empty()) {
      GTEST_SKIP() << "no S3 server: run tests/net/swift.py -- store_test";
    }
  }
  Bucket bucket() const {
    Bucket bucket;
    bucket.name = said("BUCKET");
    bucket.endpoint = said("ENDPOINT");
    bucket.http.ca_file = said("CA");
    bucket.keys = fixed_keys({said("KEY"), said("SECRET"), ""});
    return bucket;
  }
  std::unique_ptr<ObjectStore> store(Bucket bucket) {
    return open_s3_store({std::move(bucket), "real/", nullptr}, clock_).value();
  }
  SystemClock clock_;
};

TEST_F(RealS3, RefusedKeysAndPermissionsAreTold) {
  Bucket wrong = bucket();
  wrong.keys = fixed_keys({said("KEY"), "hush", ""});
  for (const Error& error :
       {store(wrong)->put("k", {}, Condition::always()).error(), store(wrong)->head("k").error()}) {
    EXPECT_EQ(error.code, Code::invalid_argument);
    EXPECT_THAT(error.message, AllOf(HasSubstr("refuses the keys"), Not(HasSubstr("hush"))));
  }
  Bucket reader = bucket();
  reader.keys = fixed_keys({said("READER_KEY"), said("READER_SECRET"), ""});
  EXPECT_THAT(store(reader)->put("k", {}, Condition::always()).error().message,
              HasSubstr("denied to this credential"));
  EXPECT_THAT(store(reader)->head("k").error().message, HasSubstr("is not there, or"));
  Bucket nobody = bucket();
  nobody.keys = nullptr;
  EXPECT_THAT(store(nobody)->head("k").error().message, HasSubstr("without a signature"));
}

TEST_F(RealS3, ABucketThatIsNotThereIsTold) {
  Bucket other = bucket();
  other.name = "not-there";
  for (const Error& error : {store(other)->head("k").error(), store(other)->get("k").error(),
                             store(other)->list("", "", 1).error()}) {
    EXPECT_THAT(error.message, HasSubstr("no bucket s3://not-there/"));
  }
}

TEST_F(RealS3, AnAuthorityOfOnesOwnMustBeNamed) {
  Bucket untrusting = bucket();
  untrusting.http.ca_file.clear();
  EXPECT_EQ(store(untrusting)->head("k").error().code, Code::invalid_argument);
}

TEST_F(RealS3, APresignedUrlIsGoodForItsMethodAndItsTime) {
  const auto service = Service::create(bucket(), clock_).value();
  http::Client client(bucket().http);
  const auto status = [&](const std::string& method, const std::string& url) {
    http::Request request;
    request.method = method;
    request.url = url;
    if (method == "PUT") request.body = as_bytes("presigned");
    return client.send(request).value().status;
  };
  const auto url = [&](const char* method) {
    return service->presigned_url(method, "real/a b+\xC3\xA9", std::chrono::seconds(60)).value();
  };
  EXPECT_EQ(status("PUT", url("PUT")), 200);
  EXPECT_EQ(status("GET", url("GET")), 200);
  EXPECT_EQ(status("HEAD", url("HEAD")), 200);
  EXPECT_EQ(status("PUT", url("GET")), 403);
  std::string tampered = url("GET");
  tampered.back() = tampered.back() == 't' ? 'u' : 't';
  EXPECT_EQ(status("GET", tampered), 403);
  EXPECT_EQ(as_text(store(bucket())->get("a b+\xC3\xA9").value()), "presigned");
}

TEST_F(RealS3, LargeObjectsGoInPartsAndNothingIsLeftOfDroppedOnes) {
  const auto one = store(bucket());
  std::vector<std::byte> bytes((size_t{41} << 20) + 7);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 131 >> 9);
  ASSERT_TRUE(one->put("large", bytes, Condition::if_absent()).value().written);
  EXPECT_TRUE(one->get("large").value() == bytes);
  EXPECT_FALSE(one->put("large", bytes, Condition::if_absent()).value().written);
  ASSERT_TRUE(one->begin_upload("dropped").value()->append(bytes).ok());
  const auto service = Service::create(bucket(), clock_).value();
  Call uploads;
  uploads.method = "GET";
  uploads.query = {{"uploads", ""}};
  const auto response = service->call(uploads).value();
  EXPECT_THAT(std::string(as_text(response.body)), Not(HasSubstr("<Upload>")));
  EXPECT_TRUE(one->remove("large").value());
}

TEST_F(RealS3, ABodyThatWasDamagedOnTheWayIsRefused) {
  const auto service = Service::create(bucket(), clock_).value();
  Call put;
  put.method = "PUT";
  put.key = "real/damaged";
  put.headers = {{"Content-MD5", md5_base64(as_bytes("another body"))}};
  put.body = as_bytes("a body");
  EXPECT_FALSE(service->call(put).ok());
  EXPECT_FALSE(head_object(*service, "real/damaged").value().has_value());
}

TEST_F(RealS3, UploadsThatWereNotEndedAreListedAndAborted) {
  if (said("ENDPOINT").empty()) return;
  const auto service = Service::create(bucket(), clock_).value();
  const std::string prefix = "left/a b+%41#\u00e9/";
  std::vector<std::string> ids;
  for (const char* name : {"1", "1", "2"}) {
    ids.push_back(begin_multipart(*service, prefix + name).value());
  }
  ASSERT_TRUE(send_part(*service, prefix + "1", ids[0], 1, as_bytes("part")).ok());
  const OpenUploads open = list_uploads(*service, prefix).value();
  ASSERT_EQ(open.uploads.size(), 3U);
  for (const OpenUpload& upload : open.uploads) {
    EXPECT_LT(open.now - upload.begun, std::chrono::hours(1));
    EXPECT_TRUE(abort_multipart(*service, upload.key, upload.id).ok());
  }
  EXPECT_TRUE(list_uploads(*service, prefix).value().uploads.empty());
  EXPECT_TRUE(abort_multipart(*service, prefix + "1", ids[0]).ok()) << "it is gone";
}

}  // namespace
}  // namespace atelier::s3
