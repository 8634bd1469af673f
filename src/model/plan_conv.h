// SPDX-License-Identifier: Apache-2.0
// What the steps of convolutions share. Internal to src/model: plan_conv.cc fuses and makes the
// steps in floats, plan_narrow.cc the others.
#pragma once

#include "model/plan_build.h"

namespace atelier::model {

// One convolution with what was fused into it.
struct PlanBuilder::ConvJob {
  const Node& node;
  std::string in;
  std::string out;    // after what was fused
  std::string label;  // "Conv+Add+Relu"
  Pads pads;
  PictureShape out_shape;
  const Tensor* weights;
  const Tensor* bias;
  int enlarge = 1;
  int add = -1;
  float low = -std::numeric_limits<float>::infinity();
  float high = std::numeric_limits<float>::infinity();
};

kernels::ConvShape conv_shape(const Node& node, const Tensor& weights);

// Whether the Winograd kernel can compute it, its weights aside.
bool winograd_can(const kernels::ConvShape& shape);

kernels::Halo halo_of(const kernels::DirectWeights& weights, const PictureShape& in,
                      const PictureShape& out);

// A step with its labels and cost, and the reading of what is added.
Step conv_step(const Node& node, const std::string& label, const Tensor& weights,
               const PictureShape& in, const PictureShape& out);

// Names a node and its weights: those of one node may depend on the shapes that a plan is for, and
// so may the enlargement before it.
std::string cache_key(const Node& node, const Tensor& weights, const Tensor* bias, int enlarge);

}  // namespace atelier::model
