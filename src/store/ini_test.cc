// SPDX-License-Identifier: Apache-2.0
#include "store/ini.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace atelier {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::Pair;
using testing::SizeIs;

TEST(Ini, SectionsAndValuesAreTaken) {
  const auto sections = parse_ini(
                            "\xEF\xBB\xBF# a comment\r\n; another\n\n[ default ] ; here too\r\n"
                            "Key = a value \n  other=x=y\n[profile a \"b\" #c]\n[s3://b/p]\nempty=",
                            "f")
                            .value();
  ASSERT_THAT(sections, SizeIs(3));
  EXPECT_EQ(sections[0].name, "default");
  EXPECT_EQ(sections[0].line, 4);
  EXPECT_THAT(sections[0].values, ElementsAre(Pair("key", "a value"), Pair("other", "x=y")));
  EXPECT_EQ(sections[1].name, "profile a \"b\" #c");
  EXPECT_THAT(sections[1].values, IsEmpty());
  EXPECT_EQ(sections[2].name, "s3://b/p");
  EXPECT_THAT(sections[2].values, ElementsAre(Pair("empty", "")));
}

TEST(Ini, ASecretMayHoldAHash) {
  const auto sections = parse_ini("[a]\nsecret = x#y ;z # w\n", "f").value();
  EXPECT_EQ(sections[0].values.at("secret"), "x#y ;z # w");
}

TEST(Ini, InnerKeysBelongToTheOneAbove) {
  const auto sections = parse_ini("[a]\ns3 =\n  region = x\n\ts = y\nregion = z\n", "f").value();
  EXPECT_THAT(sections[0].values, ElementsAre(Pair("region", "z"), Pair("s3", ""),
                                              Pair("s3.region", "x"), Pair("s3.s", "y")));
}

TEST(Ini, NothingIsNoSection) {
  EXPECT_THAT(parse_ini("", "f").value(), IsEmpty());
  EXPECT_THAT(parse_ini("\n\n# x\n", "f").value(), IsEmpty());
}

TEST(Ini, AnErrorTellsTheLineAndNoSecret) {
  for (const char* text : {"[a]\nhush\n", "[a]\n= hush\n", "[a]\n[hush\n", "[a]\n[b] hush\n",
                           "\nhush = x\n", "[a]\nk = hush\x01\n"}) {
    const auto sections = parse_ini(text, "the file '/f'");
    ASSERT_FALSE(sections.ok()) << text;
    EXPECT_EQ(sections.error().code, Code::invalid_argument);
    EXPECT_THAT(sections.error().message, HasSubstr("Line 2 of the file '/f'"));
    EXPECT_THAT(sections.error().message, Not(HasSubstr("hush")));
  }
  EXPECT_THAT(parse_ini("[a]\nk = 1\nK = 2\n", "f").error().message, HasSubstr("Line 3"));
  EXPECT_THAT(parse_ini("[a]\nk = 1\n[a]\nk = 2\n", "f").value(), SizeIs(2));
}

}  // namespace
}  // namespace atelier
