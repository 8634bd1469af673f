// SPDX-License-Identifier: Apache-2.0
// Shapes of convolutions and pools in any number of spatial dimensions.
#include <algorithm>
#include <array>

#include "model/infer.h"

namespace atelier::model {
namespace {

constexpr int64_t kMostSide = 4096;  // of kernels, strides, dilations and pads

struct Window {
  Shape kernel, strides, dilations, pads;
  std::string automatic;
  bool ceil = false;
  int64_t reach(size_t i) const { return (kernel[i] - 1) * dilations[i] + 1; }
};

bool within(const Shape& values, size_t count, int64_t low) {
  return values.size() == count && std::all_of(values.begin(), values.end(), [=](int64_t v) {
           return v >= low && v <= kMostSide;
         });
}

Result<Window> window(const NodeView& n, Shape kernel) {
  const size_t rank = kernel.size();
  const auto list = [&](const char* key, size_t count, int64_t otherwise) {
    const Shape values = n.node.attr_ints(key, {});
    return values.empty() ? Shape(count, otherwise) : values;
  };
  Window w;
  w.kernel = std::move(kernel);
  w.strides = list("strides", rank, 1);
  w.dilations = list("dilations", rank, 1);
  w.automatic = n.node.attr_string("auto_pad", "NOTSET");
  w.pads = w.automatic == "NOTSET" ? list("pads", 2 * rank, 0) : Shape(2 * rank, 0);
  w.ceil = n.node.attr_int("ceil_mode", 0) != 0;
  if (!within(w.kernel, rank, 1)) return n.refuse("has a strange kernel_shape");
  if (!within(w.strides, rank, 1)) return n.refuse("has strange strides");
  if (!within(w.dilations, rank, 1)) return n.refuse("has strange dilations");
  if (!within(w.pads, 2 * rank, 0)) return n.refuse("has strange pads");
  if (w.automatic != "NOTSET" && w.automatic != "VALID" && w.automatic != "SAME_UPPER" &&
      w.automatic != "SAME_LOWER") {
    return n.refuse("has a strange auto_pad");
  }
  return w;
}

// One spatial dimension of a convolution or a pool.
Result<int64_t> slide(const NodeView& n, const Window& w, size_t i, int64_t size) {
  if (size < 0) return int64_t{-1};
  const int64_t stride = w.strides[i];
  if (w.automatic.starts_with("SAME")) {
    if (size == 0) return n.refuse_size();
    return (size + stride - 1) / stride;
  }
  const int64_t room = size + w.pads[i] + w.pads[i + w.kernel.size()] - w.reach(i);
  if (room < 0) return n.refuse_size();
  const int64_t whole = room / stride + 1;
  // A window that would begin behind the input is left out.
  const bool more = w.ceil && room % stride != 0 && whole * stride < size + w.pads[i];
  return whole + (more ? 1 : 0);
}

Result<Shape> slide_all(const NodeView& n, const Window& w, const Shape& input, int64_t channels) {
  Shape shape{input[0], channels};
  for (size_t i = 0; i < w.kernel.size(); ++i) {
    shape.push_back(TRY(slide(n, w, i, input[2 + i])));
  }
  return shape;
}

// Checks weights against input; the shape of the weights is [out, in / group, kernel...].
Result<Shape> convolution(const NodeView& n, size_t input, size_t weight) {
  const Shape& x = TRY(n.input(input))->shape;
  const Shape& w = TRY(n.input(weight))->shape;
  const int64_t group = n.node.attr_int("group", 1);
  if (x.size() < 3 || w.size() != x.size() || product(w) < 1) {
    return n.refuse(fmt::format("has an input of {} and weights of {} dimensions, which do not fit",
                                x.size(), w.size()));
  }
  if (group < 1 || group > (1 << 20) || w[0] % group != 0 || (x[1] != -1 && x[1] != w[1] * group)) {
    return n.refuse(fmt::format("has weights for {} channels but gets {}", w[1] * group, x[1]));
  }
  const Shape kernel(w.begin() + 2, w.end());
  if (n.node.attr_ints("kernel_shape", kernel) != kernel) {
    return n.refuse("has a kernel_shape that differs from its weights");
  }
  return slide_all(n, TRY(window(n, kernel)), x, w[0]);
}

Result<void> check_bias(const NodeView& n, size_t index, int64_t channels) {
  if (!n.has(index)) return {};
  const Shape& bias = n.types[index]->shape;
  if (bias.size() == 1 && (bias[0] == channels || bias[0] == -1)) return {};
  return n.refuse("has a bias that does not fit its weights");
}

Inferred conv(const NodeView& n) {
  TRY(n.require_float(0));
  TRY(n.require_float(1));
  if (n.has(2)) TRY(n.require_float(2));
  const Shape shape = TRY(convolution(n, 0, 1));
  TRY(check_bias(n, 2, shape[1]));
  return one(n.types[0]->type, shape);
}

Inferred conv_integer(const NodeView& n) {
  if (is_float(TRY(n.input(0))->type) || is_float(TRY(n.input(1))->type)) {
    return n.refuse("wants whole numbers");
  }
  return one(ElementType::i32, TRY(convolution(n, 0, 1)));
}

Inferred qlinear_conv(const NodeView& n) {
  const ElementType type = TRY(n.input(7))->type;
  if (is_float(TRY(n.input(0))->type) || is_float(TRY(n.input(3))->type) || is_float(type)) {
    return n.refuse("wants whole numbers");
  }
  const Shape shape = TRY(convolution(n, 0, 3));
  TRY(check_bias(n, 8, shape[1]));
  return one(type, shape);
}

Inferred conv_transpose(const NodeView& n) {
  TRY(n.require_float(0));
  TRY(n.require_float(1));
  if (n.has(2)) TRY(n.require_float(2));
  const Shape& x = n.types[0]->shape;
  const Shape& weight = n.types[1]->shape;
  const int64_t group = n.node.attr_int("group", 1);
  if (x.size() < 3 || weight.size() != x.size() || product(weight) < 1 || group < 1 ||
      group > (1 << 20) || weight[0] % group != 0 || (x[1] != -1 && x[1] != weight[0])) {
    return n.refuse("has weights that do not fit its input");
  }
  const Shape kernel(weight.begin() + 2, weight.end());
  if (n.node.attr_ints("kernel_shape", kernel) != kernel) {
    return n.refuse("has a kernel_shape that differs from its weights");
  }
  const Window w = TRY(window(n, kernel));
  const size_t rank = kernel.size();
  const Shape extra = n.node.attr_ints("output_padding", Shape(rank, 0));
  const Shape wanted = n.node.attr_ints("output_shape", {});
  if (!within(extra, rank, 0)) return n.refuse("has strange output padding");
  // Some write the whole shape, some the spatial dimensions alone.
  if (!wanted.empty() && wanted.size() != rank && wanted.size() != rank + 2) {
    return n.refuse("has a strange output_shape");
  }
  Shape shape{x[0], weight[1] * group};
  TRY(check_bias(n, 2, shape[1]));
  for (size_t i = 0; i < rank; ++i) {
    int64_t size = -1;
    if (!wanted.empty()) {
      size = wanted[wanted.size() - rank + i];
    } else if (x[2 + i] >= 0 && w.automatic.starts_with("SAME")) {
      size = x[2 + i] * w.strides[i];
    } else if (x[2 + i] >= 0) {
      size = (x[2 + i] - 1) * w.strides[i] + w.reach(i) + extra[i] - w.pads[i] - w.pads[i + rank];
    }
    if (size < 1 && (!wanted.empty() || x[2 + i] >= 0)) return n.refuse_size();
    shape.push_back(size);
  }
  return one(n.types[0]->type, std::move(shape));
}

Result<Shape> pooled(const NodeView& n) {
  const Shape& x = TRY(n.input(0))->shape;
  const Shape kernel = n.node.attr_ints("kernel_shape", {});
  if (x.size() < 3 || kernel.size() + 2 != x.size()) {
    return n.refuse(
        fmt::format("has an input of {} dimensions and a kernel of {}", x.size(), kernel.size()));
  }
  const Window w = TRY(window(n, kernel));
  for (size_t i = 0; i < kernel.size(); ++i) {  // a window must never lie in padding alone
    if (std::max(w.pads[i], w.pads[i + kernel.size()]) >= w.reach(i)) {
      return n.refuse("has pads that are wider than its kernel");
    }
  }
  return slide_all(n, w, x, x[1]);
}

Inferred pool(const NodeView& n) {
  TRY(n.require_float(0));
  return one(n.types[0]->type, TRY(pooled(n)));
}

Inferred max_pool(const NodeView& n) {
  const Shape shape = TRY(pooled(n));
  return std::vector<TensorType>{{n.types[0]->type, shape}, {ElementType::i64, shape}};
}

Inferred global_pool(const NodeView& n) {
  TRY(n.require_float(0));
  Shape shape = n.types[0]->shape;
  if (shape.size() < 3) return n.refuse("has an input without rows and columns");
  for (size_t i = 2; i < shape.size(); ++i) {
    if (shape[i] == 0) return n.refuse_size();
    shape[i] = 1;
  }
  return one(n.types[0]->type, std::move(shape));
}

constexpr std::array kWindow = {
    InferRule{"AveragePool", pool},
    InferRule{"Conv", conv},
    InferRule{"ConvInteger", conv_integer},
    InferRule{"ConvTranspose", conv_transpose},
    InferRule{"GlobalAveragePool", global_pool},
    InferRule{"GlobalLpPool", global_pool},
    InferRule{"GlobalMaxPool", global_pool},
    InferRule{"LpPool", pool},
    InferRule{"MaxPool", max_pool},
    InferRule{"QLinearConv", qlinear_conv},
};

}  // namespace

std::span<const InferRule> window_rules() { return kWindow; }

}  // namespace atelier::model
