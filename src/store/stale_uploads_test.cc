// SPDX-License-Identifier: Apache-2.0
#include "store/stale_uploads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <optional>

#include "store/s3/fake_s3.h"

namespace atelier {
namespace {

using std::chrono::hours;
using testing::HasSubstr;

class StaleUploadsTest : public testing::Test {
 protected:
  Result<StaleUploads> sweep(const char* place, bool only_look = false) {
    const std::map<std::string, std::string> values = {{"AWS_ACCESS_KEY_ID", "AKEXAMPLE"},
                                                       {"AWS_SECRET_ACCESS_KEY", "s"},
                                                       {"AWS_ENDPOINT_URL_S3", server_.url()}};
    const auto credentials = Credentials::load([&](const char* name) -> std::optional<std::string> {
      const auto found = values.find(name);
      return found == values.end() ? std::nullopt : std::optional(found->second);
    });
    return remove_stale_uploads(parse_location(place).value(), hours(24), only_look, *credentials,
                                clock_, [](const std::string&) {});
  }
  void begin(const char* key, hours ago) { fake_.begin_upload(key, ago); }

  s3::FakeS3 fake_;
  std::optional<TestAnswer> trouble_;
  TestServer server_{
      [this](const TestRequest& request) { return trouble_ ? *trouble_ : fake_.answer(request); }};
  FakeClock clock_;
};

TEST_F(StaleUploadsTest, ThoseOfADayAgoBelowThePlaceAreRemoved) {
  begin("runs/1/chunk", hours(25));
  begin("runs/1/fresh", hours(23));
  begin("runs2/other", hours(100));
  begin("out/a b+%41#\u00e9", hours(100));
  EXPECT_EQ(sweep("s3://b/runs", true).value().found, 1U);
  EXPECT_EQ(fake_.uploads(), 4U);
  EXPECT_EQ(sweep("s3://b/runs").value().removed, 1U);
  EXPECT_EQ(fake_.uploads(), 3U);
  EXPECT_EQ(sweep("s3://b").value().found, 0U) << "others may write into the bucket";
  EXPECT_EQ(fake_.uploads(), 3U);
}

TEST_F(StaleUploadsTest, AllPagesAreRead) {
  for (int i = 0; i < 25; ++i) begin(fmt::format("runs/{}", i % 5).c_str(), hours(48));
  EXPECT_EQ(sweep("s3://b/runs").value().removed, 25U);
  EXPECT_EQ(fake_.uploads(), 0U);
}

TEST_F(StaleUploadsTest, WhatMayNotBeListedIsAnError) {
  trouble_ = http_answer(403, s3::error_body("AccessDenied"));
  EXPECT_EQ(sweep("s3://b/runs").error().code, Code::invalid_argument);
  trouble_ = http_answer(200, "<html>a portal</html>");
  EXPECT_EQ(sweep("s3://b/runs").error().code, Code::unavailable);
}

TEST_F(StaleUploadsTest, OtherKindsKeepNone) {
  EXPECT_EQ(sweep("/nowhere").value().found, 0U);
  EXPECT_EQ(sweep("az://a/c").value().found, 0U);
}

}  // namespace
}  // namespace atelier
