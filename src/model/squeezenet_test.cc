// SPDX-License-Identifier: Apache-2.0
// A classifier of opset 7, in float32 and float16: import, upgrade and operators together. The
// scores came with the files, from Windows ML and its own reading of the picture: 0.7385 for
// float32, where OpenCV's dnn module gives 0.737676 for the pixels that ffmpeg reads, and we
// 0.737677.
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>

#include "base/bytes.h"
#include "model/reference.h"
#include "model/runner.h"

namespace atelier::model {
namespace {

constexpr int64_t kSide = 224;
constexpr size_t kPixels = kSide * kSide;
const std::filesystem::path kFolder = ATELIER_SOURCE_DIR "/../shared/models/other";

struct Close {
  void operator()(FILE* file) const { pclose(file); }
};

// Blue, green, red planes of 0 to 255.
Tensor fish() {
  const std::string command = "ffmpeg -v error -i '" +
                              (kFolder / "squeezenet_golden/fish.png").string() +
                              "' -f rawvideo -pix_fmt bgr24 -";
  const std::unique_ptr<FILE, Close> pipe(popen(command.c_str(), "r"));
  std::vector<unsigned char> pixels(kPixels * 3);
  Tensor x;
  x.shape = {1, 3, kSide, kSide};
  if (!pipe || fread(pixels.data(), 1, pixels.size(), pipe.get()) != pixels.size()) return x;
  x.floats.resize(pixels.size());
  for (size_t i = 0; i < kPixels; ++i) {
    for (size_t c = 0; c < 3; ++c) x.floats[c * kPixels + i] = pixels[i * 3 + c];
  }
  return x;
}

std::vector<float> scores(const std::filesystem::path& path) {
  std::vector<float> all;
  std::ifstream stream(path);
  std::string line;
  std::getline(stream, line);
  while (std::getline(stream, line)) all.push_back(std::stof(line.substr(line.find(',') + 1)));
  return all;
}

struct Case {
  const char* model;
  const char* scores;
  float tolerance;
};

class SqueezeNet : public testing::TestWithParam<Case> {};

TEST_P(SqueezeNet, GivesItsGoldenScores) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "too slow under the sanitizers";
#endif
  const auto path = kFolder / GetParam().model;
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "NOT TESTED: " << path << " is absent";
  std::ifstream stream(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(stream)), {});
  auto graph = import_onnx(as_bytes(bytes), GetParam().model);
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  const Tensor x = fish();
  ASSERT_EQ(x.floats.size(), kPixels * 3) << "ffmpeg made no picture";
  const std::string output = graph->outputs[0].name;
  const auto outputs = run_reference(*graph, {{graph->inputs[0].name, x}});
  ASSERT_TRUE(outputs.ok()) << outputs.error().message;
  const auto expected = scores(kFolder / "squeezenet_golden" / GetParam().scores);
  ASSERT_EQ(expected.size(), 1000U);
  const auto& got = outputs->at(output).floats;
  ASSERT_EQ(got.size(), 1000U);
  for (size_t i = 0; i < 1000; ++i) EXPECT_NEAR(got[i], expected[i], GetParam().tolerance) << i;

  ModelSpec spec;
  spec.name = GetParam().model;
  const auto runner = make_onednn_runner(*graph, spec, {2, {}});
  ASSERT_TRUE(runner.ok()) << runner.error().message;
  const auto planned = (*runner)->run({{graph->inputs[0].name, x}});
  ASSERT_TRUE(planned.ok()) << planned.error().message;
  const auto& scored = planned->at(output).floats;
  ASSERT_EQ(scored.size(), 1000U);
  for (size_t i = 0; i < 1000; ++i) EXPECT_NEAR(scored[i], expected[i], GetParam().tolerance) << i;
}

INSTANTIATE_TEST_SUITE_P(
    Both, SqueezeNet,
    testing::Values(Case{"squeezenet1_1_fp32.onnx", "Squeezenet_fish_input_CPU.csv", 2e-3F},
                    Case{"squeezenet_fp16.onnx", "Squeezenet_fp16_fish_input_CPU.csv", 2e-3F}));

}  // namespace
}  // namespace atelier::model
