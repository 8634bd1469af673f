// SPDX-License-Identifier: Apache-2.0
// Foreseen types and shapes against the outputs of the operator cases that the ONNX project made
// (Debian's libonnx-testdata): the first input is open, the others are constants.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "model/onnx_import_steps.h"
#include "model/specialise.h"

namespace atelier::model {
namespace {

namespace fs = std::filesystem;

const fs::path kCases = "/usr/share/libonnx-testdata/data/node";

std::string read(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {(std::istreambuf_iterator<char>(stream)), {}};
}

std::optional<Tensor> read_tensor(const fs::path& path) {
  onnx::TensorProto proto;
  if (!proto.ParseFromString(read(path)) || !check_tensor(proto, "it", "case").ok()) return {};
  auto tensor = to_tensor(proto, "it", "case");
  if (!tensor.ok()) return {};
  return *tensor;
}

// The case's graph with all but its first input constant; nothing if it cannot be had.
std::optional<Graph> graph_of(const fs::path& folder) {
  auto graph = import_onnx(as_bytes(read(folder / "model.onnx")), "case");
  if (!graph.ok() || graph->inputs.empty()) return {};
  for (size_t i = 0; i < graph->inputs.size(); ++i) {
    const auto value = read_tensor(folder / "test_data_set_0" / fmt::format("input_{}.pb", i));
    if (!value) return {};
    graph->inputs[i].shape = value->shape;
    if (i > 0) graph->initializers[graph->inputs[i].name] = *value;
  }
  graph->inputs.resize(1);
  return *graph;
}

bool fits(const TensorType& foreseen, const Tensor& actual) {
  if (foreseen.shape.size() != actual.shape.size() || foreseen.type != actual.type) return false;
  for (size_t i = 0; i < actual.shape.size(); ++i) {
    if (foreseen.shape[i] != -1 && foreseen.shape[i] != actual.shape[i]) return false;
  }
  return true;
}

TEST(Infer, ForeseesTheOutputsOfTheOnnxProjectsCases) {
  if (!fs::exists(kCases)) GTEST_SKIP() << "NOT TESTED: libonnx-testdata is not installed";
  int compared = 0;
  std::map<std::string, std::string> refused;
  for (const auto& entry : fs::directory_iterator(kCases)) {
    const auto graph = graph_of(entry.path());
    // specialise() takes no empty inputs.
    if (!graph || std::count(graph->inputs[0].shape.begin(), graph->inputs[0].shape.end(), 0) > 0)
      continue;
    const ValueInfo& input = graph->inputs[0];
    const auto concrete = specialise(*graph, {{input.name, {input.type, input.shape}}});
    if (!concrete.ok()) {
      refused[entry.path().filename()] = concrete.error().message;
      continue;
    }
    for (size_t i = 0; i < graph->outputs.size(); ++i) {
      const auto expected =
          read_tensor(entry.path() / "test_data_set_0" / fmt::format("output_{}.pb", i));
      if (!expected) continue;
      ++compared;
      EXPECT_TRUE(fits(concrete->types.at(graph->outputs[i].name), *expected)) << entry.path();
    }
  }
  for (const auto& [name, why] : refused) ADD_FAILURE() << name << ": " << why;
  EXPECT_GT(compared, 500);
  RecordProperty("compared", compared);
}

}  // namespace
}  // namespace atelier::model
