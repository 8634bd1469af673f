// SPDX-License-Identifier: Apache-2.0
// Operators that no runner needs to know, expressed by others. ImageScaler, Affine and Crop were
// experimental operators of the default domain (onnx/docs/Operators.md before 1.5): the opset
// converter does not know them, so they must go before it runs.
#include <limits>
#include <map>
#include <set>

#include "model/onnx_import_steps.h"

namespace atelier::model {
namespace {

const onnx::AttributeProto* find(const onnx::NodeProto& node, std::string_view key) {
  for (const auto& attribute : node.attribute()) {
    if (attribute.name() == key) return &attribute;
  }
  return nullptr;
}

float float_or(const onnx::NodeProto& node, std::string_view key, float otherwise) {
  const auto* attribute = find(node, key);
  return attribute != nullptr && attribute->type() == onnx::AttributeProto::FLOAT ? attribute->f()
                                                                                  : otherwise;
}

void add_ints(onnx::NodeProto& node, const std::string& key,
              std::initializer_list<int64_t> values) {
  onnx::AttributeProto* attribute = node.add_attribute();
  attribute->set_name(key);
  attribute->set_type(onnx::AttributeProto::INTS);
  for (int64_t v : values) attribute->add_ints(v);
}

class Rewriter {
 public:
  Rewriter(onnx::GraphProto& graph, std::string_view name) : graph_(graph), name_(name) {
    for (const auto& value : graph.output()) outputs_.insert(value.name());
    for (const auto& tensor : graph.initializer()) taken_.insert(tensor.name());
    for (const auto& value : graph.input()) taken_.insert(value.name());
    for (const auto& node : graph.node()) {
      taken_.insert(node.output().begin(), node.output().end());
    }
  }

  Result<void> run() {
    google::protobuf::RepeatedPtrField<onnx::NodeProto> old;
    old.Swap(graph_.mutable_node());
    for (onnx::NodeProto& node : old) {
      for (std::string& input : *node.mutable_input()) {
        const auto it = same_as_.find(input);
        if (it != same_as_.end()) input = it->second;
      }
      TRY(rewrite(node));
    }
    return {};
  }

 private:
  Result<void> rewrite(onnx::NodeProto& node) {
    const std::string& op = node.op_type();
    if (op == "Identity") return drop(node);
    if (op == "Dropout") return drop_dropout(node);
    if (op == "ImageScaler") return image_scaler(node);
    if (op == "Affine")
      return affine(node, float_or(node, "alpha", 1), {1}, {float_or(node, "beta", 0)});
    if (op == "Crop") return crop(node);
    *graph_.add_node() = std::move(node);
    return {};
  }

  Result<void> drop(onnx::NodeProto& node) {
    // An output of the graph keeps its name: multiplying by one is exact.
    if (outputs_.contains(node.output(0))) return affine(node, 1, {1}, {0});
    same_as_[node.output(0)] = node.input(0);
    return {};
  }

  Result<void> drop_dropout(onnx::NodeProto& node) {
    const bool training = node.input_size() > 2 && !node.input(2).empty();
    if (training) {
      return make_error(Code::invalid_argument,
                        "'{}': {} is set to train; export the model for inference.", name_,
                        describe(node));
    }
    return drop(node);
  }

  // y = x * scale + bias, the bias one number for each channel.
  Result<void> image_scaler(onnx::NodeProto& node) {
    const auto* bias = find(node, "bias");
    std::vector<float> values;
    if (bias != nullptr) values.assign(bias->floats().begin(), bias->floats().end());
    if (values.empty()) values = {0};
    const auto channels = static_cast<int64_t>(values.size());
    return affine(node, float_or(node, "scale", 1), {1, channels, 1, 1}, values);
  }

  Result<void> affine(const onnx::NodeProto& node, float scale,
                      const std::vector<int64_t>& bias_shape, const std::vector<float>& bias) {
    const bool add = std::any_of(bias.begin(), bias.end(), [](float b) { return b != 0; });
    std::string input = node.input(0);
    if (scale != 1 || !add) {
      const std::string product = add ? fresh(node.output(0) + "/scaled") : node.output(0);
      emit("Mul", node, "scale", input, constant(product + "/scale", {1}, {scale}), product);
      input = product;
    }
    if (add) {
      emit("Add", node, "bias", input, constant(node.output(0) + "/bias", bias_shape, bias),
           node.output(0));
    }
    return {};
  }

  Result<void> crop(const onnx::NodeProto& node) {
    const auto* border = find(node, "border");
    // The old form with a `scale` (the size to keep) was never written by an exporter we know.
    if (border == nullptr || border->ints_size() != 4 || find(node, "scale") != nullptr) {
      return make_error(Code::invalid_argument,
                        "'{}': {} has no border of four numbers, which is not supported.", name_,
                        describe(node));
    }
    for (int64_t b : border->ints()) {
      if (b < 0) {
        return make_error(Code::invalid_argument, "'{}': {} has a negative border.", name_,
                          describe(node));
      }
    }
    const auto end = [](int64_t b) { return b == 0 ? std::numeric_limits<int32_t>::max() : -b; };
    onnx::NodeProto slice;
    slice.set_op_type("Slice");
    slice.set_name(node.name());
    slice.add_input(node.input(0));
    slice.add_output(node.output(0));
    // border: left, top, right, bottom. Slice of opset 9 and lower has attributes.
    add_ints(slice, "starts", {border->ints(1), border->ints(0)});
    add_ints(slice, "ends", {end(border->ints(3)), end(border->ints(2))});
    add_ints(slice, "axes", {2, 3});
    *graph_.add_node() = std::move(slice);
    return {};
  }

  void emit(const char* op, const onnx::NodeProto& from, const char* suffix, const std::string& a,
            const std::string& b, const std::string& output) {
    onnx::NodeProto* node = graph_.add_node();
    node->set_op_type(op);
    if (!from.name().empty()) node->set_name(from.name() + "/" + suffix);
    node->add_input(a);
    node->add_input(b);
    node->add_output(output);
  }

  std::string constant(const std::string& name, const std::vector<int64_t>& shape,
                       const std::vector<float>& values) {
    onnx::TensorProto* tensor = graph_.add_initializer();
    tensor->set_name(fresh(name));
    tensor->set_data_type(onnx::TensorProto::FLOAT);
    for (int64_t d : shape) tensor->add_dims(d);
    for (float v : values) tensor->add_float_data(v);
    return tensor->name();
  }

  std::string fresh(std::string wish) {
    while (!taken_.insert(wish).second) wish += "_";
    return wish;
  }

  onnx::GraphProto& graph_;
  std::string_view name_;
  std::set<std::string> outputs_;
  std::set<std::string> taken_;
  std::map<std::string, std::string> same_as_;
};

// The value of a Constant node, in any of the forms of opset 7 to 17 that hold numbers.
bool constant_value(const onnx::NodeProto& node, onnx::TensorProto& tensor) {
  if (node.attribute_size() != 1) return false;
  const onnx::AttributeProto& value = node.attribute(0);
  if (value.name() == "value" && value.has_t()) {
    tensor = value.t();
  } else if (value.name() == "value_float") {
    tensor.set_data_type(onnx::TensorProto::FLOAT);
    tensor.add_float_data(value.f());
  } else if (value.name() == "value_floats") {
    tensor.set_data_type(onnx::TensorProto::FLOAT);
    tensor.add_dims(value.floats_size());
    *tensor.mutable_float_data() = value.floats();
  } else if (value.name() == "value_int") {
    tensor.set_data_type(onnx::TensorProto::INT64);
    tensor.add_int64_data(value.i());
  } else if (value.name() == "value_ints") {
    tensor.set_data_type(onnx::TensorProto::INT64);
    tensor.add_dims(value.ints_size());
    *tensor.mutable_int64_data() = value.ints();
  } else {
    return false;
  }
  tensor.set_name(node.output(0));
  return true;
}

}  // namespace

void constants_to_initializers(onnx::GraphProto& graph) {
  google::protobuf::RepeatedPtrField<onnx::NodeProto> old;
  old.Swap(graph.mutable_node());
  for (onnx::NodeProto& node : old) {
    onnx::TensorProto tensor;
    if (node.op_type() == "Constant" && constant_value(node, tensor)) {
      *graph.add_initializer() = std::move(tensor);
    } else {
      *graph.add_node() = std::move(node);
    }
  }
}

Result<void> rewrite_old_operators(onnx::ModelProto& model, std::string_view name) {
  constants_to_initializers(*model.mutable_graph());
  return Rewriter(*model.mutable_graph(), name).run();
}

}  // namespace atelier::model
