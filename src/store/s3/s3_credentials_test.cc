// SPDX-License-Identifier: Apache-2.0
#include "store/s3/s3_credentials.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>
#include <atomic>
#include <ctime>
#include <fstream>
#include <map>

#include "store/test_folder.h"
#include "store/test_server.h"

namespace atelier::s3 {
namespace {

using testing::HasSubstr;
using testing::Not;

// A home with files in it, and variables.
class Usual : public testing::Test {
 protected:
  Usual() { variables_["HOME"] = folder_.path().string(); }

  void set(const std::string& name, const std::string& value) { variables_[name] = value; }
  std::filesystem::path write(const std::string& name, const std::string& text, mode_t mode) {
    const auto path = folder_.path() / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
    ::chmod(path.c_str(), mode);
    return path;
  }
  Result<Settings> settings() {
    return usual_settings(
        [this](const char* name) {
          const auto found = variables_.find(name);
          return found == variables_.end() ? std::string() : found->second;
        },
        clock_);
  }

 private:
  TestFolder folder_;
  std::map<std::string, std::string> variables_;
  FakeClock clock_;
};

constexpr const char* kCredentials =
    "[default]\naws_access_key_id = AK1\naws_secret_access_key = hush1\n"
    "[other]\naws_access_key_id=AK2\naws_secret_access_key=hush2\naws_session_token = t2\n";
constexpr const char* kConfig =
    "[default]\nregion = eu-west-1\ns3 =\n  addressing_style = path\n"
    "[profile other]\nregion = eu-north-1\nendpoint_url = https://all\nservices = mine\n"
    "ca_bundle = /ca.pem\n[services mine]\ns3 =\n  endpoint_url = https://s3.mine\n"
    "[profile signed-on]\nsso_session = x\n";

TEST_F(Usual, VariablesGoFirst) {
  write(".aws/credentials", kCredentials, 0644);  // is not even looked at
  set("AWS_ACCESS_KEY_ID", "AK");
  set("AWS_SECRET_ACCESS_KEY", "hush");
  set("AWS_SESSION_TOKEN", "token");
  set("AWS_REGION", "r1");
  set("AWS_DEFAULT_REGION", "r2");
  set("AWS_ENDPOINT_URL", "http://all");
  set("AWS_CA_BUNDLE", "/c.pem");
  Settings usual = settings().value();
  const Keys keys = usual.keys->read().value();
  EXPECT_EQ(keys.access_key, "AK");
  EXPECT_EQ(keys.secret_key, "hush");
  EXPECT_EQ(keys.session_token, "token");
  EXPECT_EQ(usual.region, "r1");
  EXPECT_EQ(usual.endpoint, "http://all");
  EXPECT_EQ(usual.ca_file, "/c.pem");
  EXPECT_FALSE(usual.host_style.has_value());
  set("AWS_ENDPOINT_URL_S3", "http://s3");
  EXPECT_EQ(settings().value().endpoint, "http://s3");
}

TEST_F(Usual, TheDefaultProfileIsTaken) {
  write(".aws/credentials", kCredentials, 0600);
  write(".aws/config", kConfig, 0644);
  const Settings usual = settings().value();
  EXPECT_EQ(usual.keys->read().value().access_key, "AK1");
  EXPECT_EQ(usual.region, "eu-west-1");
  EXPECT_EQ(usual.endpoint, "");
  EXPECT_EQ(usual.host_style, false);
}

TEST_F(Usual, AProfileIsTakenByItsName) {
  set("AWS_SHARED_CREDENTIALS_FILE", write("c", kCredentials, 0600));
  set("AWS_CONFIG_FILE", write("d", kConfig, 0644));
  set("AWS_PROFILE", "other");
  const Settings usual = settings().value();
  EXPECT_EQ(usual.keys->read().value().session_token, "t2");
  EXPECT_EQ(usual.region, "eu-north-1");
  EXPECT_EQ(usual.endpoint, "https://s3.mine");
  EXPECT_EQ(usual.ca_file, "/ca.pem");
  set("AWS_PROFILE", "none");
  EXPECT_THAT(settings().error().message, HasSubstr("'none'"));
}

TEST_F(Usual, AFileThatOthersMayReadIsRefused) {
  write(".aws/credentials", kCredentials, 0640);
  const auto usual = settings();
  ASSERT_FALSE(usual.ok());
  EXPECT_EQ(usual.error().code, Code::invalid_argument);
  EXPECT_THAT(usual.error().message, HasSubstr("chmod 600"));
}

TEST_F(Usual, WhatIsHalfOrWrongIsRefusedWithoutASecret) {
  set("AWS_SECRET_ACCESS_KEY", "hush");
  EXPECT_THAT(settings().error().message, HasSubstr("AWS_ACCESS_KEY_ID"));
  set("AWS_SECRET_ACCESS_KEY", "");
  for (const char* text : {"[default]\naws_secret_access_key = hush\n", "[default]\nhush\n"}) {
    write(".aws/credentials", text, 0600);
    const auto usual = settings();
    ASSERT_FALSE(usual.ok());
    EXPECT_EQ(usual.error().code, Code::invalid_argument);
    EXPECT_THAT(usual.error().message, Not(HasSubstr("hush")));
  }
  set("AWS_CONFIG_FILE", "/not/there");
  EXPECT_THAT(settings().error().message, HasSubstr("/not/there"));
}

TEST_F(Usual, AProfileOfAnotherWayIsRefusedByName) {
  write(".aws/config", kConfig, 0644);
  set("AWS_PROFILE", "signed-on");
  EXPECT_THAT(settings().error().message, HasSubstr("sso_session"));
}

TEST_F(Usual, WithoutKeysTheMachineIsAskedOrNobody) {
  set("AWS_EC2_METADATA_DISABLED", "true");
  EXPECT_EQ(settings().value().keys, nullptr);
  set("AWS_EC2_METADATA_DISABLED", "");
  EXPECT_NE(settings().value().keys, nullptr);
}

TEST_F(Usual, AFileThatChangesIsReadAgain) {
  write(".aws/credentials", kCredentials, 0600);
  const Settings usual = settings().value();
  EXPECT_EQ(usual.keys->read().value().access_key, "AK1");
  const auto fresh =
      write(".aws/fresh", "[default]\naws_access_key_id = AK9\naws_secret_access_key = x\n", 0600);
  std::filesystem::rename(fresh, fresh.parent_path() / "credentials");
  EXPECT_EQ(usual.keys->read().value().access_key, "AK9");
}

// An instance metadata service whose keys last `seconds`, until it goes away.
class Metadata {
 public:
  TestAnswer answer(const TestRequest& request) {
    const std::string roles = "/latest/meta-data/iam/security-credentials/";
    if (gone) return http_answer(503);
    if (request.path() == "/latest/api/token") {
      const bool good = request.method == "PUT" &&
                        request.header("X-aws-ec2-metadata-token-ttl-seconds") == "21600";
      return http_answer(good ? 200 : 400, "the-token\n");
    }
    if (request.header("X-aws-ec2-metadata-token") != "the-token") return http_answer(401);
    if (request.path() == roles) return http_answer(200, "a role\n");
    if (request.path() != roles + "a role") return http_answer(404);
    const auto end = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now() +
                                                          std::chrono::seconds(seconds));
    tm utc{};
    ::gmtime_r(&end, &utc);
    std::array<char, 32> text{};
    std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
    return http_answer(
        200, fmt::format(R"({{"Code":"Success","AccessKeyId":"AK{}","SecretAccessKey":"hush",)"
                         R"("Token":"t","Expiration":"{}"}})",
                         ++given, text.data()));
  }
  std::atomic<bool> gone{false};
  std::atomic<int> given{0}, seconds{3600};
};

TEST(MetadataKeys, AreFetchedOnceAndAgainBeforeTheyEnd) {
  Metadata metadata;
  TestServer server([&](const TestRequest& request) { return metadata.answer(request); });
  FakeClock clock;
  const auto source = metadata_keys(server.url(), clock);
  EXPECT_EQ(source->read().value().access_key, "AK1");
  EXPECT_EQ(source->read().value().session_token, "t");
  EXPECT_EQ(metadata.given, 1);
  clock.advance(std::chrono::minutes(56));
  EXPECT_EQ(source->read().value().access_key, "AK2");
  source->forget();
  EXPECT_EQ(source->read().value().access_key, "AK3");
}

TEST(MetadataKeys, AreUsedToTheirEndWhileTheServiceIsAway) {
  Metadata metadata;
  TestServer server([&](const TestRequest& request) { return metadata.answer(request); });
  FakeClock clock;
  const auto source = metadata_keys(server.url(), clock);
  ASSERT_TRUE(source->read().ok());
  metadata.gone = true;
  clock.advance(std::chrono::minutes(56));
  EXPECT_EQ(source->read().value().access_key, "AK1");
  clock.advance(std::chrono::minutes(5));
  EXPECT_EQ(source->read().error().code, Code::unavailable);
}

TEST(MetadataKeys, AMachineWithoutARoleIsToldSo) {
  TestServer server([](const TestRequest& request) {
    return http_answer(request.method == "PUT" ? 200 : 404, "x");
  });
  FakeClock clock;
  const auto keys = metadata_keys(server.url(), clock)->read();
  ASSERT_FALSE(keys.ok());
  EXPECT_EQ(keys.error().code, Code::invalid_argument);
  EXPECT_THAT(keys.error().message, HasSubstr("AWS_ACCESS_KEY_ID"));
}

}  // namespace
}  // namespace atelier::s3
