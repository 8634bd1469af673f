// SPDX-License-Identifier: Apache-2.0
// Real networks in tiles, with fixed statistics where they have any.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <optional>

#include "model/fixed_statistics_testing.h"
#include "model/golden.h"
#include "model/model_file.h"

namespace atelier::model {
namespace {

std::optional<std::string> bytes_of(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) return std::nullopt;
  return std::string((std::istreambuf_iterator<char>(stream)), {});
}

// Codes of 16 bits, of what is between black and white.
constexpr PixelFormat kRgb16{PixelFormat::Family::rgb, 16, 0, 0, false};

FrameBuffer picture_frame(Size size) {
  FrameBuffer frame(size.width, size.height, {}, {});
  const FrameView& view = frame.view();
  for (int p = 0; p < 3; p++) {
    const auto& plane = view.plane[static_cast<size_t>(p)];
    for (int y = 0; y < view.plane_height(p); y++)
      for (int x = 0; x < view.plane_width(p); x++)
        (plane.data + y * plane.stride)[x] =
            static_cast<std::byte>(64 + (x * 3 + y * 2 + (x / 16 * y / 24) % 40) % 128);
  }
  return frame;
}

class TiledModels : public testing::TestWithParam<const char*> {};

TEST_P(TiledModels, AreTheWholeBitForBit) {
  const std::filesystem::path path =
      std::filesystem::path(ATELIER_SOURCE_DIR "/../shared/models") / GetParam();
  const auto onnx = bytes_of(path);
  if (!onnx) GTEST_SKIP() << "NOT TESTED: " << path << " is absent";
  const auto model = load_model(as_bytes(*onnx), std::nullopt, "model");
  ASSERT_TRUE(model.ok()) << model.error().message;
  const Graph graph = with_fixed_statistics(model->graph, golden_input(96, 128));
  const Size size{603, 417};
  const FrameBuffer in = picture_frame(size);
  FrameBuffer made[2];
  for (const bool tiled : {false, true}) {
    RunnerOptions options;
    options.threads = 2;
    options.tile_bytes = tiled ? 1 : uint64_t{1} << 60;
    const auto runner = make_onednn_runner(graph, model->spec, options).value();
    EXPECT_EQ(runner->tiling(size).value().count > 1, tiled);
    const Size out = runner->output_size(size).value();
    made[tiled] = FrameBuffer(out.width, out.height, kRgb16, {});
    ASSERT_TRUE(runner->score(in.view(), made[tiled].view()).ok());
  }
  EXPECT_TRUE(same_picture(made[0].view(), made[1].view()));
}

INSTANTIATE_TEST_SUITE_P(All, TiledModels,
                         testing::Values("dyn/wave.onnx", "dyn/candy.onnx",
                                         "ours/starry-night.onnx",
                                         "other/upscalerjs_default_x2.onnx"));

}  // namespace
}  // namespace atelier::model
