// SPDX-License-Identifier: Apache-2.0
// A convolution by oneDNN, in an implementation chosen by its name: grouped convolutions, and those
// for which a plan asks. Internal to src/model.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "model/graph.h"
#include "model/plan_shapes.h"

namespace atelier::model {

struct DnnlConvSpec {
  const Node* node = nullptr;  // Conv or ConvTranspose
  const Tensor* weights = nullptr;
  const Tensor* bias = nullptr;  // null: none
  PictureShape in;
  PictureShape out;
  Pads pads;
};

class DnnlConv {
 public:
  virtual ~DnnlConv() = default;
  // Dense pictures, nChw8c, or NCHW under 8 channels.
  virtual Result<void> run(float* in, float* out, float* scratch) = 0;
  virtual std::string implementation() const = 0;  // oneDNN's name
  virtual int64_t scratch_floats() const = 0;
};

// `wanted`: oneDNN's name of the implementation; empty: its first. Errors: invalid_argument: none
// of that name for this layer on this processor; internal: oneDNN refused.
Result<std::unique_ptr<DnnlConv>> make_dnnl_conv(const DnnlConvSpec& spec,
                                                 const std::string& wanted);

}  // namespace atelier::model
