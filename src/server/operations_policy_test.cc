// SPDX-License-Identifier: Apache-2.0
#include "server/operations_policy.h"

#include <gtest/gtest.h>

namespace atelier::server {
namespace {

const Role kRoles[] = {Role::nobody, Role::reader, Role::submitter, Role::operator_, Role::admin};

Principal principal(Role role, std::vector<std::string> pipelines = {},
                    std::vector<std::string> prefixes = {}) {
  return {"name", role, std::move(pipelines), std::move(prefixes)};
}

TEST(Policy, RolesMayWhatThoseBeforeThemMay) {
  for (size_t has = 0; has < std::size(kRoles); ++has) {
    for (size_t needed = 0; needed < std::size(kRoles); ++needed) {
      EXPECT_EQ(may(principal(kRoles[has]), kRoles[needed]), has != 0 && has >= needed)
          << has << " " << needed;
    }
  }
}

TEST(Policy, RolesHaveNames) {
  for (const Role role : kRoles) {
    const auto named = role_named(name_of(role));
    EXPECT_EQ(named, role == Role::nobody ? std::nullopt : std::optional(role));
  }
  EXPECT_FALSE(role_named("Admin"));
  EXPECT_FALSE(role_named(""));
}

TEST(Policy, APipelineMustBeInTheScope) {
  EXPECT_TRUE(may_use_pipeline(principal(Role::reader), "a"));
  EXPECT_TRUE(may_use_pipeline(principal(Role::reader, {"b", "a"}), "a"));
  EXPECT_FALSE(may_use_pipeline(principal(Role::admin, {"b", "ab"}), "a"));
  EXPECT_FALSE(may_use_pipeline(principal(Role::nobody), "a"));
}

TEST(Policy, APlaceMustLieBelowAPrefix) {
  const Principal who =
      principal(Role::submitter, {}, {"az://acc/con/in", "s3://bucket", "file:///data/in/"});
  for (const char* good :
       {"az://acc/con/in", "az://acc/con/in/", "az://acc/con/in/a/b.mp4", "az://acc/con/in/%2E%61",
        "AZ://acc/con/in/x", "s3://bucket", "s3://bucket/a", "/data/in", "/data/in/a.mp4",
        "file:///data/in/a.mp4", "FILE:/data/in/a", "/data/./in//a", "/other/../data/in/a"}) {
    EXPECT_TRUE(may_use_location(who, good)) << good;
  }
  for (const char* bad : {"az://acc/con/input",
                          "az://acc/con",
                          "az://acc/con/IN/a",
                          "az://acc/con2/in/a",
                          "az://ac/con/in/a",
                          "s3://acc/con/in/a",
                          "s3://bucket2/a",
                          "az://acc/con/in/../out",
                          "az://acc/con/in/%2e%2e/out",
                          "/data/in/../out",
                          "/data/input",
                          "/data",
                          "/",
                          "a.mp4",
                          "data/in/a",
                          "../data/in/a",
                          "file:///data/in/%2e%2e/out",
                          "file:data/in/a",
                          "file://host/data/in/a",
                          "https://acc/con/in/a",
                          "",
                          "az://acc/con/in/a?sig=x"}) {
    EXPECT_FALSE(may_use_location(who, bad)) << bad;
  }
  EXPECT_TRUE(may_use_location(principal(Role::submitter), "anything"));
  EXPECT_TRUE(may_use_location(principal(Role::submitter, {}, {"/"}), "/etc"));
  EXPECT_FALSE(may_use_location(principal(Role::submitter, {}, {"no/place"}), "/no/place/a"));
  EXPECT_FALSE(may_use_location(principal(Role::nobody), "/data"));
}

TEST(Policy, WhoMakesATokenMustCoverIt) {
  const Principal all = principal(Role::operator_);
  const Principal narrow = principal(Role::operator_, {"a", "b"}, {"s3://x/in"});
  EXPECT_TRUE(covers(all, all));
  EXPECT_TRUE(covers(all, narrow));
  EXPECT_TRUE(covers(narrow, narrow));
  EXPECT_TRUE(covers(narrow, principal(Role::reader, {"a"}, {"s3://x/in/deep"})));
  EXPECT_FALSE(covers(narrow, all));
  EXPECT_FALSE(covers(all, principal(Role::admin)));
  EXPECT_FALSE(covers(narrow, principal(Role::reader, {}, {"s3://x/in"})));
  EXPECT_FALSE(covers(narrow, principal(Role::reader, {"a"}, {})));
  EXPECT_FALSE(covers(narrow, principal(Role::reader, {"a", "c"}, {"s3://x/in"})));
  EXPECT_FALSE(covers(narrow, principal(Role::reader, {"a"}, {"s3://x/in", "s3://x/input"})));
  EXPECT_FALSE(covers(narrow, principal(Role::reader, {"a"}, {"s3://x"})));
  EXPECT_FALSE(covers(principal(Role::nobody), principal(Role::nobody)));
}

std::optional<std::string> bearer(const std::string& header) {
  Call call;
  call.headers["authorization"] = header;
  call.query["access_token"] = "fromquery";
  call.query["token"] = "fromquery";
  return bearer_of(call);
}

TEST(Policy, ATokenComesInOneHeaderAlone) {
  EXPECT_EQ(bearer("Bearer abc_-.~+/="), "abc_-.~+/=");
  EXPECT_EQ(bearer("bearer  abc "), "abc");
  EXPECT_EQ(bearer("BEARER abc"), "abc");
  for (const std::string& header :
       {std::string(""), std::string("Bearer"), std::string("Bearer "), std::string("Bearer   "),
        std::string("Bearerabc"), std::string("abc"), std::string("Basic abc"),
        std::string("Bearer a b"), std::string("Bearer a,b"), std::string("Bearer a\tb"),
        std::string("Bearer \xc3\xbc"), std::string("Bearer a\0b", 10),
        "Bearer " + std::string(5000, 'a')}) {
    EXPECT_EQ(bearer(header), std::nullopt) << header;
  }
  EXPECT_EQ(bearer_of(Call{}), std::nullopt);
}

}  // namespace
}  // namespace atelier::server
