// SPDX-License-Identifier: Apache-2.0
#include "media/encoder_choice.h"

#include <gtest/gtest.h>

namespace atelier::media {
namespace {

EncoderWish wish_for(const std::string& codec) {
  EncoderWish wish;
  wish.codec = codec;
  return wish;
}

std::string refusal(const EncoderWish& wish, Container container = Container::matroska) {
  const auto choice = choose_encoder(wish, container);
  if (choice.ok()) return "";
  EXPECT_EQ(choice.error().code, Code::invalid_argument);
  return choice.error().message;
}

TEST(ChooseEncoder, HasADefaultForEveryContainer) {
  for (const Container container :
       {Container::mp4, Container::mov, Container::matroska, Container::mpegts}) {
    const auto choice = choose_encoder({}, container);
    ASSERT_TRUE(choice.ok());
    EXPECT_EQ(choice->codec, "libx264");
    EXPECT_EQ(choice->crf, 18);
    EXPECT_EQ(choice->preset, "veryfast");
  }
  EXPECT_EQ(choose_encoder({}, Container::webm).value().codec, "libvpx-vp9");
}

TEST(ChooseEncoder, NamesWhatAContainerTakesInstead) {
  EXPECT_EQ(refusal(wish_for("ffv1"), Container::mp4),
            "MP4 cannot hold ffv1 video: write to .mov, .mkv, or use --codec libx264, libx265, "
            "libsvtav1, libaom-av1, libvpx-vp9, mjpeg.");
  EXPECT_NE(refusal(wish_for("libx264"), Container::webm).find("libvpx-vp9"), std::string::npos);
  EXPECT_NE(refusal(wish_for("libvpx-vp9"), Container::mpegts).find(".webm"), std::string::npos);
  EXPECT_EQ(refusal(wish_for("ffv1"), Container::mov), "");
  EXPECT_NE(refusal(wish_for("h263")).find("libx265"), std::string::npos);
}

TEST(ChooseEncoder, ChecksQualityAndPresetOfEach) {
  const auto with = [](const std::string& codec, int crf, const std::string& preset) {
    EncoderWish wish = wish_for(codec);
    wish.crf = crf;
    wish.preset = preset;
    return refusal(wish);
  };
  EXPECT_EQ(with("libx264", 0, "placebo"), "");
  EXPECT_EQ(with("libx265", 51, "ultrafast"), "");
  EXPECT_EQ(with("libsvtav1", 63, "13"), "");
  EXPECT_EQ(with("libaom-av1", 0, "0"), "");
  EXPECT_EQ(with("libvpx-vp9", 63, "best"), "");
  EXPECT_NE(with("libx264", 52, "fast").find("0 (best) to 51"), std::string::npos);
  EXPECT_NE(with("libsvtav1", 0, "8").find("1 (best) to 63"), std::string::npos);
  EXPECT_NE(with("libx265", 20, "hasty").find("veryslow"), std::string::npos);
  EXPECT_NE(with("libvpx-vp9", 20, "realtime").find("best, 0, 1"), std::string::npos);
  EXPECT_NE(with("mjpeg", 32, "").find("1 (best) to 31"), std::string::npos);
}

TEST(ChooseEncoder, SaysWhatMeansNothing) {
  EncoderWish wish = wish_for("prores_ks");
  EXPECT_TRUE(choose_encoder(wish, Container::mov).value().notes.empty());
  wish.crf = 10;
  wish.preset = "fast";
  const EncoderChoice choice = choose_encoder(wish, Container::mov).value();
  ASSERT_EQ(choice.notes.size(), 2U);
  EXPECT_EQ(choice.notes[0], "prores_ks has no quality to choose: --crf is ignored.");
  EXPECT_EQ(choice.crf, 0);
  EXPECT_EQ(choice.preset, "");
}

struct Option {
  const char* codec;
  const char* key;
  const char* value;
};
void PrintTo(const Option& o, std::ostream* out) { *out << o.codec << ' ' << o.key; }

std::string with_option(const Option& option) {
  EncoderWish wish = wish_for(option.codec);
  wish.options = {{option.key, option.value}};
  return refusal(wish);
}

class Taken : public testing::TestWithParam<Option> {};
TEST_P(Taken, ByTheEncoderOrTheLibraryBehindIt) { EXPECT_EQ(with_option(GetParam()), ""); }
INSTANTIATE_TEST_SUITE_P(
    Options, Taken,
    testing::Values(
        Option{"libx264", "x264-params", "ref=2:no-deblock"}, Option{"libx264", "bframes", "2"},
        Option{"libx264", "tune", "film"}, Option{"libx264", "bf", "2"},
        Option{"libx264", "cqm", "jvt"}, Option{"libx265", "x265-params", "ref=2:no-sao=1"},
        Option{"libx265", "rdoq-level", "1"}, Option{"libx265", "tune", "grain"},
        Option{"libsvtav1", "svtav1-params", "tile-columns=1"},
        Option{"libsvtav1", "film-grain", "4"}, Option{"libsvtav1", "g", "50"},
        Option{"libaom-av1", "aom-params", "sharpness=2"}, Option{"libaom-av1", "deltaq-mode", "0"},
        Option{"libvpx-vp9", "auto-alt-ref", "0"}, Option{"prores_ks", "quant_mat", "hq"},
        Option{"ffv1", "slices", "9"}, Option{"mjpeg", "huffman", "optimal"}));

class NotTaken : public testing::TestWithParam<Option> {};
TEST_P(NotTaken, AndNamed) {
  const std::string refused = with_option(GetParam());
  const std::string value = GetParam().value;
  const std::string key = GetParam().key;
  const bool packed = key.ends_with("params") || key == "x264opts";
  const std::string name = packed ? value.substr(0, value.find('=')) : key;
  EXPECT_NE(refused.find("'" + name + "'"), std::string::npos) << refused;
}
INSTANTIATE_TEST_SUITE_P(
    Unknown, NotTaken,
    testing::Values(
        Option{"libx264", "x264-params", "nonsense=2"}, Option{"libx264", "nonsense", "2"},
        Option{"libx264", "tune-up", "film"}, Option{"libx265", "x265-params", "nonsense=1"},
        Option{"libx265", "nonsense", "1"}, Option{"libsvtav1", "svtav1-params", "nonsense=1"},
        Option{"libsvtav1", "nonsense", "1"}, Option{"libaom-av1", "aom-params", "nonsense=2"},
        Option{"libaom-av1", "nonsense", "2"}, Option{"libvpx-vp9", "nonsense", "0"},
        Option{"prores_ks", "nonsense", "hq"}, Option{"ffv1", "nonsense", "9"},
        Option{"mjpeg", "nonsense", "9"}));
INSTANTIATE_TEST_SUITE_P(
    Fixed, NotTaken,
    testing::Values(
        Option{"libx264", "threads", "2"}, Option{"libx264", "flags", "+pass1"},
        Option{"libx264", "x264-params", "lookahead_threads=2"},
        Option{"libx264", "x264-params", "open-gop=1"}, Option{"libx264", "cqm", "evil.cfg"},
        Option{"libx264", "x264-params", "cqm=flat.cfg"},
        Option{"libx264", "x264-params", "stats=evil.log"}, Option{"libx264", "range", "tv"},
        Option{"libx264", "pass", "1"}, Option{"libx265", "x265-params", "pools=2"},
        Option{"libx265", "frame-threads", "2"}, Option{"libx265", "x265-params", "wpp=0"},
        Option{"libx265", "x265-params", "csv=evil.csv"},
        Option{"libx265", "x265-params", "open-gop=1"},
        Option{"libsvtav1", "svtav1-params", "lp=4"},
        Option{"libsvtav1", "svtav1-params", "irefresh-type=1"},
        Option{"libaom-av1", "row-mt", "0"}, Option{"libaom-av1", "aom-params", "enable-fwd-kf=1"},
        Option{"libvpx-vp9", "deadline", "realtime"}, Option{"libvpx-vp9", "row-mt", "1"},
        Option{"prores_ks", "profile", "4"}, Option{"ffv1", "threads", "2"},
        Option{"mjpeg", "color_range", "1"}));
// Both libraries take "no" and "no-" off a name, turn the value round, and read '_' as '-'; x265
// takes off a leading "--", too.
INSTANTIATE_TEST_SUITE_P(
    FixedUnderAnotherName, NotTaken,
    testing::Values(Option{"libx264", "no-cpu-independent", "1"},
                    Option{"libx264", "nocpu_independent", "1"},
                    Option{"libx264", "no-opencl", "0"}, Option{"libx264", "nosliced-threads", "0"},
                    Option{"libx264", "noopen-gop", "0"}, Option{"libx264", "n-deterministic", "1"},
                    Option{"libx264", "x264-params", "no-cpu-independent=1"},
                    Option{"libx264", "x264-params", "no_sliced_threads=0"},
                    Option{"libx264", "x264opts", "noopen-gop=0"},
                    Option{"libx264", "x264-params", "no-repeat-headers"},
                    Option{"libx265", "no-info", "0"}, Option{"libx265", "--repeat-headers", "1"},
                    Option{"libx265", "--csv", "/any/file"}, Option{"libx265", "--wpp", "0"},
                    Option{"libx265", "--no_wpp", "1"}, Option{"libx265", "nowpp", "1"},
                    Option{"libx265", "x265-params", "--no-wpp=1"},
                    Option{"libx265", "x265-params", "--csv=/any/file"},
                    Option{"libx265", "x265-params", "noinfo=0"},
                    Option{"libx265", "x265-params", "--repeat_headers=1"}));

TEST(ChooseEncoder, RefusesAnOptionUnderTwoSpellings) {
  const auto refused = [](const std::string& codec, std::map<std::string, std::string> options) {
    EncoderWish wish = wish_for(codec);
    wish.options = std::move(options);
    return refusal(wish);
  };
  EXPECT_EQ(refused("libx265", {{"rdoq-level", "1"}, {"rdoq_level", "2"}}),
            "--encoder-opts names 'rdoq_level' twice.");
  EXPECT_EQ(refused("libx265", {{"--sao", "1"}, {"no-sao", "1"}}),
            "--encoder-opts names 'no-sao' twice.");
  EXPECT_EQ(refused("libx264", {{"x264-params", "deblock=1:nodeblock=1"}}),
            "--encoder-opts names 'nodeblock' twice.");
  EXPECT_EQ(refused("libx264", {{"x264-params", "me_range=8:me-range=16"}}),
            "--encoder-opts names 'me-range' twice.");
  EXPECT_EQ(refused("libx265", {{"x265-params", "max-merge=2"}, {"max_merge", "3"}}),
            "--encoder-opts names 'max-merge' twice.");
  EXPECT_EQ(refused("libx264", {{"x264-params", "merange=8:no-mbtree"}}), "");
}

}  // namespace
}  // namespace atelier::media
