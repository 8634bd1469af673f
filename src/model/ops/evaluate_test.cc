// SPDX-License-Identifier: Apache-2.0
// What evaluate() refuses, and that threads never change bits. That the operators are right is for
// conformance_test.cc; a few forms that no case of the ONNX project has are here.
#include "model/ops/evaluate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace atelier::model {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

using Ints = std::vector<int64_t>;
using Inputs = std::vector<Tensor>;

Tensor floats(Ints shape, std::vector<float> values = {}) {
  Tensor tensor;
  tensor.shape = std::move(shape);
  if (values.empty()) {
    for (int64_t i = 0; i < tensor.count(); ++i) {
      values.push_back(static_cast<float>(std::sin(static_cast<double>(i))));
    }
  }
  tensor.floats = std::move(values);
  return tensor;
}

Tensor ints(Ints values, ElementType type = ElementType::i64) {
  Tensor tensor;
  tensor.type = type;
  tensor.shape = {static_cast<int64_t>(values.size())};
  tensor.ints = std::move(values);
  return tensor;
}

Tensor scalar(int64_t value) {
  Tensor tensor = ints({value});
  tensor.shape.clear();
  return tensor;
}

struct Case {
  std::string op;
  std::map<std::string, Attribute> attributes;
  Inputs inputs;
  size_t outputs = 1;
};

Result<std::vector<Tensor>> run(const Case& c, const EvaluateOptions& options = {}) {
  Node node;
  node.op = c.op;
  node.name = "here";
  node.attributes = c.attributes;
  std::vector<const Tensor*> inputs;
  for (const Tensor& input : c.inputs) {
    node.inputs.push_back("in");
    inputs.push_back(&input);
  }
  for (size_t i = 0; i < c.outputs; ++i) node.outputs.push_back("out");
  return evaluate(node, inputs, options);
}

void expect_refused(const Case& c, const std::string& why) {
  const auto result = run(c);
  ASSERT_FALSE(result.ok()) << c.op;
  EXPECT_EQ(result.error().code, Code::invalid_argument);
  EXPECT_THAT(result.error().message, HasSubstr("node 'here' (" + c.op + ") "));
  EXPECT_THAT(result.error().message, HasSubstr(why)) << c.op;
}

constexpr int64_t kHuge = int64_t{1} << 40;
const Tensor kPicture = floats({1, 2, 4, 5});

TEST(Evaluate, RefusesWhatIsNoOperatorOrHasOtherInputs) {
  expect_refused({"Loop", {}, {}}, "is not an operator that is supported");
  expect_refused({"Add", {}, {kPicture}}, "has 1 inputs");
  expect_refused({"Add", {}, {kPicture, ints({1})}}, "cannot take int64 as input 1");
  expect_refused({"Conv", {}, {ints({1}), ints({1})}}, "cannot take int64 as input 0");
  expect_refused({"Relu", {}, {kPicture}, 2}, "has 2 outputs instead of 1");
  EXPECT_FALSE(can_evaluate("Loop"));
  EXPECT_TRUE(can_evaluate("Conv"));
  EXPECT_THAT(evaluable_operators(), testing::Contains("Einsum"));
}

TEST(Evaluate, RefusesTensorsThatContradictThemselves) {
  Tensor broken = kPicture;
  broken.shape = {1, 2, 4, 6};
  expect_refused({"Relu", {}, {broken}}, "gets other values than the shape of input 0 says");
  broken.shape = {-1, 40};
  expect_refused({"Relu", {}, {broken}}, "that cannot be");
  broken.shape = {kHuge, kHuge, 0};
  expect_refused({"Relu", {}, {broken}}, "that cannot be");
}

TEST(Evaluate, RefusesShapesBeforeItAllocatesThem) {
  expect_refused({"ConstantOfShape", {}, {ints({kHuge, kHuge})}}, "more than");
  expect_refused({"ConstantOfShape", {}, {ints({-3})}}, "a dimension of -3");
  expect_refused({"ConstantOfShape", {}, {ints({0, kHuge, kHuge})}}, "more than");
  expect_refused({"Expand", {}, {floats({1}), ints({kHuge})}}, "more than");
  expect_refused({"Tile", {}, {floats({2}), ints({INT64_MAX})}}, "repeats an axis");
  expect_refused({"Range", {}, {scalar(INT64_MIN), scalar(INT64_MAX), scalar(1)}}, "would make");
  expect_refused({"Pad", {}, {floats({2}), ints({0, INT64_MAX})}}, "pads by");
  expect_refused({"Pad", {}, {floats({2}), ints({kHuge, kHuge})}}, "more than");
  expect_refused({"Resize", {}, {floats({2}), floats({0}), floats({1}, {1e12F})}}, "scales");
  expect_refused({"OneHot", {}, {ints({1}), scalar(kHuge), ints({0, 1})}}, "has a depth of");
  expect_refused({"Reshape", {}, {floats({4}), ints({kHuge, kHuge})}}, "more than");
  const Case conv{"Conv",
                  {{"pads", Ints{1 << 29, 1 << 29, 1 << 29, 1 << 29}}},
                  {kPicture, floats({1, 2, 1, 1})}};
  expect_refused(conv, "more than");
  expect_refused(
      {"ConvTranspose", {{"strides", Ints{1 << 30, 1 << 30}}}, {kPicture, floats({2, 1, 1, 1})}},
      "more than");
  expect_refused(
      {"Einsum", {{"equation", std::string("a,b->ab")}}, {floats({70000}), floats({70000})}},
      "more than");
  const auto bounded = run({"Expand", {}, {floats({1}), ints({101})}}, {.max_elements = 100});
  EXPECT_FALSE(bounded.ok());
}

TEST(Evaluate, RefusesWindowsThatDoNotFit) {
  const Tensor w = floats({2, 2, 3, 3});
  const auto conv = [&](const char* key, Attribute value) {
    return Case{"Conv", {{key, std::move(value)}}, {kPicture, w}};
  };
  expect_refused(conv("strides", Ints{0, 1}), "has strides of 0");
  expect_refused(conv("strides", Ints{1}), "has strides of another length");
  expect_refused(conv("dilations", Ints{INT64_MAX, 1}), "has dilations of");
  expect_refused(conv("pads", Ints{INT64_MIN, 0, 0, 0}), "has pads of");
  expect_refused(conv("pads", Ints{-3, 0, 0, 0}), "smaller than its kernel");
  expect_refused(conv("group", int64_t{0}), "in 0 groups");
  expect_refused(conv("group", int64_t{2}), "in 2 groups");
  expect_refused(conv("kernel_shape", Ints{3, 4}), "has a kernel_shape other than its weights");
  expect_refused(conv("auto_pad", std::string("OTHER")), "unknown auto_pad");
  expect_refused({"Conv", {}, {kPicture, w, floats({3})}}, "gets another bias");
  expect_refused({"Conv", {}, {kPicture, floats({2, 2, 3})}}, "weights of 3");
  expect_refused({"MaxPool", {}, {kPicture}}, "has a kernel of 0 axes");
  expect_refused({"MaxPool", {{"kernel_shape", Ints{0, 1}}}, {kPicture}}, "slides a kernel of 0");
  expect_refused(
      {"ConvTranspose", {{"output_shape", Ints{INT64_MIN, 1}}}, {kPicture, floats({2, 1, 1, 1})}},
      "has output_shape of");
}

TEST(Evaluate, RefusesIndicesAndAxesThatAreNotThere) {
  expect_refused({"Gather", {}, {floats({3}), ints({3})}}, "takes index 3 of an axis of 3");
  expect_refused({"Gather", {}, {floats({3}), ints({-4})}}, "takes index -4");
  expect_refused({"Gather", {{"axis", int64_t{1}}}, {floats({3}), ints({0})}}, "names axis 1");
  expect_refused({"GatherElements", {}, {floats({3}), ints({INT64_MIN})}}, "takes index");
  expect_refused({"ScatterElements", {}, {floats({3}), ints({3}), floats({1})}}, "takes index 3");
  Tensor pairs = ints({0, 9});
  pairs.shape = {1, 2};
  expect_refused({"GatherND", {}, {floats({2, 2}), pairs}}, "takes index 9");
  expect_refused({"ScatterND", {}, {floats({2, 2}), pairs, floats({1})}}, "takes index 9");
  expect_refused({"ScatterND", {}, {floats({2}), pairs, floats({1})}}, "of another shape");
  expect_refused({"Transpose", {{"perm", Ints{0, 0, 1, 2}}}, {kPicture}}, "names axis 0 twice");
  expect_refused({"Concat", {{"axis", int64_t{9}}}, {kPicture}}, "names axis 9");
  expect_refused({"Softmax", {{"axis", int64_t{-5}}}, {kPicture}}, "names axis -5");
  expect_refused({"ReduceSum", {}, {kPicture, ints({4})}}, "names axis 4");
  expect_refused({"TopK", {}, {floats({3}), ints({4})}}, "takes 4 of 3 elements");
  expect_refused({"Slice", {}, {floats({3}), ints({0}), ints({1}), ints({0}), ints({0})}},
                 "takes steps of 0");
}

TEST(Evaluate, RefusesShapesThatDoNotFitTogether) {
  expect_refused({"Add", {}, {floats({3}), floats({4})}}, "do not fit together");
  expect_refused({"MatMul", {}, {floats({2, 3}), floats({2, 3})}}, "of 3 columns and 2 rows");
  expect_refused({"Reshape", {}, {floats({6}), ints({4, -1})}}, "cannot divide 6 elements by 4");
  expect_refused({"Reshape", {}, {floats({6}), ints({-1, -1})}}, "leaves two dimensions open");
  expect_refused({"Reshape", {}, {floats({6}), ints({0, 0})}}, "copies axis 1");
  expect_refused({"Split", {}, {floats({6}), ints({7, -1})}, 2}, "splits an axis of 6 wrongly");
  expect_refused({"Squeeze", {}, {kPicture, ints({1})}}, "removes an axis of 2");
  expect_refused({"DepthToSpace", {{"blocksize", int64_t{0}}}, {kPicture}}, "has blocks of 0");
  expect_refused(
      {"Einsum", {{"equation", std::string("ij,jk->iz")}}, {floats({2, 2}), floats({2, 2})}},
      "that its terms do not make");
  expect_refused({"Pad", {{"mode", std::string("reflect")}}, {floats({2}), ints({2, 0})}},
                 "reflects more than the picture has");
  expect_refused({"InstanceNormalization", {}, {kPicture, floats({3}), floats({2})}},
                 "gets other channels as input 1");
}

TEST(Evaluate, IntegersWrapAndNeverDivideByZero) {
  const auto byte = [](int64_t v) { return ints({v}, ElementType::u8); };
  EXPECT_THAT((*run({"Add", {}, {byte(250), byte(10)}}))[0].ints, ElementsAre(4));
  EXPECT_THAT((*run({"Sub", {}, {byte(1), byte(2)}}))[0].ints, ElementsAre(255));
  expect_refused({"Div", {}, {byte(1), byte(0)}}, "divides integers by zero");
  expect_refused({"Mod", {}, {byte(1), byte(0)}}, "divides integers by zero");
  const Case lowest{"Div", {}, {ints({INT64_MIN}), ints({-1})}};
  EXPECT_THAT((*run(lowest))[0].ints, ElementsAre(INT64_MIN));
  const Tensor odd = floats({4}, {NAN, INFINITY, -INFINITY, 300});
  const Case cast{"Cast", {{"to", int64_t{2}}}, {odd}};
  EXPECT_THAT((*run(cast))[0].ints, ElementsAre(0, 255, 0, 44));
}

TEST(Evaluate, CastToHalfRoundsToNearestEven) {
  const Tensor in = floats({6}, {1.00048828125F, 1.00146484375F, 65519, 65520, 0x1p-25F, 0x3p-26F});
  const Case cast{"Cast", {{"to", int64_t{10}}}, {in}};
  EXPECT_THAT((*run(cast))[0].floats, ElementsAre(1, 1.001953125F, 65504, INFINITY, 0, 0x1p-24F));
}

TEST(Evaluate, NotANumberIsOrderedWhereOrderMatters) {
  const Tensor in = floats({4}, {1, NAN, 3, 2});
  const auto top = run({"TopK", {}, {in, ints({2})}, 2});
  ASSERT_TRUE(top.ok());
  EXPECT_THAT((*top)[1].ints, ElementsAre(1, 2));
  EXPECT_THAT((*run({"ArgMax", {}, {in}}))[0].ints, ElementsAre(1));
}

TEST(Evaluate, SliceTakesEveryStepAndBound) {
  const auto cut = [](int64_t start, int64_t end, int64_t step) {
    const Tensor in = floats({5}, {0, 1, 2, 3, 4});
    return (*run({"Slice", {}, {in, ints({start}), ints({end}), ints({0}), ints({step})}}))[0]
        .floats;
  };
  EXPECT_THAT(cut(-1, INT64_MIN, -2), ElementsAre(4, 2, 0));
  EXPECT_THAT(cut(1, INT64_MAX, 3), ElementsAre(1, 4));
  EXPECT_THAT(cut(3, 0, INT64_MIN), ElementsAre(3));
  EXPECT_THAT(cut(2, 2, 1), ElementsAre());
}

TEST(Evaluate, NegativePadsCutAndCeilModeDropsWindowsThatSeeNothing) {
  const Tensor in = floats({4}, {1, 2, 3, 4});
  EXPECT_THAT((*run({"Pad", {}, {in, ints({-1, 2})}}))[0].floats, ElementsAre(2, 3, 4, 0, 0));
  const Case pool{"AveragePool",
                  {{"kernel_shape", Ints{1}},
                   {"strides", Ints{3}},
                   {"pads", Ints{0, 2}},
                   {"ceil_mode", int64_t{1}}},
                  {floats({1, 1, 3}, {1, 2, 3})}};
  EXPECT_THAT((*run(pool))[0].floats, ElementsAre(1, 0));
}

TEST(Evaluate, ThreadsNeverChangeBits) {
  const Tensor picture = floats({2, 4, 9, 11});
  const std::vector<Case> cases = {
      {"Conv",
       {{"pads", Ints{1, 1, 1, 1}}, {"group", int64_t{2}}},
       {picture, floats({6, 2, 3, 3}), floats({6})}},
      {"ConvTranspose", {{"strides", Ints{2, 2}}}, {picture, floats({4, 3, 3, 3})}},
      {"MaxPool", {{"kernel_shape", Ints{3, 3}}}, {picture}, 2},
      {"InstanceNormalization", {}, {picture, floats({4}), floats({4})}},
      {"ReduceMean", {{"axes", Ints{0, 2}}}, {picture}},
      {"Softmax", {{"axis", int64_t{1}}}, {picture}},
      {"MatMul", {}, {floats({5, 7, 9}), floats({9, 3})}},
      {"Resize",
       {{"mode", std::string("cubic")}},
       {picture, floats({0}), floats({4}, {1, 1, 1.7F, 0.6F})}},
      {"Add", {}, {picture, floats({4, 1, 11})}},
      {"Pad", {{"mode", std::string("edge")}}, {picture, ints({0, 0, 2, 1, 0, 0, 3, 4})}},
  };
  for (const Case& c : cases) {
    const auto one = run(c);
    const auto many = run(c, {.threads = 5});
    ASSERT_TRUE(one.ok()) << one.error().message;
    ASSERT_TRUE(many.ok()) << many.error().message;
    EXPECT_EQ((*one)[0].floats, (*many)[0].floats) << c.op;
    EXPECT_EQ((*one)[0].shape, (*many)[0].shape) << c.op;
  }
}

}  // namespace
}  // namespace atelier::model
