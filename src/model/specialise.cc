// SPDX-License-Identifier: Apache-2.0
// One walk in topological order: the type of what each node makes, and its value where that follows
// from constants. A constant is dropped after its last reader, and everything that grows is counted
// before it is made, so that neither a chain of Expands nor a Range of 10^18 takes time or memory.
#include "model/specialise.h"

#include <algorithm>
#include <cctype>
#include <set>

#include "model/infer.h"
#include "model/ops/evaluate.h"

namespace atelier::model {
namespace {

constexpr int64_t kMostElements = int64_t{1} << 31;  // of a value, and of a dimension
constexpr int64_t kMostRank = 32;
constexpr int64_t kFoldedElements = int64_t{1} << 26;
constexpr int64_t kFoldedWork = int64_t{1} << 30;

std::string to_text(const TensorType& type) {
  std::string text = to_string(type.type);
  for (int64_t d : type.shape) text += fmt::format(" x {}", d);
  return text;
}

int64_t count_of(const Tensor& tensor) {
  return static_cast<int64_t>(tensor.is_int() ? tensor.ints.size() : tensor.floats.size());
}

// Every combination of letters; an ellipsis counts as often as it is written.
int64_t einsum_work(const NodeView& view) {
  const std::string equation = view.node.attr_string("equation", "");
  std::map<char, int64_t> sizes;
  int64_t work = 1;
  size_t input = 0, at = 0;
  for (char c : equation.substr(0, equation.find("->"))) {
    if (c == ',') {
      ++input;
      at = 0;
    } else if (std::isalpha(static_cast<unsigned char>(c)) != 0 && view.has(input) &&
               at < view.types[input]->shape.size()) {
      int64_t& size = sizes[c];
      size = std::max(size, view.types[input]->shape[at++]);
    } else if (c == '.' && view.has(input)) {
      work = product(Shape{work, std::max<int64_t>(product(view.types[input]->shape), 1)});
    }
  }
  for (const auto& [letter, size] : sizes) work = product(Shape{work, std::max<int64_t>(size, 1)});
  return work;
}

// Multiplications, about, to make `made` elements.
int64_t work_of(const NodeView& view, int64_t made) {
  const auto& op = view.node.op;
  const auto count = [&](size_t i) {
    return view.has(i) ? std::max<int64_t>(product(view.types[i]->shape), 1) : 1;
  };
  const auto side = [&](size_t i, bool first) {
    if (!view.has(i) || view.types[i]->shape.empty()) return int64_t{1};
    const Shape& shape = view.types[i]->shape;
    return std::max<int64_t>(first ? shape.front() : shape.back(), 1);
  };
  int64_t each = 1;
  if (op == "Einsum") return einsum_work(view);
  if (op == "Conv" || op == "ConvInteger" || op == "ConvTranspose") each = count(1);
  if (op == "QLinearConv") each = count(3);
  if (op == "MatMul" || op == "MatMulInteger" || op == "QLinearMatMul") each = side(0, false);
  if (op == "Gemm") each = std::max(side(0, false), side(0, true));
  if (op == "LRN") each = std::max<int64_t>(view.node.attr_int("size", 1), 1);
  if (op == "NonMaxSuppression") return product(Shape{count(1), count(1)});
  if (op.ends_with("Pool")) {
    for (int64_t k : view.node.attr_ints("kernel_shape", {})) {
      each = product(Shape{each, std::max<int64_t>(k, 1)});
    }
  }
  return product(Shape{made, each});
}

class Specialiser {
 public:
  explicit Specialiser(Graph graph) { result_.graph = std::move(graph); }

  Result<ConcreteGraph> run(const std::map<std::string, TensorType>& inputs) {
    for (const ValueInfo& input : graph().inputs) TRY(take_input(input, inputs));
    drop_unread();
    int64_t own = 0;
    for (const auto& [name, tensor] : graph().initializers) {
      result_.types[name] = {tensor.type, tensor.shape};
      own += count_of(tensor);
    }
    elements_left_ = kFoldedElements + 4 * own;
    work_left_ = kFoldedWork + 16 * own;
    count_uses();
    std::vector<Node> nodes;
    nodes.swap(graph().nodes);
    for (Node& node : nodes) TRY(take_node(node));
    for (const ValueInfo& output : graph().outputs) {
      if (!result_.types.contains(output.name)) {
        return make_error(Code::invalid_argument, "No node computes output '{}'.",
                          printable(output.name));
      }
    }
    drop_unread();
    forget_types();
    return std::move(result_);
  }

 private:
  Graph& graph() { return result_.graph; }

  Result<void> take_input(const ValueInfo& input, const std::map<std::string, TensorType>& given) {
    const auto it = given.find(input.name);
    if (it == given.end()) {
      return make_error(Code::invalid_argument, "The model's input '{}' is missing.",
                        printable(input.name));
    }
    const TensorType& type = it->second;
    bool fits = type.shape.size() == input.shape.size() && type.type == input.type;
    for (size_t i = 0; fits && i < type.shape.size(); ++i) {
      fits = type.shape[i] >= 1 && (input.shape[i] == -1 || input.shape[i] == type.shape[i]);
    }
    if (!fits) {
      return make_error(Code::invalid_argument, "The model's input '{}' is {}, not {}.",
                        printable(input.name), to_text({input.type, input.shape}), to_text(type));
    }
    TRY(check_size(fmt::format("Input '{}'", printable(input.name)), type));
    result_.types[input.name] = type;
    return {};
  }

  static Result<void> check_size(const std::string& what, const TensorType& type) {
    int64_t count = 1;
    bool good = type.shape.size() <= kMostRank;
    for (int64_t d : type.shape) {
      good = good && d >= -1 && d <= kMostElements;
      if (good && d != -1) count = product(Shape{count, std::max<int64_t>(d, 1)});
    }
    if (good && count <= kMostElements) return {};
    return make_error(Code::invalid_argument,
                      "{} would make {}, more than the 8 GiB that a value may take; use a smaller "
                      "frame.",
                      what, to_text(type));
  }

  Result<NodeView> view(const Node& node) {
    NodeView view{node, {}, {}};
    for (const std::string& input : node.inputs) {
      const auto type = result_.types.find(input);
      const auto value = graph().initializers.find(input);
      if (!input.empty() && type == result_.types.end()) {
        return view.refuse(
            fmt::format("reads '{}', which nothing before it makes", printable(input)));
      }
      view.types.push_back(input.empty() ? nullptr : &type->second);
      view.values.push_back(value == graph().initializers.end() ? nullptr : &value->second);
    }
    return view;
  }

  Result<void> take_node(Node& node) {
    const NodeView v = TRY(view(node));
    const InferFunction infer = find_inference(node.op);
    if (infer == nullptr) return v.refuse("is an operator that Atelier does not support");
    const std::vector<TensorType> types = TRY(infer(v));
    if (types.size() < node.outputs.size()) {
      return v.refuse(
          fmt::format("has {} outputs instead of {}", node.outputs.size(), types.size()));
    }
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      TRY(check_size(describe(node), types[i]));
      if (!node.outputs[i].empty()) result_.types[node.outputs[i]] = types[i];
    }
    return fold(node, v, types);
  }

  Result<void> fold(Node& node, const NodeView& v, const std::vector<TensorType>& types) {
    std::vector<Tensor> values;
    if (auto shape = value_of_shape(v)) {
      values.push_back(std::move(*shape));
    } else if (is_constant(v)) {
      EvaluateOptions options;
      options.max_elements = elements_left_;
      TRY(pay(node, v, types));
      values = TRY(evaluate(node, v.values, options));
    } else {
      graph().nodes.push_back(std::move(node));
      return {};
    }
    for (size_t i = 0; i < node.outputs.size() && i < values.size(); ++i) {
      const std::string& output = node.outputs[i];
      if (output.empty() || uses_[output] == 0) continue;
      // Where a dimension was computed from the data, it is known now.
      if (product(types[i].shape) < 0) elements_left_ -= count_of(values[i]);
      result_.types[output] = {values[i].type, values[i].shape};
      graph().initializers[output] = std::move(values[i]);
    }
    for (const std::string& input : node.inputs) {
      if (--uses_[input] == 0) graph().initializers.erase(input);
    }
    return {};
  }

  static bool is_constant(const NodeView& v) {
    for (size_t i = 0; i < v.types.size(); ++i) {
      if (v.has(i) && v.values[i] == nullptr) return false;
    }
    return true;
  }

  // Refuses before anything is computed.
  Result<void> pay(const Node& node, const NodeView& v, const std::vector<TensorType>& types) {
    int64_t made = 0, read = 0;
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      made += std::max<int64_t>(product(types[i].shape), 0);
    }
    for (const Tensor* value : v.values) read += value == nullptr ? 0 : count_of(*value);
    elements_left_ -= made;
    work_left_ -= std::min(work_of(v, made), int64_t{1} << 50) + read + 1;
    if (elements_left_ >= 0 && work_left_ >= 0) return {};
    return v.refuse("computes too much from constants; simplify the model when it is exported");
  }

  static std::optional<Tensor> value_of_shape(const NodeView& v) {
    if ((v.node.op != "Shape" && v.node.op != "Size") || !v.has(0)) return {};
    const Shape& shape = v.types[0]->shape;
    if (product(shape) < 0) return {};
    Tensor tensor;
    tensor.type = ElementType::i64;
    if (v.node.op == "Size") {
      tensor.ints = {product(shape)};
      return tensor;
    }
    const auto rank = static_cast<int64_t>(shape.size());
    const auto bound = [&](const char* key, int64_t otherwise) {
      const int64_t b = v.node.attr_int(key, otherwise);
      return std::clamp<int64_t>(b < 0 ? b + rank : b, 0, rank);
    };
    const int64_t start = bound("start", 0), end = std::max(bound("end", rank), start);
    tensor.ints.assign(shape.begin() + start, shape.begin() + end);
    tensor.shape = {end - start};
    return tensor;
  }

  void count_uses() {
    for (const Node& node : graph().nodes) {
      for (const std::string& input : node.inputs) ++uses_[input];
    }
    for (const ValueInfo& output : graph().outputs) ++uses_[output.name];
  }

  // Nodes and constants that no output needs.
  void drop_unread() {
    std::set<std::string> needed;
    for (const auto& output : graph().outputs) needed.insert(output.name);
    std::vector<Node> kept;
    auto& nodes = graph().nodes;
    for (auto node = nodes.rbegin(); node != nodes.rend(); ++node) {
      const auto read = [&](const std::string& output) { return needed.contains(output); };
      if (std::none_of(node->outputs.begin(), node->outputs.end(), read)) continue;
      needed.insert(node->inputs.begin(), node->inputs.end());
      kept.push_back(std::move(*node));
    }
    std::reverse(kept.begin(), kept.end());
    nodes = std::move(kept);
    std::erase_if(graph().initializers,
                  [&](const auto& item) { return !needed.contains(item.first); });
  }

  void forget_types() {
    std::set<std::string> there;
    for (const auto& input : graph().inputs) there.insert(input.name);
    for (const auto& [name, tensor] : graph().initializers) there.insert(name);
    for (const Node& node : graph().nodes) there.insert(node.outputs.begin(), node.outputs.end());
    std::erase_if(result_.types, [&](const auto& item) { return !there.contains(item.first); });
    for (ValueInfo& output : graph().outputs) {
      output.shape = result_.types[output.name].shape;
      output.type = result_.types[output.name].type;
    }
  }

  ConcreteGraph result_;
  std::map<std::string, int64_t> uses_;
  int64_t elements_left_ = 0;
  int64_t work_left_ = 0;
};

}  // namespace

bool can_infer(std::string_view op) { return find_inference(op) != nullptr; }

Result<ConcreteGraph> specialise(Graph graph, const std::map<std::string, TensorType>& inputs) {
  return Specialiser(std::move(graph)).run(inputs);
}

}  // namespace atelier::model
