// SPDX-License-Identifier: Apache-2.0
#include "model/conformance.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <optional>

#include "model/onnx_proto.h"

namespace atelier::model {
namespace {

const std::filesystem::path kData = "/usr/share/libonnx-testdata/data";

std::string read_all(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::optional<ElementType> type_of(int32_t data_type) {
  switch (data_type) {
    case onnx::TensorProto::FLOAT: return ElementType::f32;
    case onnx::TensorProto::FLOAT16: return ElementType::f16;
    case onnx::TensorProto::DOUBLE: return ElementType::f64;
    case onnx::TensorProto::INT8: return ElementType::i8;
    case onnx::TensorProto::UINT8: return ElementType::u8;
    case onnx::TensorProto::INT16: return ElementType::i16;
    case onnx::TensorProto::UINT16: return ElementType::u16;
    case onnx::TensorProto::INT32: return ElementType::i32;
    case onnx::TensorProto::UINT32: return ElementType::u32;
    case onnx::TensorProto::INT64: return ElementType::i64;
    case onnx::TensorProto::UINT64: return ElementType::u64;
    case onnx::TensorProto::BOOL: return ElementType::boolean;
    default: return std::nullopt;
  }
}

float half_to_float(uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const auto fraction = static_cast<float>(bits & 1023);
  float size =
      exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  if (exponent == 31) size = fraction == 0 ? INFINITY : NAN;
  return bits >> 15 != 0 ? -size : size;
}

template <class T, class To>
void append(const std::string& raw, std::vector<To>& to) {
  for (size_t at = 0; at + sizeof(T) <= raw.size(); at += sizeof(T)) {
    T value;
    std::memcpy(&value, raw.data() + at, sizeof(T));
    to.push_back(static_cast<To>(value));
  }
}

void append_raw(const std::string& raw, Tensor& tensor) {
  switch (tensor.type) {
    case ElementType::f32: return append<float>(raw, tensor.floats);
    case ElementType::f64: return append<double>(raw, tensor.floats);
    case ElementType::f16: {
      std::vector<uint16_t> halves;
      append<uint16_t>(raw, halves);
      for (const uint16_t half : halves) tensor.floats.push_back(half_to_float(half));
      return;
    }
    case ElementType::i8: return append<int8_t>(raw, tensor.ints);
    case ElementType::u8:
    case ElementType::boolean: return append<uint8_t>(raw, tensor.ints);
    case ElementType::i16: return append<int16_t>(raw, tensor.ints);
    case ElementType::u16: return append<uint16_t>(raw, tensor.ints);
    case ElementType::i32: return append<int32_t>(raw, tensor.ints);
    case ElementType::u32: return append<uint32_t>(raw, tensor.ints);
    case ElementType::i64:
    case ElementType::u64: return append<int64_t>(raw, tensor.ints);
  }
}

void append_typed(const onnx::TensorProto& proto, Tensor& tensor) {
  if (tensor.type == ElementType::f16) {
    for (const int32_t half : proto.int32_data()) {
      tensor.floats.push_back(half_to_float(static_cast<uint16_t>(half)));
    }
  } else if (!tensor.is_int()) {
    tensor.floats.insert(tensor.floats.end(), proto.float_data().begin(), proto.float_data().end());
    for (const double v : proto.double_data()) tensor.floats.push_back(static_cast<float>(v));
  } else {
    const auto append_all = [&](const auto& values) {
      for (const auto v : values) tensor.ints.push_back(static_cast<int64_t>(v));
    };
    append_all(proto.int32_data());
    append_all(proto.int64_data());
    append_all(proto.uint64_data());
  }
}

Result<Tensor> read_tensor(const std::filesystem::path& path) {
  onnx::TensorProto proto;
  if (!proto.ParseFromString(read_all(path))) {
    return make_error(Code::invalid_argument, "{} is no tensor", path.filename().string());
  }
  const auto type = type_of(proto.data_type());
  Tensor tensor;
  if (!type) {
    return make_error(Code::invalid_argument, "{} is of another type", path.filename().string());
  }
  tensor.type = *type;
  tensor.shape.assign(proto.dims().begin(), proto.dims().end());
  append_raw(proto.raw_data(), tensor);
  append_typed(proto, tensor);
  int64_t size = tensor.is_int() ? std::ssize(tensor.ints) : std::ssize(tensor.floats);
  int64_t count = 1;  // of a message of another kind it may be anything
  for (const int64_t d : tensor.shape) {
    if (d < 0 || __builtin_mul_overflow(count, d, &count)) size = -1;
  }
  if (size != count) {
    return make_error(Code::invalid_argument, "{} is no tensor", path.filename().string());
  }
  return tensor;
}

Result<std::vector<Tensor>> read_tensors(const std::filesystem::path& folder, const char* kind) {
  std::vector<Tensor> tensors;
  while (true) {
    const auto path = folder / (kind + std::to_string(tensors.size()) + ".pb");
    if (!std::filesystem::exists(path)) return tensors;
    tensors.push_back(TRY(read_tensor(path)));
  }
}

// Import takes opset 7 and later. An older model is read as one of opset 7 if every operator in it
// has the same definition there.
std::string at_least_opset_7(std::string file) {
  constexpr int kOldest = 7;
  onnx::ModelProto model;
  if (!model.ParseFromString(file) || model.opset_import_size() != 1) return file;
  onnx::OperatorSetIdProto& opset = *model.mutable_opset_import(0);
  if (!opset.domain().empty() || opset.version() >= kOldest) return file;
  for (const auto& node : model.graph().node()) {
    const auto* before =
        onnx::OpSchemaRegistry::Schema(node.op_type(), static_cast<int>(opset.version()));
    const auto* after = onnx::OpSchemaRegistry::Schema(node.op_type(), kOldest);
    if (before == nullptr || before != after) return file;
  }
  opset.set_version(kOldest);
  return model.SerializeAsString();
}

}  // namespace

std::vector<ConformanceCase> conformance_cases() {
  std::vector<ConformanceCase> cases;
  for (const char* group : {"node", "pytorch-converted", "pytorch-operator", "simple"}) {
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(kData / group, ignored)) {
      cases.push_back({group + ("/" + entry.path().filename().string()), entry.path()});
    }
  }
  std::sort(cases.begin(), cases.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return cases;
}

Result<ConformanceData> read_case(const ConformanceCase& test_case) {
  ConformanceData data;
  data.model = at_least_opset_7(read_all(test_case.folder / "model.onnx"));
  data.inputs = TRY(read_tensors(test_case.folder / "test_data_set_0", "input_"));
  data.outputs = TRY(read_tensors(test_case.folder / "test_data_set_0", "output_"));
  if (data.model.empty() || data.outputs.empty()) {
    return make_error(Code::invalid_argument, "there is no model or no output");
  }
  return data;
}

std::string difference(const Tensor& right, const Tensor& actual) {
  if (right.type != actual.type) {
    return fmt::format("{} instead of {}", to_string(actual.type), to_string(right.type));
  }
  if (right.shape != actual.shape) {
    return fmt::format("shape [{}] instead of [{}]", fmt::join(actual.shape, ", "),
                       fmt::join(right.shape, ", "));
  }
  for (size_t i = 0; i < right.ints.size(); ++i) {
    if (right.ints[i] != actual.ints[i]) {
      return fmt::format("element {}: {} instead of {}", i, actual.ints[i], right.ints[i]);
    }
  }
  for (size_t i = 0; i < right.floats.size(); ++i) {
    const double a = actual.floats[i];
    const double b = right.floats[i];
    const bool alike =
        std::isnan(b) ? std::isnan(a) : a == b || std::abs(a - b) <= 1e-7 + 1e-3 * std::abs(b);
    if (!alike) return fmt::format("element {}: {} instead of {}", i, a, b);
  }
  return {};
}

}  // namespace atelier::model
