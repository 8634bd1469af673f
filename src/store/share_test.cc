// SPDX-License-Identifier: Apache-2.0
// What is refused before a service is asked; tests/net/share_test.py uses links on a service.
#include "store/share.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <map>

#include "store/azure/fake_azure.h"
#include "store/s3/fake_s3.h"
#include "store/test_folder.h"

namespace atelier {
namespace {

using std::chrono::hours;
using std::chrono::seconds;
using testing::HasSubstr;

Error refusal(const char* place, const char* variable, seconds lasts = hours(1)) {
  const std::map<std::string, std::string> values = {{variable, "sv=1&sig=SECRET"},
                                                     {"AZURE_STORAGE_ACCOUNT", "lab"}};
  const auto credentials = Credentials::load([&](const char* name) -> std::optional<std::string> {
    const auto found = values.find(name);
    return found == values.end() ? std::nullopt : std::optional(found->second);
  });
  FakeClock clock;
  const auto link = share_link(parse_location(place).value(), Access::read, lasts, *credentials,
                               clock, [](const std::string&) {});
  EXPECT_FALSE(link.ok());
  return link.ok() ? Error{} : link.error();
}

TEST(ShareLink, WhatCannotBeLentIsRefusedWithASentence) {
  const struct {
    const char *place, *variable, *says;
  } cases[] = {
      {"/tmp/a.mp4", "NONE", "is a file"},
      {"az://lab/media", "AZURE_STORAGE_KEY", "is a container"},
      {"az://lab/media/a.mp4", "AZURE_STORAGE_SAS_TOKEN", "SAS token, which cannot make another"},
      {"az://lab/media/a.mp4", "NONE", "needs the account's key"},
  };
  for (const auto& c : cases) {
    const Error error = refusal(c.place, c.variable);
    EXPECT_EQ(error.code, Code::invalid_argument) << c.place;
    EXPECT_THAT(error.message, HasSubstr(c.says));
    EXPECT_THAT(error.message, testing::Not(HasSubstr("SECRET")));
  }
}

TEST(ShareLink, NoLinkLastsForEver) {
  const char* blob = "az://lab/media/a.mp4";
  for (const seconds lasts : {seconds(0), seconds(hours(24 * 365)) + seconds(1)}) {
    EXPECT_THAT(refusal(blob, "AZURE_STORAGE_KEY", lasts).message, HasSubstr("to 365 days"));
  }
}

// Who may only write is told nothing of the object, and yet the time.
TEST(ShareLink, AWrongClockIsSetAlsoForALinkToWrite) {
  const auto theirs = std::chrono::system_clock::now() + hours(5);
  std::atomic<int> seen{0};
  TestServer server([&](const TestRequest& request) {
    const char* code = seen++ < 2 ? "RequestTimeTooSkewed" : "AccessDenied";
    return http_answer(403, s3::error_body(code), "Date: " + http::format_date(theirs) + "\r\n",
                       request.method == "HEAD");
  });
  const std::map<std::string, std::string> values = {{"AWS_ACCESS_KEY_ID", "AK"},
                                                     {"AWS_SECRET_ACCESS_KEY", "hush"},
                                                     {"AWS_ENDPOINT_URL", server.url()}};
  const auto credentials = Credentials::load([&](const char* name) -> std::optional<std::string> {
    const auto found = values.find(name);
    return found == values.end() ? std::nullopt : std::optional(found->second);
  });
  FakeClock clock;
  const auto link = share_link(parse_location("s3://b/k").value(), Access::write, hours(1),
                               *credentials, clock, [](const std::string&) {});
  ASSERT_TRUE(link.ok()) << link.error().message;
  EXPECT_GT(link->expires, theirs + hours(1) - std::chrono::minutes(10));
}

Result<Link> link_to_write(const char* place, const std::map<std::string, std::string>& values) {
  const auto credentials = Credentials::load([&](const char* name) -> std::optional<std::string> {
    const auto found = values.find(name);
    return found == values.end() ? std::nullopt : std::optional(found->second);
  });
  FakeClock clock;
  return share_link(parse_location(place).value(), Access::write, hours(1), *credentials, clock,
                    [](const std::string&) {});
}

// Its link would be dead.
TEST(ShareLink, ARefusedKeyMakesNoLinkToWriteEither) {
  TestServer azure([](const TestRequest&) { return azure::failure(403, "AuthenticationFailed"); });
  const auto blob = link_to_write("az://lab/media/a.mp4",
                                  {{"AZURE_STORAGE_ACCOUNT", "lab"},
                                   {"AZURE_STORAGE_KEY", "c2VjcmV0"},
                                   {"AZURE_STORAGE_SERVICE_ENDPOINT", azure.url() + "/lab"}});
  ASSERT_FALSE(blob.ok());
  EXPECT_EQ(blob.error().code, Code::invalid_argument);
  EXPECT_THAT(blob.error().message, HasSubstr("AuthenticationFailed"));
  TestServer s3([](const TestRequest& request) {
    return http_answer(403, s3::error_body("SignatureDoesNotMatch"), {}, request.method == "HEAD");
  });
  const auto object = link_to_write("s3://b/k", {{"AWS_ACCESS_KEY_ID", "AK"},
                                                 {"AWS_SECRET_ACCESS_KEY", "hush"},
                                                 {"AWS_ENDPOINT_URL", s3.url()}});
  ASSERT_FALSE(object.ok());
  EXPECT_EQ(object.error().code, Code::invalid_argument);
  EXPECT_THAT(object.error().message, HasSubstr("SignatureDoesNotMatch"));
}

// Its refusal tells the service's time, by which the link ends: ours may be hours ahead.
TEST(ShareLink, WhoMayOnlyWriteIsToldTheTime) {
  const TestFolder folder;
  const auto secret_file = [&](const char* name, const std::string& text) {
    const auto path = folder.path() / name;
    std::ofstream(path) << text;
    std::filesystem::permissions(path, std::filesystem::perms::owner_read);
    return path.string();
  };
  const auto theirs = std::chrono::floor<seconds>(std::chrono::system_clock::now()) - hours(5);
  TestServer server([&](const TestRequest& request) {
    if (request.method == "HEAD") {
      return azure::failure(403, "AuthorizationPermissionMismatch", true,
                            "Date: " + http::format_date(theirs) + "\r\n");
    }
    return http_answer(200,
                       "<UserDelegationKey><SignedOid>o</SignedOid><SignedTid>t</SignedTid>"
                       "<SignedStart>s</SignedStart><SignedExpiry>e</SignedExpiry>"
                       "<SignedService>b</SignedService><SignedVersion>v</SignedVersion>"
                       "<Value>a2V5</Value></UserDelegationKey>");
  });
  const std::string file =
      secret_file("credentials", fmt::format("[az://lab]\nendpoint = {}/lab\ntoken_file = {}\n",
                                             server.url(), secret_file("token", "bearer")));
  const auto link = link_to_write("az://lab/media/a.mp4", {{"ATELIER_CREDENTIALS", file}});
  ASSERT_TRUE(link.ok()) << link.error().message;
  EXPECT_EQ(link->expires, theirs + hours(1));
}

}  // namespace
}  // namespace atelier
