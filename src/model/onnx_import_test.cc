// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/bytes.h"
#include "model/specialise.h"
#include "model/test_model.h"

namespace atelier::model {
namespace {

using Ints = std::vector<int64_t>;

std::vector<std::byte> read(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(stream)), {});
  const auto bytes = as_bytes(text);
  return {bytes.begin(), bytes.end()};
}

const std::string kShared = ATELIER_SOURCE_DIR "/../shared/models/";

struct Case {
  const char* file;
  Ints input;
  Ints output;
};

class SharedModel : public testing::TestWithParam<Case> {};

TEST_P(SharedModel, IsImportedAndHasTheShapesThatItSays) {
  const Case& model = GetParam();
  if (!std::filesystem::exists(kShared + model.file)) {
    GTEST_SKIP() << "NOT TESTED: " << kShared << model.file << " is absent";
  }
  auto graph = import_onnx(read(kShared + model.file), model.file);
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  ASSERT_EQ(graph->inputs.size(), 1U);
  const ValueInfo input = graph->inputs[0];
  const auto concrete = specialise(std::move(*graph), {{input.name, {input.type, model.input}}});
  ASSERT_TRUE(concrete.ok()) << concrete.error().message;
  EXPECT_EQ(concrete->types.at(concrete->graph.outputs[0].name).shape, model.output);
  for (const auto& [name, type] : concrete->types) {
    EXPECT_EQ(std::count(type.shape.begin(), type.shape.end(), -1), 0) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, SharedModel,
    testing::Values(Case{"dyn/wave.onnx", {1, 3, 32, 40}, {1, 3, 32, 40}},
                    Case{"dyn/udnie.onnx", {2, 3, 32, 40}, {2, 3, 32, 40}},
                    Case{"dyn/candy.onnx", {1, 3, 48, 56}, {1, 3, 48, 56}},
                    Case{"dyn/mosaic.onnx", {1, 3, 48, 56}, {1, 3, 48, 56}},
                    Case{"fixed/candy_opset7_720.onnx", {1, 3, 720, 720}, {1, 3, 720, 720}},
                    Case{"ours/starry-night.onnx", {1, 3, 32, 40}, {1, 3, 32, 40}},
                    Case{"other/squeezenet1_1_fp32.onnx", {1, 3, 224, 224}, {1, 1000, 1, 1}},
                    Case{"other/squeezenet_fp16.onnx", {1, 3, 224, 224}, {1, 1000, 1, 1}},
                    Case{"other/super_resolution.onnx", {1, 1, 224, 224}, {1, 1, 672, 672}},
                    Case{"other/upscalerjs_default_x2.onnx", {1, 3, 20, 30}, {1, 3, 40, 60}},
                    Case{"other/ultraface_RFB_320.onnx", {1, 3, 240, 320}, {1, 4420, 2}},
                    Case{"other/mnist.onnx", {1, 1, 28, 28}, {1, 10}},
                    Case{"other/cifar_ImageClassifier.onnx", {1, 3, 32, 32}, {1, 10}}));

// The bytes of a tensor in the two ways that a file may hold them.
TEST(Tensors, OfEveryTypeAreRead) {
  using P = onnx::TensorProto;
  struct Stored {
    P::DataType type;
    ElementType element;
    std::string raw;
    double first, second;
  };
  const std::string f64("\0\0\0\0\0\0\xf8\x3f\0\0\0\0\0\0\0\xc0", 16);
  const std::string i64("\x05\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", 16);
  const Stored all[] = {
      {P::FLOAT16, ElementType::f16, std::string("\x00\x3e\x01\x80", 4), 1.5, -0x1p-24},
      {P::DOUBLE, ElementType::f64, f64, 1.5, -2},
      {P::INT8, ElementType::i8, std::string("\x05\xff", 2), 5, -1},
      {P::UINT8, ElementType::u8, std::string("\x05\xff", 2), 5, 255},
      {P::INT16, ElementType::i16, std::string("\x05\0\xff\xff", 4), 5, -1},
      {P::UINT16, ElementType::u16, std::string("\x05\0\xff\xff", 4), 5, 65535},
      {P::INT32, ElementType::i32, std::string("\x05\0\0\0\xff\xff\xff\xff", 8), 5, -1},
      {P::UINT32, ElementType::u32, std::string("\x05\0\0\0\xff\xff\xff\xff", 8), 5, 4294967295.0},
      {P::INT64, ElementType::i64, i64, 5, -1},
      {P::BOOL, ElementType::boolean, std::string("\0\x01", 2), 0, 1}};
  for (const Stored& stored : all) {
    TestModel model(13, {1, 1, 1, 2});
    auto& tensor = *model.proto().mutable_graph()->add_initializer();
    tensor.set_name("t");
    tensor.set_data_type(stored.type);
    tensor.add_dims(2);
    tensor.set_raw_data(stored.raw);
    TestModel::attribute(model.node("Cast", {"t"}, "f"), "to", int64_t{1});
    model.node("Add", {"x", "f"}, "y");
    const auto graph = import_onnx(as_bytes(model.bytes()), "test");
    ASSERT_TRUE(graph.ok()) << graph.error().message;
    const Tensor& t = graph->initializers.at("t");
    EXPECT_EQ(t.type, stored.element);
    const auto at = [&](size_t i) {
      return t.is_int() ? static_cast<double>(t.ints.at(i)) : static_cast<double>(t.floats.at(i));
    };
    EXPECT_EQ(at(0), stored.first) << to_string(t.type);
    EXPECT_EQ(at(1), stored.second) << to_string(t.type);
  }
}

}  // namespace
}  // namespace atelier::model
