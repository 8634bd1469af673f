# SPDX-License-Identifier: Apache-2.0
"""A QDQ-int8 model of an ONNX file, as general runtimes want it.

Each Conv gets QuantizeLinear and DequantizeLinear around its input (u8, the range seen on a frame), its weights as s8 per
output channel, its bias as s32, and QuantizeLinear and DequantizeLinear behind its output, since only then do runtimes fuse
all of it into one int8 convolution. ConvTranspose stays float: ONNX Runtime has no int8 one for the CPU.
"""
import onnx
from onnx import helper, numpy_helper
import numpy


def convolutions(model):
    """The Conv nodes whose weights are known."""
    known = {tensor.name for tensor in model.graph.initializer}
    return [node for node in model.graph.node if node.op_type == "Conv" and node.input[1] in known]


def observed(model):
    """The tensors whose ranges are wanted: what goes into a convolution and what comes out."""
    return list(dict.fromkeys(name for node in convolutions(model) for name in (node.input[0], node.output[0])))


def with_ranges(model):
    """A copy whose outputs are the smallest and the largest value of each of these tensors: NAME/min and NAME/max."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    for name in observed(model):
        for op, suffix in (("ReduceMin", "min"), ("ReduceMax", "max")):
            copy.graph.node.append(helper.make_node(op, [name], [f"{name}/{suffix}"], keepdims=0))
            copy.graph.output.append(helper.make_tensor_value_info(f"{name}/{suffix}", onnx.TensorProto.FLOAT, []))
    return copy


def affine(low, high):
    """Scale and zero point of u8 for a range, which is widened to hold zero: padding must be exact."""
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    scale = (high - low) / 255 or 1.0
    return numpy.float32(scale), numpy.uint8(round(-low / scale))


def per_channel(weights, largest):
    """s8 weights and the scale of each output channel (axis 0); largest is 127, or 63 where two products are added in 16
    bits (x86 without VNNI), as ONNX Runtime's documentation advises there."""
    peaks = numpy.abs(weights.reshape(weights.shape[0], -1)).max(axis=1)
    scales = numpy.where(peaks > 0, peaks / largest, 1.0).astype(numpy.float32)
    shape = (-1,) + (1,) * (weights.ndim - 1)
    steps = numpy.rint(weights / scales.reshape(shape)).clip(-largest, largest)
    return steps.astype(numpy.int8), scales


class Builder:
    def __init__(self, model, ranges, largest):
        self.ranges, self.largest = ranges, largest
        self.weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self.initializers, self.nodes, self.through = {}, [], {}

    def constant(self, name, value):
        self.initializers[name] = numpy_helper.from_array(numpy.asarray(value), name)
        return name

    def pair(self, source, target, name):
        """QuantizeLinear and DequantizeLinear from source to target with the range of tensor `name`; its scale."""
        scale, zero = affine(*self.ranges[name])
        parameters = [self.constant(f"{target}/scale", scale), self.constant(f"{target}/zero", zero)]
        self.nodes.append(helper.make_node("QuantizeLinear", [source, *parameters], [f"{target}/u8"]))
        self.nodes.append(helper.make_node("DequantizeLinear", [f"{target}/u8", *parameters], [target]))
        return scale

    def dequantised(self, name, values, scales):
        zeros = numpy.zeros(scales.shape, values.dtype)
        inputs = [self.constant(f"{name}/q", values), self.constant(f"{name}/scale", scales),
                  self.constant(f"{name}/zero", zeros)]
        self.nodes.append(helper.make_node("DequantizeLinear", inputs, [f"{name}/f32"], axis=0))
        return f"{name}/f32"

    def convolution(self, node):
        source = node.input[0]
        if source not in self.through:
            self.through[source] = (f"{source}/int8", self.pair(source, f"{source}/int8", source))
        entered, scale = self.through[source]
        values, scales = per_channel(self.weights[node.input[1]], self.largest)
        inputs = [entered, self.dequantised(node.input[1], values, scales)]
        if len(node.input) > 2:
            steps = numpy.rint(self.weights[node.input[2]] / (scale * scales)).clip(-2**31, 2**31 - 1)
            inputs.append(self.dequantised(node.input[2], steps.astype(numpy.int32), scale * scales))
        output = node.output[0]
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        del copy.input[:], copy.output[:]
        copy.input.extend(inputs)
        copy.output.append(f"{output}/wide")
        self.nodes.append(copy)
        self.pair(f"{output}/wide", output, output)


def quantise(model, ranges, largest=127):
    """The QDQ model; ranges: {tensor: (smallest, largest)} of observed(model)."""
    builder = Builder(model, ranges, largest)
    chosen = {node.output[0] for node in convolutions(model)}
    for node in model.graph.node:
        if node.output[0] in chosen:
            builder.convolution(node)
        else:
            builder.nodes.append(node)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.node[:], copy.graph.value_info[:]
    copy.graph.node.extend(builder.nodes)
    used = {name for node in builder.nodes for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del copy.graph.initializer[:]
    copy.graph.initializer.extend([*kept, *builder.initializers.values()])
    return copy


def of_size(model, width, height):
    """A copy for one size only, with every shape written down, for runtimes that cannot do without."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.value_info[:]
    shape = copy.graph.input[0].type.tensor_type.shape
    del shape.dim[:]
    for extent in (1, 3, height, width):
        shape.dim.add().dim_value = extent
    for output in copy.graph.output:
        output.type.tensor_type.ClearField("shape")
    return onnx.shape_inference.infer_shapes(copy, strict_mode=True)
