// SPDX-License-Identifier: Apache-2.0
#include "server/location_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "store/test_folder.h"

namespace atelier::server {
namespace {

namespace fs = std::filesystem;
using namespace std::string_literals;

Location at(std::string_view text) { return parse_location(text).value(); }

// A file system that is a list of links.
ResolveLinks links(std::map<std::string, std::string> list = {}) {
  return [list = std::move(list)](const fs::path& path) -> Result<fs::path> {
    std::string text = path.native();
    for (const auto& [from, to] : list) {
      if (text == from || text.starts_with(from + "/")) text = to + text.substr(from.size());
    }
    return fs::path(text);
  };
}

LocationPolicy policy() {
  LocationPolicy policy;
  policy.media = {at("/srv/media"), at("az://acct/media"), at("s3://bucket/in")};
  policy.models = {at("/srv/models"), at("az://acct/media/styles")};
  policy.closed = {at("/var/lib/atelier"), at("/srv/runs"), at("az://acct/runs")};
  return policy;
}

bool may(std::string_view location, LocationUse use = LocationUse::read,
         const std::vector<std::string>& prefixes = {}) {
  const auto checked = check_location(policy(), links(), prefixes, location, use);
  if (!checked.ok()) {
    EXPECT_EQ(checked.error().code, Code::invalid_argument);
    EXPECT_THAT(checked.error().message, testing::EndsWith("."));
    EXPECT_EQ(checked.error().message.find('\n'), std::string::npos);
  }
  return checked.ok();
}

TEST(LocationPolicy, WhatLiesBelowAStoreIsOpen) {
  for (const char* good :
       {"/srv/media/a.mp4", "/srv/media/deep/a b.mp4", "file:/srv/media/a%20b.mp4",
        "FILE://localhost/srv/media/a", "/srv/media//a/./b", "az://acct/media/x/y.mp4",
        "s3://bucket/in/x", "/srv/media/..a", "/srv/media/%2e%2e"}) {
    EXPECT_TRUE(may(good)) << good;
    EXPECT_TRUE(may(good, LocationUse::write)) << good;
  }
}

TEST(LocationPolicy, NothingElseIs) {
  for (const std::string& bad : {""s,
                                 "/"s,
                                 "/etc/passwd"s,
                                 "/srv/media"s,
                                 "/srv/media/"s,
                                 "/srv/mediax/a"s,
                                 "/srv/media.x"s,
                                 "/srv/media/../media/a"s,
                                 "/srv/media/../../etc/passwd"s,
                                 "/srv/media/a/.."s,
                                 "file:///srv/media/%2e%2e/x"s,
                                 "file:///srv/media/a%2F..%2Fb"s,
                                 "a.mp4"s,
                                 "./a.mp4"s,
                                 "file:a"s,
                                 "abcd:/srv/media/a"s,
                                 "filf:/srv/media/a"s,
                                 "file://host/srv/media/a"s,
                                 "az://acct/media"s,
                                 "az://acct/mediax/a"s,
                                 "az://other/media/a"s,
                                 "az://acct/runs/a"s,
                                 "az://acct/media/../runs/a"s,
                                 "az://acct/media/%2e%2e/runs/a"s,
                                 "AZ://ACCT/media/a"s,
                                 "s3://bucket/inx"s,
                                 "s3://bucket/in"s,
                                 "s3://bucket/x"s,
                                 "s3://acct/media/a"s,
                                 "https://acct/media/a"s,
                                 "http://169.254.169.254/latest"s,
                                 "az://acct/media/x?sig=1"s,
                                 "/srv/runs/a"s,
                                 "/var/lib/atelier/atelier.db"s,
                                 "/srv/models/a.onnx"s,
                                 "/srv/media/.atelier-tmp-1"s,
                                 "az://acct/media/.atelier-keys/1"s,
                                 "/srv/media/a\0b"s,
                                 "/srv/media/" + std::string(5000, 'a')}) {
    EXPECT_FALSE(may(bad)) << bad;
    EXPECT_FALSE(may(bad, LocationUse::write)) << bad;
  }
}

TEST(LocationPolicy, ModelsHaveStoresOfTheirOwnAndNamesAreFree) {
  for (const char* good : {"starry-night", "wave_2.1", "/srv/models/a.onnx",
                           "file:///srv/models/a.onnx", "az://acct/media/styles/a.onnx"}) {
    EXPECT_TRUE(may(good, LocationUse::model)) << good;
  }
  for (const char* bad : {"", "a.onnx", "../a", "-a", "a/b", "/srv/media/a.onnx",
                          "az://acct/media/a.onnx", "/srv/modelsx/a.onnx"}) {
    EXPECT_FALSE(may(bad, LocationUse::model)) << bad;
  }
}

TEST(LocationPolicy, PrefixesNarrowWhatACallerMayUse) {
  const std::vector<std::string> prefixes = {"az://acct/media/team-a", "file:///srv/media/a%20b/"};
  for (const char* good :
       {"az://acct/media/team-a/x", "az://acct/media/team-a", "/srv/media/a b/x"}) {
    EXPECT_TRUE(may(good, LocationUse::write, prefixes)) << good;
  }
  for (const char* bad : {"az://acct/media/team-ab/x", "az://acct/media/x", "/srv/media/a",
                          "/srv/media/a bc", "s3://bucket/in/x"}) {
    EXPECT_FALSE(may(bad, LocationUse::write, prefixes)) << bad;
  }
  EXPECT_TRUE(may("starry-night", LocationUse::model, prefixes));
  EXPECT_FALSE(may("/srv/models/a.onnx", LocationUse::model, prefixes));
  EXPECT_TRUE(may("/srv/models/a.onnx", LocationUse::model, {"/srv/models"}));
  // What is no prefix allows nothing rather than everything.
  for (const char* odd : {"", "media", "https://x", "/srv/media/..", "*"}) {
    EXPECT_FALSE(may("/srv/media/a", LocationUse::read, {odd})) << odd;
  }
  EXPECT_FALSE(may("/etc/passwd", LocationUse::read, {"/"}));
}

TEST(LocationPolicy, LinksDoNotLeadOut) {
  const auto resolve = links({{"/srv/media/out", "/etc"},
                              {"/srv/media/runs", "/srv/runs"},
                              {"/srv/media/own/db", "/var/lib/atelier/atelier.db"},
                              {"/srv/media/team-a/b", "/srv/media/team-b"},
                              {"/srv/media/up", "/srv/media"}});
  const auto open = [&](std::string_view location, const std::vector<std::string>& prefixes = {}) {
    return check_location(policy(), resolve, prefixes, location, LocationUse::write).ok();
  };
  EXPECT_FALSE(open("/srv/media/out/passwd"));
  EXPECT_FALSE(open("/srv/media/runs/x"));
  EXPECT_FALSE(open("/srv/media/own/db"));
  EXPECT_FALSE(open("/srv/media/up"));
  EXPECT_TRUE(open("/srv/media/up/a.mp4"));
  EXPECT_TRUE(open("/srv/media/team-a/b/x"));
  EXPECT_FALSE(open("/srv/media/team-a/b/x", {"/srv/media/team-a"}));
  EXPECT_FALSE(open("/srv/media/team-a/b/x", {"/srv/media/team-b"}));
}

TEST(LocationPolicy, AStoreMayBeALinkItself) {
  const auto resolve = links({{"/srv/media", "/disk/1"}, {"/srv/runs", "/disk/2"}});
  const auto open = [&](std::string_view location) {
    return check_location(policy(), resolve, {"/srv/media/a"}, location, LocationUse::read).ok();
  };
  EXPECT_TRUE(open("/srv/media/a/x"));
  EXPECT_FALSE(open("/disk/1/a/x"));
  EXPECT_TRUE(check_apart(policy(), resolve).ok());
  EXPECT_FALSE(check_apart(policy(), links({{"/srv/runs", "/srv/media/runs"}})).ok());
}

TEST(LocationPolicy, AFailureToResolveIsNoPermission) {
  const auto fails = [](const fs::path&) -> Result<fs::path> {
    return make_error(Code::unavailable, "The disk is away.");
  };
  const auto checked = check_location(policy(), fails, {}, "/srv/media/a", LocationUse::read);
  ASSERT_FALSE(checked.ok());
  EXPECT_EQ(checked.error().code, Code::unavailable);
}

TEST(LocationPolicy, WhatIsOutsideIsNotLookedAt) {
  int asked = 0;
  const auto counts = [&](const fs::path& path) -> Result<fs::path> {
    ++asked;
    return path;
  };
  EXPECT_FALSE(check_location(policy(), counts, {}, "/etc/shadow", LocationUse::read).ok());
  EXPECT_EQ(asked, 0);
}

TEST(LocationPolicy, OpenAndClosedPlacesLieApart) {
  EXPECT_TRUE(check_apart(policy(), links()).ok());
  for (const auto& [open, closed] :
       {std::pair("/srv", "/srv/runs"), std::pair("/srv/runs/a", "/srv/runs"),
        std::pair("/srv/x", "/srv/x"), std::pair("/", "/srv/x"),
        std::pair("az://acct/c", "az://acct/c/runs")}) {
    for (const bool is_model : {false, true}) {
      LocationPolicy wrong;
      (is_model ? wrong.models : wrong.media).push_back(at(open));
      wrong.closed.push_back(at(closed));
      const auto checked = check_apart(wrong, links());
      ASSERT_FALSE(checked.ok()) << open;
      EXPECT_THAT(checked.error().message, testing::HasSubstr(at(closed).url()));
    }
  }
  LocationPolicy near;
  near.media = {at("/srv/a"), at("az://acct/a"), at("az://acct/c/x")};
  near.closed = {at("/srv/ab"), at("az://acct/ab"), at("az://acct/c/xy"), at("az://b/a")};
  EXPECT_TRUE(check_apart(near, links()).ok());
}

TEST(LocationPolicy, RealLinksAreResolved) {
  const TestFolder folder;
  const fs::path root = fs::canonical(folder.path());
  fs::create_directories(root / "media/in");
  fs::create_directory_symlink(root, root / "media/up");
  fs::create_symlink("loop", root / "media/loop");
  LocationPolicy real;
  real.media = {at((root / "media").native())};
  const auto open = [&](const char* inside) {
    return check_location(real, resolve_links, {}, (root / "media" / inside).native(),
                          LocationUse::read)
        .ok();
  };
  EXPECT_TRUE(open("in/a.mp4"));
  EXPECT_TRUE(open("new/a.mp4"));
  EXPECT_TRUE(open("up/media/in/a.mp4"));
  EXPECT_FALSE(open("up/secret"));
  EXPECT_FALSE(open("loop"));
}

// What another attempt would meet again is refused for good; a trigger would wait for it for ever.
TEST(LocationPolicy, APathThatLeadsNowhereIsRefusedForGood) {
  const TestFolder folder;
  const fs::path root = fs::canonical(folder.path());
  fs::create_symlink("loop", root / "loop");
  EXPECT_EQ(resolve_links(root / "loop").error().code, Code::invalid_argument);
  EXPECT_EQ(resolve_links(root / std::string(300, 'a')).error().code, Code::invalid_argument);
  EXPECT_TRUE(resolve_links(root / std::string(255, 'a')).ok());
}

}  // namespace
}  // namespace atelier::server
