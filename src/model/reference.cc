// SPDX-License-Identifier: Apache-2.0
// Written from onnx/docs/Operators.md, not from any other runner.
#include "model/reference.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

namespace atelier::model {
namespace {

using Ints = std::vector<int64_t>;

Tensor make(Ints shape) {
  Tensor tensor;
  tensor.shape = std::move(shape);
  tensor.floats.resize(static_cast<size_t>(tensor.count()));
  return tensor;
}

size_t at(const Tensor& t, int64_t n, int64_t c, int64_t y, int64_t x) {
  return static_cast<size_t>(((n * t.shape[1] + c) * t.shape[2] + y) * t.shape[3] + x);
}

// Calls f(n, c, y, x) for every element of a picture of this shape.
template <class F>
void for_each_pixel(const Ints& shape, F f) {
  for (int64_t n = 0; n < shape[0]; ++n) {
    for (int64_t c = 0; c < shape[1]; ++c) {
      for (int64_t y = 0; y < shape[2]; ++y) {
        for (int64_t x = 0; x < shape[3]; ++x) f(n, c, y, x);
      }
    }
  }
}

struct Arguments {
  const Node& node;
  std::vector<const Tensor*> inputs;  // null where absent

  const Tensor& input(size_t i) const { return *inputs[i]; }
  const Tensor* optional(size_t i) const { return i < inputs.size() ? inputs[i] : nullptr; }
  Error refuse(std::string_view why) const {
    return make_error(Code::invalid_argument, "node '{}' ({}) {}.", node.name, node.op, why);
  }
};

// Padding at the start, from auto_pad or pads; `out` is the size of the output.
int64_t conv_padding(const Node& node, size_t axis, int64_t in, int64_t reach, int64_t stride,
                     int64_t& out) {
  const std::string automatic = node.attr_string("auto_pad", "NOTSET");
  if (automatic == "NOTSET") {
    const Ints pads = node.attr_ints("pads", {});
    out = (in + pads[axis] + pads[axis + 2] - reach) / stride + 1;
    return pads[axis];
  }
  out = (in + stride - 1) / stride;
  const int64_t total = std::max<int64_t>((out - 1) * stride + reach - in, 0);
  return automatic == "SAME_UPPER" ? total / 2 : total - total / 2;
}

Result<Tensor> conv(const Arguments& a) {
  const Tensor& in = a.input(0);
  const Tensor& w = a.input(1);
  const Tensor* bias = a.optional(2);
  const int64_t group = a.node.attr_int("group", 1);
  const Ints stride = a.node.attr_ints("strides", {});
  const Ints dilation = a.node.attr_ints("dilations", {});
  if (in.shape.size() != 4 || in.shape[1] != w.shape[1] * group)
    return a.refuse("gets other channels");
  Ints shape{in.shape[0], w.shape[0], 0, 0};
  int64_t begin[2];
  for (size_t i = 0; i < 2; ++i) {
    const int64_t reach = (w.shape[2 + i] - 1) * dilation[i] + 1;
    begin[i] = conv_padding(a.node, i, in.shape[2 + i], reach, stride[i], shape[2 + i]);
    if (shape[2 + i] < 1) return a.refuse("gets a picture smaller than its kernel");
  }
  Tensor out = make(shape);
  const int64_t per_group = w.shape[0] / group;
  // One row of sums at a time, because 720x720 pixels are tested too.
  std::vector<double> row(static_cast<size_t>(shape[3]));
  for (int64_t r = 0; r < shape[0] * shape[1] * shape[2]; ++r) {
    const int64_t n = r / shape[2] / shape[1];
    const int64_t m = r / shape[2] % shape[1];
    const int64_t y = r % shape[2];
    std::fill(row.begin(), row.end(), bias != nullptr ? bias->floats[static_cast<size_t>(m)] : 0);
    for (int64_t tap = 0; tap < w.shape[1] * w.shape[2] * w.shape[3]; ++tap) {
      const int64_t c = tap / w.shape[3] / w.shape[2];
      const int64_t i = tap / w.shape[3] % w.shape[2];
      const int64_t j = tap % w.shape[3];
      const int64_t sy = y * stride[0] - begin[0] + i * dilation[0];
      if (sy < 0 || sy >= in.shape[2]) continue;
      const float* from = &in.floats[at(in, n, m / per_group * w.shape[1] + c, sy, 0)];
      const double weight = w.floats[at(w, m, c, i, j)];
      for (int64_t x = 0; x < shape[3]; ++x) {
        const int64_t sx = x * stride[1] - begin[1] + j * dilation[1];
        if (sx >= 0 && sx < in.shape[3]) row[static_cast<size_t>(x)] += weight * from[sx];
      }
    }
    std::transform(row.begin(), row.end(), out.floats.begin() + r * shape[3],
                   [](double sum) { return static_cast<float>(sum); });
  }
  return out;
}

Result<Tensor> conv_transpose(const Arguments& a) {
  const Tensor& in = a.input(0);
  const Tensor& w = a.input(1);
  const Tensor* bias = a.optional(2);
  const int64_t group = a.node.attr_int("group", 1);
  const Ints stride = a.node.attr_ints("strides", {});
  const Ints dilation = a.node.attr_ints("dilations", {});
  const Ints pads = a.node.attr_ints("pads", {});
  const Ints extra = a.node.attr_ints("output_padding", {});
  if (in.shape.size() != 4 || in.shape[1] != w.shape[0]) return a.refuse("gets other channels");
  Ints shape{in.shape[0], w.shape[1] * group, 0, 0};
  for (size_t i = 0; i < 2; ++i) {
    const int64_t reach = (w.shape[2 + i] - 1) * dilation[i] + 1;
    shape[2 + i] = stride[i] * (in.shape[2 + i] - 1) + extra[i] + reach - pads[i] - pads[2 + i];
    if (shape[2 + i] < 1) return a.refuse("gets too small a picture");
  }
  Tensor out = make(shape);
  std::vector<double> sums(out.floats.size());
  if (bias != nullptr) {
    for_each_pixel(shape, [&](int64_t n, int64_t m, int64_t y, int64_t x) {
      sums[at(out, n, m, y, x)] = bias->floats[static_cast<size_t>(m)];
    });
  }
  const int64_t per_group = w.shape[0] / group;
  for_each_pixel(in.shape, [&](int64_t n, int64_t c, int64_t y, int64_t x) {
    const double value = in.floats[at(in, n, c, y, x)];
    for (int64_t m = 0; m < w.shape[1]; ++m) {
      for (int64_t i = 0; i < w.shape[2]; ++i) {
        const int64_t dy = y * stride[0] + i * dilation[0] - pads[0];
        if (dy < 0 || dy >= shape[2]) continue;
        for (int64_t j = 0; j < w.shape[3]; ++j) {
          const int64_t dx = x * stride[1] + j * dilation[1] - pads[1];
          if (dx < 0 || dx >= shape[3]) continue;
          const int64_t channel = c / per_group * w.shape[1] + m;
          sums[at(out, n, channel, dy, dx)] += value * w.floats[at(w, c, m, i, j)];
        }
      }
    }
  });
  std::transform(sums.begin(), sums.end(), out.floats.begin(),
                 [](double s) { return static_cast<float>(s); });
  return out;
}

// Two passes, the second with the mean known: variance of the population, as the page says.
Result<Tensor> instance_norm(const Arguments& a) {
  const Tensor& in = a.input(0);
  if (in.shape.size() != 4 || in.shape[1] != a.input(1).shape[0])
    return a.refuse("gets other channels");
  const double epsilon = a.node.attr_float("epsilon", 1e-5F);
  Tensor out = make(in.shape);
  const size_t plane = static_cast<size_t>(in.shape[2] * in.shape[3]);
  for (size_t p = 0; p < static_cast<size_t>(in.shape[0] * in.shape[1]); ++p) {
    const size_t c = p % static_cast<size_t>(in.shape[1]);
    const float* from = in.floats.data() + p * plane;
    double mean = 0;
    double variance = 0;
    for (size_t i = 0; i < plane; ++i) mean += from[i];
    mean /= static_cast<double>(plane);
    for (size_t i = 0; i < plane; ++i) variance += (from[i] - mean) * (from[i] - mean);
    variance /= static_cast<double>(plane);
    const double scale = a.input(1).floats[c] / std::sqrt(variance + epsilon);
    for (size_t i = 0; i < plane; ++i) {
      out.floats[p * plane + i] =
          static_cast<float>((from[i] - mean) * scale + a.input(2).floats[c]);
    }
  }
  return out;
}

// Numpy broadcasting: shapes are aligned at their ends; a dimension of one repeats.
Result<Tensor> binary(const Arguments& a, const std::function<double(double, double)>& f) {
  const Tensor& left = a.input(0);
  const Tensor& right = a.input(1);
  const size_t rank = std::max(left.shape.size(), right.shape.size());
  const auto dimension = [&](const Tensor& t, size_t axis) {
    const size_t missing = rank - t.shape.size();
    return axis < missing ? 1 : t.shape[axis - missing];
  };
  Ints shape;
  for (size_t i = 0; i < rank; ++i) {
    const int64_t l = dimension(left, i);
    const int64_t r = dimension(right, i);
    if (l != r && l != 1 && r != 1) return a.refuse("gets shapes that do not fit together");
    shape.push_back(l == 1 ? r : l);
  }
  Tensor out = make(shape);
  for (int64_t index = 0; index < out.count(); ++index) {
    int64_t rest = index;
    int64_t from[2] = {0, 0};
    int64_t step[2] = {1, 1};
    for (size_t i = rank; i-- > 0;) {
      const int64_t position = rest % shape[i];
      rest /= shape[i];
      for (int side = 0; side < 2; ++side) {
        const int64_t d = dimension(side == 0 ? left : right, i);
        from[side] += (d == 1 ? 0 : position) * step[side];
        step[side] *= d;
      }
    }
    out.floats[static_cast<size_t>(index)] = static_cast<float>(
        f(left.floats[static_cast<size_t>(from[0])], right.floats[static_cast<size_t>(from[1])]));
  }
  return out;
}

Tensor unary(const Tensor& in, const std::function<float(float)>& f) {
  Tensor out = make(in.shape);
  std::transform(in.floats.begin(), in.floats.end(), out.floats.begin(), f);
  return out;
}

Tensor clip(const Arguments& a) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float low = a.optional(1) != nullptr ? a.input(1).floats[0] : -kInfinity;
  const float high = a.optional(2) != nullptr ? a.input(2).floats[0] : kInfinity;
  return unary(a.input(0), [=](float v) { return std::min(std::max(v, low), high); });
}

// Where position `i` of a padded row of `size` comes from; -1: from nowhere.
int64_t pad_source(const std::string& mode, int64_t i, int64_t size) {
  if (i >= 0 && i < size) return i;
  if (mode == "edge") return i < 0 ? 0 : size - 1;
  if (mode == "reflect") return i < 0 ? -i : 2 * (size - 1) - i;
  return -1;
}

Result<Tensor> pad(const Arguments& a) {
  const Tensor& in = a.input(0);
  const Ints& pads = a.input(1).ints;
  const std::string mode = a.node.attr_string("mode", "constant");
  if (in.shape.size() != 4) return a.refuse("gets no picture");
  for (size_t i : {size_t{2}, size_t{3}}) {
    if (mode == "reflect" && std::max(pads[i], pads[4 + i]) >= in.shape[i]) {
      return a.refuse("reflects more than the picture has");
    }
  }
  const float value = a.optional(2) != nullptr ? a.input(2).floats[0] : 0;
  Tensor out = make(
      {in.shape[0], in.shape[1], in.shape[2] + pads[2] + pads[6], in.shape[3] + pads[3] + pads[7]});
  for_each_pixel(out.shape, [&](int64_t n, int64_t c, int64_t y, int64_t x) {
    const int64_t sy = pad_source(mode, y - pads[2], in.shape[2]);
    const int64_t sx = pad_source(mode, x - pads[3], in.shape[3]);
    out.floats[at(out, n, c, y, x)] = sy < 0 || sx < 0 ? value : in.floats[at(in, n, c, sy, sx)];
  });
  return out;
}

Result<Tensor> slice(const Arguments& a) {
  const Tensor& in = a.input(0);
  const size_t rank = in.shape.size();
  Ints start(rank, 0);
  Ints step(rank, 1);
  Ints shape = in.shape;
  for (size_t i = 0; i < a.input(3).ints.size(); ++i) {
    const auto axis = static_cast<size_t>(a.input(3).ints[i]);
    if (axis >= rank) return a.refuse("cuts an axis that is not there");
    const int64_t size = in.shape[axis];
    const auto bound = [size](int64_t v) {
      return v < 0 ? std::max<int64_t>(v + size, 0) : std::min(v, size);
    };
    start[axis] = bound(a.input(1).ints[i]);
    step[axis] = a.input(4).ints[i];
    const int64_t length = bound(a.input(2).ints[i]) - start[axis];
    shape[axis] = length > 0 ? (length + step[axis] - 1) / step[axis] : 0;
  }
  Tensor out = make(shape);
  for (int64_t index = 0; index < out.count(); ++index) {
    int64_t rest = index;
    int64_t from = 0;
    int64_t stride = 1;
    for (size_t i = rank; i-- > 0;) {
      from += (start[i] + rest % shape[i] * step[i]) * stride;
      rest /= shape[i];
      stride *= in.shape[i];
    }
    out.floats[static_cast<size_t>(index)] = in.floats[static_cast<size_t>(from)];
  }
  return out;
}

Result<Tensor> resize(const Arguments& a) {
  const Tensor& in = a.input(0);
  if (in.shape.size() != 4) return a.refuse("gets no picture");
  const auto sy = static_cast<int64_t>(a.input(2).floats[2]);
  const auto sx = static_cast<int64_t>(a.input(2).floats[3]);
  Tensor out = make({in.shape[0], in.shape[1], in.shape[2] * sy, in.shape[3] * sx});
  for_each_pixel(out.shape, [&](int64_t n, int64_t c, int64_t y, int64_t x) {
    out.floats[at(out, n, c, y, x)] = in.floats[at(in, n, c, y / sy, x / sx)];
  });
  return out;
}

Result<Tensor> depth_to_space(const Arguments& a) {
  const Tensor& in = a.input(0);
  const int64_t block = a.node.attr_int("blocksize", 1);
  if (in.shape.size() != 4 || in.shape[1] % (block * block) != 0)
    return a.refuse("gets other channels");
  const bool column_first = a.node.attr_string("mode", "DCR") == "CRD";
  const int64_t channels = in.shape[1] / (block * block);
  Tensor out = make({in.shape[0], channels, in.shape[2] * block, in.shape[3] * block});
  for_each_pixel(out.shape, [&](int64_t n, int64_t c, int64_t y, int64_t x) {
    const int64_t offset = y % block * block + x % block;
    const int64_t source = column_first ? c * block * block + offset : offset * channels + c;
    out.floats[at(out, n, c, y, x)] = in.floats[at(in, n, source, y / block, x / block)];
  });
  return out;
}

Result<Tensor> run_node(const Arguments& a) {
  const std::string& op = a.node.op;
  if (op == "Add") return binary(a, std::plus<>());
  if (op == "Sub") return binary(a, std::minus<>());
  if (op == "Mul") return binary(a, std::multiplies<>());
  if (op == "Div") return binary(a, std::divides<>());
  if (op == "Relu") return unary(a.input(0), [](float v) { return std::max(v, 0.0F); });
  if (op == "Tanh") return unary(a.input(0), [](float v) { return std::tanh(v); });
  if (op == "Clip") return clip(a);
  if (op == "Conv") return conv(a);
  if (op == "ConvTranspose") return conv_transpose(a);
  if (op == "InstanceNormalization") return instance_norm(a);
  if (op == "Pad") return pad(a);
  if (op == "Slice") return slice(a);
  if (op == "Resize") return resize(a);
  if (op == "DepthToSpace") return depth_to_space(a);
  return a.refuse("is not a supported operator");
}

}  // namespace

Result<std::map<std::string, Tensor>> run_reference(const Graph& graph,
                                                    const std::map<std::string, Tensor>& inputs) {
  std::map<std::string, Tensor> values;
  for (const ValueInfo& input : graph.inputs) {
    const auto it = inputs.find(input.name);
    if (it == inputs.end()) {
      return make_error(Code::invalid_argument, "input '{}' is missing.", input.name);
    }
    bool fits = it->second.shape.size() == input.shape.size() && !it->second.is_int() &&
                it->second.count() == static_cast<int64_t>(it->second.floats.size());
    for (size_t i = 0; fits && i < input.shape.size(); ++i) {
      fits = input.shape[i] == -1 || input.shape[i] == it->second.shape[i];
    }
    if (!fits) {
      return make_error(Code::invalid_argument, "input '{}' has another shape.", input.name);
    }
    values[input.name] = it->second;
  }
  for (const Node& node : graph.nodes) {
    Arguments arguments{node, {}};
    for (const std::string& name : node.inputs) {
      const auto constant = graph.initializers.find(name);
      const auto value = values.find(name);
      arguments.inputs.push_back(constant != graph.initializers.end() ? &constant->second
                                 : value != values.end()              ? &value->second
                                                                      : nullptr);
      if (!name.empty() && arguments.inputs.back() == nullptr) {
        return arguments.refuse("reads a value that nothing made");
      }
    }
    values[node.outputs[0]] = TRY(run_node(arguments));
  }
  std::map<std::string, Tensor> outputs;
  for (const ValueInfo& output : graph.outputs) outputs[output.name] = values[output.name];
  return outputs;
}

}  // namespace atelier::model
