// SPDX-License-Identifier: Apache-2.0
// Weights in files beside the model: read where the model says, refused wherever else.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "model/model_file.h"
#include "model/test_model.h"

namespace atelier::model {
namespace {

using testing::HasSubstr;

void set_entry(onnx::TensorProto& tensor, const std::string& key, const std::string& value) {
  auto* entry = tensor.add_external_data();
  entry->set_key(key);
  entry->set_value(value);
}

// y = x * w, the three numbers of w in another file.
TestModel external_model(const std::string& location, const std::string& offset,
                         const std::string& length) {
  TestModel model;
  auto& weight = *model.proto().mutable_graph()->add_initializer();
  weight.set_name("w");
  weight.set_data_type(onnx::TensorProto::FLOAT);
  for (int64_t d : {3, 1, 1}) weight.add_dims(d);
  weight.set_data_location(onnx::TensorProto::EXTERNAL);
  if (!location.empty()) set_entry(weight, "location", location);
  if (!offset.empty()) set_entry(weight, "offset", offset);
  if (!length.empty()) set_entry(weight, "length", length);
  model.node("Mul", {"x", "w"}, "y");
  return model;
}

std::vector<std::byte> floats(const std::vector<float>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(float));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

// One file, "w.bin", with five numbers.
struct Folder {
  std::vector<float> numbers{1, 2, 3, 4, 5};
  int opened = 0;
  OpenExternal open = [this](const std::string& location) -> Result<std::unique_ptr<ByteSource>> {
    ++opened;
    if (location != "w.bin")
      return make_error(Code::invalid_argument, "Cannot open '{}'.", location);
    return std::unique_ptr<ByteSource>(std::make_unique<MemorySource>(floats(numbers)));
  };
};

std::string refusal(const TestModel& model) {
  Folder folder;
  const auto graph = import_onnx(as_bytes(model.bytes()), "m.onnx", folder.open);
  if (graph.ok()) return "accepted";
  EXPECT_EQ(graph.error().code, Code::invalid_argument);
  return graph.error().message;
}

TEST(ExternalWeights, AreReadAtTheirOffset) {
  Folder folder;
  const TestModel model = external_model("w.bin", "4", "12");
  const auto graph = import_onnx(as_bytes(model.bytes()), "m.onnx", folder.open);
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  EXPECT_EQ(graph->initializers.at("w").floats, (std::vector<float>{2, 3, 4}));
  EXPECT_EQ(folder.opened, 1);
}

TEST(ExternalWeights, WithoutOffsetAndLengthBeginTheFile) {
  Folder folder;
  const TestModel model = external_model("w.bin", "", "");
  const auto graph = import_onnx(as_bytes(model.bytes()), "m.onnx", folder.open);
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  EXPECT_EQ(graph->initializers.at("w").floats, (std::vector<float>{1, 2, 3}));
}

TEST(ExternalWeights, ChangeTheHashOfTheModel) {
  const std::string bytes = external_model("w.bin", "4", "12").bytes();
  Folder folder, other, beyond;
  other.numbers[2] = 7;
  beyond.numbers[0] = 7;  // not read
  const auto hash = [&](const Folder& f) {
    return load_model(as_bytes(bytes), std::nullopt, "m", f.open).value().sha256;
  };
  EXPECT_NE(hash(folder), hash(other));
  EXPECT_EQ(hash(folder), hash(beyond));
}

TEST(ExternalWeights, OutsideTheFolderAreRefused) {
  for (const char* location :
       {"../w.bin", "/etc/passwd", "a/../../w.bin", "..", "", "a//w.bin", "a/", "..\\w.bin"}) {
    EXPECT_THAT(refusal(external_model(location, "", "")),
                HasSubstr("not inside the model's folder"))
        << location;
  }
  EXPECT_THAT(refusal(external_model(std::string(5000, 'a'), "", "")),
              HasSubstr("not inside the model's folder"));
  EXPECT_THAT(refusal(external_model("none", "", "")), HasSubstr("Cannot open 'none'"));
}

TEST(ExternalWeights, BeyondTheEndOfTheFileAreRefused) {
  EXPECT_THAT(refusal(external_model("w.bin", "12", "")), HasSubstr("that file has 20"));
  EXPECT_THAT(refusal(external_model("w.bin", "999999999999999999", "")),
              HasSubstr("that file has 20"));
  EXPECT_THAT(refusal(external_model("w.bin", "0", "8")), HasSubstr("the model says 8"));
  for (const char* strange : {"-4", "x", "99999999999999999999999", " 4"}) {
    EXPECT_THAT(refusal(external_model("w.bin", strange, "")),
                HasSubstr("impossible offset or length"))
        << strange;
  }
}

TEST(ExternalWeights, ThatNobodyCanHoldAreRefusedBeforeTheyAreRead) {
  TestModel model = external_model("w.bin", "", "");
  auto& weight = *model.proto().mutable_graph()->mutable_initializer(0);
  weight.set_dims(0, int64_t{1} << 20);
  weight.set_dims(1, int64_t{1} << 19);
  EXPECT_THAT(refusal(model), HasSubstr("of memory"));
}

TEST(ExternalWeights, AreRefusedWhereThereIsNoFolder) {
  const TestModel model = external_model("w.bin", "", "");
  const auto graph = import_onnx(as_bytes(model.bytes()), "m.onnx");
  ASSERT_FALSE(graph.ok());
  EXPECT_THAT(graph.error().message, HasSubstr("is stored in another file, 'w.bin'"));
}

}  // namespace
}  // namespace atelier::model
