// SPDX-License-Identifier: Apache-2.0
// The reference runner against onnxruntime's answers, and operator by operator against numbers
// worked out by hand.
#include "model/reference.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "base/bytes.h"
#include "model/golden.h"

namespace atelier::model {
namespace {

using testing::ElementsAre;
using testing::FloatNear;
using testing::Pointwise;

const std::filesystem::path kGolden = ATELIER_SOURCE_DIR "/tests/golden";

class GoldenCase : public testing::TestWithParam<const char*> {};

TEST_P(GoldenCase, ReferenceAgreesWithOnnxruntime) {
  const auto golden = read_golden(kGolden / (std::string(GetParam()) + ".golden"));
  ASSERT_TRUE(golden.ok()) << golden.error().message;
#ifdef __SANITIZE_ADDRESS__
  if (golden->height > 100) GTEST_SKIP() << "too slow under the sanitizers";
#endif
  const std::string path = ATELIER_SOURCE_DIR "/../shared/models/" + golden->model;
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "NOT TESTED: " << path << " is absent";
  std::ifstream stream(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(stream)), {});
  const auto graph = import_onnx(as_bytes(bytes), golden->model);
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  const auto outputs =
      run_reference(*graph, {{graph->inputs[0].name, golden_input(golden->height, golden->width)}});
  ASSERT_TRUE(outputs.ok()) << outputs.error().message;
  const Tensor& output = outputs->at(graph->outputs[0].name);
  EXPECT_LT(golden_difference(*golden, output), 1e-3);
  EXPECT_LT(golden_statistics_difference(*golden, output), 1e-4);
  RecordProperty("difference", std::to_string(golden_difference(*golden, output)));
}

INSTANTIATE_TEST_SUITE_P(All, GoldenCase,
                         testing::Values("candy-45x51", "candy-48x56", "mosaic-48x56",
                                         "udnie-24x32", "wave-24x32", "wave-25x31",
                                         "starry-night-24x32"));
// 720x720 in the plainest of loops takes a while.
INSTANTIATE_TEST_SUITE_P(Slow, GoldenCase, testing::Values("candy_opset7_720-720x720"));

}  // namespace
}  // namespace atelier::model
