# SPDX-License-Identifier: Apache-2.0
"""Times libtorch (Debian's python3-torch) on the network of an ONNX file; prints one JSON object.

The network is built from the file's nodes and weights as a traced, frozen TorchScript module, which is what libtorch's C++
interface would load; torch.jit.optimize_for_inference then fuses and chooses oneDNN's layouts.
usage: torch_net.py '{"model":, "width":, "height":, "threads":, "warm_up":, "repeats":, "frame":, "out":}'
"""
import json
import sys

import numpy
import onnx
from onnx import helper, numpy_helper
import torch
import torch.nn.functional as functional

import common


def same_pads(extents, kernel, strides):
    """SAME_UPPER, as torch's functional.pad wants it: the last axis first."""
    pads = []
    for extent, size, stride in zip(reversed(extents), reversed(kernel), reversed(strides)):
        total = max((-(-extent // stride) - 1) * stride + size - extent, 0)
        pads += [total // 2, total - total // 2]
    return pads


class Net(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.nodes = [(n.op_type, list(n.input), n.output[0], {a.name: helper.get_attribute_value(a) for a in n.attribute})
                      for n in model.graph.node]
        self.constants = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in model.graph.initializer}
        self.entry, self.exit = model.graph.input[0].name, model.graph.output[0].name

    def forward(self, image):
        values = {**self.constants, self.entry: image}
        for op, inputs, output, attributes in self.nodes:
            operands = [values[name] if name else None for name in inputs]
            values[output] = getattr(self, op)(*operands, **attributes)
        return values[self.exit]

    def Conv(self, x, w, b=None, strides=(1, 1), pads=(0, 0, 0, 0), auto_pad=b"NOTSET", group=1, **_):
        if auto_pad == b"SAME_UPPER":
            left, right, top, bottom = same_pads(x.shape[2:], w.shape[2:], strides)
        else:
            top, left, bottom, right = pads
        if (left, top) == (right, bottom):
            return functional.conv2d(x, w, b, list(strides), [top, left], 1, group)
        return functional.conv2d(functional.pad(x, [left, right, top, bottom]), w, b, list(strides), 0, 1, group)

    def ConvTranspose(self, x, w, b=None, strides=(1, 1), pads=(0, 0, 0, 0), **_):
        y = functional.conv_transpose2d(x, w, b, list(strides))
        return y[:, :, pads[0]:y.shape[2] - pads[2], pads[1]:y.shape[3] - pads[3]]

    def InstanceNormalization(self, x, scale, bias, epsilon=1e-5):
        return functional.instance_norm(x, weight=scale, bias=bias, eps=epsilon)

    def Pad(self, x, pads, mode=b"constant"):
        before, after = pads.tolist()[2:4], pads.tolist()[6:8]
        return functional.pad(x, [before[1], after[1], before[0], after[0]], mode=mode.decode())

    def Resize(self, x, _roi, scales, mode=b"nearest", **_rest):
        if mode != b"nearest":
            raise ValueError(f"Resize with mode {mode.decode()} is not built here")
        return functional.interpolate(x, scale_factor=scales.tolist()[2:], mode="nearest")

    def DepthToSpace(self, x, blocksize, mode=b"DCR"):
        if mode != b"CRD":
            raise ValueError("DepthToSpace in the order DCR is not built here")
        return functional.pixel_shuffle(x, blocksize)

    def Slice(self, x, starts, ends, axes, steps):
        for start, end, axis, step in zip(starts.tolist(), ends.tolist(), axes.tolist(), steps.tolist()):
            index = [slice(None)] * x.dim()
            index[axis] = slice(start, min(end, x.shape[axis]), step)
            x = x[tuple(index)]
        return x

    def Clip(self, x, low, high):
        return torch.clamp(x, float(low.reshape(-1)[0]), float(high.reshape(-1)[0]))

    Relu = staticmethod(torch.relu)
    Tanh = staticmethod(torch.tanh)
    Add = staticmethod(torch.add)
    Sub = staticmethod(torch.sub)
    Mul = staticmethod(torch.mul)
    Div = staticmethod(torch.div)


def traced(path, image):
    with torch.no_grad():
        return torch.jit.freeze(torch.jit.trace(Net(onnx.load(path)).eval(), image, check_trace=False))


def fastest(path, image):
    """The network with all optimisations that run, and which these are."""
    try:
        net = torch.jit.optimize_for_inference(traced(path, image))
        with torch.no_grad():
            # What it fuses is compiled in the second call.
            for _ in range(2):
                net(image)
        return net, "traced, frozen, optimize_for_inference"
    except RuntimeError as error:
        words = str(error).strip().splitlines()[0]
        # A new one: the old one was changed in place.
        return traced(path, image), f"traced, frozen (optimize_for_inference does not run: {words})"


def main():
    arguments = json.loads(sys.argv[1])
    torch.set_num_threads(arguments["threads"])
    image = torch.from_numpy(common.picture(arguments["frame"], arguments["width"], arguments["height"]))
    net, way = fastest(arguments["model"], image)
    with torch.no_grad():
        if arguments.get("out"):
            net(image).numpy().astype(numpy.float32).tofile(arguments["out"])
        found = common.timed(arguments, lambda: net(image))
    print(json.dumps({"runtime": "libtorch", "version": torch.__version__, "options": way, **found}))


if __name__ == "__main__":
    main()
