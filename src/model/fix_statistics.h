// SPDX-License-Identifier: Apache-2.0
// Turns normalisations into arithmetic that convolutions do for nothing, once their statistics are
// given.
//
//   InstanceNormalization:  y = (x - mean) / sqrt(variance + epsilon) * gamma + beta
//
// with mean and variance of the frame's own pixels has to see the whole tensor before it can write
// its first pixel: it costs one or two passes over memory, couples every pixel to every other (so
// tiles do not add up to the picture), and lets an object that enters the frame change the colour
// of all else (flicker). With mean and variance given it is
//
//   y = scale * x + shift,  scale = gamma / sqrt(variance + epsilon),  shift = beta - mean * scale
//
// for each channel, and where x is what a convolution made, W * in + b, that is a convolution
// again: (scale W) * in + (scale b + shift). So a normalisation whose convolution has no other
// reader disappears into its weights and bias (Conv and ConvTranspose, any group, any rank), also
// where a Slice over rows and columns stands between; any other becomes Mul and Add with constants.
// What follows, ReLU say, is then fused into the convolution.
//
// Cost: one pass over the weights, in double; each convolution gets weights of its own, even where
// several shared them. Limits: results equal those of the frame's own normalisation as far as the
// statistics do; rounding differs in the last bits. Tested by fix_statistics_test.cc against the
// reference runner.
#pragma once

#include "model/runner.h"
#include "model/specialise.h"

namespace atelier::model {

// Nodes that `statistics` does not name stay as they are, and so does what it names beside the
// graph's InstanceNormalizations. Which nodes there are afterwards, and their names, depends on the
// names in `statistics` alone, never on its numbers. Errors: invalid_argument: as many channels as
// the node does not have, or a scale or weight that is not finite; the graph is undefined then.
Result<void> fix_statistics(ConcreteGraph& concrete, const Statistics& statistics);

}  // namespace atelier::model
