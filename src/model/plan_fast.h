// SPDX-License-Identifier: Apache-2.0
// Which nodes of a concrete graph the blocked kernels take: those in fast form. Pure; looks at the
// graph and its shapes alone. Internal to src/model.
//
// In fast form are nodes over single pictures, [1, C, H, W] of floats, whose parameters are
// constants:
//
//   Conv, ConvTranspose    two-dimensional, any group; padding known from the shapes
//   InstanceNormalization
//   Pad                    on H and W, nothing cut off
//   Slice                  steps from 1
//   Resize                 repeats pixels a whole number of times
//   Add, Sub, Mul, Div     of equal shapes, or a constant broadcast to the picture
//   Relu, Clip, Tanh, DepthToSpace
#pragma once

#include <set>

#include "model/plan_shapes.h"
#include "model/specialise.h"

namespace atelier::model {

struct FastGraph {
  // What plan steps rely on is written out in the nodes that are fast: kernel_shape, strides,
  // dilations, group and pads of convolutions (ConvTranspose: output_padding too), all five inputs
  // of Slice with axes from 0, the scales of Resize.
  ConcreteGraph concrete;
  std::set<const Node*> nodes;  // of concrete.graph: those in fast form
  ShapeMap shapes;              // every value that is one picture of floats
};

FastGraph find_fast(ConcreteGraph graph);

}  // namespace atelier::model
