// SPDX-License-Identifier: Apache-2.0
#include "server/text_values.h"

#include <gtest/gtest.h>

namespace atelier::server {
namespace {

using namespace std::string_literals;
using std::chrono::seconds;

TEST(TextValues, CleanTextIsUtf8WithoutControlCharacters) {
  for (const std::string& good :
       {""s, "a b"s, "Grüße, 世界 🎨"s, "\xED\x9F\xBF"s, "\xEE\x80\x80"s, "\xF4\x8F\xBF\xBF"s}) {
    EXPECT_TRUE(is_clean_text(good)) << good;
  }
  for (const std::string& bad :
       {"a\nb"s, "\t"s, "a\0b"s, "\x7F"s, "\xC2\x80"s, "\xC2\x9F"s, "\xE2\x80\xA8"s, "\x80"s,
        "\xC3"s, "\xC0\xAF"s, "\xC1\xBF"s, "\xE0\x80\xAF"s, "\xE0\x9F\xBF"s, "\xED\xA0\x80"s,
        "\xF0\x8F\xBF\xBF"s, "\xF4\x90\x80\x80"s, "\xF5\x80\x80\x80"s, "\xE2\x80"s, "\xC3("s}) {
    EXPECT_FALSE(is_clean_text(bad)) << shown(bad);
  }
}

TEST(TextValues, NamesAreShortAndPlain) {
  for (const std::string& good : {"a"s, "0"s, "paint-2"s, std::string(63, 'a')}) {
    EXPECT_TRUE(is_name(good)) << good;
  }
  for (const std::string& bad :
       {""s, "-a"s, "A"s, "a_b"s, "a.b"s, "a/b"s, "a\0"s, "ä"s, std::string(64, 'a')}) {
    EXPECT_FALSE(is_name(bad)) << bad;
  }
}

TEST(TextValues, WhatIsShownIsPrintableAndShort) {
  EXPECT_EQ(shown("a\n\x1b[31m\xC3\xA4"),
            "'a?"
            "?[31m?"
            "?'");
  EXPECT_EQ(shown(std::string(1000, 'x')), "'" + std::string(80, 'x') + "...'");
}

TEST(TextValues, DurationsHaveAUnit) {
  EXPECT_EQ(parse_duration("90s"), seconds(90));
  EXPECT_EQ(parse_duration("30 s"), seconds(30));
  EXPECT_EQ(parse_duration("10m"), seconds(600));
  EXPECT_EQ(parse_duration("2h"), seconds(7200));
  EXPECT_EQ(parse_duration("30d"), seconds(30 * 86400));
  for (const char* bad : {"", "10", "m", "-1m", "+1m", "1.5h", "1h30m", "10  m", " 10m", "10m ",
                          "10M", "1000000d", "99999999999999999999s"}) {
    EXPECT_FALSE(parse_duration(bad)) << bad;
  }
}

TEST(TextValues, SizesArePowersOf1024) {
  EXPECT_EQ(parse_byte_size("512B"), 512U);
  EXPECT_EQ(parse_byte_size("8 KiB"), 8192U);
  EXPECT_EQ(parse_byte_size("1M"), 1048576U);
  EXPECT_EQ(parse_byte_size("8GiB"), uint64_t{8} << 30);
  EXPECT_EQ(parse_byte_size("1048576T"), uint64_t{1} << 60);
  for (const char* bad : {"", "8", "8MB", "8kB", "8gib", "-8G", "1.5G", "1048577T", "G"}) {
    EXPECT_FALSE(parse_byte_size(bad)) << bad;
  }
}

TEST(TextValues, MediaTimesAreThoseOfTheCommandLine) {
  EXPECT_EQ(parse_media_time("90"), 90.0);
  EXPECT_EQ(parse_media_time("1:30"), 90.0);
  EXPECT_EQ(parse_media_time("1:00:01.5"), 3601.5);
  EXPECT_EQ(parse_media_time("0"), 0.0);
  for (const char* bad :
       {"", ":", "1:", ":1", "-1", "-0", "1:-1", "1:2:3:4", "nan", "inf", "1e999", "1 ", "0x10"}) {
    EXPECT_FALSE(parse_media_time(bad)) << bad;
  }
}

TEST(TextValues, AddressesAreHostAndPort) {
  EXPECT_EQ(parse_address("127.0.0.1:8080"), (Address{"127.0.0.1", 8080}));
  EXPECT_EQ(parse_address("[::1]:443"), (Address{"::1", 443}));
  EXPECT_EQ(parse_address("Hooks.Example.com:65535"), (Address{"hooks.example.com", 65535}));
  for (const char* text : {"127.0.0.1:8080", "[::1]:443", "a-b.example:1"}) {
    EXPECT_EQ(parse_address(text).value().text(), text);
  }
  for (const std::string& bad :
       {""s, ":80"s, "host"s, "host:"s, "host:0"s, "host:65536"s, "host:-1"s, "host:8o"s, "::1:80"s,
        "[::1]"s, "[::1:80"s, "[127.0.0.1]:80"s, "a..b:80"s, "-a:80"s, "a-:80"s, "a b:80"s,
        "a/b:80"s, "u@h:80"s, "h\0x:80"s, "127.0.0.1\0:80"s,
        // What some resolvers take for 127.0.0.1.
        "127.1:80"s, "0x7f000001:80"s, "017700000001:80"s, "2130706433:80"s, "a.1:80"s,
        std::string(300, 'a') + ":80"}) {
    EXPECT_FALSE(parse_address(bad)) << shown(bad);
  }
}

TEST(TextValues, LoopbackIsThisMachineAlone) {
  for (const char* own : {"127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1", "LOCALHOST:1"}) {
    EXPECT_TRUE(parse_address(own).value().is_loopback()) << own;
  }
  for (const char* other : {"0.0.0.0:1", "[::]:1", "10.0.0.1:1", "localhost.example:1"}) {
    EXPECT_FALSE(parse_address(other).value().is_loopback()) << other;
  }
  EXPECT_FALSE((Address{"127.evil.example", 1}).is_loopback());
}

}  // namespace
}  // namespace atelier::server
