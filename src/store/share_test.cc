// SPDX-License-Identifier: Apache-2.0
// What is refused before a service is asked; tests/net/share_test.py uses links on a service.
#include "store/share.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

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

}  // namespace
}  // namespace atelier
