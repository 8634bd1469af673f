// SPDX-License-Identifier: Apache-2.0
#include "model/model_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

namespace atelier::model {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

ModelSpec parse(std::string_view text) {
  auto spec = parse_model_spec(text, "m");
  EXPECT_TRUE(spec.ok()) << spec.error().message;
  return spec.ok() ? *spec : ModelSpec();
}

TEST(ModelSpec, EveryKeyIsRead) {
  const ModelSpec spec = parse(R"(
name = "n"
title = "t"
licence = "l"
input = "i"
output = "o"
color_order = "bgr"
range = [0, 1]
mean = [1, 2.5, 3]
scale = [0.5, 0.25, 2]
output_range = [-1, 1]
output_kind = "tensor"
clamp = true
size_multiple = 8
halo = 16
)");
  EXPECT_EQ(spec.name, "n");
  EXPECT_EQ(spec.title, "t");
  EXPECT_EQ(spec.licence, "l");
  EXPECT_EQ(spec.input, "i");
  EXPECT_EQ(spec.output, "o");
  EXPECT_EQ(spec.order, ModelSpec::Order::bgr);
  EXPECT_THAT(spec.range, ElementsAre(0, 1));
  EXPECT_THAT(spec.mean, ElementsAre(1, 2.5, 3));
  EXPECT_THAT(spec.scale, ElementsAre(0.5, 0.25, 2));
  EXPECT_THAT(spec.output_range, ElementsAre(-1, 1));
  EXPECT_EQ(spec.kind, ModelSpec::Kind::tensor);
  EXPECT_TRUE(spec.clamp);
  EXPECT_EQ(spec.size_multiple, 8);
  EXPECT_EQ(spec.halo, 16);
  EXPECT_THAT(spec.guessed, IsEmpty());
}

TEST(ModelSpec, FitOverlapAndLumaAreReadAndOnlyThenInTheCanonicalText) {
  const ModelSpec plain = parse("");
  EXPECT_EQ(plain.fit, ModelSpec::Fit::none);
  EXPECT_FALSE(plain.luma);
  EXPECT_EQ(to_canonical_text(plain).find("fit"), std::string::npos);
  const ModelSpec tiled = parse("fit = \"tile\"\noverlap = 32\nhalo = 16\nchannels = \"luma\"");
  EXPECT_EQ(tiled.fit, ModelSpec::Fit::tile);
  EXPECT_EQ(tiled.overlap, 32);
  EXPECT_TRUE(tiled.luma);
  EXPECT_THAT(to_canonical_text(tiled), HasSubstr("fit=tile\noverlap=32\nchannels=luma\n"));
  EXPECT_EQ(parse("fit = \"letterbox\"").fit, ModelSpec::Fit::letterbox);
  EXPECT_EQ(parse("fit = \"stretch\"").fit, ModelSpec::Fit::stretch);
  for (const char* text : {"fit = \"crop\"", "overlap = 0", "overlap = 31\nhalo = 16",
                           "channels = \"chroma\"", "fit = 3"}) {
    EXPECT_FALSE(parse_model_spec(text, "m").ok()) << text;
  }
}

TEST(ModelSpec, AnEmptyTextTakesTheFileNameAndSaysWhatItGuessed) {
  const ModelSpec spec = parse("");
  EXPECT_EQ(spec.name, "m");
  EXPECT_THAT(spec.guessed, ElementsAre(HasSubstr("color_order")));
  const ModelSpec guessed = guess_model_spec("m");
  EXPECT_EQ(guessed.name, "m");
  EXPECT_FALSE(guessed.clamp);
  EXPECT_THAT(guessed.guessed, ElementsAre(HasSubstr("RGB")));
}

TEST(ModelSpec, AnUnknownKeyIsNamed) {
  const auto spec = parse_model_spec("colour_order = \"rgb\"", "m");
  ASSERT_FALSE(spec.ok());
  EXPECT_EQ(spec.error().code, Code::invalid_argument);
  EXPECT_THAT(spec.error().message, HasSubstr("'colour_order'"));
}

class WrongValue : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(WrongValue, IsRefusedNamingTheKey) {
  const auto [key, value] = GetParam();
  const auto spec = parse_model_spec(std::string(key) + " = " + value, "m");
  ASSERT_FALSE(spec.ok());
  EXPECT_EQ(spec.error().code, Code::invalid_argument);
  EXPECT_THAT(spec.error().message, HasSubstr(std::string("'") + key + "'"));
}

INSTANTIATE_TEST_SUITE_P(
    Each, WrongValue,
    testing::Values(
        std::pair{"name", "1"}, std::pair{"title", "true"}, std::pair{"licence", "[1]"},
        std::pair{"input", "1.5"}, std::pair{"output", "{}"}, std::pair{"color_order", "\"grb\""},
        std::pair{"color_order", "1"}, std::pair{"range", "[0]"}, std::pair{"range", "[1, 1]"},
        std::pair{"range", "255"}, std::pair{"mean", "[1, 2]"}, std::pair{"mean", "[1, 2, \"3\"]"},
        std::pair{"scale", "[1, 2, nan]"}, std::pair{"scale", "[1, 2, inf]"},
        std::pair{"output_range", "[0, 1, 2]"}, std::pair{"output_kind", "\"video\""},
        std::pair{"clamp", "1"}, std::pair{"size_multiple", "0"}, std::pair{"size_multiple", "4.0"},
        std::pair{"halo", "-1"}, std::pair{"halo", "99999999999"}, std::pair{"info", "1"}));

TEST(ModelSpec, TextThatIsNoTomlIsRefusedWithItsLine) {
  const auto spec = parse_model_spec("name = \"a\"\nrange = [", "m");
  ASSERT_FALSE(spec.ok());
  EXPECT_THAT(spec.error().message, HasSubstr("line 2"));
  EXPECT_FALSE(parse_model_spec("a = " + std::string(100000, '['), "m").ok());
  EXPECT_FALSE(parse_model_spec(std::string(2 << 20, '#'), "m").ok());
  EXPECT_FALSE(parse_model_spec(std::string_view("\0\xff\xfe", 3), "m").ok());
}

TEST(ModelSpec, CanonicalTextIsEqualExactlyForWhatGivesEqualPixels) {
  const std::string text = to_canonical_text(parse("mean = [1, 2, 3]"));
  EXPECT_EQ(text, to_canonical_text(parse("# x\nmean = [1.0, 2.0, 3.0]\n[info]\na = 1")));
  EXPECT_EQ(text, to_canonical_text(parse("title = \"t\"\nmean = [1, 2, 3]")));
  for (const char* other :
       {"name = \"n\"", "input = \"i\"", "output = \"i\"", "color_order = \"bgr\"",
        "range = [0, 1]", "mean = [1, 2, 3.0000002]", "scale = [1, 1, 2]", "output_range = [0, 1]",
        "output_kind = \"tensor\"", "clamp = true", "size_multiple = 2", "halo = 1"}) {
    const std::string base = std::string(other).starts_with("mean") ? "" : "mean = [1, 2, 3]\n";
    EXPECT_NE(text, to_canonical_text(parse(base + other))) << other;
  }
  EXPECT_NE(to_canonical_text(parse("input = \"a\\\"\\noutput=\\\"b\"")),
            to_canonical_text(parse("input = \"a\"\noutput = \"b\"")));
}

TEST(ModelSpec, TheShippedModelHasOneWithoutGuesses) {
  std::ifstream stream(ATELIER_SOURCE_DIR "/models/starry-night.toml");
  const std::string text((std::istreambuf_iterator<char>(stream)), {});
  const ModelSpec spec = parse(text);
  EXPECT_EQ(spec.name, "starry-night");
  EXPECT_EQ(spec.size_multiple, 4);
  EXPECT_TRUE(spec.clamp);
  EXPECT_THAT(spec.guessed, IsEmpty());
}

}  // namespace
}  // namespace atelier::model
