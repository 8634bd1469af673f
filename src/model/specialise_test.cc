// SPDX-License-Identifier: Apache-2.0
// Shapes, folding, and the refusal of models that would swell.
#include "model/specialise.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "model/test_model.h"

namespace atelier::model {
namespace {

using testing::HasSubstr;
using Ints = std::vector<int64_t>;

Result<ConcreteGraph> specialised(const TestModel& model, Ints shape) {
  const Graph graph = TRY(import_onnx(as_bytes(model.bytes()), "test"));
  return specialise(graph, {{"x", {ElementType::f32, std::move(shape)}}});
}

std::string refusal(const TestModel& model, Ints shape) {
  const auto start = std::chrono::steady_clock::now();
  const auto graph = specialised(model, std::move(shape));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  if (graph.ok()) return "accepted";
  EXPECT_EQ(graph.error().code, Code::invalid_argument);
  EXPECT_EQ(graph.error().message.find('\n'), std::string::npos);
  return graph.error().message;
}

// y = x reshaped to {N, rest}, computed as exporters write it.
TestModel flattening_model() {
  TestModel model(13, {-1, -1, -1, -1});
  model.ints("zero", {0}).ints("axis", {0}).ints("open", {-1});
  model.node("Shape", {"x"}, "s");
  model.node("Gather", {"s", "zero"}, "n");
  auto& concat = model.node("Concat", {"n", "open"}, "t");
  TestModel::attribute(concat, "axis", int64_t{0});
  model.node("Reshape", {"x", "t"}, "y");
  return model;
}

TEST(Specialise, ShapesComputedInTheGraphAreFolded) {
  const auto graph = specialised(flattening_model(), {2, 3, 4, 5});
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  ASSERT_EQ(graph->graph.nodes.size(), 1U);
  EXPECT_EQ(graph->graph.nodes[0].op, "Reshape");
  EXPECT_EQ(graph->graph.initializers.size(), 1U);
  EXPECT_EQ(graph->graph.initializers.at("t").ints, (Ints{2, -1}));
  EXPECT_EQ(graph->types.at("y"), (TensorType{ElementType::f32, {2, 60}}));
  EXPECT_EQ(graph->graph.outputs[0].shape, (Ints{2, 60}));
  EXPECT_EQ(graph->types.size(), 3U);  // x, t, y
}

TEST(Specialise, NodesThatNoOutputNeedsAreDropped) {
  TestModel model(13, {1, 3, -1, -1});
  model.floats("k", {}, {2});
  model.node("Mul", {"x", "k"}, "unused");
  model.node("Relu", {"x"}, "y");
  const auto graph = specialised(model, {1, 3, 4, 4});
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  EXPECT_EQ(graph->graph.nodes.size(), 1U);
  EXPECT_TRUE(graph->graph.initializers.empty());
}

TEST(Specialise, WhatDependsOnTheDataHasUnknownDimensions) {
  TestModel model(13, {1, 1, -1, -1});
  model.node("NonZero", {"x"}, "i");
  model.node("Transpose", {"i"}, "t");
  TestModel::attribute(model.node("Cast", {"t"}, "y"), "to", int64_t{1});
  const auto graph = specialised(model, {1, 1, 4, 4});
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  EXPECT_EQ(graph->types.at("i"), (TensorType{ElementType::i64, {4, -1}}));
  EXPECT_EQ(graph->types.at("y"), (TensorType{ElementType::f32, {-1, 4}}));
}

TEST(Specialise, QuantizedWeightsBecomeNumbers) {
  TestModel model(13, {1, 1, -1, -1});
  auto& weight = *model.proto().mutable_graph()->add_initializer();
  weight.set_name("q");
  weight.set_data_type(onnx::TensorProto::INT8);
  for (int64_t d : {1, 1, 1, 2}) weight.add_dims(d);
  weight.set_raw_data(std::string("\x02\xff", 2));
  model.floats("scale", {}, {0.5F});
  model.node("DequantizeLinear", {"q", "scale"}, "w");
  model.node("Conv", {"x", "w"}, "y");
  const auto graph = specialised(model, {1, 1, 4, 4});
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  ASSERT_EQ(graph->graph.nodes.size(), 1U);
  EXPECT_EQ(graph->graph.initializers.at("w").floats, (std::vector<float>{1, -0.5F}));
  EXPECT_EQ(graph->types.at("y").shape, (Ints{1, 1, 4, 3}));
}

TEST(Specialise, InputsMustFitWhatTheFileSays) {
  TestModel model(13, {1, 3, 8, 8});
  model.node("Relu", {"x"}, "y");
  EXPECT_EQ(refusal(model, {1, 3, 8, 8}), "accepted");
  EXPECT_THAT(refusal(model, {1, 3, 8, 9}), HasSubstr("'x'"));
  EXPECT_THAT(refusal(model, {3, 8, 8}), HasSubstr("'x'"));
  const auto graph = import_onnx(as_bytes(model.bytes()), "test");
  ASSERT_TRUE(graph.ok());
  EXPECT_FALSE(specialise(*graph, {}).ok());
  EXPECT_FALSE(specialise(*graph, {{"x", {ElementType::u8, {1, 3, 8, 8}}}}).ok());
}

TEST(Specialise, WhatDoesNotFitIsNamedWithItsNode) {
  TestModel model(13, {1, 3, -1, -1});
  model.floats("w", {2, 4, 3, 3}, std::vector<float>(72, 1));
  model.node("Conv", {"x", "w"}, "y").set_name("first");
  EXPECT_EQ(refusal(model, {1, 3, 8, 8}),
            "node 'first' (Conv) has weights for 4 channels but gets 3.");
}

TEST(Specialise, AFrameThatIsTooSmallIsSaidToBe) {
  TestModel model(13, {1, 1, -1, -1});
  model.floats("w", {1, 1, 5, 5}, std::vector<float>(25, 1));
  model.node("Conv", {"x", "w"}, "y");
  EXPECT_EQ(refusal(model, {1, 1, 5, 5}), "accepted");
  EXPECT_THAT(refusal(model, {1, 1, 4, 5}), HasSubstr("use a larger one"));
}

TEST(Bombs, AFewBytesThatAskForATerabyteAreRefused) {
  TestModel model(13, {1, 1, 1, 1});
  model.ints("s", {1 << 20, 1 << 20});
  model.node("ConstantOfShape", {"s"}, "c");
  model.node("Add", {"x", "c"}, "y");
  EXPECT_THAT(refusal(model, {1, 1, 1, 1}), HasSubstr("more than the 8 GiB"));
}

TEST(Bombs, SizesThatOverflowAreRefused) {
  TestModel model(13, {1, 1, 1, 1});
  model.ints("s", Ints(8, INT64_MAX));
  model.node("Expand", {"x", "s"}, "y");
  EXPECT_THAT(refusal(model, {1, 1, 1, 1}), HasSubstr("more than the 8 GiB"));
  TestModel tiles(13, {1, 1, 1, 1});
  tiles.ints("s", {1 << 30, 1 << 30, 1 << 30, 1 << 30});
  tiles.node("Tile", {"x", "s"}, "y");
  EXPECT_THAT(refusal(tiles, {1, 1, 1, 1}), HasSubstr("more than the 8 GiB"));
}

TEST(Bombs, ARangeOfTenToTheEighteenIsRefused) {
  TestModel model(13, {1, 1, 1, 1});
  model.ints("a0", {0}).ints("b0", {1000000000000000000}).ints("c0", {1}).ints("none", {0});
  model.node("Range", {"a0", "b0", "c0"}, "r");
  model.node("Shape", {"r"}, "t");
  TestModel::attribute(model.node("Cast", {"t"}, "y"), "to", int64_t{1});
  EXPECT_THAT(refusal(model, {1, 1, 1, 1}), HasSubstr("more than the 8 GiB"));
}

TEST(Bombs, AChainThatDoublesItselfIsRefused) {
  TestModel model(13, {1, 1, 1, 1});
  model.floats("v0", {1024}, std::vector<float>(1024, 1));
  for (int i = 0; i < 40; ++i) {
    const std::string from = "v" + std::to_string(i), to = "v" + std::to_string(i + 1);
    TestModel::attribute(model.node("Concat", {from, from}, to), "axis", int64_t{0});
  }
  model.node("Add", {"x", "v40"}, "y");
  EXPECT_THAT(refusal(model, {1, 1, 1, 1}), HasSubstr("computes too much from constants"));
}

TEST(Bombs, ProductsOfConstantsThatTakeHoursAreRefused) {
  TestModel model(13, {1, 1, 1, 1});
  model.ints("s", {4096, 4096});
  model.node("ConstantOfShape", {"s"}, "a");
  model.node("MatMul", {"a", "a"}, "b");
  model.node("MatMul", {"b", "b"}, "c");
  model.node("Add", {"x", "c"}, "y");
  EXPECT_THAT(refusal(model, {1, 1, 1, 1}), HasSubstr("computes too much from constants"));
}

// 30,000 nodes are near the limit of parts that a file may have.
TEST(Bombs, LongChainsTakeNoTime) {
  TestModel model(13, {1, 1, -1, -1});
  std::string last = "x";
  for (int i = 0; i < 30000; ++i) {
    const std::string next = i == 29999 ? "y" : "v" + std::to_string(i);
    model.node("Relu", {last}, next);
    last = next;
  }
  EXPECT_EQ(refusal(model, {1, 1, 4, 4}), "accepted");
}

TEST(Infer, EveryOperatorThatModelsMayUseIsKnown) {
  for (const std::string& op : supported_operators()) {
    if (op != "Constant") {  // the import makes them initializers
      EXPECT_TRUE(can_infer(op)) << op;
    }
  }
}

}  // namespace
}  // namespace atelier::model
