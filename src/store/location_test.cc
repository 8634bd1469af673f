// SPDX-License-Identifier: Apache-2.0
#include "store/location.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace atelier {
namespace {

using namespace std::string_literals;

std::string path_of(std::string_view text) { return parse_location(text).value().path.native(); }

TEST(Location, PathsAreTakenLiterally) {
  for (const char* path : {"/a b", "/it's \"$(x)\"", "/-dash", "/\xff\xfe", "/a:b.mp4", "/100%25",
                           "/what?#", "/file:x"}) {
    EXPECT_EQ(path_of(path), path);
  }
}

TEST(Location, RelativePathsStartHere) {
  const std::string here = std::filesystem::current_path().native();
  for (const char* path :
       {"a b.mp4", "-dash.mp4", "a:b.mp4", "\xff", "1://x", "a_b://x", "files:x", "c++:x"}) {
    EXPECT_EQ(path_of(path), std::filesystem::path(here + "/" + path).lexically_normal().native());
  }
}

TEST(Location, PathsAreNormal) {
  EXPECT_EQ(path_of("/a/./b//c/../d"), "/a/b/d");
  EXPECT_EQ(path_of("/a/b/"), "/a/b");
  EXPECT_EQ(path_of("//a"), "/a");
  EXPECT_EQ(path_of("/../a"), "/a");
  EXPECT_EQ(path_of("/"), "/");
}

TEST(Location, FileUrlsAreDecoded) {
  for (const char* url : {"file:/a%20b/%ff", "file:///a%20b/%FF", "file://localhost/a b/%fF",
                          "FILE://LocalHost/a%20b/%FF"}) {
    EXPECT_EQ(path_of(url), "/a b/\xff") << url;
  }
  EXPECT_EQ(path_of("file:///a%2Fb%3F"), "/a/b?");
}

TEST(Location, BadLocationsAreRefusedInOneSentence) {
  for (const std::string& text : {""s,
                                  "file:"s,
                                  "file:a"s,
                                  "file://"s,
                                  "file://host/a"s,
                                  "file://host"s,
                                  "file:///a%"s,
                                  "file:///a%2"s,
                                  "file:///a%2x"s,
                                  "file:///a%zz"s,
                                  "file:///a%00"s,
                                  "file:///a?b"s,
                                  "file:///a#b"s,
                                  "a\0b"s,
                                  "http://h/x"s,
                                  "https://h/x"s,
                                  "az://"s,
                                  "az://account"s,
                                  "az://account/"s,
                                  "az:///c/x"s,
                                  "az://a/c/x?sv=1&sig=s"s,
                                  "az://a/c/x#y"s,
                                  "az://a/c/../x"s,
                                  "az://a/c//x"s,
                                  "az://a/c/%zz"s,
                                  "az://a/c/%00"s,
                                  "az://a b/c/x"s,
                                  "az://a/c%20/x"s,
                                  "az://user@host/c/x"s,
                                  "s3://"s,
                                  "s3:///x"s,
                                  "s3://b/./x"s,
                                  "s3://b/x?y"s}) {
    const auto result = parse_location(text);
    ASSERT_FALSE(result.ok()) << text;
    EXPECT_EQ(result.error().code, Code::invalid_argument) << text;
    EXPECT_THAT(result.error().message, testing::EndsWith(".")) << text;
    EXPECT_EQ(result.error().message.find('\n'), std::string::npos) << text;
  }
}

TEST(Location, ObjectsHaveAContainerAndAKey) {
  const Location blob = parse_location("AZ://account/container/a%20b/c%25\xff.mp4").value();
  EXPECT_EQ(blob.scheme, Location::Scheme::azure);
  EXPECT_EQ(blob.account, "account");
  EXPECT_EQ(blob.container, "container");
  EXPECT_EQ(blob.key, "a b/c%\xff.mp4");
  EXPECT_EQ(blob.name(), "c%\xff.mp4");
  EXPECT_EQ(blob.url(), "az://account/container/a%20b/c%25%FF.mp4");
  EXPECT_EQ(parse_location(blob.url()).value(), blob);
  EXPECT_EQ(blob.folder().url(), "az://account/container/a%20b");
  EXPECT_EQ(blob.folder().folder().url(), "az://account/container");
  EXPECT_EQ(blob.folder().folder().name(), "");
  EXPECT_EQ(blob.folder().folder().child("x").child("y z").url(), "az://account/container/x/y%20z");
  EXPECT_EQ(parse_location("/a").value().child("b c").url(), "file:///a/b%20c");

  const Location object = parse_location("s3://my.bucket/runs/").value();
  EXPECT_EQ(object.scheme, Location::Scheme::s3);
  EXPECT_EQ(object.container, "my.bucket");
  EXPECT_EQ(object.key, "runs");
  EXPECT_EQ(object.folder().url(), "s3://my.bucket");
  EXPECT_EQ(parse_location("s3://b").value().key, "");
}

// Azure keeps the pages of a website in "$web"; names of containers are not decoded.
TEST(Location, AContainerWithADollarReadsBackAsTheSame) {
  const Location page = parse_location("az://account/$web/a$b.html").value();
  EXPECT_EQ(page.container, "$web");
  EXPECT_EQ(page.url(), "az://account/$web/a%24b.html");
  const auto again = parse_location(page.url());
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(*again, page);
}

TEST(Location, ATokenOnTheCommandLineIsRefusedAndNotRepeated) {
  const auto result = parse_location("az://account/container/x?sv=1&sig=SECRET");
  EXPECT_THAT(result.error().message, testing::HasSubstr("az://account/container/path"));
  EXPECT_THAT(result.error().message, testing::Not(testing::HasSubstr("SECRET")));
}

TEST(Location, ARefusalDoesNotRepeatAPassword) {
  const auto result = parse_location("https://me:secret@host/x");
  EXPECT_THAT(result.error().message, testing::HasSubstr("https://"));
  EXPECT_THAT(result.error().message, testing::Not(testing::HasSubstr("secret")));
}

TEST(Location, TheUrlReadsBackAsTheSamePath) {
  for (const char* path : {"/a b/c", "/it's \"$(x)\"", "/\xff\xfe", "/a:b%20?#&+,;=@[]", "/"}) {
    const Location location = parse_location(path).value();
    const std::string url = location.url();
    EXPECT_EQ(path_of(url), path) << url;
    EXPECT_EQ(url.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                    "0123456789-._~/%:"),
              std::string::npos);
  }
  EXPECT_EQ(parse_location("/a b~").value().url(), "file:///a%20b~");
}

}  // namespace
}  // namespace atelier
