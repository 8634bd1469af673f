// SPDX-License-Identifier: Apache-2.0
#include "model/fix_statistics.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace atelier::model {
namespace {

using Ints = std::vector<int64_t>;

struct Affine {
  std::vector<double> scale, shift;  // by channel
};

class Fixer {
 public:
  Fixer(ConcreteGraph& concrete, const Statistics& statistics)
      : graph_(concrete.graph), types_(concrete.types), statistics_(statistics) {}

  Result<void> run() {
    count_readers();
    std::vector<Node> nodes;
    nodes.swap(graph_.nodes);
    for (Node& node : nodes) {
      const auto given = statistics_.find(node.name);
      if (node.op != "InstanceNormalization" || given == statistics_.end() || !is_known(node)) {
        keep(std::move(node));
        continue;
      }
      const Affine affine = TRY(affine_of(node, given->second));
      if (!TRY(fold(node, affine))) TRY(spell_out(node, affine));
    }
    drop_unread();
    return {};
  }

 private:
  void count_readers() {
    for (const Node& node : graph_.nodes) {
      node_names_.insert(node.name);
      for (const std::string& input : node.inputs) ++readers_[input];
    }
    for (const ValueInfo& output : graph_.outputs) ++readers_[output.name];
  }

  void keep(Node node) {
    for (const std::string& output : node.outputs) maker_[output] = graph_.nodes.size();
    graph_.nodes.push_back(std::move(node));
  }

  const Tensor* constant(const Node& node, size_t input) const {
    if (input >= node.inputs.size()) return nullptr;
    const auto it = graph_.initializers.find(node.inputs[input]);
    return it == graph_.initializers.end() ? nullptr : &it->second;
  }
  static bool has(const Node& node, size_t input) {
    return input < node.inputs.size() && !node.inputs[input].empty();
  }

  // [N, C, ...] of floats, with constants for every channel.
  bool is_known(const Node& node) const {
    const Tensor* gamma = constant(node, 1);
    const Tensor* beta = constant(node, 2);
    const auto type = types_.find(node.inputs.empty() ? "" : node.inputs[0]);
    return gamma != nullptr && beta != nullptr && type != types_.end() &&
           type->second.shape.size() >= 3 && gamma->shape == Ints{type->second.shape[1]} &&
           beta->shape == gamma->shape && !gamma->is_int() && !beta->is_int();
  }

  Result<Affine> affine_of(const Node& node, const ChannelStatistics& given) const {
    const std::vector<float>& gamma = constant(node, 1)->floats;
    const std::vector<float>& beta = constant(node, 2)->floats;
    if (given.mean.size() != gamma.size() || given.variance.size() != gamma.size()) {
      return make_error(Code::invalid_argument,
                        "{} has {} channels, but statistics of {} were given for it.",
                        describe(node), gamma.size(), given.mean.size());
    }
    const double epsilon = static_cast<double>(node.attr_float("epsilon", 1e-5F));
    Affine affine;
    for (size_t c = 0; c < gamma.size(); c++) {
      const double variance = static_cast<double>(given.variance[c]);
      const double scale = static_cast<double>(gamma[c]) / std::sqrt(variance + epsilon);
      const double shift =
          static_cast<double>(beta[c]) - static_cast<double>(given.mean[c]) * scale;
      TRY(check(node, scale));
      TRY(check(node, shift));
      affine.scale.push_back(scale);
      affine.shift.push_back(shift);
    }
    return affine;
  }

  static Result<void> check(const Node& node, double value) {
    if (std::isfinite(static_cast<float>(value))) return {};
    return make_error(Code::invalid_argument,
                      "The statistics of {} give numbers that are not finite; score with --norm "
                      "frame.",
                      describe(node));
  }

  // True if a convolution took it in.
  Result<bool> fold(const Node& norm, const Affine& affine) {
    Node* last = only_maker(norm.inputs[0]);
    Node* conv = last;
    while (conv != nullptr && moves_pixels(*conv)) conv = only_maker(conv->inputs[0]);
    if (conv == nullptr || !scales(*conv, affine.scale.size())) return false;
    const bool transposed = conv->op == "ConvTranspose";
    const int64_t groups = conv->attr_int("group", 1);
    Tensor weight = *constant(*conv, 1);
    // Conv: [out, in / groups, ...]; ConvTranspose: [in, out / groups, ...].
    const int64_t outs = weight.shape[transposed ? 1 : 0];
    const int64_t taps = weight.count() / (weight.shape[0] * weight.shape[1]);
    const int64_t each = transposed ? taps : taps * weight.shape[1];
    const int64_t ins_of_group = weight.shape[0] / groups;
    for (int64_t i = 0; i < weight.count(); i++) {
      int64_t out = i / each % outs;
      if (transposed) out += i / (taps * outs) / ins_of_group * outs;
      float& w = weight.floats[static_cast<size_t>(i)];
      w = static_cast<float>(static_cast<double>(w) * affine.scale[static_cast<size_t>(out)]);
      TRY(check(norm, static_cast<double>(w)));
    }
    Tensor bias;
    bias.type = weight.type;
    bias.shape = {static_cast<int64_t>(affine.scale.size())};
    const Tensor* old = constant(*conv, 2);
    for (size_t c = 0; c < affine.scale.size(); c++) {
      const double b = old == nullptr ? 0 : static_cast<double>(old->floats[c]);
      bias.floats.push_back(static_cast<float>(b * affine.scale[c] + affine.shift[c]));
      TRY(check(norm, static_cast<double>(bias.floats.back())));
    }
    conv->inputs.resize(3);
    conv->inputs[1] = add_constant(conv->name + "/fixed_weight", std::move(weight));
    conv->inputs[2] = add_constant(conv->name + "/fixed_bias", std::move(bias));
    const size_t index = maker_.at(norm.inputs[0]);
    last->outputs[0] = norm.outputs[0];
    maker_[norm.outputs[0]] = index;
    types_.erase(norm.inputs[0]);
    return true;
  }

  // The node that makes this value, if nobody else reads it.
  Node* only_maker(const std::string& value) {
    const auto it = maker_.find(value);
    if (it == maker_.end() || readers_[value] != 1) return nullptr;
    Node& node = graph_.nodes[it->second];
    return node.outputs.size() == 1 ? &node : nullptr;
  }

  // A Slice that leaves channels where they are.
  bool moves_pixels(const Node& node) const {
    const Tensor* axes = constant(node, 3);
    const auto type = types_.find(node.inputs.empty() ? "" : node.inputs[0]);
    if (node.op != "Slice" || axes == nullptr || type == types_.end()) return false;
    const auto rank = static_cast<int64_t>(type->second.shape.size());
    return std::all_of(axes->ints.begin(), axes->ints.end(),
                       [&](int64_t axis) { return (axis < 0 ? axis + rank : axis) >= 2; });
  }

  // A convolution with constants, for so many channels.
  bool scales(const Node& node, size_t channels) const {
    if (node.op != "Conv" && node.op != "ConvTranspose") return false;
    const Tensor* weight = constant(node, 1);
    const Tensor* bias = constant(node, 2);
    if (weight == nullptr || weight->is_int() || weight->shape.size() < 3 || weight->count() == 0 ||
        (has(node, 2) && bias == nullptr)) {
      return false;
    }
    const int64_t groups = node.attr_int("group", 1);
    const auto wanted = static_cast<int64_t>(channels);
    if (groups < 1 || weight->shape[0] % groups != 0) return false;
    const int64_t made =
        node.op == "Conv" ? weight->shape[0] : weight->shape[1] * std::min(groups, wanted);
    return made == wanted && (bias == nullptr || (!bias->is_int() && bias->shape == Ints{wanted}));
  }

  Result<void> spell_out(const Node& norm, const Affine& affine) {
    Tensor scale;
    scale.type = constant(norm, 1)->type;
    scale.shape.assign(types_.at(norm.inputs[0]).shape.size() - 1, 1);
    scale.shape[0] = static_cast<int64_t>(affine.scale.size());
    Tensor shift = scale;
    for (size_t c = 0; c < affine.scale.size(); c++) {
      scale.floats.push_back(static_cast<float>(affine.scale[c]));
      shift.floats.push_back(static_cast<float>(affine.shift[c]));
    }
    Node mul;
    mul.op = "Mul";
    mul.name = norm.name;
    mul.inputs = {norm.inputs[0], add_constant(norm.name + "/fixed_scale", std::move(scale))};
    mul.outputs = {fresh(norm.outputs[0] + "/scaled")};
    types_[mul.outputs[0]] = types_.at(norm.outputs[0]);
    Node add;
    add.op = "Add";
    add.name = norm.name + "/shift";
    while (node_names_.contains(add.name)) add.name += "_";
    node_names_.insert(add.name);
    add.inputs = {mul.outputs[0], add_constant(norm.name + "/fixed_shift", std::move(shift))};
    add.outputs = norm.outputs;
    keep(std::move(mul));
    keep(std::move(add));
    return {};
  }

  std::string fresh(std::string wish) const {
    while (types_.contains(wish) || readers_.contains(wish)) wish += "_";
    return wish;
  }
  std::string add_constant(const std::string& wish, Tensor tensor) {
    const std::string name = fresh(wish);
    types_[name] = {tensor.type, tensor.shape};
    graph_.initializers[name] = std::move(tensor);
    return name;
  }

  // Weights that were scaled, and what normalisations alone read.
  void drop_unread() {
    std::set<std::string> read;
    for (const Node& node : graph_.nodes) read.insert(node.inputs.begin(), node.inputs.end());
    for (const ValueInfo& output : graph_.outputs) read.insert(output.name);
    for (auto it = graph_.initializers.begin(); it != graph_.initializers.end();) {
      const bool unread = !read.contains(it->first);
      if (unread) types_.erase(it->first);
      it = unread ? graph_.initializers.erase(it) : std::next(it);
    }
  }

  Graph& graph_;
  std::map<std::string, TensorType>& types_;
  const Statistics& statistics_;
  std::map<std::string, int> readers_;
  std::map<std::string, size_t> maker_;  // of a value: index into graph_.nodes
  std::set<std::string> node_names_;
};

}  // namespace

Result<void> fix_statistics(ConcreteGraph& concrete, const Statistics& statistics) {
  if (statistics.empty()) return {};
  return Fixer(concrete, statistics).run();
}

}  // namespace atelier::model
