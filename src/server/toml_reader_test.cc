// SPDX-License-Identifier: Apache-2.0
#include "server/toml_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace atelier::server {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::string repeated(const std::string& text, int times) {
  std::string result;
  for (int i = 0; i < times; ++i) result += text;
  return result;
}

std::string error_of(const std::string& text, const TomlBounds& bounds = {}) {
  const auto parsed = parse_toml(text, "The text", bounds);
  return parsed.ok() ? "" : parsed.error().message;
}

TEST(TomlReader, WhatIsNoTomlNamesItsLine) {
  EXPECT_THAT(error_of("a = 1\nb = \n"), StartsWith("The text, line 2: it is not TOML ("));
  EXPECT_THAT(error_of("a = 1\na = 2\n"), HasSubstr("line 2"));
  EXPECT_THAT(error_of("a = \"\xff\""), HasSubstr("not TOML"));
}

// What the library's own assertions do not expect.
TEST(TomlReader, OddBeginningsAreNoToml) {
  for (const char* text :
       {"[%]",     "[[%]]",     "[.a]",    "[",          "[[",         "[a.]",
        "[a.%]",   "a. = 1",    ".a = 1",  "% = 1",      "= 1",        "a = ]",
        "a = }",   "a = ,",     "a = [,]", "a = [1,,2]", "a = {b = }", "a = {b = ,}",
        "a = {,}", "a = {%=1}", "a = [}",  "a = #",      "a",          "a."}) {
    EXPECT_THAT(error_of(text), StartsWith("The text, line 1: it is not TOML (")) << text;
  }
}

TEST(TomlReader, LengthIsBounded) {
  EXPECT_EQ(error_of("a='" + std::string(96, 'x') + "'", {.bytes = 100}), "");
  EXPECT_THAT(error_of("a='" + std::string(97, 'x') + "'", {.bytes = 100}), HasSubstr("long"));
}

TEST(TomlReader, DepthIsBoundedHoweverItIsWritten) {
  const std::string brackets = "a = " + repeated("[", 9) + repeated("]", 9);
  const std::string tables = "a = " + repeated("{b=", 9) + "1" + repeated("}", 9);
  const std::string key = "a" + repeated(".a", 9) + " = 1";
  const std::string heading = "[a" + repeated(" . 'a'", 9) + "]";
  for (const std::string& deep : {brackets, tables, key, heading}) {
    EXPECT_THAT(error_of(deep), HasSubstr("nests deeper")) << deep;
    // Behind what looks like the beginning of a string, but is the end of one or a comment.
    for (const char* before : {"x = '''a''''\n", "x = \"\"\"a\"\"\"\"\"\n", "x = 'a\\'\n", "# \"\n",
                               "x = \"\"\n", "x = \"\\\"\"\n", "x = '''\n'''\n", "x = ''''''\n"}) {
      EXPECT_THAT(error_of(before + deep), HasSubstr("nests deeper")) << before << deep;
    }
  }
  EXPECT_EQ(error_of("a = [[1], [2]]\nb.c.d = {e = {f = 1}}\n[[g]]\n[[g]]\n"), "");
}

TEST(TomlReader, DepthInTextsCountsForNothing) {
  const std::string dots = repeated(".a", 100) + repeated("[", 100);
  for (const std::string& text :
       {"a = '" + dots + "'", "a = \"" + dots + "\"", "a = '''\n" + dots + "\n'''",
        "a = \"\"\"\n" + dots + "\n\"\"\"", "# " + dots + "\na = 1"}) {
    EXPECT_EQ(error_of(text), "") << text;
  }
}

TEST(TomlReader, EntriesAreBounded) {
  EXPECT_EQ(error_of("a = [" + repeated("1,", 90) + "]", {.entries = 100}), "");
  EXPECT_THAT(error_of("a = [" + repeated("1,", 110) + "]", {.entries = 100}), HasSubstr("more"));
  EXPECT_THAT(error_of(repeated("[[a]]\n", 60), {.entries = 100}), HasSubstr("more"));
}

// What reading one key says, when the table is `text`.
template <class Read>
std::string complaint(const std::string& text, Read read) {
  const toml::table table = parse_toml(text, "The text").value();
  TomlReader reader(table, "The text", "part.");
  const auto result = read(reader);
  return result.ok() ? "" : result.error().message;
}

TEST(TomlReader, ValuesHaveTheirType) {
  EXPECT_EQ(complaint("\n\nk = 1", [](TomlReader& r) { return r.text("k"); }),
            "The text, line 3: 'part.k' must be a text of at most 4096 bytes without control "
            "characters.");
  EXPECT_NE(complaint("k = \"a\\u0007\"", [](TomlReader& r) { return r.text("k"); }), "");
  EXPECT_NE(complaint("k = \"a\\nb\"", [](TomlReader& r) { return r.text("k"); }), "");
  EXPECT_EQ(complaint("k = \"a\\nb\\tc\"", [](TomlReader& r) { return r.prose("k"); }), "");
  EXPECT_NE(complaint("k = \"a\\rb\"", [](TomlReader& r) { return r.prose("k"); }), "");
  EXPECT_NE(complaint("k = ''", [](TomlReader& r) { return r.needed_text("k"); }), "");
  EXPECT_NE(complaint("", [](TomlReader& r) { return r.needed_text("k"); }), "");
  EXPECT_NE(complaint("k = 1", [](TomlReader& r) { return r.boolean("k", true); }), "");
  EXPECT_NE(complaint("k = 1.0", [](TomlReader& r) { return r.integer("k", 0, 9, 1); }), "");
  EXPECT_NE(complaint("k = 10", [](TomlReader& r) { return r.integer("k", 0, 9, 1); }), "");
  EXPECT_NE(complaint("k = nan", [](TomlReader& r) { return r.number("k", 0, 9, 1); }), "");
  EXPECT_EQ(complaint("k = 9", [](TomlReader& r) { return r.number("k", 0, 9, 1); }), "");
  EXPECT_NE(complaint("k = 60", [](TomlReader& r) { return r.duration("k", {}); }), "");
  EXPECT_NE(complaint("k = '0s'", [](TomlReader& r) { return r.duration("k", {}); }), "");
  EXPECT_NE(complaint("k = '5 MB'", [](TomlReader& r) { return r.bytes("k", 1); }), "");
  EXPECT_NE(complaint("k = ['a', 1]", [](TomlReader& r) { return r.texts("k", 3); }), "");
  EXPECT_NE(complaint("k = ['a', 'a']", [](TomlReader& r) { return r.texts("k", 3); }), "");
  EXPECT_NE(complaint("k = ['a', 'b']", [](TomlReader& r) { return r.texts("k", 1); }), "");
  EXPECT_NE(complaint("k = [{}, 1]", [](TomlReader& r) { return r.tables("k", 3); }), "");
  EXPECT_NE(complaint("k = 1", [](TomlReader& r) { return r.table("k"); }), "");
}

TEST(TomlReader, WhatIsNotThereHasItsDefault) {
  const toml::table table;
  TomlReader reader(table, "The text");
  EXPECT_EQ(reader.text("a").value(), std::nullopt);
  EXPECT_EQ(reader.integer("b", 5, 9, 1).value(), 1);
  EXPECT_EQ(reader.duration("c", std::chrono::seconds(0)).value().count(), 0);
  EXPECT_EQ(reader.table("d").value(), nullptr);
  EXPECT_TRUE(reader.tables("e", 1).value().empty());
  EXPECT_TRUE(reader.finish().ok());
}

TEST(TomlReader, AKeyThatNobodyAskedForIsAnError) {
  const toml::table table = parse_toml("a = 1\n\"b\\n\" = 2", "The text").value();
  TomlReader reader(table, "The text", "part.");
  EXPECT_EQ(reader.integer("a", 0, 9, 0).value(), 1);
  EXPECT_EQ(reader.finish().error().message,
            "The text, line 2: there is no key 'part.b?'; check its spelling.");
}

}  // namespace
}  // namespace atelier::server
