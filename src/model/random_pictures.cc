// SPDX-License-Identifier: Apache-2.0
// Random graphs that make pictures of pictures.
#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "model/random_graph_builder.h"

namespace atelier::model {
namespace {

using namespace random_graphs;

class Pictures {
 public:
  explicit Pictures(uint32_t seed) : b_(seed) {
    const int64_t batch = b_.draw(6) == 0 ? 2 : 1;
    const Ints shape{batch, 1 + b_.draw(24), 1 + b_.draw(22), 1 + b_.draw(22)};
    last_ = b_.input(shape, {-1, shape[1], -1, -1});
    all_.push_back(last_);
  }

  RandomGraph run() {
    const int64_t steps = 3 + b_.draw(8);
    for (int64_t i = 0; i < steps; ++i) step();
    if (b_.draw(4) == 0) b_.output(b_.pick(all_from_nodes()));
    if (all_.size() == 1) unary();
    b_.output(last_);
    return b_.take();
  }

 private:
  std::vector<Made> all_from_nodes() const {
    return all_.size() > 1 ? std::vector<Made>(all_.begin() + 1, all_.end()) : all_;
  }
  int64_t C() const { return last_.shape[1]; }
  int64_t H() const { return last_.shape[2]; }
  int64_t W() const { return last_.shape[3]; }

  void then(std::string name, Ints shape) {
    last_ = {std::move(name), std::move(shape)};
    all_.push_back(last_);
  }
  void same(std::string name) { then(std::move(name), Ints(last_.shape)); }

  void step() {
    if (b_.draw(7) == 0) last_ = b_.pick(all_);  // another branch
    switch (b_.draw(18)) {
      case 0:
      case 1:
      case 2: return convolution();
      case 3: return transposed();
      case 4:
      case 5: return unary();
      case 6: return norm();
      case 7: return pad();
      case 8: return slice();
      case 9: return resize();
      case 10: return pool();
      case 11: return concat();
      case 12:
      case 13: return binary();
      case 14: return shuffle();
      case 15: return layout();
      case 16: return split();
      default: return reduce();
    }
  }

  int64_t some_group(int64_t in) {
    const std::vector<int64_t> groups{1, 1, 1, 2, 3, 4, in};
    const int64_t group = b_.pick(groups);
    return in % group == 0 ? group : 1;
  }

  void convolution() {
    const int64_t group = some_group(C()), out = group * (1 + b_.draw(group > 4 ? 2 : 20));
    const Ints kernel{1 + b_.draw(4), 1 + b_.draw(4)};
    Ints k = b_.draw(3) == 0 ? Ints{3, 3} : kernel;
    const Ints strides = b_.draw(3) != 0 ? Ints{1, 1} : Ints{1 + b_.draw(3), 1 + b_.draw(3)};
    const Ints dilations = b_.draw(4) != 0 ? Ints{1, 1} : Ints{1 + b_.draw(2), 1 + b_.draw(3)};
    Attributes attributes{{"kernel_shape", k}, {"group", group}};
    if (b_.coin() || strides != Ints{1, 1}) attributes["strides"] = strides;
    if (b_.coin() || dilations != Ints{1, 1}) attributes["dilations"] = dilations;
    Ints shape = last_.shape;
    shape[1] = out;
    const bool automatic = b_.draw(5) == 0;
    Ints pads(4);
    for (size_t i = 0; i < 2; ++i) {
      const int64_t reach = (k[i] - 1) * dilations[i] + 1;
      pads[i] = b_.draw(3);
      pads[i + 2] = b_.draw(3);
      if (shape[2 + i] + pads[i] + pads[i + 2] < reach) pads[i] = reach;
      shape[2 + i] = automatic ? (shape[2 + i] + strides[i] - 1) / strides[i]
                               : (shape[2 + i] + pads[i] + pads[i + 2] - reach) / strides[i] + 1;
    }
    if (automatic) {
      attributes["auto_pad"] = std::string(b_.coin() ? "SAME_UPPER" : "SAME_LOWER");
    } else if (b_.coin() || pads != Ints{0, 0, 0, 0}) {
      attributes["pads"] = pads;
    }
    const int64_t taps = C() / group * k[0] * k[1];
    const float reach = 1.5F / std::sqrt(static_cast<float>(taps));
    std::vector<std::string> inputs{last_.name,
                                    b_.floats({out, C() / group, k[0], k[1]}, -reach, reach)};
    if (b_.coin()) inputs.push_back(b_.floats({out}, -1, 1));
    then(b_.node("Conv", inputs, attributes), shape);
  }

  void transposed() {
    if (H() * W() > 500) return unary();
    const int64_t group = some_group(C()), each = 1 + b_.draw(group > 4 ? 2 : 12);
    const Ints k{1 + b_.draw(4), 1 + b_.draw(4)}, strides{1 + b_.draw(3), 1 + b_.draw(3)};
    const Ints dilations{1 + b_.draw(2), 1};
    Ints pads(4), extra(2), shape = last_.shape;
    shape[1] = each * group;
    for (size_t i = 0; i < 2; ++i) {
      const int64_t reach = (k[i] - 1) * dilations[i] + 1;
      extra[i] = b_.draw(strides[i]);
      const int64_t whole = strides[i] * (shape[2 + i] - 1) + extra[i] + reach;
      pads[i] = std::min(b_.draw(2), whole - 1);
      pads[i + 2] = std::min(b_.draw(3), whole - 1 - pads[i]);
      shape[2 + i] = whole - pads[i] - pads[i + 2];
    }
    const int64_t taps = C() / group * k[0] * k[1];
    const float reach = 1.5F / std::sqrt(static_cast<float>(taps));
    std::vector<std::string> inputs{last_.name, b_.floats({C(), each, k[0], k[1]}, -reach, reach)};
    if (b_.coin()) inputs.push_back(b_.floats({each * group}, -1, 1));
    then(b_.node("ConvTranspose", inputs,
                 {{"group", group},
                  {"strides", strides},
                  {"dilations", dilations},
                  {"pads", pads},
                  {"output_padding", extra}}),
         shape);
  }

  void unary() {
    switch (b_.draw(14)) {
      case 0:
      case 1:
      case 2: return same(b_.node("Relu", {last_.name}));
      case 3: return same(b_.node("Tanh", {last_.name}));
      case 4: return same(b_.node("LeakyRelu", {last_.name}, {{"alpha", b_.real(0, 0.5F)}}));
      case 5: return same(b_.node("Sigmoid", {last_.name}));
      case 6: return clip();
      case 7: {
        const Ints slope = b_.coin() ? Ints{C(), 1, 1} : Ints{1};
        return same(b_.node("PRelu", {last_.name, b_.floats(slope, -0.5F, 0.5F)}));
      }
      case 8: return same(b_.node("Elu", {last_.name}, {{"alpha", b_.real(0.5F, 2)}}));
      case 9: return same(b_.node("HardSwish", {last_.name}));
      case 10: return same(b_.node("Softplus", {last_.name}));
      case 11: return same(b_.node("Abs", {last_.name}));
      case 12: return same(b_.node("Neg", {last_.name}));
      default: return same(b_.node("HardSigmoid", {last_.name}));
    }
  }
  void clip() {
    const std::string low = b_.coin() ? b_.scalar(b_.real(-1, 0)) : "";
    const std::string high = b_.coin() ? b_.scalar(b_.real(0, 1)) : "";
    same(b_.node("Clip", {last_.name, low, high}));
  }

  void norm() {
    if (b_.coin()) {
      return same(b_.node("InstanceNormalization",
                          {last_.name, b_.floats({C()}, 0.5F, 2), b_.floats({C()}, -1, 1)},
                          {{"epsilon", 1e-3F}}));
    }
    same(b_.node("BatchNormalization",
                 {last_.name, b_.floats({C()}, 0.5F, 2), b_.floats({C()}, -1, 1),
                  b_.floats({C()}, -1, 1), b_.floats({C()}, 0.5F, 2)},
                 {{"epsilon", 1e-3F}}));
  }

  void pad() {
    const std::vector<std::string> modes{"constant", "reflect", "edge"};
    const std::string mode = b_.pick(modes);
    Ints pads(8);
    Ints shape = last_.shape;
    for (size_t i = 0; i < 2; ++i) {
      const int64_t most = mode == "reflect" ? std::min<int64_t>(3, shape[2 + i]) : 3;
      pads[2 + i] = b_.draw(most);
      pads[6 + i] = b_.draw(most);
      shape[2 + i] += pads[2 + i] + pads[6 + i];
    }
    if (mode == "constant" && b_.draw(3) == 0) {
      pads[5] = b_.draw(3);
      shape[1] += pads[5];
    }
    std::vector<std::string> inputs{last_.name, b_.ints(pads)};
    if (mode == "constant" && b_.coin()) inputs.push_back(b_.scalar(b_.real(-1, 1)));
    then(b_.node("Pad", inputs, {{"mode", mode}}), shape);
  }

  void slice() {
    Ints axes, starts, ends, steps, shape = last_.shape;
    for (int64_t axis = 1; axis < 4; ++axis) {
      int64_t& size = shape[static_cast<size_t>(axis)];
      if (b_.coin() || size < 2) continue;
      const int64_t start = b_.draw(size), step = 1 + (b_.draw(3) == 0 ? b_.draw(3) : 0);
      const bool negative = b_.draw(6) == 0;
      axes.push_back(b_.coin() ? axis : axis - 4);
      if (negative) {
        starts.push_back(start);
        ends.push_back(-1000000);
        steps.push_back(-step);
        size = start / step + 1;
      } else {
        const int64_t end = start + 1 + b_.draw(size - start);
        starts.push_back(b_.coin() ? start : start - size);
        ends.push_back(end == size && b_.coin() ? INT64_MAX : end);
        steps.push_back(step);
        size = (end - start + step - 1) / step;
      }
    }
    if (axes.empty()) return unary();
    then(b_.node("Slice",
                 {last_.name, b_.ints(starts), b_.ints(ends), b_.ints(axes), b_.ints(steps)}),
         shape);
  }

  void resize() {
    if (C() * H() * W() > 4000) return unary();
    const int64_t fh = 1 + b_.draw(3), fw = b_.coin() ? fh : 1 + b_.draw(3);
    Ints shape{last_.shape[0], C(), H() * fh, W() * fw};
    const std::string x = last_.name;
    Tensor scales;
    scales.shape = {4};
    scales.floats = {1, 1, static_cast<float>(fh), static_cast<float>(fw)};
    const auto mode = [](const char* m, const char* where) {
      return Attributes{{"mode", std::string(m)},
                        {"coordinate_transformation_mode", std::string(where)}};
    };
    Attributes nearest = mode("nearest", "asymmetric");
    nearest["nearest_mode"] = std::string("floor");
    switch (b_.draw(5)) {
      case 0: return then(b_.node("Resize", {x, "", b_.keep(scales)}, nearest), shape);
      case 1:
        return then(b_.node("Resize", {x, "", "", b_.ints(shape)}, mode("nearest", "half_pixel")),
                    shape);
      case 2:
        return then(b_.node("Resize", {x, "", b_.keep(scales)}, mode("linear", "half_pixel")),
                    shape);
      case 3:
        return then(b_.node("Resize", {x, "", "", b_.ints(shape)}, mode("linear", "align_corners")),
                    shape);
      default:
        return then(b_.node("Resize", {x, "", b_.keep(scales)}, mode("cubic", "half_pixel")),
                    shape);
    }
  }

  void pool() {
    if (b_.draw(5) == 0) {
      return then(b_.node(b_.coin() ? "GlobalAveragePool" : "GlobalMaxPool", {last_.name}),
                  {last_.shape[0], C(), 1, 1});
    }
    const bool average = b_.coin(), ceil = b_.draw(3) == 0;
    Ints k(2), strides(2), pads(4), shape = last_.shape;
    for (size_t i = 0; i < 2; ++i) {
      k[i] = 1 + b_.draw(std::min<int64_t>(shape[2 + i], 4));
      strides[i] = 1 + b_.draw(std::min<int64_t>(k[i], 3));
      pads[i] = b_.draw(k[i]);
      pads[2 + i] = b_.draw(k[i]);
      const int64_t span = shape[2 + i] + pads[i] + pads[2 + i] - k[i];
      int64_t size = span / strides[i] + 1;
      if (ceil && span % strides[i] != 0) {
        // A window must begin within the picture or its padding on the left: else what ONNX 1.12
        // says of it and what others do differ.
        if (size * strides[i] >= shape[2 + i] + pads[i]) {
          pads[2 + i] += strides[i] - span % strides[i];
          if (pads[2 + i] >= k[i]) return unary();
          size = (shape[2 + i] + pads[i] + pads[2 + i] - k[i]) / strides[i] + 1;
        } else {
          ++size;
        }
      }
      shape[2 + i] = size;
    }
    Attributes attributes{{"kernel_shape", k}, {"strides", strides}, {"pads", pads}};
    attributes["ceil_mode"] = int64_t{ceil};
    if (average) attributes["count_include_pad"] = b_.draw(2);
    then(b_.node(average ? "AveragePool" : "MaxPool", {last_.name}, attributes), shape);
  }

  std::vector<Made> like(bool channels_too) const {
    std::vector<Made> found;
    for (const Made& value : all_) {
      if (value.shape[0] == last_.shape[0] && value.shape[2] == H() && value.shape[3] == W() &&
          (!channels_too || value.shape[1] == C())) {
        found.push_back(value);
      }
    }
    return found;
  }

  void concat() {
    const Made other = b_.pick(like(false));
    if (other.shape[1] + C() > 60) return unary();
    Ints shape = last_.shape;
    shape[1] += other.shape[1];
    const int64_t axis = b_.coin() ? 1 : -3;
    then(b_.node(
             "Concat",
             b_.coin() ? std::vector{last_.name, other.name} : std::vector{other.name, last_.name},
             {{"axis", axis}}),
         shape);
  }

  void binary() {
    const std::vector<std::string> ops{"Add", "Add", "Sub", "Mul", "Div", "Max", "Min"};
    const std::string op = b_.pick(ops);
    std::string other;
    if (op != "Div" && b_.coin()) {
      other = b_.pick(like(true)).name;
      if (b_.draw(4) == 0) {  // what squeeze-and-excitation multiplies by
        other = b_.node("GlobalAveragePool", {other});
      }
    } else {
      const std::vector<Ints> shapes{{},    {1},      {C(), 1, 1},        {1, C(), 1, 1},
                                     {W()}, {H(), 1}, {1, C(), H(), W()}, {1, 1, H(), W()}};
      other = b_.floats(b_.pick(shapes), 0.5F, 2);
    }
    const bool swap = op != "Div" && b_.coin();
    same(b_.node(op, swap ? std::vector{other, last_.name} : std::vector{last_.name, other}));
  }

  void shuffle() {
    const int64_t f = 2;
    Ints shape = last_.shape;
    if (C() % (f * f) == 0) {
      const std::string mode = b_.coin() ? "DCR" : "CRD";
      shape = {shape[0], C() / (f * f), H() * f, W() * f};
      return then(b_.node("DepthToSpace", {last_.name}, {{"blocksize", f}, {"mode", mode}}), shape);
    }
    if (H() % f == 0 && W() % f == 0 && C() < 10) {
      shape = {shape[0], C() * f * f, H() / f, W() / f};
      return then(b_.node("SpaceToDepth", {last_.name}, {{"blocksize", f}}), shape);
    }
    unary();
  }

  // There and back: to channels last, or flat through a shape that the graph computes.
  void layout() {
    if (b_.coin()) {
      const std::string last = b_.node("Transpose", {last_.name}, {{"perm", Ints{0, 2, 3, 1}}});
      const std::string sum = b_.node("Add", {last, b_.floats({C()}, -1, 1)});
      return same(b_.node("Transpose", {sum}, {{"perm", Ints{0, 3, 1, 2}}}));
    }
    const std::string before = b_.node("Shape", {last_.name});
    const std::string batch = b_.node("Gather", {before, b_.ints({0})}, {{"axis", int64_t{0}}});
    const std::string target =
        b_.node("Concat", {batch, b_.ints({C(), -1})}, {{"axis", int64_t{0}}});
    const std::string flat = b_.node("Reshape", {last_.name, target});
    const std::string soft = b_.node("Softmax", {flat}, {{"axis", int64_t{b_.coin() ? -1 : 1}}});
    same(b_.node("Reshape", {soft, before}));
  }

  void split() {
    if (C() < 2) return unary();
    const int64_t first = 1 + b_.draw(C() - 1);
    Ints shape = last_.shape, rest = last_.shape;
    shape[1] = first;
    rest[1] = C() - first;
    b_.node("Split", {last_.name, b_.ints({first, C() - first})}, {{"axis", int64_t{1}}}, 2);
    const std::string a = b_.output_of_last(0), b = b_.output_of_last(1);
    then(a, shape);
    then(b, rest);
  }

  void reduce() {
    const Ints shape{last_.shape[0], C(), 1, 1};
    if (b_.coin()) {
      const std::string mean =
          b_.node("ReduceMean", {last_.name}, {{"axes", Ints{2, 3}}, {"keepdims", int64_t{1}}});
      return same(b_.node("Sub", {last_.name, mean}));
    }
    then(b_.node("ReduceMax", {last_.name}, {{"axes", Ints{-1, -2}}, {"keepdims", int64_t{1}}}),
         shape);
  }

  Builder b_;
  Made last_;
  std::vector<Made> all_;
};

}  // namespace

RandomGraph random_picture_graph(uint32_t seed) { return Pictures(seed).run(); }

}  // namespace atelier::model
