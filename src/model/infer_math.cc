// SPDX-License-Identifier: Apache-2.0
// Shapes of products, reductions, normalisation and quantization.
#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <set>

#include "model/infer.h"

namespace atelier::model {
namespace {

// numpy's matmul: vectors gain a dimension, which is dropped again.
Result<Shape> multiplied(const NodeView& n, size_t left, size_t right) {
  Shape a = TRY(n.input(left))->shape, b = TRY(n.input(right))->shape;
  if (a.empty() || b.empty()) return n.refuse("multiplies a single number as a matrix");
  const bool row = a.size() == 1, column = b.size() == 1;
  if (row) a.insert(a.begin(), 1);
  if (column) b.push_back(1);
  const int64_t inner = a.back(), other = b[b.size() - 2];
  if (inner != other && inner != -1 && other != -1) {
    return n.refuse(fmt::format("multiplies rows of {} by columns of {}", inner, other));
  }
  Shape shape = TRY(broadcast(n, Shape(a.begin(), a.end() - 2), Shape(b.begin(), b.end() - 2)));
  if (!row) shape.push_back(a[a.size() - 2]);
  if (!column) shape.push_back(b.back());
  return shape;
}

Inferred matmul(const NodeView& n) {
  TRY(n.same_type(0, 1));
  return one(n.types[0]->type, TRY(multiplied(n, 0, 1)));
}

Inferred matmul_integer(const NodeView& n) {
  if (is_float(TRY(n.input(0))->type) || is_float(TRY(n.input(1))->type)) {
    return n.refuse("wants whole numbers");
  }
  return one(ElementType::i32, TRY(multiplied(n, 0, 1)));
}

Inferred qlinear_matmul(const NodeView& n) {
  const ElementType type = TRY(n.input(7))->type;
  if (is_float(TRY(n.input(0))->type) || is_float(TRY(n.input(3))->type) || is_float(type)) {
    return n.refuse("wants whole numbers");
  }
  return one(type, TRY(multiplied(n, 0, 3)));
}

Inferred gemm(const NodeView& n) {
  TRY(n.same_type(0, 1));
  const Shape &a = n.types[0]->shape, &b = n.types[1]->shape;
  if (a.size() != 2 || b.size() != 2) return n.refuse("wants matrices");
  const size_t ta = n.node.attr_int("transA", 0) != 0 ? 1 : 0;
  const size_t tb = n.node.attr_int("transB", 0) != 0 ? 1 : 0;
  const int64_t inner = a[1 - ta], other = b[tb];
  if (inner != other && inner != -1 && other != -1) {
    return n.refuse(fmt::format("multiplies rows of {} by columns of {}", inner, other));
  }
  Shape shape{a[ta], b[1 - tb]};
  if (n.has(2)) {
    TRY(n.same_type(0, 2));
    const Shape sum = TRY(broadcast(n, shape, n.types[2]->shape));
    if (sum.size() != 2 || (shape[0] >= 0 && shape[1] >= 0 && sum != shape)) {
      return n.refuse("adds something that does not fit its product");
    }
  }
  return one(n.types[0]->type, std::move(shape));
}

// One term of an equation: its labels, '.' standing for the ellipsis.
Result<std::string> einsum_term(const NodeView& n, std::string_view text) {
  std::string labels;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i, 3) == "...") {
      labels += '.';
      i += 2;
    } else if (std::isalpha(static_cast<unsigned char>(text[i])) != 0) {
      labels += text[i];
    } else {
      return n.refuse("has a strange equation");
    }
  }
  if (std::count(labels.begin(), labels.end(), '.') > 1) return n.refuse("has a strange equation");
  return labels;
}

struct Einsum {
  std::map<char, int64_t> sizes;
  std::map<char, int> uses;
  Shape ellipsis;
};

Result<void> einsum_input(const NodeView& n, size_t index, const std::string& labels, Einsum& e) {
  const Shape& shape = TRY(n.input(index))->shape;
  const bool dots = labels.find('.') != std::string::npos;
  const size_t named = labels.size() - (dots ? 1 : 0);
  if (named > shape.size() || (!dots && named != shape.size())) {
    return n.refuse("has an equation that does not fit its inputs");
  }
  size_t at = 0;
  for (char label : labels) {
    if (label == '.') {
      const size_t count = shape.size() - named;
      const auto from = shape.begin() + static_cast<std::ptrdiff_t>(at);
      e.ellipsis =
          TRY(broadcast(n, e.ellipsis, Shape(from, from + static_cast<std::ptrdiff_t>(count))));
      at += count;
      continue;
    }
    const int64_t size = shape[at++];
    e.uses[label]++;
    int64_t& known = e.sizes.emplace(label, size).first->second;
    if (known == -1 || known == 1) {
      known = size;
    } else if (size != -1 && size != 1 && size != known) {
      return n.refuse(fmt::format("has {} and {} for one letter", known, size));
    }
  }
  return {};
}

Inferred einsum(const NodeView& n) {
  std::string equation = n.node.attr_string("equation", "");
  std::erase(equation, ' ');
  if (equation.size() > 256) return n.refuse("has a strange equation");
  const size_t arrow = equation.find("->");
  const std::string left = equation.substr(0, arrow);
  Einsum e;
  size_t begin = 0, index = 0;
  for (; begin <= left.size(); ++index) {
    const size_t end = std::min(left.find(',', begin), left.size());
    const auto labels = TRY(einsum_term(n, std::string_view(left).substr(begin, end - begin)));
    TRY(einsum_input(n, index, labels, e));
    begin = end + 1;
  }
  if (index != n.types.size()) return n.refuse("has an equation that does not fit its inputs");
  std::string right;
  if (arrow != std::string::npos) {
    right = TRY(einsum_term(n, std::string_view(equation).substr(arrow + 2)));
  } else {
    right = left.find('.') != std::string::npos ? "." : "";
    for (const auto& [label, count] : e.uses) {
      if (count == 1) right += label;
    }
  }
  Shape shape;
  std::set<char> seen;
  for (char label : right) {
    if (!seen.insert(label).second) return n.refuse("has a strange equation");
    if (label == '.') {
      shape.insert(shape.end(), e.ellipsis.begin(), e.ellipsis.end());
    } else if (e.sizes.contains(label)) {
      shape.push_back(e.sizes[label]);
    } else {
      return n.refuse("has a strange equation");
    }
  }
  return one(n.types[0]->type, std::move(shape));
}

Inferred reduce_over(const NodeView& n, ElementType type, const Shape& axes, bool all) {
  const Shape& input = n.types[0]->shape;
  const bool keep = n.node.attr_int("keepdims", 1) != 0;
  std::set<size_t> gone;
  for (int64_t axis : axes) gone.insert(TRY(n.axis(axis, input.size())));
  Shape shape;
  for (size_t i = 0; i < input.size(); ++i) {
    if (!all && !gone.contains(i)) {
      shape.push_back(input[i]);
    } else if (keep) {
      shape.push_back(1);
    }
  }
  return one(type, std::move(shape));
}

Inferred reduce(const NodeView& n) {
  const TensorType* data = TRY(n.input(0));
  const Shape axes = n.node.attr_ints("axes", {});
  return reduce_over(n, data->type, axes, axes.empty());
}

Inferred reduce_sum(const NodeView& n) {
  const TensorType* data = TRY(n.input(0));
  const Shape axes = n.has(1) ? TRY(n.constant_ints(1)) : Shape();
  if (axes.empty() && n.node.attr_int("noop_with_empty_axes", 0) != 0) {
    return one(data->type, data->shape);
  }
  return reduce_over(n, data->type, axes, axes.empty());
}

Inferred arg(const NodeView& n) {
  const Shape& shape = TRY(n.input(0))->shape;
  const int64_t axis = n.node.attr_int("axis", 0);
  if (shape[TRY(n.axis(axis, shape.size()))] == 0) return n.refuse_size();
  return reduce_over(n, ElementType::i64, {axis}, false);
}

Inferred along_axis(const NodeView& n) {
  TRY(n.require_float(0));
  const TensorType* data = n.types[0];
  TRY(n.axis(n.node.attr_int("axis", -1), data->shape.size()));
  return one(data->type, data->shape);
}

Inferred same_float(const NodeView& n) {
  TRY(n.require_float(0));
  return one(n.types[0]->type, n.types[0]->shape);
}

// Inputs from `first` to `last` are one number for each channel.
Inferred per_channel(const NodeView& n, size_t first, size_t last) {
  TRY(n.require_float(0));
  const Shape& shape = n.types[0]->shape;
  if (shape.size() < 2) return n.refuse("has an input without channels");
  for (size_t i = first; i <= last; ++i) {
    TRY(n.require_float(i));
    const Shape& s = n.types[i]->shape;
    if (s.size() != 1 || (s[0] != shape[1] && s[0] != -1 && shape[1] != -1)) {
      return n.refuse("has a scale or bias that does not fit its input");
    }
  }
  return one(n.types[0]->type, shape);
}

Inferred batch_norm(const NodeView& n) { return per_channel(n, 1, 4); }

Inferred instance_norm(const NodeView& n) {
  if (TRY(n.input(0))->shape.size() < 3) return n.refuse("has an input without rows and columns");
  const float epsilon = n.node.attr_float("epsilon", 1e-5F);
  if (!(epsilon >= 0 && epsilon <= 1)) return n.refuse("has a strange epsilon");
  return per_channel(n, 1, 2);
}

Inferred layer_norm(const NodeView& n) {
  TRY(n.require_float(0));
  const TensorType data = *n.types[0];
  const size_t axis = TRY(n.axis(n.node.attr_int("axis", -1), data.shape.size()));
  for (size_t i : {size_t{1}, size_t{2}}) {
    if (i == 2 && !n.has(2)) break;
    TRY(n.require_float(i));
    const Shape both = TRY(broadcast(n, data.shape, n.types[i]->shape));
    if (both.size() != data.shape.size()) return n.refuse("has a scale or bias of too many sides");
  }
  Shape mean = data.shape;
  std::fill(mean.begin() + static_cast<std::ptrdiff_t>(axis), mean.end(), 1);
  return std::vector<TensorType>{data, {ElementType::f32, mean}, {ElementType::f32, mean}};
}

Inferred quantize(const NodeView& n) {
  const Shape shape = TRY(n.input(0))->shape;
  if (TRY(n.input(1)); !n.has(2)) return one(ElementType::u8, shape);
  if (is_float(n.types[2]->type)) return n.refuse("has a zero point that is no whole number");
  return one(n.types[2]->type, shape);
}

Inferred dequantize(const NodeView& n) {
  const TensorType* data = TRY(n.input(0));
  TRY(n.require_float(1));
  if (is_float(data->type)) return n.refuse("wants whole numbers");
  if (n.has(2)) TRY(n.same_type(0, 2));
  return one(n.types[1]->type, data->shape);
}

Inferred dynamic_quantize(const NodeView& n) {
  TRY(n.require_float(0));
  return std::vector<TensorType>{
      {ElementType::u8, n.types[0]->shape}, {ElementType::f32, {}}, {ElementType::u8, {}}};
}

constexpr std::array kMath = {
    InferRule{"ArgMax", arg},
    InferRule{"ArgMin", arg},
    InferRule{"BatchNormalization", batch_norm},
    InferRule{"DequantizeLinear", dequantize},
    InferRule{"DynamicQuantizeLinear", dynamic_quantize},
    InferRule{"Einsum", einsum},
    InferRule{"Gemm", gemm},
    InferRule{"GroupNormalization", same_float},
    InferRule{"Hardmax", along_axis},
    InferRule{"InstanceNormalization", instance_norm},
    InferRule{"LRN", same_float},
    InferRule{"LayerNormalization", layer_norm},
    InferRule{"LogSoftmax", along_axis},
    InferRule{"LpNormalization", along_axis},
    InferRule{"MatMul", matmul},
    InferRule{"MatMulInteger", matmul_integer},
    InferRule{"MeanVarianceNormalization", same_float},
    InferRule{"QLinearMatMul", qlinear_matmul},
    InferRule{"QuantizeLinear", quantize},
    InferRule{"ReduceL1", reduce},
    InferRule{"ReduceL2", reduce},
    InferRule{"ReduceLogSum", reduce},
    InferRule{"ReduceLogSumExp", reduce},
    InferRule{"ReduceMax", reduce},
    InferRule{"ReduceMean", reduce},
    InferRule{"ReduceMin", reduce},
    InferRule{"ReduceProd", reduce},
    InferRule{"ReduceSum", reduce_sum},
    InferRule{"ReduceSumSquare", reduce},
    InferRule{"Softmax", along_axis},
};

}  // namespace

std::span<const InferRule> math_rules() { return kMath; }

}  // namespace atelier::model
