// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/bytes.h"
#include "model/graph.h"

namespace atelier::model {
namespace {

std::vector<std::byte> read(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(stream)), {});
  const auto bytes = as_bytes(text);
  return {bytes.begin(), bytes.end()};
}

const std::string kShared = ATELIER_SOURCE_DIR "/../shared/models/";

class SharedModel : public testing::TestWithParam<const char*> {};

TEST_P(SharedModel, IsImported) {
  if (!std::filesystem::exists(kShared + GetParam())) {
    GTEST_SKIP() << "NOT TESTED: " << kShared << GetParam() << " is absent";
  }
  const auto graph = import_onnx(read(kShared + GetParam()), GetParam());
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  ASSERT_EQ(graph->inputs.size(), 1U);
  ASSERT_EQ(graph->outputs.size(), 1U);
  ASSERT_EQ(graph->inputs[0].shape.size(), 4U);
  ASSERT_EQ(graph->outputs[0].shape.size(), 4U);
  EXPECT_EQ(graph->outputs[0].shape[1], 3);
}

INSTANTIATE_TEST_SUITE_P(All, SharedModel,
                         testing::Values("dyn/wave.onnx", "dyn/udnie.onnx", "dyn/candy.onnx",
                                         "dyn/mosaic.onnx", "fixed/candy_opset7_720.onnx",
                                         "ours/starry-night.onnx"));

}  // namespace
}  // namespace atelier::model
