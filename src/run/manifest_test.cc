// SPDX-License-Identifier: Apache-2.0
#include "run/manifest.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/base64.h"
#include "base/bytes.h"

namespace atelier::run {
namespace {

Manifest sample() {
  Manifest m;
  m.run_id = "0123456789abcdef";
  m.output = "az://a/c/out.mp4";
  m.input = {"file:///a%20b", "clip \xff\".mp4", "etag", 123};
  m.model = {"starry", "ab12", "name=starry", "file:///m/starry.onnx"};
  m.parameters.range.from = 0.1;
  m.parameters.encoder_options = {{"tune", "film"}};
  m.video_stream = 1;
  m.time_base = {1001, 30000};
  m.scored_size = {64, 48};
  m.encode.color.matrix = 9;
  m.encode.color.siting = ColorSpec::Siting::top_left;
  m.encode.format = {PixelFormat::Family::yuv, 10, 1, 0, true};
  m.encode.hdr.mastering_display = {std::byte{1}, std::byte{255}, std::byte{7}, std::byte{0}};
  m.chunks = {{0, -5, 20, std::nullopt, 0, 25, std::nullopt, 19},
              {1, 20, std::nullopt, 18, 25, 3, 19, 22}};
  m.plan = {{"conv1", "Conv+Relu", "direct", "jit:avx2"}};
  m.parameters.precision = "auto";
  m.parameters.min_psnr = 35.5;
  m.precision = {model::Precision::int8, {{"conv1", {-0.1F, 1e20F}}}, 41.25, 4};
  m.copied = {{0, "ff", 12}};
  m.isa = "avx2";
  m.tools = {{"libavcodec", "59"}};
  m.notes = {"A note."};
  return m;
}

TEST(Manifest, SurvivesAsText) {
  const Manifest m = sample();
  const Manifest back = manifest_from_json(to_json(m)).value();
  EXPECT_EQ(to_json(back), to_json(m));
  EXPECT_EQ(back.input.name, m.input.name) << "a name need not be UTF-8";
  EXPECT_EQ(back.output, m.output);
  EXPECT_EQ(back.chunks, m.chunks);
  EXPECT_EQ(back.plan, m.plan);
  EXPECT_EQ(back.encode.color, m.encode.color);
  EXPECT_EQ(back.encode.format, m.encode.format);
  EXPECT_EQ(back.encode.hdr.mastering_display, m.encode.hdr.mastering_display);
  EXPECT_EQ(back.parameters.range.from, 0.1);
  EXPECT_EQ(back.frames_expected(), 28u);
  EXPECT_EQ(back.parameters.precision, "auto");
  EXPECT_EQ(back.parameters.min_psnr, 35.5);
  EXPECT_EQ(back.precision.name, model::Precision::int8);
  EXPECT_EQ(back.precision.ranges, m.precision.ranges) << "ranges decide bits: not one is lost";
  EXPECT_EQ(back.precision.sampled_psnr, 41.25);
  EXPECT_EQ(back.precision.frames, 4u);
}

TEST(Manifest, WhetherWaysAreMeasuredIsKept) {
  Manifest m = sample();
  EXPECT_EQ(to_json(m).find(R"("tune": "auto")"), std::string::npos)
      << "runs of older versions keep their id";
  const std::string id = make_run_id(m.input, m.model, m.parameters);
  m.parameters.tune = "off";
  EXPECT_EQ(manifest_from_json(to_json(m)).value().parameters.tune, "off");
  EXPECT_NE(make_run_id(m.input, m.model, m.parameters), id);
}

TEST(Manifest, StatisticsOfShotsKeepEveryBit) {
  Manifest m = sample();
  EXPECT_EQ(to_json(m).find("norm"), std::string::npos) << "as before there were shots";
  m.parameters.norm = "shot";
  m.shots = {{-5, {{"n1", {{0.1F, -1e-38F, 3e38F}, {1.0F / 3, 0, 7}}}}},
             {20, {{"n1", {{1}, {2}}}}}};
  const Manifest back = manifest_from_json(to_json(m)).value();
  EXPECT_EQ(back.parameters.norm, "shot");
  ASSERT_EQ(back.shots.size(), 2u);
  EXPECT_EQ(back.shots[0].first_pts, -5);
  EXPECT_EQ(back.shots[0].statistics, m.shots[0].statistics);
  EXPECT_EQ(back.shots[1].statistics, m.shots[1].statistics);
  EXPECT_NE(make_run_id(m.input, m.model, m.parameters),
            make_run_id(m.input, m.model, sample().parameters));
}

TEST(Manifest, OfAVersionWithoutPrecisionsIsF32) {
  nlohmann::json j = nlohmann::json::parse(to_json(sample()));
  j.erase("precision");
  j.at("parameters").erase("precision");
  j.at("parameters").erase("min_psnr");
  const Manifest back = manifest_from_json(j.dump()).value();
  EXPECT_EQ(back.precision.name, model::Precision::f32);
  EXPECT_EQ(back.parameters.precision, "f32");
}

TEST(Manifest, RunIdChangesWithWhateverChangesTheResult) {
  const Manifest m = sample();
  const std::string id = make_run_id(m.input, m.model, m.parameters);
  EXPECT_EQ(id.size(), 16u);
  EXPECT_EQ(make_run_id(m.input, m.model, m.parameters), id);
  auto renamed = m.input;
  renamed.url = "file:///elsewhere";
  EXPECT_EQ(make_run_id(renamed, m.model, m.parameters), id)
      << "the name of the input does not change the result";
  auto touched = m.input;
  touched.etag = "other";
  EXPECT_NE(make_run_id(touched, m.model, m.parameters), id);
  auto retrained = m.model;
  retrained.sha256 = "cd34";
  EXPECT_NE(make_run_id(m.input, retrained, m.parameters), id);
  auto coarser = m.parameters;
  coarser.crf = 30;
  EXPECT_NE(make_run_id(m.input, m.model, coarser), id);
  auto finer = m.parameters;
  finer.precision = "f32";
  EXPECT_NE(make_run_id(m.input, m.model, finer), id);
  auto stricter = m.parameters;
  stricter.min_psnr = 45;
  EXPECT_NE(make_run_id(m.input, m.model, stricter), id);
  auto whole_frames = m.parameters;
  whole_frames.deinterlace = true;
  EXPECT_NE(make_run_id(m.input, m.model, whole_frames), id);
}

TEST(Manifest, DamageIsNamed) {
  EXPECT_EQ(manifest_from_json("{").error().code, Code::corrupt);
  EXPECT_EQ(manifest_from_json("[]").error().code, Code::corrupt);
  EXPECT_EQ(manifest_from_json(R"({"format": 1, "run_id": 7})").error().code, Code::corrupt);
}

TEST(Manifest, AnotherFormatIsRefusedNotMisread) {
  const auto error = manifest_from_json(R"({"format": 99})").error();
  EXPECT_EQ(error.code, Code::conflict);
  EXPECT_NE(error.message.find("--no-reuse"), std::string::npos);
}

// RFC 4648, section 10.
TEST(Base64, KnownAnswers) {
  EXPECT_EQ(to_base64(as_bytes("")), "");
  EXPECT_EQ(to_base64(as_bytes("f")), "Zg==");
  EXPECT_EQ(to_base64(as_bytes("foob")), "Zm9vYg==");
  EXPECT_EQ(to_base64(as_bytes("foobar")), "Zm9vYmFy");
  EXPECT_EQ(as_text(from_base64("Zm9vYg==")), "foob");
}

TEST(PercentEncoding, KeepsEveryByte) {
  std::string all;
  for (int i = 1; i < 256; ++i) all += static_cast<char>(i);
  EXPECT_EQ(percent_decoded(percent_encoded(all)), all);
  EXPECT_EQ(percent_encoded("a b%"), "a%20b%25");
}

}  // namespace
}  // namespace atelier::run
