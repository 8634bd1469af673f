// SPDX-License-Identifier: Apache-2.0
// Each old form of an operator gives the same numbers as its form of opset 17.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "model/folding.h"
#include "model/test_model.h"

namespace atelier::model {
namespace {

using Ints = std::vector<int64_t>;

// Values that no two axes share.
Tensor picture(Ints shape) {
  Tensor x;
  x.shape = std::move(shape);
  for (int64_t i = 0; i < x.count(); ++i) {
    x.floats.push_back(static_cast<float>((i * 7) % 11) - 4.5F + 0.125F * static_cast<float>(i));
  }
  return x;
}

std::map<std::string, Tensor> run(const TestModel& model, const Tensor& x) {
  const auto graph = import_onnx(as_bytes(model.bytes()), "test");
  if (!graph.ok()) {
    ADD_FAILURE() << graph.error().message;
    return {};
  }
  auto outputs = run_by_folding(*graph, {{"x", x}});
  if (!outputs.ok()) {
    ADD_FAILURE() << outputs.error().message;
    return {};
  }
  return *outputs;
}

void floats_attribute(onnx::NodeProto& node, const char* key, const std::vector<float>& values) {
  auto* a = node.add_attribute();
  a->set_name(key);
  a->set_type(onnx::AttributeProto::FLOATS);
  for (float v : values) a->add_floats(v);
}

struct Pair {
  const char* name;
  int64_t opset;
  Ints shape;
  std::function<void(TestModel&)> old_form;
  std::function<void(TestModel&)> new_form;
};

class OldForm : public testing::TestWithParam<Pair> {};

TEST_P(OldForm, GivesTheNumbersOfTheNewOne) {
  const Pair& pair = GetParam();
  TestModel old(pair.opset, pair.shape), now(17, pair.shape);
  pair.old_form(old);
  pair.new_form(now);
  const Tensor x = picture(pair.shape);
  const auto a = run(old, x), b = run(now, x);
  ASSERT_TRUE(a.contains("y") && b.contains("y"));
  EXPECT_EQ(a.at("y").shape, b.at("y").shape);
  EXPECT_EQ(a.at("y").floats, b.at("y").floats);
  EXPECT_EQ(a.at("y").ints, b.at("y").ints);
  EXPECT_GT(a.at("y").count(), 0);
}

using M = TestModel;

const Pair kPairs[] = {
    {"Upsample7Nearest",
     7,
     {1, 2, 3, 4},
     [](M& m) {
       floats_attribute(m.node("Upsample", {"x"}, "y"), "scales", {1, 1, 2, 3});
     },
     [](M& m) {
       m.floats("s", {4}, {1, 1, 2, 3});
       auto& node = m.node("Resize", {"x", "", "s"}, "y");
       M::attribute(node, "coordinate_transformation_mode", "asymmetric");
       M::attribute(node, "nearest_mode", "floor");
     }},
    {"Upsample9Linear",
     9,
     {1, 1, 3, 4},
     [](M& m) {
       m.floats("s", {4}, {1, 1, 2, 2});
       M::attribute(m.node("Upsample", {"x", "s"}, "y"), "mode", "linear");
     },
     [](M& m) {
       m.floats("s", {4}, {1, 1, 2, 2});
       auto& node = m.node("Resize", {"x", "", "s"}, "y");
       M::attribute(node, "mode", "linear");
       M::attribute(node, "coordinate_transformation_mode", "asymmetric");
     }},
    {"Resize10",
     10,
     {1, 1, 2, 3},
     [](M& m) {
       m.floats("s", {4}, {1, 1, 1.5F, 2});
       M::attribute(m.node("Resize", {"x", "s"}, "y"), "mode", "nearest");
     },
     [](M& m) {
       m.floats("s", {4}, {1, 1, 1.5F, 2});
       auto& node = m.node("Resize", {"x", "", "s"}, "y");
       M::attribute(node, "coordinate_transformation_mode", "asymmetric");
       M::attribute(node, "nearest_mode", "floor");
     }},
    {"Resize10Smaller",
     10,
     {1, 1, 2, 4},
     [](M& m) {
       m.floats("s", {4}, {1, 1, 0.6F, 0.6F});
       M::attribute(m.node("Resize", {"x", "s"}, "y"), "mode", "nearest");
     },
     // The example of Resize-10 in onnx 1.5 keeps columns 0 and 2 of row 0.
     [](M& m) {
       m.ints("s", {0, 0}).ints("e", {1, 4}).ints("a", {2, 3}).ints("t", {1, 2});
       m.node("Slice", {"x", "s", "e", "a", "t"}, "y");
     }},
    {"Dropout7Mask",
     9,
     {1, 2, 2, 2},
     [](M& m) {
       m.node("Dropout", {"x"}, "a").add_output("m");
       m.node("Add", {"a", "m"}, "y");
     },
     [](M& m) {
       m.floats("one", {}, {1});
       m.node("Add", {"x", "one"}, "y");
     }},
    {"Clip6",
     7,
     {1, 2, 2, 2},
     [](M& m) {
       auto& node = m.node("Clip", {"x"}, "y");
       M::attribute(node, "min", -2.0F);
       M::attribute(node, "max", 3.0F);
     },
     [](M& m) {
       m.floats("a", {}, {-2}).floats("b", {}, {3});
       m.node("Clip", {"x", "a", "b"}, "y");
     }},
    {"Clip6Above",
     10,
     {1, 2, 2, 2},
     [](M& m) { M::attribute(m.node("Clip", {"x"}, "y"), "max", 3.0F); },
     [](M& m) {
       m.floats("b", {}, {3});
       m.node("Clip", {"x", "", "b"}, "y");
     }},
    {"Pad2",
     10,
     {1, 1, 3, 3},
     [](M& m) {
       auto& node = m.node("Pad", {"x"}, "y");
       M::attribute(node, "pads", Ints{0, 0, 1, 2, 0, 0, 0, 1});
       M::attribute(node, "value", 0.5F);
     },
     [](M& m) {
       m.ints("p", {0, 0, 1, 2, 0, 0, 0, 1}).floats("v", {}, {0.5F});
       m.node("Pad", {"x", "p", "v"}, "y");
     }},
    {"Pad2Reflect",
     7,
     {1, 1, 3, 3},
     [](M& m) {
       auto& node = m.node("Pad", {"x"}, "y");
       M::attribute(node, "mode", "reflect");
       M::attribute(node, "pads", Ints{0, 0, 1, 2, 0, 0, 0, 1});
     },
     [](M& m) {
       m.ints("p", {0, 0, 1, 2, 0, 0, 0, 1});
       M::attribute(m.node("Pad", {"x", "p"}, "y"), "mode", "reflect");
     }},
    {"Slice1",
     9,
     {2, 3, 4, 5},
     [](M& m) {
       auto& node = m.node("Slice", {"x"}, "y");
       M::attribute(node, "starts", Ints{1, -3});
       M::attribute(node, "ends", Ints{3, INT64_MAX});
       M::attribute(node, "axes", Ints{1, 3});
     },
     [](M& m) {
       m.ints("s", {1, -3}).ints("e", {3, INT64_MAX}).ints("a", {1, 3});
       m.node("Slice", {"x", "s", "e", "a"}, "y");
     }},
    {"Squeeze1",
     11,
     {1, 3, 1, 5},
     [](M& m) { M::attribute(m.node("Squeeze", {"x"}, "y"), "axes", Ints{2}); },
     [](M& m) {
       m.ints("a", {2});
       m.node("Squeeze", {"x", "a"}, "y");
     }},
    {"Squeeze1All",
     12,
     {1, 3, 1, 5},
     [](M& m) { m.node("Squeeze", {"x"}, "y"); },
     [](M& m) { m.node("Squeeze", {"x"}, "y"); }},
    {"Unsqueeze1",
     12,
     {3, 5},
     [](M& m) {
       M::attribute(m.node("Unsqueeze", {"x"}, "y"), "axes", Ints{0, 3});
     },
     [](M& m) {
       m.ints("a", {0, 3});
       m.node("Unsqueeze", {"x", "a"}, "y");
     }},
    {"ReduceSum11",
     12,
     {2, 3, 4},
     [](M& m) {
       auto& node = m.node("ReduceSum", {"x"}, "y");
       M::attribute(node, "axes", Ints{1, -1});
       M::attribute(node, "keepdims", int64_t{0});
     },
     [](M& m) {
       m.ints("a", {1, -1});
       M::attribute(m.node("ReduceSum", {"x", "a"}, "y"), "keepdims", int64_t{0});
     }},
    {"Split2",
     12,
     {1, 5, 2, 2},
     [](M& m) {
       auto& node = m.node("Split", {"x"}, "y");
       node.add_output("z");
       M::attribute(node, "axis", int64_t{1});
       M::attribute(node, "split", Ints{2, 3});
     },
     [](M& m) {
       m.ints("p", {2, 3});
       auto& node = m.node("Split", {"x", "p"}, "y");
       node.add_output("z");
       M::attribute(node, "axis", int64_t{1});
     }},
    {"TopK1",
     9,
     {2, 6},
     [](M& m) {
       auto& node = m.node("TopK", {"x"}, "y");
       node.add_output("i");
       M::attribute(node, "k", int64_t{2});
     },
     [](M& m) {
       m.ints("k", {2});
       m.node("TopK", {"x", "k"}, "y").add_output("i");
     }},
    // Over all but the first axis at once.
    {"Softmax1",
     7,
     {2, 3, 1, 2},
     [](M& m) { m.node("Softmax", {"x"}, "y"); },
     [](M& m) {
       m.ints("f", {2, 6}).ints("g", {2, 3, 1, 2});
       m.node("Reshape", {"x", "f"}, "a");
       m.node("Softmax", {"a"}, "b");
       m.node("Reshape", {"b", "g"}, "y");
     }},
    {"LogSoftmax11LastAxis",
     12,
     {2, 3, 4},
     [](M& m) { M::attribute(m.node("LogSoftmax", {"x"}, "y"), "axis", int64_t{-1}); },
     [](M& m) { m.node("LogSoftmax", {"x"}, "y"); }},
    {"Hardmax1",
     11,
     {2, 3, 2},
     [](M& m) { M::attribute(m.node("Hardmax", {"x"}, "y"), "axis", int64_t{0}); },
     [](M& m) {
       m.ints("f", {1, 12}).ints("g", {2, 3, 2});
       m.node("Reshape", {"x", "f"}, "a");
       m.node("Hardmax", {"a"}, "b");
       m.node("Reshape", {"b", "g"}, "y");
     }},
    {"Dropout7",
     7,
     {1, 2, 2, 2},
     [](M& m) {
       M::attribute(m.node("Dropout", {"x"}, "a"), "ratio", 0.9F);
       m.node("Relu", {"a"}, "y");
     },
     [](M& m) { m.node("Relu", {"x"}, "y"); }},
    {"BatchNormalization7",
     7,
     {1, 2, 2, 2},
     [](M& m) {
       m.floats("s", {2}, {1, 2}).floats("b", {2}, {0, 1});
       m.floats("m", {2}, {1, -1}).floats("v", {2}, {4, 9});
       auto& node = m.node("BatchNormalization", {"x", "s", "b", "m", "v"}, "y");
       M::attribute(node, "momentum", 0.1F);
       M::attribute(node, "spatial", int64_t{1});
       for (const char* o : {"m2", "v2", "m3", "v3"}) node.add_output(o);
     },
     [](M& m) {
       m.floats("s", {2}, {1, 2}).floats("b", {2}, {0, 1});
       m.floats("m", {2}, {1, -1}).floats("v", {2}, {4, 9});
       m.node("BatchNormalization", {"x", "s", "b", "m", "v"}, "y");
     }},
    {"Scatter9",
     10,
     {2, 3},
     [](M& m) {
       m.ints("i0", {2, 0, 1}).ints("o", {1, 3}).floats("u", {1, 3}, {9, 8, 7});
       m.node("Reshape", {"i0", "o"}, "i");
       M::attribute(m.node("Scatter", {"x", "i", "u"}, "y"), "axis", int64_t{1});
     },
     [](M& m) {
       m.ints("i0", {2, 0, 1}).ints("o", {1, 3}).floats("u", {1, 3}, {9, 8, 7});
       m.node("Reshape", {"i0", "o"}, "i");
       M::attribute(m.node("ScatterElements", {"x", "i", "u"}, "y"), "axis", int64_t{1});
     }},
    {"ImageScalerAffineAndCrop",
     7,
     {1, 2, 3, 4},
     [](M& m) {
       auto& scaler = m.node("ImageScaler", {"x"}, "a");
       M::attribute(scaler, "scale", 2.0F);
       floats_attribute(scaler, "bias", {1, -1});
       M::attribute(m.node("Crop", {"a"}, "b"), "border", Ints{1, 0, 0, 2});
       auto& affine = m.node("Affine", {"b"}, "y");
       M::attribute(affine, "alpha", 0.5F);
       M::attribute(affine, "beta", 3.0F);
     },
     [](M& m) {
       m.floats("two", {}, {2}).floats("bias", {2, 1, 1}, {1, -1});
       m.floats("half", {}, {0.5F}).floats("three", {}, {3});
       m.ints("s", {0, 1}).ints("e", {1, 4}).ints("i", {2, 3});
       m.node("Mul", {"x", "two"}, "a");
       m.node("Add", {"a", "bias"}, "b");
       m.node("Slice", {"b", "s", "e", "i"}, "c");
       m.node("Mul", {"c", "half"}, "d");
       m.node("Add", {"d", "three"}, "y");
     }},
};

INSTANTIATE_TEST_SUITE_P(Each, OldForm, testing::ValuesIn(kPairs),
                         [](const auto& each) { return std::string(each.param.name); });

TEST(Upgrade, EveryFormOfConstantIsAnInitializer) {
  TestModel model(12, {1, 1, 2, 2});
  M::attribute(model.node("Constant", {}, "a"), "value_float", 2.0F);
  M::attribute(model.node("Constant", {}, "s"), "value_ints", Ints{4});
  model.node("Mul", {"x", "a"}, "b");
  model.node("Reshape", {"b", "s"}, "y");
  const auto graph = import_onnx(as_bytes(model.bytes()), "test");
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  EXPECT_EQ(graph->nodes.size(), 2U);
  EXPECT_EQ(graph->initializers.at("a").floats, std::vector<float>{2});
  EXPECT_EQ(graph->initializers.at("s").ints, Ints{4});
}

TEST(Upgrade, ANetworkThatTrainsIsRefused) {
  TestModel model(14, {1, 2, 2, 2});
  model.floats("s", {2}, {1, 1}).floats("b", {2}, {0, 0});
  auto& node = model.node("BatchNormalization", {"x", "s", "b", "b", "s"}, "a");
  M::attribute(node, "training_mode", int64_t{1});
  node.add_output("mean");
  node.add_output("variance");
  model.node("Relu", {"mean"}, "y");
  const auto graph = import_onnx(as_bytes(model.bytes()), "test");
  ASSERT_FALSE(graph.ok());
  EXPECT_THAT(graph.error().message, testing::HasSubstr("export the model for inference"));
}

}  // namespace
}  // namespace atelier::model
