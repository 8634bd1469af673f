// SPDX-License-Identifier: Apache-2.0
// Files that are no model, or none that we can run: each is one sentence, none is a crash.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <random>

#include "model/model_file.h"
#include "model/specialise.h"
#include "model/test_model.h"

namespace atelier::model {
namespace {

using testing::HasSubstr;

std::string refusal(const std::string& bytes) {
  const auto graph = import_onnx(as_bytes(bytes), "m.onnx");
  if (graph.ok()) return "accepted";
  EXPECT_EQ(graph.error().code, Code::invalid_argument);
  EXPECT_EQ(graph.error().message.find('\n'), std::string::npos);
  EXPECT_THAT(graph.error().message, HasSubstr("'m.onnx'"));
  return graph.error().message;
}

// What import_onnx takes and the shapes of a small picture show to be wrong.
std::string later_refusal(const std::string& bytes) {
  const auto graph = import_onnx(as_bytes(bytes), "m.onnx");
  if (!graph.ok()) return graph.error().message;
  const auto concrete = specialise(*graph, {{"x", {ElementType::f32, {1, 3, 8, 8}}}});
  if (concrete.ok()) return "accepted";
  EXPECT_EQ(concrete.error().code, Code::invalid_argument);
  EXPECT_THAT(concrete.error().message, HasSubstr("node 'y' (Conv)"));
  return concrete.error().message;
}

TestModel conv_model() {
  TestModel model;
  model.floats("w", {3, 3, 1, 1}, {1, 0, 0, 0, 1, 0, 0, 0, 1});
  auto& conv = model.node("Conv", {"x", "w"}, "y");
  TestModel::attribute(conv, "strides", std::vector<int64_t>{1, 1});
  return model;
}

TEST(BadModel, WhatIsNoOnnxIsSaidToBeNone) {
  EXPECT_THAT(refusal(""), HasSubstr("is empty"));
  EXPECT_THAT(refusal("This is a text, not a model.\n"), HasSubstr("not an ONNX model"));
  EXPECT_THAT(refusal(std::string(1000, '\0')), HasSubstr("not an ONNX model"));
  std::mt19937 random(1);
  for (int i = 0; i < 200; ++i) {
    std::string bytes(random() % 500 + 1, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    EXPECT_NE(refusal(bytes), "accepted");
  }
}

TEST(BadModel, EveryTruncationIsRefused) {
  const std::string bytes = conv_model().bytes();
  ASSERT_EQ(refusal(bytes), "accepted");
  for (size_t length = 0; length < bytes.size(); ++length) {
    // Cut exactly behind the graph, only the opset (which comes last) is missing.
    EXPECT_NE(refusal(bytes.substr(0, length)), "accepted") << length;
  }
}

TEST(BadModel, AnUnsupportedOperatorIsNamedWithItsNode) {
  TestModel model;
  model.node("GRU", {"x"}, "y").set_name("last");
  EXPECT_EQ(refusal(model.bytes()),
            "'m.onnx' uses operator GRU (node 'last'), which Atelier does not support.");
  model.proto().mutable_graph()->mutable_node(0)->set_op_type("Relu");
  model.proto().mutable_graph()->mutable_node(0)->set_domain("com.example");
  EXPECT_THAT(refusal(model.bytes()), HasSubstr("com.example.Relu"));
}

TEST(BadModel, ExperimentalOperatorsAreUnknownInNewOpsets) {
  TestModel model(13);
  TestModel::attribute(model.node("Crop", {"x"}, "y"), "border", std::vector<int64_t>{1, 1, 1, 1});
  EXPECT_THAT(refusal(model.bytes()), HasSubstr("operator Crop"));
}

TEST(BadModel, AnExperimentalOperatorWithoutItsOutputIsRefused) {
  TestModel scaler(7);
  auto& node = scaler.node("ImageScaler", {"x"}, "");
  node.add_output("u");
  TestModel::attribute(node, "scale", 2.0F);
  TestModel::attribute(scaler.node("Clip", {"x"}, "y"), "max", 1.0F);
  EXPECT_EQ(refusal(scaler.bytes()),
            "'m.onnx': node '' (ImageScaler) has 2 outputs instead of one.");
}

struct Damage {
  const char* expected;
  std::function<void(onnx::ModelProto&)> damage;
};

class DamagedModel : public testing::TestWithParam<Damage> {};

TEST_P(DamagedModel, IsRefused) {
  TestModel model = conv_model();
  GetParam().damage(model.proto());
  EXPECT_THAT(later_refusal(model.bytes()), HasSubstr(GetParam().expected));
}

onnx::NodeProto& conv(onnx::ModelProto& m) { return *m.mutable_graph()->mutable_node(0); }
onnx::TensorProto& weight(onnx::ModelProto& m) {
  return *m.mutable_graph()->mutable_initializer(0);
}
void set_ints(onnx::ModelProto& m, const char* key, const std::vector<int64_t>& values) {
  conv(m).clear_attribute();
  TestModel::attribute(conv(m), key, values);
}

INSTANTIATE_TEST_SUITE_P(
    Each, DamagedModel,
    testing::Values(
        Damage{"opset 18", [](auto& m) { m.mutable_opset_import(0)->set_version(18); }},
        Damage{"opset 6", [](auto& m) { m.mutable_opset_import(0)->set_version(6); }},
        Damage{"opset 0", [](auto& m) { m.add_opset_import()->set_version(13); }},
        Damage{"file version 99", [](auto& m) { m.set_ir_version(99); }},
        Damage{"which nothing before it makes", [](auto& m) { conv(m).set_input(0, "z"); }},
        Damage{"which nothing before it makes", [](auto& m) { conv(m).set_input(0, "y"); }},
        Damage{"which nothing before it makes",
               [](auto& m) {  // a -> b -> a
                 conv(m).set_input(0, "b");
                 auto* node = m.mutable_graph()->add_node();
                 node->set_op_type("Relu");
                 node->add_input("y");
                 node->add_output("b");
               }},
        Damage{"has no input", [](auto& m) { conv(m).clear_input(); }},
        Damage{"has no output", [](auto& m) { conv(m).clear_output(); }},
        Damage{"made twice", [](auto& m) { *m.mutable_graph()->add_node() = conv(m); }},
        Damage{"there twice", [](auto& m) { *m.mutable_graph()->add_initializer() = weight(m); }},
        Damage{"nothing makes output 'q'",
               [](auto& m) { m.mutable_graph()->mutable_output(0)->set_name("q"); }},
        Damage{"no node computes output 'x'",
               [](auto& m) { m.mutable_graph()->mutable_output(0)->set_name("x"); }},
        Damage{"impossible shape",
               [](auto& m) {
                 for (int i = 0; i < 4; ++i) weight(m).set_dims(i, int64_t{1} << 23);
               }},
        Damage{"impossible shape", [](auto& m) { weight(m).set_dims(0, -3); }},
        Damage{"but holds 9", [](auto& m) { weight(m).set_dims(0, 1 << 20); }},
        Damage{"another file",
               [](auto& m) { weight(m).set_data_location(onnx::TensorProto::EXTERNAL); }},
        Damage{"BFLOAT16", [](auto& m) { weight(m).set_data_type(onnx::TensorProto::BFLOAT16); }},
        Damage{"STRING", [](auto& m) { weight(m).set_data_type(onnx::TensorProto::STRING); }},
        Damage{"data type 77", [](auto& m) { weight(m).set_data_type(77); }},
        Damage{"should hold 9 numbers but holds 0",
               [](auto& m) { weight(m).set_data_type(onnx::TensorProto::INT8); }},
        Damage{"should hold 9 numbers but holds 8",
               [](auto& m) { weight(m).set_raw_data(std::string(35, 'x')); }},
        Damage{"that are no int8",
               [](auto& m) {
                 weight(m).clear_float_data();
                 weight(m).set_data_type(onnx::TensorProto::INT8);
                 for (int i = 0; i < 9; ++i) weight(m).add_int32_data(128);
               }},
        Damage{"data type STRING",
               [](auto& m) {
                 m.mutable_graph()
                     ->mutable_input(0)
                     ->mutable_type()
                     ->mutable_tensor_type()
                     ->set_elem_type(onnx::TensorProto::STRING);
               }},
        Damage{"is not a tensor",
               [](auto& m) { m.mutable_graph()->mutable_input(0)->clear_type(); }},
        Damage{"out of range",
               [](auto& m) {
                 set_ints(m, "strides", {0, 0});
               }},
        Damage{"out of range",
               [](auto& m) {
                 set_ints(m, "strides", {int64_t{1} << 62, 1});
               }},
        Damage{"out of range",
               [](auto& m) {
                 set_ints(m, "dilations", {-1, 1});
               }},
        Damage{"out of range",
               [](auto& m) {
                 set_ints(m, "pads", {INT64_MIN, 0, 0, 0});
               }},
        Damage{"strange pads",
               [](auto& m) {
                 set_ints(m, "pads", {1 << 20, 0, 0, 0});
               }},
        Damage{"kernel_shape",
               [](auto& m) {
                 set_ints(m, "kernel_shape", {3, 3});
               }},
        Damage{"too long", [](auto& m) { set_ints(m, "pads", std::vector<int64_t>(1000, 0)); }},
        Damage{"strange pads", [](auto& m) { set_ints(m, "pads", {0}); }},
        Damage{"twice",
               [](auto& m) { TestModel::attribute(conv(m), "strides", std::vector<int64_t>{1}); }},
        Damage{"of a kind",
               [](auto& m) {
                 auto* a = conv(m).add_attribute();
                 a->set_name("body");
                 a->mutable_g()->set_name("g");
               }},
        Damage{"too many parts", [](auto& m) {
                 for (int i = 0; i < 300000; ++i) m.mutable_graph()->add_value_info();
               }}));

// Flips, overwrites and cuts bytes of valid models; whatever happens must be a Result. The seed is
// fixed, so a crash found here repeats.
TEST(BadModel, MutatedModelsNeverCrash) {
  TestModel old(7);
  auto& scaler = old.node("ImageScaler", {"x"}, "a");
  TestModel::attribute(scaler, "scale", 2.0F);
  auto& pad = old.node("Pad", {"a"}, "b");
  TestModel::attribute(pad, "mode", "reflect");
  TestModel::attribute(pad, "pads", std::vector<int64_t>{0, 0, 1, 1, 0, 0, 1, 1});
  auto& up = old.node("Upsample", {"b"}, "c");
  auto* scales = up.add_attribute();
  scales->set_name("scales");
  scales->set_type(onnx::AttributeProto::FLOATS);
  for (float s : {1.F, 1.F, 2.F, 2.F}) scales->add_floats(s);
  TestModel::attribute(old.node("Crop", {"c"}, "y"), "border", std::vector<int64_t>{1, 1, 1, 1});
  std::mt19937 random(7);
  int accepted = 0;
  for (const std::string& bytes : {conv_model().bytes(), old.bytes()}) {
    ASSERT_EQ(refusal(bytes), "accepted");
    for (int round = 0; round < 3000; ++round) {
      std::string mutant = bytes;
      for (unsigned i = 0; i < 1 + random() % 3; ++i) {
        mutant[random() % mutant.size()] = static_cast<char>(random());
      }
      auto graph = import_onnx(as_bytes(mutant), "m.onnx");
      if (!graph.ok() || graph->inputs.size() != 1) continue;
      const ValueInfo input = graph->inputs[0];
      const auto concrete =
          specialise(std::move(*graph), {{input.name, {input.type, {1, 3, 8, 8}}}});
      accepted += concrete.ok() ? 1 : 0;
    }
  }
  EXPECT_GT(accepted, 0);
}

// The same for a real file, whose structure is richer.
TEST(BadModel, MutatedFilesNeverCrash) {
  const std::string path = ATELIER_SOURCE_DIR "/../shared/models/other/mnist.onnx";
  std::ifstream stream(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(stream)), {});
  if (bytes.empty()) GTEST_SKIP() << "NOT TESTED: " << path << " is absent";
  std::mt19937 random(11);
  int accepted = 0;
  for (int round = 0; round < 1000; ++round) {
    std::string mutant = bytes;
    // Structure is at both ends; the weights are in between.
    const size_t at = random() % 2000;
    mutant[at < 1000 ? at : bytes.size() - at + 999] = static_cast<char>(random());
    auto graph = import_onnx(as_bytes(mutant), "m.onnx");
    if (!graph.ok() || graph->inputs.size() != 1) continue;
    const ValueInfo input = graph->inputs[0];
    const auto concrete =
        specialise(std::move(*graph), {{input.name, {input.type, {1, 1, 28, 28}}}});
    accepted += concrete.ok() ? 1 : 0;
  }
  EXPECT_GT(accepted, 0);
}

TEST(BadModel, GraphsInsideNodesAreRefusedByTheirOperator) {
  TestModel model;
  auto& node = model.node("If", {"x"}, "y");
  node.set_name("branch");
  auto* branch = node.add_attribute();
  branch->set_name("then_branch");
  branch->set_type(onnx::AttributeProto::GRAPH);
  // Ten thousand levels: deeper than protobuf follows.
  std::string inner;
  for (int i = 0; i < 10000; ++i) {
    const auto nested = [&](char tag) {
      std::string size;
      for (size_t v = inner.size(); size.empty() || v > 0; v >>= 7) {
        size += static_cast<char>((v & 127) | (v >= 128 ? 128 : 0));
      }
      inner = tag + size + inner;
    };
    nested(0x32);  // AttributeProto.g
    nested(0x2a);  // NodeProto.attribute
    nested(0x0a);  // GraphProto.node
  }
  branch->mutable_g()->set_name("then");
  EXPECT_EQ(refusal(model.bytes()),
            "'m.onnx' uses operator If (node 'branch'), which Atelier does not support.");
  // The same with the deep graph in place of the model's.
  std::string size;
  for (size_t v = inner.size(); v > 0; v >>= 7) {
    size += static_cast<char>((v & 127) | (v >= 128 ? 128 : 0));
  }
  EXPECT_THAT(refusal("\x3a" + size + inner), HasSubstr("of a kind that is not supported"));
}

TEST(LoadModel, FillsInTheOnlyNamesAndHashes) {
  const std::string bytes = conv_model().bytes();
  const auto loaded = load_model(as_bytes(bytes), std::nullopt, "m.onnx");
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  EXPECT_EQ(loaded->spec.input, "x");
  EXPECT_EQ(loaded->spec.output, "y");
  EXPECT_EQ(loaded->sha256.size(), 64U);
  EXPECT_FALSE(loaded->spec.guessed.empty());
}

TEST(LoadModel, NamesThatTheGraphLacksAreSaid) {
  const std::string bytes = conv_model().bytes();
  const auto loaded = load_model(as_bytes(bytes), "output = \"painted\"", "m.onnx");
  ASSERT_FALSE(loaded.ok());
  EXPECT_THAT(loaded.error().message, HasSubstr("no output 'painted'"));
}

TEST(LoadModel, AnOutputThatIsNoImageIsRefusedUnlessItIsATensor) {
  TestModel model;
  model.floats("w", {7, 3, 1, 1}, std::vector<float>(21, 1));
  model.node("Conv", {"x", "w"}, "y");
  const auto loaded = load_model(as_bytes(model.bytes()), std::nullopt, "m.onnx");
  ASSERT_FALSE(loaded.ok());
  EXPECT_THAT(loaded.error().message, HasSubstr("whose output is no image"));
  EXPECT_TRUE(load_model(as_bytes(model.bytes()), "output_kind = \"tensor\"", "m.onnx").ok());
}

TEST(LoadModel, AnInputThatTakesNoPictureIsRefused) {
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{-1, 4, -1, -1}, {3, 8}, {8, 2, 4, 4}}) {
    TestModel model(13, shape);
    model.node("Relu", {"x"}, "y");
    const auto loaded = load_model(as_bytes(model.bytes()), std::nullopt, "m.onnx");
    ASSERT_FALSE(loaded.ok());
    EXPECT_THAT(loaded.error().message, HasSubstr("is no image"));
  }
}

}  // namespace
}  // namespace atelier::model
