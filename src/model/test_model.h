// SPDX-License-Identifier: Apache-2.0
// Makes small ONNX files for tests; includes protobuf, so only tests of this folder may use it.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "model/onnx_proto.h"

namespace atelier::model {

// A model with input "x" [N, C, H, W] (-1: any) and output "y"; nodes are added one by one.
class TestModel {
 public:
  explicit TestModel(int64_t opset = 13, const std::vector<int64_t>& input = {-1, 3, -1, -1}) {
    proto_.set_ir_version(7);
    proto_.add_opset_import()->set_version(opset);
    proto_.mutable_graph()->set_name("test");
    value(*proto_.mutable_graph()->add_input(), "x", input);
    value(*proto_.mutable_graph()->add_output(), "y", {-1, -1, -1, -1});
  }

  onnx::NodeProto& node(const std::string& op, std::initializer_list<std::string> inputs,
                        const std::string& output) {
    onnx::NodeProto* node = proto_.mutable_graph()->add_node();
    node->set_op_type(op);
    for (const auto& input : inputs) node->add_input(input);
    node->add_output(output);
    return *node;
  }
  TestModel& floats(const std::string& name, const std::vector<int64_t>& shape,
                    const std::vector<float>& values) {
    onnx::TensorProto& tensor = *proto_.mutable_graph()->add_initializer();
    tensor.set_name(name);
    tensor.set_data_type(onnx::TensorProto::FLOAT);
    for (int64_t d : shape) tensor.add_dims(d);
    for (float v : values) tensor.add_float_data(v);
    return *this;
  }
  TestModel& ints(const std::string& name, const std::vector<int64_t>& values) {
    onnx::TensorProto& tensor = *proto_.mutable_graph()->add_initializer();
    tensor.set_name(name);
    tensor.set_data_type(onnx::TensorProto::INT64);
    tensor.add_dims(static_cast<int64_t>(values.size()));
    for (int64_t v : values) tensor.add_int64_data(v);
    return *this;
  }
  static void attribute(onnx::NodeProto& node, const std::string& key,
                        const std::vector<int64_t>& values) {
    onnx::AttributeProto* a = node.add_attribute();
    a->set_name(key);
    a->set_type(onnx::AttributeProto::INTS);
    for (int64_t v : values) a->add_ints(v);
  }
  static void attribute(onnx::NodeProto& node, const std::string& key, const char* text) {
    onnx::AttributeProto* a = node.add_attribute();
    a->set_name(key);
    a->set_type(onnx::AttributeProto::STRING);
    a->set_s(text);
  }
  static void attribute(onnx::NodeProto& node, const std::string& key, float value) {
    onnx::AttributeProto* a = node.add_attribute();
    a->set_name(key);
    a->set_type(onnx::AttributeProto::FLOAT);
    a->set_f(value);
  }
  static void attribute(onnx::NodeProto& node, const std::string& key, int64_t value) {
    onnx::AttributeProto* a = node.add_attribute();
    a->set_name(key);
    a->set_type(onnx::AttributeProto::INT);
    a->set_i(value);
  }

  onnx::ModelProto& proto() { return proto_; }
  std::string bytes() const { return proto_.SerializeAsString(); }

 private:
  static void value(onnx::ValueInfoProto& info, const std::string& name,
                    const std::vector<int64_t>& shape) {
    info.set_name(name);
    auto* type = info.mutable_type()->mutable_tensor_type();
    type->set_elem_type(onnx::TensorProto::FLOAT);
    for (int64_t d : shape) {
      auto* dim = type->mutable_shape()->add_dim();
      if (d >= 0) dim->set_dim_value(d);
    }
  }
  onnx::ModelProto proto_;
};

}  // namespace atelier::model
