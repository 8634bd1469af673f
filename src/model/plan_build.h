// SPDX-License-Identifier: Apache-2.0
// What the parts of the plan builder share. Internal to src/model: plan_build.cc walks the graph
// and fuses; plan_ways.cc chooses between kernels; plan_conv.cc, plan_narrow.cc, plan_point.cc and
// plan_plain.cc make the steps.
#pragma once

#include <optional>
#include <set>

#include "model/kernels/pointwise.h"
#include "model/kernels/shuffle.h"
#include "model/plan.h"
#include "model/plan_fast.h"

namespace atelier::model {

class PlanBuilder {
 public:
  PlanBuilder(FastGraph graph, const PlanOptions& options, WeightCache& weights)
      : fast_(std::move(graph)), options_(options), wanted_(options.wanted), weights_(weights) {}
  Result<NetPlan> build();

 private:
  // plan_build.cc
  Result<void> lower(const Node& node);
  Result<void> lower_pad(const Node& node);
  Result<void> pad_bytes(const Node& node, int from);
  bool lay_within(int value, int outer, int64_t top, int64_t left);
  Result<void> lower_slice(const Node& node);
  struct Chain;
  void crop_depth_to_space(Chain& chain, kernels::DepthToSpace& how);
  Result<void> lower_depth_to_space(const Node& node);
  Result<void> lower_resize(const Node& node);
  Result<void> check_wanted() const;
  void add_inputs();
  void set_outputs();
  void mark_first();
  void set_lifetimes();

  // plan_conv.cc
  // `resize`: null, or the enlargement just before the convolution, which it takes in.
  Result<void> lower_conv(const Node& node, const Node* resize = nullptr);
  struct ConvJob;
  void absorb_crop(ConvJob& job);
  void absorb_epilogue(ConvJob& job);
  Result<void> lower_winograd(const ConvJob& job);
  Result<void> lower_direct(const ConvJob& job);
  int add_moments(const std::string& name, int made, int sets, Step& step);
  // Where a direct convolution writes what it makes.
  struct ConvOutput {
    int floats = -1;  // -1: nowhere
    int bytes = -1;   // likewise
    kernels::Quantization quantization{};
  };
  ConvOutput add_output(const ConvJob& job, const kernels::DirectWeights& weights, Step& step);
  static kernels::TensorView float_view(const StepContext& c, const ConvOutput& out);
  using Convolve = std::function<void(const StepContext&, const kernels::ConvEpilogue&,
                                      const kernels::TensorView& out)>;
  void add_direct(const ConvJob& job, const kernels::DirectWeights& layout, int in, Step step,
                  Convolve convolve);
  // `block`: channels of a group of the input, of all its channels.
  static kernels::DirectWeights pack(const ConvJob& job, int (*block)(int channels));
  std::shared_ptr<const kernels::DirectWeights> direct_weights(const ConvJob& job);
  static std::string direct_key(const ConvJob& job);

  // plan_ways.cc
  // Before anything is lowered, unless there is a plan to obey.
  void choose_ways();
  void choose_way(const Node& conv);
  std::vector<std::string> float_ways(const Node& conv, const Node* resize) const;
  std::string key_of(const Node& conv, const Node* resize, Precision precision,
                     const std::vector<std::string>& ways) const;
  std::string chosen(const Node& conv, const std::string& key,
                     const std::vector<std::string>& ways) const;
  std::string way_of(const Node& conv) const;
  // What is planned, by choice or to obey.
  bool takes_resize(const Node& resize, const Node& conv) const;
  // How it takes its input if not in floats.
  std::optional<kernels::Quantization> narrow_of(const Node& conv) const;
  bool takes_winograd(const Node& conv) const;
  // What is possible.
  bool own_kernels_can(const Node& conv) const;
  bool could_take(const Node& resize, const Node& conv) const;
  bool winograd_admitted(const Node& conv) const;
  // What the convolution could take in; null: there is none.
  const Node* enlargement_before(const Node& conv) const;

  // plan_narrow.cc
  // Whether our kernels could compute the convolution in eight bits, were the range known, or in
  // bfloat16.
  bool fits_bytes(const Node& conv) const;
  Result<void> lower_narrow(const ConvJob& job, const kernels::Quantization& quantization);
  // How the only reader of this value wants it in bytes; nothing if it does not.
  std::optional<kernels::Quantization> wanted_in_bytes(const std::string& value) const;
  // The same of who reads it through a Pad that repeats pixels, which may be of bytes then.
  std::optional<kernels::Quantization> wanted_behind_pad(const std::string& value) const;
  // Of the range of its input; nothing if there is none, or none that bytes could divide.
  std::optional<kernels::Quantization> quantization_of(const Node& conv) const;
  void make_bytes(int value, const kernels::Quantization& quantization);
  int add_bytes(const std::string& name, const PictureShape& shape,
                const kernels::Quantization& quantization);
  int in_bytes(const std::string& value, const kernels::Quantization& quantization);
  // How a convolution wants this value in bytes, which others want in floats.
  std::optional<kernels::Quantization> wanted_beside(const std::string& value) const;
  Result<void> lower_dnnl_conv(const ConvJob& job, const std::string& implementation);

  // plan_point.cc
  Result<void> lower_point(const Node& node);
  Result<void> lower_norm(const Node& node);
  struct Chain {
    std::string value;  // what it makes so far
    std::string label;  // "Add+Relu"
    std::vector<kernels::PointOp> ops;
    std::vector<int> others;
  };
  // Takes `node`, whose input is chain.value, into the chain; false if it does not fit.
  bool absorb_point(Chain& chain, const Node& node);
  bool absorb_binary(Chain& chain, const Node& node);
  void absorb_alone(Chain& chain);
  // Notes the step to come as the entry of a graph input, if it is one.
  void note_entry(const std::string& input, int value, const std::vector<kernels::PointOp>& ops);
  void absorb_all(Chain& chain);
  Result<void> finish_chain(const Node& node, Chain chain,
                            std::shared_ptr<const kernels::Norm> norm);

  // plan_plain.cc
  Result<void> lower_plain(const Node& node);
  int add_plain(const std::string& name);
  int plain_of(const std::string& name);    // converts where it is blocked only
  int to_blocked(const std::string& name);  // converts what is plain only
  std::shared_ptr<const Tensor> kept_constant(const std::string& name);
  void set_plain_lifetimes();

  // Helpers.
  const PictureShape& shape(const std::string& name) const { return fast_.shapes.at(name); }
  const Tensor* constant(const Node& node, size_t input) const;
  // The only node that reads `name`, which is in fast form; null if several do, none, one that is
  // not, or if it is an output of the graph.
  const Node* only_reader(const std::string& name) const;
  int value_of(const std::string& name) {
    const auto it = by_name_.find(name);
    return it != by_name_.end() ? it->second : to_blocked(name);
  }
  bool computed(const std::string& name) const {
    return by_name_.contains(name) || plain_by_name_.contains(name);
  }
  int add_value(const std::string& name, const PictureShape& shape);
  // One that the graph does not have. No node can mean it, whatever the graph calls its values.
  int add_made(const std::string& name, const PictureShape& shape);
  int add_alias(const std::string& name, const PictureShape& shape, int of);
  int add_view(const std::string& name, const PictureShape& shape, int of, int64_t group, int64_t y,
               int64_t x);
  // `value`, or a copy of it, as something that can have this halo.
  int with_halo(int value, const kernels::Halo& halo);
  int copy_of(int value, const std::string& why);
  const PlanStep* wanted_step(const Node& node) const;
  void add_step(Step step);
  void done(const Node& node) { done_.insert(&node); }

  const Graph& graph() const { return fast_.concrete.graph; }

  const FastGraph fast_;
  const PlanOptions& options_;
  const std::vector<PlanStep>& wanted_;
  WeightCache& weights_;
  NetPlan plan_;
  std::map<std::string, int> by_name_;
  std::map<std::string, int> plain_by_name_;
  struct TakenMoments {
    int value;
    int sets;
  };
  std::map<int, TakenMoments> moments_;  // of values whose maker took them
  std::map<int, int> beside_;            // the same value in bytes
  std::map<std::string, std::shared_ptr<const Tensor>> constants_;
  std::map<std::string, std::vector<const Node*>> readers_;
  std::map<std::string, const Node*> makers_;
  std::map<const Node*, std::string> ways_;  // of convolutions by our own kernels
  std::set<const Node*> done_;
  std::set<std::string> outputs_;
};

inline constexpr const char* kOwnKernel = "atelier:f32x8";
inline constexpr const char* kOwnPrefix = "atelier:";
inline constexpr const char* kBf16Kernel = "atelier:bf16x32";
inline constexpr const char* kInt8Kernel = "atelier:u8s8";
// Of two to seven channels, those of a pixel together; a name of its own, since older versions
// paired their weights otherwise (kernels/gemm_int8.h).
inline constexpr const char* kInt8PictureKernel = "atelier:u8s8x4";

}  // namespace atelier::model
