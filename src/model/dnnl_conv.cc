// SPDX-License-Identifier: Apache-2.0
#include "model/dnnl_conv.h"

#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>

#include "model/kernels/tensor_view.h"

namespace atelier::model {
namespace {

using Memory = dnnl::memory;
using Tag = Memory::format_tag;

Memory::desc picture_desc(const PictureShape& shape) {
  return Memory::desc({1, shape.channels, shape.height, shape.width}, Memory::data_type::f32,
                      shape.channels < kernels::kLanes ? Tag::nchw : Tag::nChw8c);
}

class Layer final : public DnnlConv {
 public:
  // Throws dnnl::error.
  Layer(const DnnlConvSpec& spec, const std::string& wanted)
      : engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {
    if (spec.node->op == "Conv") {
      create<dnnl::convolution_forward>(spec, wanted, dnnl::algorithm::convolution_direct);
    } else {
      create<dnnl::deconvolution_forward>(spec, wanted, dnnl::algorithm::deconvolution_direct);
    }
  }

  Result<void> run(float* in, float* out, float* scratch) override {
    try {
      in_.set_data_handle(in);
      out_.set_data_handle(out);
      scratch_.set_data_handle(scratch);
      std::unordered_map<int, Memory> args = {{DNNL_ARG_SRC, in_},
                                              {DNNL_ARG_WEIGHTS, weights_},
                                              {DNNL_ARG_DST, out_},
                                              {DNNL_ARG_SCRATCHPAD, scratch_}};
      if (has_bias_) args.emplace(DNNL_ARG_BIAS, bias_);
      primitive_.execute(stream_, args);
      stream_.wait();
    } catch (const dnnl::error& e) {
      return make_error(Code::internal, "oneDNN failed in a convolution: {}.", e.what());
    }
    return {};
  }
  std::string implementation() const override { return name_; }
  int64_t scratch_floats() const override {
    return static_cast<int64_t>(scratch_bytes_ / sizeof(float)) + 16;
  }
  bool found() const { return found_; }

 private:
  template <class Primitive>
  void create(const DnnlConvSpec& spec, const std::string& wanted, dnnl::algorithm algorithm) {
    constexpr bool kTransposed = std::is_same_v<Primitive, dnnl::deconvolution_forward>;
    const Node& node = *spec.node;
    const int64_t groups = node.attr_int("group", 1);
    const auto& w = spec.weights->shape;
    // oneDNN wants [groups][out][in][h][w] of both kinds.
    const int64_t out = (kTransposed ? w[1] : w[0] / groups);
    const int64_t in = (kTransposed ? w[0] / groups : w[1]);
    const Memory::dims dims{groups, out, in, w[2], w[3]};
    const Memory::desc any(dims, Memory::data_type::f32, Tag::any);
    const Memory::desc plain(dims, Memory::data_type::f32, kTransposed ? Tag::giohw : Tag::goihw);
    const Memory::desc source = picture_desc(spec.in), target = picture_desc(spec.out);
    const Memory::desc bias({spec.out.channels}, Memory::data_type::f32, Tag::x);
    const auto strides = node.attr_ints("strides", {1, 1});
    auto dilations = node.attr_ints("dilations", {1, 1});
    for (int64_t& d : dilations) d -= 1;
    // What the output's size leaves for the far side.
    const auto far = [&](size_t axis, int64_t size_in, int64_t size_out, int64_t near) {
      const int64_t reach = (w[2 + axis] - 1) * (dilations[axis] + 1) + 1;
      return kTransposed ? (size_in - 1) * strides[axis] + reach - near - size_out
                         : (size_out - 1) * strides[axis] + reach - near - size_in;
    };
    const Memory::dims first{spec.pads.top, spec.pads.left};
    const Memory::dims last{far(0, spec.in.height, spec.out.height, spec.pads.top),
                            far(1, spec.in.width, spec.out.width, spec.pads.left)};
    has_bias_ = spec.bias != nullptr;
    const auto kind = dnnl::prop_kind::forward_inference;
    const typename Primitive::desc desc =
        has_bias_ ? typename Primitive::desc(kind, algorithm, source, any, bias, target, strides,
                                             dilations, first, last)
                  : typename Primitive::desc(kind, algorithm, source, any, target, strides,
                                             dilations, first, last);
    dnnl::primitive_attr attr;
    attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    typename Primitive::primitive_desc chosen(desc, attr, engine_);
    name_ = chosen.impl_info_str();
    found_ = wanted.empty() || name_ == wanted;
    while (!found_ && chosen.next_impl()) {
      name_ = chosen.impl_info_str();
      found_ = name_ == wanted;
    }
    if (!found_) return;
    primitive_ = Primitive(chosen);
    in_ = Memory(chosen.src_desc(), engine_, DNNL_MEMORY_NONE);
    out_ = Memory(chosen.dst_desc(), engine_, DNNL_MEMORY_NONE);
    scratch_ = Memory(chosen.scratchpad_desc(), engine_, DNNL_MEMORY_NONE);
    scratch_bytes_ = chosen.scratchpad_desc().get_size();
    // Weights come as [groups * out][in] or, transposed, [groups * in][out]: both are what `plain`
    // says, group by group.
    Memory given(plain, engine_, const_cast<float*>(spec.weights->floats.data()));
    weights_ = Memory(chosen.weights_desc(), engine_);
    dnnl::reorder(given, weights_).execute(stream_, given, weights_);
    if (has_bias_) {
      bias_ = Memory(bias, engine_);
      std::copy(spec.bias->floats.begin(), spec.bias->floats.end(),
                static_cast<float*>(bias_.get_data_handle()));
    }
    stream_.wait();
  }

  dnnl::engine engine_;
  dnnl::stream stream_;
  dnnl::primitive primitive_;
  Memory in_, out_, weights_, bias_, scratch_;
  size_t scratch_bytes_ = 0;
  std::string name_;
  bool has_bias_ = false;
  bool found_ = false;
};

}  // namespace

Result<std::unique_ptr<DnnlConv>> make_dnnl_conv(const DnnlConvSpec& spec,
                                                 const std::string& wanted) {
  try {
    auto layer = std::make_unique<Layer>(spec, wanted);
    if (!layer->found()) {
      return make_error(Code::invalid_argument,
                        "The plan asks for oneDNN's '{}' in {}, which this processor does not "
                        "have; use a worker like the one that made the plan.",
                        wanted, describe(*spec.node));
    }
    return std::unique_ptr<DnnlConv>(std::move(layer));
  } catch (const dnnl::error& e) {
    return make_error(Code::internal, "oneDNN refuses {}: {}.", describe(*spec.node), e.what());
  }
}

}  // namespace atelier::model
