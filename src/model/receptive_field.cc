// SPDX-License-Identifier: Apache-2.0
#include "model/receptive_field.h"

#include <algorithm>
#include <array>
#include <bit>
#include <numeric>

#include "model/plan_conv.h"

namespace atelier::model {
namespace {

constexpr int64_t kMostAlign = 4096;
constexpr int kWinogradCell = 4;

int64_t floor_divide(int64_t a, int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }
int64_t ceil_divide(int64_t a, int64_t b) { return -floor_divide(-a, b); }

// Along one axis, what makes the outputs [i * cell, (i + 1) * cell) reads the inputs from
// floor((i * step + low) / split) to floor((i * step + high) / split).
struct AxisMap {
  int64_t step = 1;
  int64_t split = 1;
  int64_t low = 0;
  int64_t high = 0;
  int64_t cell = 1;
};

struct Axis {
  int64_t size = 0;
  int64_t up = 1, down = 1;  // the scale: up / down, in lowest terms
  int64_t before = 0, after = 0;
};

struct Picture {
  std::array<Axis, 2> axis;  // y, x
};

bool is_one_of(const std::string& op, const std::vector<std::string>& ops) {
  return std::find(ops.begin(), ops.end(), op) != ops.end();
}

// Each output pixel from the same pixel of the inputs.
bool is_pointwise(const std::string& op) {
  static const std::vector<std::string> kOps{"Abs",       "Add",         "BatchNormalization",
                                             "Cast",      "Clip",        "Div",
                                             "Elu",       "Erf",         "Exp",
                                             "Floor",     "HardSigmoid", "Log",
                                             "Max",       "HardSwish",   "Identity",
                                             "LeakyRelu", "Min",         "Mul",
                                             "Neg",       "PRelu",       "Pow",
                                             "Relu",      "Selu",        "Sigmoid",
                                             "Sign",      "Softplus",    "Softsign",
                                             "Sqrt",      "Sub",         "Tanh"};
  return is_one_of(op, kOps);
}

class FieldWalk {
 public:
  FieldWalk(const FastGraph& fast, int margin)
      : fast_(fast), graph_(fast.concrete.graph), margin_(margin) {}

  Result<ReceptiveField> run() {
    if (graph_.inputs.size() != 1 || graph_.outputs.size() != 1) {
      return refuse("it has several inputs or outputs");
    }
    const PictureShape* in = shape(graph_.inputs[0].name);
    if (!in) return refuse("its input is not one picture of floats");
    length_ = {in->height, in->width};
    Picture picture;
    for (size_t a = 0; a < 2; a++) {
      picture.axis[a] = {length_[a], 1, 1, margin_, margin_};
    }
    known_[graph_.inputs[0].name] = picture;
    for (const Node& node : graph_.nodes) TRY(visit(node));
    return finish();
  }

 private:
  static Error refuse(const std::string& why) {
    return make_error(Code::invalid_argument, "The network cannot work in tiles: {}.", why);
  }
  static Error refuse(const Node& node, const std::string& why) {
    return refuse(describe(node) + " " + why);
  }

  const PictureShape* shape(const std::string& name) const {
    const auto it = fast_.shapes.find(name);
    return it == fast_.shapes.end() ? nullptr : &it->second;
  }
  const Tensor* constant(const Node& node, size_t input) const {
    if (input >= node.inputs.size()) return nullptr;
    const auto it = graph_.initializers.find(node.inputs[input]);
    return it == graph_.initializers.end() ? nullptr : &it->second;
  }

  Result<void> visit(const Node& node) {
    const bool sized = node.op == "Slice" || node.op == "Resize" || node.op == "Pad";
    note(node, sized ? 1 : node.inputs.size());
    for (const std::string& input : node.inputs) {
      if (!input.empty() && !graph_.initializers.contains(input) && !known_.contains(input)) {
        return refuse(node, "works on something that is no picture");
      }
    }
    if (node.inputs.empty()) return refuse(node, "makes a picture of nothing");
    if (is_pointwise(node.op)) return pointwise(node);
    if (node.op == "InstanceNormalization") {
      return refuse(node, "takes statistics of the whole picture");
    }
    if (node.op == "Concat" || node.op == "Split") return along_channels(node);
    if (!known_.contains(node.inputs[0])) return refuse(node, "works on constants");
    if (is_one_of(node.op, {"MaxPool", "AveragePool"})) return window(node, node_window(node));
    if (node.op == "SpaceToDepth") {
      const int64_t block = node.attr_int("blocksize", 1);
      return window(node, both({block, 1, 0, block - 1}));
    }
    if (!fast_.nodes.contains(&node)) {
      return refuse(node, "is not known to look at near pixels alone");
    }
    return fast(node);
  }

  // Nodes in fast form: their parameters are written out.
  Result<void> fast(const Node& node) {
    if (node.op == "Conv") return window(node, convolution(node));
    if (node.op == "ConvTranspose") return window(node, transposed(node));
    if (node.op == "Pad") return pad(node);
    if (node.op == "Slice") return window(node, slice(node));
    if (node.op == "Resize") {
      const auto& scales = constant(node, 2)->floats;
      const auto axis = [](float scale) { return AxisMap{1, static_cast<int64_t>(scale), 0, 0}; };
      return window(node, {axis(scales[2]), axis(scales[3])});
    }
    if (node.op == "DepthToSpace") return window(node, both({1, node.attr_int("blocksize", 1)}));
    return refuse(node, "is not known to look at near pixels alone");
  }

  static std::array<AxisMap, 2> both(const AxisMap& map) { return {map, map}; }

  std::array<AxisMap, 2> node_window(const Node& node) const {
    const Pads pads = pads_of(node, *shape(node.inputs[0]));
    const std::array<int64_t, 2> first{pads.top, pads.left};
    const auto strides = node.attr_ints("strides", {1, 1});
    std::array<AxisMap, 2> maps;
    for (size_t a = 0; a < 2; a++) {
      maps[a] = {strides[a], 1, -first[a], reach_of(node, a) - 1 - first[a]};
    }
    return maps;
  }

  std::array<AxisMap, 2> convolution(const Node& node) const {
    std::array<AxisMap, 2> maps = node_window(node);
    if (node.attr_int("group", 1) == 1 && winograd_can(conv_shape(node, *constant(node, 1)))) {
      for (AxisMap& map : maps) {
        map = {kWinogradCell, 1, map.low, map.low + kWinogradCell + 1, kWinogradCell};
      }
    }
    return maps;
  }

  // Output i is made of the inputs j for which i + pad - j * stride is a tap.
  std::array<AxisMap, 2> transposed(const Node& node) const {
    const auto pads = node.attr_ints("pads", {0, 0, 0, 0});
    const auto strides = node.attr_ints("strides", {1, 1});
    std::array<AxisMap, 2> maps;
    for (size_t a = 0; a < 2; a++) {
      maps[a] = {1, strides[a], pads[a] - reach_of(node, a) + strides[a], pads[a]};
    }
    return maps;
  }

  std::array<AxisMap, 2> slice(const Node& node) const {
    const PictureShape& in = *shape(node.inputs[0]);
    const auto axis = [](const SliceRange& r) { return AxisMap{r.step, 1, r.start, r.start}; };
    return {axis(slice_range(graph_, node, 2, in.height)),
            axis(slice_range(graph_, node, 3, in.width))};
  }

  // At the picture's own edges, reflection reads as far inside as it goes outside: there must be so
  // much that is right.
  Result<void> pad(const Node& node) {
    const auto& pads = constant(node, 1)->ints;
    const Picture& in = known_.at(node.inputs[0]);
    for (size_t a = 0; a < 2; a++) {
      const Axis& axis = in.axis[a];
      if (axis.size <= axis.after + pads[2 + a] || axis.size <= axis.before + pads[6 + a]) {
        return refuse(node, "pads by more than a tile has");
      }
    }
    return window(node, {AxisMap{1, 1, -pads[2], -pads[2]}, AxisMap{1, 1, -pads[3], -pads[3]}});
  }

  Result<void> window(const Node& node, const std::array<AxisMap, 2>& maps) {
    const PictureShape* made = shape(node.outputs[0]);
    if (!made || node.outputs.size() != 1) return refuse(node, "makes no single picture");
    const std::array<int64_t, 2> size{made->height, made->width};
    Picture picture = known_.at(node.inputs[0]);
    for (size_t a = 0; a < 2; a++) {
      picture.axis[a] = through(picture.axis[a], maps[a], size[a]);
    }
    return add(node, 0, picture, &maps);
  }

  static Axis through(const Axis& in, const AxisMap& m, int64_t size) {
    Axis out = in;
    out.size = size;
    out.up *= m.split * m.cell;
    out.down *= m.step;
    const int64_t common = std::gcd(out.up, out.down);
    out.up /= common;
    out.down /= common;
    const int64_t first = ceil_divide(in.before * m.split - m.low, m.step);
    const int64_t end = floor_divide((in.size - in.after) * m.split - 1 - m.high, m.step) + 1;
    out.before = std::clamp<int64_t>(first * m.cell, 0, size);
    out.after = std::clamp<int64_t>(size - end * m.cell, 0, size);
    return out;
  }

  Result<void> pass(const Node& node) { return add(node, 0, known_.at(node.inputs[0]), nullptr); }

  Result<void> pointwise(const Node& node) {
    const Picture joined = TRY(join(node));
    for (size_t i = 0; i < node.inputs.size(); i++) {
      const Tensor* fixed = constant(node, i);
      const size_t rank = fixed ? fixed->shape.size() : 0;
      const bool varies =
          (rank >= 1 && fixed->shape[rank - 1] != 1) || (rank >= 2 && fixed->shape[rank - 2] != 1);
      // A normalisation's parameters are one number a channel.
      if (varies && node.op != "BatchNormalization") {
        return refuse(node, "has a constant that differs from pixel to pixel");
      }
    }
    return add(node, 0, joined, nullptr);
  }

  Result<void> along_channels(const Node& node) {
    const int64_t axis = node.attr_int("axis", 0);
    if (axis != 1 && axis != -3) return refuse(node, "joins or splits along the picture");
    for (size_t i = 0; i < node.inputs.size(); i++) {
      if (node.op == "Concat" && constant(node, i)) return refuse(node, "joins with a constant");
    }
    const Picture joined = TRY(join(node));
    for (size_t i = 0; i < node.outputs.size(); i++) TRY(add(node, i, joined, nullptr));
    return {};
  }

  // Of all inputs that are pictures: they lie one upon the other.
  Result<Picture> join(const Node& node) const {
    const Picture* first = nullptr;
    Picture joined;
    for (const std::string& input : node.inputs) {
      const auto it = known_.find(input);
      if (it == known_.end()) continue;
      if (!first) joined = it->second;
      first = &it->second;
      for (size_t a = 0; a < 2; a++) {
        Axis& axis = joined.axis[a];
        const Axis& other = first->axis[a];
        if (axis.size != other.size || axis.up != other.up || axis.down != other.down) {
          return refuse(node, "joins pictures of different scales");
        }
        axis.before = std::max(axis.before, other.before);
        axis.after = std::max(axis.after, other.after);
      }
    }
    if (!first) return refuse(node, "works on constants");
    return joined;
  }

  // `maps`: null where each pixel is made of its own.
  Result<void> add(const Node& node, size_t output, const Picture& picture,
                   const std::array<AxisMap, 2>* maps) {
    const PictureShape* made = shape(node.outputs[output]);
    if (!made || made->height != picture.axis[0].size || made->width != picture.axis[1].size) {
      return refuse(node, "makes a picture of another size");
    }
    for (size_t a = 0; a < 2; a++) {
      const AxisMap map = maps ? (*maps)[a] : AxisMap();
      const Axis& axis = picture.axis[a];
      // Every cell's first pixel is a pixel of the tile.
      const int64_t whole = map.cell * axis.down;
      align_[a] = std::lcm(align_[a], whole / std::gcd(whole, axis.up));
      if (align_[a] > kMostAlign) return refuse(node, "needs tiles that are too coarse");
      const int64_t beside = axis.size * axis.down - length_[a] * axis.up;
      for (const int64_t v : {map.step, map.split, map.low, map.high, map.cell, beside}) {
        trace_.push_back(v);
      }
    }
    known_[node.outputs[output]] = picture;
    return {};
  }

  // The node itself, and those of its first inputs that are constants.
  void note(const Node& node, size_t inputs) {
    uint64_t hash = 0xcbf29ce484222325U;  // FNV-1a
    const auto mix = [&](uint64_t v) { hash = (hash ^ v) * 0x100000001b3U; };
    for (const char c : node.name) mix(static_cast<unsigned char>(c));
    for (size_t i = 0; i < inputs; i++) {
      const Tensor* fixed = constant(node, i);
      if (!fixed) continue;
      for (const int64_t d : fixed->shape) mix(static_cast<uint64_t>(d));
      for (const float v : fixed->floats) mix(std::bit_cast<uint32_t>(v));
      for (const int64_t v : fixed->ints) mix(static_cast<uint64_t>(v));
    }
    trace_.push_back(static_cast<int64_t>(hash));
  }

  Result<ReceptiveField> finish() {
    const auto made = known_.find(graph_.outputs[0].name);
    if (made == known_.end()) return refuse("its output does not depend on its input");
    ReceptiveField field;
    for (size_t a = 0; a < 2; a++) {
      const Axis& axis = made->second.axis[a];
      if (axis.down != 1) return refuse("its output is smaller than its input");
      AxisField& to = a == 0 ? field.y : field.x;
      to = {align_[a], axis.up, axis.before, axis.after, axis.size - axis.up * length_[a]};
    }
    field.trace = std::move(trace_);
    return field;
  }

  const FastGraph& fast_;
  const Graph& graph_;
  const int margin_;
  std::map<std::string, Picture> known_;
  std::array<int64_t, 2> length_{};
  std::array<int64_t, 2> align_{1, 1};
  std::vector<int64_t> trace_;
};

}  // namespace

Result<ReceptiveField> receptive_field(const FastGraph& graph, int margin) {
  return FieldWalk(graph, margin).run();
}

}  // namespace atelier::model
